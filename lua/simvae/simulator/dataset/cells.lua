--- Cells of tables: names and units of columns, and numbers with a decimal point or a decimal comma.
--
--     header        name    unit
--     R [kOhm]      R       kOhm       also w (px), and l / mm
--     V(out)        V(out)             no blank before it: part of the name
--     x[1]          x[1]               no letter in it: an index
--
-- A comma is the decimal separator of "1,5" where the cells are separated by semicolons or where no cell has a decimal
-- point; both in one file, and numbers such as "1,500" that may be meant as thousands, need the option `decimal`.
local check = require "simvae.util.check"
local core = require "simvae.core"

local cells = {}

local forms = { "^(.-)%s*(%b[])$", "^(.-)%s+(%b())$" }

-- A unit has a letter, or one of °, %, Ω and other bytes beyond ASCII.
local function is_unit(text) return text:find "[%a%%\128-\255]" ~= nil end

--- The name and the unit of a column's header.
-- @tparam string text
-- @treturn string name
-- @treturn ?string unit
function cells.name_and_unit(text)
  text = text:gsub("%s+", " ")
  if #text > 256 then return text end
  for _, form in ipairs(forms) do
    local name, unit = text:match(form)
    if name and name ~= "" and is_unit(unit:sub(2, -2)) then return name, core.number.trim(unit:sub(2, -2)) end
  end
  local name, unit = text:match "^(.-) / ([^/]+)$"
  if name and name ~= "" and is_unit(unit) then return name, unit end
  return text
end

--- The unit of a cell that holds nothing else, such as (ms) or [V], of a line below the header; nil: it is none.
function cells.unit_alone(text)
  local unit = text:match "^%(([^()]+)%)$" or text:match "^%[([^%[%]]+)%]$"
  return unit and is_unit(unit) and unit or nil
end

local missing = { nan = true, na = true, null = true, none = true, ["n/a"] = true, ["#n/a"] = true, ["-"] = true }

--- Is it a missing value? In any case: an empty cell, NaN, NA, null, none, N/A, #N/A, -.
function cells.is_missing(text) return text == "" or missing[text:lower()] or false end

-- ---- numbers -----------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

--- Reads numbers of one file.
-- @tparam ?string decimal the option: "." or ","
-- @treturn table reader with `number` and `ambiguity`
function cells.reader(decimal)
  return setmetatable({ decimal = decimal }, Reader)
end

local function with_comma(text)
  local whole, digits, exponent = text:match "^([+-]?%d*),(%d+)([eEdD]?[+-]?%d*)$"
  if not whole then return nil end
  return whole .. "." .. digits .. exponent, #digits == 3 and whole:find "^[+-]?[1-9]%d?%d?$" and exponent == ""
end

-- The number of a cell with a comma, or nil and why it is none.
local function read_comma(self, cell, separator, line, column)
  local text, like_thousands = with_comma(cell)
  if not text or self.decimal == "." then return core.number.read(cell) end
  local place = string.format("line %d: column '%s' is %q", line, column, cell)
  if not like_thousands or separator == ";" then
    self.comma = self.comma or place
  else
    self.unclear = self.unclear or place
  end
  return core.number.read(text)
end

--- The number of a cell.
-- @tparam string cell
-- @tparam string separator of the file
-- @tparam integer line
-- @tparam string column its header
-- @treturn number; or nil, what is wrong with it ("is empty: a missing value")
function Reader:number(cell, separator, line, column)
  if cell == "" then return nil, "is empty: a missing value" end
  local v, why
  if cell:find(",", 1, true) then
    v, why = read_comma(self, cell, separator, line, column)
  else
    v, why = core.number.read(cell)
    if v and cell:find(".", 1, true) then
      if self.decimal == "," then
        return nil, string.format('is %q, which has a decimal point (decimal = ",")', cell)
      end
      self.point = self.point or string.format("line %d: column '%s' is %q", line, column, cell)
    end
  end
  if not v then return nil, string.format("is %q, which %s", cell, why) end
  if v - v ~= 0 then return nil, string.format("is %q: not a finite number", cell) end
  return v
end

--- Why the decimal separator of the file is not clear, and what to do; nil: it is.
-- @tparam ?string remedy default: the option `decimal`
function Reader:ambiguity(remedy)
  if self.decimal then return nil end
  local comma = self.comma or self.unclear
  remedy = remedy or 'decimal = "," or decimal = "." says which one is the decimal separator'
  if comma and self.point then return string.format("%s, and %s; %s", comma, self.point, remedy) end
  if self.unclear and not self.comma then
    return string.format("%s, which may be thousands or a decimal comma; %s", self.unclear, remedy)
  end
end

-- ---- columns -----------------------------------------------------------------------------------

--- Is a column named by an entry of an option? By its place, its header or its name without the unit.
-- @param entry of the option
-- @tparam integer place
-- @tparam table column text, name
function cells.is_named(entry, place, column)
  return entry == place or entry == column.text or entry == column.name
end

--- The columns of a header.
-- @tparam {string,...} header
-- @treturn {table,...} text (the header), name, unit
function cells.columns(header)
  local list, seen = {}, {}
  for i, text in ipairs(header) do
    local name, unit = cells.name_and_unit(text)
    list[i] = { text = text:gsub("%s+", " "), name = name, unit = unit }
    seen[name] = (seen[name] or 0) + 1
  end
  for _, one in ipairs(list) do -- V [mV] and V [V] keep their units in their names
    if seen[one.name] > 1 then one.name = one.text end
  end
  return list
end

--- Why a column cannot be read, or nil.
-- @tparam {table,...} columns as of cells.columns
-- @tparam integer i its place
-- @tparam table seen name -> place of those before; it is added
function cells.fault(columns, i, seen)
  local name = columns[i].name
  local fault = check.name_fault(name) or columns[i].unit and check.name_fault(columns[i].unit)
  local what = name == "" and "has no name" or fault and "has a name that " .. fault
    or seen[name] and string.format("is named '%s', as column %d is", name, seen[name])
  seen[name] = i
  return what and string.format("column %d %s (drop = { %d } leaves it out)", i, what, i)
end

--- Why names look like a row of numbers, or nil.
-- @tparam {string,...} names
-- @tparam ?{string,...} header that they are of, for the message; default: themselves
function cells.no_header(names, header)
  for _, text in ipairs(names) do
    if not core.number.read(text) then return nil end
  end
  return "its first line names the columns, and holds numbers: " .. table.concat(header or names, ", ")
end

return cells
