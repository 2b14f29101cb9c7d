--- Element-wise operators (csrc/ops/elementwise.c): arithmetic, which broadcasts as in NumPy, powers, activations.

local ops = {}

local names = { add = "Add", sub = "Sub", mul = "Mul", div = "Div", pow = "Pow", maximum = "Max", minimum = "Min",
  neg = "Neg", exp = "Exp", log = "Log", sqrt = "Sqrt", abs = "Abs", sin = "Sin", cos = "Cos", tanh = "Tanh",
  sigmoid = "Sigmoid", softplus = "Softplus", relu = "Relu", floor = "Floor" }

for op, name in pairs(names) do
  ops[op] = function(b, inputs) return b:node(name, inputs) end
end

function ops.square(_, inputs) return inputs[1] * inputs[1] end

local LEAST = 1e-37 -- in place of the larger of two zeros, whose angle is then 0

--- The angle of (y, x): that of the first octant, by the smaller over the larger number, reflected into its own.
function ops.atan2(b, inputs)
  local y, x = inputs[1], inputs[2]
  local high, wide = y:abs(), x:abs()
  local angle = b:node("Atan", { high:minimum(wide) / high:maximum(wide):maximum(LEAST) })
  angle = high:above(wide):where(math.pi / 2 - angle, angle)
  angle = x:less(0):where(math.pi - angle, angle)
  return y:less(0):where(-angle, angle)
end

function ops.clamp(_, inputs, o)
  local low, high = o.low > -math.huge and o.low or nil, o.high < math.huge and o.high or nil
  if not low and not high then return inputs[1] end
  return inputs[1]:clip(low, high)
end

function ops.leaky_relu(b, inputs, o)
  return b:node("LeakyRelu", inputs, { alpha = o.slope + 0.0 })
end

function ops.silu(_, inputs) return inputs[1] * inputs[1]:sigmoid() end

--- x Phi(x), Phi by the error function, in the order of operators that onnxruntime fuses.
function ops.gelu(b, inputs)
  local x = inputs[1]
  return x * (b:node("Erf", { x / math.sqrt(2) }) + 1) * 0.5
end

--- Applies the activation of a fused op.
-- @tparam Builder b
-- @tparam Value x
-- @tparam table o its options: activation ("none", …) and slope
-- @treturn Value
local function activate(b, x, o)
  if not o.activation or o.activation == "none" then return x end
  return ops[o.activation](b, { x }, o)
end

return { ops = ops, activate = activate }
