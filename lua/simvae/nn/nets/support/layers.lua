--- Layers shared by the networks for images.
local check = require "simvae.util.check"
local nn = require "simvae.nn"

local layers = {}

local DOUBLINGS = 4 -- of the channels: 16 times the width, from the fifth halving of the sides on

--- Channels after `level` halvings: they double with each, from width next to the data up to 16 times it.
function layers.channels_at(width, level)
  return math.floor(width * 2 ^ math.min(level - 1, DOUBLINGS))
end

layers.least, layers.most = 8, 512 -- pixels of a side

--- Whether convolutional nets take an output: images of 8 to 512 pixels either way.
-- @tparam {integer,...} output
-- @treturn boolean
function layers.suits(output)
  local _, height, width = table.unpack(output)
  return #output == 3 and math.min(height, width) >= layers.least and math.max(height, width) <= layers.most
end

--- The heights and widths of an image after each halving, rounded up, until the longer side is 4 to 7 pixels; or an
-- error that names the net.
-- @tparam string name
-- @tparam {integer,...} output {C, H, W}
-- @treturn {{integer,integer},...} sizes[0] is the image's, sizes[level] of the maps behind `level` halvings
function layers.sizes(name, output)
  if not layers.suits(output) then
    check.fail(4, "net \"%s\" takes images {C, H, W} of %d to %d pixels either way; this simulator's output is %s: use "
      .. "net = \"mlp\"%s", name, layers.least, layers.most, check.shape_text(output),
      #output == 3 and " or another resolution" or "")
  end
  local h, w = output[2], output[3]
  local sizes = { [0] = { h, w } }
  while math.max(h, w) >= 8 do
    h, w = (h + 1) // 2, (w + 1) // 2
    sizes[#sizes + 1] = { h, w }
  end
  return sizes
end

--- Options of a stride-2 4x4 convolution that halves a size, rounded up, and of its transpose that leads back to it.
-- @tparam {integer,integer} size
-- @tparam table more options
-- @treturn table
function layers.halved(size, more)
  more.stride, more.padding, more.bottom, more.right = 2, 1, size[1] % 2, size[2] % 2
  return more
end

--- Weights by their fan in (He, Zhang, Ren and Sun 2015): their standard deviation.
function layers.he(fan_in, gain) return (gain or 1) * math.sqrt(2 / fan_in) end

layers.hidden = 256 -- width of the hidden linear layers beside convolutions

--- Hidden linear layers with an activation behind each.
function layers.hidden_layers(list, from, count, activation, rng)
  for i = 1, count do
    local inputs = i == 1 and from or layers.hidden
    list[#list + 1] = nn.linear(inputs, layers.hidden, { std = layers.he(inputs), rng = rng })
    list[#list + 1] = activation()
  end
  return list
end

--- How an encoder ends: a hidden linear layer, and one that gives the head's numbers.
-- @tparam table list of layers, to append to
-- @tparam integer from numbers that they take
-- @tparam integer heads
-- @tparam rng rng
-- @treturn table list
function layers.head(list, from, heads, rng)
  layers.hidden_layers(list, from, 1, nn.leaky_relu, rng)
  list[#list + 1] = nn.linear(layers.hidden, heads, { std = layers.he(layers.hidden, 0.3), rng = rng })
  return list
end

--- Halvings of an image's sides by stride-2 4x4 convolutions, from one level to another.
-- @tparam table list of layers, to append to
-- @tparam integer channels of the image
-- @tparam integer width
-- @tparam {{integer,integer},...} sizes as of `sizes`
-- @tparam integer first level
-- @tparam integer last level
-- @tparam rng rng
-- @treturn table list
function layers.halving_layers(list, channels, width, sizes, first, last, rng)
  for level = first, last do
    local from, to = level == 1 and channels or layers.channels_at(width, level - 1), layers.channels_at(width, level)
    list[#list + 1] = nn.conv2d(from, to, 4,
      layers.halved(sizes[level - 1], { std = layers.he(from * 16), rng = rng }))
    list[#list + 1] = nn.leaky_relu(0.2)
  end
  return list
end

--- The shape that an encoder takes.
-- @tparam table t as a net's build takes it
-- @treturn {integer,...}
function layers.input(t)
  return t.input or t.output
end

--- A doubling to a size: each output pixel of a stride-2 4x4 transposed convolution sees 2x2 inputs.
function layers.doubling(from, to, size, rng)
  return nn.conv_transpose2d(from, to, 4, layers.halved(size, { std = layers.he(from * 4), rng = rng }))
end

return layers
