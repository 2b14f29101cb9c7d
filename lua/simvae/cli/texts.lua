--- Numbers and tables on standard output.
local core = require "simvae.core"
local csv = require "simvae.io.csv"

local texts = {}

--- Columns of a line of prose on standard output.
-- @treturn integer
function texts.width()
  return math.max(40, math.min(core.system.columns(1) or 80, 100))
end

--- Columns of cells as lines; the first one is left-aligned, numbers to the right.
-- @tparam {{string,...},...} rows the first is the head
-- @treturn string
function texts.table(rows)
  local width, lines = {}, {}
  local function length(cell) return utf8.len(cell) or #cell end
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do width[i] = math.max(width[i] or 0, length(cell)) end
  end
  for k, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local blanks = (" "):rep(width[i] - length(cell))
      local right = i > 1 and (k == 1 or tonumber((cell:match "^%S+")))
      cells[i] = right and blanks .. cell or cell .. blanks
    end
    lines[k] = (table.concat(cells, "  "):gsub(" +$", ""))
  end
  return table.concat(lines, "\n")
end

--- A parameter's value with the digits that its standard deviation leaves.
-- @tparam table p parameter
-- @tparam number v
-- @tparam ?number std
-- @treturn string
function texts.value(p, v, std)
  if p.levels then return string.format("%d", math.tointeger(v) or math.floor(v + 0.5)) end
  local digits = 4
  if std and std > 0 and v ~= 0 and std < math.huge then
    digits = math.max(2, math.min(7, math.floor(math.log(math.abs(v), 10)) - math.floor(math.log(std, 10)) + 2))
  end
  return string.format("%." .. digits .. "g", v)
end

--- Numbers of single precision with the digits that they have, for JSON: a number, or nested tables of them.
-- @param v
-- @return the same
function texts.rounded(v)
  if math.type(v) == "float" then return tonumber(string.format("%.7g", v)) end
  if type(v) ~= "table" then return v end
  local result = {}
  for key, inner in pairs(v) do result[key] = texts.rounded(inner) end
  return result
end

--- Rows of numbers as CSV.
-- @tparam ?{string,...} header
-- @tparam {{string|number,...},...} rows
-- @treturn string
function texts.csv_text(header, rows)
  local lines = { header and csv.line(header) }
  for _, row in ipairs(rows) do
    local cells = {}
    for i, v in ipairs(row) do
      cells[i] = math.type(v) == "float" and string.format("%.9g", v) or v
    end
    lines[#lines + 1] = csv.line(cells)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Prints rows of numbers as CSV.
-- @tparam {string,...} header
-- @tparam {{string|number,...},...} rows
function texts.csv(header, rows)
  io.write(texts.csv_text(header, rows))
end

return texts
