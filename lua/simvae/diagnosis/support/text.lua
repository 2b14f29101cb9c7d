--- Words of findings.
local parameter = require "simvae.simulator.parameter"

local text = {}

--- Names of things in a sentence: "3", "3 and 5", "3, 5 and 12 more".
-- @tparam table list
-- @tparam ?integer most that are named (6)
-- @treturn string
function text.list(list, most)
  most = most or 6
  local shown = math.min(#list, most)
  if #list == 1 then return tostring(list[1]) end
  if #list > shown then return table.concat(list, ", ", 1, shown) .. string.format(" and %d more", #list - shown) end
  return table.concat(list, ", ", 1, shown - 1) .. " and " .. tostring(list[shown])
end

--- Names of parameters in quotes.
-- @tparam {string,...} names
-- @treturn string
function text.names(names)
  local quoted = {}
  for i, name in ipairs(names) do quoted[i] = "'" .. name .. "'" end
  return text.list(quoted)
end

--- Elements of a vector, or channels of a picture: "elements 3 and 5".
-- @tparam Simulator sim
-- @tparam {integer,...} list
-- @treturn string
function text.elements(sim, list)
  local kind = #sim.output == 3 and "channel" or "element"
  return (#list == 1 and kind or kind .. "s") .. " " .. text.list(list)
end

--- A share as a percentage.
function text.percent(v)
  return string.format(v < 0.1 and v > 0 and "%.1f%%" or "%.0f%%", 100 * v)
end

--- A value with its unit.
function text.value(p, v)
  return string.format("%.4g", v) .. (p.unit ~= "" and " " .. p.unit or "")
end

--- The bounds of a parameter with its unit.
function text.bounds(p)
  return parameter.bounds_text(p) .. (p.unit ~= "" and " " .. p.unit or "")
end

return text
