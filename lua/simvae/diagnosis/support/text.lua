--- Words of findings.
local enumeration = require "simvae.util.enumeration"
local parameter = require "simvae.simulator.parameter"

local text = { percent = require "simvae.util.percent" }

--- Names of parameters in quotes.
-- @tparam {string,...} names
-- @treturn string
function text.names(names)
  local quoted = {}
  for i, name in ipairs(names) do quoted[i] = "'" .. name .. "'" end
  return enumeration.of(quoted)
end

--- A value with its unit.
function text.value(p, v)
  return string.format("%.4g", v) .. parameter.unit_text(p)
end

--- The bounds of a parameter with its unit.
function text.bounds(p)
  return parameter.bounds_text(p) .. parameter.unit_text(p)
end

return text
