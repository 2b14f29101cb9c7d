--- Things in a sentence.
local enumeration = {}

local MOST = 6

--- "3", "3 and 5", "1, 2, 3 and 12 more".
-- @tparam table list of strings or numbers
-- @tparam ?integer most that are named (6)
-- @treturn string
function enumeration.of(list, most)
  most = most or MOST
  local shown = math.min(#list, most)
  if #list == 1 then return tostring(list[1]) end
  if #list > shown then return table.concat(list, ", ", 1, shown) .. string.format(" and %d more", #list - shown) end
  return table.concat(list, ", ", 1, shown - 1) .. " and " .. tostring(list[shown])
end

--- Elements of vectors, or channels of pictures: "elements 3 and 5".
-- @tparam {integer,...} output shape of an output
-- @tparam {integer,...} list their numbers
-- @tparam ?integer most that are named (6)
-- @treturn string
function enumeration.elements(output, list, most)
  local kind = #output == 3 and "channel" or "element"
  return (#list == 1 and kind or kind .. "s") .. " " .. enumeration.of(list, most)
end

return enumeration
