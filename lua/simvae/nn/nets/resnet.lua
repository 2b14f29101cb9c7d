--- Residual convolutions as encoder.
local core = require "simvae.core"
local conv = require "simvae.nn.nets.conv"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

-- Two 3x3 convolutions with batch norm beside a skip connection, which a 1x1 convolution of the same stride adapts if
-- shapes differ (He, Zhang, Ren and Sun 2016).
local function block(from, to, stride, rng)
  local main = nn.sequential {
    nn.conv2d(from, to, 3, { stride = stride, padding = 1, bias = false, std = layers.he(from * 9), rng = rng }),
    nn.batch_norm(to), nn.relu(),
    nn.conv2d(to, to, 3, { padding = 1, bias = false, std = layers.he(to * 9), rng = rng }), nn.batch_norm(to),
  }
  local inner, skip = { main }, nil
  if stride > 1 or from ~= to then
    skip = nn.sequential { nn.conv2d(from, to, 1, { stride = stride, bias = false, std = layers.he(from), rng = rng }),
      nn.batch_norm(to) }
    inner[2] = skip
  end
  return nn.layer {
    label = string.format("residual block %d -> %d, stride %d", from, to, stride), inner = inner,
    forward = function(_, x) return core.relu(main(x) + (skip and skip(x) or x)) end,
  }
end

--- Residual convolutions (He, Zhang, Ren and Sun 2016) as encoder, for images of 8 to 512 pixels either way: of each
-- halving of the sides, rounded up, two blocks of 3x3 convolutions with batch norm. The decoder is that of "conv". It
-- infers more from an image than "conv" in as many steps, each of several times the time (notebooks/choosing.md).
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that the net does not suit
-- @usage
-- local decoder, encoder = sv.nets.resnet { code = 3, heads = 6, output = { 1, 32, 32 }, width = 4 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function resnet(t)
  local sizes = layers.sizes("resnet", t.output)
  local width, rng, levels = t.width or conv.width, t.rng, #sizes
  local decoder = conv.build(t)
  local list, from = {}, layers.input(t)[1]
  for level = 1, levels do
    local to = layers.channels_at(width, level)
    list[#list + 1] = block(from, to, 2, rng)
    list[#list + 1] = block(to, to, 1, rng)
    from = to
  end
  local cells = from * sizes[levels][1] * sizes[levels][2]
  list[#list + 1] = nn.reshape { cells }
  return decoder, nn.sequential(layers.head(list, cells, t.heads, rng))
end

return { build = resnet, width = conv.width }
