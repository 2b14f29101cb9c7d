--- Layers: named parameters, a forward function, and two modes.
--
--     local net = nn.sequential {
--       nn.linear(4, 128), nn.relu(),
--       nn.linear(128, 122),
--     }
--     local y = net(x)                    -- x (N, 4) -> (N, 122)
--     for name, p in pairs(net:state()) do print(name, p) end    -- "1.weight", "1.bias", …
--
-- A layer is a table with `forward(self, x)`. Its parameters are tensors in
-- `self.own` (by name); running statistics in `self.buffers`; layers inside it in
-- `self.inner`. nn.layer makes a user-defined layer
-- from such a table.
local attention = require "simvae.nn.attention"
local check = require "simvae.util.check"
local core = require "simvae.core"
local initial = require "simvae.nn.initial"
local microbatch = require "simvae.nn.microbatch"
local names = require "simvae.util.names"
local precision = require "simvae.nn.precision"
local recurrent = require "simvae.nn.recurrent"
local series = require "simvae.nn.series"
require "simvae.tensor"

local nn = {}

local Layer = {}
Layer.__index = Layer
nn.class = Layer

--- Makes a layer from a table with forward(self, …), own, buffers and inner.
-- @tparam table t forward: function (self, x, …) -> y; own: parameters by name; buffers: tensors without gradient by
-- name; inner: a list of layers; label: for printing
-- @treturn Layer
-- @raise fields of other types
-- @usage
-- local net = sv.nn.layer {
--   label = "shift", own = { shift = sv.parameter { 1 } },
--   forward = function(self, t) return t + self.own.shift end,
-- }
-- print(net(sv.zeros(3)))
function nn.layer(t)
  if type(t) ~= "table" then
    check.fail(2, "nn.layer: takes a table { forward = function(self, x) … end, own = { … } }; got %s",
      check.describe(t))
  end
  check.value("nn.layer", "forward", t.forward, { "function" })
  for _, part in ipairs { "own", "buffers", "inner" } do
    if t[part] ~= nil then check.value("nn.layer", part, t[part], { "table" }) end
  end
  t.own, t.buffers, t.inner = t.own or {}, t.buffers or {}, t.inner or {}
  t.training = true
  return setmetatable(t, Layer)
end

--- Is this a layer?
-- @tparam any v anything
-- @treturn boolean
-- @usage print(sv.nn.is(sv.nn.relu()), sv.nn.is(sv.relu))
function nn.is(v)
  return getmetatable(v) == Layer
end

function Layer:__call(...)
  return self:forward(...)
end

function Layer:__tostring()
  local parts = {}
  for i, l in ipairs(self.inner) do parts[i] = "  " .. tostring(l):gsub("\n", "\n  ") end
  if #parts == 0 then return self.label or "layer" end
  return (self.label or "layer") .. " {\n" .. table.concat(parts, "\n") .. "\n}"
end

