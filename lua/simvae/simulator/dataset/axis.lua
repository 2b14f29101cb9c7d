--- Is a table in wide form, a run in each row, or in long form, a point of a run in each row?
--
-- Where no two consecutive rows have the same parameters it is wide. Else it is long along a column that takes the
-- same increasing or decreasing values in every run. That it might be a count of repetitions, or that there is
-- no such column but one that goes one way within each run, is an error: the option `axis` decides.
local axis = {}

local Watch = {}
Watch.__index = Watch

--- Watches the columns that may be an axis while rows are read.
-- @tparam {integer,...} places of the columns
function axis.watch(places)
  local columns = {}
  for i, place in ipairs(places) do
    columns[i] = { place = place, values = {}, at = 0, periodic = true, one_way = true }
  end
  return setmetatable({ columns = columns, repeats = 0, rows = 0 }, Watch) -- z, number: of the row before
end

-- The next value of a column whose values repeat: starts again with the first one, else goes on.
local function see_period(column, v, same)
  local values = column.values
  if column.length then
    column.at = column.at % column.length + 1
    column.periodic = values[column.at] == v and (same or column.at == 1)
    return
  end
  local n = #values
  if n >= 2 and v == values[1] or not same and n >= 1 then
    column.length, column.at = n, 1
    column.periodic = n >= 2 and v == values[1]
    return
  end
  column.periodic = n < 2 and (n == 0 or v ~= values[1]) or n >= 2 and (v - values[n]) * (values[n] - values[1]) > 0
  values[n + 1] = v
end

-- Whether the column goes one way within each group of rows of the same parameters; v: nil where it holds no number.
local function see_way(column, v, before)
  local step = v and before and v - before or 0
  column.one_way = step ~= 0 and (not column.step or step * column.step > 0)
  column.step = step
end

--- Sees a row. Numbers of columns are read where they are needed.
-- @tparam {number,...} z its parameters
-- @tparam function number number(place) -> the number in a column, or nil
-- @tparam integer line
function Watch:see(z, number, line)
  local same = self.z ~= nil
  for k, v in ipairs(z) do same = same and self.z[k] == v end
  if same and not self.first then self.first = line end
  for _, column in ipairs(self.columns) do
    if column.periodic then
      local v = number(column.place)
      if v then see_period(column, v, same) else column.periodic = false end
    end
    if not same then
      column.step = nil
    elseif column.one_way then
      see_way(column, number(column.place), self.number(column.place))
    end
  end
  self.z, self.number, self.rows, self.repeats = z, number, self.rows + 1, self.repeats + (same and 1 or 0)
end

local function is_count(values)
  for i, v in ipairs(values) do
    if v ~= values[1] + i - 1 then return false end
  end
  return values[1] == 0 or values[1] == 1
end

--- What the rows are.
-- @treturn ?integer the place of the axis' column; nil: each row is a run
-- @treturn ?string or nil and what is ambiguous; the columns that may be the axis
-- @treturn {integer,...} their places
function Watch:verdict()
  if self.repeats == 0 then return nil end
  local found, others = {}, {}
  for _, column in ipairs(self.columns) do
    local whole = column.periodic and (column.length and column.at == column.length
      or not column.length and self.repeats == self.rows - 1)
    if whole then
      found[#found + 1] = column
    elseif column.one_way then
      others[#others + 1] = column
    end
  end
  if #found == 1 and not is_count(found[1].values) and found[1].length then return found[1].place end
  if #found == 0 then found = others end
  if #found == 0 then return nil end
  for i, column in ipairs(found) do found[i] = column.place end
  return nil, string.format("lines %d and before have the same parameters", self.first), found
end

return axis
