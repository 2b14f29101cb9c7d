--- Densities over the unit cube of mixtures of normal distributions, and draws of them.
--
-- A component is a product: of intervals (and of scores, which have no bounds) a normal distribution with correlations,
-- of a circle a wrapped one over the phase, of a class the probabilities themselves. The correlations are given by the
-- Cholesky factor L of their matrix: in the order of the parameters, value i has the conditional mean
--
--     m_i + s_i sum_(j < i) L_ij e_j      where e_j = (value_j - its conditional mean) / (s_j L_jj)
--
-- and the conditional standard deviation s_i L_ii. On an interval this conditional distribution is truncated to the
-- prior's bounds, its mean first to the nearest bound; so the density is normalised exactly, and far from the bounds
-- that of the normal distribution with these correlations.
--
-- Components are tables: mean and std (N, A, size), over codes; log (N, A), the logarithms of their probabilities; and
-- factor (N, A, P), nil without correlations: for line i (an interval or score) numbers r_ij of the lines j < i before
-- it, with L_ij = r_ij L_ii and L_ii = 1 / sqrt(1 + sum_j r_ij^2).
local categorical = require "simvae.posterior.support.categorical"
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local take_rows = require "simvae.util.take_rows"

local density = {}

-- Is a parameter a line: an interval, or a score?
local function is_line(part) return cube.kind(part) == "interval" or part.param.prior ~= nil end

--- How many numbers the correlations of a component take.
-- @tparam Latent latent
-- @treturn integer
function density.pairs(latent)
  local lines = 0
  for _, part in ipairs(latent.parts) do lines = lines + (is_line(part) and 1 or 0) end
  return lines * (lines - 1) // 2
end

-- ---- factors of components ------------------------------------------------------------------

-- The share of a normal distribution that lies in [0, 1]: at least a quarter, as its mean does.
local function inside(mean, std)
  return core.normal_cdf((1 - mean) / std) - core.normal_cdf(-mean / std)
end

-- A mean within [0, 1] on an arc of a circle, from its phase: beyond the arc, the nearer end.
local function on_arc(phase, gap)
  local u = phase * gap
  local past = core.clamp((u - (1 + gap) / 2) * 1e6, 0, 1):detach()
  return core.clamp(u - past * gap, 0, 1)
end

-- Phases in turns of points near the unit circle, with the derivatives of atan2; of its centre, 0.
local function phase_of(c, s)
  local x, y = c:detach(), s:detach()
  return cube.phase_of(x, y) + (x * s - y * c) / ((core.square(x) + core.square(y) + 1e-12) * (2 * math.pi))
end

-- The factors of components on the cube, one a parameter: kind, and mean and std (N, A, 1), or log probabilities
-- (N, A, levels) of a class.
local function factors(latent, t)
  local list = {}
  for i, part in ipairs(latent.parts) do
    local kind = cube.kind(part)
    local m, s = core.slice(t.mean, 3, part.first, part.last), core.slice(t.std, 3, part.first, part.last)
    if kind == "class" then
      local share = core.clamp(m, 1e-7, 1)
      list[i] = { kind = kind, levels = part.param.levels, log = core.log(share / core.sum(share, 3, true)) }
    elseif part.param.prior then
      list[i] = { kind = "score", mean = m, std = s, limit = part.limit }
    elseif part.kind == "circle" then
      local p, gap = part.param, 1
      local phase = phase_of(core.slice(m, 3, 1, 1), core.slice(m, 3, 2, 2))
      local spread = core.sqrt(core.mean(core.square(s), 3, true)) / (2 * math.pi)
      if kind == "interval" then gap = p.period / (p.high - p.low) end
      list[i] = { kind = kind, mean = kind == "interval" and on_arc(phase, gap) or phase, std = spread * gap }
    else
      list[i] = { kind = kind, mean = (core.clamp(m, -1, 1) + 1) / 2, std = s / 2 }
    end
  end
  return list
end

-- Row i of the factor L: the sum of L_ij e_j, nil for 0, and L_ii; e: of the lines before it.
local function conditional(numbers, e, take)
  local i = #e + 1
  if not numbers or i == 1 then return nil, 1 end
  local first, sum, squares = (i - 1) * (i - 2) // 2, nil, nil
  for j = 1, i - 1 do
    local r = take(core.slice(numbers, 3, first + j, first + j))
    local term, square = r * e[j], core.square(r)
    sum, squares = sum and sum + term or term, squares and squares + square or square
  end
  local own = 1 / core.sqrt(squares + 1)
  return sum * own, own