-- Calls f(name, tensor, kind) for every parameter and buffer, in a fixed order.
local function visit(layer, prefix, f)
  for _, kind in ipairs { "own", "buffers" } do
    local sorted = {}
    for name in pairs(layer[kind]) do sorted[#sorted + 1] = name end
    table.sort(sorted)
    for _, name in ipairs(sorted) do f(prefix .. name, layer[kind][name], kind) end
  end
  for i, l in ipairs(layer.inner) do visit(l, prefix .. (l.name or i) .. ".", f) end
end

--- The parameters, in a fixed order.
-- @treturn {tensor,...}
-- @usage for _, t in ipairs(sv.nn.linear(3, 4):parameters()) do print(t.shape) end
function Layer:parameters()
  local list = {}
  visit(self, "", function(_, t, kind)
    if kind == "own" then list[#list + 1] = t end
  end)
  return list
end

--- Parameters and buffers by name, as saved in files.
-- @treturn {[string]=tensor}
-- @usage for name, t in pairs(sv.nn.linear(3, 4):state()) do print(name, t.shape) end
function Layer:state()
  local map = {}
  visit(self, "", function(name, t) map[name] = t end)
  return map
end

--- Fills parameters and buffers from such a map.
-- @tparam table map name -> tensor
-- @tparam ?string prefix of the names in map
-- @treturn boolean true, or nil and which name is missing or of another shape
-- @raise a prefix that is not a string
-- @usage
-- local a, b = sv.nn.linear(3, 4), sv.nn.linear(3, 4)
-- print(a:load_state(b:state()))
function Layer:load_state(map, prefix)
  if type(map) ~= "table" then
    check.fail(2, "load_state: takes a table of tensors by name; got %s", check.describe(map))
  end
  if prefix ~= nil then check.value("load_state", "prefix", prefix, { "string" }) end
  prefix = prefix or ""
  local own = self:state()
  for name, t in pairs(own) do
    local from = map[prefix .. name]
    if getmetatable(from) ~= core.metatable then return nil, string.format("'%s%s' is missing", prefix, name) end
    if check.shape_text(from.shape) ~= check.shape_text(t.shape) then
      return nil, string.format("'%s%s' has shape %s, where this network has %s", prefix, name,
        check.shape_text(from.shape), check.shape_text(t.shape))
    end
  end
  for name, t in pairs(own) do t:copy(map[prefix .. name]) end
  return true
end

local function set_mode(layer, training)
  layer.training = training
  for _, l in ipairs(layer.inner) do set_mode(l, training) end
  return layer
end

--- Training mode: batch statistics, dropout.
-- @treturn Layer itself
-- @usage print(sv.nn.batch_norm(3):train().training)
function Layer:train() return set_mode(self, true) end

--- Evaluation mode: running statistics, no dropout.
-- @treturn Layer itself
-- @usage print(sv.nn.dropout(0.5):eval()(sv.ones(4)))
function Layer:eval() return set_mode(self, false) end

--- The precision of the convolutions in it, "fp32" or "bf16" (factors rounded to bfloat16 where the CPU has such
-- products; weights, sums and all other layers stay in full precision).
-- @tparam string name
-- @treturn Layer itself
-- @raise a precision that this CPU has no products of
-- @usage local net = sv.nn.conv2d(1, 8, 3):set_precision "fp32"
function Layer:set_precision(name)
  precision.set(self, precision.check("set_precision", name))
  return self
end

--- Disables gradients of the parameters; gradients still pass through to the input.
-- @treturn Layer itself
-- @usage print(sv.nn.linear(3, 4):freeze():parameters()[1].needs_grad)
function Layer:freeze()
  for _, p in ipairs(self:parameters()) do p:requires_grad(false) end
  return self
end

--- Enables gradients of the parameters.
-- @treturn Layer itself
-- @usage print(sv.nn.linear(3, 4):freeze():unfreeze():parameters()[1].needs_grad)
function Layer:unfreeze()
  for _, p in ipairs(self:parameters()) do p:requires_grad(true) end
  return self
end

--- How many numbers the parameters hold.
-- @treturn integer
-- @usage print(sv.nn.linear(3, 4):count())
function Layer:count()
  local n = 0
  for _, p in ipairs(self:parameters()) do n = n + p.count end
  return n
end

-- ---- initialisation --------------------------------------------------------------

--- Calls a function in which layers without an rng draw their initial weights from this one. By default they draw from
-- one stream of the process, sv.rng(0), so that weights depend on the layers made before. sv.model calls builders of
-- networks in this way, so that a model depends on its seed alone.
-- @tparam rng rng
-- @tparam function f makes layers
-- @param ... its arguments
-- @return what f returns
-- @raise an rng or f of another type
-- @usage print(sv.nn.with_rng(sv.rng(3), sv.nn.linear, 3, 4))
function nn.with_rng(rng, f, ...)
  check.value("nn.with_rng", "rng", rng, { "userdata|table" })
  check.value("nn.with_rng", "f", f, { "function" })
  return initial.with_rng(rng, f, ...)
end

-- ---- layers ------------------------------------------------------------------------

local activations = {} -- that the op linear takes
for _, name in ipairs(core.fused_activations) do activations[name] = true end

--- Linear: (…, in) -> (…, out).
-- @tparam integer inputs
-- @tparam integer outputs
-- @tparam ?table options options
-- @treturn Layer
-- @raise numbers below 1, unknown options
-- @usage print(sv.nn.linear(3, 4)(sv.ones(2, 3)).shape)
function nn.linear(inputs, outputs, options)
  check.value("nn.linear", "inputs", inputs, { "integer", min = 1 })
  check.value("nn.linear", "outputs", outputs, { "integer", min = 1 })
  local o = check.options("nn.linear", options, initial.options)
  return nn.layer {
    label = string.format("linear %d -> %d", inputs, outputs),
    own = initial.weights({ outputs, inputs }, inputs, outputs, o),
    fuses = activations,
    forward = function(self, x, activation, slope)
      return core.linear(x, self.own.weight, self.own.bias, activation, slope)
    end,
  }
end

-- Activations that convolutions fuse, in addition to a frozen batch norm.
local rectifiers = { relu = true, leaky_relu = true }

local function with_norm(op, self, x, norm, ...)
  return op(x, self.own.weight, self.own.bias, norm.own.weight, norm.own.bias, norm.buffers.running_mean,
    norm.buffers.running_var, ...)
end

-- Options of the ends of an image: what is there, for their texts.
local function ends(rows, columns, t)
  for name, what in pairs { top = rows, bottom = rows, left = columns, right = columns } do
    t[name] = { "integer", default = 0, min = 0, doc = string.format("%s at the %s, beyond padding", what, name) }
  end
  return initial.with(t)
end

local conv_options = check.declare("nn.conv2d", ends("rows of zeros", "columns of zeros", {
  stride = { "integer", default = 1, min = 1, doc = "pixels" },
  padding = { "integer", default = 0, min = 0, doc = "zeros on every side, pixels" },
  dilation = { "integer", default = 1, min = 1, doc = "pixels from tap to tap; above 1 with stride 1 alone" },
}))

--- Convolution: (N, in, H, W) -> (N, out, (H + 2 padding + top + bottom - (KH - 1) dilation - 1) / stride + 1, …).
-- @tparam integer inputs channels
-- @tparam integer outputs channels
-- @tparam integer|table kernel side, in pixels, or { height, width }
-- @tparam ?table options options
-- @treturn Layer
-- @raise numbers below 1, unknown options
-- @usage print(sv.nn.conv2d(1, 8, 4, { stride = 2, padding = 1 })(x).shape)
function nn.conv2d(inputs, outputs, kernel, options)
  local KH, KW = initial.check_kernel("nn.conv2d", inputs, outputs, kernel)
  local o = check.options("nn.conv2d", options, conv_options)
  return nn.layer {
    label = string.format("conv2d %d -> %d, %dx%d, stride %d", inputs, outputs, KH, KW, o.stride),
    own = initial.weights({ outputs, inputs, KH, KW }, inputs * KH * KW, outputs, o),
    fuses = rectifiers,
    forward = function(self, x, activation, slope)
      return core.conv2d(x, self.own.weight, self.own.bias, o.stride, o.padding, activation, slope, self.precision,
        o.top, o.bottom, o.left, o.right, o.dilation)
    end,
    forward_norm = function(self, x, norm, activation, slope)
      return with_norm(core.conv2d_norm, self, x, norm, o.stride, o.padding, activation, slope, norm.eps,
        self.precision, o.top, o.bottom, o.left, o.right, o.dilation)
    end,
  }
end

local transposed_options = check.declare("nn.conv_transpose2d", ends("rows cut off", "columns cut off", {
  stride = { "integer", default = 1, min = 1, doc = "pixels" },
  padding = { "integer", default = 0, min = 0, doc = "pixels cut off on every side" },
  output_padding = { "integer", default = 0, min = 0, doc = "pixels added at the right and at the bottom" },
  dilation = { "integer", default = 1, min = 1, doc = "pixels from tap to tap; above 1 with stride 1 alone" },
}))

--- Transposed convolution: (N, in, H, W) -> (N, out, (H - 1) stride - 2 padding - top - bottom + (KH - 1) dilation + 1
-- + output_padding, …).
-- @tparam integer inputs channels
-- @tparam integer outputs channels
-- @tparam integer|table kernel side, in pixels, or { height, width }
-- @tparam ?table options options
-- @treturn Layer
-- @raise numbers below 1, unknown options
-- @usage print(sv.nn.conv_transpose2d(8, 1, 4, { stride = 2, padding = 1 })(rng:normal { 2, 8, 16, 16 }).shape)
function nn.conv_transpose2d(inputs, outputs, kernel, options)
  local KH, KW = initial.check_kernel("nn.conv_transpose2d", inputs, outputs, kernel)
  local o = check.options("nn.conv_transpose2d", options, transposed_options)
  return nn.layer {
    label = string.format("conv_transpose2d %d -> %d, %dx%d, stride %d", inputs, outputs, KH, KW, o.stride),
    own = initial.weights({ inputs, outputs, KH, KW }, outputs * KH * KW, outputs, o),
    fuses = rectifiers,
    forward = function(self, x, activation, slope)
      return core.conv_transpose2d(x, self.own.weight, self.own.bias, o.stride, o.padding, o.output_padding,
        activation, slope, self.precision, o.top, o.bottom, o.left, o.right, o.dilation)
    end,
    forward_norm = function(self, x, norm, activation, slope)
      return with_norm(core.conv_transpose2d_norm, self, x, norm, o.stride, o.padding, o.output_padding, activation,
        slope, norm.eps, self.precision, o.top, o.bottom, o.left, o.right, o.dilation)
    end,
  }
end

local batch_norm_options = check.declare("nn.batch_norm", {
  momentum = { "number", default = 0.1, min = 0, max = 1, doc = "share of a batch in the running statistics" },
  eps = { "number", default = 1e-5, above = 0, doc = "added to the variance" },
  std = { "number", min = 0, doc = "standard deviation of normal initial scales about 1; default: all are 1" },
  rng = { "userdata|table", doc = "of the initial scales; default: see nn.with_rng" },
})

--- Batch normalisation over channels: (N, C) or (N, C, H, W).
-- @tparam integer channels
-- @tparam ?table options options
-- @treturn Layer
-- @raise a number of channels below 1, unknown options
-- @usage print(sv.nn.batch_norm(3)(rng:normal { 4, 3, 8, 8 }).shape)
function nn.batch_norm(channels, options)
  check.value("nn.batch_norm", "channels", channels, { "integer", min = 1 })
  local o = check.options("nn.batch_norm", options, batch_norm_options)
  local scale = o.std and (o.rng or initial.rng()):normal(1, o.std, { channels }) or core.ones(channels)
  return nn.layer {
    label = "batch_norm " .. channels,
    own = { weight = core.parameter(scale), bias = core.parameter(core.zeros(channels)) },
    buffers = { running_mean = core.buffer(core.zeros(channels)), running_var = core.buffer(core.ones(channels)) },
    eps = o.eps,
    constant_norm = function(self)
      return not (self.training or self.own.weight.needs_grad or self.own.bias.needs_grad)
    end,
    fuses = rectifiers,
    follow = function(self, mean, var, rows) -- the statistics of a batch in microbatches
      local running_mean, running_var = self.buffers.running_mean, self.buffers.running_var
      running_mean:copy(running_mean + (mean - running_mean) * o.momentum)
      running_var:copy(running_var + (var * (rows / math.max(rows - 1, 1)) - running_var) * o.momentum)
    end,
    forward = function(self, x, activation, slope)
      if self.training and microbatch.now then
        return microbatch.batch_norm(self, x, activation or "none", slope or 0)
      end
      return core.batch_norm(x, self.own.weight, self.own.bias, self.buffers.running_mean,
        self.buffers.running_var, self.training, o.momentum, o.eps, activation or "none", slope or 0)
    end,
  }
end

local layer_norm_options = check.declare("nn.layer_norm", {
  eps = { "number", default = 1e-5, above = 0, doc = "added to the variance" },
})

--- Layer normalisation over the last axis: (…, D).
-- @tparam integer size D
-- @tparam ?table options options
-- @treturn Layer
-- @raise a size below 1, unknown options
-- @usage print(sv.nn.layer_norm(3)(sv.tensor { { 1, 2, 6 } }))
function nn.layer_norm(size, options)
  check.value("nn.layer_norm", "size", size, { "integer", min = 1 })
  local o = check.options("nn.layer_norm", options, layer_norm_options)
  return nn.layer {
    label = "layer_norm " .. size,
    own = { weight = core.parameter(core.ones(size)), bias = core.parameter(core.zeros(size)) },
    forward = function(self, x) return core.layer_norm(x, self.own.weight, self.own.bias, o.eps) end,
  }
end

local dropout_options = check.declare("nn.dropout", {
  seed = { "integer", default = 0, min = 0, doc = "of what is dropped" },
})

--- Dropout with probability p, in training mode only.
-- @tparam number p
-- @tparam ?table options options
-- @treturn Layer
-- @raise a probability outside [0, 1], unknown options
-- @usage print(sv.nn.dropout(0.5)(sv.ones(8)))
function nn.dropout(p, options)
  check.value("nn.dropout", "p", p, { "number", min = 0, max = 1 })
  local o = check.options("nn.dropout", options, dropout_options)
  local step = 0
  return nn.layer {
    label = "dropout " .. p,
    forward = function(self, x)
      if not self.training or p == 0 then return x end
      step = step + 1
      return core.dropout(x, p, o.seed, microbatch.dropout_stream(self, step))
    end,
  }
end

local function activation(name)
  return nn.layer { label = name, activation = name, forward = function(_, x) return core[name](x) end }
end

--- Rectified linear unit: max(x, 0).
-- @treturn Layer
-- @usage print(sv.nn.relu()(sv.tensor { -1, 2 }))
function nn.relu() return activation "relu" end

--- Hyperbolic tangent.
-- @treturn Layer
-- @usage print(sv.nn.tanh()(sv.tensor { -1, 2 }))
function nn.tanh() return activation "tanh" end

--- Logistic function: 1 / (1 + exp(-x)).
-- @treturn Layer
-- @usage print(sv.nn.sigmoid()(sv.tensor { -1, 2 }))
function nn.sigmoid() return activation "sigmoid" end

--- log(1 + exp(x)).
-- @treturn Layer
-- @usage print(sv.nn.softplus()(sv.tensor { -1, 2 }))
function nn.softplus() return activation "softplus" end

--- x times the normal distribution function of x (Hendrycks and Gimpel 2016).
-- @treturn Layer
-- @usage print(sv.nn.gelu()(sv.tensor { -1, 2 }))
function nn.gelu() return activation "gelu" end

--- x / (1 + exp(-x)), also called swish (Elfwing, Uchibe and Doya 2018).
-- @treturn Layer
-- @usage print(sv.nn.silu()(sv.tensor { -1, 2 }))
function nn.silu() return activation "silu" end

--- Leaky ReLU.
-- @tparam ?number slope below zero (0.2, as in DCGAN)
-- @treturn Layer
-- @raise a slope that is not a number
-- @usage print(sv.nn.leaky_relu(0.1)(sv.tensor { -1, 2 }))
function nn.leaky_relu(slope)
  slope = slope or 0.2
  check.value("nn.leaky_relu", "slope", slope, { "number" })
  return nn.layer {
    label = "leaky_relu " .. slope, activation = "leaky_relu", slope = slope,
    forward = function(_, x) return core.leaky_relu(x, slope) end,
  }
end

--- Reshapes each sample: (N, …) -> (N, …shape).
-- @tparam {integer,...} shape of each sample; one axis may be -1
-- @treturn Layer
-- @raise an invalid shape
-- @usage print(sv.nn.reshape({ 2, 8 })(sv.ones(4, 16)).shape)
function nn.reshape(shape)
  if type(shape) ~= "table" then
    check.fail(2, "nn.reshape: takes a shape such as { 3, 64, 64 }; got %s", check.describe(shape))
  end
  for i, n in ipairs(shape) do check.value("nn.reshape", "shape[" .. i .. "]", n, { "integer", min = -1 }) end
  return nn.layer {
    label = "reshape " .. check.shape_text(shape),
    forward = function(_, x) return core.reshape(x, { x.shape[1], table.unpack(shape) }) end,
  }
end

--- Layers in sequence. A layer with `fuses[name]` fuses a following activation of that name: forward(self, x, name,
-- slope). A layer with forward_norm also fuses a frozen batch norm in evaluation mode: forward_norm(self, x, norm,
-- name, slope).
-- @tparam {Layer,...} layers in the order of their application
-- @treturn Layer
-- @raise an entry that is not a layer
-- @usage
-- local net = sv.nn.sequential { sv.nn.linear(2, 16), sv.nn.gelu(), sv.nn.linear(16, 1) }
-- print(net, net(sv.ones(4, 2)).shape)
function nn.sequential(layers)
  if type(layers) ~= "table" or nn.is(layers) then
    check.fail(2, "nn.sequential: takes a list of layers { a, b, … }; got %s",
      nn.is(layers) and "one layer" or check.describe(layers))
  end
  for i, l in ipairs(layers) do
    if not nn.is(l) then
      check.fail(2, "nn.sequential: entry %d is %s; it takes layers", i, check.describe(l))
    end
  end
  return nn.layer {
    label = "sequential",
    inner = layers,
    forward = function(self, x)
      local inner, i = self.inner, 1
      while inner[i] do
        local layer, behind, norm = inner[i], inner[i + 1], nil
        if layer.forward_norm and behind and behind.constant_norm and behind:constant_norm() then
          i, norm, behind = i + 1, behind, inner[i + 2]
        end
        local name, slope = behind and behind.activation, behind and behind.slope
        if name and layer.fuses and layer.fuses[name] and (slope or 0) >= 0 then
          i = i + 1
        else
          name, slope = nil, nil
        end
        if norm then x = layer:forward_norm(x, norm, name, slope) else x = layer:forward(x, name, slope) end
        i = i + 1
      end
      return x
    end,
  }
end

--- A layer from a plain function over parameters.
-- @tparam function f (x, parameters) -> y
-- @tparam ?{[string]=tensor} parameters made by sv.parameter
-- @treturn Layer
-- @raise f that is not a function
-- @usage
-- local net = sv.nn.func(function(t, own) return t * own.scale end, { scale = sv.parameter { 2 } })
-- print(net(sv.ones(3)))
function nn.func(f, parameters)
  check.value("nn.func", "f", f, { "function" })
  if parameters ~= nil then check.value("nn.func", "parameters", parameters, { "table" }) end
  return nn.layer { label = "function", own = parameters or {}, forward = function(self, x) return f(x, self.own) end }
end

series(nn)
recurrent(nn)
attention(nn)

names.class(Layer, "layer", {
  { "training", "boolean", "training or evaluation mode" },
  { "label", "string", "what it is, as printed" },
  "own", "buffers", "inner", "forward", "name", "fuses", "forward_norm", "constant_norm", "follow", "activation",
  "slope", "eps", "precision", "exchangeable" })

return nn
