--- A value as a notebook shows it: MIME type -> text or bytes.
--
-- Every value has a text, that of the interactive session. Lists of rows are tables as well, and so are posteriors; the
-- path of a PNG, which the functions of sv.figures return, is the picture.
local check = require "simvae.util.check"
local core = require "simvae.core"
local html = require "simvae.util.html"
local names = require "simvae.util.names"
local style = require "simvae.repl.style"
local texts = require "simvae.cli.texts"
local value = require "simvae.repl.value"

local rich = {}

local COLUMNS = 100         -- of text
local MOST_ROWS = 100       -- of a table
local MOST_COLUMNS = 30
local MOST_BYTES = 8 << 20  -- of a picture

local plain = style.painter(false)

-- ---- pictures ----------------------------------------------------------------------------------

-- The bytes of a PNG file, or nil.
local function picture(path)
  if not path:find "%.png$" or #path > 4096 or path:find "[%c]" then return nil end
  local file <close> = core.system.kind(path) == "file" and io.open(path, "rb") or nil
  if not file or file:seek "end" > MOST_BYTES then return nil end
  file:seek "set"
  local bytes = file:read "a"
  return bytes:sub(1, 8) == "\137PNG\r\n\26\n" and bytes or nil
end

-- ---- tables ------------------------------------------------------------------------------------

local function is_scalar(v)
  local kind = type(v)
  return kind == "number" or kind == "string" or kind == "boolean"
end

-- The names of a record's fields, sorted; nil where the value is no plain table of scalars.
local function fields_of(row)
  if type(row) ~= "table" or getmetatable(row) then return nil end
  local list = {}
  for k, v in next, row do
    if not is_scalar(v) or type(k) ~= "string" and math.type(k) ~= "integer" then return nil end
    list[#list + 1] = k
  end
  table.sort(list, function(a, b)
    if type(a) ~= type(b) then return type(a) == "number" end
    return a < b
  end)
  return list
end

-- The columns of a list of rows or records: keys that any row has; nil where it is none.
local function columns_of(list)
  if type(list) ~= "table" or getmetatable(list) or #list < 1 then return nil end
  local columns, seen = {}, {}
  for i, row in ipairs(list) do
    local fields = fields_of(row)
    if not fields or #fields == 0 then return nil end
    for _, k in ipairs(i <= MOST_ROWS and fields or {}) do
      if not seen[k] then columns[#columns + 1], seen[k] = k, true end
    end
  end
  for k in next, list do
    if math.type(k) ~= "integer" then return nil end
  end
  return #columns <= MOST_COLUMNS and columns or nil
end

local function cell_html(v)
  if v == nil then return "<td></td>" end
  local text = math.type(v) == "float" and string.format(math.abs(v) < 1e4 and "%.4g" or "%.6g", v) or tostring(v)
  return string.format("<td%s>%s</td>", type(v) == "number" and ' style="text-align:right"' or "", html.escape(text))
end

-- The head of a table and the first row below it: the names of records, or a first row of texts above numbers.
local function head_of(list, columns)
  for _, k in ipairs(columns) do
    if type(k) == "string" then return columns, 1 end
  end
  for _, k in ipairs(columns) do
    if type(list[1][k]) ~= "string" then return nil, 1 end
  end
  for _, v in ipairs(list[2] or {}) do
    if type(v) == "number" then return list[1], 2 end
  end
  return nil, 1
end

-- A list of rows or records as a table, under a given head or its own.
local function table_html(list, given)
  local columns = columns_of(list)
  if not columns then return nil end
  local out, head, first = { "<table>" }, given, 1
  if not given then head, first = head_of(list, columns) end
  if head then
    local cells = {}
    for i, k in ipairs(head) do cells[i] = "<th>" .. html.escape(k) .. "</th>" end
    out[2] = "<tr>" .. table.concat(cells) .. "</tr>"
  end
  for i = first, math.min(#list, MOST_ROWS) do
    local cells = {}
    for j, k in ipairs(columns) do cells[j] = cell_html(list[i][k]) end
    out[#out + 1] = "<tr>" .. table.concat(cells) .. "</tr>"
  end
  out[#out + 1] = "</table>"
  if #list > MOST_ROWS then out[#out + 1] = string.format("<p>… %d more rows</p>", #list - MOST_ROWS) end
  return table.concat(out, "\n")
end

-- ---- posteriors --------------------------------------------------------------------------------

local LOW, HIGH = 0.05, 0.95 -- of the intervals

local function is_posterior(v)
  local class = names.classes.posterior -- nil before one was made
  return class ~= nil and getmetatable(v) == class.methods
end

-- Mean, standard deviation and interval of each parameter of each output.
local function posterior_html(p)
  local mean, std, bounds = p:mean():totable(), p:std():totable(), p:quantile({ LOW, HIGH }):totable()
  local rows = {}
  for i = 1, math.min(p.count, MOST_ROWS // #p.model.simulator.params) do
    for k, q in ipairs(p.model.simulator.params) do
      local function text(v) return texts.value(q, v, std[i][k]) end
      local row = { q.name, text(mean[i][k]), string.format("%.2g", std[i][k]),
        text(bounds[i][1][k]) .. " to " .. text(bounds[i][2][k]), q.unit or "" }
      if p.count > 1 then table.insert(row, 1, i) end
      rows[#rows + 1] = row
    end
  end
  local head = { "parameter", "mean", "std", string.format("%.0f%% interval", 100 * (HIGH - LOW)), "unit" }
  if p.count > 1 then table.insert(head, 1, "output") end
  return table_html(rows, head)
end

-- ---- values ------------------------------------------------------------------------------------

--- What shows a value.
-- @param v anything
-- @treturn table "text/plain", and as far as it has them "image/png" (bytes) and "text/html"
function rich.of(v)
  local bundle = { ["text/plain"] = value.text(v, plain, COLUMNS) }
  if type(v) == "string" then bundle["image/png"] = picture(v) end
  if type(v) == "table" then bundle["text/html"] = is_posterior(v) and posterior_html(v) or table_html(v) end
  return bundle
end

--- A line of progress.
-- @tparam string line of simvae.train.progress
-- @treturn table
function rich.bar(line)
  local filled = line:match "█*" and select(2, line:gsub("█", "")) or 0
  local empty = select(2, line:gsub("░", ""))
  if filled + empty == 0 then return { ["text/plain"] = line } end
  local before, after = line:match "^(.-)%s*[█░].*[█░]%s*(.*)$"
  check.value("bar", "line", before, { "string" })
  return { ["text/plain"] = line, ["text/html"] = string.format('<div>%s <progress value="%d" max="%d"></progress> %s'
    .. "</div>", html.escape(before), filled, filled + empty, html.escape(after)) }
end

return rich
