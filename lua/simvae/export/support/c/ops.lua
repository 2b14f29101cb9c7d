--- Ops as C: each function gets the emitter, the node and its step, and returns the lines that compute it.
local kernels = require "simvae.export.support.c.kernels"
local loops = require "simvae.export.support.c.loops"
local pack = require "simvae.export.support.c.pack"
local plan = require "simvae.export.support.c.plan"
local refuse = require "simvae.export.support.refuse"

local ops = { emit = {}, scratch = {} }

local emit, scratch = ops.emit, ops.scratch

for op in pairs(plan.elementwise) do emit[op] = loops.elementwise end

local function constant(node, k)
  local value = node.inputs[k]
  if value and value.kind ~= "constant" then
    refuse.because("op '%s' has weights that depend on the input; C takes constant ones", node.op)
  end
  return value
end

-- ---- products ----------------------------------------------------------------------------------------

-- Calls of the product's kernels, one for each width of blocks.
local function product_calls(out, weights, bias, outputs, P, t)
  local lines, at = {}, 0
  for _, block in ipairs(kernels.blocks(outputs, P)) do
    local first, width, count = table.unpack(block)
    local name = kernels.product(P, width, weights.int8)
    out:kernel(name)
    local scale = weights.int8 and string.format("%s, ", out:offset(weights.scales, first)) or ""
    lines[#lines + 1] = string.format("@_%s(%s, %s, %s%s, %s, %s,", name, t.x,
      out:offset(weights.name, weights.at + at), scale, out:offset(bias, first), t.tile, t.y(first * t.plane))
    lines[#lines + 1] = string.format("    %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d);", count, t.taps, t.row, t.n,
      t.rows, t.x_row, t.y_row, t.places, t.place, t.step, t.plane)
    at = at + (count + width - 1) // width * width * t.taps * t.n
  end
  return lines
end

local function tile_size(outputs, P)
  local widest = 0
  for _, block in ipairs(kernels.blocks(outputs, P)) do widest = math.max(widest, block[2]) end
  return widest * P
end

