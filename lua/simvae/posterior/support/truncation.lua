--- The prior restricted to the support of a posterior (Deistler, Goncalves and Macke 2022, "Truncated proposals for
-- scalable and hassle-free simulation-based inference"): its highest-density region, the points at which the density
-- over the unit cube exceeds a small quantile of its own draws' densities.
--
-- Draws of the prior are kept where they lie in the region; of independent parameters those of intervals are drawn
-- within the box that holds the posterior's draws. Where few of them are kept, draws come from importance resampling of
-- the posterior's.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local take_rows = require "simvae.util.take_rows"

local truncation = {}

local DRAWS = 10000      -- of the posterior, that the quantile and the box are taken from
local MARGIN = 0.05      -- of the box on either side, as a share of its width
local BATCH = 4096       -- points per evaluation of the density
local RARE = 0.01        -- share of points that are kept, below which importance resampling takes over
local EACH = 256         -- draws of the posterior for one that is resampled
local HOPELESS = 1 << 16 -- points of which a share below RARE^2 lies in the region: an error

local Region = {}
Region.__index = Region

-- log q(u | x) of points (M, K), as (M,).
local function density(self, u)
  local M, K = u.shape[1], u.shape[2]
  return core.reshape(self.head:log_prob(self.h, core.reshape(u, 1, M, K)), M)
end

local function posterior_draws(self, n, rng)
  return core.reshape(self.head:sample(self.h, n, rng), n, #self.latent.parts)
end

-- The box of points (M, K): low and width of each coordinate; of circles and classes all of it.
local function box(latent, u)
  local low, width = core.min(u, 1):totable(), core.max(u, 1):totable()
  for i, part in ipairs(latent.parts) do
    local margin = cube.kind(part) == "interval" and MARGIN * (width[i] - low[i]) or 1
    local high = math.min(1, width[i] + margin)
    low[i] = math.max(0, low[i] - margin)
    width[i] = high - low[i]
  end
  return core.buffer(core.tensor(low)), core.buffer(core.tensor(width))
end

--- The region of one posterior.
-- @tparam Model model with a head trained by likelihood; its networks are those of now, and later training changes
-- the region
-- @tparam tensor h (1, outputs) its encoder's numbers for the observation
-- @tparam number quantile of the posterior's log densities at its draws
-- @tparam rng rng
-- @treturn Region
function truncation.new(model, h, quantile, rng)
  local scope <close> = core.scope()
  local self = setmetatable({ head = model.head, latent = model.latent, simulator = model.simulator,
    h = core.buffer(h) }, Region)
  core.no_grad(function()
    local u = posterior_draws(self, DRAWS, rng)
    local logs = density(self, u):totable()
    table.sort(logs)
    self.threshold = logs[math.max(1, math.ceil(quantile * DRAWS))]
    self.low, self.width = box(self.latent, u)
  end)
  return self
end

-- ---- draws ----------------------------------------------------------------------------------

-- Points of the prior; of independent parameters within the box.
local function candidates(self, rng)
  local u = cube.draw(self.latent, self.simulator, BATCH, rng)
  return self.simulator.prior and u or u * self.width + self.low
end

-- The prior's log density over the cube at points (M, K), less a constant.
local function log_prior(self, u)
  if not self.simulator.log_density then return 0 end
  return core.clamp(cube.log_prior(self.latent, self.simulator, u), -1e6, 1e6)
end

-- Appends the rows of u (M, K) that lie in the region, up to n rows.
local function keep(self, u, rows, n)
  local logs = density(self, u):totable()
  for i, row in ipairs(u:totable()) do
    if logs[i] >= self.threshold and #rows < n then rows[#rows + 1] = row end
  end
end

-- One of EACH draws of the posterior, with probabilities in proportion to prior / posterior within the region, by the
-- largest of log weights plus Gumbel numbers. Appends up to n rows.
local function resample(self, rng, rows, n)
  local groups, K = BATCH // EACH, #self.latent.parts
  local u = posterior_draws(self, BATCH, rng)
  local logs = density(self, u)
  local outside = core.clamp((logs - self.threshold) * -1e9, 0, 1)
  local gumbel = -core.log(-core.log(core.clamp(rng:uniform(0, 1, { BATCH }), 1e-7, 1 - 1e-7)))
  local score = core.reshape(gumbel + log_prior(self, u) - logs - outside * 1e6, groups, EACH)
  local best = take_rows(core.reshape(u, groups, EACH, K), core.argmax(score, 2))
  for _, row in ipairs(core.reshape(best, groups, K):totable()) do
    if #rows < n then rows[#rows + 1] = row end
  end
end

--- Draws of the prior within the region.
-- @tparam integer n
-- @tparam rng rng
-- @tparam ?function watch called with the number of draws so far
-- @treturn tensor (n, K), in units
-- @treturn number the share of points that were kept, of the box or of the prior; nil of importance resampling
-- @raise a prior that is a function without log density and hardly ever draws in the region
function Region:draw(n, rng, watch)
  local rows, tried, rare = {}, 0, false
  while #rows < n do
    local scope <close> = core.scope()
    core.no_grad(function()
      if rare then
        resample(self, rng, rows, n)
      else
        keep(self, candidates(self, rng), rows, n)
        tried = tried + BATCH
        local few = #rows < RARE * tried
        rare = few and not (self.simulator.prior and not self.simulator.log_density)
        if not rare and tried >= HOPELESS and #rows < RARE ^ 2 * tried then
          error(string.format("train: of %d draws of the prior, a function, %d lie in the posterior's support; give "
            .. "its log_density, give each parameter its own prior, or take fewer rounds", tried, #rows), 0)
        end
      end
    end)
    if rare and tried > 0 then rows, tried = {}, 0 end
    if watch then watch(#rows) end
  end
  return cube.to_units(self.latent, core.tensor(rows)), tried > 0 and #rows / tried or nil
end

return truncation
