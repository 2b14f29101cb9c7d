--- The unit cube on which densities of posteriors are defined: one number u in [0, 1] a parameter.
--
--   interval   the prior's distribution function: linear between the bounds, or in the logarithm, where no other prior
--              is declared; so a parameter whose range is less than its period
--   circle     the phase in turns from low
--   class      class c of n: (c - 1/2) / n
--
-- A value of a grid (parameter.grid) is a cell of the cube; draws are at its middle, and `dequantised` points, on which
-- densities are trained, anywhere in it (Theis, van den Oord and Bethge 2016). On a circle the cells are about its
-- phases.
--
-- Under the priors of parameters (simvae.simulator.marginal) the prior is uniform on it.
local core = require "simvae.core"
local marginal = require "simvae.simulator.marginal"
local parameter = require "simvae.simulator.parameter"
local streams = require "simvae.util.streams"

local cube = {}

local WHOLE = 1 + 1e-6

--- The kind of a parameter on the cube: "interval", "circle" or "class".
-- @tparam table part of a Latent
-- @treturn string
function cube.kind(part)
  return parameter.share_kind(part.param)
end

local function range(part) return parameter.share_range(part.param) end

--- One column of a batch of points.
-- @tparam tensor t (…, K)
-- @tparam integer i
-- @treturn tensor (…, 1)
function cube.column(t, i)
  return core.slice(t, t.ndim, i, i)
end

--- One-hot vectors of classes.
-- @tparam tensor u (…, 1)
-- @tparam integer levels
-- @treturn tensor (…, levels)
function cube.one_hot(u, levels)
  local centres = (core.arange(1, levels) - 0.5) / levels
  return core.clamp(1 - core.abs(u - centres) * levels, 0, 1)
end

--- The points of classes.
-- @tparam tensor class whole numbers from 1
-- @tparam integer levels
-- @treturn tensor of the same shape
function cube.of_class(class, levels)
  return (class - 0.5) / levels
end

-- The number of each point's cell, from 0 to `last`: v (…, 1).
local function cell_of(v, cells, last)
  return core.sum(core.clamp((v - core.arange(1, last) / cells) * 1e9, 0, 1), v.ndim, true)
end

-- Points v (…, 1) as shares of the range: of a grid that of their value.
local function snapped(part, v)
  local p = part.param
  if not p.grid then return v end
  local cells = parameter.cells(p)
  if cells == p.grid then return cell_of(v, cells, cells - 1) / (cells - 1) end
  local number = cell_of(v + 0.5 / cells, cells, cells)
  return (number - core.clamp((number - cells + 0.5) * 1e9, 0, 1) * cells) / cells -- the last cell is the first one
end

-- The points of shares of the range, (…, 1): of a grid the middle of their cell.
local function middle(part, share)
  local p = part.param
  if not p.grid then return share end
  local cells = parameter.cells(p)
  if cells < p.grid then return snapped(part, share) end
  return (cell_of((share * (cells - 1) + 0.5) / cells, cells, cells - 1) + 0.5) / cells
end

--- Points of which those of a grid lie anywhere in their cells.
-- @tparam Latent latent
-- @tparam tensor u (N, K)
-- @tparam rng rng
-- @treturn tensor (N, K)
function cube.dequantised(latent, u, rng)
  if not latent.gridded then return u end
  local columns = {}
  for i, part in ipairs(latent.parts) do
    local v = cube.column(u, i)
    if part.param.grid then
      v = v + (rng:uniform(0, 1, v.shape) - 0.5) / parameter.cells(part.param)
      if cube.kind(part) == "circle" then v = v + core.clamp(v * -1e9, 0, 1) else v = core.clamp(v, 0, 1) end
    end
    columns[i] = v
  end
  return #columns == 1 and columns[1] or core.concat(columns, 2)
end

--- Parameters at points of the cube.
-- @tparam Latent latent
-- @tparam tensor u (…, K)
-- @treturn tensor (…, K), in units, within the bounds
function cube.to_units(latent, u)
  local columns, last = {}, u.ndim
  for i, part in ipairs(latent.parts) do
    local p, v = part.param, snapped(part, cube.column(u, i))
    if part.kind == "class" then
      local shape = v.shape
      columns[i] = core.reshape(core.argmax(cube.one_hot(v, p.levels), last), shape)
    elseif p.prior then
      columns[i] = marginal.of(p):values(core.normal_quantile(v))
    elseif p.scale == "log" then
      columns[i] = core.clamp(core.exp(v * parameter.range(p)) * p.low, p.low, p.high)
    else
      columns[i] = core.clamp(v * range(part) + p.low, p.low, math.max(p.high, p.low + range(part)))
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, last)
end

