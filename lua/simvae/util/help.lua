--- sv.help "conv2d": prints what a function does, its arguments, shapes and source.
--
-- An op's text is in its row (C); a Lua function's is the comment above it, read from
-- its source file, so that help and source agree.
local core = require "simvae.core"
local check = require "simvae.util.check"
local docs = require "simvae.util.docs"
local names = require "simvae.util.names"

local help = {}

local function op_text(name, op)
  return string.format("sv.%s(%s)\n\n  %s%s", name, op.signature, op.doc,
    op.no_grad and "\n  It has no gradient." or "")
end

-- The lines of the doc comment above line `first` of a file.
local function comment_above(path, first)
  local lines = {}
  local file = io.open(path, "r")
  if not file then return nil end
  for line in file:lines() do
    lines[#lines + 1] = line
    if #lines >= first then break end
  end
  file:close()
  local found = {}
  for i = first - 1, 1, -1 do
    local text = lines[i]:match "^%s*%-%-+ ?(.*)"
    if not text then break end
    table.insert(found, 1, text)
  end
  return #found > 0 and found or nil
end

local function tidy(lines)
  for i, line in ipairs(lines) do
    lines[i] = "  " .. line
      :gsub("^@tparam%[opt[^%]]*%]%s+(%S+)%s+(%S+)", "%2 (%1, optional):")
      :gsub("^@tparam%s+%?(%S+)%s+(%S+)", "%2 (%1, optional):")
      :gsub("^@tparam%s+(%b{})%s+(%S+)", "%2 (%1):")
      :gsub("^@tparam%s+(%S+)%s+(%S+)", "%2 (%1):")
      :gsub("^@param%s+(%S+)", "%1:")
      :gsub("^@treturn%s+", "returns ")
      :gsub("^@return%s+", "returns ")
      :gsub("^@raise%s+", "raises for ")
  end
  return table.concat(lines, "\n")
end

--- The documentation of a Lua function, or nil.
function help.of_function(f)
  local about = debug.getinfo(names.original[f] or f, "S")
  if about.what == "C" or about.source:sub(1, 1) ~= "@" then return nil end
  local lines = comment_above(about.source:sub(2), about.linedefined)
  return lines and tidy(lines)
end

--- The help text of a name.
-- @tparam string name "conv2d", "model", "nn.linear", "metrics.mim", …
-- @treturn string or nil
function help.text(name)
  if core.ops[name] then return op_text(name, core.ops[name]) end
  if docs[name] then
    local owner = rawget(core.methods, name) and "t:" or "sv."
    return string.format("%s%s(%s)\n\n  %s", owner, name, table.unpack(docs[name]))
  end
  local method = rawget(core.methods, name)
  if type(method) == "function" then
    local doc = help.of_function(method)
    if doc then return string.format("t:%s\n\n%s", name, doc) end
  end
  local value = require "simvae"
  for part in name:gmatch "[^.:]+" do
    local ok, inner = pcall(function() return value[part] end)
    value = ok and inner or nil
    if value == nil then return nil end
  end
  if type(value) == "table" and getmetatable(value) and getmetatable(value).__call then
    value = getmetatable(value).__call
  end
  local doc = type(value) == "function" and help.of_function(value)
  return doc and string.format("sv.%s\n\n%s", name, doc)
end

--- Every name that has help.
-- @treturn {string,...} sorted
function help.names()
  local list = {}
  for name in pairs(core.ops) do list[#list + 1] = name end
  for name in pairs(docs) do list[#list + 1] = name end
  for _, name in ipairs { "simulator", "simulate", "replay", "model", "load", "evaluate", "report", "grad_check",
    "spice", "command", "dataset", "draw", "experiment" } do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

--- Prints the help of a function; without a name, the list of all.
-- @tparam ?string name
function help.help(name)
  if name == nil then
    print("sv.help \"name\" tells about one of: " .. table.concat(help.names(), ", "))
    return
  end
  check.value("help", "name", name, { "string" })
  local text = help.text(name)
  if not text then
    print(string.format("no help on '%s'%s", name, check.suggestion(name, help.names())))
    return
  end
  print(text)
end

return help
