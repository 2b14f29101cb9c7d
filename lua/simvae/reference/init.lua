--- Everything public, with its documentation: what sv.help, the reference, the man page and the definitions for
-- editors are made of.
--
--     for entry in reference.entries() do print(entry.name, entry.call, entry.doc.text) end
--     local entry = reference.find "model:train"        -- or "train"
--
-- An entry has
--
--     kind      "module", "function", "op", "class", "method", "value" or "simulator" (a built-in one)
--     name      "conv2d", "metrics.sbc", "model:train", of a class "Model": unique; what sv.help takes
--     owner     module or class that it belongs to: "metrics", "model", or "" for sv itself
--     call      how it is called: "model:train(t)"
--     doc       of simvae.reference.comment: text, params, returns, raises, usage
--     about     the head of the source file, where that is of the function alone: definitions, sources, limits
--     options   of simvae.reference.options, where it takes some; options_of: the entry that declares them, if another
--     value     the function, the module, or the table of methods
--     methods   names of a class's methods;  members: names of a module's functions
--     fields    of a class: { name =, type =, text = }
--     path      file and first line of the source, where it is written in Lua
--
-- All of them are found where they are: a new function, op, method or file is an entry without being listed here.
local check = require "simvae.util.check"
local comment = require "simvae.reference.comment"
local core = require "simvae.core"
local names = require "simvae.util.names"
local operations = require "simvae.reference.operations"
local options = require "simvae.reference.options"
local parameter = require "simvae.simulator.parameter"

local reference = {}

-- Modules that make objects of classes which names.class guards.
local makers = { "simvae.model", "simvae.model.posterior", "simvae.chain", "simvae.chain.composed", "simvae.nn",
  "simvae.nn.optim", "simvae.simulator", "simvae.simulator.draw", "simvae.sampler" }

-- "model" -> "Model": the name of a class's entry.
local function class_name(word)
  return word:sub(1, 1):upper() .. word:sub(2)
end

local class_texts = {
  tensor = "An array of numbers, row by row. Operators + - * / ^ and unary - work on tensors and numbers, with "
    .. "broadcasting. t[i] is entry i along the first axis: a number, or a view.",
  tape = "What was made since sv.tape(); released when it closes.",
  rng = "A random number generator: number i of a stream under a seed depends on nothing else.",
  model = "A simulator, a decoder that emulates it, and an encoder that inverts it; made by sv.model or sv.load.",
  posterior = "q(z | x) of one or more outputs; made by model:posterior(x). Values are in units and within the prior's "
    .. "support. Mean, standard deviation, quantiles and mode are those of 2,048 draws of each posterior, the same in "
    .. "every call.",
  simulator = "Named parameters with bounds and units, a prior, and a function from parameters to an output; made by "
    .. "sv.simulator, sv.command, sv.spice and sv.dataset.",
  chain = "Trained models and simulators, of which some read what others draw; made by sv.chain.",
  composed = "The posterior of a chain's rule: all combinations of classes with their probabilities, or weighted "
    .. "draws; made by chain:posterior.",
  sampler = "Batches of parameters and outputs; made by sv.sampler.new.",
  code = "Parameters as numbers that networks take; made by sv.code.",
  layer = "A network or a part of one, which is called on a tensor; made by sv.nn.",
  optimizer = "Changes parameters by their gradients; made by sv.optim.",
  canvas = "Draws antialiased shapes on a tensor; made by sv.draw.",
}

-- What is public and no function: name -> { type, text }.
local values = {
  version = { "string", "Version of the library." },
  real = { "string", "What tensors hold: \"float\", or in a build of doubles \"double\"." },
  ["linalg.config"] = { "string", "Configuration of OpenBLAS: version, CPU, threads." },
  ["recipes.default"] = { "table", "The recipe of images, which model:train takes by default." },
  ["recipes.paper"] = { "table", "The paper's recipe." },
}

--- Fields of tensors: name, type, text.
reference.tensor_fields = {
  { "shape", "{integer,...}", "the number of entries along each axis; prints as (64, 3)" },
  { "ndim", "integer", "the number of axes" },
  { "count", "integer", "the number of numbers" },
  { "grad", "?tensor", "the gradient that backward added, of a leaf" },
  { "needs_grad", "boolean", "whether a gradient passes through it" },
  { "alive", "boolean", "false once the tape that it was made under has closed" },
}

