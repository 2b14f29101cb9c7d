--- Conversions between parameters in units, codes and points of the unit cube by tensor ops alone, as graphs need them.
-- simvae.model.latent and simvae.posterior.support.cube convert values one by one, in double precision.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local marginal = require "simvae.simulator.marginal"
local parameter = require "simvae.simulator.parameter"
local refuse = require "simvae.export.support.refuse"

local units = {}

local STEEP = 1e9 -- slope of a step: numbers in single precision are further apart, or equal

local function joined(columns, axis)
  return #columns == 1 and columns[1] or core.concat(columns, axis)
end

-- 1 where v >= edges, else 0.
local function at_least(v, edges) return 1 - core.clamp((edges - v) * STEEP, 0, 1) end

-- ---- scores of priors ------------------------------------------------------------------------------

local KNOTS, MOST_KNOTS = 1025, 65537
local PRECISION = 1e-6

-- A function of one number as tables for core.cubic_hermite: values and slopes at equidistant knots, as many as the
-- precision takes.
local function tabulated(f, low, high, what)
  local count = KNOTS
  while true do
    local values, slopes, step = {}, {}, (high - low) / (count - 1)
    for k = 1, count do
      local at, near = low + step * (k - 1), step * 1e-3
      values[k] = f(at)
      slopes[k] = (f(math.min(high, at + near)) - f(math.max(low, at - near)))
        / (math.min(high, at + near) - math.max(low, at - near))
    end
    local far = 0
    for k = 1, count - 1 do
      local middle = (values[k] + values[k + 1]) / 2 + step * (slopes[k] - slopes[k + 1]) / 8
      far = math.max(far, math.abs(middle - f(low + step * (k - 0.5))))
    end
    if far < PRECISION then return core.tensor(values), core.tensor(slopes) end
    if count == MOST_KNOTS then refuse.because("%s varies too fast to be tabulated", what) end
    count = 2 * count - 1
  end
end

local TINY = 1e-30

-- A prior's variable t of values (…, 1), and its bounds, where scores have their limit.
local function variable(m, v)
  local p, a, kind, limit = m.p, m.numbers, m.p.prior[1], marginal.LIMIT
  local low = m:quantile_t(core.distribution.cdf("normal", -limit))
  local high = m:quantile_t(core.distribution.cdf("normal", limit))
  local t
  if kind == "normal" then
    t = (v - a[1]) / a[2]
  elseif kind == "lognormal" then
    t = (core.log(core.maximum(v, TINY)) - a[1]) / a[2]
  elseif kind == "gamma" then
    t = core.log(core.maximum(v / a[2], TINY))
  else
    local below, above = v - p.low, p.high - v
    if p.scale == "log" then below, above = core.log(v / p.low), core.log(p.high / v) end
    t = core.log(core.maximum(below, TINY) / core.maximum(above, TINY))
  end
  return core.clamp(t, low, high), low, high
end

-- The scores of values (…, 1) of a prior without its bounds: of gamma and beta a table over t, in which they are
-- smooth.
local function unbounded_scores(p, m, v)
  local t, low, high = variable(m, v)
  if m.kind.straight then return t end
  local function f(at) return core.distribution.quantile("normal", m:cdf(at)) end
  local values, slopes = tabulated(f, low, high, string.format("the score of '%s'", p.name))
  return core.cubic_hermite(t, values, slopes, low, high)
end

-- The scores of values (…, 1), within the limit; of a prior that its bounds cut off from the share on the nearer side.
local function scores_of(p, v)
  local m, limit = marginal.of(p), marginal.LIMIT
  local scores = unbounded_scores(p, m, v)
  if m.cut then
    local below = core.clamp((core.normal_cdf(scores) - m.below) / m.mass, 1e-30, 1)
    local above = core.clamp((core.normal_cdf(-scores) - m.above) / m.mass, 1e-30, 1)
    local upper = at_least(below, core.tensor { 0.5 })
    scores = core.normal_quantile(core.clamp(below, 0, 0.6)) * (1 - upper)
      - core.normal_quantile(core.clamp(above, 0, 0.6)) * upper
  end
  return core.clamp(scores, -limit, limit)
end

