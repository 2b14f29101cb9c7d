--- Multilayer perceptrons for outputs of any shape.
local check = require "simvae.util.check"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local WIDTH = 128

--- Multilayer perceptron for outputs of any shape: three hidden layers of `width` in
-- both directions, GELU (the paper's "simple feed-forward architecture" for vectors).
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options
-- @usage
-- local decoder, encoder = sv.nets.mlp { code = 3, heads = 6, output = { 16 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function mlp(t)
  local outputs, inputs = check.count(t.output), check.count(layers.input(t))
  local width, rng = t.width or WIDTH, t.rng
  local function stack(from, to)
    return {
      nn.linear(from, width, { rng = rng }), nn.gelu(),
      nn.linear(width, width, { rng = rng }), nn.gelu(),
      nn.linear(width, width, { rng = rng }), nn.gelu(),
      nn.linear(width, to, { rng = rng }),
    }
  end
  local decoder, encoder = stack(t.code, outputs), stack(inputs, t.heads)
  if #t.output > 1 then
    decoder[#decoder + 1] = nn.reshape(t.output)
    table.insert(encoder, 1, nn.reshape { inputs })
  end
  return nn.sequential(decoder), nn.sequential(encoder)
end

return { build = mlp, width = WIDTH }
