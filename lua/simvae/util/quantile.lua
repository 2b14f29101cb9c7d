--- Quantiles of lists in ascending order (the types of Hyndman and Fan 1996).
local quantile = {}

--- The value below which, with itself, lies a share of the list: no number that is not in it (type 1).
-- @tparam {number,...} sorted
-- @tparam number share from 0 to 1
-- @treturn number
function quantile.nearest(sorted, share)
  return sorted[math.max(1, math.min(#sorted, math.ceil(share * #sorted)))]
end

--- Linear interpolation between neighbours (type 7).
-- @tparam {number,...} sorted
-- @tparam number share from 0 to 1
-- @treturn number
function quantile.interpolated(sorted, share)
  local at = 1 + share * (#sorted - 1)
  local below = math.floor(at)
  local low, high = sorted[below], sorted[math.min(below + 1, #sorted)]
  return low + (at - below) * (high - low)
end

return quantile
