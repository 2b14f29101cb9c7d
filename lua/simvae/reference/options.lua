--- Options of public functions as the reference lists them, from the rules by which they are checked (check.declare).
local check = require "simvae.util.check"

local options = {}

local words = { integer = "whole number", boolean = "true or false", rng = "generator (sv.rng)" }

local function number(v)
  return math.type(v) == "integer" and tostring(v) or string.format("%.10g", v)
end

local function value_text(v)
  if type(v) == "string" then return string.format("%q", v) end
  return type(v) == "number" and number(v) or tostring(v)
end

-- "from 0 to 1", "at least 1", "above 0"; or nil
local function range_text(rule)
  local low = rule.above and "above " .. number(rule.above) or rule.min and rule.min > -math.huge
    and "from " .. number(rule.min) or nil
  if rule.max then return low and low .. " to " .. number(rule.max) or "at most " .. number(rule.max) end
  return low and low:gsub("^from ", "at least ") or nil
end

--- The types of a rule in words: "number or function".
-- @tparam table rule
-- @treturn string
function options.types(rule)
  local list = {}
  for word in rule[1]:gmatch "[^|]+" do list[#list + 1] = word == "table" and rule.class or words[word] or word end
  return table.concat(list, " or ")
end

--- What a rule accepts, in words: "whole number, at least 1; default 64".
-- @tparam table rule
-- @treturn string
function options.accepts(rule)
  local parts = { options.types(rule) }
  parts[#parts + 1] = range_text(rule)
  local text = table.concat(parts, ", ")
  if rule.one_of then
    local quoted = {}
    for i, v in ipairs(rule.one_of) do quoted[i] = string.format("%q", v) end
    text = text .. (rule[1] == "string" and ": " or "; as a string ") .. table.concat(quoted, ", ")
  end
  if rule.required then return text .. "; required" end
  return rule.default ~= nil and text .. "; default " .. value_text(rule.default) or text
end

--- The options of rules, those that are required first, then by name.
-- @tparam table rules
-- @tparam ?integer depth of tables in tables that are followed (2)
-- @treturn {table,...} { name =, rule =, types =, accepts =, doc =, required =, fields = of a table, each = of its
--   elements, both as this list, same = name of an earlier option with the same fields }
function options.list(rules, depth)
  depth = depth or 2
  local list = {}
  for name, rule in pairs(rules) do
    list[#list + 1] = { name = name, rule = rule, types = rule[1], accepts = options.accepts(rule), doc = rule.doc,
      required = rule.required or false,
      fields = depth > 0 and rule.fields and options.list(rule.fields, depth - 1) or nil,
      each = depth > 0 and rule.each and options.list(rule.each, depth - 1) or nil }
  end
  table.sort(list, function(a, b)
    if a.required ~= b.required then return a.required end
    return a.name < b.name
  end)
  local first = {}
  for _, o in ipairs(list) do
    if o.fields then
      o.same = first[o.rule.fields]
      first[o.rule.fields] = first[o.rule.fields] or o.name
    end
  end
  return list
end

--- The options of a function.
-- @tparam string name "model:train"
-- @treturn ?{table,...} as of list
function options.of(name)
  local rules = check.declared[name]
  return rules and options.list(rules)
end

return options
