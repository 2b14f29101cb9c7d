--- What the networks for series share: a decoder, and how their encoders end.
local check = require "simvae.util.check"
local core = require "simvae.core"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local KERNEL, STRIDE = 8, 4
local LEAST = 16 -- elements of a series that is shortened
local hidden = layers.hidden

local series = { width = 16 }

--- The lengths of a series after each layer of stride 4, rounded up, until they are 4 to 15; or an error that names the
-- net.
-- @tparam string name
-- @tparam {integer} output
-- @treturn {integer,...} lengths[0] is its own
function series.lengths(name, output)
  if #output ~= 1 or output[1] < LEAST then
    check.fail(4, "net \"%s\" takes series {n} of %d elements or more; this simulator's output is %s: use net = \"%s\"",
      name, LEAST, check.shape_text(output), layers.suits(output) and "conv" or "mlp")
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

--- Hidden linear layers, then transposed convolutions of stride 4.
-- @tparam table t as a net's build takes it
-- @tparam {integer,...} lengths
-- @treturn Layer (N, code) -> (N, n)
function series.decoder(t, lengths)
  local levels, width, rng = #lengths, t.width or series.width, t.rng
  local top, last = layers.channels_at(width, levels), lengths[levels]
  local list = layers.hidden_layers({}, t.code, 3, nn.silu, rng)
  list[#list + 1] = nn.linear(hidden, top * last, { std = layers.he(hidden), rng = rng })
  list[#list + 1] = nn.silu()
  list[#list + 1] = nn.reshape { top, 1, last }
  for level = levels, 1, -1 do
    local from, to = layers.channels_at(width, level), level == 1 and 1 or layers.channels_at(width, level - 1)
    list[#list + 1] = nn.conv_transpose1d(from, to, KERNEL, between(lengths[level - 1], lengths[level],
      { std = layers.he(from * KERNEL // STRIDE), rng = rng }))
    if level > 1 then list[#list + 1] = nn.silu() end
  end
  list[#list + 1] = nn.reshape(t.output)
  return nn.sequential(list)
end

--- Convolutions of stride 4, appended to a list: (N, n) -> (N, channels_at(width, count), 1, lengths[count]).
-- @tparam table list of layers
-- @tparam table t as a net's build takes it
-- @tparam {integer,...} lengths
-- @tparam integer count of layers
-- @treturn table list
function series.shortening(list, t, lengths, count)
  local width, rng = t.width or series.width, t.rng
  list[#list + 1] = nn.reshape { 1, 1, lengths[0] }
  for level = 1, count do
    local from, to = level == 1 and 1 or layers.channels_at(width, level - 1), layers.channels_at(width, level)
    list[#list + 1] = nn.conv1d(from, to, KERNEL, between(lengths[level - 1], lengths[level],
      { std = layers.he(from * KERNEL), rng = rng }))
    list[#list + 1] = nn.leaky_relu(0.2)
  end
  return list
end

--- An encoder: a network reads the series; a hidden layer and a linear one give the head's numbers from what it finds
-- and from the numbers behind the series, such as the level of its noise.
-- @tparam table t as a net's build takes it
-- @tparam Layer reader (N, n) -> (N, F)
-- @tparam integer F
-- @treturn Layer (N, …input) -> (N, heads)
function series.encoder(t, reader, F)
  local n = t.output[1]
  local more = check.count(layers.input(t)) - n
  local head = nn.sequential(layers.head({}, F + more, t.heads, t.rng))
  if more == 0 then return nn.sequential { reader, head } end
  return nn.layer {
    label = "encoder of a series and " .. more .. " more", inner = { reader, head },
    forward = function(_, x)
      local found = reader(core.slice(x, 2, 1, n))
      return head(core.concat({ found, core.slice(x, 2, n + 1, n + more) }, 2))
    end,
  }
end

local STEPS = 256 -- of a recurrent layer, at most

--- A recurrent encoder: convolutions of stride 4 until there are 256 steps or fewer, one of them at least, then a
-- recurrent layer, of whose states the last one and the mean are read.
-- @tparam table t as a net's build takes it
-- @tparam {integer,...} lengths
-- @tparam function layer nn.gru or nn.lstm
-- @treturn Layer (N, …input) -> (N, heads)
function series.recurrent(t, lengths, layer)
  local width = t.width or series.width
  local count, units = 1, 4 * width
  while lengths[count] > STEPS do count = count + 1 end
  local channels = layers.channels_at(width, count)
  local list = series.shortening({}, t, lengths, count)
  list[#list + 1] = nn.func(function(x) -- to (N, T, channels)
    return core.permute(core.reshape(x, x.shape[1], channels, lengths[count]), 1, 3, 2)
  end)
  list[#list + 1] = layer(channels, units, { rng = t.rng })
  list[#list + 1] = nn.func(function(states)
    return core.concat({ core.reshape(core.slice(states, 2, -1, -1), states.shape[1], units), core.mean(states, 2) }, 2)
  end)
  return series.encoder(t, nn.sequential(list), 2 * units)
end

return series
