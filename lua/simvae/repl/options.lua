--- Options of the function that a call names, from the rules by which it checks them.
local check = require "simvae.util.check"
local core = require "simvae.core"
local names = require "simvae.util.names"

local options = {}

local classes = { model = "simvae.model", simulator = "simvae.simulator", layer = "simvae.nn",
  posterior = "simvae.model.posterior" }

-- The word for objects of a class, whose methods the rules name "model:train".
local function word_of(object)
  local meta = getmetatable(object)
  if meta == core.metatable then return "tensor" end
  for word, module in pairs(classes) do
    if package.loaded[module] and type(package.loaded[module]) == "table" and package.loaded[module].class == meta then
      return word
    end
  end
  return type(meta) == "table" and type(rawget(meta, "__name")) == "string" and meta.__name:match "%a+$"
end

-- The name of a function within sv: "metrics.sbc".
local function name_within(module, f, prefix, depth)
  for name, v in next, module do
    if type(name) == "string" then
      if v == f or names.original[v] == f then return prefix .. name end
      if depth > 0 and type(v) == "table" and names.is_module(v) then
        local found = name_within(v, f, prefix .. name .. ".", depth - 1)
        if found then return found end
      end
    end
  end
end

--- The rules of what a call takes.
-- @param f what is called
-- @param object that it is a method of, or nil
-- @tparam ?string method its name
-- @tparam {string,...} keys of tables within the options: { "decoder" }
-- @treturn ?table name -> rule
function options.of(f, object, method, keys)
  local word = object ~= nil and word_of(object)
  local name = word and word .. ":" .. method or name_within(require "simvae", f, "", 1)
  local rules = name and (check.declared or {})[name]
  for _, key in ipairs(keys) do
    local rule = rules and rules[key]
    rules = rule and (rule.fields or rule.each)
  end
  return rules
end

return options
