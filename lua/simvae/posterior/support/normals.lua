--- Heads whose posterior is a mixture of normal distributions over codes: "gaussian" (one component with a diagonal
-- covariance) and "mixture" (simvae.posterior.support.mixture_density).
--
-- An output's numbers are, of each component, `size` means, `size` logarithms of standard deviations and, with
-- correlations, their factor; then the logits of the components' probabilities where there are several.
local core = require "simvae.core"
local density = require "simvae.posterior.support.mixture_density"
local take_rows = require "simvae.util.take_rows"

local LOW, HIGH = -9, 1 -- logarithms of standard deviations in code space
local SHIFT = 1           -- offset of the encoder's output from the logarithm

local Normals = {}
Normals.__index = Normals

--- A head of A components; the modules of heads add their loss.
-- @tparam table t latent, bounded
-- @tparam integer A
-- @tparam ?boolean correlated
-- @treturn table head as of simvae.posterior
local function new(t, A, correlated)
  local size = t.latent.size
  local pairs_of_lines = correlated and density.pairs(t.latent) or 0
  local each = 2 * size + pairs_of_lines
  return setmetatable({
    latent = t.latent, bounded = t.bounded, count = A, size = size, pairs = pairs_of_lines, each = each,
    outputs = A * each + (A > 1 and A or 0), locations = { count = A, size = size },
  }, Normals)
end

-- Row (n - 1) A + a is component a of output n: means and standard deviations (N A, size), the numbers that the means
-- come from, logits of the probabilities (N, A), nil where A is 1, and factors (N A, pairs) or nil.
local function split(self, h)
  local n, A, score = self.size, self.count, nil
  if A > 1 then
    score = core.slice(h, 2, A * self.each + 1)
    h = core.reshape(core.slice(h, 2, 1, A * self.each), -1, self.each)
  end
  local raw, log_std = core.slice(h, 2, 1, n), core.slice(h, 2, n + 1, 2 * n)
  local mean = self.bounded and self.latent:squash(raw, self.bounded) or raw
  return mean, core.exp(core.clamp(log_std - SHIFT, LOW, HIGH)), raw, score,
    self.pairs > 0 and core.slice(h, 2, 2 * n + 1, self.each) or nil
end

--- The components as of simvae.posterior.support.mixture_density, and the numbers that the means come from (N A, size).
function Normals:parts(h)
  local n, A = h.shape[1], self.count
  local mean, std, raw, score, factor = split(self, h)
  return {
    mean = core.reshape(mean, n, A, self.size), std = core.reshape(std, n, A, self.size),
    log = score and core.log_softmax(score, 2) or core.zeros(n, 1),
    factor = factor and core.reshape(factor, n, A, self.pairs),
  }, raw
end

-- One component of each sample's: t (N A, size), index (N,) -> (N, size).
local function choose(self, t, index)
  local n, size = index.shape[1], t.shape[2]
  t = core.reshape(t, n, self.count, size)
  return core.reshape(take_rows(t, index), n, size)
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

--- The negative log-likelihood of points under the components t, as of simvae.posterior.support.mixture_density.
-- @tparam table t
-- @tparam tensor u (N, K)
-- @treturn tensor one number
function Normals:surprise(t, u)
  return -core.mean(density.log_prob(self.latent, t, core.reshape(u, u.shape[1], 1, u.shape[2])))
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
  local t = self:parts(h)
  return t.mean, t.std, core.exp(t.log)
end

function Normals:log_prob(h, u)
  return density.log_prob(self.latent, self:parts(h), u)
end

function Normals:class_shares(h)
  return density.class_shares(self.latent, self:parts(h))
end

function Normals:sample(h, n, rng)
  return density.sample(self.latent, self:parts(h), n, rng)
end

function Normals:uniforms() return density.uniforms(self.latent, self.count) end

function Normals:transport(h, v)
  return density.transport(self.latent, self:parts(h), v)
end

function Normals:estimate(h)
  local mean, std, _, score = split(self, h)
  if not score then return mean, std end
  local best = core.argmax(score, 2)
  return choose(self, mean, best), choose(self, std, best)
end

return { new = new }
