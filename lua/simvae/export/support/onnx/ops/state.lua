--- States of a flow's transforms: (R, D + 1), D numbers in [0, 1] and the sum of the logarithms of their slopes. R / n
-- rows share one of n rows of parameters (csrc/ops/coupling.h).
local state = {}

--- The columns, from 0, of which a constant of D marks wants one.
-- @tparam tensor marks
-- @tparam function wants (mark) -> boolean
-- @treturn {integer,...}
function state.columns(marks, wants)
  local list = {}
  for d, mark in ipairs(marks:totable()) do
    if wants(mark) then list[#list + 1] = d - 1 end
  end
  return list
end

--- Rows (R, C) as (n, R / n, C), n the rows of `shared`.
-- @tparam Value rows
-- @tparam integer C
-- @tparam Value shared
-- @tparam table at shapes: of the state and of shared
-- @treturn Value
function state.grouped(rows, C, shared, at)
  local b, R, n = rows.b, at.shapes[1][1], at.shapes[2][1]
  if R == n then return rows:reshape { -1, 1, C } end
  if math.type(n) == "integer" then return rows:reshape { n, -1, C } end
  return rows:reshape(b:node("Concat", { shared:shape(0, 0), b:integers { -1, C } }, { axis = 0 }))
end

--- Columns of a state as (n, R / n, C).
function state.taken(rows, columns, shared, at)
  return state.grouped(rows:take(1, columns), #columns, shared, at)
end

--- A state with new numbers in some columns, and the logarithms of their slopes added to its last one.
-- @tparam Builder b
-- @tparam Value rows (R, D + 1)
-- @tparam {integer,...} columns from 0
-- @tparam Value y (R, C)
-- @tparam Value log (R, C)
-- @tparam integer D
-- @treturn Value
function state.replaced(b, rows, columns, y, log, D)
  local C, order, kept, at = #columns, {}, {}, {}
  for i, d in ipairs(columns) do at[d] = i - 1 end
  for d = 0, D - 1 do
    if not at[d] then
      kept[#kept + 1] = d
      at[d] = C + #kept - 1
    end
    order[d + 1] = at[d]
  end
  order[D + 1] = D
  local parts = { y }
  if #kept > 0 then parts[2] = rows:take(1, kept) end
  parts[#parts + 1] = rows:take(1, { D }) + log:sum({ 1 }, true)
  local all = b:node("Concat", parts, { axis = 1 })
  for i, place in ipairs(order) do
    if place ~= i - 1 then return all:take(1, order) end
  end
  return all
end

return state
