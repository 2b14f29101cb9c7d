--- Networks from layers: a decoder (code -> output) and an encoder (output -> heads).
--
-- Each builder takes { code = inputs of the decoder, answers = A, heads = outputs of the encoder (of each answer its
-- means and logarithms of standard deviations, then the scores of the answers where there are several),
-- output = {C, H, W} or {n}, width =, rng = } and returns decoder, encoder.
local check = require "simvae.util.check"
local core = require "simvae.core"
local nn = require "simvae.nn"

local nets = { names = { "conv", "place", "dcgan", "mlp" } }

-- How often a side can be halved, and what is left: 64 -> 4 times, 4.
local function halvings(side)
  local n = 0
  while side % 2 == 0 and side // 2 >= 4 do
    side = side // 2
    n = n + 1
  end
  return n, side
end

-- Channels after `level` halvings: they double with each, from width next to the data.
local function channels_at(width, level)
  return math.floor(width * 2 ^ (level - 1))
end

-- The side and levels of square images, or an error that names the net.
local function check_square(name, output)
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

--- DCGAN (Radford, Metz and Chintala 2016) for square images of 16 to 128 pixels:
-- stride-2 4x4 kernels, batch norm everywhere but next to the data, ReLU in the
-- decoder and leaky ReLU 0.2 in the encoder, weights ~ N(0, 0.02).
function nets.dcgan(t)
  local levels, base = check_square("dcgan", t.output)
  local channels, width, rng, std = t.output[1], t.width or 32, t.rng, 0.02
  local top = channels_at(width, levels)
  local decoder = {
    nn.linear(t.code, top * base * base, { std = std, bias = false, rng = rng }),
    nn.reshape { top, base, base },
    nn.batch_norm(top, { std = std, rng = rng }), nn.relu(),
  }
  local encoder = {
    nn.conv2d(channels, width, 4, { stride = 2, padding = 1, std = std, rng = rng }), nn.leaky_relu(0.2),
  }
  for level = 1, levels - 1 do
    local inner, outer = channels_at(width, levels - level + 1), channels_at(width, levels - level)
    decoder[#decoder + 1] = nn.conv_transpose2d(inner, outer, 4,
      { stride = 2, padding = 1, std = std, bias = false, rng = rng })
    decoder[#decoder + 1] = nn.batch_norm(outer, { std = std, rng = rng })
    decoder[#decoder + 1] = nn.relu()
    encoder[#encoder + 1] = nn.conv2d(channels_at(width, level), channels_at(width, level + 1), 4,
      { stride = 2, padding = 1, std = std, bias = false, rng = rng })
    encoder[#encoder + 1] = nn.batch_norm(channels_at(width, level + 1), { std = std, rng = rng })
    encoder[#encoder + 1] = nn.leaky_relu(0.2)
  end
  decoder[#decoder + 1] = nn.conv_transpose2d(width, channels, 4, { stride = 2, padding = 1, std = std, rng = rng })
  encoder[#encoder + 1] = nn.reshape { top * base * base }
  encoder[#encoder + 1] = nn.linear(top * base * base, t.heads, { std = std, rng = rng })
  return nn.sequential(decoder), nn.sequential(encoder)
end

-- Weights by their fan in (He, Zhang, Ren and Sun 2015): their standard deviation.
local function he(fan_in, gain) return (gain or 1) * math.sqrt(2 / fan_in) end

local hidden = 256 -- width of the hidden linear layers beside convolutions

-- Hidden linear layers with an activation behind each.
local function hidden_layers(list, from, count, activation, rng)
  for i = 1, count do
    local inputs = i == 1 and from or hidden
    list[#list + 1] = nn.linear(inputs, hidden, { std = he(inputs), rng = rng })
    list[#list + 1] = activation()
  end
  return list
end

-- Halvings of an image's side by stride-2 4x4 convolutions, from one level to another.
local function halving_layers(list, channels, width, first, last, rng)
  for level = first, last do
    local from, to = level == 1 and channels or channels_at(width, level - 1), channels_at(width, level)
    list[#list + 1] = nn.conv2d(from, to, 4, { stride = 2, padding = 1, std = he(from * 16), rng = rng })
    list[#list + 1] = nn.leaky_relu(0.2)
  end
  return list
end

-- A doubling: each output pixel of a stride-2 4x4 transposed convolution sees 2x2 inputs.
local function doubling(from, to, rng)
  return nn.conv_transpose2d(from, to, 4, { stride = 2, padding = 1, std = he(from * 4), rng = rng })
end

--- The same convolutions without batch norm, weights by fan in, SiLU in the decoder, and
-- hidden linear layers of 256 between code and picture, where the geometry is: trains
-- faster and closer than "dcgan" on the built-in simulators (notebooks/recipes.md).
function nets.conv(t)
  local levels, base = check_square("conv", t.output)
  local channels, width, rng = t.output[1], t.width or 16, t.rng
  local top = channels_at(width, levels)
  local decoder = hidden_layers({}, t.code, 3, nn.silu, rng)
  decoder[#decoder + 1] = nn.linear(hidden, top * base * base, { std = he(hidden), rng = rng })
  decoder[#decoder + 1] = nn.silu()
  decoder[#decoder + 1] = nn.reshape { top, base, base }
  for level = levels, 1, -1 do
    local from, to = channels_at(width, level), level == 1 and channels or channels_at(width, level - 1)
    decoder[#decoder + 1] = doubling(from, to, rng)
    if level > 1 then decoder[#decoder + 1] = nn.silu() end
  end
  local encoder = halving_layers({}, channels, width, 1, levels, rng)
  encoder[#encoder + 1] = nn.reshape { top * base * base }
  hidden_layers(encoder, top * base * base, 1, nn.leaky_relu, rng)
  encoder[#encoder + 1] = nn.linear(hidden, t.heads, { std = he(hidden, 0.3), rng = rng })
  return nn.sequential(decoder), nn.sequential(encoder)
end

-- Functions of a place (u, v), each in [-1, 1], on the middles of side x side cells: (10, side^2).
local function place_functions(side)
  local rows = {}
  for i = 1, 10 do rows[i] = {} end
  for y = 1, side do
    for x = 1, side do
      local u, v = (2 * x - 1) / side - 1, (2 * y - 1) / side - 1
      local values = { 1, u, v, u * v, u * u - 1 / 3, v * v - 1 / 3, math.sin(math.pi * u), math.cos(math.pi * u),
        math.sin(math.pi * v), math.cos(math.pi * v) }
      for i, value in ipairs(values) do rows[i][(y - 1) * side + x] = value end
    end
  end
  return core.buffer(core.tensor(rows))
end

-- Coefficients to maps, (N, maps F) -> (N, maps, side, side): each map is a sum of place functions. With their first
-- three it is the signed distance to a line, and so on.
local function expansion(functions, maps, side)
  local F = functions.shape[1]
  return nn.layer {
    label = string.format("expansion of %d maps by %d functions of the place", maps, F),
    forward = function(_, x)
      local n = x.shape[1]
      return core.reshape(core.matmul(core.reshape(x, n * maps, F), functions), n, maps, side, side)
    end,
  }
end

-- Where the maps of a picture have their weight, (N, 3 points, side, side) -> (N, 2 points), the u and v of each point.
-- One map's softmax over the places says where the point is looked for ("feature points": Finn, Tan, Duan, Darrell,
-- Levine and Abbeel 2016), two how far to the right and up of there it is, in steps of two cells: exact to less than a
-- cell, and what is learned at one place holds at all (compare the offsets of Papandreou and others 2017).
-- Beside them, how gathered each point's map is: its sum of squares, (N, points).
local function points(count, side)
  local cells = side * side
  local places = core.buffer(core.slice(place_functions(side), 1, 2, 3))
  return nn.layer {
    label = string.format("%d points", count),
    forward = function(_, x)
      local n = x.shape[1]
      local maps = core.reshape(x, n, 3 * count, cells)
      local weight = core.softmax(core.slice(maps, 2, 1, count), 3)
      local at = core.matmul(core.reshape(weight, n * count, cells), places, { transpose_y = true })
      local offsets = {}
      for axis = 1, 2 do
        offsets[axis] = core.sum(weight * core.slice(maps, 2, axis * count + 1, (axis + 1) * count), 3)
      end
      local offset = core.reshape(core.stack(offsets, 3), n * count, 2)
      return core.reshape(at + offset * (4 / side), n, 2 * count), core.sum(core.square(weight), 3)
    end,
  }
end

-- The encoder of "place": the halvings of "conv" down to hidden units, from there back up to a quarter of the
-- picture's side, joined at each level with what it was on the way down (Ronneberger, Fischer and Brox 2015), so that
-- maps know what is everywhere and are exact about where. Two numbers of a code after the other are the coordinates of
-- a point; what is no place finds its way into the offsets. Hidden units give the standard deviations and scores.
local function place_encoder(t, levels, base)
  local width, rng, side = t.width or 16, t.rng, t.output[2] // 4
  local top, maps = channels_at(width, levels), 4 * width
  local cells, answers = top * base * base, t.answers or 1
  local means = answers * t.code
  local count = (means + 1) // 2
  local down, up = {}, {}
  for level = 1, levels do
    down[level] = nn.sequential(halving_layers({}, t.output[1], width, level, level, rng))
  end
  for level = levels - 1, 2, -1 do
    up[#up + 1] = nn.sequential { doubling(channels_at(width, level + 1), channels_at(width, level), rng),
      nn.leaky_relu(0.2) }
  end
  local inward = nn.sequential(hidden_layers({ nn.reshape { cells } }, cells, 1, nn.leaky_relu, rng))
  local outward = nn.sequential { nn.linear(hidden, cells, { std = he(hidden), rng = rng }), nn.leaky_relu(0.2),
    nn.reshape { top, base, base } }
  local marks = nn.sequential { nn.conv2d(maps, maps, 1, { std = he(maps), rng = rng }), nn.leaky_relu(0.2),
    nn.conv2d(maps, 3 * count, 1, { std = he(maps, 0.3), rng = rng }) }
  local found = points(count, side)
  local rest = hidden_layers({}, hidden + 3 * count, 1, nn.leaky_relu, rng)
  rest[#rest + 1] = nn.linear(hidden, t.heads - means, { std = he(hidden, 0.3), rng = rng })
  rest = nn.sequential(rest)
  local inner = { inward, outward, marks, found, rest }
  table.move(down, 1, #down, #inner + 1, inner)
  table.move(up, 1, #up, #inner + 1, inner)
  return nn.layer {
    label = "points and hidden units", inner = inner,
    forward = function(_, x)
      local seen = {}
      for level = 1, levels do
        x = down[level](x)
        seen[level] = x
      end
      local units = inward(x)
      local h = outward(units) + x
      for i, double in ipairs(up) do
        h = double(h)
        if i < #up then h = h + seen[levels - i] end
      end
      local at, gathered = found(marks(core.concat({ h, seen[2] }, 2)))
      local spread = rest(core.concat({ units, at, gathered }, 2))
      local n = at.shape[1]
      -- as heads stand: of each answer its means and its standard deviations, then the scores
      local heads = core.concat({ core.reshape(core.slice(at, 2, 1, means), n, answers, t.code),
        core.reshape(core.slice(spread, 2, 1, means), n, answers, t.code) }, 3)
      heads = core.reshape(heads, n, 2 * means)
      return answers > 1 and core.concat({ heads, core.slice(spread, 2, means + 1) }, 2) or heads
    end,
  }
end

--- For figures with edges, which the decoder of "conv" leaves blurred: it learns twice as close in as many steps, of
-- twice the time each. Its hidden layers give the coefficients of maps over the picture at a quarter of its side, each
-- a sum of ten functions of the place; layers that see one place each (1x1 convolutions) make features of them, two
-- doublings the picture. So a line through the picture is three numbers, and what is learned at one place holds at all
-- (compare the spatial broadcast decoder of Watters, Matthey, Burgess and Lerchner 2019, where code and place meet in a
-- sum). The encoder finds points in the picture and answers from where they are.
function nets.place(t)
  local levels, base = check_square("place", t.output)
  local channels, width, rng, side = t.output[1], t.width or 16, t.rng, t.output[2] // 4
  local functions = place_functions(side)
  local F, maps = functions.shape[1], 6 * width
  local decoder = hidden_layers({}, t.code, 3, nn.silu, rng)
  decoder[#decoder + 1] = nn.linear(hidden, maps * F, { std = he(hidden), rng = rng })
  decoder[#decoder + 1] = expansion(functions, maps, side)
  decoder[#decoder + 1] = nn.silu()
  for _ = 1, 3 do
    decoder[#decoder + 1] = nn.conv2d(maps, maps, 1, { std = he(maps), rng = rng })
    decoder[#decoder + 1] = nn.silu()
  end
  decoder[#decoder + 1] = doubling(maps, 2 * width, rng)
  decoder[#decoder + 1] = nn.silu()
  decoder[#decoder + 1] = doubling(2 * width, channels, rng)
  return nn.sequential(decoder), place_encoder(t, levels, base)
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

-- A net of one's own as a layer in evaluation mode.
local function own_layer(net, part)
  if type(net) == "function" then net = nn.func(net) end
  if not nn.is(net) then
    check.fail(4, "net: the %s must be a layer (sv.nn) or a function; got %s; a builder returns decoder, encoder", part,
      check.describe(net))
  end
  return net:eval()
end

-- Raises unless a net of one's own takes and gives tensors of these shapes.
local function try_shapes(net, part, given, wanted)
  local ok, shape = pcall(core.no_grad, function()
    local scope <close> = core.scope()
    local y = net(core.zeros(given))
    return getmetatable(y) == core.metatable and check.shape_text(y.shape) or check.describe(y)
  end)
  local takes = string.format("net: the %s takes %s and gives %s", part, check.shape_text(given),
    check.shape_text(wanted))
  if not ok then check.fail(4, "%s; it failed: %s", takes, tostring(shape)) end
  if shape ~= check.shape_text(wanted) then check.fail(4, "%s; this one gives %s", takes, shape) end
end

-- Decoder and encoder of a caller, as layers, tried on two samples.
local function own_nets(decoder, encoder, t)
  decoder, encoder = own_layer(decoder, "decoder"), own_layer(encoder, "encoder")
  try_shapes(decoder, "decoder", { 2, t.code }, { 2, table.unpack(t.output) })
  try_shapes(encoder, "encoder", { 2, table.unpack(t.output) }, { 2, t.heads })
  return decoder, encoder
end

--- Builds what sv.model was asked for.
-- @param net a name ("conv", "place", "dcgan", "mlp"), a builder function, or { decoder = Layer, encoder = Layer }
-- @tparam table t code, heads, output, width, rng
-- @treturn Layer decoder
-- @treturn Layer encoder
function nets.build(net, t)
  local decoder, encoder
  if type(net) == "table" and net.decoder and net.encoder then
    decoder, encoder = own_nets(net.decoder, net.encoder, t)
    return decoder, encoder
  elseif type(net) == "function" then
    decoder, encoder = net(t)
    decoder, encoder = own_nets(decoder, encoder, t)
    return decoder, encoder
  end
  local build
  for _, name in ipairs(nets.names) do
    if net == name then build = nets[name] end
  end
  if not build then
    check.fail(3, "net is \"conv\", \"place\", \"dcgan\", \"mlp\", a function, or { decoder =, encoder = }; got %s",
      check.describe(net))
  end
  return build(t)
end

return nets
