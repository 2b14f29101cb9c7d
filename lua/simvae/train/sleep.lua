--- Sleep: the encoder learns to name the causes of pictures that the decoder has drawn itself.
--
-- Stage 2 proper looks at outputs alone, and its gradient comes through the decoder: where the encoder settled on a
-- wrong answer that looks nearly right (a convex figure for one that crosses itself) no small step leads out. The sleep
-- phase of wake-sleep (Hinton, Dayan, Frey and Neal 1995) sees no such walls: codes z are drawn from the prior, the
-- frozen decoder draws G(z), and the encoder is regressed on z. No label of the simulator's is used.
--
-- Many z may give one output. So errors are taken to the nearest equivalent of z under the declared symmetry, and an
-- encoder with several answers is trained in its best one, its scores to tell which one that is (multiple choice
-- learning: Guzmán-Rivera, Batra and Kohli 2012).
local check = require "simvae.util.check"
local core = require "simvae.core"
local pick = require "simvae.model.code".pick
local symmetry = require "simvae.simulator.symmetry"

local sleep = {}

local ALL = 0.05    -- weight of the answers that are not the best: none is forgotten
local SPREAD = 0.02 -- weight of the standard deviations' likelihood, which are to follow the errors, not to rule them
local SCORE = 0.02  -- weight of the scores' cross-entropy

--- Refuses what cannot be trained so.
-- @tparam Model model
-- @tparam table run with sleep.steps, and of the encoder steps and sleep
-- @tparam ?integer level of the caller
function sleep.check(model, run, level)
  local awake, asleep = run.encoder.steps > 0, run.encoder.sleep > 0
  if model.answers > 1 and awake and not asleep then
    check.fail(level, "train: the model gives %d answers, whose scores are learned in sleep: sleep = { steps = … }, or "
      .. "encoder = { sleep = 0.5 }, or a model without `answers`", model.answers)
  end
  if run.sleep.steps == 0 and not (awake and asleep) then return end
  for _, element in ipairs(model.simulator.symmetry or {}) do
    if element.free then
      check.fail(level, "train: sleep takes symmetries of finitely many maps; '%s' of simulator '%s' has a free number",
        tostring(element.name), model.simulator.name)
    end
  end
end

--- The loss of one step of sleep.
-- @tparam Model model
-- @tparam tensor z (N, K) draws of the prior, in units
-- @treturn tensor one number
function sleep.loss(model, z)
  local latent, A = model.latent, model.answers
  local n, size = z.shape[1], latent.size
  local targets = {}
  for i, rows in ipairs(symmetry.images(model.simulator, z:totable())) do
    targets[i] = latent:to_code(core.tensor(rows))
  end
  local drawn = core.no_grad(function()
    return model.loss:standardise(model.loss:to_output(model.decoder(targets[1])))
  end)
  local mean, std, raw, score = model:posterior(drawn)
  local images = core.stack(targets, 2)
  local M = #targets
  local errors = core.mean(core.abs(core.reshape(mean, n, A, 1, size) - core.reshape(images, n, 1, M, size)), 4)
  local nearest = core.min(errors, 3)
  local best = core.argmin(nearest, 2)
  local total = core.mean(core.min(nearest, 2)) * (1 - ALL) + core.mean(nearest) * ALL + latent:overshoot(raw)

  -- a normal distribution's negative log-likelihood in the spread alone, which comes to be the size of the errors
  local own = model:choose(mean, best):detach()
  local square = core.square(own - pick(images, core.argmin(pick(errors, best), 2)))
  local spread = model:choose(std, best)
  total = total + core.mean(square / (core.square(spread) * 2) + core.log(spread)) * SPREAD
  if score then total = total + core.cross_entropy(score, best) * SCORE end
  return total
end

return sleep
