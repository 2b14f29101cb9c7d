--- Draws of the prior besides those of batches: functions of the stage and the step, which a resumed run repeats. Those
-- that the decoder decodes are, of a data set, not its rows (simvae.simulator.dataset.fresh).
local cube = require "simvae.posterior.support.cube"
local streams = require "simvae.util.streams"

local prior_draws = {}
local Draws = {}
Draws.__index = Draws

--- @tparam Latent latent
-- @tparam Simulator sim
-- @tparam integer seed
function prior_draws.new(latent, sim, seed)
  return setmetatable({ latent = latent, simulator = sim, fresh = sim.fresh or function() return sim end, seed = seed },
    Draws)
end

-- n draws in units, of which a number have been drawn before.
local function draws(sim, rng, before, n)
  rng:take(before)
  return sim:sample(n, rng)
end

--- Codes that those of a batch are compared with, (n, size).
function Draws:codes(run, n)
  return self.latent:to_code(draws(self.simulator, streams.prior(self.seed), (run.step - 1) * n, n))
end

-- Draws of the sleep phase before the run's step, of n a step, or a microbatch.
local function before(run, n)
  local now = run.microbatch
  local earlier = (run.stage == "encoder" and run.sleep.steps * run.sleep.batch or 0) + (run.step - 1) * n
  return now and earlier * now.count + now.number * n or earlier
end

--- Parameters that the sleep phase decodes, (n, K) in units.
function Draws:dreams(run, n)
  return draws(self.fresh(), streams.dreams(self.seed), before(run, n), n)
end

--- The same as points of the unit cube (n, K), for posteriors trained by likelihood.
function Draws:points(run, n)
  local rng = streams.dreams(self.seed)
  rng:take(before(run, run[run.stage].batch))
  return cube.draw(self.latent, self.fresh(), n, rng)
end

return prior_draws
