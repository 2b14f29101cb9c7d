--- Variational autoencoder (Kingma and Welling 2014) and beta-VAE (Higgins et al. 2017): the evidence lower bound, with
-- the KL times beta. Unsupervised.
local support = require "methods.support"

local vae = {}

--- Trains it.
-- @tparam Run run
-- @tparam ?table options beta (1)
-- @treturn table answer, and its decoder
function vae.train(run, options)
  local beta, L = options and options.beta or 1, run.code.size
  local decoder, encoder = run:nets(L, 2 * L)
  local player = run:player { decoder, encoder }
  function player.loss()
    local _, x = run:next()
    local mean, log_std = support.split(encoder(x))
    return run.loss(decoder(support.sample(mean, log_std, run.rng)), x) + support.kl(mean, log_std) * beta
  end
  run:train { player }
  local answer = run:autoencoder(decoder, encoder)
  answer.decoder = decoder
  return answer
end

return vae
