--- An encoder of sets of measurements: a network embeds each one, and another gives the outputs from the mean of the
-- embeddings and the logarithm of their number (deep sets: Zaheer et al. 2017), so that their order has no effect.
local core = require "simvae.core"
local nn = require "simvae.nn"

local HIDDEN = 128

local set = {}

--- How many numbers a network embeds a measurement in.
set.features = 64

--- @tparam Layer embed (R, …output) -> (R, features)
-- @tparam {integer,...} output shape of a measurement
-- @tparam integer outputs
-- @tparam rng rng of initial weights
-- @treturn Layer (N, M, …output), or (N, …output) for sets of one -> (N, outputs)
function set.encoder(embed, output, outputs, rng)
  local F = set.features
  local last = nn.sequential {
    nn.silu(), nn.linear(F + 1, HIDDEN, { rng = rng }), nn.silu(), nn.linear(HIDDEN, HIDDEN, { rng = rng }), nn.silu(),
    nn.linear(HIDDEN, outputs, { rng = rng }),
  }
  return nn.layer {
    label = "encoder of sets", inner = { embed, last },
    forward = function(_, x)
      local N, M = x.shape[1], x.ndim == #output + 2 and x.shape[2] or 1
      local h = embed(core.reshape(x, N * M, table.unpack(output)))
      if M > 1 then h = core.mean(core.reshape(h, N, M, F), 2) end
      return last(core.concat({ h, core.full(math.log(M), { N, 1 }) }, 2))
    end,
  }
end

return set
