--- Coordinate convolutions and spatial soft-argmax points, for figures whose edges should be sharp.
local core = require "simvae.core"
local layers = require "simvae.nn.nets.support.layers"
local nn = require "simvae.nn"

local WIDTH = 16
local hidden = layers.hidden

local FINE = 128 -- pixels of the longer side, beyond which maps of coordinates have an eighth of it, and not a quarter

-- The maps of coordinates of an image: how often its sides are halved down to them, and their size.
local function grid_of(sizes)
  local level = math.max(table.unpack(sizes[0])) > FINE and 3 or 2
  return { level = level, rows = sizes[level][1], columns = sizes[level][2], cell = 2 ^ level,
    height = sizes[0][1], width = sizes[0][2] }
end

-- Functions of the coordinates (u, v) at the centres of the grid's cells: (10, cells). The image spans [-1, 1] in both;
-- the last cells of sides that the cell does not divide reach beyond it.
local function coordinate_functions(grid)
  local rows, cell, pi = {}, grid.cell, math.pi
  for i = 1, 10 do rows[i] = {} end
  for y = 1, grid.rows do
    for x = 1, grid.columns do
      local u, v = (2 * x - 1) * cell / grid.width - 1, (2 * y - 1) * cell / grid.height - 1
      local values = { 1, u, v, u * v, u * u - 1 / 3, v * v - 1 / 3, math.sin(pi * u), math.cos(pi * u),
        math.sin(pi * v), math.cos(pi * v) }
      for i, value in ipairs(values) do rows[i][(y - 1) * grid.columns + x] = value end
    end
  end
  return core.buffer(core.tensor(rows))
end

-- Coefficients to maps, (N, maps F) -> (N, maps, rows, columns): each map is a weighted sum of the coordinate
-- functions. With their first three it is the signed distance to a line, and so on.
local function expansion(functions, maps, grid)
  local F = functions.shape[1]
  return nn.layer {
    label = string.format("expansion of %d maps by %d coordinate functions", maps, F),
    forward = function(_, x)
      local n = x.shape[1]
      return core.reshape(core.matmul(core.reshape(x, n * maps, F), functions), n, maps, grid.rows, grid.columns)
    end,
  }
end

-- Spatial soft-argmax (Levine, Finn, Darrell and Abbeel 2016): (N, 3 points, rows, columns) -> (N, 2 points), u and v
-- of each point. A softmax over the cells of one map weights their coordinates; two further maps are offsets to the
-- right and upwards, in steps of two cells (compare Papandreou and others 2017): exact to less than a cell.
-- Second result: how concentrated each weight is, its sum of squares, (N, points).
local function points(count, grid)
  local cells = grid.rows * grid.columns
  local places = core.buffer(core.slice(coordinate_functions(grid), 1, 2, 3))
  local step = core.buffer(core.tensor { 4 * grid.cell / grid.width, 4 * grid.cell / grid.height })
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
      return core.reshape(at + offset * step, n, 2 * count), core.sum(core.square(weight), 3)
    end,
  }
end

