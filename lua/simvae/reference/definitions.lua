--- Definitions for editors in LuaCATS notation, which lua-language-server and others read: completion, types and texts
-- of everything public. The build writes them to simvae/library; in an editor's settings that folder belongs to
-- workspace.library.
local core = require "simvae.core"
local keywords = require "simvae.util.keywords"
local reference = require "simvae.reference"
local split = require "simvae.util.split"

local definitions = {}

-- ---- types -----------------------------------------------------------------------------------------

local CLASSES = { tensor = "simvae.Tensor", rng = "simvae.Rng", Streams = "table" }
for word in ("Tape Model Posterior Simulator Sampler Layer Optimizer Canvas Code"):gmatch "%a+" do
  CLASSES[word] = "simvae." .. word
end

-- Nested tables of numbers in place of a tensor. A class of its own: they lack the fields of a tensor.
local NUMBERS = "simvae.Numbers"

-- A type of a doc comment in LuaCATS: "{tensor,...}" is simvae.Tensor[].
local function convert(type)
  if type:find "^{" and type:find "}$" then
    local inside = type:sub(2, -2)
    local key, value = inside:match "^%[(%a+)%]=(.+)$"
    if key then return string.format("table<%s, %s>", key, convert(value)) end
    local element = inside:gsub(",[%.…].*$", ""):gsub(",.*$", "")
    local converted = convert(element)
    return (converted:find "|" and "(" .. converted .. ")" or converted) .. "[]"
  end
  if type:find("|", 1, true) then
    local list, has_tensor = split(type, "|"), type:find "%f[%a]tensor%f[%A]"
    for i, one in ipairs(list) do list[i] = has_tensor and one == "table" and NUMBERS or convert(one) end
    return table.concat(list, "|")
  end
  return CLASSES[type] or type
end

-- ---- texts -----------------------------------------------------------------------------------------