-- ---- entries -----------------------------------------------------------------------------------

local function argument_list(doc, arguments, method)
  local list = {}
  for i, name in ipairs(arguments or {}) do
    if not (method and i == 1) then list[#list + 1] = name == "..." and "…" or name end
  end
  if not arguments then
    for _, p in ipairs(doc.params) do list[#list + 1] = p.name == "..." and "…" or p.name end
  end
  return table.concat(list, ", ")
end

local function empty_doc()
  return { text = "", params = {}, returns = {}, raises = {}, usage = {}, overloads = {} }
end

-- The documentation of a function: an op's, that of a row in C, or the comment above it.
local function doc_of(owner, name, f)
  local op = operations.of(f)
  if op then return operations.doc(op), "op" end
  local row = core.docs[owner] and core.docs[owner][name]
  if row then return comment.of_text(row), "function" end
  return comment.of(f) or empty_doc(), "function"
end

local function function_entry(owner, name, f, by_table)
  local path = owner == "" and name or owner .. "." .. name
  local doc, kind = doc_of(owner == "" and "sv" or owner, name, f)
  local file = doc.path and doc.path:match "([%w_]+)%.lua$"
  local about = file == name and comment.head_of(doc.path) or nil
  return { kind = kind, name = path, owner = owner, doc = doc, about = about, value = f, options = options.of(path),
    call = string.format("sv.%s(%s)", path, doc.signature or argument_list(doc, doc.arguments, by_table)),
    path = doc.path and doc.path .. ":" .. doc.first }
end

local function method_entry(class, name, f)
  local doc, kind = doc_of(class, name, f)
  local path, op = class .. ":" .. name, kind == "op" and operations.of(f)
  if op == name then return nil end -- an entry of sv
  if op then
    doc.text = "Another name of " .. op .. ". " .. doc.text
    doc.returns[1].text = "as of " .. op
    doc.params = table.move(doc.params, 2, #doc.params, 1, {})
  end
  -- The object itself is not a parameter of the method.
  if doc.arguments and doc.params[1] and doc.params[1].name == doc.arguments[1] then
    doc.params = table.move(doc.params, 2, #doc.params, 1, {})
  end
  return { kind = "method", name = path, owner = class, doc = doc, value = f,
    options = options.of(path) or doc.options and options.list(doc.options),
    call = string.format("%s:%s(%s)", class == "tensor" and "t" or class, name,
      argument_list(doc, doc.arguments, true)),
    path = doc.path and doc.path .. ":" .. doc.first }
end

local function public(name)
  return type(name) == "string" and name:find "^%a[%w_]*$"
end

local function sorted_names(t)
  local list = {}
  for name in next, t do
    if public(name) then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

local function fields_of(rows)
  local list = {}
  for _, row in ipairs(rows or {}) do
    if type(row) == "table" then
      list[#list + 1] = { name = row[1], type = row[2]:gsub("^%?", ""), optional = row[2]:find "^%?" ~= nil,
        text = row[3] }
    end
  end
  return list
end

local function add_class(list, class, methods, fields)
  local name_of_class = class_name(class)
  local entry = { kind = "class", name = name_of_class, owner = "", call = name_of_class, value = methods, methods = {},
    fields = fields_of(fields), doc = empty_doc() }
  entry.doc.text = class_texts[class] or ""
  list[#list + 1] = entry
  for _, name in ipairs(sorted_names(methods)) do
    if type(methods[name]) == "function" then
      local method = method_entry(class, name, rawget(methods, name))
      if method then
        entry.methods[#entry.methods + 1] = name
        list[#list + 1] = method
      end
    end
  end
end

-- A function, or that of a table which is called; true: its first parameter is the table.
local function callable(v)
  if type(v) == "function" then return v, false end
  local meta = type(v) == "table" and getmetatable(v)
  return meta and rawget(meta, "__call") or nil, true
end

-- The first paragraph of the head comment of a module's file.
local function head_of(module)
  for name, loaded in pairs(package.loaded) do
    if loaded == module and name:find "^simvae%." then
      local text = comment.head(name) or ""
      return (text .. "\n\n"):match "^(.-)\n%s*\n"
    end
  end
  return ""
end

-- The entry of a value, or nil: tables of a module that are no part of its interface.
local function value_entry(owner, name, value)
  local path = owner == "" and name or owner .. "." .. name
  local about = values[path]
  if not about then return nil end
  local entry = { kind = "value", name = path, owner = owner, call = "sv." .. path, value = value, type = about[1],
    doc = empty_doc() }
  entry.doc.text = about[2]
  return entry
end

-- The public values of a module by name, sorted; those that cannot be loaded are left out (sv.linalg without OpenBLAS).
local function members_of(module)
  local list = {}
  for _, name in ipairs(names.module_names(module)) do
    local ok, value = pcall(function() return module[name] end)
    if ok and public(name) then list[#list + 1] = { name = name, value = value } end
  end
  return list
end

local function add_module(list, path, module)
  local entry = { kind = "module", name = path, owner = "", call = "sv." .. path, value = module, members = {},
    doc = empty_doc() }
  entry.doc.text = head_of(module)
  list[#list + 1] = entry
  for _, member in ipairs(members_of(module)) do
    local f, by_table = callable(member.value)
    if f then
      entry.members[#entry.members + 1] = member.name
      list[#list + 1] = function_entry(path, member.name, f, by_table)
    else
      list[#list + 1] = value_entry(path, member.name, member.value)
    end
  end
end

-- Built-in simulators: the comment at the head of the file is their documentation.
local function add_simulators(list)
  for _, name in ipairs(require "simvae.simulator.builtin") do
    local module = "simvae.simulators." .. name
    local entry = { kind = "simulator", name = "simulators." .. name, owner = "simulators",
      call = string.format("require %q", module), doc = comment.of_text(comment.head(module) or ""), fields = {} }
    local ok, sim = pcall(require, module) -- without ngspice there is no circuit
    entry.value, entry.options = ok and sim or nil, options.of("simulators." .. name)
    for i, p in ipairs(ok and sim.params or {}) do
      entry.fields[i] = { name = p.name, type = "number", text = string.format("%s%s%g to %g%s", p.doc or "",
        p.doc and ", " or "", p.low, p.high, parameter.unit_text(p)) }
    end
    list[#list + 1] = entry
  end
end

local function collect()
  local members, list = members_of(require "simvae"), {}
  for _, module in ipairs(makers) do require(module) end
  for _, member in ipairs(members) do
    local name, value = member.name, member.value
    if not names.is_module(value) then
      list[#list + 1] = callable(value) and function_entry("", name, callable(value)) or value_entry("", name, value)
    end
  end
  add_class(list, "tensor", core.methods, reference.tensor_fields)
  for _, class in ipairs { "tape", "rng" } do
    add_class(list, class, debug.getregistry()["simvae." .. class].__index)
  end
  for _, class in ipairs(sorted_names(names.classes)) do
    add_class(list, class, names.classes[class].methods, names.classes[class].fields)
  end
  for _, member in ipairs(members) do
    if names.is_module(member.value) then add_module(list, member.name, member.value) end
  end
  add_simulators(list)
  return list
end

local all

-- A function under two names has the options of the one that declares them.
local function share_options(list)
  local declared = {}
  for _, entry in ipairs(list) do
    if entry.options then declared[entry.value] = entry end
  end
  for _, entry in ipairs(list) do
    local of = declared[entry.value]
    if of and not entry.options then entry.options, entry.options_of = of.options, of.name end
  end
end

local function list_of_all()
  if not all then
    all = collect()
    share_options(all)
    for _, entry in ipairs(all) do all[entry.name] = entry end
  end
  return all
end

--- Iterates over everything public, functions and ops of sv first, then classes with their methods, then modules with
-- their functions.
-- @treturn function an iterator over entries, for `for`
function reference.entries()
  local list, i = list_of_all(), 0
  return function()
    i = i + 1
    return list[i]
  end
end

-- ---- finding -----------------------------------------------------------------------------------

-- Which of several entries of one short name comes first.
local precedence = { "model", "posterior", "simulator", "tensor", "rng", "tape" }
local rank = {}
for i, class in ipairs(precedence) do rank[class] = i end

local function short_name(entry)
  return entry.name:match "[%w_]+$"
end

-- All entries whose last word is this, the most used first.
local function by_short_name(word)
  local found = {}
  for i, entry in ipairs(list_of_all()) do
    if short_name(entry) == word then found[#found + 1] = { entry = entry, i = i } end
  end
  table.sort(found, function(a, b)
    local x, y = rank[a.entry.owner] or 100, rank[b.entry.owner] or 100
    if a.entry.owner == "" then x = 0 end
    if b.entry.owner == "" then y = 0 end
    if x ~= y then return x < y end
    return a.i < b.i
  end)
  for i, f in ipairs(found) do found[i] = f.entry end
  return found
end

-- The option at the end of a path ("encoder.labels") in a list of options.
local function option_at(list, path)
  local first, rest = path:match "^([%w_]+)[.:]?(.*)$"
  for _, o in ipairs(list or {}) do
    if o.name == first then
      if rest == "" then return o end
      return option_at(o.fields, rest) or option_at(o.each, rest)
    end
  end
  return nil
end

-- The options that a path means: the one that it leads to, or those of that name in tables, "steps" for
-- "decoder.steps" and "encoder.steps". Tables of the same rule share an element of the list.
local function options_at(entry, path)
  local option = option_at(entry.options, path)
  if option then return { { option = option, paths = { path } } } end
  local list, of = {}, {}
  for _, o in ipairs(entry.options or {}) do
    local inner = option_at(o.fields, path) or option_at(o.each, path)
    if inner then
      local found = of[inner.rule]
      if not found then
        found = { option = inner, paths = {} }
        of[inner.rule], list[#list + 1] = found, found
      end
      table.insert(found.paths, o.name .. "." .. path)
    end
  end
  return list[1] and list
end

local function plain(name)
  return (name:gsub("^sv%.", ""):gsub("^t[.:]", "tensor:"):gsub("%(.*$", ""))
end

--- Finds what a name means.
-- @tparam string name "train", "model:train", "model.train", "metrics.sbc", "conv2d", "train.labels"
-- @treturn ?table its entry
-- @treturn ?{table,...} where the name is of an option: { option =, paths = { "decoder.steps", … } } of each that it
--   may mean
-- @treturn {table,...} other entries of the same short name
function reference.find(name)
  local list = list_of_all()
  name = plain(name)
  local entry = list[name] or list[(name:gsub("%.(%w[%w_]*)$", ":%1"))] or list[(name:gsub(":", "."))]
  local word = name:gsub("^tensor[:.]", "")
  local others = by_short_name(entry and short_name(entry) or word)
  entry = entry or others[1]
  for i = #others, 1, -1 do
    if others[i] == entry then table.remove(others, i) end
  end
  if entry then return entry, nil, others end
  for start = #name, 1, -1 do -- the longest name of a function, then the path of an option
    if name:sub(start, start):find "[.:]" then
      local of, within = reference.find(name:sub(1, start - 1))
      local found = of and not within and options_at(of, name:sub(start + 1))
      if found then return of, found, {} end
    end
  end
  return nil, nil, {}
end

--- The entry of a function, a method, a module or a class's object.
-- @param value
-- @treturn ?table
function reference.of(value)
  if value == nil then return nil end
  for _, entry in ipairs(list_of_all()) do
    if entry.value == value then return entry end
  end
  local f = callable(value)
  if f and f ~= value then return reference.of(f) end
  return nil
end

--- All names that find takes without the name of an option, sorted.
-- @treturn {string,...}
function reference.names()
  local list, seen = {}, {}
  local function add(name)
    if not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  for _, entry in ipairs(list_of_all()) do
    add(entry.name)
    add(short_name(entry))
  end
  table.sort(list)
  return list
end

-- Names of options of an entry, with those in tables.
local function option_names(list, prefix, into)
  for _, o in ipairs(list or {}) do
    into[#into + 1] = prefix .. o.name
    into[#into + 1] = o.name
    option_names(o.fields, prefix .. o.name .. ".", into)
    option_names(o.each, prefix .. o.name .. ".", into)
  end
  return into
end

--- The end of a message about a name that is not found.
-- @tparam string name as given
-- @treturn string "; did you mean 'train'?", or ""
function reference.suggestion(name)
  name = plain(name)
  for start = #name, 1, -1 do
    if name:sub(start, start):find "[.:]" then
      local before = name:sub(1, start - 1)
      local of, within = reference.find(before)
      if of and of.options and not within then
        local near = core.nearest(name:sub(start + 1), option_names(of.options, "", {}))
        return near and string.format("; did you mean '%s.%s'?", before, near) or ""
      end
    end
  end
  return check.suggestion(name, reference.names())
end

return reference
