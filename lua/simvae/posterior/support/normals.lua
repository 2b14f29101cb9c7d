--- Mixtures of normal distributions with diagonal covariances, over codes: the heads "gaussian" (one component) and
-- "mixture".
--
-- An output's numbers are, of each component, `size` means and `size` logarithms of standard deviations, then the
-- logits of the components' probabilities where there are several. As a density over the unit cube, a component is a
-- product: of an interval a normal distribution truncated to the prior's bounds (of scores, which have none, a normal
-- distribution of the score), of a circle a wrapped one over the phase, of a class the probabilities themselves.
local categorical = require "simvae.posterior.support.categorical"
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"

local ALL = 0.05    -- weight of the components that are not the nearest, so that all are trained
local SPREAD = 0.02 -- weight of the standard deviations' likelihood, which follow the errors and must not dominate them
local SCORE = 0.02  -- weight of the probabilities' cross-entropy
local LOW, HIGH = -7, 1 -- logarithms of standard deviations in code space
local SHIFT = 1           -- offset of the encoder's output from the logarithm

local Normals = {}
Normals.__index = Normals

--- A head of A components.
-- @tparam table t latent, bounded
-- @tparam integer A
-- @treturn table head as of simvae.posterior
local function new(t, A)
  local size = t.latent.size
  return setmetatable({
    latent = t.latent, bounded = t.bounded, count = A, size = size, outputs = 2 * A * size + (A > 1 and A or 0),
    locations = { count = A, size = size },
    needs_sleep = A > 1 and string.format("the probabilities of the posterior's %d components", A) or nil,
  }, Normals)
end

-- Row (n - 1) A + a is component a of output n: means and standard deviations (N A, size), the numbers that the means
-- come from, and logits of the probabilities (N, A), nil where A is 1.
local function split(self, h)
  local n, A, score = self.size, self.count, nil
  if A > 1 then
    score = core.slice(h, 2, 2 * n * A + 1)
    h = core.reshape(core.slice(h, 2, 1, 2 * n * A), -1, 2 * n)
  end
  local raw, log_std = core.slice(h, 2, 1, n), core.slice(h, 2, n + 1, 2 * n)
  local mean = self.bounded and self.latent:squash(raw, self.bounded) or raw
  return mean, core.exp(core.clamp(log_std - SHIFT, LOW, HIGH)), raw, score
end

-- One row of each sample's: t (N, A, size), index (N,) from 1 -> (N, size).
local function pick(t, index)
  local n, size = index.shape[1], t.shape[3]
  return core.reshape(core.gather(t, core.expand(core.reshape(index, n, 1, 1), n, 1, size), 2), n, size)
end

-- One component of each sample's: t (N A, size), index (N,) -> (N, size).
local function choose(self, t, index)
  return pick(core.reshape(t, index.shape[1], self.count, t.shape[2]), index)
end

-- ---- training -----------------------------------------------------------------------------

function Normals:draw(h, rng, noise)
  local mean, std, raw, score = split(self, h)
  if score then
    local best = core.argmax(score:detach(), 2)
    mean, std, raw = choose(self, mean, best), choose(self, std, best), choose(self, raw, best)
  end
  local code = noise > 0 and mean + std * rng:normal(mean.shape) * noise or mean
  return code, mean, self.bounded == "clamp" and self.latent:overshoot(raw) or nil
end

--- The component nearest to any of the equivalent causes is trained, its probability by the cross-entropy of that
-- choice (multiple choice learning: Guzmán-Rivera, Batra and Kohli 2012), and its standard deviation by a normal
-- distribution's likelihood.
function Normals:loss(h, codes)
  local A, M, n, size = self.count, #codes, h.shape[1], self.size
  local mean, std, raw, score = split(self, h)
  local images = core.stack(codes, 2)
  local errors = core.mean(core.abs(core.reshape(mean, n, A, 1, size) - core.reshape(images, n, 1, M, size)), 4)
  local nearest = core.min(errors, 3)
  local best = core.argmin(nearest, 2)
  local total = core.mean(core.min(nearest, 2)) * (1 - ALL) + core.mean(nearest) * ALL + self.latent:overshoot(raw)

  -- a normal distribution's negative log-likelihood in the spread alone, which converges to the size of the errors
  local own = choose(self, mean, best):detach()
  local square = core.square(own - pick(images, core.argmin(pick(errors, best), 2)))
  local spread = choose(self, std, best)
  total = total + core.mean(square / (core.square(spread) * 2) + core.log(spread)) * SPREAD
  if score then total = total + core.cross_entropy(score, best) * SCORE end
  return total
end

-- ---- estimates ----------------------------------------------------------------------------

function Normals:candidates(h)
  local mean, std = split(self, h)
  if self.count == 1 then return { mean }, { std } end
  local codes, spreads = {}, {}
  for a = 1, self.count do
    local index = core.full(a, { h.shape[1] })
    codes[a], spreads[a] = choose(self, mean, index), choose(self, std, index)
  end
  return codes, spreads
end

function Normals:typical(h)
  return (self:draw(h, nil, 0))
end

function Normals:components(h)
  local n, A = h.shape[1], self.count
  local mean, std, _, score = split(self, h)
  return core.reshape(mean, n, A, self.size), core.reshape(std, n, A, self.size),
    score and core.softmax(score, 2) or core.ones(n, 1)
