--- The paper's net: DCGAN's generator as decoder, its discriminator as encoder (Radford et al. 2016).
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local WIDTH = 32

--- DCGAN (Radford, Metz and Chintala 2016) for images of 8 to 512 pixels either way: stride-2 4x4 kernels, which halve
-- odd sides to the next larger number, batch norm everywhere but next to the data, ReLU in the decoder and leaky ReLU
-- 0.2 in the encoder, weights ~ N(0, 0.02).
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that the net does not suit
-- @usage
-- local decoder, encoder = sv.nets.dcgan { code = 3, heads = 6, output = { 1, 32, 32 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function dcgan(t)
  local sizes = layers.sizes("dcgan", t.output)
  local levels = #sizes
  local height, across = table.unpack(sizes[levels])
  local channels, width, rng, std = t.output[1], t.width or WIDTH, t.rng, 0.02
  local top = layers.channels_at(width, levels)
  local cells = top * height * across
  local decoder = {
    nn.linear(t.code, cells, { std = std, bias = false, rng = rng }),
    nn.reshape { top, height, across },
    nn.batch_norm(top, { std = std, rng = rng }), nn.relu(),
  }
  local encoder = {
    nn.conv2d(layers.input(t)[1], width, 4, layers.halved(sizes[0], { std = std, rng = rng })), nn.leaky_relu(0.2),
  }
  for level = 1, levels - 1 do
    local inner, outer = layers.channels_at(width, levels - level + 1), layers.channels_at(width, levels - level)
    decoder[#decoder + 1] = nn.conv_transpose2d(inner, outer, 4,
      layers.halved(sizes[levels - level], { std = std, bias = false, rng = rng }))
    decoder[#decoder + 1] = nn.batch_norm(outer, { std = std, rng = rng })
    decoder[#decoder + 1] = nn.relu()
    encoder[#encoder + 1] = nn.conv2d(layers.channels_at(width, level), layers.channels_at(width, level + 1), 4,
      layers.halved(sizes[level], { std = std, bias = false, rng = rng }))
    encoder[#encoder + 1] = nn.batch_norm(layers.channels_at(width, level + 1), { std = std, rng = rng })
    encoder[#encoder + 1] = nn.leaky_relu(0.2)
  end
  decoder[#decoder + 1] = nn.conv_transpose2d(width, channels, 4, layers.halved(sizes[0], { std = std, rng = rng }))
  encoder[#encoder + 1] = nn.reshape { cells }
  encoder[#encoder + 1] = nn.linear(cells, t.heads, { std = std, rng = rng })
  return nn.sequential(decoder), nn.sequential(encoder)
end

return { build = dcgan, width = WIDTH }
