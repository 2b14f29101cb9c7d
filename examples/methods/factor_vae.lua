--- FactorVAE (Kim and Mnih 2018, algorithm 2): the evidence lower bound less gamma times the total correlation, by the
-- ratio of densities that a classifier learns beside. Unsupervised.
local support = require "methods.support"
local sv = require "simvae"

local factor_vae = {}

--- Trains it.
-- @tparam Run run
-- @tparam ?table options gamma (10), width of the classifier (128)
-- @treturn table answer
function factor_vae.train(run, options)
  options = options or {}
  local gamma, L = options.gamma or 10, run.code.size
  local decoder, encoder = run:nets(L, 2 * L)
  local ratio = support.ratio(L, options.width or 128, run.rng)
  local autoencoder, classifier = run:player { decoder, encoder }, run:player({ ratio }, { beta1 = 0.5 })
  local drawn -- in the autoencoder's step
  function autoencoder.loss()
    local _, x = run:next()
    local mean, log_std = support.split(encoder(x))
    local z = support.sample(mean, log_std, run.rng)
    drawn = sv.buffer(z:detach())
    return run.loss(decoder(z), x) + support.kl(mean, log_std) + sv.mean(ratio(z)) * gamma
  end
  function classifier.loss()
    local _, x = run:next()
    local other = sv.no_grad(function()
      local mean, log_std = support.split(encoder(x))
      return support.sample(mean, log_std, run.rng)
    end)
    return support.ratio_loss(ratio, drawn, support.permute(other, run.rng))
  end
  run:train { autoencoder, classifier }
  return run:autoencoder(decoder, encoder)
end

return factor_vae
