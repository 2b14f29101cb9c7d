--- The other ops of a flow's transforms (csrc/ops/location_scale.c, conditioner.c).
local state = require "simvae.export.support.onnx.ops.state"

local ops = {}

-- As in csrc/ops/location_scale.c.
local BEYOND, LEAST, SHIFT = 0.1, 2e-4, math.log(math.exp(1) - 1)

-- log(1 + exp(-|x|)): what softplus adds to its two straight lines.
local function bend(x) return (-x:abs()):exp():log1p() end

-- 1 - exp(-v) of v >= 0, exact for small v too.
local function fall(v) return (v * 0.5):tanh() * ((-v):exp() + 1) end

--- A logistic distribution truncated to [0, 1], from its parameters (n, 1, C, 2). With a = -m / s and b = (1 - m) / s,
-- S the logistic function, log S(x) is min(x, 0) - bend(x). Where m lies outside [0, 1], a and b are far on one side;
-- there differences of the straight parts are taken before they are divided by s, so that no large numbers cancel.
local function curve_of(raw)
  local function part(i) return raw:slice(3, i, i):squeeze { 3 } end
  local c, shifted = {}, part(1) + SHIFT
  c.m = part(0):tanh() * (0.5 + BEYOND) + 0.5
  c.s = shifted:maximum(0) + bend(shifted) + LEAST
  c.a, c.b = -c.m / c.s, (1 - c.m) / c.s
  c.bend_a, c.bend_b = bend(c.a), bend(c.b)
  c.fall = fall(1 / c.s)
  c.above, c.under = c.m:above(1), c.m:less(0) -- the location is beyond 1, before 0
  return c
end

-- log dw/du at u, t = (u - m) / s.
local function log_slope(c, u, t)
  local straight = c.above:where(1 - u, c.under:where(u, (u - c.m):abs())) / c.s
  return c.bend_a + c.bend_b - straight - bend(t) * 2 - c.s:log() - c.fall:log()
end

-- w = (S(t) - S(a)) / (S(b) - S(a)) = S(t) / S(b) (1 - exp(-u / s)) / (1 - exp(-1 / s)).
local function share(c, u, t)
  local straight = c.above:where((u - 1) / c.s, t:minimum(0))
  return ((straight - bend(t) + c.bend_b):exp() * fall(u / c.s) / c.fall):clip(0, 1)
end

-- u of w: m + s (log(S(a) + w gap) - log(S(-b) + (1 - w) gap)), S(b) drawn out of the first logarithm and S(-a) out of
-- the second one.
local function place(c, w)
  local first = c.above:where(-1 / c.s, c.a:minimum(0)) - c.bend_a + c.bend_b  -- log S(a) / S(b)
  local second = c.under:where(-1 / c.s, (-c.b):minimum(0)) - c.bend_b + c.bend_a -- log S(-b) / S(-a)
  local up = (first:exp() + w * (-c.a):sigmoid() * c.fall):log()
  local down = (second:exp() + (1 - w) * c.b:sigmoid() * c.fall):log()
  return (c.m:clip(0, 1) + c.s * (c.bend_a - c.bend_b + up - down)):clip(0, 1)
end

function ops.location_scale(b, inputs, o, at)
  local columns = state.columns(at.constants[3], function(mark) return mark == 1 end)
  local C = #columns
  local given = state.taken(inputs[1], columns, inputs[2], at):clip(0, 1)
  local c = curve_of(inputs[2]:reshape { -1, 1, C, 2 })
  local u = o.inverse and place(c, given) or given
  local t = (u - c.m) / c.s
  local y, log = u, log_slope(c, u, t)
  if o.inverse then log = -log else y = share(c, u, t) end
  return state.replaced(b, inputs[1], columns, y:reshape { -1, C }, log:reshape { -1, C }, at.constants[3].count)
end

--- Features of the state times weights, added to the context, through silu.
function ops.conditioner_layer(b, inputs, _, at)
  local rows, weight, marks = inputs[2], inputs[3], at.constants[4]
  local intervals = state.columns(marks, function(mark) return mark == 1 end)
  local circles = state.columns(marks, function(mark) return mark == 2 end)
  local feature, line, turn, sines = 0, {}, {}, {} -- rows of the weights
  for _, mark in ipairs(marks:totable()) do
    if mark == 1 then line[#line + 1] = feature end
    if mark == 2 then turn[#turn + 1], sines[#sines + 1] = feature, feature + 1 end
    feature = feature + math.tointeger(mark)
  end
  local features, order = {}, {}
  if #intervals > 0 then features[1] = rows:take(1, intervals) * 2 - 1 end
  if #circles > 0 then
    local angle = rows:take(1, circles) * (2 * math.pi)
    features[#features + 1] = b:node("Cos", { angle })
    features[#features + 1] = b:node("Sin", { angle })
  end
  for _, list in ipairs { line, turn, sines } do table.move(list, 1, #list, #order + 1, order) end
  local all = #features > 1 and b:node("Concat", features, { axis = 1 }) or features[1]
  local H = at.shapes[1][2]
  local product = all:matmul(#circles > 0 and weight:take(0, order) or weight)
  local y
  if at.shapes[1][1] == at.shapes[2][1] then
    y = product + inputs[1]
  else
    local swapped = { shapes = { at.shapes[2], at.shapes[1] } }
    y = (state.grouped(product, H, inputs[1], swapped) + inputs[1]:unsqueeze { 1 }):reshape { -1, H }
  end
  return y * y:sigmoid()
end

return { ops = ops }
