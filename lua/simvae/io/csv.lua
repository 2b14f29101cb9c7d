--- Comma-separated values (RFC 4180) and the variants of spreadsheets.
--
-- The separator is a comma, a semicolon or a tab: the one that the header has most of. A byte-order mark is
-- skipped. Quoted cells may contain separators, line ends and "" for a quote; blanks around an unquoted cell
-- are dropped. Lines end with LF or CRLF, or all with CR. Lines that are blank, or have separators only, are skipped;
-- every other line has as many cells as the header.
local core = require "simvae.core"
local file = require "simvae.io.file"

local csv = {}

local refuse = file.refuse

-- The separator of a header line: the most frequent outside quotes.
local function separator_of(text)
  local line = text:match "^[^\r\n]*":gsub('"[^"]*"', "")
  local best, maximum = ",", 0
  for _, c in ipairs { ",", ";", "\t" } do
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

-- The rows of a text: { cells, …, line = where it starts }.
local function parse(text)
  if text:sub(1, 3) == "\xEF\xBB\xBF" then text = text:sub(4) end
  local mark = text:sub(1, 2)
  if mark == "\xFF\xFE" or mark == "\xFE\xFF" then refuse "is UTF-16 text: save it as UTF-8" end
  if text:find("\0", 1, true) then refuse "is no text" end
  if not text:find("\n", 1, true) then text = text:gsub("\r", "\n") end
  local at, line, rows = 1, 1, {}
  local separator
  while at <= #text do
    if not separator and text:find("^[^\n]*%S", at) then separator = separator_of(text:sub(at, at + 65535)) end
    local row, empty = { line = line }, true
    repeat
      local cell, quoted, stop = cell_at(text, at, separator or ",", line)
      if quoted then line = line + select(2, cell:gsub("\n", "")) end
      row[#row + 1], empty = cell, empty and cell == ""
      at = stop + 1
    until text:sub(stop, stop) ~= separator
    line = line + 1
    if not empty then rows[#rows + 1] = row end
  end
  return rows
end

--- The cells of one line.
-- @tparam string line without its end
-- @treturn {string,...}; nil: it is no line of a CSV file
function csv.cells(line)
  return file.attempt(function()
    local cells, at = {}, 0
    repeat
      local cell, _, stop = cell_at(line, at + 1, ",", 1)
      cells[#cells + 1], at = cell, stop
    until line:sub(at, at) ~= ","
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

--- Reads a table with a header.
-- @tparam string path
-- @treturn {string,...} the names of the columns
-- @treturn {table,...} the rows: lists of cells (strings), with `line`, their place in the file; or nil, message
function csv.read(path)
  return file.read(path, function(source)
    local rows = parse(file.need(source:read(0, source:size())))
    local header = table.remove(rows, 1)
    if not header then refuse "is empty: its first line names the columns" end
    for _, row in ipairs(rows) do
      if #row ~= #header then
        refuse("line %d has %d cells where the header has %d", row.line, #row, #header)
      end
    end
    return header, rows
  end)
end

return csv
