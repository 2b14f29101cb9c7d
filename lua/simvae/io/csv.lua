--- Comma-separated values (RFC 4180) and the variants of spreadsheets.
--
-- The separator is a tab, a semicolon or a comma: the one that the header has most of outside quotes and parentheses,
-- or that of a first line "sep=;". A byte-order mark is skipped. Quoted cells may contain separators, line ends and ""
-- for a quote; blanks around an unquoted cell are dropped. Lines end with LF or CRLF, or all with CR. Lines that are
-- blank, or have separators only, are skipped; every other line has as many cells as the header.
local core = require "simvae.core"
local file = require "simvae.io.file"

local csv = {}

local refuse = file.refuse

local SHORT = 4096 -- bytes of a header whose parentheses are looked at: the time for them grows with its square

-- The separator of a header line: the most frequent outside quotes and parentheses, as of V(a,b).
local function separator_of(text)
  local line = text:match "^[^\r\n]*":gsub('"[^"]*"', "")
  if #line <= SHORT then line = line:gsub("%b()", "") end
  local best, maximum = ",", 0
  for _, c in ipairs { "\t", ";", "," } do
    local _, n = line:gsub(c, "")
    if n > maximum then best, maximum = c, n end
  end
  return best
end

-- The cell that starts at a place: its text, whether it was quoted, and the place after it, which is a separator,
-- a line's end or the text's.
local function cell_at(text, at, separator, line)
  local start = text:match("^ *()", at)
  if text:sub(start, start) ~= '"' then
    local stop = text:find("[" .. separator .. "\n]", at) or #text + 1
    return core.number.trim(text:sub(at, stop - 1)), false, stop
  end
  local from, parts = start + 1, {}
  while true do
    local quote = text:find('"', from, true)
    if not quote then refuse("line %d: a quote is not closed", line) end
    parts[#parts + 1] = text:sub(from, quote - 1)
    from = quote + 1
    if text:sub(from, from) ~= '"' then break end
    parts[#parts + 1] = '"'
    from = from + 1
  end
  local stop = text:match("^[ \r]*()", from)
  local next_byte = text:sub(stop, stop)
  if next_byte ~= "" and next_byte ~= separator and next_byte ~= "\n" then
    refuse("line %d: text follows a quoted cell", line)
  end
  return table.concat(parts), true, stop
end

-- The text without a byte-order mark, with LF at the ends of lines where they were all CR.
local function plain_text(text)
  if text:sub(1, 3) == "\xEF\xBB\xBF" then text = text:sub(4) end
  local mark = text:sub(1, 2)
  if mark == "\xFF\xFE" or mark == "\xFE\xFF" then refuse "is UTF-16 text: save it as UTF-8" end
  if text:find("\0", 1, true) then refuse "is no text" end
  if not text:find("\n", 1, true) then text = text:gsub("\r", "\n") end
  return text
end

-- Calls each(row, separator) for the rows of a text: { cells, …, line = where it starts }. Lines that begin with # are
-- given to comment(text) where there is such a function.
local function parse(text, each, comment)
  text = plain_text(text)
  local line = 1
  local separator, at = text:match "^sep=([,;\t])\r?\n()"
  if at then line = 2 else at = 1 end
  while at <= #text do
    if comment and text:byte(at) == 35 then
      local stop = text:find("\n", at, true) or #text + 1
      comment(text:sub(at + 1, stop - 1))
      at, line = stop + 1, line + 1
      goto next
    end
    if not separator and text:find("^[^\n]*%S", at) then separator = separator_of(text:sub(at, at + 65535)) end
    do
      local row, empty = { line = line }, true
      repeat
        local cell, quoted, stop = cell_at(text, at, separator or ",", line)
        if quoted then line = line + select(2, cell:gsub("\n", "")) end
        row[#row + 1], empty = cell, empty and cell == ""
        at = stop + 1
      until text:sub(stop, stop) ~= separator
      line = line + 1
      if not empty then each(row, separator) end
    end
    ::next::
  end
end

--- The cells of one line.
-- @tparam string line without its end
-- @tparam ?string separator default: a comma
-- @treturn {string,...}; nil: it is no line of a CSV file
function csv.cells(line, separator)
  separator = separator or ","
  return file.attempt(function()
    local cells, at = {}, 0
    repeat
      local cell, _, stop = cell_at(line, at + 1, separator, 1)
      cells[#cells + 1], at = cell, stop
    until line:sub(at, at) ~= separator
    return cells
  end)
end

--- One line of cells, quoted where they have to be; line ends within a cell become blanks.
-- @tparam {string|number,...} cells
-- @treturn string without its end
function csv.line(cells)
  local parts = {}
  for i, cell in ipairs(cells) do
    local text = tostring(cell):gsub("[\r\n]+", " ")
    parts[i] = text:find '[",]' and '"' .. text:gsub('"', '""') .. '"' or text
  end
  return table.concat(parts, ",")
end

--- Reads the rows of a table one after the other, without holding their cells.
-- @tparam string path
-- @tparam function each each(row, separator): a list of cells (strings) with `line`, its place in the file; the first
-- one is the header. It may call file.refuse.
-- @tparam ?function comment takes the text of each line that begins with #; without it such lines are rows
-- @treturn boolean true; or nil, message
function csv.visit(path, each, comment)
  return file.read(path, function(source)
    parse(file.need(source:read(0, source:size())), each, comment)
    return true
  end)
end

--- Ends reading unless a row has as many cells as the header.
function csv.check_width(row, count)
  if #row ~= count then refuse("line %d has %d cells where the header has %d", row.line, #row, count) end
end

--- Reads a table with a header.
-- @tparam string path
-- @treturn {string,...} the names of the columns
-- @treturn {table,...} the rows: lists of cells (strings), with `line`, their place in the file, and `separator`; or
-- nil, message
function csv.read(path)
  local header, rows = nil, {}
  local ok, why = csv.visit(path, function(row, separator)
    if not header then
      header, rows.separator = row, separator
    else
      csv.check_width(row, #header)
      rows[#rows + 1] = row
    end
  end)
  if not ok then return nil, why end
  if not header then return file.failure(path, "is empty: its first line names the columns") end
  return header, rows
end

return csv
