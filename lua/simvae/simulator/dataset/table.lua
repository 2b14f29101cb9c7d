--- A CSV table with a column for each parameter and each output, as spreadsheets, LTspice and instruments
-- write it.
--
--     R [kOhm], C [nF], gain, phase (deg)        wide: a run in each row
--     R [kOhm], C [nF], time (s), v (V)          long: a point in each row (axis = "time")
--
-- Columns are named by the options `params` and `outputs`; with one of them the other is the rest. Lines that begin
-- with # are comments; the last one before a table without a header is its header, as numpy.savetxt writes it.
local axis_of = require "simvae.simulator.dataset.axis"
local cells = require "simvae.simulator.dataset.cells"
local check = require "simvae.util.check"
local core = require "simvae.core"
local csv = require "simvae.io.csv"
local drop = require "simvae.simulator.dataset.drop"
local file = require "simvae.io.file"
local long = require "simvae.simulator.dataset.long"
local ltspice = require "simvae.simulator.dataset.ltspice"
local rows_of = require "simvae.simulator.dataset.numbers"

local refuse = file.refuse
local MAX_NAMED = 3    -- missing values that a message names
local MAX_LISTED = 20  -- columns that a message lists

local Table = {}
Table.__index = Table

-- ---- which column is what ----------------------------------------------------------------------

