--- Options of the function that a call names, from the rules by which it checks them.
local check = require "simvae.util.check"
local core = require "simvae.core"
local reference = require "simvae.reference"

local options = {}

-- Options of an op: what comes behind ";" in its signature, "stride:int=1, activation:enum(none|relu)=none".
local function of_op(name)
  local rules = {}
  for option, choices in core.ops[name].signature:match ";?([^;]*)$":gmatch "([%w_]+):%a+(%b())" do
    local list = {}
    for word in choices:gmatch "[^(|)]+" do list[#list + 1] = word end
    rules[option] = { "string", one_of = list }
  end
  for option in core.ops[name].signature:match ";?([^;]*)$":gmatch "([%w_]+):" do
    rules[option] = rules[option] or { "number" }
  end
  return rules
end

--- The rules of what a function takes.
-- @param f
-- @tparam {string,...} keys of tables within the options: { "decoder" }
-- @treturn ?table name -> rule
function options.of(f, keys)
  local entry = reference.of(f)
  if not entry then return nil end
  local rules = check.declared[entry.name]
  if not rules and entry.kind == "op" then rules = of_op(entry.name) end
  for _, key in ipairs(keys) do
    local rule = rules and rules[key]
    rules = rule and (rule.fields or rule.each)
  end
  return rules
end

return options
