--- Rational-quadratic splines (csrc/kernels/spline.h, csrc/ops/spline.c) in operators: every step is over all numbers
-- at once, and a number's bin is a row of a matrix with a single 1.
local distribution = require "simvae.export.support.onnx.ops.distribution"
local state = require "simvae.export.support.onnx.ops.state"

local ops = {}

-- As in csrc/kernels/spline.c.
local MIN = 1e-3
local SLOPE_SHIFT = math.log(math.exp(1 - MIN) - 1)

local function softplus(x)
  return x:maximum(0) + (-x:abs()):exp():log1p()
end

-- Sizes, lower ends and inner knots of K bins: raw (n, C, K).
local function bins_of(b, raw, K)
  local size = b:node("Softmax", { raw }, { axis = -1 }) * (1 - MIN * K) + MIN
  local function sums(exclusive) return b:node("CumSum", { size, b:integers { 2 } }, { exclusive = exclusive }) end
  return size, sums(1), sums(0):slice(2, 0, K - 2):unsqueeze { 2 }
end

-- Slopes at the lower and the upper ends of the bins: raw (n, C, K + 1), on the circle K of them and the rotation.
local function slopes_of(b, raw, K, circle)
  if not circle then
    local slope = softplus(raw + SLOPE_SHIFT) + MIN
    return slope:slice(2, 0, K - 1), slope:slice(2, 1, K)
  end
  local slope = softplus(raw:slice(2, 0, K - 1) + SLOPE_SHIFT) + MIN
  local next_one = b:node("Concat", { slope:slice(2, 1, K - 1), slope:slice(2, 0, 0) }, { axis = 2 })
  return slope, next_one
end

local function wrapped(x) return x - x:floor() end

-- The place in its bin, 0 to 1, of y: the root of a quadratic (Durkan et al. 2019, eq. 8, in its stable form).
local function solve(p, y)
  local h, below, rise, up = p.height, p.below, p.height / p.width, y - p.y
  local c = below + p.above - rise * 2
  local a, b = h * (rise - below) + up * c, h * below - up * c
  local root = (b * b + a * rise * up * 4):maximum(0):sqrt()
  return (rise * up * 2 / (b + root)):clip(0, 1)
end

-- y and log dy/dx at a place t of the bin.
local function value(p, t)
  local rest = 1 - t
  local u, rise = t * rest, p.height / p.width
  local bottom = rise + (p.below + p.above - rise * 2) * u
  local middle = p.above * t * t + rise * u * 2 + p.below * rest * rest
  local part = rise / bottom
  return p.y + p.height * ((rise * t * t + p.below * u) / bottom), (part * part * middle):log()
end

--- Splines of some columns, all on the interval or all on the circle.
-- @tparam Builder b
-- @tparam Value x (n, C, M, 1)
-- @tparam Value raw (n, C, 3 K + 1) parameters
-- @tparam integer K
-- @tparam boolean circle
-- @tparam boolean inverse
-- @treturn Value y (n, C, M, 1)
-- @treturn Value log dy/dx, of the same shape
local function spline(b, x, raw, K, circle, inverse)
  local width, low, x_knots = bins_of(b, raw:slice(2, 0, K - 1), K)
  local height, bottom, y_knots = bins_of(b, raw:slice(2, K, 2 * K - 1), K)
  local below, above = slopes_of(b, raw:slice(2, 2 * K, 3 * K), K, circle)
  local rotation = circle and raw:slice(2, 3 * K, 3 * K):unsqueeze { 2 }
  if circle and not inverse then x = wrapped(x + rotation) else x = x:clip(0, 1) end
  local p, mask = {}, distribution.piece(b, x, inverse and y_knots or x_knots, 4)
  p.x, p.y, p.width, p.height, p.below, p.above =
    distribution.pick(b, mask, { low, bottom, width, height, below, above })
  local t = inverse and solve(p, x) or ((x - p.x) / p.width):clip(0, 1)
  local y, log = value(p, t)
  if not inverse then return y:clip(0, 1), log end
  y = (p.x + p.width * t):clip(0, 1)
  if circle then y = wrapped(y - rotation) end
  return y, -log
end

-- The columns of intervals and of circles, from 0: as lists of places among the columns that pass.
local function kinds_of(marks)
  local intervals, circles = {}, {}
  for i, mark in ipairs(marks) do
    local list = mark and circles or intervals
    list[#list + 1] = i - 1
  end
  return intervals, circles
end

-- Splines of columns of both kinds: x (n, C, M, 1), raw (n, C, 3 K + 1), marks: whether each is a circle.
local function splines(b, x, raw, K, marks, inverse)
  local intervals, circles = kinds_of(marks)
  if #circles == 0 or #intervals == 0 then return spline(b, x, raw, K, #circles > 0, inverse) end
  local y1, log1 = spline(b, x:take(1, intervals), raw:take(1, intervals), K, false, inverse)
  local y2, log2 = spline(b, x:take(1, circles), raw:take(1, circles), K, true, inverse)
  local order = {} -- where each column is behind those of the other kind
  for i, at in ipairs(intervals) do order[at + 1] = i - 1 end
  for i, at in ipairs(circles) do order[at + 1] = #intervals + i - 1 end
  local function joined(p, q) return b:node("Concat", { p, q }, { axis = 1 }):take(1, order) end
  return joined(y1, y2), joined(log1, log2)
end

function ops.rational_quadratic_spline(b, inputs, o, at)
  local x, marks, D = inputs[1]:unsqueeze { 2, 3 }, {}, at.shapes[1][2]
  local given = at.constants[3] and at.constants[3]:totable()
  for i = 1, D do marks[i] = given ~= nil and given[i] == 1 end
  local y, log = splines(b, x, inputs[2], (at.shapes[2][3] - 1) // 3, marks, o.inverse)
  return b:node("Concat", { y:squeeze { 2, 3 }:unsqueeze { 0 }, log:squeeze { 2, 3 }:unsqueeze { 0 } }, { axis = 0 })
end

function ops.spline_coupling(b, inputs, o, at)
  local columns = state.columns(at.constants[3], function(mark) return mark ~= 0 end)
  local C = #columns
  local per = at.shapes[2][2] // C
  local marks = {}
  for i, d in ipairs(columns) do marks[i] = at.constants[3]:get(d + 1) == 2 end
  local x = state.taken(inputs[1], columns, inputs[2], at):permute { 0, 2, 1 }:unsqueeze { 3 }
  local y, log = splines(b, x, inputs[2]:reshape { -1, C, per }, (per - 1) // 3, marks, o.inverse)
  local function back(t) return t:squeeze { 3 }:permute { 0, 2, 1 }:reshape { -1, C } end
  return state.replaced(b, inputs[1], columns, back(y), back(log), #at.constants[3]:totable())
end

return { ops = ops }