-- The loop of an activation that a layer fuses, in place.
local function activation(out, node, lines)
  local name = node.options.activation
  if name == "none" then return lines end
  local one = { kind = "node", op = name, inputs = { node }, shape = node.shape,
    options = { slope = node.options.slope } }
  for _, line in ipairs(loops.elementwise(out:with_place(one, node), one)) do lines[#lines + 1] = line end
  return lines
end

local ROW = 1 -- of a linear layer at once: layers that see one row and many share their packed weights

function scratch.linear(node) return tile_size(node.inputs[2].shape[1], ROW) end

function emit.linear(out, node, step)
  local w, b = constant(node, 2), constant(node, 3)
  local outputs, inputs = w.shape[1], w.shape[2]
  local weights = out:weights(w, 1, function(t) return pack.linear(t, ROW) end)
  return activation(out, node, product_calls(out, weights, out:bias(b, outputs), outputs, ROW, {
    x = out:pointer(node.inputs[1]), tile = out:work(step.scratch), y = function(at) return out:pointer(node, at) end,
    taps = 1, row = 0, n = inputs, rows = 1, x_row = 0, y_row = 0, places = plan.count(node.inputs[1]) // inputs,
    place = inputs, step = outputs, plane = 1,
  }))
end

-- ---- convolutions ---------------------------------------------------------------------------------------

local function image(value)
  local shape = plan.shape(value)
  return shape[2], shape[3], shape[4]
end

-- Geometry of a convolution: padding of the input, and phases { y, x: first output; rows, columns: outputs; taps down
-- and across; from_y, from_x: the padded input's pixel at the first tap of the first output }, of a transposed one as
-- many as there are remainders of the stride.
local function conv_geometry(node)
  local _, H, W = image(node.inputs[1])
  local _, OH, OW = image(node)
  local w, o = node.inputs[2].shape, node.options
  local S, d = o.stride, o.dilation
  local KH, KW = (w[3] - 1) * d + 1, (w[4] - 1) * d + 1 -- with zeros between taps (pack.conv)
  local top, left = o.padding + o.top, o.padding + o.left
  local g = { H = H, W = W, OH = OH, OW = OW, top = top, left = left, phases = {}, step = S, out_step = 1 }
  if node.op == "conv2d" then
    g.bottom, g.right = math.max(0, (OH - 1) * S + KH - H - top), math.max(0, (OW - 1) * S + KW - W - left)
    g.phases[1] = { y = 0, x = 0, rows = OH, columns = OW, down = KH, across = KW, from_y = 0, from_x = 0 }
    return g
  end
  g.step, g.out_step, g.top, g.left, g.bottom, g.right = 1, S, 0, 0, 0, 0
  for y = 0, math.min(S, OH) - 1 do
    for x = 0, math.min(S, OW) - 1 do
      local p = { y = y, x = x, rows = (OH - y + S - 1) // S, columns = (OW - x + S - 1) // S,
        ky = (y + top) % S, kx = (x + left) % S }
      p.down, p.across = (KH - p.ky + S - 1) // S, (KW - p.kx + S - 1) // S
      p.from_y, p.from_x = (y + top) // S - p.down + 1, (x + left) // S - p.across + 1
      g.top, g.left = math.max(g.top, -p.from_y), math.max(g.left, -p.from_x)
      g.bottom = math.max(g.bottom, p.from_y + p.down + p.rows - 1 - H)
      g.right = math.max(g.right, p.from_x + p.across + p.columns - 1 - W)
      if p.down > 0 and p.across > 0 then g.phases[#g.phases + 1] = p else g.empty = true end
    end
  end
  for _, p in ipairs(g.phases) do p.from_y, p.from_x = p.from_y + g.top, p.from_x + g.left end
  return g
end

-- All phases compute so many places at once.
local function conv_at_once(g, outputs)
  local least = math.huge
  for _, p in ipairs(g.phases) do least = math.min(least, p.columns) end
  return kernels.at_once(least, outputs)
end

local function padded_size(node, g)
  return plan.shape(node.inputs[1])[2] * (g.H + g.top + g.bottom) * (g.W + g.left + g.right)
end

local function conv_scratch(node)
  local g, outputs = conv_geometry(node), plan.shape(node)[2]
  return tile_size(outputs, conv_at_once(g, outputs)) + padded_size(node, g)
end

local function emit_conv(out, node, step)
  local w, b, g = constant(node, 2), constant(node, 3), conv_geometry(node)
  local C, outputs = image(node.inputs[1]), plan.shape(node)[2]
  if g.empty then refuse.because "conv_transpose2d with a stride above its kernel leaves gaps, which C has not" end
  local P = conv_at_once(g, outputs)
  local tile = tile_size(outputs, P)
  local across = (g.W + g.left + g.right) * C
  local padded = step.scratch + tile
  out:kernel "pad"
  local lines = { string.format("@_pad(%s, %s, %d, %d, %d, %d, %d, %d, %d);", out:pointer(node.inputs[1]),
    out:work(padded), C, g.H, g.W, g.top, g.bottom, g.left, g.right) }
  local all = out:weights(w, node.op == "conv2d" and 1 or 2, function(t) return pack.conv(t, node, g, P) end)
  local bias, at = out:bias(b, outputs), 0
  for _, p in ipairs(g.phases) do
    local part = { name = all.name, scales = all.scales, int8 = all.int8, at = at }
    local calls = product_calls(out, part, bias, outputs, P, {
      x = out:work(padded + p.from_y * across + p.from_x * C), tile = out:work(step.scratch),
      y = function(first) return out:pointer(node, first + p.y * g.OW + p.x) end,
      taps = p.down, row = across, n = p.across * C, rows = p.rows, x_row = g.step * across, y_row = g.out_step * g.OW,
      places = p.columns, place = g.step * C, step = g.out_step, plane = g.OH * g.OW,
    })
    table.move(calls, 1, #calls, #lines + 1, lines)
    at = at + pack.size(outputs, P) * p.down * p.across * C
  end
  return activation(out, node, lines)
end

emit.conv2d, emit.conv_transpose2d = emit_conv, emit_conv
scratch.conv2d, scratch.conv_transpose2d = conv_scratch, conv_scratch

-- ---- copies ---------------------------------------------------------------------------------------------

-- out[…] = x[at + …] over the axes of out.
local function strided(out, node, value, x_steps, at, y_steps, y_at, shape)
  local merged, steps = loops.merged(shape, { y_steps, x_steps })
  return loops.nest(merged, { string.format("%s = %s;", out:at(node, steps[1], y_at), out:read(value, steps[2], at)) })
end

function emit.expand(out, node)
  local shape, x = plan.shape(node), node.inputs[1]
  return strided(out, node, x, loops.broadcast(plan.shape(x), shape), 0, loops.row_major(shape), 0, shape)
end

function emit.slice(out, node)
  local shape, x, o = plan.shape(node), node.inputs[1], node.options
  local steps = loops.row_major(plan.shape(x))
  local first = (o.first - 1) * steps[o.axis]
  steps[o.axis] = steps[o.axis] * o.step
  return strided(out, node, x, steps, first, loops.row_major(shape), 0, shape)
end

function emit.permute(out, node)
  local shape, x, steps = plan.shape(node), node.inputs[1], {}
  local own = loops.row_major(plan.shape(x))
  for i, axis in ipairs(node.options.axes) do steps[i] = own[axis] end
  return strided(out, node, x, steps, 0, loops.row_major(shape), 0, shape)
end

function emit.pad(out, node)
  local shape, x, w = plan.shape(node), node.inputs[1], node.options.widths
  local from, n = plan.shape(x), #shape
  local y_steps = loops.row_major(shape)
  local lines = loops.nest({ plan.count(node) }, { string.format("%s = %s;", out:at(node, { 1 }),
    loops.literal(node.options.value)) })
  local copy = strided(out, node, x, loops.row_major(from), 0, y_steps, w[1] * y_steps[n - 1] + w[3], from)
  return table.move(copy, 1, #copy, #lines + 1, lines)
end

function emit.concat(out, node)
  local shape, axis, lines, at = plan.shape(node), node.options.axis, {}, 0
  local y_steps = loops.row_major(shape)
  for _, x in ipairs(node.inputs) do
    local from = plan.shape(x)
    local copy = strided(out, node, x, loops.row_major(from), 0, y_steps, at * y_steps[axis], from)
    table.move(copy, 1, #copy, #lines + 1, lines)
    at = at + from[axis]
  end
  return lines
end

function emit.gather(out, node)
  local shape, axis = plan.shape(node), node.options.axis
  local x_steps, y_steps = loops.row_major(plan.shape(node.inputs[1])), loops.row_major(shape)
  local along = x_steps[axis]
  x_steps[axis] = 0
  local merged, steps = loops.merged(shape, { y_steps, x_steps })
  return loops.nest(merged, { string.format("%s = %s[%s + %d * ((size_t)%s - 1)];", out:at(node, steps[1]),
    out:array(node.inputs[1]), loops.index(steps[2], out:base(node.inputs[1])), along,
    out:read(node.inputs[2], steps[1])) })
end

-- ---- reductions ---------------------------------------------------------------------------------------------

-- Of each kind: declarations, what is done with a number v, and the result; n is the count.
local reductions = {
  sum = { "double sum = 0.0;", "sum += (double)v;", "(float)sum" },
  mean = { "double sum = 0.0;", "sum += (double)v;", "(float)(sum / N.0)" },
  max = { "float top = -HUGE_VALF;", "if (v > top) top = v;", "top" },
  min = { "float top = HUGE_VALF;", "if (v < top) top = v;", "top" },
  argmax = { "float top = 0.0f; size_t at = 0, number = 0;", "if (number++ == 0 || v > top) top = v, at = number;",
    "(float)at" },
  argmin = { "float top = 0.0f; size_t at = 0, number = 0;", "if (number++ == 0 || v < top) top = v, at = number;",
    "(float)at" },
  logsumexp = { "float top = -HUGE_VALF; double sum = 0.0;", "sum += exp((double)(v - top));",
    "top + (float)log(sum)", first = "if (v > top) top = v;",
    between = "if (top > -HUGE_VALF && top < HUGE_VALF)" },
  var = { "double total = 0.0, sum = 0.0;", "sum += ((double)v - total / N.0) * ((double)v - total / N.0);", nil,
    first = "total += (double)v;" },
}

local function reduce(out, node)
  local x, kind = node.inputs[1], reductions[node.op]
  local shape = plan.shape(x)
  local own, is_reduced = loops.row_major(shape), {}
  for _, axis in ipairs(node.options.axes) do is_reduced[axis] = true end
  local kept, kept_steps, inner, inner_steps, n = {}, {}, {}, {}, 1
  for axis, d in ipairs(shape) do
    local list, steps = kept, kept_steps
    if is_reduced[axis] then list, steps, n = inner, inner_steps, n * d end
    list[#list + 1], steps[#steps + 1] = d, own[axis]
  end
  local outer, by = loops.merged(kept, { loops.row_major(kept), kept_steps })
  local within, inside = loops.merged(inner, { inner_steps })
  local steps = table.move(inside[1], 1, #inside[1], #by[2] + 1, table.move(by[2], 1, #by[2], 1, {}))
  local load = string.format("const float v = %s;", out:read(x, steps))
  local function pass(body) return loops.nest(within, { load, body }, #outer + 1) end
  local body = { kind[1] }
  local function add(list) table.move(list, 1, #list, #body + 1, body) end
  if kind.first then add(pass(kind.first)) end
  if kind.between then body[#body + 1] = kind.between end
  add(pass((kind[2]:gsub("N", n))))
  local result = kind[3] and kind[3]:gsub("N", n)
    or string.format("(float)(sum / %d.0)", n - (node.options.correction or 0))
  body[#body + 1] = string.format("%s = %s;", out:at(node, by[1]), result)
  return loops.nest(outer, body)
end

for op in pairs(reductions) do emit[op] = reduce end

-- ---- along an axis ------------------------------------------------------------------------------------------

local function along(name)
  emit[name] = function(out, node)
    local shape, axis, outer, inner = plan.shape(node), node.options.axis, 1, 1
    for i = 1, axis - 1 do outer = outer * shape[i] end
    for i = axis + 1, #shape do inner = inner * shape[i] end
    out:kernel(name)
    return { string.format("@_%s(%s, %s, %d, %d, %d);", name, out:pointer(node.inputs[1]), out:pointer(node), outer,
      shape[axis], inner) }
  end
end

along "softmax"
along "log_softmax"
along "sort"

function emit.layer_norm(out, node)
  local n = plan.count(node.inputs[2])
  out:kernel "layer_norm"
  return { string.format("@_layer_norm(%s, %s, %s, %s, %d, %d, %.17g);", out:pointer(node.inputs[1]),
    out:pointer(node.inputs[2]), out:pointer(node.inputs[3]), out:pointer(node), plan.count(node) // n, n,
    node.options.eps) }
end

local function pooling(name)
  emit[name] = function(out, node)
    local small = name == "avg_pool2d" and node or node.inputs[1]
    local shape = plan.shape(small)
    local height, width = shape[#shape - 1], shape[#shape]
    out:kernel(name)
    return { string.format("@_%s(%s, %s, %d, %d, %d, %d);", name, out:pointer(node.inputs[1]), out:pointer(node),
      plan.count(small) // (height * width), height, width, node.options.kernel or node.options.factor) }
  end
end

pooling "avg_pool2d"
pooling "upsample2d"

function emit.matmul(out, node)
  local x, y, o = node.inputs[1], node.inputs[2], node.options
  local sx, sy, shape = plan.shape(x), plan.shape(y), plan.shape(node)
  local m, n = shape[#shape - 1], shape[#shape]
  local k = o.transpose_x and sx[#sx - 1] or sx[#sx]
  if o.transpose_y and (y.kind ~= "constant" or #sy ~= 2) then
    refuse.because "matmul: transpose_y of a matrix that depends on the input; C takes a constant one"
  end
  local right = o.transpose_y and out:array_of(pack.transposed(y.tensor), y, "transposed") or out:pointer(y)
  out:kernel "matmul"
  return { string.format("@_matmul(%s, %s, %s, %d, %d, %d, %d, %d, %d, %d, %d);", out:pointer(x), right,
    out:pointer(node), plan.count(node) // (m * n), m, n, k, #sx > 2 and m * k or 0, o.transpose_x and 1 or k,
    o.transpose_x and m or 1, #sy > 2 and k * n or 0) }
end

-- ---- flows -----------------------------------------------------------------------------------------------------

function emit.piecewise_linear(out, node)
  local x, knots, values = table.unpack(node.inputs)
  local shape, count = plan.shape(x), plan.shape(knots)[2]
  local function step(value) return plan.shape(value)[1] > 1 and count or 0 end
  out:kernel "piecewise_linear"
  return { string.format("@_piecewise_linear(%s, %s, %s, %s, %d, %d, %d, %d, %d);", out:pointer(x), out:pointer(knots),
    out:pointer(values), out:pointer(node), shape[1], shape[2], count, step(knots), step(values)) }
end

-- Rows of parameters, rows of the state for each of them, and the state's coordinates.
local function coupling(node, state, parameters)
  local rows, width = table.unpack(plan.shape(node.inputs[state]))
  local groups = plan.shape(node.inputs[parameters])[1]
  return groups, rows // groups, width - 1
end

function emit.spline_coupling(out, node)
  local groups, each, width = coupling(node, 1, 2)
  local columns, marked = constant(node, 3), 0
  for _, v in ipairs(columns.tensor:totable()) do marked = marked + (v ~= 0 and 1 or 0) end
  local bins = (plan.shape(node.inputs[2])[2] // marked - 1) // 3
  out.bins = math.max(out.bins or 0, bins)
  out:kernel "spline_coupling"
  return { string.format("@_spline_coupling(%s, %s, %s, %s, %d, %d, %d, %d, %d);", out:pointer(node.inputs[1]),
    out:pointer(node.inputs[2]), out:marks(columns), out:pointer(node), groups, each, width, bins,
    node.options.inverse and 1 or 0) }
end

function emit.location_scale(out, node)
  local groups, each, width = coupling(node, 1, 2)
  out:kernel "location_scale"
  return { string.format("@_location_scale(%s, %s, %s, %s, %d, %d, %d, %d);", out:pointer(node.inputs[1]),
    out:pointer(node.inputs[2]), out:marks(constant(node, 3)), out:pointer(node), groups, each, width,
    node.options.inverse and 1 or 0) }
end

function emit.conditioner_layer(out, node)
  local groups, each, width = coupling(node, 2, 1)
  out:kernel "conditioner_layer"
  return { string.format("@_conditioner_layer(%s, %s, %s, %s, %s, %d, %d, %d, %d);", out:pointer(node.inputs[1]),
    out:pointer(node.inputs[2]), out:pointer(constant(node, 3)), out:marks(constant(node, 4)), out:pointer(node),
    groups, each, width, node.inputs[3].shape[2]) }
end

--- The function of an op, or a refusal.
function ops.of(node)
  local f = emit[node.op]
  if not f then
    refuse.because("op '%s' has no C form; those that have one are element-wise ops, products, convolutions, "
      .. "reductions, softmax, layer_norm, sort, pooling, and ops that move numbers", node.op)
  end
  return f
end

--- Floats that a step needs while it runs.
function ops.scratch_of(node)
  ops.of(node)
  local f = scratch[node.op]
  return f and f(node) or 0
end

return ops
