--- Sleep: the encoder learns to name the causes of pictures that the decoder has drawn itself.
--
-- Stage 2 proper looks at outputs alone, and its gradient comes through the decoder: where the encoder settled on a
-- wrong answer that looks nearly right (a convex figure for one that crosses itself) no small step leads out. The sleep
-- phase of wake-sleep (Hinton, Dayan, Frey and Neal 1995) sees no such walls: codes z are drawn from the prior, the
-- frozen decoder draws G(z), and the encoder is regressed on z. No label of the simulator's is used.
--
-- Many z may give one output. A posterior that is trained by its nearest component (simvae.posterior.support.normals)
-- is given all equivalents of z under the declared symmetry; one that is trained by likelihood is given z alone, and
-- learns the distribution over the equivalents.
local check = require "simvae.util.check"
local core = require "simvae.core"
local symmetry = require "simvae.simulator.symmetry"

local sleep = {}

--- Refuses what cannot be trained so.
-- @tparam Model model
-- @tparam table run with sleep.steps, and of the encoder steps and sleep
-- @tparam ?integer level of the caller
function sleep.check(model, run, level)
  local awake, asleep = run.encoder.steps > 0, run.encoder.sleep > 0
  local head = model.head
  if head.needs_sleep and awake and not asleep then
    check.fail(level, "train: %s are learned in sleep: sleep = { steps = … }, or encoder = { sleep = 0.5 }, or a model "
      .. "with another posterior", head.needs_sleep)
  end
  if head.likelihood or run.sleep.steps == 0 and not (awake and asleep) then return end
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
  local codes = {}
  if model.head.likelihood then
    codes[1] = model.latent:to_code(z)
  else
    for i, rows in ipairs(symmetry.images(model.simulator, z:totable())) do
      codes[i] = model.latent:to_code(core.tensor(rows))
    end
  end
  local drawn = core.no_grad(function()
    return model.loss:standardise(model.loss:to_output(model.decoder(codes[1])))
  end)
  return model.head:loss(model.encoder(drawn), codes)
end

return sleep
