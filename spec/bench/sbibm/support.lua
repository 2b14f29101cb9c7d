--- What several of sbibm's tasks share.
local support = {}

--- A step of Runge and Kutta's fourth-order method for two variables.
-- @tparam function f (a, b) -> da/dt, db/dt
-- @treturn number a after h
-- @treturn number b after h
function support.step(f, a, b, h)
  local a1, b1 = f(a, b)
  local a2, b2 = f(a + h / 2 * a1, b + h / 2 * b1)
  local a3, b3 = f(a + h / 2 * a2, b + h / 2 * b2)
  local a4, b4 = f(a + h * a3, b + h * b3)
  return a + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4), b + h / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
end

--- A binomial number, by the waiting times between successes (Devroye, "Non-Uniform Random Variate Generation", 1986,
-- chapter X.4.3).
-- @tparam integer n
-- @tparam number p
-- @tparam rng rng
-- @treturn integer
function support.binomial(n, p, rng)
  if p <= 0 then return 0 end
  if p >= 1 then return n end
  if p > 0.5 then return n - support.binomial(n, 1 - p, rng) end
  local trials, successes, log_miss = 0, -1, math.log(1 - p)
  repeat
    trials = trials + math.log(rng:uniform(0, 1)) // log_miss + 1
    successes = successes + 1
  until trials > n
  return successes
end

return support
