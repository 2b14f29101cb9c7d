--- Rows of parameter values, in units, as code outside the networks compares them.
local core = require "simvae.core"

local parameters = {}

--- An answer as the simulator takes it: within the bounds, a period wrapped, whole for a class.
-- @tparam {table,...} params of a simulator
-- @tparam {number,...} row values in their order
-- @treturn {number,...} the same within the bounds
-- @treturn boolean whether any value was outside
function parameters.within(params, row)
  local result, outside = {}, false
  for i, p in ipairs(params) do
    local v = row[i]
    if p.levels then v = math.floor(v + 0.5) end
    if p.period then v = p.low + (v - p.low) % p.period end
    local w = math.max(p.low, math.min(p.high, v))
    local slack = 1e-5 * (p.high - p.low)
    outside = outside or math.abs(w - v) > slack
    result[i] = w
  end
  return result, outside
end

--- A value on the scale that its errors are judged on: the logarithm of a log-scaled parameter
-- (which has no zero: at least a thousandth of its lower bound), the nearest class of a categorical one.
function parameters.scaled_value(p, v)
  if p.levels then return math.max(1, math.min(p.levels, math.floor(v + 0.5))) end
  if p.scale == "log" then return math.log(math.max(v, p.low * 1e-3)) end
  return v
end

--- Rows as the mutual information sees them: every value by `scaled_value`.
-- @tparam {table,...} params
-- @tparam {table,...} rows lists of values
-- @treturn tensor (N, K)
function parameters.scaled(params, rows)
  local result, value = {}, parameters.scaled_value
  for n, row in ipairs(rows) do
    local out = {}
    for i, p in ipairs(params) do out[i] = value(p, row[i]) end
    result[n] = out
  end
  return core.tensor(result)
end

--- What the metrics built on mutual information want to know of the columns of `scaled`.
-- @treturn {string,...} names
-- @treturn {integer|false,...} levels
function parameters.columns(params)
  local names, levels = {}, {}
  for i, p in ipairs(params) do names[i], levels[i] = p.name, p.levels or false end
  return names, levels
end

--- The width of a parameter's range on its scale.
function parameters.range(p)
  return p.scale == "log" and math.log(p.high / p.low) or p.high - p.low
end

--- A table by parameter name from a list.
function parameters.by_name(params, values)
  local result = {}
  for i, p in ipairs(params) do result[p.name] = values[i] end
  return result
end

return parameters
