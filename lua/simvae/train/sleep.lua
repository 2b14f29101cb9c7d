--- The sleep phase of wake-sleep: regression of the encoder on decoder samples.
--
-- The gradient of stage 2 comes through the decoder, and has local optima: wrong parameters whose output is nearly
-- right, such as a convex polygon for one that intersects itself. The sleep phase (Hinton, Dayan, Frey and Neal 1995)
-- avoids them: codes z are sampled from the prior, the frozen decoder renders G(z), and the encoder is trained by
-- regression on z. No labels of the simulator are used.
--
-- Many z may give one output. A posterior with one mean (simvae.posterior.gaussian) is given all equivalents of z under
-- the declared symmetry, of which the nearest counts; one that is trained by likelihood (simvae.train.npe) is given z
-- alone, and learns the distribution over the equivalents.
local check = require "simvae.util.check"
local core = require "simvae.core"
local levels = require "simvae.model.levels"
local likelihood = require "simvae.model.likelihood"
local sets = require "simvae.model.sets"
local symmetry = require "simvae.simulator.symmetry"
local repeat_rows = require "simvae.util.repeat_rows"

local sleep = {}

--- Raises for models that cannot be trained so.
-- @tparam Model model
-- @tparam table run with sleep.steps, and of the encoder steps and sleep
-- @tparam ?integer level of the caller
function sleep.check(model, run, level)
  local awake, asleep = run.encoder.steps > 0, run.encoder.sleep > 0
  local head = model.head
  if run.encoder.labels and not head.likelihood then
    check.fail(level, "train: labels is an option of posteriors that are trained by likelihood; this model's is \"%s\"",
      head.name)
  end
  if head.likelihood or run.sleep.steps == 0 and not (awake and asleep) then return end
  for _, element in ipairs(model.simulator.symmetry or {}) do
    if element.free then
      check.fail(level, "train: sleep takes symmetries of finitely many maps; '%s' of simulator '%s' has a free number",
        tostring(element.name), model.simulator.name)
    end
  end
end

--- Outputs with the noise of a measurement that the simulator declares, as an encoder takes them.
-- @tparam Model model
-- @tparam tensor z (N, K) their parameters, in units
-- @tparam tensor x (N, …output), in the units that networks see
-- @tparam rng rng
-- @treturn tensor in the same units; of a model of sets (N, M, …output), M measurements of each
function sleep.measured(model, z, x, rng)
  local M = sets.size(model)
  x = levels.measured(model, z, repeat_rows(x, M), rng)
  return model.set and sets.grouped(x, M) or x
end

-- Codes of parameters, of each of their images under the declared symmetry: of none with a free number.
local function codes_of(model, z)
  for _, element in ipairs(model.simulator.symmetry or {}) do
    if element.free then return { model.latent:to_code(z) } end
  end
  local codes = {}
  for i, rows in ipairs(symmetry.images(model.simulator, z:totable())) do
    codes[i] = model.latent:to_code(core.tensor(rows))
  end
  return codes
end

-- What the encoder gives for draws from the decoder and its noise, or without it where it was not measured.
local function encoded(model, z, code, rng)
  return model:encoder_outputs(core.no_grad(function()
    if likelihood.fitted(model) then return likelihood.draw(model, z, code, rng) end
    return sleep.measured(model, z, model.loss:as_seen(model.decoder(code)), rng)
  end))
end

--- The loss of one step of sleep, of a posterior that learns from the nearest of equivalent causes (those that are
-- trained by likelihood alone: simvae.train.npe).
-- @tparam Model model
-- @tparam tensor z (N, K) draws of the prior, in units
-- @tparam rng rng of the noise
-- @treturn tensor one number
function sleep.loss(model, z, rng)
  local codes = codes_of(model, z)
  return model.head:loss(encoded(model, z, codes[1], rng), codes)
end

--- The loss of the posterior's standard deviations alone, beside stage 2.
-- @tparam Model model
-- @tparam tensor z (N, K) draws of the prior, in units
-- @tparam rng rng of the noise
-- @treturn tensor one number
function sleep.spread(model, z, rng)
  local codes = codes_of(model, z)
  return model.head:spread_loss(encoded(model, z, codes[1], rng), codes)
end

return sleep