local function texts_of(columns)
  local list = {}
  for i = 1, math.min(#columns, MAX_LISTED) do list[i] = columns[i].text end
  if #columns > MAX_LISTED then list[#list + 1] = string.format("… (%d columns)", #columns) end
  return table.concat(list, ", ")
end

-- The place of the column that an option names.
local function place_of(self, option, entry)
  if type(entry) == "table" then entry = entry.name end
  for i, column in ipairs(self.columns) do
    if cells.is_named(entry, i, column) then return i end
  end
  refuse("%s: there is no column %s; there are %s", option, check.describe(entry), texts_of(self.columns))
end

local function places_of(self, option, entries, taken)
  local places = {}
  for k, entry in ipairs(entries) do
    local i = place_of(self, option, entry)
    if taken[i] then refuse("%s: column '%s' is one of %s", option, self.columns[i].text, taken[i]) end
    places[k], taken[i] = i, option
  end
  return places
end

-- Columns that no option names.
local function rest(self, taken)
  local places = {}
  for i, column in ipairs(self.columns) do
    if not taken[i] and not drop.has(self.given.drop, i, column) then places[#places + 1] = i end
  end
  return places
end

local function say_which(self)
  refuse("params = { … } names the columns that are parameters, or outputs = { … } those that are outputs; there are "
    .. "%s", texts_of(self.columns))
end

local function choose(self)
  local given, taken = self.given, {}
  local vain = drop.in_vain(given.drop, self.columns)
  if vain then refuse("%s", vain) end
  if type(given.axis) == "string" then self.axis = places_of(self, "axis", { given.axis }, taken)[1] end
  if given.run then self.run = places_of(self, "run", { given.run }, taken)[1] end
  if self.steps then
    self.axis = self.axis or 1
    taken[self.axis] = "axis"
    self.params = {}
  elseif not (given.params or given.outputs) then
    say_which(self)
  end
  if given.params and not self.steps then self.params = places_of(self, "params", given.params, taken) end
  if given.outputs then self.outputs = places_of(self, "outputs", given.outputs, taken) end
  self.others = given.outputs and self.params and rest(self, taken) or {}
  self.params = self.params or rest(self, taken)
  self.outputs = self.outputs or rest(self, taken)
  if #self.params == 0 and not self.steps then refuse("no column is left for the parameters") end
  if #self.outputs == 0 then refuse("no column is left for the outputs") end
end

-- Checks the names of the columns that are used.
local function check_names(self)
  local seen = {}
  for _, places in ipairs { self.params, self.axis and { self.axis } or {}, self.outputs } do
    for _, i in ipairs(places) do
      local fault = cells.fault(self.columns, i, seen)
      if fault then refuse("%s", fault) end
    end
  end
end

-- Curves of a first row of data: each output, or both parts of a complex one.
local function split_complex(self, row)
  self.curves = {}
  for _, i in ipairs(self.outputs) do
    local column = self.columns[i]
    local a, _, parts = nil, nil, nil
    if self.separator == "\t" then a, _, parts = ltspice.complex(row[i]) end
    if a then
      self.complex = true
      for k = 1, 2 do
        self.curves[#self.curves + 1] = { place = i, part = k, name = column.name .. parts[k][1], unit = parts[k][2] }
      end
    else
      self.curves[#self.curves + 1] = { place = i, name = column.name, unit = column.unit }
    end
  end
end

-- ---- rows --------------------------------------------------------------------------------------

local function failed(self, row, i, why)
  refuse("line %d: column '%s' %s%s", row.line, self.columns[i].text, why,
    self.given.outputs and "" or string.format(" (drop = { %q } leaves it out)", self.columns[i].text))
end

-- The number in a column; nil where it is missing, which is recorded.
local function number_at(self, row, i, text)
  text = text or row[i]
  if cells.is_missing(text) then
    local list = self.missing
    list.count = list.count + 1
    if #list < MAX_NAMED then
      list[#list + 1] = string.format("line %d, column '%s'", row.line, self.columns[i].text)
    end
    return nil
  end
  local v, why = self.reader:number(text, self.separator, row.line, self.columns[i].text)
  if not v then failed(self, row, i, why) end
  return v
end

local function numbers_at(self, row, places)
  local values, whole = {}, true
  for k, i in ipairs(places) do
    values[k] = number_at(self, row, i)
    whole = whole and values[k] ~= nil
  end
  return values, whole
end

-- Values of the curves in a row.
local function outputs_at(self, row)
  if not self.complex then return numbers_at(self, row, self.outputs) end
  local values, whole = {}, true
  for k, curve in ipairs(self.curves) do
    local text = row[curve.place]
    if curve.part then text = select(curve.part, ltspice.complex(text)) or text end
    values[k] = number_at(self, row, curve.place, text)
    whole = whole and values[k] ~= nil
  end
  return values, whole
end

local function first_row(self, row)
  if not self.outputs then
    choose(self)
    check_names(self)
  end
  split_complex(self, row)
  if self.axis then
    self.runs = long.runs(#self.curves, self.run ~= nil)
  else
    self.wide = rows_of.new(#self.curves)
    local watched = table.move(self.outputs, 1, #self.outputs, #self.others + 1, { table.unpack(self.others) })
    self.watch = self.given.axis == nil and axis_of.watch(watched) or nil
  end
end

local function watch_row(self, z, row)
  self.watch:see(z, function(i)
    return (self.looking:number(row[i], self.separator, row.line, self.columns[i].text))
  end, row.line)
end

local function data_row(self, row)
  csv.check_width(row, #self.columns)
  if not self.curves then first_row(self, row) end
  local z, whole = numbers_at(self, row, self.params)
  if self.steps then z = self.step or refuse("line %d: a row before the first step", row.line) end
  local at = self.axis and number_at(self, row, self.axis)
  local values, complete = outputs_at(self, row)
  if not whole or not complete or self.axis and not at then
    self.skipped = self.skipped + 1
  elseif self.axis then
    self.runs:add(z, at, values, self.run and row[self.run], row.line)
  else
    self.wide:add(z, values)
    if self.watch then watch_row(self, z, row) end
  end
end

-- A line between two runs of LTspice.
local function step_row(self, row)
  local names, values = ltspice.step(row[1])
  if not names then refuse("line %d: %s", row.line, values) end
  self.steps = self.steps or names
  self.step = {}
  for k, name in ipairs(self.steps) do
    self.step[k] = values[name] or refuse("line %d: the step has no %s, as others have", row.line, name)
  end
  if self.runs then self.runs.last = nil end
end

local function units_row(self, row)
  if #row ~= #self.columns then return false end
  local any = false
  for _, text in ipairs(row) do
    if text ~= "" and not cells.unit_alone(text) then return false end
    any = any or text ~= ""
  end
  for i, column in ipairs(self.columns) do column.unit = column.unit or cells.unit_alone(row[i]) end
  return any
end

local function header_row(self, row, separator)
  local header = row
  if cells.no_header(row) then
    header = self.comment and csv.cells(core.number.trim(self.comment), separator)
    if not header or #header ~= #row then refuse("%s", cells.no_header(row)) end
  end
  self.separator, self.columns = separator, cells.columns(header)
  if separator == "\t" and (header[1] == "time" or header[1] == "Freq.") then
    for _, column in ipairs(self.columns) do
      if not column.unit then column.name, column.unit = ltspice.column(column.text) end
    end
  end
  return header == row
end

local function one_row(self, row, separator)
  if not self.columns then
    if header_row(self, row, separator) then return end
  elseif not self.begun then
    self.begun = true
    if units_row(self, row) then return end
  end
  self.begun = true
  if #row == 1 and ltspice.is_step(row[1]) then return step_row(self, row) end
  data_row(self, row)
end

-- ---- the whole ---------------------------------------------------------------------------------

local function check_missing(self)
  local list = self.missing
  if list.count == 0 or self.given.missing == "skip" then return end
  refuse('%d missing value%s: %s%s; missing = "skip" leaves %s out', list.count, list.count > 1 and "s" or "",
    table.concat(list, "; "), list.count > #list and string.format("; and %d more", list.count - #list) or "",
    self.skipped > 1 and "these rows" or "this row")
end

-- The place of the axis where the table turns out to be long; nil: it is wide.
local function axis_found(self)
  if not self.watch then return nil end
  local place, what, places = self.watch:verdict()
  if place or not what then return place end
  local names = {}
  for k, i in ipairs(places) do names[k] = string.format("axis = %q", self.columns[i].text) end
  refuse("%s: %s reads them as points of a run (long form), axis = false each row as a run", what,
    table.concat(names, " or "))
end

local function source_of(self)
  local rows, x, axis
  if self.axis then
    rows, x, axis = self.runs:finish(self.columns[self.axis], self.given.points)
  else
    rows, x = self.wide:finish()
  end
  local columns, series = {}, self.axis and { axis = axis } or nil
  for k, name in ipairs(self.steps or {}) do columns[k] = { name = name } end
  for k, i in ipairs(self.params) do columns[k] = self.columns[i] end
  for k, curve in ipairs(series and self.curves or {}) do series[k] = { name = curve.name, unit = curve.unit or "" } end
  local notices = {}
  if self.skipped > 0 then notices[1] = string.format("%d rows with missing values are left out", self.skipped) end
  return rows, x, { columns = columns, dropped = true, series = series, notices = notices }
end

local read

-- Reads the rows, and again in long form where an axis is found.
local function finish(self)
  if not self.columns then refuse "is empty: its first line names the columns" end
  if not self.curves then refuse "no rows after the header" end
  check_missing(self)
  local unclear = self.reader:ambiguity()
  if unclear then refuse("%s", unclear) end
  local found = axis_found(self)
  if found then
    local again = {}
    for name, v in pairs(self.given) do again[name] = v end
    again.axis = self.columns[found].text
    local rows, x, about = read(again)
    if not rows then return nil, x:sub(#self.given.path + 3) end -- without the path
    table.insert(about.notices, string.format("rows are points along '%s' of %d runs (axis = false reads each row as a "
      .. "run)", again.axis, #rows))
    return rows, x, about
  end
  if #(self.runs and self.runs.list or self.wide.z) == 0 then refuse "no row without missing values" end
  return source_of(self)
end

function read(given)
  local self = setmetatable({
    given = given, missing = { count = 0 }, skipped = 0,
    reader = cells.reader(given.decimal), looking = cells.reader(given.decimal),
  }, Table)
  local ok, why = csv.visit(given.path, function(row, separator) one_row(self, row, separator) end,
    function(text) self.comment = not self.columns and text or self.comment end)
  if not ok then return nil, why end
  local results = table.pack(file.attempt(finish, self))
  if not results[1] then return file.failure(given.path, results[2]) end
  return table.unpack(results, 1, results.n)
end

--- Reads a table.
-- @tparam table given the options of sv.dataset
-- @treturn {table,...} rows of parameters
-- @treturn tensor x (N, n)
-- @treturn table columns (name, unit), series, notices; or nil, message
return read
