--- Neural spline coupling flow on the unit cube, with a uniform base (Durkan, Bekasov, Murray and Papamakarios 2019;
-- circular splines for phases: Rezende and others 2020).
--
-- A transform divides the coordinates into two halves. Each coordinate passes a monotonic rational-quadratic spline of
-- [0, 1] onto itself, with parameters of a conditioner: those of the first half from the context alone, those of
-- the second from the context and the first half. Each transform and its inverse therefore take one pass, the density
-- is the product of the slopes, and no draw leaves the cube. The halves change from transform to transform.
--
-- Next to the parameters each interval passes the distribution function of a truncated logistic distribution, whose
-- location and scale depend on the context. Posteriors that are narrow beside the prior are then a location to be
-- learned, where splines would have to place and narrow their bins.
--
-- Points pass as a state (R, D + 1): the coordinates, and the sum of the logarithms of the slopes so far.
local core = require "simvae.core"
local nn = require "simvae.nn"
local streams = require "simvae.util.streams"

local HIDDEN = 64 -- units of a hidden layer: of one after the context alone, of two where coordinates are given too
local FIRST = 0.01 -- standard deviation of its last layer's initial weights: an initially almost uniform density
local spline_coupling, conditioner_layer = core.ops.spline_coupling.call, core.ops.conditioner_layer.call
local location_scale = core.ops.location_scale.call

local AT_ONCE = 2048 -- points that are drawn at once: their hidden layers fit into the second-level cache

-- ---- transforms ---------------------------------------------------------------------------

local function linear(from, to, std, rng)
  return nn.linear(from, to, { std = std or math.sqrt(2 / from), rng = rng })
end

-- For the ops: 0 a coordinate that is not in the list, 1 an interval, 2 a phase; and how many features they have.
local function marks_of(list, circle)
  local marks, features = {}, 0
  for i = 1, #circle do marks[i] = 0 end
  for _, i in ipairs(list) do
    marks[i] = circle[i] and 2 or 1
    features = features + marks[i]
  end
  return core.buffer(core.tensor(marks)), features
end

