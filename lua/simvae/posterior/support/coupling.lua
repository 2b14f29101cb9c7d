--- Neural spline coupling flow on the unit cube, with a uniform base (Durkan, Bekasov, Murray and Papamakarios 2019;
-- circular splines for phases: Rezende and others 2020).
--
-- A transform divides the coordinates into two halves. Each coordinate passes a monotonic rational-quadratic spline of
-- [0, 1] onto itself, with parameters of a conditioner: those of the first half from the context alone, those of
-- the second from the context and the first half. Each transform and its inverse therefore take one pass, the density
-- is the product of the slopes, and no draw leaves the cube. The halves change from transform to transform.
local core = require "simvae.core"
local nn = require "simvae.nn"
local streams = require "simvae.util.streams"

local HIDDEN = 64 -- units of the two hidden layers of a conditioner
local FIRST = 0.01 -- standard deviation of its last layer's initial weights: an initially almost uniform density

-- ---- conditioners -------------------------------------------------------------------------

-- The parameters of `count` splines from the context, and from `inputs` further numbers where there are any.
local function conditioner(context, inputs, count, per, rng)
  local function linear(from, to, std, bias)
    return nn.linear(from, to, { std = std or math.sqrt(2 / from), bias = bias, rng = rng })
  end
  local around = linear(context, HIDDEN, 1 / math.sqrt(context))
  local among = inputs > 0 and linear(inputs, HIDDEN, 1 / math.sqrt(inputs), false) or nil
  local deep, last = linear(HIDDEN, HIDDEN), linear(HIDDEN, count * per, FIRST)
  return nn.layer {
    label = string.format("conditioner of %d splines", count), inner = { around, deep, last, among },
    -- context (N, F), features (N M, inputs) or nil -> (N M, count, per)
    forward = function(_, c, M, features)
      local n = c.shape[1]
      local h = around(c)
      if features then
        h = core.reshape(core.reshape(h, n, 1, HIDDEN) + core.reshape(among(features), n, M, HIDDEN), n * M, HIDDEN)
      end
      local p = last(core.silu(deep(core.silu(h))))
      if not features and M > 1 then
        p = core.expand(core.reshape(p, n, 1, count * per), n, M, count * per)
      end
      return core.reshape(p, n * M, count, per)
    end,
  }
end

-- ---- transforms ---------------------------------------------------------------------------

-- A conditioner's input for coordinates: those of intervals in [-1, 1], cosine and sine of phases.
local function features_of(columns, list, circle)
  local pieces = {}
  for _, i in ipairs(list) do
    if circle[i] then
      pieces[#pieces + 1] = core.cos(columns[i] * (2 * math.pi))
      pieces[#pieces + 1] = core.sin(columns[i] * (2 * math.pi))
    else
      pieces[#pieces + 1] = columns[i] * 2 - 1
    end
  end
  return #pieces == 1 and pieces[1] or core.concat(pieces, 2)
end

-- The splines of some coordinates: replaces their columns (R, 1), and returns the sum of the logarithms of their slopes
-- (R,).
local function apply(columns, list, parameters, circles, inverse)
  local x = {}
  for k, i in ipairs(list) do x[k] = columns[i] end
  x = #x == 1 and x[1] or core.concat(x, 2)
  local y = core.rational_quadratic_spline(x, parameters, circles, { inverse = inverse })
  local moved = core.reshape(core.slice(y, 1, 1, 1), x.shape)
  for k, i in ipairs(list) do columns[i] = #list == 1 and moved or core.slice(moved, 2, k, k) end
  return core.sum(core.reshape(core.slice(y, 1, 2, 2), x.shape), 2)
end

-- A transform of the coordinates `first` and `second`.
local function transform(first, second, circle, context, bins, rng)
  local per, inputs = 3 * bins + 1, 0
  for _, i in ipairs(first) do inputs = inputs + (circle[i] and 2 or 1) end
  local function circles(list)
    local marks = {}
    for k, i in ipairs(list) do marks[k] = circle[i] and 1 or 0 end
    return #list > 0 and core.buffer(core.tensor(marks)) or nil
  end
  local alone = #first > 0 and conditioner(context, 0, #first, per, rng) or nil
  local joint = conditioner(context, inputs, #second, per, rng)
  local circles_first, circles_second = circles(first), circles(second)
  return nn.layer {
    label = string.format("coupling of %d and %d coordinates", #first, #second), inner = { joint, alone },
    -- Replaces columns; returns the logarithm of the slopes of the way from the cube to the base.
    forward = function(_, columns, M, c, inverse)
      local total, features
      if alone and not inverse then features = features_of(columns, first, circle) end
      if alone then total = apply(columns, first, alone(c, M), circles_first, inverse) end
      if alone and inverse then features = features_of(columns, first, circle) end
      local slope = apply(columns, second, joint(c, M, features), circles_second, inverse)
      return total and total + slope or slope
    end,
  }
end

-- The halves of transform t: random for odd t, exchanged in the next one.
local function halves(D, t)
  local order = streams.halves((t + 1) // 2):permutation(D)
  local first, second = {}, {}
  for k, i in ipairs(order) do
    local list = (k <= D // 2) == (t % 2 == 1) and first or second
    list[#list + 1] = i
  end
  if #second == 0 then first, second = second, first end -- a single coordinate has the context alone
  return first, second
end

-- ---- the flow -----------------------------------------------------------------------------

local function columns_of(u)
  local rows, columns = core.reshape(u, -1, u.shape[3]), {}
  for i = 1, u.shape[3] do columns[i] = core.slice(rows, 2, i, i) end
  return columns
end

--- A flow as a layer, with methods density and draw.
-- @tparam table t circle: {boolean,...}, whether each coordinate is a phase; context: how many numbers it is given;
-- transforms; bins; rng
-- @treturn Layer
return function(t)
  local D, steps = #t.circle, {}
  for i = 1, t.transforms do
    local first, second = halves(D, i)
    steps[i] = transform(first, second, t.circle, t.context, t.bins, t.rng)
  end
  local layer = nn.layer { label = "neural spline flow", inner = steps, forward = function() end }

  --- context (N, F), u (N, M, D) in [0, 1] -> log density (N, M); second result: the points of the base.
  function layer.density(context, u)
    local N, M = u.shape[1], u.shape[2]
    local columns, total = columns_of(u), nil
    for _, step in ipairs(steps) do
      local slope = step(columns, M, context, false)
      total = total and total + slope or slope
    end
    return core.reshape(total, N, M), core.reshape(D == 1 and columns[1] or core.concat(columns, 2), N, M, D)
  end

  --- context (N, F), base (N, M, D) uniform numbers -> u (N, M, D).
  function layer.draw(context, base)
    local columns = columns_of(base)
    for i = #steps, 1, -1 do steps[i](columns, base.shape[2], context, true) end
    return core.reshape(D == 1 and columns[1] or core.concat(columns, 2), base.shape)
  end

  return layer
end
