--- Layers shared by the networks for images.
local check = require "simvae.util.check"
local nn = require "simvae.nn"

local layers = {}

-- How often a side can be halved, and the remaining side: 64 -> 4 times, 4.
local function halvings(side)
  local n = 0
  while side % 2 == 0 and side // 2 >= 4 do
    side = side // 2
    n = n + 1
  end
  return n, side
end

--- Channels after `level` halvings: they double with each, from width next to the data.
function layers.channels_at(width, level)
  return math.floor(width * 2 ^ (level - 1))
end

--- The side and levels of square images, or an error that names the net.
function layers.check_square(name, output)
  local _, height, side = table.unpack(output)
  if #output ~= 3 or height ~= side then
    check.fail(4, "net \"%s\" needs square images {C, S, S}; this simulator's output is %s: use net = \"mlp\"",
      name, check.shape_text(output))
  end
  local levels, base = halvings(side)
  if side < 16 or side > 128 or levels < 1 or base > 8 then
    check.fail(4, "net \"%s\" takes sides of 16 to 128 pixels that halve down to 4 to 8 (16, 24, 28, 32, 40, 48, "
      .. "64, 96, 128, …); this simulator's images have %d: use net = \"mlp\" or another resolution", name, side)
  end
  return levels, base
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

--- Halvings of an image's side by stride-2 4x4 convolutions, from one level to another.
function layers.halving_layers(list, channels, width, first, last, rng)
  for level = first, last do
    local from, to = level == 1 and channels or layers.channels_at(width, level - 1), layers.channels_at(width, level)
    list[#list + 1] = nn.conv2d(from, to, 4, { stride = 2, padding = 1, std = layers.he(from * 16), rng = rng })
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

--- A doubling: each output pixel of a stride-2 4x4 transposed convolution sees 2x2 inputs.
function layers.doubling(from, to, rng)
  return nn.conv_transpose2d(from, to, 4, { stride = 2, padding = 1, std = layers.he(from * 4), rng = rng })
end

return layers