-- How fast values v, of scores within the limit, change with their scores.
local function slope_of(p, v, scores)
  local m, limit, a, kind = marginal.of(p), marginal.LIMIT, marginal.of(p).numbers, p.prior[1]
  local by_t = kind == "normal" and core.full(a[2], { 1 }) or kind == "lognormal" and v * a[2] or v
  if m.kind.straight and not m.cut then return by_t end
  local function t_of(score) return m:quantile_t(core.distribution.cdf("normal", score)) end
  local what = string.format("the spread of '%s'", p.name)
  local values, slopes = tabulated(function(score)
    return math.log(m.mass) + core.distribution.log_density("normal", score)
      - core.distribution.log_density(m.of, t_of(score), a[1], a[2])
  end, -limit, limit, what)
  local by_score = core.exp(core.cubic_hermite(scores, values, slopes, -limit, limit))
  if kind == "beta" then
    values, slopes = tabulated(t_of, -limit, limit, what)
    local t = core.cubic_hermite(scores, values, slopes, -limit, limit)
    by_t = core.sigmoid(t) * core.sigmoid(-t)
    by_t = p.scale == "log" and by_t * v * math.log(p.high / p.low) or by_t * (p.high - p.low)
  end
  return by_score * by_t
end

-- ---- codes -----------------------------------------------------------------------------------------

local function is_linear(part) return part.kind == "interval" and not part.param.prior and part.param.scale ~= "log" end

-- One number of each parameter, as a constant.
local function row(latent, f)
  local list = {}
  for i, part in ipairs(latent.parts) do list[i] = f(part.param) end
  return core.tensor(list)
end

local function all_linear(latent)
  for _, part in ipairs(latent.parts) do
    if not is_linear(part) then return false end
  end
  return true
end

-- The codes of one parameter's values (N, 1).
local function code_of(part, v)
  local p = part.param
  if part.kind == "class" then
    local classes = core.arange(1, p.levels)
    local from = core.concat({ core.tensor { -1e6 }, core.slice(classes, 1, 2) - 0.5 }, 1)
    local to = core.concat({ core.slice(classes, 1, 1, p.levels - 1) + 0.5, core.tensor { 1e6 } }, 1)
    return at_least(v, from) - at_least(v, to)
  elseif part.kind == "circle" then
    local phase = (v - p.low) * (2 * math.pi / p.period)
    return core.concat({ core.cos(phase), core.sin(phase) }, 2)
  elseif p.prior then
    return scores_of(p, v)
  elseif p.scale == "log" then
    return core.log(v / p.low) * (2 / math.log(p.high / p.low)) - 1
  end
  return (v - p.low) * (2 / (p.high - p.low)) - 1
end

--- Units to code (Latent:to_code).
-- @tparam Latent latent
-- @tparam tensor z (N, K)
-- @treturn tensor (N, size)
function units.to_code(latent, z)
  if all_linear(latent) then
    local low, range = row(latent, function(p) return p.low end), row(latent, function(p) return p.high - p.low end)
    return (z - low) * (2 / range) - 1
  end
  local columns = {}
  for i, part in ipairs(latent.parts) do columns[i] = code_of(part, cube.column(z, i)) end
  return joined(columns, 2)
end

-- One parameter's values (N, 1) from its codes (N, width), and their standard deviations.
local function value_of(part, c, s)
  local p = part.param
  if part.kind == "class" then
    local class = core.reshape(core.argmax(c, 2), c.shape[1], 1)
    local numbers = core.arange(1, p.levels)
    local mean, square = core.sum(c * numbers, 2, true), core.sum(c * core.square(numbers), 2, true)
    return class, core.sqrt(core.relu(square - core.square(mean)))
  elseif part.kind == "circle" then
    local turns = cube.phase_of(core.slice(c, 2, 1, 1), core.slice(c, 2, 2, 2))
    local spread = core.sqrt(core.mean(core.square(s), 2, true))
    return turns * p.period + p.low, spread * (p.period / (2 * math.pi))
  elseif p.prior then
    local v = marginal.of(p):values(c)
    return v, s * slope_of(p, v, core.clamp(c, -marginal.LIMIT, marginal.LIMIT))
  elseif p.scale == "log" then
    local range = math.log(p.high / p.low)
    local v = core.exp((c + 1) * (range / 2)) * p.low
    return v, s * v * (range / 2)
  end
  local half = (p.high - p.low) / 2
  return (c + 1) * half + p.low, s * half
end

--- Code to units, of means and standard deviations (Latent:to_units).
-- @tparam Latent latent
-- @tparam tensor mean (N, size)
-- @tparam tensor std (N, size)
-- @treturn tensor (N, K)
-- @treturn tensor (N, K)
function units.from_code(latent, mean, std)
  if all_linear(latent) then
    local low = row(latent, function(p) return p.low end)
    local half = row(latent, function(p) return (p.high - p.low) / 2 end)
    return (mean + 1) * half + low, std * half
  end
  local means, stds = {}, {}
  for i, part in ipairs(latent.parts) do
    means[i], stds[i] = value_of(part, core.slice(mean, 2, part.first, part.last),
      core.slice(std, 2, part.first, part.last))
  end
  return joined(means, 2), joined(stds, 2)
end

-- ---- points of the cube -------------------------------------------------------------------------------

