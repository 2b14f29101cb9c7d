--- A graph of ONNX operators that is being built. Values have Lua's operators, so that converters read like formulas:
--
--     local b = builder.new()
--     local x = b:input("x", { "batch", 3 }, "…")
--     b:output("y", b:node("Exp", { -x * 2 + 1 }), { "batch", 3 }, "…")
--
-- A number beside a value is a constant; constants of equal content are stored once. Names come from the operator and
-- a count, so that the same calls give the same graph.
local core = require "simvae.core"
local messages = require "simvae.export.support.onnx.messages"

local builder = {}

local Builder, Value = {}, {}
Builder.__index = Builder
Value.__index = Value

local function value(b, name) return setmetatable({ b = b, name = name }, Value) end

-- Is this a value of a graph?
local function is_value(v) return getmetatable(v) == Value end

--- @treturn Builder of an empty graph
function builder.new()
  return setmetatable({ nodes = {}, initializers = {}, inputs = {}, outputs = {}, counts = {}, constants = {},
    weights = {}, used = {} }, Builder)
end

-- "Add_3"
local function fresh(self, kind)
  local n = (self.counts[kind] or 0) + 1
  self.counts[kind] = n
  return string.format("%s_%d", kind, n)
end

-- ---- inputs, outputs, constants -----------------------------------------------------------

