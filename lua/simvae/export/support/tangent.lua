--- Forward-mode differentiation of a graph (Griewank and Walther 2008, chapter 3): a graph of its directional
-- derivatives, made of the same ops.
--
-- Every node gets a tangent, the derivative of its value in the direction of the input's tangent, by its op's rule. A
-- rule gets the builder, the node, its operands' values x and tangents t (nil: zero) and its value y, and returns a
-- tangent, or nil: zero.
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local simplify = require "simvae.export.support.simplify"

local Builder = {}
Builder.__index = Builder

local STEEP = 1e30 -- slope of a step: every number in single precision but 0 is further from 0 than its inverse

-- ---- building ------------------------------------------------------------------------------------------

-- A value, or a number as a constant.
function Builder:value(v)
  if type(v) ~= "number" then return v end
  self.numbers[v] = self.numbers[v] or self.graph:constant(core.full(v, {}))
  return self.numbers[v]
end

function Builder:binary(op, a, b)
  a, b = self:value(a), self:value(b)
  return self.graph:raw(op, { a, b }, {}, dim.joined(a.shape, b.shape))
end

function Builder:add(a, b) return self:binary("add", a, b) end
function Builder:sub(a, b) return self:binary("sub", a, b) end
function Builder:mul(a, b) return self:binary("mul", a, b) end
function Builder:div(a, b) return self:binary("div", a, b) end

function Builder:unary(op, a, options) return self.graph:raw(op, { a }, options or {}, a.shape) end

-- 1 where a > 0, else 0.
function Builder:step(a) return self:unary("clamp", self:mul(a, STEEP), { low = 0, high = 1 }) end

-- The sum of two tangents, of which either may be nil.
function Builder:sum(a, b) return a and b and self:add(a, b) or a or b end

-- The density of the normal distribution.
function Builder:density(x)
  return self:mul(self:unary("exp", self:mul(self:unary("square", x), -0.5)), 1 / math.sqrt(2 * math.pi))
end

