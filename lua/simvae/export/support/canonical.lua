--- Canonical forms of nodes, so that formats see fewer ops. A function of an op gets the graph, inputs, options and the
-- result's shape, and returns a value in place of the node, or nil: the node itself, with options that it may change.
--
-- Ops that formats do not see:
--
--     to_plain, to_channels_last, relabel, copy      nothing
--     flatten, select, stack, transpose              reshape, slice, concat, permute
--     batch_norm, conv2d_norm, conv_transpose2d_norm a product and a sum, or part of the weights
--     dropout, batch_norm in training                refused
--     gru, lstm                                      their steps, one after another
--
-- Options: reshape and expand have the whole shape; slice has axis, first, last and step, counted from the start;
-- reductions have a list of all axes, and keepdims; axes count from 1. reshape, expand, slice, permute and concat that
-- change nothing are left out. conv2d, conv_transpose2d and linear keep their fused activation and its slope.
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local refuse = require "simvae.export.support.refuse"

local canonical = {}

local function identity(_, inputs) return inputs[1] end

for _, op in ipairs { "to_plain", "to_channels_last", "relabel", "copy" } do canonical[op] = identity end

local function same_shape(a, b)
  if #a ~= #b then return false end
  for i, d in ipairs(a) do
    if d ~= b[i] then return false end
  end
  return true
end

-- One that changes nothing is left out.
function canonical.reshape(_, inputs, options, shape)
  if same_shape(inputs[1].shape, shape) then return inputs[1] end
  options.shape = shape
end

-- A reshape.
function canonical.flatten(self, inputs, _, shape)
  return self:node("reshape", inputs, { shape = shape }, shape)
end

-- One that changes nothing is left out.
function canonical.expand(_, inputs, options, shape)
  if same_shape(inputs[1].shape, shape) then return inputs[1] end
  options.shape = shape
end

-- An axis counted from 1.
local function axis_of(axis, ndim) return axis < 0 and axis + ndim + 1 or axis end

-- A place on an axis of n entries, counted from 1; dimensions are places near the end.
local function from_start(place, n, what)
  if dim.is(place) or place > 0 then return place end
  if place == -1 then return n end
  if dim.is(n) then refuse.because("slice: %s = %d of an axis that grows with the batch", what, place) end
  return place + n + 1
end