--- @tparam string name
-- @tparam {integer|string,...} shape
-- @tparam string doc
-- @treturn Value
function Builder:input(name, shape, doc)
  self.inputs[#self.inputs + 1] = messages.value(name, shape, doc)
  return value(self, name)
end

--- @tparam string name
-- @tparam Value v
-- @tparam {integer|string,...} shape
-- @tparam string doc
function Builder:output(name, v, shape, doc)
  self.used[v.name] = true
  self.nodes[#self.nodes + 1] = messages.node("Identity", "Identity_" .. name, { v.name }, { name }, {})
  self.outputs[#self.outputs + 1] = messages.value(name, shape, doc)
end

-- A constant, made by make(name) where none of this content was made before.
local function constant(self, kind, content, make)
  local key = kind .. content
  local name = self.constants[key]
  if not name then
    name = fresh(self, kind)
    self.initializers[#self.initializers + 1] = { name = name, message = make(name) }
    self.constants[key] = name
  end
  return value(self, name)
end

--- A constant number: one float without axes.
-- @tparam number v
-- @treturn Value
function Builder:number(v)
  return constant(self, "number", string.pack("<f", v), function(name)
    return messages.floats(name, {}, core.tensor { v })
  end)
end

--- Constant floats, one axis.
-- @tparam {number,...} list
-- @treturn Value
function Builder:numbers(list)
  return constant(self, "numbers", string.pack("<" .. ("f"):rep(#list), table.unpack(list)), function(name)
    return messages.floats(name, { #list }, core.tensor(list))
  end)
end

--- Constant whole numbers, one axis.
-- @tparam {integer,...} list
-- @treturn Value
function Builder:integers(list)
  return constant(self, "integers", table.concat(list, ","), function(name)
    return messages.integers(name, { #list }, list)
  end)
end

--- A tensor as a constant, once for each tensor. One that no node takes is not in the file.
-- @tparam tensor t
-- @treturn Value
function Builder:weight(t)
  local known = self.weights[t]
  if known then return known end
  local name = fresh(self, "weight")
  self.initializers[#self.initializers + 1] = { name = name,
    message = messages.floats(name, table.move(t.shape, 1, t.ndim, 1, {}), t) }
  self.weights[t] = value(self, name)
  return self.weights[t]
end

-- ---- nodes ----------------------------------------------------------------------------------

local function as_value(b, v)
  return is_value(v) and v or b:number(v)
end

--- Adds an operator.
-- @tparam string op
-- @tparam table inputs Values and numbers; false for one that is left out
-- @tparam ?table attributes
-- @tparam ?integer count of outputs (1)
-- @treturn Value one for each output
function Builder:node(op, inputs, attributes, count)
  local from, to, results = {}, {}, {}
  for i, v in ipairs(inputs) do
    from[i] = v and as_value(self, v).name or ""
    self.used[from[i]] = true
  end
  local name = fresh(self, op)
  for i = 1, count or 1 do
    to[i] = (count or 1) > 1 and string.format("%s_%d", name, i) or name
    results[i] = value(self, to[i])
  end
  self.nodes[#self.nodes + 1] = messages.node(op, name, from, to, attributes or {})
  return table.unpack(results)
end

-- ---- formulas -------------------------------------------------------------------------------

local function binary(op)
  return function(x, y) return (is_value(x) and x or y).b:node(op, { x, y }) end
end

Value.__add, Value.__sub, Value.__mul, Value.__div = binary "Add", binary "Sub", binary "Mul", binary "Div"
function Value.__unm(x) return x.b:node("Neg", { x }) end

for method, op in pairs { exp = "Exp", log = "Log", sqrt = "Sqrt", abs = "Abs", tanh = "Tanh", sigmoid = "Sigmoid",
  floor = "Floor", atanh = "Atanh" } do
  Value[method] = function(x) return x.b:node(op, { x }) end
end

for method, op in pairs { maximum = "Max", minimum = "Min", less = "Less", at_least = "GreaterOrEqual",
  above = "Greater", equals = "Equal", matmul = "MatMul" } do
  Value[method] = binary(op)
end

--- x within [low, high]; nil: no bound.
function Value.clip(x, low, high)
  return x.b:node("Clip", { x, low or false, high or nil })
end

--- Where a condition holds, x, else y.
function Value.where(condition, x, y)
  return condition.b:node("Where", { condition, x, y })
end

--- log(1 + u) of 0 <= u <= 1, without the rounding of 1 + u: 2 artanh(u / (u + 2)).
function Value.log1p(u)
  return (u / (u + 2)):atanh() * 2
end

--- A polynomial of x, by Horner's scheme.
-- @tparam Value x
-- @tparam {number,...} coefficients of x^0, x^1, …
function Value.polynomial(x, coefficients)
  local y = coefficients[#coefficients]
  for i = #coefficients - 1, 1, -1 do y = x * y + coefficients[i] end
  return y
end

function Value.to_float(x) return x.b:node("Cast", { x }, { to = messages.types.float }) end
function Value.to_integer(x) return x.b:node("Cast", { x }, { to = messages.types.int64 }) end

--- Shape as a value of one axis; first, last: of these axes alone, from 0.
function Value.shape(x, first, last)
  return x.b:node("Shape", { x }, first and { start = first, ["end"] = last and last + 1 or nil })
end

--- Under another shape, of which -1 stands for what remains.
-- @tparam Value x
-- @tparam {integer,...}|Value shape
function Value.reshape(x, shape)
  return x.b:node("Reshape", { x, is_value(shape) and shape or x.b:integers(shape) })
end

--- @tparam Value x
-- @tparam {integer,...} axes in their new order, from 0
function Value.permute(x, axes) return x.b:node("Transpose", { x }, { perm = axes }) end

--- Axes of one at places of the result, from 0.
function Value.unsqueeze(x, axes) return x.b:node("Unsqueeze", { x, x.b:integers(axes) }) end
function Value.squeeze(x, axes) return x.b:node("Squeeze", { x, x.b:integers(axes) }) end

--- Entries from first to last (inclusive, from 0; nil: to the end) of an axis.
function Value.slice(x, axis, first, last)
  local b = x.b
  return b:node("Slice", { x, b:integers { first }, b:integers { last and last + 1 or math.maxinteger },
    b:integers { axis } })
end

--- Entries of an axis at fixed places, from 0.
function Value.take(x, axis, places)
  return x.b:node("Gather", { x, x.b:integers(places) }, { axis = axis })
end

function Value.sum(x, axes, keepdims)
  return x.b:node("ReduceSum", { x, x.b:integers(axes) }, { keepdims = keepdims and 1 or 0 })
end

--- Several values one after another along an axis, from 0.
-- @tparam {Value,...} list
-- @tparam integer axis
-- @treturn Value
function builder.concat(list, axis)
  if #list == 1 then return list[1] end
  return list[1].b:node("Concat", list, { axis = axis })
end

-- ---- the file -------------------------------------------------------------------------------

--- The whole file.
-- @tparam table t as of messages.model, without its graph; name and doc of the graph
-- @treturn Message
function Builder:model(t)
  local initializers = {}
  for _, one in ipairs(self.initializers) do
    if self.used[one.name] then initializers[#initializers + 1] = one.message end
  end
  local graph = messages.graph { name = t.name, doc = t.doc, nodes = self.nodes, initializers = initializers,
    inputs = self.inputs, outputs = self.outputs }
  return messages.model { graph = graph, producer = t.producer, version = t.version, doc = t.doc,
    metadata = t.metadata }
end

return builder
