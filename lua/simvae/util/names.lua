--- Errors for misspelt names of functions, methods and fields.
--
-- A misspelt name raises with the nearest one, instead of giving a nil that fails elsewhere. Names that libraries probe
-- for (with a leading underscore) are nil, and so are names of objects that resemble none of theirs; rawget and pairs
-- work as on any table. Calling a method without its colon raises as well.
local catalogue = require "simvae.util.catalogue"
local check = require "simvae.util.check"
local core = require "simvae.core"

local names = {}

--- The functions behind guarded methods: guard -> method. For help, which reads the comment above a function.
names.original = setmetatable({}, { __mode = "k" })

--- Classes that names.class made: word -> { methods =, fields = }. For simvae.reference.
names.classes = {}

-- ---- misspelt names ------------------------------------------------------------------------------

local own_source = debug.getinfo(1, "S").source

-- Raises at the line of the Lua code that used a name; functions of this file and of C are skipped.
local function raise(message)
  local level = 2
  local about = debug.getinfo(level, "S")
  while about and (about.what == "C" or about.source == own_source) do
    level = level + 1
    about = debug.getinfo(level, "S")
  end
  error(message, about and level or 0)
end

local function plain(word)
  return (word:lower():gsub("_", ""))
end

--- The name that a misspelt one stands for.
-- @tparam string word
-- @tparam {string,...} known
-- @treturn ?string
function names.nearest(word, known)
  local flat = plain(word)
  for _, name in ipairs(known) do
    if plain(name) == flat then return name end
  end
  return core.nearest(word, known, #word <= 5 and 1 or #word <= 8 and 2 or 3)
end

-- The shortest name that begins with a word: conv for conv2d.
local function completed(word, known)
  local best
  for _, name in ipairs(known) do
    if #word >= 3 and name:sub(1, #word) == word and (not best or #name < #best) then best = name end
  end
  return best
end

local function is_probe(name)
  return type(name) ~= "string" or name:sub(1, 1) == "_" or not name:find "^[%a_][%w_]*$"
end

--- Raises for a name that a module does not have; returns nil for names that libraries probe for.
-- @tparam string module "sv", "sv.nn", …
-- @param name as given
-- @tparam {string,...} known
-- @tparam ?string kind of what it holds ("function")
function names.missing(module, name, known, kind)
  if is_probe(name) then return nil end
  local near = names.nearest(name, known) or completed(name, known)
  raise(string.format("%s.%s: there is no such %s; %s", module, name, kind or "function",
    near and string.format("did you mean '%s'?", near) or string.format("print(%s) lists what there is", module)))
end

local function field_names(fields)
  local list = {}
  for i, field in ipairs(fields or {}) do list[i] = type(field) == "table" and field[1] or field end
  return list
end

--- Makes misspelt names of objects errors.
-- @tparam table methods the __index of their metatable
-- @tparam string what "a tensor", "an optimizer"
-- @tparam ?{string|table,...} fields that objects may have beside the methods; nil where they are not set: a name, or
-- { name, type, text } of one that is public
-- @treturn table methods
function names.object(methods, what, fields)
  local absent, known = {}, {}
  fields = field_names(fields)
  for _, name in ipairs(fields) do absent[name] = true end
  local function missing(_, name)
    if absent[name] or is_probe(name) then return nil end
    for i = #known, 1, -1 do known[i] = nil end
    for method in pairs(methods) do
      if not is_probe(method) then known[#known + 1] = method end
    end
    table.move(fields, 1, #fields, #known + 1, known)
    table.sort(known)
    local near = names.nearest(name, known)
    if near then raise(string.format("%s has no '%s'; did you mean '%s'?", what, name, near)) end
    absent[name] = true -- cached for loops
    return nil
  end
  return setmetatable(methods, { __index = missing })
end

-- ---- methods without a colon ---------------------------------------------------------------------

--- Guards the methods of a class against a call without a colon, and their names against misspelling.
-- @tparam table class its own __index; may be called again when methods were added
-- @tparam string word for one of its objects, as in `word:method(…)`
-- @tparam ?{string|table,...} fields as of names.object
-- @treturn table class
function names.class(class, word, fields)
  for name, method in pairs(class) do
    if type(method) == "function" and not is_probe(name) and not names.original[method] then
      local function guard(self, ...)
        if getmetatable(self) ~= class then
          raise(string.format("%s: is a method, %s:%s(…) with a colon; its first argument is %s", name, word, name,
            self == nil and "missing" or check.describe(self)))
        end
        return method(self, ...)
      end
      names.original[guard] = method
      class[name] = guard
    end
  end
  names.classes[word] = { methods = class, fields = fields }
  return names.object(class, check.with_article(word), fields)
end

-- ---- modules ---------------------------------------------------------------------------------------

-- Words in lines of at most 78 columns.
local function wrapped(words)
  local lines, line = {}, " "
  for i, word in ipairs(words) do
    local text = word .. (i < #words and "," or "")
    if #line + 1 + #text > 78 then
      lines[#lines + 1] = line
      line = " "
    end
    line = line .. " " .. text
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

--- Public names of a module, sorted.
-- @tparam table module
-- @tparam ?{string,...} more that are loaded when first used
-- @treturn {string,...}
function names.of(module, more)
  local list, seen = {}, {}
  local function add(name)
    if type(name) == "string" and not is_probe(name) and not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  for name in next, module do add(name) end
  for _, name in ipairs(more or {}) do add(name) end
  table.sort(list)
  return list
end

--- Makes a module print its names, list those that are not loaded yet in pairs, and raise for misspelt ones.
-- @tparam table module
-- @tparam string path "sv.nn"
-- @tparam ?table t load: function (name) -> value or nil, of what is loaded when first used; more: function () ->
--   {string,...}, its names; kind: of what it holds ("function")
-- @treturn table module
function names.module(module, path, t)
  t = t or {}
  local function all() return names.of(module, t.more and t.more()) end
  local meta = { __names = all }
  function meta.__index(self, name)
    local value
    if t.load and type(name) == "string" then value = t.load(name) end
    if value == nil then return names.missing(path, name, all(), t.kind) end
    rawset(self, name, value)
    return value
  end
  function meta.__tostring()
    return path .. ":\n" .. wrapped(all()) .. string.format("\nsv.help \"%sname\" tells about one of them",
      path == "sv" and "" or path:gsub("^sv%.", "") .. ".")
  end
  if t.load then
    function meta.__pairs(self)
      for _, name in ipairs(all()) do local _ = self[name] end
      return next, self, nil
    end
  end
  return setmetatable(module, meta)
end

--- Is this a module of ours?
function names.is_module(v)
  local meta = type(v) == "table" and getmetatable(v)
  return type(meta) == "table" and rawget(meta, "__names") ~= nil
end

--- The names of a module, also of what is not loaded yet; nil of anything else.
-- @treturn ?{string,...} sorted
function names.module_names(v)
  return names.is_module(v) and getmetatable(v).__names() or nil
end

--- A module whose functions are the files of a folder, each loaded when first used: a new file is a new function.
-- @tparam string prefix of the modules' names: "simvae.metrics"
-- @tparam string path "sv.metrics"
-- @tparam string kind "metric"
-- @tparam string field of each module that is the function; files whose modules have none are left out
-- @tparam ?function guard (name, function) -> what is called in its place
-- @treturn table module
function names.folder(prefix, path, kind, field, guard)
  local function load(name)
    local module = prefix .. "." .. name
    if is_probe(name) or not package.loaded[module] and not package.searchpath(module, package.path) then return nil end
    local f = require(module)[field]
    if not f or not guard then return f end
    local guarded = guard(name, f)
    names.original[guarded] = f
    return guarded
  end
  local function more()
    local list = {}
    for _, name in ipairs(catalogue.files(prefix)) do
      if load(name) then list[#list + 1] = name end
    end
    return list
  end
  return names.module({}, path, { load = load, more = more, kind = kind })
end

return names
