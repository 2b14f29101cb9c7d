--- beta-TCVAE (Chen, Li, Grosse and Duvenaud 2018, eq. 4): the evidence lower bound, in whose KL the total correlation
-- of the aggregate posterior counts beta times. Unsupervised.
local support = require "methods.support"

local beta_tcvae = {}

--- Trains it.
-- @tparam Run run
-- @tparam ?table options beta (6)
-- @treturn table answer
function beta_tcvae.train(run, options)
  local beta, L = options and options.beta or 6, run.code.size
  local decoder, encoder = run:nets(L, 2 * L)
  local player = run:player { decoder, encoder }
  function player.loss()
    local _, x = run:next()
    local mean, log_std = support.split(encoder(x))
    local z = support.sample(mean, log_std, run.rng)
    local information, correlation, kl = support.decomposition(z, mean, log_std, run.pool.count)
    return run.loss(decoder(z), x) + information + correlation * beta + kl
  end
  run:train { player }
  return run:autoencoder(decoder, encoder)
end

return beta_tcvae
