--- Rows of parameter values, in units, as code outside the networks compares them.
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"

local parameters = {}

--- An estimate as valid parameters of the simulator: each value as of parameter.confine.
-- @tparam {table,...} params of a simulator
-- @tparam {number,...} row values in their order
-- @treturn {number,...} the same within the bounds
-- @treturn boolean whether any value was outside, by more than the tolerance
function parameters.within(params, row)
  local result, outside = {}, false
  for i, p in ipairs(params) do
    local beyond
    result[i], beyond = parameter.confine(p, row[i])
    outside = outside or beyond > 0
  end
  return result, outside
end

--- Rows for mutual information: every value by parameter.scaled.
-- @tparam {table,...} params
-- @tparam {table,...} rows lists of values
-- @treturn tensor (N, K)
function parameters.scaled(params, rows)
  local result, value = {}, parameter.scaled
  for n, row in ipairs(rows) do
    local out = {}
    for i, p in ipairs(params) do out[i] = value(p, row[i]) end
    result[n] = out
  end
  return core.tensor(result)
end

--- Options of metrics of mutual information for the columns of `scaled`.
-- @treturn {string,...} names
-- @treturn {integer|false,...} levels
function parameters.columns(params)
  local names, levels = {}, {}
  for i, p in ipairs(params) do names[i], levels[i] = p.name, p.levels or false end
  return names, levels
end

--- A table by parameter name from a list.
function parameters.by_name(params, values)
  local result = {}
  for i, p in ipairs(params) do result[p.name] = values[i] end
  return result
end

return parameters
