--- Networks from layers: a decoder (code -> output) and an encoder (output -> heads).
--
-- Each builder takes { code = inputs of the decoder, heads = outputs of the encoder,
-- output = {C, H, W} or {n}, width =, rng = } and returns decoder, encoder.
local check = require "simvae.check"
local nn = require "simvae.nn"

local nets = {}

-- How often a side can be halved, and what is left: 64 -> 4 times, 4.
local function halvings(side)
  local n = 0
  while side % 2 == 0 and side // 2 >= 4 do
    side = side // 2
    n = n + 1
  end
  return n, side
end

--- DCGAN (Radford, Metz and Chintala 2016) for square images of 16 to 128 pixels:
-- stride-2 4x4 kernels, batch norm everywhere but next to the data, ReLU in the
-- decoder and leaky ReLU 0.2 in the encoder, weights ~ N(0, 0.02). Channels double
-- with each halving of the side, from `width` next to the data.
function nets.dcgan(t)
  local channels, height, side = table.unpack(t.output)
  if #t.output ~= 3 or height ~= side then
    check.fail(3, "net \"dcgan\" needs square images {C, S, S}; this simulator's output is %s: use net = \"mlp\"",
      check.shape_text(t.output))
  end
  local levels, base = halvings(side)
  if side < 16 or side > 128 or levels < 1 or base > 8 then
    check.fail(3, "net \"dcgan\" takes sides of 16 to 128 pixels that halve down to 4 to 8 (16, 24, 28, 32, 40, 48, "
      .. "64, 96, 128, …); this simulator's images have %d: use net = \"mlp\" or another resolution", side)
  end
  local width, rng, std = t.width or 32, t.rng, 0.02
  local function at(level) return width * 2 ^ (level - 1) // 1 | 0 end -- channels after `level` halvings

  local top = at(levels)
  local decoder = {
    nn.linear(t.code, top * base * base, { std = std, bias = false, rng = rng }),
    nn.reshape { top, base, base },
    nn.batch_norm(top, { std = std, rng = rng }), nn.relu(),
  }
  for level = levels - 1, 1, -1 do
    decoder[#decoder + 1] = nn.conv_transpose2d(at(level + 1), at(level), 4,
      { stride = 2, padding = 1, std = std, bias = false, rng = rng })
    decoder[#decoder + 1] = nn.batch_norm(at(level), { std = std, rng = rng })
    decoder[#decoder + 1] = nn.relu()
  end
  decoder[#decoder + 1] = nn.conv_transpose2d(width, channels, 4, { stride = 2, padding = 1, std = std, rng = rng })

  local encoder = {
    nn.conv2d(channels, width, 4, { stride = 2, padding = 1, std = std, rng = rng }), nn.leaky_relu(0.2),
  }
  for level = 2, levels do
    encoder[#encoder + 1] = nn.conv2d(at(level - 1), at(level), 4,
      { stride = 2, padding = 1, std = std, bias = false, rng = rng })
    encoder[#encoder + 1] = nn.batch_norm(at(level), { std = std, rng = rng })
    encoder[#encoder + 1] = nn.leaky_relu(0.2)
  end
  encoder[#encoder + 1] = nn.reshape { top * base * base }
  encoder[#encoder + 1] = nn.linear(top * base * base, t.heads, { std = std, rng = rng })
  return nn.sequential(decoder), nn.sequential(encoder)
end

--- Multilayer perceptron for outputs of any shape: three hidden layers of `width` in
-- both directions, GELU (the paper's "simple feed-forward architecture" for vectors).
function nets.mlp(t)
  local outputs = 1
  for _, n in ipairs(t.output) do outputs = outputs * n end
  local width, rng = t.width or 128, t.rng
  local function stack(from, to)
    return {
      nn.linear(from, width, { rng = rng }), nn.gelu(),
      nn.linear(width, width, { rng = rng }), nn.gelu(),
      nn.linear(width, width, { rng = rng }), nn.gelu(),
      nn.linear(width, to, { rng = rng }),
    }
  end
  local decoder, encoder = stack(t.code, outputs), stack(outputs, t.heads)
  if #t.output > 1 then
    decoder[#decoder + 1] = nn.reshape(t.output)
    table.insert(encoder, 1, nn.reshape { outputs })
  end
  return nn.sequential(decoder), nn.sequential(encoder)
end

--- Builds what sv.model was asked for.
-- @param net a name ("dcgan", "mlp"), a builder function, or { decoder = Layer, encoder = Layer }
-- @tparam table t code, heads, output, width, rng
-- @treturn Layer decoder
-- @treturn Layer encoder
function nets.build(net, t)
  if type(net) == "table" and net.decoder and net.encoder then
    for _, part in ipairs { "decoder", "encoder" } do
      if not nn.is(net[part]) then
        if type(net[part]) ~= "function" then
          check.fail(3, "net.%s must be a layer (sv.nn) or a function; got %s", part, check.describe(net[part]))
        end
        net[part] = nn.func(net[part])
      end
    end
    return net.decoder, net.encoder
  end
  local build = type(net) == "function" and net or nets[net]
  if not build or net == "build" then
    check.fail(3, "net is \"dcgan\", \"mlp\", a function, or { decoder =, encoder = }; got %s", check.describe(net))
  end
  return build(t)
end

return nets
