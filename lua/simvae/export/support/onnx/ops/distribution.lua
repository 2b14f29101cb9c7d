--- The normal distribution, cubics and piecewise linear functions (csrc/ops/distribution.c, piecewise.c). The engine
-- computes them in double precision; here the formulas are those whose relative errors stay near the rounding of single
-- precision, in the tails too.
local ops = {}

-- Of log(erfc(y) / t) + y^2 by t = 1 / (1 + y / 2): fractional error below 1.2e-7 everywhere (Press et al., Numerical
-- Recipes, 6.2, erfcc).
local ERFC = { -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587,
  -0.82215223, 0.17087277 }

function ops.normal_cdf(_, inputs)
  local x = inputs[1]
  local y = x:abs() * math.sqrt(0.5)
  local t = 1 / (y * 0.5 + 1)
  local tail = t * (t:polynomial(ERFC) - y * y):exp() * 0.5
  return x:less(0):where(tail, 1 - tail)
end

-- Algorithm AS 241, PPND7 (Wichura 1988, Applied Statistics 37, 477): relative error about 1e-7.
local CENTRE = { { 3.3871327179, 50.434271938, 159.29113202, 59.109374720 },
  { 1, 17.895169469, 78.757757664, 67.187563600 } }
local MIDDLE = { { 1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103 }, { 1, 0.73700164250, 0.12021132975 } }
local FAR = { { 6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997 }, { 1, 0.24197894225, 0.012258202635 } }
local HALF_CENTRE = 0.425

local function ratio(r, of)
  return r:polynomial(of[1]) / r:polynomial(of[2])
end

--- -inf at 0, inf at 1, NaN outside.
function ops.normal_quantile(_, inputs)
  local u = inputs[1]
  local q = u - 0.5
  local tail = u:minimum(1 - u)
  local r = (-tail:log()):sqrt()
  local outer = (5 - r):less(0):where(ratio(r - 5, FAR), ratio(r - 1.6, MIDDLE))
  outer = tail:equals(0):where(math.huge, outer)
  return q:abs():above(HALF_CENTRE):where(q:less(0):where(-outer, outer), q * ratio(0.180625 - q * q, CENTRE))
end

--- Hermite's cubics between equidistant knots.
function ops.cubic_hermite(b, inputs, o, at)
  local x, values, slopes, knots = inputs[1], inputs[2], inputs[3], at.shapes[2][1]
  local step = (o.high - o.low) / (knots - 1)
  local place = ((x - o.low) / step):clip(0, knots - 1)
  local below = place:minimum(knots - 2):floor()
  local s = place - below
  -- clamped once more as integers: NaN has no index
  local first = b:node("Max", { b:node("Min", { below:to_integer(), b:integers { knots - 2 } }), b:integers { 0 } })
  local second = b:node("Add", { first, b:integers { 1 } })
  local function pick(t, k) return b:node("Gather", { t, k }, { axis = 0 }) end
  local v, t = pick(values, first), 1 - s
  return v + s * s * (3 - s * 2) * (pick(values, second) - v)
    + (s * t * t * pick(slopes, first) - s * s * t * pick(slopes, second)) * step
end

--- For each number the piece that it lies on: 1 in one of K columns. inner (…, 1, K - 1): the knots between the pieces,
-- ascending; x (…, M, 1).
local function piece(b, x, inner, rank)
  local beyond, first, last = x:at_least(inner):to_float(), {}, {}
  for i = 1, 2 * rank do first[i], last[i] = 0, 0 end
  first[rank], last[2 * rank] = 1, 1
  return b:node("Pad", { beyond, b:integers(first), b:number(1) })
    - b:node("Pad", { beyond, b:integers(last), b:number(0) })
end

--- Columns of a table (…, K, n), at each number's piece: n Values (…, M, 1).
local function pick(b, mask, columns)
  for i, column in ipairs(columns) do columns[i] = column:unsqueeze { -1 } end
  local all = mask:matmul(b:node("Concat", columns, { axis = -1 }))
  return b:node("Split", { all }, { axis = -1 }, #columns)
end

--- One row of knots or of values is that of all rows.
function ops.piecewise_linear(b, inputs, _, at)
  local x, J = inputs[1]:unsqueeze { 2 }, at.shapes[2][2]
  local function pieces(k)
    local t, other = inputs[k], at.shapes[5 - k]
    if at.shapes[k][1] == 1 and other[1] ~= 1 then
      t = b:node("Expand", { t, inputs[5 - k]:shape(0, 1) })
    end
    return t:slice(1, 0, J - 2), t:slice(1, 1, J - 1) - t:slice(1, 0, J - 2)
  end
  local low, width = pieces(2)
  local from, rise = pieces(3)
  local slope = rise / width
  local mask = piece(b, x, low:slice(1, 1, J - 2):unsqueeze { 1 }, 3)
  local k, v, s = pick(b, mask, { low, from, slope })
  local y = v + s * (x - k)
  return b:node("Concat", { y:squeeze { 2 }:unsqueeze { 0 }, s:log():squeeze { 2 }:unsqueeze { 0 } }, { axis = 0 })
end

return { ops = ops, piece = piece, pick = pick }