-- The encoder: the convolutions of "conv" down to hidden units, then up to the size of the coordinates' maps, with skip
-- connections at each level (U-Net: Ronneberger, Fischer and Brox 2015), so that the maps depend on the whole image
-- and are exact about positions. The locations among the head's numbers (`t.locations`: count groups of size) are
-- coordinates of points, two numbers a point; hidden units give all others.
local function point_encoder(t, sizes, grid)
  local width, rng, levels = t.width or WIDTH, t.rng, #sizes
  local height, across = table.unpack(sizes[levels])
  local top, maps = layers.channels_at(width, levels), 2 * layers.channels_at(width, grid.level)
  local cells, groups = top * height * across, t.locations or { count = 1, size = t.code }
  local located = groups.count * groups.size
  local count = (located + 1) // 2
  local down, up = {}, {}
  for level = 1, levels do
    down[level] = nn.sequential(layers.halving_layers({}, layers.input(t)[1], width, sizes, level, level, rng))
  end
  for level = levels - 1, grid.level, -1 do
    up[#up + 1] = nn.sequential { layers.doubling(layers.channels_at(width, level + 1),
      layers.channels_at(width, level), sizes[level], rng), nn.leaky_relu(0.2) }
  end
  local inward = nn.sequential(layers.hidden_layers({ nn.reshape { cells } }, cells, 1, nn.leaky_relu, rng))
  local outward = nn.sequential { nn.linear(hidden, cells, { std = layers.he(hidden), rng = rng }), nn.leaky_relu(0.2),
    nn.reshape { top, height, across } }
  local marks = nn.sequential { nn.conv2d(maps, maps, 1, { std = layers.he(maps), rng = rng }), nn.leaky_relu(0.2),
    nn.conv2d(maps, 3 * count, 1, { std = layers.he(maps, 0.3), rng = rng }) }
  local found = points(count, grid)
  local rest = layers.head({}, hidden + 3 * count, t.heads - located, rng)
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
      local at, gathered = found(marks(core.concat({ h, seen[grid.level] }, 2)))
      local others = rest(core.concat({ units, at, gathered }, 2))
      local n = at.shape[1]
      -- in the head's order: of each group its locations and as many others, then the rest
      local heads = core.concat({ core.reshape(core.slice(at, 2, 1, located), n, groups.count, groups.size),
        core.reshape(core.slice(others, 2, 1, located), n, groups.count, groups.size) }, 3)
      heads = core.reshape(heads, n, 2 * located)
      return t.heads > 2 * located and core.concat({ heads, core.slice(others, 2, located + 1) }, 2) or heads
    end,
  }
end

--- Coordinate convolutions (Liu, Lehman, Molino and others 2018) and spatial soft-argmax points (Levine and others
-- 2016), for figures with sharp edges, which the decoder of "conv" blurs, in images of 8 to 512 pixels either way: half
-- the error in as many steps, each of twice the time. The decoder's hidden layers give coefficients of maps at a
-- quarter of the image's sides, of more than 128 pixels at an eighth, each a weighted sum of ten functions of the
-- coordinates; 1x1 convolutions make features of them, transposed convolutions the image. A straight edge is then three
-- numbers, and weights are shared between positions (compare the spatial broadcast decoder of Watters and others 2019).
-- The encoder locates points in the image and infers the parameters from their coordinates.
-- @tparam table t options
-- @treturn Layer decoder: (N, code) -> (N, …output)
-- @treturn Layer encoder: (N, …input) -> (N, heads)
-- @raise unknown options, an output that the net does not suit
-- @usage
-- local decoder, encoder = sv.nets.coordconv { code = 3, heads = 6, output = { 1, 32, 32 }, width = 8 }
-- print(encoder(decoder(rng:normal { 2, 3 })).shape)
local function coordconv(t)
  local sizes = layers.sizes("coordconv", t.output)
  if #sizes < 2 then sizes[2] = { (sizes[1][1] + 1) // 2, (sizes[1][2] + 1) // 2 } end
  local grid, channels, width, rng = grid_of(sizes), t.output[1], t.width or WIDTH, t.rng
  local functions = coordinate_functions(grid)
  local F, maps = functions.shape[1], 6 * width
  local decoder = layers.hidden_layers({}, t.code, 3, nn.silu, rng)
  decoder[#decoder + 1] = nn.linear(hidden, maps * F, { std = layers.he(hidden), rng = rng })
  decoder[#decoder + 1] = expansion(functions, maps, grid)
  decoder[#decoder + 1] = nn.silu()
  for _ = 1, 3 do
    decoder[#decoder + 1] = nn.conv2d(maps, maps, 1, { std = layers.he(maps), rng = rng })
    decoder[#decoder + 1] = nn.silu()
  end
  for level = grid.level, 1, -1 do
    local from = level == grid.level and maps or layers.channels_at(width, level + 1)
    local to = level == 1 and channels or layers.channels_at(width, level)
    decoder[#decoder + 1] = layers.doubling(from, to, sizes[level - 1], rng)
    if level > 1 then decoder[#decoder + 1] = nn.silu() end
  end
  return nn.sequential(decoder), point_encoder(t, sizes, grid)
end

return { build = coordconv, width = WIDTH }
