--- A head of a posterior whose marginal distributions are corrected by monotone maps of their quantiles (Kuleshov,
-- Fenner and Ermon 2018), one a parameter, found on held-out simulations (simvae.model.recalibration).
--
-- In the coordinate c of a parameter the head's own marginal of an output is standard normal: c is piecewise linear in
-- u between the quantiles of 512 draws from -2 to 2 standard deviations, and goes on linearly beyond them. A map g, the
-- same for all outputs, takes c to the coordinate that the truth has as often; what would leave [0, 1] is cut off, as
-- of a truncated distribution. So u goes to a new u by an increasing, piecewise linear map of [0, 1] onto itself, one
-- for each output and parameter: draws keep their dependence, and the density stays normalised, as it is divided by the
-- slopes. A circle is cut opposite the mean direction of its draws. Classes stay as they are.
--
-- All of it is tensor ops on rows, one for each parameter of each output, so that graphs have it too (simvae.export).
-- The draws come from the same uniform numbers for every output: what an output is given does not depend on the others.
--
-- The head's numbers h (N, outputs) are followed by where each parameter with a map is cut, and by its knots and their
-- values.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local streams = require "simvae.util.streams"

local recalibrated = {}

local DRAWS = 512
local AT_ONCE = 32               -- outputs, whose draws are in memory together, of up to 8,192
local MOST = 256                 -- tensors that core.concat takes
local LEVELS = {}                -- of the quantiles, in standard deviations
for i = -8, 8 do LEVELS[#LEVELS + 1] = i / 4 end
local PLACES = { -10, -6, -4, -3, -2.5 } -- coordinates of the knots of a map of [0, 1], besides its ends
table.move(LEVELS, 1, #LEVELS, #PLACES + 1, PLACES)
for i = 5, 1, -1 do PLACES[#PLACES + 1] = -PLACES[i] end
local KNOTS = #PLACES + 2
local REACH = 1                  -- standard deviations between an end and the quantile that gives the slope beyond it
local LEAST = 2e-7               -- between two knots
local NEGLIGIBLE = 1e-6          -- share of a marginal, where its draws say nothing of its shape
local FAR = 4                    -- standard deviations, beyond which a truncated distribution is not followed
local RAREST = 1e-12             -- of shares whose quantiles are taken
local STEEP = 1e30               -- slope of a step

local function share_below(level) return (core.distribution.cdf("normal", level)) end

-- A list as a row (1, n) that lasts.
local function row_of(list, f)
  local t = {}
  for i, v in ipairs(list) do t[i] = f and f(v) or v end
  return core.buffer(core.tensor { t })
end

-- ---- maps -----------------------------------------------------------------------------------

-- Lists with points more on either side, on the line from the ends to the points REACH before them: at most one before
-- the first, and as many behind the last as make `count` of them.
local function extended(xs, ys, count)
  local n, x, y = #xs, table.move(xs, 1, #xs, 2, {}), table.move(ys, 1, #ys, 2, {})
  local a, b = 2, n - 1
  while a < n - 1 and xs[a + 1] <= xs[1] + REACH do a = a + 1 end
  while b > 2 and xs[b - 1] >= xs[n] - REACH do b = b - 1 end
  x[1], y[1] = xs[1] - 1, ys[1] - (ys[a] - ys[1]) / (xs[a] - xs[1])
  local slope = (ys[n] - ys[b]) / (xs[n] - xs[b])
  for i = 1, count - n - 1 do x[n + 1 + i], y[n + 1 + i] = xs[n] + i, ys[n] + i * slope end
  return x, y
end

--- Maps g, each from levels to the values that it gives them: ascending lists of at least three numbers.
-- @tparam {table,...} list of { levels =, values = }
-- @treturn table x, y: (L, J), knots of each map and their values
function recalibrated.maps(list)
  local most, xs, ys = 0, {}, {}
  for _, map in ipairs(list) do most = math.max(most, #map.levels) end
  for i, map in ipairs(list) do xs[i], ys[i] = extended(map.levels, map.values, most + 2) end
  return { x = core.buffer(core.tensor(xs)), y = core.buffer(core.tensor(ys)) }
end

-- The values at x (R, M) of lines through knots, (R, J) or (1, J).
local function line(knots, values, x) return core.piecewise_linear(x, knots, values)[1] end

--- Values of a map.
-- @tparam table g of `maps`, of one map
-- @tparam tensor c (1, M)
-- @treturn tensor (1, M)
function recalibrated.values(g, c) return line(g.x, g.y, c) end

-- ---- shares of normal distributions ---------------------------------------------------------

-- Shares are pairs of tensors, of what lies below and of what lies above: the smaller one is precise.
local function shares_of(c) return { core.normal_cdf(c), core.normal_cdf(c * -1) } end

local function level_of(shares)
  local nearer = core.clamp(core.minimum(shares[1], shares[2]), RAREST, 0.5)
  return core.normal_quantile(nearer) * core.clamp((shares[2] - shares[1]) * STEEP, -1, 1)
end

-- Shares within an interval as shares of all; outside: what lies below its lower end and above its upper one.
local function of_all(shares, outside)
  local inside = 1 - outside[1] - outside[2]
  return { outside[1] + shares[1] * inside, outside[2] + shares[2] * inside }
end

-- ---- coordinates ------------------------------------------------------------------------------

local OUTER = (function()
  local x = extended(LEVELS, LEVELS, #LEVELS + 2)
  return row_of(x)
end)()

-- Sorted draws (R, DRAWS) times it are quantiles at the levels.
local WEIGHTS = (function()
  local w = core.zeros(DRAWS, #LEVELS)
  for j, level in ipairs(LEVELS) do
    local at = share_below(level) * DRAWS + 0.5
    local below = math.max(1, math.min(DRAWS - 1, math.floor(at)))
    w:set(1 - (at - below), below, j)
    w:set(at - below, below + 1, j)
  end
  return core.buffer(w)
end)()

-- Numbers along the last axis, moved up where the distance to the one before is less than LEAST.
local function ascending(t)
  local axis, step = t.ndim, 1
  local n = t.shape[axis]
  while step < n do -- each becomes the largest of 2 step ones
    local moved = core.maximum(core.slice(t, axis, step + 1, n), core.slice(t, axis, 1, n - step) + step * LEAST)
    t = core.concat({ core.slice(t, axis, 1, step), moved }, axis)
    step = 2 * step
  end
  return t
end

-- Phases in turns, wrapped into [0, 1].
local function wrapped(t)
  return t - core.clamp(t * STEEP, -1, 0) - core.clamp((t - 1) * STEEP, 0, 1)
end

-- Where circles are cut: half a turn from the mean direction of draws (N, L, DRAWS); 0 of what is none.
local function cuts_of(draws, circles)
  local angle = draws * (2 * math.pi)
  local opposite = cube.phase_of(core.mean(core.cos(angle), 3, true) * -1, core.mean(core.sin(angle), 3, true) * -1)
  return core.reshape(opposite, draws.shape[1], draws.shape[2]) * circles
end

-- Quantiles (R, 17) with a point beyond either end.
local function with_ends(q)
  local n, reach = #LEVELS, math.tointeger(REACH / (LEVELS[2] - LEVELS[1]))
  local function column(i) return core.slice(q, 2, i, i) end
  return core.concat({ column(1) * 2 - column(1 + reach), q, column(n) * 2 - column(n - reach) }, 2)
end

-- Columns of draws (N, M, K) as (N, L, M).
local function taken(u, columns)
  if #columns ~= u.shape[3] then
    local list = {}
    for i, k in ipairs(columns) do list[i] = cube.column(u, k) end
    u = #list == 1 and list[1] or core.concat(list, 3)
  end
  return core.permute(u, { 1, 3, 2 })
end

-- The coordinates of some outputs.
local function measured(base, h, v, columns, circles)
  local N, L = h.shape[1], #columns
  local u = base.draws and base:draws(h, v) or base:transport(h, core.expand(v, { N, DRAWS, v.shape[3] }))
  local draws = taken(u, columns)
  local cuts = circles and cuts_of(draws, circles) or core.zeros(N, L)
  if circles then draws = wrapped(draws - core.reshape(cuts, N, L, 1)) end
  local sorted = core.sort(core.reshape(draws, N * L, DRAWS), 2)
  return cuts, core.reshape(with_ends(ascending(core.matmul(sorted, WEIGHTS))), N, L, #LEVELS + 2)
end

-- 1 for each column of a circle, 0 for others, (1, L); nil: there are none.
local function circles_of(kinds, columns)
  local marks, any = {}, false
  for i, k in ipairs(columns) do
    marks[i] = kinds[k] == "circle" and 1 or 0
    any = any or marks[i] == 1
  end
  return any and core.tensor { marks } or nil
end

--- The coordinates of parameters of some outputs, from draws of their posteriors.
-- @tparam table base a head
-- @tparam tensor h (N, outputs), N from 1
-- @tparam {string,...} kinds of the parameters on the cube
-- @tparam {integer,...} columns numbers of L parameters that are no classes
-- @treturn tensor (N, L): where circles are cut
-- @treturn tensor (N, L, 19): quantiles
function recalibrated.measure(base, h, kinds, columns)
  local circles, cuts, quantiles = circles_of(kinds, columns), {}, {}
  local v, N = streams.knots():uniform(0, 1, { 1, DRAWS, base:uniforms() }), h.shape[1]
  local step = math.max(AT_ONCE, -(-N // MOST))
  for from = 1, N, step do
    local scope <close> = core.scope()
    local part = core.slice(h, 1, from, math.min(from + step - 1, N))
    local cut, at = core.no_grad(measured, base, part, v, columns, circles)
    cuts[#cuts + 1], quantiles[#quantiles + 1] = scope:keep(cut), scope:keep(at)
  end
  if #cuts == 1 then return cuts[1], quantiles[1] end
  return core.concat(cuts, 1), core.concat(quantiles, 1)
end

-- ---- the map of [0, 1] ------------------------------------------------------------------------

local ENDS, PLACES_ROW = row_of { 0, 1 }, row_of(PLACES)
local PLACE_SHARES = { row_of(PLACES, share_below), row_of(PLACES, function(c) return share_below(-c) end) }
local BEYOND = row_of(PLACES, function(c) return math.abs(c) > FAR and 1 or 0 end)

-- How many entries of a row come before each entry, or behind it: a row times these.
local BEFORE, BEHIND = (function()
  local before, behind = core.zeros(KNOTS, KNOTS), core.zeros(KNOTS, KNOTS)
  for i = 1, KNOTS do
    for j = 1, KNOTS do
      before:set(i < j and 1 or 0, i, j)
      behind:set(i > j and 1 or 0, i, j)
    end
  end
  return core.buffer(before), core.buffer(behind)
end)()

local function repeated(row, R) return core.expand(row, { R, row.shape[2] }) end

-- Knots and values (R, 2, 27) within [0, 1], with the ends (0, 0) and (1, 1) as two more. Those with a number outside
-- are moved onto the lines through the ends, beyond them, so that between the ends they change nothing.
local function whole(points)
  points = core.pad(core.pad(points, { 0, 0, 1, 0 }, -1), { 0, 0, 0, 1 }, 2)
  local low = core.clamp((LEAST - core.min(points, 2)) * STEEP, 0, 1)
  local high = core.clamp((core.max(points, 2) - (1 - LEAST)) * STEEP, 0, 1) * (1 - low)
  local function each(t) return core.reshape(t, -1, 1, KNOTS) end
  local inside = points * each(1 - low - high)
  local rest = 1 - core.max(inside, 3, true) -- from the last one inside to the end
  return ascending(inside - each(low * core.matmul(low, BEHIND))
    + each(high) * (rest * each(core.matmul(high, BEFORE)) + 1))
end

-- The map of [0, 1] onto itself of each row: quantiles (R, 19), gx and gy (R, J) -> knots and values (R, 2, 29).
local function map_of(quantiles, gx, gy)
  local R = quantiles.shape[1]
  -- shares below 0 and above 1, of the head's marginal and of the stretched one
  local function outside(c)
    return { core.normal_cdf(core.slice(c, 2, 1, 1)), core.normal_cdf(core.slice(c, 2, 2, 2) * -1) }
  end
  local ends = line(quantiles, OUTER, repeated(ENDS, R))
  local own, stretched = outside(ends), outside(line(gy, gx, ends))
  local most = core.max(core.concat({ own[1], own[2], stretched[1], stretched[2] }, 2), 2, true)
  local as_it_is = core.maximum(core.clamp((NEGLIGIBLE - most) * STEEP, 0, 1), BEYOND)
  local inside, within = core.maximum(1 - own[1] - own[2], 1e-9), {}
  for i = 1, 2 do within[i] = core.clamp((PLACE_SHARES[i] - own[i]) / inside, 0, 1) end
  local c = PLACES_ROW * as_it_is + level_of(of_all(within, stretched)) * (1 - as_it_is)
  return whole(core.stack({ line(OUTER, quantiles, repeated(PLACES_ROW, R)),
    line(OUTER, quantiles, line(gx, gy, c)) }, 2))
end

-- Knots and values (R, 29) of a map, in the order in which `line` takes them to go through it or back.
local function sides(map, back)
  local R = map.shape[1]
  local x, y = core.slice(map, 2, 1, 1), core.slice(map, 2, 2, 2)
  if back then x, y = y, x end
  return core.reshape(x, R, KNOTS), core.reshape(y, R, KNOTS)
end

--- The coordinates c of the numbers that a map takes to numbers u of the cube.
-- @tparam table one of one parameter, as `measure` gives them: at (R, 19), and of a circle cut (R, 1)
-- @tparam ?table g of `maps`, of one map; nil: none
-- @tparam tensor u (R, M)
-- @treturn tensor (R, M)
function recalibrated.coordinates(one, g, u)
  local place = u
  if one.cut then
    local turns = u - one.cut
    place = turns - core.floor(turns)
  end
  if g then
    local R = u.shape[1]
    local knots, values = sides(map_of(one.at, repeated(g.x, R), repeated(g.y, R)), true)
    place = line(knots, values, place)
  end
  return line(one.at, OUTER, place)
end

--- The same of numbers of cells of the cube, of which a share of the draws in the cell is below: as draws of a value of
-- a grid lie.
-- @tparam table one
-- @tparam ?table g
-- @tparam table cells low, high, share: (R, 1)
-- @treturn tensor (R, 1)
function recalibrated.coordinates_within(one, g, cells)
  local between = cells.low + cells.share * (cells.high - cells.low)
  local c = recalibrated.coordinates(one, g, core.concat({ cells.low, cells.high, between }, 2))
  local function column(i) return core.slice(c, 2, i, i) end
  local low, high = shares_of(column(1)), shares_of(column(2))
  local drawn = level_of(of_all({ cells.share, 1 - cells.share }, { low[1], high[2] }))
  -- the cut of a circle is in it, or there are no draws
  local empty = core.clamp((NEGLIGIBLE - (high[1] - low[1])) * STEEP, 0, 1)
  return drawn * (1 - empty) + column(3) * empty
end

-- ---- the head -------------------------------------------------------------------------------

local Head = {}
Head.__index = Head

--- The kinds of a latent space's parameters on the cube.
function recalibrated.kinds(latent)
  local kinds = {}
  for k, part in ipairs(latent.parts) do kinds[k] = cube.kind(part) end
  return kinds
end

--- A head with the interface of simvae.posterior, over another one.
-- @tparam table base a head
-- @tparam Latent latent
-- @tparam {table|false,...} maps g of each parameter: { levels =, values = }; false: none
function recalibrated.new(base, latent, maps)
  local self = setmetatable({ base = base, kinds = recalibrated.kinds(latent), name = base.name, columns = {} }, Head)
  local list = {}
  for k, map in ipairs(maps) do
    if map then self.columns[#self.columns + 1], list[#list + 1] = k, map end
  end
  self.circular = circles_of(self.kinds, self.columns) ~= nil
  self.g = #list > 0 and recalibrated.maps(list)
  return self
end

-- How many numbers a map of L parameters takes.
local function count_of(self) return (1 + 2 * KNOTS) * #self.columns end

-- The base's own numbers.
function Head:numbers(h)
  return core.slice(h, 2, 1, h.shape[2] - count_of(self))
end

--- h of the base, followed by the maps of each output.
-- @tparam tensor h (N, outputs)
-- @tparam tensor cuts (N, L), L the number of parameters with maps, and
-- @tparam tensor quantiles (N, L, 19): as `measure` gives them
-- @treturn tensor (N, outputs + 59 L)
function Head:with(h, cuts, quantiles)
  local N, L = h.shape[1], #self.columns
  local function of_each(t)
    return core.reshape(core.expand(core.reshape(t, 1, L, t.shape[2]), { N, L, t.shape[2] }), N * L, t.shape[2])
  end
  local maps = map_of(core.reshape(quantiles, N * L, #LEVELS + 2), of_each(self.g.x), of_each(self.g.y))
  return core.concat({ h, cuts, core.reshape(maps, N, L * 2 * KNOTS) }, 2)
end

--- The same, measured.
function Head:extend(h)
  local N, L = h.shape[1], #self.columns
  if L == 0 then return h end
  if N == 0 then return core.zeros(0, h.shape[2] + count_of(self)) end
  return core.no_grad(function()
    return self:with(h, recalibrated.measure(self.base, h, self.kinds, self.columns))
  end)
end

-- Points u (N, M, K) through the maps, or back; also the sums of the logarithms of the slopes (N, M).
local function through(self, h, u, back)
  local N, M, L, columns = u.shape[1], u.shape[2], #self.columns, {}
  if L == 0 then return u, core.zeros(N, M) end
  local from = h.shape[2] - count_of(self)
  local cuts = self.circular and core.reshape(core.slice(h, 2, from + 1, from + L), N * L, 1)
  local map = core.reshape(core.slice(h, 2, from + L + 1, h.shape[2]), N * L, 2, KNOTS)
  local place = core.reshape(taken(u, self.columns), N * L, M)
  if cuts then place = wrapped(place - cuts) end
  local knots, values = sides(map, back)
  local result = core.piecewise_linear(place, knots, values)
  local to = core.clamp(result[1], 0, 1)
  if cuts then to = wrapped(to + cuts) end
  to = core.permute(core.reshape(to, N, L, M), { 1, 3, 2 })
  local slopes = core.sum(core.reshape(result[2], N, L, M), 2)
  if L == u.shape[3] then return to, slopes end
  for k = 1, u.shape[3] do columns[k] = cube.column(u, k) end
  for i, k in ipairs(self.columns) do columns[k] = cube.column(to, i) end
  return core.concat(columns, 3), slopes
end

function Head:sample(h, n, rng)
  local u = self.base:sample(self:numbers(h), n, rng)
  return u.count == 0 and u or (through(self, h, u, false))
end

function Head:log_prob(h, u)
  if u.count == 0 then return self.base:log_prob(self:numbers(h), u) end
  local before, slopes = through(self, h, u, true)
  return self.base:log_prob(self:numbers(h), before) + slopes
end

function Head:class_shares(h) return self.base:class_shares(self:numbers(h)) end

function Head:uniforms() return self.base:uniforms() end

function Head:transport(h, v)
  return (through(self, h, self.base:transport(self:numbers(h), v), false))
end

function Head:typical(h) return self.base:typical(self:numbers(h)) end

function Head:candidates(h, n) return self.base:candidates(self:numbers(h), n) end

return recalibrated