end

-- ---- the density over the cube --------------------------------------------------------------

-- The normal distribution function (Marsaglia 2004), to the last digits of double precision.
local function phi(x)
  if x > 7 or x < -7 then return x > 0 and 1 or 0 end
  local sum, before, term, i = x, 0, x, 1
  while sum ~= before do
    i = i + 2
    term = term * x * x / i
    before, sum = sum, sum + term
  end
  return 0.5 + sum * math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
end

-- log of the share of normal distributions that lies in [0, 1].
local function log_inside(mean, std)
  local means, stds, values = core.reshape(mean, -1):totable(), core.reshape(std, -1):totable(), {}
  for i, m in ipairs(means) do values[i] = math.log(phi((1 - m) / stds[i]) - phi(-m / stds[i])) end
  return core.reshape(core.tensor(values), mean.shape)
end

-- A mean within [0, 1] on an arc of a circle, from its phase: beyond the arc, the nearer end.
local function on_arc(phase, gap)
  local u = phase * gap
  local past = core.clamp((u - (1 + gap) / 2) * 1e6, 0, 1)
  return core.clamp(u - past * gap, 0, 1)
end

local function phase_of(c, s)
  local rows, sines = core.reshape(c, -1):totable(), core.reshape(s, -1):totable()
  for i, x in ipairs(rows) do rows[i] = math.atan(sines[i], x) / (2 * math.pi) % 1 end
  return core.reshape(core.tensor(rows), c.shape)
end

-- The factors of components on the cube, one a parameter: kind, and mean and std (N, A, 1), or log probabilities
-- (N, A, levels) of a class.
local function factors(self, mean, std)
  local list = {}
  for i, part in ipairs(self.latent.parts) do
    local kind = cube.kind(part)
    local m, s = core.slice(mean, 3, part.first, part.last), core.slice(std, 3, part.first, part.last)
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

local WRAPS = 3 -- turns of a wrapped normal distribution on either side; its std is at most 0.44 turns

-- Log density of one factor: u (N, M, 1, 1) under mean and std (N, 1, A, 1) -> (N, M, A).
local function log_normal(f, u)
  local n, A = f.mean.shape[1], f.mean.shape[2]
  local mean, std = core.reshape(f.mean, n, 1, A), core.reshape(f.std, n, 1, A)
  if f.kind == "score" then -- the density of the score over that of the standard normal distribution
    local score = core.clamp(core.normal_quantile(u), -f.limit, f.limit)
    return core.square((score - mean) / std) * -0.5 - core.log(std) + core.square(score) * 0.5
  end
  local away = u - mean
  local scale = core.log(std) + 0.5 * math.log(2 * math.pi)
  if f.kind == "interval" then return core.square(away / std) * -0.5 - (scale + log_inside(mean, std)) end
  local turns = {}
  for k = -WRAPS, WRAPS do turns[#turns + 1] = core.square((away + k) / std) * -0.5 end
  return core.logsumexp(core.stack(turns, 4), 4) - scale
end

function Normals:log_prob(h, u)
  local n, M, A = h.shape[1], u.shape[2], self.count
  local mean, std, share = self:components(h)
  local total = core.reshape(core.log(core.clamp(share, 1e-30, 1)), n, 1, A)
  for i, f in ipairs(factors(self, mean, std)) do
    local column = cube.column(u, i)
    if f.kind == "class" then
      total = total + core.matmul(cube.one_hot(column, f.levels), core.transpose(f.log, 2, 3))
    else
      total = total + log_normal(f, column)
    end
  end
  return core.reshape(core.logsumexp(core.expand(total, n, M, A), 3), n, M)
end

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

-- Phases in turns, wrapped into [0, 1].
local function wrapped(u)
  while not u:within(0, 1) do
    u = u + core.clamp(u * -1e30, 0, 1) - core.clamp((u - 1) * 1e30, 0, 1)
  end
  return u
end

-- The chosen components' rows: t (N, A, w), index (N, n) -> (N, n, w).
local function rows_of(t, index)
  local n, w = index.shape[2], t.shape[3]
  return core.gather(t, core.expand(core.reshape(index, index.shape[1], n, 1), index.shape[1], n, w), 2)
end

function Normals:sample(h, n, rng)
  local N = h.shape[1]
  local mean, std, share = self:components(h)
  local index = self.count > 1 and categorical.draw(core.reshape(share, N, 1, self.count), n, rng) or core.ones(N, n)
  local columns = {}
  for i, f in ipairs(factors(self, mean, std)) do
    if f.kind == "class" then
      local class = categorical.draw(core.exp(rows_of(f.log, index)), n, rng)
      columns[i] = core.reshape(cube.of_class(class, f.levels), N, n, 1)
    elseif f.kind == "score" then
      columns[i] = core.normal_cdf(rows_of(f.mean, index) + rows_of(f.std, index) * rng:normal { N, n, 1 })
    elseif f.kind == "interval" then
      columns[i] = truncated(rows_of(f.mean, index), rows_of(f.std, index), rng)
    else
      columns[i] = wrapped(rows_of(f.mean, index) + rows_of(f.std, index) * rng:normal { N, n, 1 })
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, 3)
end

return { new = new }
