--- Values as the interactive session shows them: all that fits, and how much more there is.
--
-- Objects, tensors, modules and results print themselves. Plain tables are written as Lua does, on one line where they
-- fit, else one entry a line.
local core = require "simvae.core"
local check = require "simvae.util.check"
local names = require "simvae.util.names"
local progress = require "simvae.train.progress"

local value = {}

local LINES = 60    -- of one value
local ENTRIES = 20  -- of one table
local DEPTH = 4     -- of tables in tables
local LETTERS = 200 -- of a text within a table; of one by itself LINES lines
local OBJECT = 60   -- columns of an object within a table
local KEY = "^[%a_][%w_]*$"

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["\\"] = "\\\\", ['"'] = '\\"' }

local function quoted(text)
  return '"' .. text:gsub('[%c\\"\127]', function(c) return escapes[c] or string.format("\\x%02x", c:byte()) end) .. '"'
end

-- Text within a table.
local function short_text(text)
  if #text <= LETTERS then return quoted(text) end
  local cut = text:sub(1, utf8.len(text) and utf8.offset(text, LETTERS - 20) - 1 or LETTERS - 20)
  return string.format("%s… %d bytes", quoted(cut), #text)
end

-- "function (x, t), lua/simvae/model/inference.lua:80"
local function function_text(f)
  local about = debug.getinfo(names.original[f] or f, "Su")
  if about.what == "C" then return "function, in C" end
  local list = {}
  for i = 1, about.nparams do list[i] = debug.getlocal(names.original[f] or f, i) end
  if about.isvararg then list[#list + 1] = "…" end
  return string.format("function (%s), %s:%d", table.concat(list, ", "), about.short_src, about.linedefined)
end

local function has_text(v)
  local meta = getmetatable(v)
  return type(meta) == "table" and rawget(meta, "__tostring") ~= nil
end

local function object_text(v)
  local ok, text = pcall(tostring, v)
  return ok and text or string.format("%s whose __tostring raises: %s", check.with_article(type(v)), tostring(text))
end

-- One line for anything but a plain table.
local function scalar(v, paint)
  local kind = type(v)
  if kind == "string" then return paint("string", short_text(v)) end
  if kind == "number" then return paint("number", tostring(v)) end
  if kind == "nil" or kind == "boolean" then return paint("word", tostring(v)) end
  if kind == "function" then return paint("faint", function_text(v)) end
  if getmetatable(v) == core.metatable then
    return v.alive and v.ndim == 0 and paint("number", tostring(v)) or "tensor " .. check.shape_text(v.shape)
  end
  if kind == "table" and not has_text(v) then return nil end
  local text = object_text(v)
  local first = text:match "^[^\n]*"
  return (progress.cut(first, OBJECT)) .. (#first < #text and " …" or "")
end

local function ranks(a, b)
  local x, y = type(a), type(b)
  if x ~= y then return x == "number" or y ~= "number" and x < y end
  if x == "number" or x == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function key_text(k, paint)
  if type(k) == "string" and k:find(KEY) then return k end
  if type(k) == "string" then return "[" .. short_text(k) .. "]" end
  return "[" .. (scalar(k, paint) or tostring(k)) .. "]"
end

-- Entries of a table in order: { text of the key with " = ", or "" for a list's; value }; and how many more there are.
local function entries_of(t, paint)
  local list, others, count = {}, {}, 0
  local n = rawlen(t)
  for i = 1, math.min(n, ENTRIES) do list[i] = { "", rawget(t, i) } end
  for k in next, t do
    if not (math.type(k) == "integer" and k >= 1 and k <= n) then
      count = count + 1
      others[count] = k
    end
  end
  table.sort(others, ranks)
  for i = 1, math.min(count, ENTRIES - #list) do
    list[#list + 1] = { key_text(others[i], paint) .. " = ", rawget(t, others[i]) }
  end
  return list, n + count - #list
end

local function columns(text)
  return select(2, progress.cut(text:gsub("\27%[[%d;]*m", ""), 1 << 20))
end

local table_text

local function entry_text(v, state, indent)
  return scalar(v, state.paint) or table_text(v, state, indent)
end

function table_text(t, state, indent)
  if state.above[t] then return state.paint("faint", "{ … itself }") end
  if next(t) == nil then return "{}" end
  if indent // 2 >= DEPTH then return state.paint("faint", "{ … }") end
  state.above[t] = true
  local list, more = entries_of(t, state.paint)
  local parts, one_line = {}, true
  for i, entry in ipairs(list) do
    parts[i] = entry[1] .. entry_text(entry[2], state, indent + 2)
    one_line = one_line and not parts[i]:find("\n", 1, true)
  end
  if more > 0 then parts[#parts + 1] = state.paint("faint", string.format("… %d more", more)) end
  state.above[t] = nil
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  if one_line and columns(line) <= state.columns - indent then return line end
  local space = (" "):rep(indent + 2)
  return "{\n" .. space .. table.concat(parts, ",\n" .. space) .. "\n" .. (" "):rep(indent) .. "}"
end

local function bounded(text)
  local lines, from = 0, 1
  while lines < LINES do
    local at = text:find("\n", from, true)
    if not at then return text end
    lines, from = lines + 1, at + 1
  end
  local _, rest = text:sub(from):gsub("\n", "")
  return text:sub(1, from - 1) .. string.format("… %d more lines", rest + 1)
end

--- The text of a value.
-- @param v anything
-- @tparam function paint (kind, text) -> text, of simvae.repl.style
-- @tparam integer width columns
-- @treturn string
function value.text(v, paint, width)
  if type(v) == "string" then
    if v:find "\n" and not v:gsub("[\n\t]", ""):find "%c" then return bounded(v) end
    return paint("string", #v <= 2000 and quoted(v) or quoted(v:sub(1, 2000)) .. "… " .. #v .. " bytes")
  end
  if type(v) == "table" and not has_text(v) then
    return bounded(table_text(v, { paint = paint, columns = width, above = {} }, 0))
  end
  if getmetatable(v) == core.metatable or has_text(v) then return bounded(object_text(v)) end
  return scalar(v, paint) or object_text(v)
end

return value
