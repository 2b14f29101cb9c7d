--- Initial weights of layers, and what layers check alike.
local changed = require "simvae.util.changed"
local check = require "simvae.util.check"
local core = require "simvae.core"

local initial = {}

local default_rng = core.rng(0)

--- The rng of layers that are given none.
function initial.rng() return default_rng end

--- Calls a function during which that is another one (simvae.nn.with_rng).
function initial.with_rng(rng, f, ...)
  local before = default_rng
  local _scope <close> = setmetatable({}, { __close = function() default_rng = before end }) -- errors included
  default_rng = rng
  return f(...)
end

local function normal(shape, std, rng)
  return core.parameter((rng or default_rng):normal(0, std, shape))
end

--- A parameter, uniform within 1 / sqrt(fan in), PyTorch's default for linear layers (LeCun et al. 1998).
function initial.uniform(shape, fan_in, rng)
  local bound = 1 / math.sqrt(fan_in)
  return core.parameter((rng or default_rng):uniform(-bound, bound, shape))
end

--- Options of every layer with weights.
initial.options = check.declare("nn.linear", {
  bias = { "boolean", default = true, doc = "adds a bias" },
  std = { "number", min = 0, doc = "standard deviation of normal initial weights; default: uniform by fan in" },
  rng = { "userdata|table", doc = "of the initial weights; default: see nn.with_rng" },
})

--- These, and more.
-- @tparam table extra rules by name
-- @treturn table
function initial.with(extra) return changed(initial.options, extra) end

--- A layer's weight and bias.
-- @tparam {integer,...} shape of the weight
-- @tparam integer fan_in
-- @tparam integer outputs
-- @tparam table o its options
-- @treturn table weight, bias
function initial.weights(shape, fan_in, outputs, o)
  local own = { weight = o.std and normal(shape, o.std, o.rng) or initial.uniform(shape, fan_in, o.rng) }
  if o.bias then
    own.bias = o.std and core.parameter(core.zeros(outputs)) or initial.uniform({ outputs }, fan_in, o.rng)
  end
  return own
end

--- The height and width of a convolution's kernel, checked: a side, or { height, width }.
-- @tparam string what whose, for messages
-- @tparam integer inputs channels
-- @tparam integer outputs channels
-- @param kernel
-- @treturn integer
-- @treturn integer
function initial.check_kernel(what, inputs, outputs, kernel)
  check.value(what, "inputs", inputs, { "integer", min = 1 })
  check.value(what, "outputs", outputs, { "integer", min = 1 })
  if type(kernel) ~= "table" then
    check.value(what, "kernel", kernel, { "integer", min = 1 })
    return kernel, kernel
  end
  if #kernel ~= 2 then
    check.fail(3, "%s: kernel is a side or { height, width }; got a table of %d", what, #kernel)
  end
  for i = 1, 2 do check.value(what, "kernel[" .. i .. "]", kernel[i], { "integer", min = 1 }) end
  return kernel[1], kernel[2]
end

return initial