-- Places counted from the start; all of an axis is left out, a part of the batch refused.
function canonical.slice(_, inputs, options)
  local shape = inputs[1].shape
  options.axis = axis_of(options.axis, #shape)
  local n = shape[options.axis]
  options.first, options.last = from_start(options.first, n, "first"), from_start(options.last, n, "last")
  if options.first == 1 and options.last == n and options.step == 1 then return inputs[1] end
  if dim.is(n) and options.axis == 1 then
    refuse.because "slice: cuts the batch; rows of a batch are independent of each other"
  end
end

-- A slice, and a reshape.
function canonical.select(self, inputs, options, shape)
  local from = inputs[1].shape
  local at = from_start(options.index, from[1], "index")
  local one = table.move(from, 1, #from, 1, {})
  one[1] = 1
  local part = self:node("slice", inputs, { axis = 1, first = at, last = at, step = 1 }, one)
  return self:node("reshape", { part }, { shape = shape }, shape)
end

-- Reshapes, and a concat.
function canonical.stack(self, inputs, options, shape)
  local axis, parts = axis_of(options.axis, #shape), {}
  for k, input in ipairs(inputs) do
    local one = table.move(shape, 1, #shape, 1, {})
    one[axis] = 1
    parts[k] = self:node("reshape", { input }, { shape = one }, one)
  end
  return self:node("concat", parts, { axis = axis }, shape)
end

-- Of one tensor it is left out.
function canonical.concat(_, inputs, options, shape)
  if #inputs == 1 then return inputs[1] end
  options.axis = axis_of(options.axis, #shape)
end

-- One that changes nothing is left out.
function canonical.permute(_, inputs, options)
  local same = true
  for i, axis in ipairs(options.axes) do
    options.axes[i] = axis_of(axis, #inputs[1].shape)
    same = same and options.axes[i] == i
  end
  if same then return inputs[1] end
end

-- A permute.
function canonical.transpose(self, inputs, options, shape)
  local n, axes = #shape, {}
  for i = 1, n do axes[i] = i end
  local a, b = axis_of(options.axis1, n), axis_of(options.axis2, n)
  axes[a], axes[b] = b, a
  return self:node("permute", inputs, { axes = axes }, shape)
end

for _, op in ipairs { "sum", "mean", "max", "min", "argmax", "argmin", "var", "logsumexp" } do
  canonical[op] = function(_, inputs, options)
    local n, axes = #inputs[1].shape, {}
    for i = 1, options.axes and #options.axes or n do
      axes[i] = options.axes and axis_of(options.axes[i], n) or i
    end
    table.sort(axes)
    options.axes = axes
  end
end

for _, op in ipairs { "softmax", "log_softmax", "sort", "gather" } do
  canonical[op] = function(_, inputs, options) options.axis = axis_of(options.axis, #inputs[1].shape) end
end

-- ---- what is refused ---------------------------------------------------------------------------------

-- Refused: in evaluation it is not applied.
function canonical.dropout()
  refuse.because "dropout in training mode is random; call :eval() on the net, or apply it where layer.training alone"
end

local function check_full(options)
  if options.precision == "bf16" then
    refuse.because "the convolutions compute in bf16, which no format has; model:set_precision \"fp32\" first"
  end
  options.precision = nil
end

canonical.conv2d = function(_, _, options) check_full(options) end
canonical.conv_transpose2d = function(_, _, options) check_full(options) end

-- ---- batch norm ----------------------------------------------------------------------------------------

-- Factors and summands (C,) of a batch norm by its running statistics.
local function norm_of(scale, shift, mean, variance, eps)
  for _, value in ipairs { scale, shift, mean, variance } do
    if not value or value.kind ~= "constant" then
      refuse.because "batch_norm: its scale, shift and running statistics are to be constants"
    end
  end
  local factor = scale.tensor / core.sqrt(variance.tensor + eps)
  return factor, shift.tensor - mean.tensor * factor
end

local function activated(self, value, options)
  if options.activation == "none" then return value end
  local own = options.activation == "leaky_relu" and { slope = options.slope } or {}
  return self:raw(options.activation, { value }, own, value.shape)
end

-- A product and a sum by its running statistics.
function canonical.batch_norm(self, inputs, options, shape)
  if options.training then
    refuse.because "batch_norm in training mode depends on the other rows of a batch; call :eval() on the net"
  end
  local factor, summand = norm_of(inputs[2], inputs[3], inputs[4], inputs[5], options.eps)
  local C = factor.count
  local each = #shape == 4 and { C, 1, 1 } or { C }
  local scaled = self:raw("mul", { inputs[1], self:constant(core.reshape(factor, each)) }, {}, shape)
  scaled = self:raw("add", { scaled, self:constant(core.reshape(summand, each)) }, {}, shape)
  return activated(self, scaled, options)
end

-- A convolution with a batch norm behind it: one with other weights.
local function with_norm(op, out_axis)
  canonical[op .. "_norm"] = function(self, inputs, options, shape)
    check_full(options)
    local factor, summand = norm_of(inputs[4], inputs[5], inputs[6], inputs[7], options.eps)
    options.eps = nil
    local w, b = inputs[2].tensor, inputs[3] and inputs[3].tensor
    local each = { 1, 1, 1, 1 }
    each[out_axis] = factor.count
    local bias = b and b * factor + summand or summand
    return self:raw(op, { inputs[1], self:constant(w * core.reshape(factor, each)), self:constant(bias) }, options,
      shape)
  end
end

with_norm("conv2d", 1)
with_norm("conv_transpose2d", 2)

-- ---- recurrent layers ----------------------------------------------------------------------------------

-- Steps one after another: of each the product, the gates, the new state. gates: how many; step(values) -> the state h
-- and what it keeps, from x and p, functions of a gate that give its part of the inputs and of the product.
local function unrolled(gates, step)
  return function(self, inputs, _, shape)
    local N, T, H = table.unpack(shape)
    local x, h, kept, states = inputs[1], nil, nil, {}
    if dim.any { T, H } then refuse.because "recurrent layers take series of one length" end
    if inputs[2].kind ~= "constant" or inputs[3].kind ~= "constant" then
      refuse.because "recurrent layers: w and b are to be constants"
    end
    local plain = { activation = "none", slope = 0 }
    local function apply(op, ...) return self:node(op, { ... }, {}, { N, H }) end
    local function part(value, gate)
      local last = gate * H
      return self:node("slice", { value }, { axis = 2, first = last - H + 1, last = last, step = 1 }, { N, H })
    end
    for t = 1, T do
      local now = self:node("slice", { x }, { axis = 2, first = t, last = t, step = 1 }, { N, 1, gates * H })
      now = self:node("reshape", { now }, { shape = { N, gates * H } }, { N, gates * H })
      local product = h and self:node("linear", { h, inputs[2], inputs[3] }, plain, { N, gates * H })
      local function given(gate) return part(now, gate) end
      local function added(gate)
        if product then return part(product, gate) end
        return self:constant(core.slice(inputs[3].tensor, 1, (gate - 1) * H + 1, gate * H))
      end
      h, kept = step(apply, given, added, h, kept)
      states[t] = self:node("reshape", { h }, { shape = { N, 1, H } }, { N, 1, H })
    end
    return self:node("concat", states, { axis = 2 }, shape)
  end
end

canonical.gru = unrolled(3, function(apply, x, p, h)
  local r, z = apply("sigmoid", apply("add", x(1), p(1))), apply("sigmoid", apply("add", x(2), p(2)))
  local n = apply("tanh", apply("add", x(3), apply("mul", r, p(3))))
  local moved = h and apply("sub", h, n)
  return apply("add", n, apply("mul", z, moved or apply("neg", n)))
end)

canonical.lstm = unrolled(4, function(apply, x, p, _, c)
  local function gate(op, k) return apply(op, apply("add", x(k), p(k))) end
  local i, f, g, o = gate("sigmoid", 1), c and gate("sigmoid", 2), gate("tanh", 3), gate("sigmoid", 4)
  local now = apply("mul", i, g)
  if c then now = apply("add", apply("mul", f, c), now) end
  return apply("mul", o, apply("tanh", now)), now
end)

return canonical
