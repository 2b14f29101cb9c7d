--- sv.help "conv2d": prints what a function, a method or an option does, from simvae.reference.
local check = require "simvae.util.check"
local core = require "simvae.core"

local help = {}

local function reference() return require "simvae.reference" end
local function plain() return require "simvae.reference.text" end

-- The class of an object: its entry of the reference, or nil.
local function class_of(object)
  local meta = getmetatable(object)
  if type(meta) ~= "table" then return nil end
  return reference().of(meta == core.metatable and core.methods or rawget(meta, "__index")) or reference().of(meta)
end

--- The help text of a name.
-- @tparam string name "conv2d", "train", "model:train", "train.labels", "nn.linear", "metrics.mim", …
-- @treturn ?string
-- @usage print(require("simvae.util.help").text "train.labels")
function help.text(name)
  local entry, options, others = reference().find(name)
  if not entry then return nil end
  if options then return plain().options(entry, options) end
  return plain().with_others(entry, others)
end

--- Every name that has help: functions, methods, classes and modules, with the name of what they belong to and without.
-- @treturn {string,...} sorted
function help.names()
  return reference().names()
end

-- What sv.help() prints.
local function overview()
  local groups, list = {}, {}
  for entry in reference().entries() do
    if entry.kind == "module" or entry.kind == "class" then
      groups[#groups + 1] = entry.name
    elseif entry.owner == "" and entry.kind ~= "op" then
      list[#list + 1] = entry.name
    end
  end
  local wrapped = plain().wrapped
  return table.concat({
    "sv.help \"name\" tells about a function, a method (\"model:train\"), an option (\"train.labels\"), a class or a "
      .. "module; sv.help(x)\nabout a function or an object.\n",
    wrapped(table.concat(list, ", "), "functions: ", "  "),
    wrapped(table.concat(groups, ", "), "classes and modules: ", "  "),
    "ops: print(sv) lists them" }, "\n")
end

--- The help text of a function, a module or an object; of other objects what they print.
-- @param value
-- @treturn ?string nil: a value without help, such as a number
function help.about(value)
  local entry = reference().of(value)
  local class = not entry and class_of(value)
  if entry then return plain().entry(entry) end
  if class then return tostring(value) .. "\n\n" .. plain().entry(class) end
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__tostring and tostring(value) or nil
end

--- Prints the help of a function, a method, an option, a class or a module; or of what an object is. Without a name,
-- what there is.
-- @param[opt] name "conv2d", "train", "model:train", "train.labels", "nn"; or a function, a module, a tensor, a model,
-- a simulator, …
-- @raise another value
-- @usage
-- sv.help "train.labels"
-- sv.help(model)
-- sv.help(model.train)
function help.help(name)
  if name == nil or name == "sv" or name == "simvae" then
    print(overview())
    return
  end
  if type(name) == "string" then
    local text = name ~= "" and help.text(name)
    print(text or string.format("no help on '%s'%s", name, reference().suggestion(name)))
    return
  end
  local text = help.about(name)
  if not text then
    check.fail(2, "help: takes a name (\"conv2d\"), a function or an object of simvae; got %s", check.describe(name))
  end
  print(text)
end

return help
