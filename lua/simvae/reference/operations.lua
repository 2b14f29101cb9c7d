--- The documentation of ops, from their rows in C: signature, text and check case.
local core = require "simvae.core"
local split = require "simvae.util.split"

local operations = {}

local by_function = {}
for name, op in pairs(core.ops) do by_function[op.call] = name end

--- The name of the op that a function is.
-- @tparam function f
-- @treturn ?string
function operations.of(f)
  return by_function[f]
end

local kinds = { num = "number", int = "integer", bool = "boolean", axis = "integer", axes = "integer|table",
  ints = "integer|table", enum = "string" }
local kind_texts = { axis = "an axis, from 1, or from -1 back", axes = "an axis or a list of axes",
  ints = "whole numbers, or one list of them" }

-- Kind, choices and default of "enum(none|relu)=none", "int=1", "axes?".
local function read_option(name, text)
  local kind, choices = text:match "^(%a+)", text:match "^%a+(%b())"
  local default = text:match "=(.*)$"
  local p = { name = name, type = kinds[kind] or "any", optional = default ~= nil or text:find "%?$" ~= nil,
    text = kind_texts[kind] or "" }
  local parts = {}
  if p.text ~= "" then parts[1] = p.text end
  if choices then parts[#parts + 1] = choices:sub(2, -2):gsub("|", ", ") end
  if default then parts[#parts + 1] = "default " .. default end
  p.text, p.spread = table.concat(parts, "; "), kind == "ints"
  return p
end

-- The parts of a signature.
local function parts_of(text)
  local parts = split(text, ",")
  for i, part in ipairs(parts) do parts[i] = part:match "^%s*(.-)%s*$" end
  return parts
end

-- The check case as a call: in it r(2, 3) is a tensor of random numbers.
local function example_of(name, row)
  local code = row.check:gsub("%f[%w_]r(%b())", function(shape)
    return "rng:uniform(-1, 1, { " .. shape:sub(2, -2) .. " })"
  end)
  code = code:gsub("%f[%w_]tensor%s*(%b{})", "sv.tensor %1"):gsub("%f[%w_]tensor(%b())", "sv.tensor%1")
  local images = row.check:find "r%(%d+, %d+, %d+, %d+%)" -- whose numbers would fill a page
  return string.format("print(sv.%s(%s)%s)", name, code, images and ".shape" or "")
end

--- The documentation of an op.
-- @tparam string name
-- @treturn table as of simvae.reference.comment, with signature
function operations.doc(name)
  local row = core.ops[name]
  local inputs, rest = row.signature:match "^([^;]*);?%s*(.*)$"
  local doc = { text = row.doc .. (row.no_grad and " It has no gradient." or ""), params = {}, returns = {},
    raises = {}, overloads = {}, usage = { example_of(name, row) }, signature = row.signature }
  for _, part in ipairs(parts_of(inputs)) do
    local word, mark = part:match "^([%w_]+)([?*]*)$"
    if word then
      local type = mark:find("*", 1, true) and "{tensor,...}"
        or row.doc:find "broadcast" and "tensor|number" or "tensor"
      doc.params[#doc.params + 1] = { name = word, type = type,
        optional = mark:find("?", 1, true) ~= nil, text = mark:find("*", 1, true) and "a list of tensors" or "" }
    end
  end
  for _, part in ipairs(rest ~= "" and parts_of(rest) or {}) do
    local word, kind = part:match "^([%w_]+):(.*)$"
    if word then doc.params[#doc.params + 1] = read_option(word, kind) end
  end
  doc.returns[1] = { type = "tensor", text = row.doc:match "%->%s*(%b())" or "" }
  doc.raises[1] = "shapes that do not fit, options that are not of their kind"
  return doc
end

return operations
