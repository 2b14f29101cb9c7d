--- Stage 2 of posteriors that are trained by likelihood: on draws of the prior through the frozen decoder and its noise
-- (the sleep phase of wake-sleep), and on the simulator's own pairs (neural posterior estimation: Papamakarios and
-- Murray 2016). `labels` of the encoder stage is the share of a batch that is of the simulator's pairs. Before them
-- may come supervised steps (eq. 5), in which the encoder learns the parameters themselves.
local check = require "simvae.util.check"
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
    held.points = core.buffer(cube.dequantised(model.latent, cube.points(model.latent, held.z),
      streams.held_noise(run.seed + 1)))
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

-- Eq. 4 as a bound of the evidence: with draws u of the posterior, with gradients, log q(u | x) - log p(x | G(u)), over
-- the cube, where the prior is uniform. Without the first term, the entropy, a posterior would become a point. Its
-- optimum is the exact posterior under the decoder's distribution, approached from within.
local function variational(model, h, x, rng)
  local u = model.head:reparameterised(h, rng)
  return core.mean(npe.log_prob(model, h, u) - likelihood.density(model, x, cube.to_code(model.latent, u)))
end

local function check_supervised(model, run, level)
  if run.supervised == 0 then return end
  if not model.head.supervised then
    check.fail(level + 1, "train: supervised is an option of the posterior \"flow\", of up to 64 numbers of a code; "
      .. "this model's is \"%s\"", model.head.name)
  elseif run.supervised > run.encoder.steps then
    check.fail(level + 1, "train: supervised = %d are more than the encoder's %d steps", run.supervised,
      run.encoder.steps)
  end
end

--- Raises for models that eq. 4 cannot train by draws, and eq. 5 not in this way.
-- @tparam Model model
-- @tparam table run
-- @tparam integer level of train's caller
function npe.check(model, run, level)
  check_supervised(model, run, level + 1)
  if (run.encoder.variational or 0) == 0 then return end
  local function fail(...) check.fail(level + 1, "train: variational " .. string.format(...)) end
  if not model.head.likelihood then
    fail("is an option of posteriors that are trained by likelihood; this model's is \"%s\"", model.head.name)
  end
  for _, part in ipairs(model.latent.parts) do
    if part.kind == "class" then
      fail("takes draws with a gradient, which classes have not: parameter '%s'", part.param.name)
    end
  end
  if not model.head.reparameterised and model.members == 1 then
    fail("takes draws with a gradient, which the posterior \"%s\" has not; \"flow\" has", model.head.name)
  end
  if model.set then fail("takes single outputs; the model is of sets") end
  if model.members > 1 then fail("takes one network; the model has %d members", model.members) end
  if model.simulator.noise_range then fail("takes noise of one level; the simulator declares a range") end
  if model.simulator.prior then fail("takes independent parameters; the simulator's prior is a function") end
end

--- Whether a step of a stage is supervised.
-- @tparam table run
-- @tparam ?integer step default: the run's
-- @treturn boolean
function npe.is_supervised(run, step)
  return run.stage == "encoder" and (step or run.step) <= run.supervised
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
  local h, weight = model:encoder_outputs(x), run[run.stage].variational or 0
  if npe.is_supervised(run) then return model.head:supervised(h, cube.to_code(model.latent, u)) end
  u = cube.dequantised(model.latent, u, run.rng)
  if weight == 0 then return model.head:loss(h, u) end
  local bound = variational(model, h, x, run.rng)
  return weight == 1 and bound or model.head:loss(h, u) * (1 - weight) + bound * weight
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
