--- Convolutions of one axis, for long series.
local check = require "simvae.util.check"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local WIDTH = 16
local KERNEL, STRIDE = 8, 4
local LEAST = 16 -- elements of a series that is shortened
local hidden = layers.hidden

-- The lengths of a series after each layer of stride 4, rounded up, until they are 4 to 15; lengths[0] is its own.
local function lengths_of(output)
  if #output ~= 1 or output[1] < LEAST then
    check.fail(3, "net \"conv1d\" takes series {n} of %d elements or more; this simulator's output is %s: use net = "
      .. "\"mlp\"", LEAST, check.shape_text(output))
  end
  local n = output[1]
  local lengths = { [0] = n }
  while n >= LEAST do
    n = (n + STRIDE - 1) // STRIDE
    lengths[#lengths + 1] = n
  end
  return lengths
end

-- Options of a layer between two lengths: what is missing of the longer one's last four elements.
local function between(longer, shorter, more)
  more.stride, more.padding, more.right = STRIDE, (KERNEL - STRIDE) // 2, STRIDE * shorter - longer
  return more
end

--- Convolutions of one axis, stride 4, kernels of 8, for series of 16 elements or more, and transposed ones in the
-- decoder; weights by fan in, SiLU, and hidden linear layers of 256 between code and series, as "conv" has for images.
-- Of a feature whose place varies it needs fewer samples than "mlp" (notebooks/choosing.md).
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that is not a series
-- @usage
-- local decoder, encoder = sv.nets.conv1d { code = 3, heads = 6, output = { 100 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function conv1d(t)
  local lengths, inputs = lengths_of(t.output), check.count(layers.input(t))
  local levels, width, rng = #lengths, t.width or WIDTH, t.rng
  local top, last = layers.channels_at(width, levels), lengths[levels]
  local decoder = layers.hidden_layers({}, t.code, 3, nn.silu, rng)
  decoder[#decoder + 1] = nn.linear(hidden, top * last, { std = layers.he(hidden), rng = rng })
  decoder[#decoder + 1] = nn.silu()
  decoder[#decoder + 1] = nn.reshape { top, 1, last }
  for level = levels, 1, -1 do
    local from, to = layers.channels_at(width, level), level == 1 and 1 or layers.channels_at(width, level - 1)
    decoder[#decoder + 1] = nn.conv_transpose1d(from, to, KERNEL, between(lengths[level - 1], lengths[level],
      { std = layers.he(from * KERNEL // STRIDE), rng = rng }))
    if level > 1 then decoder[#decoder + 1] = nn.silu() end
  end
  decoder[#decoder + 1] = nn.reshape(t.output)
  local more = inputs - t.output[1] -- levels of the noise, behind the series
  local encoder = { nn.reshape { 1, 1, t.output[1] } }
  for level = 1, levels do
    local from, to = level == 1 and 1 or layers.channels_at(width, level - 1), layers.channels_at(width, level)
    encoder[#encoder + 1] = nn.conv1d(from, to, KERNEL, between(lengths[level - 1], lengths[level],
      { std = layers.he(from * KERNEL), rng = rng }))
    encoder[#encoder + 1] = nn.leaky_relu(0.2)
  end
  encoder[#encoder + 1] = nn.reshape { top * last }
  local head = layers.hidden_layers({}, top * last + more, 1, nn.leaky_relu, rng)
  head[#head + 1] = nn.linear(hidden, t.heads, { std = layers.he(hidden, 0.3), rng = rng })
  return nn.sequential(decoder), layers.series_encoder(nn.sequential(encoder), nn.sequential(head), t.output[1], more)
end

return { build = conv1d, width = WIDTH }