-- The sum over an axis, which stays.
function Builder:along(op, a, axes)
  local shape = table.move(a.shape, 1, #a.shape, 1, {})
  for _, axis in ipairs(axes) do shape[axis] = 1 end
  return self.graph:raw(op, { a }, { axes = axes, keepdims = true }, shape)
end

local function equal(a, b)
  for i, d in ipairs(a) do
    if d ~= b[i] then return false end
  end
  return #a == #b
end

-- A value broadcast to a shape.
function Builder:expanded(a, shape)
  if equal(a.shape, shape) then return a end
  local wide = table.move(a.shape, 1, #a.shape, #shape - #a.shape + 1, {})
  for i = 1, #shape - #a.shape do wide[i] = 1 end
  if #wide ~= #a.shape then a = self.graph:raw("reshape", { a }, { shape = wide }, wide) end
  return self.graph:raw("expand", { a }, { shape = shape }, shape)
end

-- Options of a node of its own, which simplifications may change.
local function options_of(node, activation)
  local own = {}
  for k, v in pairs(node.options) do own[k] = v end
  if own.activation then own.activation = activation end
  return own
end

-- The node's op on other operands, linear in them.
local function again(b, node, inputs, options)
  return b.graph:raw(node.op, inputs, options or options_of(node, "none"), node.shape)
end

-- ---- rules ---------------------------------------------------------------------------------------------

local rules = {}

-- Of one operand: the tangent times the derivative.
local derivatives = {
  exp = function(_, _, y) return y end,
  square = function(b, x) return b:mul(x, 2) end,
  abs = function(b, x) return b:sub(b:mul(b:step(x), 2), 1) end,
  sin = function(b, x) return b:unary("cos", x) end,
  cos = function(b, x) return b:unary("neg", b:unary("sin", x)) end,
  tanh = function(b, _, y) return b:sub(1, b:unary("square", y)) end,
  sigmoid = function(b, _, y) return b:mul(y, b:sub(1, y)) end,
  softplus = function(b, x) return b:unary("sigmoid", x) end,
  relu = function(b, x) return b:step(x) end,
  leaky_relu = function(b, x, _, o) return b:add(b:mul(b:step(x), 1 - o.slope), o.slope) end,
  silu = function(b, x)
    local s = b:unary("sigmoid", x)
    return b:mul(s, b:add(b:mul(x, b:sub(1, s)), 1))
  end,
  gelu = function(b, x) return b:add(b:unary("normal_cdf", x), b:mul(x, b:density(x))) end,
  normal_cdf = function(b, x) return b:density(x) end,
  clamp = function(b, x, _, o)
    local inside
    if o.low > -math.huge then inside = b:step(b:sub(x, o.low)) end
    if o.high < math.huge then
      local below = b:step(b:sub(o.high, x))
      inside = inside and b:mul(inside, below) or below
    end
    return inside or b:value(1)
  end,
}

for op, derivative in pairs(derivatives) do
  rules[op] = function(b, node, x, t, y) return b:mul(t[1], derivative(b, x[1], y, node.options)) end
end

-- ---- quotients, whose derivative may be infinite

function rules.log(b, _, x, t) return b:div(t[1], x[1]) end
function rules.sqrt(b, _, _, t, y) return b:div(b:mul(t[1], 0.5), y) end
function rules.normal_quantile(b, _, _, t, y) return b:div(t[1], b:density(y)) end
function rules.neg(b, _, _, t) return b:unary("neg", t[1]) end
function rules.floor() return nil end
rules.argmax, rules.argmin = rules.floor, rules.floor

-- A table's slope is that of its slopes: between knots their own slopes are central differences.
function rules.cubic_hermite(b, node, x, t)
  local slopes, o = node.inputs[3], node.options
  if node.inputs[2].kind ~= "constant" or slopes.kind ~= "constant" then return nil, "a table that is no constant" end
  local s, count = core.reshape(slopes.tensor, -1):totable(), slopes.tensor.count
  local step, bends = (o.high - o.low) / (count - 1), {}
  for k = 1, count do
    local first, last = math.max(1, k - 1), math.min(count, k + 1)
    bends[k] = (s[last] - s[first]) / (step * (last - first))
  end
  local slope = b.graph:raw("cubic_hermite", { x[1], slopes, b.graph:constant(core.tensor(bends)) }, o, node.shape)
  local inside = b:mul(b:step(b:sub(x[1], o.low)), b:step(b:sub(o.high, x[1])))
  return b:mul(t[1], b:mul(slope, inside))
end

-- ---- of two operands

function rules.add(b, _, _, t) return b:sum(t[1], t[2]) end

function rules.sub(b, _, _, t) return b:sum(t[1], t[2] and b:unary("neg", t[2])) end

function rules.mul(b, _, x, t)
  return b:sum(t[1] and b:mul(t[1], x[2]), t[2] and b:mul(x[1], t[2]))
end

function rules.div(b, _, x, t, y)
  return b:sum(t[1] and b:div(t[1], x[2]), t[2] and b:unary("neg", b:div(b:mul(y, t[2]), x[2])))
end

function rules.pow(b, _, x, t, y)
  local base = t[1] and b:mul(t[1], b:mul(x[2], b:binary("pow", x[1], b:sub(x[2], 1))))
  return b:sum(base, t[2] and b:mul(t[2], b:mul(y, b:unary("log", x[1]))))
end

function rules.atan2(b, _, x, t)
  local radius = b:add(b:unary("square", x[1]), b:unary("square", x[2]))
  return b:sum(t[1] and b:div(b:mul(t[1], x[2]), radius),
    t[2] and b:unary("neg", b:div(b:mul(t[2], x[1]), radius)))
end

-- first: the sign of x1 - x2 where the first one counts.
local function chosen(sign)
  return function(b, _, x, t)
    local first = b:step(b:mul(b:sub(x[1], x[2]), sign))
    return b:sum(t[1] and b:mul(t[1], first), t[2] and b:mul(t[2], b:sub(1, first)))
  end
end

rules.maximum, rules.minimum = chosen(1), chosen(-1)

-- ---- linear ones

local function linear(b, node, _, t) return again(b, node, { t[1] }) end

for _, op in ipairs { "reshape", "expand", "slice", "permute", "sum", "mean", "avg_pool2d", "upsample2d" } do
  rules[op] = linear
end

function rules.pad(b, node, _, t)
  return again(b, node, { t[1] }, { widths = node.options.widths, value = 0 })
end

function rules.concat(b, node, x, t)
  local parts = {}
  for k, one in ipairs(x) do parts[k] = t[k] or b:expanded(b:value(0), one.shape) end
  return again(b, node, parts)
end

function rules.gather(b, node, x, t) return t[1] and again(b, node, { t[1], x[2] }) end

-- Layers without their bias and activation.
local function layer(b, node, x, t)
  if t[2] or t[3] then return nil, "weights that depend on the input" end
  return again(b, node, { t[1], x[2], false })
end

rules.linear, rules.conv2d, rules.conv_transpose2d = layer, layer, layer

function rules.matmul(b, node, x, t)
  return b:sum(t[1] and again(b, node, { t[1], x[2] }), t[2] and again(b, node, { x[1], t[2] }))
end

-- ---- over axes

function rules.softmax(b, node, _, t, y)
  return b:mul(y, b:sub(t[1], b:along("sum", b:mul(y, t[1]), { node.options.axis })))
end

function rules.log_softmax(b, node, _, t, y)
  return b:sub(t[1], b:along("sum", b:mul(b:unary("exp", y), t[1]), { node.options.axis }))
end

function rules.layer_norm(b, node, x, t)
  if t[2] or t[3] then return nil, "weights that depend on the input" end
  local axes = { #node.shape }
  local centred = b:sub(x[1], b:along("mean", x[1], axes))
  local var = b:along("mean", b:unary("square", centred), axes)
  local inverse = b:div(1, b:unary("sqrt", b:add(var, node.options.eps)))
  local moved = b:sub(t[1], b:along("mean", t[1], axes))
  local scaled = b:mul(centred, b:unary("square", inverse))
  moved = b:sub(moved, b:mul(scaled, b:along("mean", b:mul(centred, moved), axes)))
  return b:mul(b:mul(moved, inverse), x[2])
end

-- ---- the graph -------------------------------------------------------------------------------------------

-- A node's copy: its value, with a fused activation as a node of its own.
local function copied(b, node, inputs)
  local before = b.graph:raw(node.op, inputs, options_of(node, "none"), node.shape)
  local activation = node.options.activation or "none"
  if activation == "none" then return { { node, before } } end
  local own = activation == "leaky_relu" and { slope = node.options.slope } or {}
  local after = b.graph:raw(activation, { before }, own, node.shape)
  return { { before, before }, { after, after } }
end

-- The tangent of a node of which y is the value in the new graph; nil, reason where there is no rule.
local function tangent_of(b, node, y, tangents)
  local t, any = {}, false
  for k, input in ipairs(y.inputs) do
    t[k] = input and tangents[input] or nil
    any = any or t[k] ~= nil
  end
  if not any then return nil end
  local rule = rules[node.op]
  if not rule then return nil, string.format("op '%s' has no rule of differentiation", node.op) end
  local result, why = rule(b, node, y.inputs, t, y)
  if not result then return nil, why and string.format("op '%s' has %s", node.op, why) end
  return b:expanded(result, node.shape)
end

local function input_of(input, name, text)
  return { kind = "input", name = name, shape = input.shape, text = text, make = input.make }
end

--- The directional derivatives of a graph of one input z and one output x.
-- @tparam Graph graph
-- @treturn Graph|nil "tangent", of inputs z and dz and the output dx; or nil and a reason: an op without a rule
return function(graph)
  local scope <close> = core.scope()
  local z, output = graph.inputs[1], graph.outputs[1]
  local own = setmetatable({ name = "tangent", symbols = graph.symbols, nodes = {}, outputs = {}, by_tensor = {},
    text = "How the output changes with parameters that change by dz." }, getmetatable(graph))
  own.inputs = { input_of(z, z.name, z.text), input_of(z, "dz", "change of the parameters, in their units") }
  local b = setmetatable({ graph = own, numbers = {} }, Builder)
  local values, tangents = { [z] = own.inputs[1] }, { [own.inputs[1]] = own.inputs[2] }
  for _, node in ipairs(graph.nodes) do
    local inputs = {}
    for k, input in ipairs(node.inputs) do inputs[k] = input and (values[input] or input) end
    for _, pair in ipairs(copied(b, node, inputs)) do
      local why
      values[node] = pair[2]
      tangents[pair[2]], why = tangent_of(b, pair[1], pair[2], tangents)
      if why then return nil, why end
    end
  end
  local value = tangents[values[output.value]] or b:expanded(b:value(0), output.shape)
  own.outputs[1] = { name = "dx", text = "change of the output", value = value, shape = value.shape }
  simplify(own)
  for _, constant in pairs(own.by_tensor) do constant.tensor = core.buffer(constant.tensor) end
  own.by_tensor = {}
  return own
end