-- Constants of the densities of gamma and beta: what their logarithm has beside the terms with t.
local function log_density_of(m, t)
  local a, kind, distribution = m.numbers, m.p.prior[1], core.distribution
  local function rest(terms_at_0) return distribution.log_density(m.of, 0, a[1], a[2]) - terms_at_0 end
  if kind == "gamma" then return t * a[1] - core.exp(t) + rest(-1) end
  if kind == "beta" then
    return core.softplus(-t) * -a[1] - core.softplus(t) * a[2] + rest(-(a[1] + a[2]) * math.log(2))
  end
  return core.square(t) * -0.5 - 0.5 * math.log(2 * math.pi)
end

-- log dt/dv of values (…, 1).
local function log_slope_of(m, v)
  local p, a, kind = m.p, m.numbers, m.p.prior[1]
  if kind == "normal" then return -math.log(a[2]) end
  if kind == "lognormal" then return core.log(v) * -1 - math.log(a[2]) end
  if kind == "gamma" then return core.log(v) * -1 end
  local below, above = core.maximum(v - p.low, TINY), core.maximum(p.high - v, TINY)
  if p.scale ~= "log" then return core.log((below + above) / below / above) end
  below, above = core.maximum(core.log(v / p.low), TINY), core.maximum(core.log(p.high / v), TINY)
  return core.log((below + above) / v / below / above)
end

-- 1 within the bounds of a parameter, as parameter.outside takes them, else 0.
local function inside_of(p, v)
  if p.levels then
    return at_least(v, core.tensor { 0.999999 }) * at_least(-v, core.tensor { -p.levels - 1e-6 })
      * at_least(-core.abs(v - core.floor(v + 0.5)), core.tensor { -1e-6 })
  end
  local ends = p.axis or p
  local by = parameter.TOLERANCE * parameter.range(p)
  local low, high = p.low, p.high
  if p.scale == "log" then
    low, high = low * math.exp(-by), high * math.exp(by)
  else
    by = by + 2^-23 * math.max(math.abs(ends.low), math.abs(ends.high))
    low, high = low - by, high + by
  end
  local inside
  if low > -math.huge then inside = at_least(v, core.tensor { low }) end
  if high < math.huge then
    local below = at_least(-v, core.tensor { -high })
    inside = inside and inside * below or below
  end
  return inside or v * 0 + 1
end

-- A parameter's values (…, 1) as points of the cube, the logarithms of the slopes, and 1 within the support.
local function point_of(part, v)
  local p, kind = part.param, parameter.share_kind(part.param)
  if p.levels then return (v - 0.5) / p.levels, v * 0, inside_of(p, v) end
  if p.period then
    local turns = (v - p.low) / p.period
    v = (turns - core.floor(turns)) * p.period + p.low
  end
  local inside = kind == "circle" and v * 0 + 1 or inside_of(p, v)
  if p.grid then
    local cells = parameter.cells(p)
    local at = core.floor((v - p.low) * ((p.grid - 1) / (p.high - p.low)) + 0.5)
    if kind == "circle" then at = at - core.floor(at / cells) * cells else at = core.clamp(at, 0, cells - 1) + 0.5 end
    return at / cells, v * 0 - math.log(cells), inside
  elseif kind == "circle" then
    return (v - p.low) / p.period, v * 0 - math.log(p.period), inside
  elseif p.prior then
    local m = marginal.of(p)
    local t = variable(m, v)
    local log = log_density_of(m, t) + log_slope_of(m, core.clamp(v, m.within.low, m.within.high)) - math.log(m.mass)
    return core.normal_cdf(scores_of(p, v)), log, inside
  end
  v = core.clamp(v, p.low, p.high)
  if p.scale == "log" then
    return core.clamp(core.log(v / p.low) / parameter.range(p), 0, 1), core.log(v * parameter.range(p)) * -1, inside
  end
  return core.clamp((v - p.low) / (p.high - p.low), 0, 1), v * 0 - math.log(parameter.share_range(p)), inside
end

--- Points of the cube from parameters (cube.from_units).
-- @tparam Latent latent
-- @tparam tensor z (N, M, K), in units
-- @treturn tensor (N, M, K) in [0, 1]
-- @treturn tensor (N, M): log |du/dz|, -inf outside the support
function units.points(latent, z)
  local columns, log, inside = {}, nil, nil
  for i, part in ipairs(latent.parts) do
    local u, slope, within = point_of(part, cube.column(z, i))
    columns[i] = core.clamp(u, 0, 1)
    log, inside = log and log + slope or slope, inside and inside * within or within
  end
  log = log + core.log(inside)
  return joined(columns, 3), core.reshape(log, z.shape[1], z.shape[2])
end

return units
