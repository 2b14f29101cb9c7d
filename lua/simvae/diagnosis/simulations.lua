--- Too few simulations: a model that is better on those it was trained on than on new ones.
--
-- Of a model trained on a limited number of simulations: the decoder's mean squared error, in units of the outputs'
-- variances, and the mean log density of the true parameters under the posterior, on the first simulations of the
-- training (the samples of its seed, run again) and on as many new ones.
local core = require "simvae.core"
local noise = require "simvae.simulator.noise"
local prior = require "simvae.simulator.prior"
local rerun = require "simvae.metrics.support.rerun"
local streams = require "simvae.simulator.streams"

local SAMPLES = 256
local RATIO = 2     -- of the decoder's errors
local SMALL = 5e-3  -- of the outputs' variances: an error on new ones that does not matter
local GAP = 0.3     -- nats a parameter
local SURE = 3      -- standard errors of the gap

local reported = { order = 80 }

-- Samples of the training that the simulator works on.
local function trained_on(d, n)
  local z = prior.draw(d.sim, n, d.model.seed, 1)
  local x = core.zeros { n, table.unpack(d.sim.output) }
  local failed, list = d.sim:try(z, x, streams.simulation(d.model.seed, 1)), {}
  for i = 1, n do
    if not failed[i] then list[#list + 1] = i end
  end
  if #list == 0 then return nil end
  return rerun.rows(z, list), rerun.rows(x, list)
end

-- The decoder's mean squared error, and log densities of the true parameters as a list.
local function measures(d, z, x)
  local measured, levels = noise.add(d.sim, z, x, core.rng(d.seed, 13))
  local p = d.model:posterior(measured, noise.told(levels, 1, z.shape[1]))
  return core.mean(d:differences(d.model:decode(z), x)):item(), p:log_prob(z):totable()
end

local function moments(list)
  local mean, variance, n = 0, 0, #list
  for _, v in ipairs(list) do mean = mean + v / n end
  for _, v in ipairs(list) do variance = variance + (v - mean) ^ 2 / n end
  return mean, variance / n
end

function reported.find(d, add)
  if not (d.model and d.simulations and d.z) or d.rows_of then return end
  local n = math.min(SAMPLES, d.z.shape[1], math.max(1, d.simulations // 2))
  local z, x = trained_on(d, n)
  if not z then return end
  local known, densities = measures(d, z, x)
  local new, of_new = measures(d, core.slice(d.z, 1, 1, n), core.slice(d.x, 1, 1, n))
  local a, va = moments(densities)
  local b, vb = moments(of_new)
  local gap, ratio = (a - b) / #d.params, new > SMALL and new / math.max(known, 1e-30) or 1
  local fitted = gap > GAP and a - b > SURE * math.sqrt(va + vb)
  if not fitted and ratio < RATIO then return end
  local parts = {}
  if ratio >= RATIO then
    parts[1] = string.format("the decoder's error is %.1f times smaller than on new ones", ratio)
  end
  if fitted then
    parts[#parts + 1] = string.format("the posterior's log density of the true parameters is %.2g nats a parameter "
      .. "higher", gap)
  end
  add { kind = "few simulations", ratio = ratio, gap = gap, text = string.format("On the %d simulations that the "
    .. "model was trained on, %s.", d.simulations, table.concat(parts, ", and ")),
    try = string.format("More simulations (simulations = %d), or fewer steps; members = 5 makes the posterior broader "
      .. "where they are too few, rounds = 5 serves one observation.", 4 * d.simulations) }
end

return { reported = reported }
