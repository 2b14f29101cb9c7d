--- A small vision transformer as encoder.
local core = require "simvae.core"
local conv = require "simvae.nn.nets.conv"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local BLOCKS, HEADS = 4, 4
local MOST = 64 -- patches of an image, about

-- The side of patches: a power of two from 4 on, so that there are about 64 or fewer.
local function side_of(height, width)
  local side = 4
  while -(-height // side) * -(-width // side) > MOST do side = 2 * side end
  return side
end

--- A vision transformer (Dosovitskiy and others 2021) as encoder, for images of 8 to 512 pixels either way: square
-- patches, about 64 or fewer, become elements of 4 `width` numbers with a learned part for their place, and four blocks
-- of attention relate any two of them; the head reads all of them. The decoder is that of "conv".
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that the net does not suit
-- @usage
-- local decoder, encoder = sv.nets.vit { code = 3, heads = 6, output = { 1, 32, 32 }, width = 4 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function vit(t)
  layers.sizes("vit", t.output)
  local _, height, across = table.unpack(t.output)
  local channels, rng, size = layers.input(t)[1], t.rng, HEADS * (t.width or conv.width)
  local side = side_of(height, across)
  local rows, columns = -(-height // side), -(-across // side)
  local count = rows * columns
  local decoder = conv.build(t)
  local list = {
    nn.conv2d(channels, size, side, { stride = side, bottom = rows * side - height, right = columns * side - across,
      std = layers.he(channels * side * side), rng = rng }),
    nn.func(function(x, own) -- to (N, count, size), with the places
      return core.permute(core.reshape(x, x.shape[1], size, count), 1, 3, 2) + own.places
    end, { places = core.parameter((rng or core.rng(0)):normal(0, 0.02, { count, size })) }),
  }
  for _ = 1, BLOCKS do list[#list + 1] = nn.transformer(size, { heads = HEADS, rng = rng }) end
  list[#list + 1] = nn.layer_norm(size)
  list[#list + 1] = nn.linear(size, HEADS, { rng = rng }) -- of each patch
  list[#list + 1] = nn.reshape { count * HEADS }
  return decoder, nn.sequential(layers.head(list, count * HEADS, t.heads, rng))
end

return { build = vit, width = conv.width }
