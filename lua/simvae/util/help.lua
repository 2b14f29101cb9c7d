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
  if type(f) ~= "function" then return nil end
  local about = debug.getinfo(names.original[f] or f, "S")
  if about.what == "C" or about.source:sub(1, 1) ~= "@" then return nil end
  local lines = comment_above(about.source:sub(2), about.linedefined)
  return lines and tidy(lines)
end

-- Classes of objects: the word for one -> its methods.
local function classes()
  return { model = require("simvae.model").class, simulator = require("simvae.simulator").class,
    layer = require("simvae.nn").class }
end

-- Of "encode", "model.encode" or "model:encode"; of several classes the first by name.
local function method_text(name)
  local word, method = name:match "^(%a+)[.:]([%w_]+)$"
  method = method or name
  local found, text
  for class, methods in pairs(classes()) do
    local f = (not word or word == class) and method:sub(1, 1) ~= "_" and rawget(methods, method)
    local doc = type(f) == "function" and help.of_function(f)
    if doc and (not found or class < found) then
      found, text = class, string.format("%s:%s\n\n%s", class, method, doc)
    end
  end
  return text
end

-- The methods of an object, or nil.
local function methods_of(object)
  local meta = getmetatable(object)
  local methods = meta == core.metatable and core.methods or meta and rawget(meta, "__index")
  if type(methods) ~= "table" then return nil end
  local list = {}
  for name, f in pairs(methods) do
    if type(name) == "string" and type(f) == "function" and name:sub(1, 1) ~= "_" then list[#list + 1] = name end
  end
  table.sort(list)
  return tostring(object) .. "\nmethods: " .. table.concat(list, ", ")
end

--- The help text of a name.
-- @tparam string name "conv2d", "model", "nn.linear", "metrics.mim", …
-- @treturn string or nil
function help.text(name)
  name = name:gsub("^sv%.", ""):gsub("^tensor[.:]", "")
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
    if value == nil then return method_text(name) end
  end
  local meta = type(value) == "table" and getmetatable(value)
  if meta and meta.__tostring and not meta.__call then return tostring(value) end -- a module
  local doc = help.of_function(meta and meta.__call or value)
  return doc and string.format("sv.%s\n\n%s", name, doc) or method_text(name)
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

-- The same, and those of methods and modules.
local function all_names()
  local list = help.names()
  for class, methods in pairs(classes()) do
    for name, f in pairs(methods) do
      if help.of_function(f) and name:sub(1, 1) ~= "_" then
        list[#list + 1], list[#list + 2] = name, class .. "." .. name
      end
    end
  end
  return list
end

--- Prints the help of a function or a method, what a module holds, or the methods of an object; without a name, the
-- list of all.
-- @param name "conv2d", "model.encode", "nn"; or a function, a module, a tensor, a model, …
function help.help(name)
  if name == nil then
    print("sv.help \"name\" tells about one of: " .. table.concat(help.names(), ", "))
    return
  end
  if type(name) ~= "string" then
    local meta = getmetatable(name)
    local text = help.of_function(name) or methods_of(name) or meta and meta.__tostring and tostring(name)
    if not text then
      check.fail(2, "help: takes a name (\"conv2d\"), a function or an object of ours; got %s", check.describe(name))
    end
    print(text)
    return
  end
  print(name ~= "" and help.text(name) or string.format("no help on '%s'%s", name, check.suggestion(name, all_names())))
end

return help
