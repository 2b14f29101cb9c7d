--- The option `drop` of data sets: columns that are left out, by position, by header or by name.
local cells = require "simvae.simulator.dataset.cells"
local check = require "simvae.util.check"

local drop = {}

--- Is a column omitted?
-- @tparam ?table list the option
-- @tparam integer place of the column
-- @tparam ?table column of cells.columns, where it has a header
function drop.has(list, place, column)
  for _, entry in ipairs(list or {}) do
    if entry == place or column and cells.is_named(entry, place, column) then return true end
  end
  return false
end

--- An entry of which there is no column, as a message; or nil.
-- @tparam ?table list the option
-- @tparam table|integer columns those of cells.columns, or their number
function drop.in_vain(list, columns)
  local named = type(columns) == "table"
  for _, entry in ipairs(list or {}) do
    local there = math.type(entry) == "integer" and entry >= 1 and entry <= (named and #columns or columns)
    local known = {}
    for i, column in ipairs(named and columns or {}) do
      there, known[i] = there or cells.is_named(entry, i, column), column.text
    end
    if not there then
      return string.format("drop: there is no column %s; there are %s", check.describe(entry),
        named and table.concat(known, ", ") or "1 to " .. columns)
    end
  end
end

return drop
