--- Uniformity of numbers in [0, 1], for the tests of calibration.
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"

local uniformity = {}

--- Posterior samples and the truth they belong to.
-- @tparam string what the caller's name, for messages
-- @tparam tensor samples (N, L, K)
-- @tparam tensor|table v (N, K)
-- @treturn tensor samples
-- @treturn tensor v
function uniformity.check(what, samples, v)
  if getmetatable(samples) ~= core.metatable or samples.ndim ~= 3 or samples.count == 0 then
    check.fail(3, "%s: samples takes a tensor (N, L, K); got %s", what, check.shape_of(samples))
  end
  v = matrix.check(what, "v", v, 4)
  local n, l, k = table.unpack(samples.shape)
  if v.shape[1] ~= n or v.shape[2] ~= k then
    check.fail(3, "%s: samples are of %d simulations and %d parameters, v of %d and %d", what, n, k, v.shape[1],
      v.shape[2])
  end
  local finite, at = samples:finite()
  if not finite then check.fail(3, "%s: samples are not finite at simulation %d", what, (at - 1) // (l * k) + 1) end
  matrix.check_finite(what, "v", v, nil, 4)
  return samples, v
end

--- Supremum of |F(x) - x|, F the empirical distribution function; sorts its argument.
-- @tparam {number,...} u
-- @treturn number Kolmogorov's D
function uniformity.supremum(u)
  table.sort(u)
  local d, n = 0, #u
  for i, x in ipairs(u) do d = math.max(d, i / n - x, x - (i - 1) / n) end
  return d
end

--- The probability of a supremum of d or more among n uniform numbers: Kolmogorov's limit, corrected for finite n as
-- by Stephens (1970).
function uniformity.p_value(d, n)
  local t = d * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))
  if t < 0.2 then return 1 end
  local sum = 0
  for k = 1, 100 do sum = sum + 2 * (-1) ^ (k - 1) * math.exp(-2 * k * k * t * t) end
  return math.max(0, math.min(1, sum))
end

--- How many of the numbers are at or below 1 / points, 2 / points, …, 1; sorts its first argument.
function uniformity.counts_below(u, points)
  table.sort(u)
  local list, i = {}, 0
  for p = 1, points do
    while i < #u and u[i + 1] <= p / points do i = i + 1 end
    list[p] = i
  end
  return list
end

return uniformity