-- What an op does to some coordinates, with `per` parameters for each from the context alone.
local function alone(op, what, list, circle, context, per, rng)
  local marks = marks_of(list, circle)
  local around, last = linear(context, HIDDEN, 1 / math.sqrt(context), rng), linear(HIDDEN, #list * per, FIRST, rng)
  return nn.layer {
    label = string.format("%s of %d coordinates", what, #list), inner = { around, last },
    forward = function(_, state, c, inverse)
      return op(state, last:forward(around:forward(c, "silu")), marks, inverse)
    end,
  }
end

local function splines(...) return alone(spline_coupling, "splines", ...) end

-- The splines of some coordinates, with parameters from the context and the coordinates `given`.
local function joint(list, given, circle, context, per, rng)
  local marks = marks_of(list, circle)
  local known, features = marks_of(given, circle)
  local around, deep, last = linear(context, HIDDEN, 1 / math.sqrt(context), rng), linear(HIDDEN, HIDDEN, nil, rng),
    linear(HIDDEN, #list * per, FIRST, rng)
  return nn.layer {
    label = string.format("splines of %d coordinates given %d", #list, #given), inner = { around, deep, last },
    own = { given = core.parameter(rng:normal(0, 1 / math.sqrt(features), { features, HIDDEN })) },
    -- seen: the state that holds the coordinates `given`
    forward = function(self, state, seen, c, inverse)
      local h = conditioner_layer(around:forward(c), seen, self.own.given, known)
      return spline_coupling(state, last:forward(deep:forward(h, "silu")), marks, inverse)
    end,
  }
end

-- A transform of the coordinates `first` and `second`.
local function transform(first, second, circle, context, bins, rng)
  local per = 3 * bins + 1
  if #first == 0 then return splines(second, circle, context, per, rng) end
  local one, other = splines(first, circle, context, per, rng), joint(second, first, circle, context, per, rng)
  return nn.layer {
    label = string.format("coupling of %d and %d coordinates", #first, #second), inner = { one, other },
    -- state (R, D + 1), c (n, F), each row for R / n rows of the state
    forward = function(_, state, c, inverse)
      local moved = one:forward(state, c, inverse)
      return other:forward(moved, inverse and moved or state, c, inverse)
    end,
  }
end

-- Locations and scales of the intervals, from the context; nil: there are none.
local function locations(circle, context, rng)
  local list = {}
  for i, around in ipairs(circle) do
    if not around then list[#list + 1] = i end
  end
  return #list > 0 and alone(location_scale, "locations", list, circle, context, 2, rng) or nil
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

local function state_of(u)
  local D = u.shape[3]
  local rows = core.reshape(u, -1, D)
  return core.concat({ rows, core.zeros(rows.shape[1], 1) }, 2)
end

-- f(context, points); where nothing is recorded of pieces of at most AT_ONCE points, joined.
-- @tparam tensor context (N, F)
-- @tparam tensor points (N, M, D)
-- @tparam function f of pieces of both -> (n, m, …)
-- @tparam {integer,...} shape of the result
local function in_pieces(context, points, f, shape)
  local N, M = points.shape[1], points.shape[2]
  if N * M <= AT_ONCE or core.is_recording() then return f(context, points) end
  local parts, rows = {}, math.max(1, AT_ONCE // math.max(M, 1))
  for from = 1, N, rows do
    local to = math.min(from + rows - 1, N)
    local c, part = core.slice(context, 1, from, to), core.slice(points, 1, from, to)
    for m = 1, M, AT_ONCE do
      local scope <close> = core.scope()
      local last = math.min(m + AT_ONCE - 1, M)
      parts[#parts + 1] = scope:keep(f(c, M <= AT_ONCE and part or core.slice(part, 2, m, last)))
    end
  end
  return core.reshape(core.concat(parts, M <= AT_ONCE and 1 or 2), shape)
end

--- A flow as a layer, with methods density, transport, draw and draw_with_density.
-- @tparam table t circle: {boolean,...}, whether each coordinate is a phase; context: how many numbers it is given;
-- transforms; bins; rng
-- @treturn Layer
return function(t)
  local D, steps = #t.circle, { locations(t.circle, t.context, t.rng) }
  for i = 1, t.transforms do
    local first, second = halves(D, i)
    steps[#steps + 1] = transform(first, second, t.circle, t.context, t.bins, t.rng)
  end
  local layer = nn.layer { label = "neural spline flow", inner = steps, forward = function() end }

  local function moved(context, u)
    local state = state_of(u)
    for _, step in ipairs(steps) do state = step:forward(state, context, false) end
    return core.reshape(state, u.shape[1], u.shape[2], D + 1)
  end

  --- context (N, F), u (N, M, D) in [0, 1] -> log density (N, M); second result: the points of the base (N, M, D)
  function layer.density(context, u)
    local N, M = u.shape[1], u.shape[2]
    local state = in_pieces(context, u, moved, { N, M, D + 1 })
    return core.reshape(core.slice(state, 3, D + 1, D + 1), N, M), core.slice(state, 3, 1, D)
  end

  local function moved_back(context, base)
    local state = state_of(base)
    for i = #steps, 1, -1 do state = steps[i]:forward(state, context, true) end
    return state
  end

  --- context (N, F), base (N, M, D) uniform numbers -> u (N, M, D), with gradients.
  function layer.transport(context, base)
    return core.reshape(core.slice(moved_back(context, base), 2, 1, D), base.shape)
  end

  --- The same without gradients, of any number of points.
  function layer.draw(context, base)
    return core.no_grad(in_pieces, context, base, layer.transport, base.shape)
  end

  --- The same and the log density of these points, (N, M), as `density` gives it.
  function layer.draw_with_density(context, base)
    local N, M = base.shape[1], base.shape[2]
    local state = core.no_grad(in_pieces, context, base, function(c, part)
      return core.reshape(moved_back(c, part), part.shape[1], part.shape[2], D + 1)
    end, { N, M, D + 1 })
    return core.slice(state, 3, 1, D), core.reshape(core.slice(state, 3, D + 1, D + 1), N, M) * -1
  end

  return layer
end
