--- Outputs of a simulator from a CSV table, for the encoder of a model.
--
-- A row an output, of as many cells as it has numbers; or one column, of one output. Of a simulator that declares
-- `series` also a column a series, with one of the axis or without: by their names, where the first line has all of the
-- series', in any order and among others; else by their places, the axis first. A first line that is not numbers names
-- the columns; numbers may have decimal commas (simvae.simulator.dataset.cells).
--
-- The values of the axis are compared with those that the simulator declares, and units with its units.
local cells = require "simvae.simulator.dataset.cells"
local check = require "simvae.util.check"
local core = require "simvae.core"
local csv = require "simvae.io.csv"
local outcome = require "simvae.cli.outcome"

local tables = {}

local OFF = 0.1      -- of a step between two points: how far a value of the axis may be from the declared one
local MAX_NAMED = 8  -- columns that a message names

-- ---- cells -------------------------------------------------------------------------------------

-- The names and units of the columns, where the first line is not of numbers; else nil, and the line becomes a row.
local function columns_of(header, rows)
  local reader = cells.reader()
  for _, cell in ipairs(header) do
    if not reader:number(cell, rows.separator, header.line, cell) then return cells.columns(header) end
  end
  table.insert(rows, 1, header)
end

local function title(columns, place)
  return columns and columns[place].text or tostring(place)
end

-- Replaces cells of rows, in some of the columns, by their numbers.
local function read_numbers(rows, places, name, columns)
  local reader = cells.reader()
  for _, row in ipairs(rows) do
    for _, i in ipairs(places) do
      local v, why = reader:number(row[i], rows.separator, row.line, title(columns, i))
      if not v then outcome.fail("%s, line %d: column '%s' %s", name, row.line, title(columns, i), why) end
      row[i] = v
    end
  end
  local unclear = reader:ambiguity "write numbers with a decimal point"
  if unclear then outcome.fail("%s, %s", name, unclear) end
end

-- ---- curves ------------------------------------------------------------------------------------

-- The places of the series' columns and of the axis' (nil: there is none), by their names; nil: not all are named.
local function named_places(columns, series)
  if not columns then return nil end
  local places, axis = {}, nil
  for i, column in ipairs(columns) do
    for k, one in ipairs(series) do
      if column.name == one.name or column.text == one.name then places[k] = places[k] or i end
    end
    if series.axis and column.name == series.axis.name then axis = axis or i end
  end
  for k = 1, #series do
    if not places[k] then return nil end
  end
  if not axis and #columns == #series + 1 then
    local taken = {}
    for _, i in ipairs(places) do taken[i] = true end
    axis = not taken[1] and 1 or nil
  end
  return places, axis
end

-- The same by their number.
local function counted_places(width, series)
  if width ~= #series and width ~= #series + 1 then return nil end
  local places, before = {}, width - #series
  for k = 1, #series do places[k] = before + k end
  return places, before == 1 and 1 or nil
end

-- The value of a declared axis at one of n points.
local function axis_value(axis, i, n)
  local share = n > 1 and (i - 1) / (n - 1) or 0
  if axis.scale == "log" then return axis.low * (axis.high / axis.low) ^ share end
  return axis.low + share * (axis.high - axis.low)
end

-- Ends with a message where the measurement was not taken where the simulator's outputs are.
local function check_axis(rows, place, series, name, columns)
  local axis, n = series.axis, #rows
  if type(axis) ~= "table" or type(axis.low) ~= "number" or type(axis.high) ~= "number" then return end
  if axis.scale == "log" and not (axis.low > 0 and axis.high > 0) then return end
  for i, row in ipairs(rows) do
    local due = axis_value(axis, i, n)
    local step = math.abs(n > 1 and axis_value(axis, i < n and i + 1 or i - 1, n) - due or due)
    if math.abs(row[place] - due) > OFF * step then
      local unit = (axis.unit or "") ~= "" and " " .. axis.unit or ""
      outcome.fail("%s, line %d: column '%s' is %.6g where the simulator's %s is %.6g%s: interpolate the measurement "
        .. "to the simulator's %d values, %.6g to %.6g%s%s; without the column nothing is compared", name, row.line,
        title(columns, place), row[place], axis.name or "axis", due, unit, n, axis.low,
        axis.high, unit, axis.scale == "log" and " evenly in the logarithm" or "")
    end
  end
