--- A small convolutional net for images.
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local WIDTH = 16
local hidden = layers.hidden

--- The convolutions of "dcgan", for images of 8 to 512 pixels either way, without batch norm, weights by fan in, SiLU
-- in the decoder, and hidden linear layers of 256 between code and image: trains faster and reaches a lower error than
-- "dcgan" on the built-in simulators (notebooks/recipes.md).
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that the net does not suit
-- @usage
-- local decoder, encoder = sv.nets.conv { code = 3, heads = 6, output = { 1, 32, 32 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function conv(t)
  local sizes = layers.sizes("conv", t.output)
  local levels = #sizes
  local height, across = table.unpack(sizes[levels])
  local channels, width, rng = t.output[1], t.width or WIDTH, t.rng
  local top = layers.channels_at(width, levels)
  local cells = top * height * across
  local decoder = layers.hidden_layers({}, t.code, 3, nn.silu, rng)
  decoder[#decoder + 1] = nn.linear(hidden, cells, { std = layers.he(hidden), rng = rng })
  decoder[#decoder + 1] = nn.silu()
  decoder[#decoder + 1] = nn.reshape { top, height, across }
  for level = levels, 1, -1 do
    local from, to = layers.channels_at(width, level), level == 1 and channels or layers.channels_at(width, level - 1)
    decoder[#decoder + 1] = layers.doubling(from, to, sizes[level - 1], rng)
    if level > 1 then decoder[#decoder + 1] = nn.silu() end
  end
  local encoder = layers.halving_layers({}, layers.input(t)[1], width, sizes, 1, levels, rng)
  encoder[#encoder + 1] = nn.reshape { cells }
  return nn.sequential(decoder), nn.sequential(layers.head(encoder, cells, t.heads, rng))
end

return { build = conv, width = WIDTH }
