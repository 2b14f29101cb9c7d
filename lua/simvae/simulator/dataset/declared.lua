--- Parameters of a data set: what is declared, what the file says of its columns, and bounds by the rows for the rest.
local check = require "simvae.util.check"
local marginal = require "simvae.simulator.marginal"

local declared = {}

local ROUNDED_FROM = 1e5 -- single precision holds multiples of 1/128 from here on
local LISTED = 6         -- parameters that a notice names

-- Minimum and maximum of a column; or nil, message.
local function range(rows, k, name)
  local low, high = math.huge, -math.huge
  for _, row in ipairs(rows) do low, high = math.min(low, row[k]), math.max(high, row[k]) end
  if low < high then return low, high end
  return nil, string.format("parameter %d, '%s', is %g in every row; drop = { %s } leaves it out%s", k, name, low, k,
    math.abs(low) > ROUNDED_FROM and ", or store its distance from an offset, if it differs by less" or "")
end

--- Raises at the caller of sv.dataset unless its options params and outputs are of the right form.
-- @tparam string what whose they are
-- @tparam table given the options
function declared.check(what, given)
  for k, entry in ipairs(given.params or {}) do
    local name = type(entry) == "table" and entry.name or entry
    if type(name) ~= "string" then
      check.fail(3, "%s: params[%d] takes a name, or a table as of sv.simulator, { name = \"x\", low = 0, high = 1 }; "
        .. "got %s", what, k, check.describe(entry))
    end
  end
  for k, entry in ipairs(given.outputs or {}) do
    if type(entry) ~= "string" then
      check.fail(3, "%s: outputs[%d] takes the name of a column; got %s", what, k, check.describe(entry))
    end
  end
  for _, option in ipairs { "params", "outputs" } do
    if given[option] and #given[option] == 0 then check.fail(3, "%s: %s is empty", what, option) end
  end
end

-- A declaration as a table of its own.
local function copy(entry)
  if type(entry) == "string" then return { name = entry } end
  local p = {}
  for field, v in pairs(entry) do p[field] = v end
  return p
end

local function names_text(columns)
  local names = {}
  for k, column in ipairs(columns) do names[k] = column.name end
  return table.concat(names, ", ")
end

-- The column of each declaration, where columns have names and declarations use them; nil: they go by their places.
local function matched(what, list, columns)
  local place, found, missing = {}, {}, nil
  for k, column in ipairs(columns) do
    if not column.name then return nil end
    place[column.name], place[column.text or column.name] = k, k
  end
  for k, p in ipairs(list) do
    found[k] = place[p.name]
    missing = missing or not found[k] and p.name
  end
  if not next(found) then return nil end
  if missing then
    check.fail(4, "%s: params names %s, of which there is no column; there are %s", what, check.describe(missing),
      names_text(columns))
  end
  for k, p in ipairs(list) do p.name = columns[found[k]].name end
  return found
end

local function select_columns(rows, places)
  local result = {}
  for r, row in ipairs(rows) do
    result[r] = {}
    for k, place in ipairs(places) do result[r][k] = row[place] end
  end
  return result
end

-- Does a declaration need bounds?
local function needs_bounds(p)
  return not (p.levels or p.period) and not (p.prior and marginal.fault(p.prior) == nil and marginal.free(p.prior))
end

-- Fills in the bounds that are not declared. True where they are the rows', or nil and a message.
local function fill(p, column, rows, k)
  p.unit = p.unit or column.unit
  if not needs_bounds(p) then return false end
  p.low, p.high = p.low or column.low, p.high or column.high
  if p.low and p.high then return false end
  local low, high = range(rows, k, p.name)
  if not low then return nil, high end
  p.low, p.high = p.low or low, p.high or high
  return true
end

local function notice_of(list)
  local parts = {}
  for i = 1, math.min(#list, LISTED) do
    local p = list[i]
    parts[i] = string.format("%s %.6g to %.6g%s", p.name, p.low, p.high, p.unit and " " .. p.unit or "")
  end
  if #list > LISTED then parts[#parts + 1] = string.format("and %d others", #list - LISTED) end
  return string.format("bounds by the rows: %s; params = { { name = %q, low = …, high = … }, … } declares them",
    table.concat(parts, ", "), list[1].name)
end

--- The parameters.
-- @tparam string what whose they are, for messages
-- @tparam ?table given the option params: names or declarations
-- @tparam {table,...} columns of z: name, unit, low, high, as far as the file says
-- @tparam {table,...} rows of z
-- @treturn {table,...} declarations; or nil, message
-- @treturn {table,...} rows with the columns of the declarations
-- @treturn ?string notice of the bounds that are the rows'
function declared.of(what, given, columns, rows)
  local list, places = {}, nil
  for k, entry in ipairs(given or columns) do
    list[k] = given and copy(entry) or { name = entry.name or "z" .. k }
  end
  if given then
    places = matched(what, list, columns)
    if not places and #list ~= #columns then
      check.fail(3, "%s: params names %d parameters, z has %d columns", what, #list, #columns)
    end
  end
  if places then rows = select_columns(rows, places) end
  local by_rows = {}
  for k, p in ipairs(list) do
    local filled, why = fill(p, columns[places and places[k] or k], rows, k)
    if filled == nil then return nil, why end
    if filled then by_rows[#by_rows + 1] = p end
  end
  return list, rows, #by_rows > 0 and notice_of(by_rows) or nil
end

return declared