end

-- Reports units of columns that are not the declared ones.
local function check_units(columns, places, axis, series, name)
  local function compare(place, declared)
    local unit = columns[place].unit
    local due = type(declared) == "table" and declared.unit or ""
    if unit and due ~= "" and unit ~= due then
      io.stderr:write(string.format("%s: column '%s' is taken to be in %s, as the simulator's output\n", name,
        columns[place].text, due))
    end
  end
  for k, place in ipairs(places) do compare(place, series[k]) end
  if axis then compare(axis, series.axis) end
end

-- Reports columns with names of which not all are the series': they are taken in their order.
local function report_order(columns, places, series, name)
  local taken = {}
  for k, place in ipairs(places) do
    if k > MAX_NAMED then break end
    taken[k] = string.format("'%s' as %s", columns[place].text, series[k].name)
  end
  io.stderr:write(string.format("%s: columns are taken in their order: %s%s\n", name, table.concat(taken, ", "),
    #places > MAX_NAMED and ", …" or ""))
end

-- Columns one after the other.
local function stacked(rows, places)
  local list = {}
  for _, place in ipairs(places) do
    for _, row in ipairs(rows) do list[#list + 1] = row[place] end
  end
  return { list }
end

-- The numbers of one output of columns of curves, in their order; nil: the columns are none.
local function of_curves(rows, sim, name, columns)
  local series = sim.series
  if not series or #rows * #series ~= check.count(sim.output) then return nil end
  local places, axis = named_places(columns, series)
  if not places then
    places, axis = counted_places(#rows[1], series)
    if not places then return nil end
    if columns then report_order(columns, places, series, name) end
  end
  read_numbers(rows, axis and { axis, table.unpack(places) } or places, name, columns)
  if axis then check_axis(rows, axis, series, name, columns) end
  if columns then check_units(columns, places, axis, series, name) end
  return stacked(rows, places)
end

-- ---- tables ------------------------------------------------------------------------------------

-- What the model takes, for a message.
local function forms_text(sim, count)
  local series, text = sim.series, string.format("rows of %d numbers, an output each", count)
  if not series then return string.format("%s, or %d rows of one number", text, count) end
  local names = { series.axis and series.axis.name }
  for k = 1, math.min(#series, MAX_NAMED) do names[#names + 1] = series[k].name end
  if #series > MAX_NAMED then names[#names + 1] = "…" end
  return string.format("%s, or one output as %d rows of %s", text, count // #series, table.concat(names, ", "))
end

--- Reads a table.
-- @tparam string path
-- @tparam string name of the file, for messages
-- @tparam Simulator sim
-- @treturn tensor (N, …output)
function tables.read(path, name, sim)
  local header, rows = csv.read(path)
  if not header then outcome.fail("%s", (rows:gsub("^" .. path:gsub("%p", "%%%0"), name))) end
  local columns = columns_of(header, rows)
  if #rows == 0 then outcome.fail("%s has no rows", name) end
  local count, width = check.count(sim.output), #rows[1]
  local found
  if width == count then
    local places = {}
    for i = 1, width do places[i] = i end
    read_numbers(rows, places, name, columns)
    found = rows
  elseif width == 1 and #rows == count then
    read_numbers(rows, { 1 }, name, columns)
    found = stacked(rows, { 1 })
  else
    found = of_curves(rows, sim, name, columns)
  end
  if not found then
    outcome.fail("%s has %d row%s of %d number%s; the model takes %s", name, #rows, #rows == 1 and "" or "s", width,
      width == 1 and "" or "s", forms_text(sim, count))
  end
  return core.tensor(found):reshape { #found, table.unpack(sim.output) }
end

return tables