-- Text as comment lines.
local function add_text(out, text)
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do out[#out + 1] = "---" .. (line ~= "" and " " .. line or "") end
end

local function one_line(text)
  return (text:gsub("%s+", " "))
end

local function add_usage(out, doc)
  for _, code in ipairs(doc.usage) do
    add_text(out, "\n```lua\n" .. code .. "\n```")
  end
end

local function add_errors(out, doc)
  for _, text in ipairs(doc.raises) do add_text(out, "\nRaises for " .. one_line(text) .. ".") end
end

-- ---- options ---------------------------------------------------------------------------------------

local function class_of(name)
  return "simvae.options." .. name:gsub("[:.]", ".")
end

local function option_type(o, class)
  local list = {}
  for word in o.rule[1]:gmatch "[^|]+" do
    if word == "table" and o.rule.class then
      list[#list + 1] = convert(o.rule.class)
    elseif word == "table" and o.fields then
      list[#list + 1] = class .. "." .. (o.same or o.name)
    elseif word == "table" and o.each then
      list[#list + 1] = class .. "." .. o.name .. "[]"
    elseif word == "string" and o.rule.one_of then
      for _, choice in ipairs(o.rule.one_of) do list[#list + 1] = string.format("%q", choice) end
    else
      list[#list + 1] = word == "table" and o.rule[1]:find "tensor" and NUMBERS or convert(word)
    end
  end
  return table.concat(list, "|")
end

-- The class of a list of options, and of those in tables of it.
local function add_options(out, class, list)
  for _, o in ipairs(list) do
    if o.fields and not o.same then add_options(out, class .. "." .. o.name, o.fields) end
    if o.each then add_options(out, class .. "." .. o.name, o.each) end
  end
  out[#out + 1] = "---@class " .. class
  for _, o in ipairs(list) do
    local default = o.rule.default
    local text = o.doc or ""
    if default ~= nil and type(default) ~= "table" then
      default = type(default) == "string" and string.format("%q", default) or default
      text = string.format("%s (default %s)", text, default)
    end
    out[#out + 1] = string.format("---@field %s%s %s %s", o.name, o.required and "" or "?", option_type(o, class),
      one_line(text))
  end
  out[#out + 1] = ""
end

-- ---- functions -------------------------------------------------------------------------------------

local function parameter_name(name)
  return keywords[name] and name .. "_" or name
end

-- The parameter that options are given in: the last one that takes a table.
local function options_parameter(entry)
  if not entry.options then return nil end
  for i = #entry.doc.params, 1, -1 do
    if entry.doc.params[i].type:find "table" then return i end
  end
  return nil
end

local function add_parameters(out, entry, skip)
  local names, at = {}, options_parameter(entry)
  for i, p in ipairs(entry.doc.params) do
    if i > skip then
      local type = convert(p.type)
      if i == at then type = type:gsub("table", class_of(entry.options_of or entry.name), 1) end
      if entry.kind == "op" and p.optional and type ~= "simvae.Tensor" and not entry.first_option then
        entry.first_option = p.name
        type = type .. (type:find "table" and "" or "|table")
      end
      out[#out + 1] = string.format("---@param %s%s %s %s", p.name == "..." and "..." or parameter_name(p.name),
        p.optional and p.name ~= "..." and "?" or "", type, one_line(p.text))
      names[#names + 1] = p.name == "..." and "..." or parameter_name(p.name)
      if p.spread then -- whole numbers one by one, or in a list
        out[#out + 1] = "---@param ... integer"
        names[#names + 1] = "..."
        break
      end
    end
  end
  entry.first_option = nil
  return table.concat(names, ", ")
end

-- Whether a function gives nil and a message where a file or a program fails.
local function may_fail(r)
  return r.text:find "or nil, message" or r.text:find "or nil and" or r.text:find "or nil, and"
end

local function add_results(out, entry)
  local returns = entry.doc.returns
  local fails = #returns > 0 and (may_fail(returns[1]) or may_fail(returns[#returns]))
  if #entry.doc.overloads > 0 then
    for i, type in ipairs(entry.doc.overloads) do
      type = type:gsub("%f[%w]%a+", CLASSES)
      if i == #entry.doc.overloads then
        out[#out + 1] = "---@return " .. type:match ":%s*([%w.]+)$"
      else
        out[#out + 1] = "---@overload " .. type
      end
    end
    return
  end
  for i, r in ipairs(entry.doc.returns) do
    local optional = r.optional or fails and i == 1
    local type = convert(r.type)
    if type:find "|" and optional then type = "(" .. type .. ")" end
    out[#out + 1] = string.format("---@return %s%s # %s", type, optional and "?" or "", one_line(r.text))
  end
  if fails and #entry.doc.returns == 1 then out[#out + 1] = "---@return string? message # why it is nil" end
end

local function add_function(out, entry, path, skip, separator)
  add_text(out, entry.doc.text)
  add_errors(out, entry.doc)
  add_usage(out, entry.doc)
  local names = add_parameters(out, entry, skip)
  add_results(out, entry)
  out[#out + 1] = string.format("function %s%s%s(%s) end", path, separator, entry.name:match "[%w_]+$", names)
  out[#out + 1] = ""
end

-- ---- classes ---------------------------------------------------------------------------------------

local operators = {
  Tensor = { "---@operator unm: simvae.Tensor", "---@operator len: integer",
    "---@field [integer] any a number, or a view of an entry along the first axis" },
  Layer = { "---@overload fun(x: simvae.Tensor): simvae.Tensor" },
  Simulator = { "---@overload fun(options: table): simvae.Simulator" }, -- variants of built-in ones
}
for _, name in ipairs { "add", "sub", "mul", "div", "pow" } do
  table.insert(operators.Tensor, string.format("---@operator %s(simvae.Tensor|number): simvae.Tensor", name))
end

local function add_class(out, entry, methods)
  out[#out + 1] = ""
  add_text(out, entry.doc.text)
  out[#out + 1] = "---@class simvae." .. entry.name
  for _, line in ipairs(operators[entry.name] or {}) do out[#out + 1] = line end
  for _, field in ipairs(entry.fields or {}) do
    out[#out + 1] = string.format("---@field %s%s %s %s", field.name, field.optional and "?" or "", convert(field.type),
      one_line(field.text))
  end
  out[#out + 1] = string.format("local %s = {}", entry.name)
  out[#out + 1] = ""
  for _, method in ipairs(methods) do add_function(out, method, entry.name, 0, ":") end
end

-- Ops that are methods of tensors: all whose first argument is one.
local function op_methods(ops)
  local list = {}
  for _, entry in ipairs(ops) do
    local first = entry.doc.params[1]
    if first and first.type:find "^tensor" then list[#list + 1] = entry end
  end
  return list
end

-- ---- files -----------------------------------------------------------------------------------------

local function gather()
  local all = { classes = {}, methods = {}, functions = {}, modules = {}, ops = {}, values = {} }
  for entry in reference.entries() do
    if entry.kind == "class" then
      table.insert(all.classes, entry)
      all.methods[entry.name:lower()] = {}
    elseif entry.kind == "method" then
      table.insert(all.methods[entry.owner], entry)
    elseif entry.kind == "module" then
      table.insert(all.modules, entry)
      all.functions[entry.name] = {}
    elseif entry.kind == "value" then
      table.insert(all.values, entry)
    elseif entry.kind ~= "simulator" then
      all.functions[entry.owner] = all.functions[entry.owner] or {}
      table.insert(all.functions[entry.owner], entry)
      if entry.kind == "op" then table.insert(all.ops, entry) end
    end
  end
  return all
end

local function add_all_options(out)
  for entry in reference.entries() do
    if entry.options and not entry.options_of then
      add_options(out, class_of(entry.name), entry.options)
    end
  end
end

local head = "-- Written by the build from the documentation of simvae; not to be edited."

--- The definitions of the module simvae.
-- @treturn string Lua code in LuaCATS notation
function definitions.library()
  local all, out = gather(), { "---@meta simvae", head, "", "---@class " .. NUMBERS, "" }
  add_all_options(out)
  for _, class in ipairs(all.classes) do
    add_class(out, class, all.methods[class.name:lower()])
    if class.name == "Tensor" then
      for _, entry in ipairs(op_methods(all.ops)) do add_function(out, entry, "Tensor", 1, ":") end
    end
  end
  out[#out + 1] = "---@class simvae"
  for _, value in ipairs(all.values) do
    if value.owner == "" then
      out[#out + 1] = string.format("---@field %s %s %s", value.name, value.type, one_line(value.doc.text))
    end
  end
  out[#out + 1] = "local sv = {}\n"
  for _, entry in ipairs(all.functions[""]) do add_function(out, entry, "sv", 0, ".") end
  for _, module in ipairs(all.modules) do
    add_text(out, module.doc.text)
    out[#out + 1] = "---@class simvae." .. module.name
    for _, value in ipairs(all.values) do
      if value.owner == module.name then
        out[#out + 1] = string.format("---@field %s %s %s", value.name:match "[%w_]+$", value.type,
          one_line(value.doc.text))
      end
    end
    out[#out + 1] = string.format("sv.%s = {}\n", module.name)
    for _, entry in ipairs(all.functions[module.name]) do add_function(out, entry, "sv." .. module.name, 0, ".") end
  end
  out[#out + 1] = "return sv\n"
  return table.concat(out, "\n")
end

--- The definitions of a built-in simulator.
-- @tparam table entry of simvae.reference
-- @treturn string
function definitions.simulator(entry)
  local out = { "---@meta simvae." .. entry.name, head, "" }
  add_text(out, entry.doc.text)
  add_usage(out, entry.doc)
  out[#out + 1] = "---@type simvae.Simulator\nlocal simulator\n\nreturn simulator\n"
  return table.concat(out, "\n")
end

--- The files below simvae/library.
-- @treturn {[string]=string} path -> content
function definitions.files()
  local files = { ["simvae.lua"] = definitions.library() }
  for entry in reference.entries() do
    if entry.kind == "simulator" then
      files["simvae/" .. entry.name:gsub("%.", "/") .. ".lua"] = definitions.simulator(entry)
    end
  end
  return files
end

--- Writes the files.
-- @tparam string folder simvae/library
-- @raise a file that cannot be written
function definitions.write(folder)
  for path, text in pairs(definitions.files()) do
    local full = folder .. "/" .. path
    assert(core.system.mkdir((full:match "^(.*)/")))
    assert(core.io.write(full, { text }))
  end
end

return definitions