end

-- ---- density ----------------------------------------------------------------------------------

local WRAPS = 3 -- turns of a wrapped normal distribution on either side; its std is at most 0.44 turns
local LOG_2PI = math.log(2 * math.pi)

-- Log density of a phase: u (N, M, 1), mean and std (N, 1, A) -> (N, M, A).
local function log_wrapped(u, mean, std)
  local turns, away = {}, u - mean
  for k = -WRAPS, WRAPS do turns[#turns + 1] = core.square((away + k) / std) * -0.5 end
  return core.logsumexp(core.stack(turns, 4), 4) - core.log(std) - 0.5 * LOG_2PI
end

-- Log density of a line, and how many conditional standard deviations it is off.
local function log_line(f, u, mean, std, shift, own)
  if shift then mean, std = mean + std * shift, std * own end
  if f.kind == "score" then -- the density of the score over that of the standard normal distribution
    local score = core.clamp(core.normal_quantile(u), -f.limit, f.limit)
    local e = (score - mean) / std
    return core.square(score) * 0.5 - core.square(e) * 0.5 - core.log(std), e
  end
  local centre = shift and core.clamp(mean, 0, 1) or mean
  return core.square((u - centre) / std) * -0.5 - core.log(std * inside(centre, std)) - 0.5 * LOG_2PI, (u - mean) / std
end

--- Log density over the unit cube.
-- @tparam Latent latent
-- @tparam table t components
-- @tparam tensor u (N, M, K)
-- @treturn tensor (N, M)
function density.log_prob(latent, t, u)
  local n, M, A = u.shape[1], u.shape[2], t.mean.shape[2]
  local function across(x) return core.reshape(x, n, 1, A) end
  local total, e = across(t.log), {}
  for i, f in ipairs(factors(latent, t)) do
    local column = cube.column(u, i)
    if f.kind == "class" then
      total = total + core.matmul(cube.one_hot(column, f.levels), core.transpose(f.log, 2, 3))
    elseif f.kind == "circle" then
      total = total + log_wrapped(column, across(f.mean), across(f.std))
    else
      local log, off = log_line(f, column, across(f.mean), across(f.std), conditional(t.factor, e, across))
      total, e[#e + 1] = total + log, off
    end
  end
  return core.reshape(core.logsumexp(core.expand(total, n, M, A), 3), n, M)
end

--- The joint probabilities of the classes: the components' products of probabilities, by their shares.
-- @tparam Latent latent
-- @tparam table t components
-- @treturn tensor (N, L1, L2, …), in the order of the parameters
function density.class_shares(latent, t)
  local N, A = t.mean.shape[1], t.mean.shape[2]
  local shape, joint = { N }, core.reshape(core.exp(t.log), N, A, 1)
  for _, f in ipairs(factors(latent, t)) do
    if f.kind == "class" then
      shape[#shape + 1] = f.levels
      joint = core.reshape(joint, N, A, -1, 1) * core.reshape(core.exp(f.log), N, A, 1, f.levels)
      joint = core.reshape(joint, N, A, -1)
    end
  end
  return core.reshape(core.sum(joint, 2), shape)
end

-- ---- draws ------------------------------------------------------------------------------------

local ROUNDS = 64 -- of redrawing; at least a quarter of a normal distribution lies inside

-- Normal numbers about mean, redrawn until in [0, 1].
local function truncated(mean, std, rng)
  local v = mean + std * rng:normal(mean.shape)
  for _ = 1, ROUNDS do
    if v:within(0, 1) then return v end
    local again = mean + std * rng:normal(mean.shape)
    local outside = core.clamp((core.abs(v - 0.5) - 0.5) * 1e30, 0, 1)
    v = v * (1 - outside) + again * outside
  end
  return core.clamp(v, 0, 1)
end

-- Phases in turns, wrapped into [0, 1]; those of spreads as wide as the circle lie a few turns away.
local function wrapped(u)
  for _ = 1, ROUNDS do
    if u:within(0, 1) then return u end
    u = u + core.clamp(u * -1e30, 0, 1) - core.clamp((u - 1) * 1e30, 0, 1)
  end
  return core.clamp(u, 0, 1)
end

-- Draws of a line, and how many conditional standard deviations they are off.
local function draw_line(f, mean, std, shift, own, rng)
  if shift then mean, std = mean + std * shift, std * own end
  if f.kind == "score" then
    local e = rng:normal(mean.shape)
    return core.normal_cdf(mean + std * e), e
  end
  local u = truncated(core.clamp(mean, 0, 1), core.expand(std, mean.shape), rng)
  return u, (u - mean) / std
end

--- Draws.
-- @tparam Latent latent
-- @tparam table t components
-- @tparam integer n
-- @tparam rng rng
-- @treturn tensor (N, n, K) points of the unit cube
function density.sample(latent, t, n, rng)
  local N, A, columns, e = t.mean.shape[1], t.mean.shape[2], {}, {}
  local index = A > 1 and categorical.draw(core.reshape(core.exp(t.log), N, 1, A), n, rng) or core.ones(N, n)
  local function take(x) return take_rows(x, index) end
  for i, f in ipairs(factors(latent, t)) do
    if f.kind == "class" then
      local class = categorical.draw(core.exp(take(f.log)), n, rng)
      columns[i] = core.reshape(cube.of_class(class, f.levels), N, n, 1)
    elseif f.kind == "circle" then
      columns[i] = wrapped(take(f.mean) + take(f.std) * rng:normal { N, n, 1 })
    else
      local shift, own = conditional(t.factor, e, take)
      columns[i], e[#e + 1] = draw_line(f, take(f.mean), take(f.std), shift, own, rng)
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, 3)
end

-- ---- draws from given uniform numbers --------------------------------------------------------------

local NEAR = 1e-7 -- of uniform numbers to 0 and 1, whose normal quantiles are infinite

--- How many uniform numbers a draw takes.
-- @tparam Latent latent
-- @tparam integer A components
-- @treturn integer
function density.uniforms(latent, A) return #latent.parts + (A > 1 and 1 or 0) end

-- A line at a uniform number, by the inverse of its distribution function, and how many conditional standard deviations
-- it is off.
local function line_at(f, mean, std, shift, own, v)
  if shift then mean, std = mean + std * shift, std * own end
  if f.kind == "score" then
    local e = core.normal_quantile(v)
    return core.normal_cdf(mean + std * e), e
  end
  local centre = core.clamp(mean, 0, 1)
  local low, high = core.normal_cdf(-centre / std), core.normal_cdf((1 - centre) / std)
  local u = core.clamp(centre + std * core.normal_quantile(core.clamp(low + v * (high - low), NEAR, 1 - NEAR)), 0, 1)
  return u, (u - mean) / std
end

--- Draws from uniform numbers, by tensor ops alone: of the component first, where there are several, then of each
-- parameter.
-- @tparam Latent latent
-- @tparam table t components
-- @tparam tensor v (N, n, density.uniforms) in [0, 1]
-- @treturn tensor (N, n, K) points of the unit cube
function density.transport(latent, t, v)
  local N, n, A, columns, e, at = v.shape[1], v.shape[2], t.mean.shape[2], {}, {}, 0
  v = core.clamp(v, NEAR, 1 - NEAR)
  local function uniform()
    at = at + 1
    return cube.column(v, at)
  end
  local index = A > 1 and categorical.of(core.reshape(core.exp(t.log), N, 1, A), uniform())
  local function take(x) return index and take_rows(x, index) or core.expand(x, { N, n, x.shape[3] }) end
  for i, f in ipairs(factors(latent, t)) do
    if f.kind == "class" then
      columns[i] = core.reshape(cube.of_class(categorical.of(core.exp(take(f.log)), uniform()), f.levels), N, n, 1)
    elseif f.kind == "circle" then
      local turns = take(f.mean) + take(f.std) * core.normal_quantile(uniform())
      columns[i] = turns - core.floor(turns)
    else
      local shift, own = conditional(t.factor, e, take)
      columns[i], e[#e + 1] = line_at(f, take(f.mean), take(f.std), shift, own, uniform())
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, 3)
end

return density
