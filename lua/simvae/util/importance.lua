--- Importance weights, and draws by them.
local importance = {}

--- Weights of their logarithms, the largest 1, in place; NaN has none.
-- @tparam {number,...} list
-- @treturn number their sum, 0 where none is above 0
-- @treturn number the sum of their squares: sum^2 / squares is the effective sample size (Kong 1992)
function importance.weigh(list)
  local top, sum, squares = -math.huge, 0, 0
  for _, v in ipairs(list) do
    if v > top then top = v end
  end
  for i, v in ipairs(list) do
    local w = v == v and top > -math.huge and math.exp(v - top) or 0
    list[i], sum, squares = w, sum + w, squares + w * w
  end
  return sum, squares
end

--- n of the numbers of weights by systematic resampling, for which one uniform number is drawn, in random order: those
-- that follow each other are often equal.
-- @tparam {number,...} weights
-- @tparam number total their sum, above 0
-- @tparam integer n
-- @tparam rng rng
-- @treturn {integer,...}
function importance.resampled(weights, total, n, rng)
  local taken, at, upto, start = {}, 0, 0, rng:uniform()
  for k = 1, n do
    local goal = (k - 1 + start) / n * total
    while upto <= goal and at < #weights do
      at = at + 1
      upto = upto + weights[at]
    end
    while weights[at] == 0 do at = at - 1 end -- rounded sums end below the total
    taken[k] = at
  end
  local mixed = {}
  for k, from in ipairs(rng:permutation(n)) do mixed[k] = taken[from] end
  return mixed
end

return importance