--- Codes at points of the cube, by tensor ops; so codes of fresh draws need no parameters in units.
-- @tparam Latent latent
-- @tparam tensor u (…, K)
-- @treturn tensor (…, size)
function cube.to_code(latent, u)
  local pieces = {}
  for i, part in ipairs(latent.parts) do
    local v = snapped(part, cube.column(u, i))
    if part.param.prior then
      pieces[#pieces + 1] = core.clamp(core.normal_quantile(v), -part.limit, part.limit)
    elseif part.kind == "interval" then
      pieces[#pieces + 1] = v * 2 - 1
    elseif part.kind == "circle" then
      local phase = v * (2 * math.pi * range(part) / part.param.period)
      pieces[#pieces + 1], pieces[#pieces + 2] = core.cos(phase), core.sin(phase)
    else
      pieces[#pieces + 1] = cube.one_hot(v, part.param.levels)
    end
  end
  return #pieces == 1 and pieces[1] or core.concat(pieces, u.ndim)
end

--- Phases of points near the unit circle.
-- @tparam tensor c cosines, of any shape
-- @tparam tensor s sines
-- @treturn tensor of their shape: turns, in [0, 1)
function cube.phase_of(c, s)
  local turns = core.atan2(s, c) / (2 * math.pi)
  return turns - core.floor(turns)
end

--- Points of the cube from codes within the support.
-- @tparam Latent latent
-- @tparam tensor code (N, size)
-- @treturn tensor (N, K)
function cube.from_code(latent, code)
  local columns = {}
  for i, part in ipairs(latent.parts) do
    local c = core.slice(code, 2, part.first, part.last)
    if part.param.prior then
      columns[i] = core.normal_cdf(c)
    elseif part.kind == "interval" then
      columns[i] = middle(part, core.clamp((c + 1) * 0.5, 0, 1))
    elseif part.kind == "circle" then
      local phase = cube.phase_of(core.slice(c, 2, 1, 1), core.slice(c, 2, 2, 2))
      columns[i] = middle(part, core.clamp(phase * (part.param.period / range(part)), 0, 1))
    else
      columns[i] = cube.of_class(core.reshape(core.argmax(c, 2), -1, 1), part.param.levels)
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, 2)
end

-- Shares of values one by one.
local function shares(p, v)
  local rows = core.reshape(v, -1):totable()
  for i, x in ipairs(rows) do rows[i] = parameter.share(p, x) end
  return core.reshape(core.tensor(rows), v.shape)
end

--- Points of the cube from parameters within the prior's support, by tensor ops where the prior is uniform.
-- @tparam Latent latent
-- @tparam tensor z (N, K), in units
-- @treturn tensor (N, K) in [0, 1]
function cube.points(latent, z)
  local columns = {}
  for i, part in ipairs(latent.parts) do
    local p, v = part.param, cube.column(z, i)
    if part.kind == "class" then
      columns[i] = cube.of_class(v, p.levels)
    elseif p.prior and marginal.of(p):scores(v) then
      columns[i] = core.normal_cdf(marginal.of(p):scores(v))
    elseif p.prior or p.period then
      columns[i] = shares(p, v)
    elseif p.scale == "log" then
      columns[i] = core.clamp(core.log(v / p.low) / parameter.range(p), 0, 1)
    else
      columns[i] = middle(part, core.clamp((v - p.low) / range(part), 0, 1))
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, 2)
end

--- Draws of a simulator's prior on the cube, by tensor ops where its parameters are independent. Draw i of a seed is a
-- function of the seed and i; it is another one than sim:sample's, which is drawn in units.
-- @tparam Latent latent of the simulator
-- @tparam Simulator sim
-- @tparam integer n
-- @tparam rng rng n samples of it are used up
-- @treturn tensor (n, K); cube.to_code and cube.to_units give the draws' codes and parameters
function cube.draw(latent, sim, n, rng)
  local K = #latent.parts
  local wound = false -- more than once round a circle
  for _, part in ipairs(latent.parts) do
    wound = wound or cube.kind(part) == "circle" and part.param.high - part.param.low > part.param.period * WHOLE
  end
  if sim.prior or sim.draws or wound or latent.gridded then
    return cube.points(latent, sim:sample(n, rng))
  end
  local seed, first = rng:samples(n)
  local u = streams.cube(seed, first * K):uniform(0, 1, { n, K })
  if latent.plain then return u end
  local columns = {}
  for i, part in ipairs(latent.parts) do
    local v = cube.column(u, i)
    if part.kind == "class" then
      local levels = part.param.levels
      local edges = core.arange(1, levels - 1) / levels
      v = cube.of_class(core.sum(core.clamp((v - edges) * 1e9, 0, 1), 2, true) + 1, levels)
    elseif part.kind == "circle" and cube.kind(part) == "circle" then
      v = v * ((part.param.high - part.param.low) / part.param.period)
    end
    columns[i] = v
  end
  return #columns == 1 and columns[1] or core.concat(columns, 2)
end

--- The logarithm of a simulator's prior density over the cube, where its marginal priors are uniform.
-- @tparam Latent latent
-- @tparam Simulator sim
-- @tparam tensor u (N, K)
-- @treturn ?tensor (N,); nil where the prior is a function without a density
function cube.log_prior(latent, sim, u)
  local z = cube.to_units(latent, u)
  local log = sim:log_prior(z)
  if not log then return nil end
  local _, slopes = cube.from_units(latent, z:totable())
  return log - core.tensor(slopes)
end

-- ---- from units ---------------------------------------------------------------------------

--- Points of the cube from parameters.
-- @tparam Latent latent
-- @tparam {table,...} rows lists of K values, in units
-- @treturn {table,...} lists of K numbers in [0, 1]; 0.5 for a value outside the prior's support
-- @treturn {number,...} log |du/dz| of each row: 0 for classes, -inf outside the support
function cube.from_units(latent, rows)
  local share, log_slope = parameter.share, parameter.log_share_slope
  local points, slopes = {}, {}
  for n, row in ipairs(rows) do
    local point, slope = {}, 0
    for i, part in ipairs(latent.parts) do
      local u = share(part.param, row[i])
      point[i] = u or 0.5
      slope = u and slope + log_slope(part.param, row[i]) or -math.huge
    end
    points[n], slopes[n] = point, slope
  end
  return points, slopes
end

return cube
