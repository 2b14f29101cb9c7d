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
-- The head's numbers h (N, outputs) are followed, for each parameter, by where a circle is cut and the map's knots and
-- values.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local streams = require "simvae.util.streams"

local recalibrated = {}

local DRAWS = 512
local LEVELS = {}                -- of the quantiles, in standard deviations
for i = -8, 8 do LEVELS[#LEVELS + 1] = i / 4 end
local PLACES = { -10, -6, -4, -3, -2.5 } -- coordinates of the knots of a map of [0, 1], besides its ends
table.move(LEVELS, 1, #LEVELS, #PLACES + 1, PLACES)
for i = 5, 1, -1 do PLACES[#PLACES + 1] = -PLACES[i] end
local KNOTS = #PLACES + 2
local PER = 1 + 2 * KNOTS        -- numbers of a parameter
local REACH = 1                  -- standard deviations between an end and the quantile that gives the slope beyond it
local LEAST = 2e-7               -- between two knots
local NEGLIGIBLE = 1e-6          -- share of a marginal, where its draws say nothing of its shape
local FAR = 4                    -- standard deviations, beyond which a truncated distribution is not followed

-- ---- the normal distribution ----------------------------------------------------------------

--- The standard normal distribution function.
-- @tparam number x
-- @treturn number
function recalibrated.share_below(x)
  return (core.distribution.cdf("normal", x))
end
local share_below = recalibrated.share_below

-- Its inverse, within seven standard deviations.
local function level_of(share)
  share = math.max(1e-12, math.min(1 - 1e-12, share))
  return core.distribution.quantile("normal", share, 1 - share)
end

-- ---- piecewise linear maps ------------------------------------------------------------------

-- Lists with a point more on either side, on the line from the ends to the points REACH before them.
local function extended(xs, ys)
  local n, x, y = #xs, table.move(xs, 1, #xs, 2, {}), table.move(ys, 1, #ys, 2, {})
  local a, b = 2, n - 1
  while a < n - 1 and xs[a + 1] <= xs[1] + REACH do a = a + 1 end
  while b > 2 and xs[b - 1] >= xs[n] - REACH do b = b - 1 end
  x[1], y[1] = xs[1] - 1, ys[1] - (ys[a] - ys[1]) / (xs[a] - xs[1])
  x[n + 2], y[n + 2] = xs[n] + 1, ys[n] + (ys[n] - ys[b]) / (xs[n] - xs[b])
  return x, y
end

local OUTER = extended(LEVELS, LEVELS)

-- The value at x of the line through points, of which xs ascend; beyond the ends the outer pieces go on.
local function line(xs, ys, x)
  local low, high = 1, #xs
  while high - low > 1 do
    local middle = (low + high) // 2
    if xs[middle] <= x then low = middle else high = middle end
  end
  return ys[low] + (ys[high] - ys[low]) / (xs[high] - xs[low]) * (x - xs[low])
end

--- A map g from levels to the values that it gives them, both ascending lists of at least three numbers.
-- @tparam {number,...} levels
-- @tparam {number,...} values
-- @treturn table
function recalibrated.map(levels, values)
  local x, y = extended(levels, values)
  return { x = x, y = y }
end

-- ---- the coordinate of one parameter of one output ----------------------------------------------

-- Quantiles of ascending values at the levels, with a point beyond either end, strictly ascending.
local function quantiles(values)
  local list, last = {}, -math.huge
  for j, level in ipairs(LEVELS) do
    local at = share_below(level) * #values + 0.5
    local below = math.max(1, math.min(#values - 1, math.floor(at)))
    last = math.max(values[below] + (at - below) * (values[below + 1] - values[below]), last + LEAST)
    list[j] = last
  end
  local _, all = extended(LEVELS, list)
  return all
end

-- Phases in turns, wrapped into [0, 1).
local function wrapped(t)
  return t - core.clamp(t * 1e30, -1, 0) - core.clamp((t - 1) * 1e30, 0, 1)
end

-- Where a circle is cut: half a turn from the mean direction of phases.
local function cut_of(phases)
  local angle = phases * (2 * math.pi)
  local c, s = core.mean(core.cos(angle)):item(), core.mean(core.sin(angle)):item()
  return (math.atan(s, c) / (2 * math.pi) + 0.5) % 1
end

-- The coordinate of one parameter from draws (DRAWS,).
local function measured(draws, kind)
  local cut = kind == "circle" and cut_of(draws) or 0
  if kind == "circle" then draws = wrapped(draws - cut) end
  return { cut = cut, at = quantiles(core.sort(draws, 1):totable()) }
end

--- The coordinates of each parameter of some outputs, from draws of their posteriors.
-- @tparam table base a head
-- @tparam tensor h (N, outputs)
-- @tparam {string,...} kinds of the parameters on the cube
-- @treturn {table,...} lists of { cut =, at = quantiles }, one a parameter; false for classes
function recalibrated.measure(base, h, kinds)
  local rows = {}
  for i = 1, h.shape[1] do -- one by one: what is drawn of an output does not depend on the others
    local scope <close> = core.scope()
    local u, row = core.no_grad(base.sample, base, core.slice(h, 1, i, i), DRAWS, streams.knots()), {}
    for k, kind in ipairs(kinds) do
      row[k] = kind ~= "class" and measured(core.reshape(core.slice(u, 3, k, k), DRAWS), kind)
    end
    rows[i] = row
  end
  return rows
end

-- A number of the cube as a place on the cut circle.
local function place(one, u) return one.cut == 0 and u or (u - one.cut) % 1 end

--- The coordinate c of a number u of the cube.
-- @tparam table one of `measure`
-- @tparam number u
-- @treturn number
function recalibrated.coordinate(one, u)
  return line(one.at, OUTER, place(one, u))
end

-- Ascending knots and values that begin with 0 and end with 1, at least LEAST apart, filled up to KNOTS of them.
local function whole(xs, ys)
  local x, y = { 0 }, { 0 }
  for i = 1, #xs do
    if xs[i] >= x[#x] + LEAST and ys[i] >= y[#y] + LEAST and xs[i] <= 1 - LEAST and ys[i] <= 1 - LEAST then
      x[#x + 1], y[#y + 1] = xs[i], ys[i]
    end
  end
  local missing, a, b = KNOTS - 1 - #x, x[#x], y[#y]
  for i = 1, missing + 1 do
    local t = i / (missing + 1)
    x[#x + 1], y[#y + 1] = a + t * (1 - a), b + t * (1 - b)
  end
  return x, y
end

-- The map of [0, 1] onto itself of one parameter of one output: KNOTS knots and values.
local function map_of(one, g)
  local function stretched(c) return line(OUTER, one.at, line(g.x, g.y, c)) end
  -- shares below 0 and 1, of the head's marginal and of the stretched one
  local function shares(at) return share_below(at(0)), share_below(at(1)) end
  local a, b = shares(function(u) return line(one.at, OUTER, u) end)
  local low, high = shares(function(u) return line(g.y, g.x, line(one.at, OUTER, u)) end)
  local inside = math.max(a, 1 - b, low, 1 - high) < 1e-6
  local xs, ys = {}, {}
  for i, c in ipairs(PLACES) do
    xs[i] = line(OUTER, one.at, c)
    if not inside and math.abs(c) <= FAR then
      local share = math.max(0, math.min(1, (share_below(c) - a) / math.max(b - a, 1e-9)))
      c = level_of(low + share * (high - low))
    end
    ys[i] = stretched(c)
  end
  return whole(xs, ys)
end

--- The coordinate c of the number that is taken to u.
-- @tparam table one of `measure`
-- @tparam ?table g of `map`; nil: none
-- @tparam number u
-- @treturn number
function recalibrated.coordinate_before(one, g, u)
  if not g then return recalibrated.coordinate(one, u) end
  local xs, ys = map_of(one, g)
  return line(one.at, OUTER, line(ys, xs, place(one, u)))
end

--- The same of a number of a cell of the cube, of which a share of the draws in the cell is below: as draws of a value
-- of a grid lie.
-- @tparam table one of `measure`
-- @tparam ?table g of `map`
-- @tparam table cell low, high, share
-- @treturn number
function recalibrated.coordinate_within(one, g, cell)
  local a = recalibrated.coordinate_before(one, g, cell.low)
  local b = recalibrated.coordinate_before(one, g, cell.high)
  local below, above = share_below(a), share_below(b)
  if above - below > NEGLIGIBLE then return level_of(below + cell.share * (above - below)) end
  -- the cut of a circle is in it, or there are no draws
  return recalibrated.coordinate_before(one, g, cell.low + cell.share * (cell.high - cell.low))
end

--- The value of a map g.
function recalibrated.value(g, c) return line(g.x, g.y, c) end

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
-- @tparam {table|false,...} maps g of each parameter, as of `map`; false: none
function recalibrated.new(base, latent, maps)
  return setmetatable({ base = base, maps = maps, kinds = recalibrated.kinds(latent), name = base.name }, Head)
end

-- The base's own numbers.
function Head:numbers(h)
  return core.slice(h, 2, 1, h.shape[2] - PER * #self.kinds)
end

--- h of the base, followed by the maps of each output.
-- @tparam tensor h (N, outputs)
-- @treturn tensor (N, outputs + 59 K)
function Head:extend(h)
  if h.shape[1] == 0 then return core.zeros(0, h.shape[2] + PER * #self.kinds) end
  local rows = {}
  for i, parameters in ipairs(recalibrated.measure(self.base, h, self.kinds)) do
    local row = {}
    for k, one in ipairs(parameters) do
      local xs, ys = whole({}, {})
      if one and self.maps[k] then xs, ys = map_of(one, self.maps[k]) end
      row[#row + 1] = one and one.cut or 0
      table.move(xs, 1, KNOTS, #row + 1, row)
      table.move(ys, 1, KNOTS, #row + 1, row)
    end
    rows[i] = row
  end
  return core.concat({ h, core.tensor(rows) }, 2)
end

-- Points u (N, M) of parameter k through the maps, or back; also the logarithms of the slopes.
local function through(self, h, k, u, back)
  local from = h.shape[2] - PER * (#self.kinds - k + 1)
  local function columns(a, b) return core.slice(h, 2, from + a, from + b) end
  local cut, xs, ys = columns(1, 1), columns(2, 1 + KNOTS), columns(2 + KNOTS, PER)
  local circle = self.kinds[k] == "circle"
  if circle then u = wrapped(u - cut) end
  local result = core.piecewise_linear(u, back and ys or xs, back and xs or ys)
  local to = core.clamp(result[1], 0, 1)
  return circle and wrapped(to + cut) or to, result[2]
end

-- The same of all parameters that have a map: u (N, M, K), and the sums of the logarithms (N, M).
local function all_through(self, h, u, back)
  local n, M, columns, total = u.shape[1], u.shape[2], {}, nil
  for k = 1, #self.kinds do
    columns[k] = cube.column(u, k)
    if self.maps[k] then
      local to, slopes = through(self, h, k, core.reshape(columns[k], n, M), back)
      columns[k], total = core.reshape(to, n, M, 1), total and total + slopes or slopes
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, 3), total or core.zeros(n, M)
end

function Head:sample(h, n, rng)
  local u = self.base:sample(self:numbers(h), n, rng)
  return u.count == 0 and u or (all_through(self, h, u, false))
end

function Head:log_prob(h, u)
  if u.count == 0 then return self.base:log_prob(self:numbers(h), u) end
  local before, slopes = all_through(self, h, u, true)
  return self.base:log_prob(self:numbers(h), before) + slopes
end

function Head:typical(h) return self.base:typical(self:numbers(h)) end

function Head:candidates(h, n) return self.base:candidates(self:numbers(h), n) end

return recalibrated
