--- Stage 2 of posteriors that are trained by likelihood: on draws of the prior through the frozen decoder and its noise
-- (the sleep phase of wake-sleep), and on the simulator's own pairs (neural posterior estimation: Papamakarios and
-- Murray 2016). `labels` of the encoder stage is the share of a batch that is of the simulator's pairs.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local likelihood = require "simvae.model.likelihood"
local sleep = require "simvae.train.sleep"
local streams = require "simvae.util.streams"

local npe = {}

--- Log density of parameters under the head.
-- @tparam Model model
-- @tparam tensor h (N, outputs) the encoder's
-- @tparam tensor u (N, K) points of the unit cube
-- @treturn tensor (N,)
function npe.log_prob(model, h, u)
  local n = u.shape[1]
  return core.reshape(model.head:log_prob(h, core.reshape(u, n, 1, u.shape[2])), n)
end

--- The held-out samples as encoders see them, and their points of the cube. The noise of their measurement is fixed,
-- and of sets the number of measurements.
-- @treturn tensor (M, …output), of a model of sets with an axis of measurements
-- @treturn tensor (M, K)
function npe.held(model, run)
  local held = run.held
  if not held.seen then
    local scope <close> = core.scope()
    local set, size = model.set, model.set and model.set.size
    if set then set.size = nil end
    held.points = core.buffer(cube.points(model.latent, held.z))
    held.seen = core.buffer(sleep.measured(model, held.z, model.loss:standardise(held.x),
      streams.held_noise(run.seed)))
    if set then set.size = size end
  end
  return held.seen, held.points
end

-- n decoder samples: points of the cube, and outputs as encoders see them.
local function dreams(model, run, n)
  local u = run.prior:points(run, n)
  local z, code = cube.to_units(model.latent, u), cube.to_code(model.latent, u)
  return u, core.no_grad(likelihood.draw, model, z, code, run.rng)
end

--- The loss of one step.
-- @tparam Model model
-- @tparam table run
-- @tparam integer batch
-- @tparam function samples () -> z, x: a batch of the simulator's pairs, x standardised
-- @treturn tensor one number
function npe.loss(model, run, batch, samples)
  local own, u, x = npe.pairs(run, batch), nil, nil
  if own > 0 then
    local z
    z, x = samples()
    u, x = cube.points(model.latent, z), sleep.measured(model, z, x, run.rng)
  end
  if own < batch then
    local dreamt_u, dreamt = dreams(model, run, batch - own)
    u, x = u and core.concat({ u, dreamt_u }, 1) or dreamt_u, x and core.concat({ x, dreamt }, 1) or dreamt
  end
  return model.head:loss(model.encoder(x), u)
end

--- How many samples of a batch are the simulator's pairs, by the share run.mix.
-- @tparam table run
-- @tparam integer batch
-- @treturn integer
function npe.pairs(run, batch)
  local share = run.mix
  if share == 0 or share == 1 then return math.tointeger(share * batch) end
  return math.max(1, math.min(batch - 1, math.floor(share * batch + 0.5)))
end

return npe
