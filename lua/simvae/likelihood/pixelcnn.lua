--- An autoregressive distribution of binary images: each pixel is 1 with a probability that depends on the decoder's
-- output, the parameters, and the pixels before it, row by row (PixelCNN: van den Oord, Kalchbrenner and Kavukcuoglu
-- 2016; of parameters: van den Oord and others 2016).
--
-- log q(x | z) is the sum over pixels of log q(x_i | x_1 … x_(i-1), z), of which one pass of masked convolutions gives
-- all terms: a mask zeroes the weights that would see a pixel itself (in the first layer) or later ones. A draw needs a
-- pass for each pixel, of the few rows that it depends on.
local check = require "simvae.util.check"
local core = require "simvae.core"
local nn = require "simvae.nn"
local normal = require "simvae.likelihood.support.normal"
local repeat_rows = require "simvae.util.repeat_rows"

local FIRST, KERNEL = 7, 3 -- sides of kernels: of the first layer, of the others
local FEATURES = 32        -- of a code
local CHUNK = 256          -- images that are drawn at a time

local Pixels = { trained = true }
Pixels.__index = Pixels

-- Ones before the kernel's centre, row by row, zeros behind it; at the centre `own`.
local function mask(side, own)
  local rows, middle = {}, (side + 1) // 2
  for i = 1, side do
    rows[i] = {}
    for j = 1, side do
      rows[i][j] = (i < middle or i == middle and j < middle) and 1 or i == middle and j == middle and own or 0
    end
  end
  return core.reshape(core.tensor(rows), 1, 1, side, side)
end

-- A convolution with the weights behind the mask zeroed.
local function masked(from, to, side, own, rng)
  local seen = core.buffer(mask(side, own))
  local taps = core.sum(seen):item()
  local layer = nn.conv2d(from, to, side, { padding = side // 2, std = math.sqrt(2 / (from * taps)), rng = rng })
  function layer:forward(x)
    return core.conv2d(x, self.own.weight * seen, self.own.bias, { padding = side // 2 })
  end
  layer.fuses = nil
  return layer
end

-- Logits (R, 1, h, W) of some rows of images, from pixels, the decoder's logits, both (R, 1, h, W), and what each place
-- knows without pixels.
local function logits(self, x, y, known)
  local h = core.relu(self.first(x * 2 - 1) + known)
  for _, block in ipairs(self.blocks) do h = h + core.relu(block(h)) end
  return y + self.last(h)
end

-- What each place knows without pixels (R, channels, H, W): the decoder's logits around it, and the code.
local function known_of(self, y, code)
  return self.beside(core.clamp(y, -8, 8)) + core.reshape(self.features(code), code.shape[1], self.channels, 1, 1)
end

local function as_image(self, t) return core.reshape(t, t.shape[1], 1, self.height, self.width) end

function Pixels:log_prob(y, code, x)
  if not core.abs(core.abs(x - 0.5) - 0.5):within(0, 0) then
    check.fail(2, "decoder \"pixelcnn\" takes images of pixels that are 0 or 1; this simulator gives others: "
      .. "\"bernoulli\" takes numbers between them")
  end
  y = as_image(self, y)
  local l = core.reshape(logits(self, as_image(self, x), y, known_of(self, y, code)), x.shape[1], -1)
  return core.sum(x * l - core.softplus(l), 2)
end

-- Draws of some images: pixel by pixel, from the rows that it depends on.
local function draw_some(self, y, code, rng)
  local R, H, W = y.shape[1], self.height, self.width
  local u = rng:uniform(0, 1, { H * W, R }) -- pixels first: each one's are a view
  local known, rows = known_of(self, y, code), {} -- rows: of the images so far
  for r = 1, H do
    local above = math.max(1, r - self.reach)
    local around, there = core.slice(y, 3, above, r), core.slice(known, 3, above, r)
    local before = r > above and core.concat(table.move(rows, above, r - 1, 1, {}), 3) or nil
    local pixels = core.zeros(R, 1, 1, W)
    for c = 1, W do
      local x = before and core.concat({ before, pixels }, 3) or pixels
      local l = core.slice(core.slice(logits(self, x, around, there), 3, -1, -1), 4, c, c)
      local one = core.clamp((core.sigmoid(l) - core.reshape(u[(r - 1) * W + c], R, 1, 1, 1)) * 1e30, 0, 1)
      local parts = { one }
      if c > 1 then table.insert(parts, 1, core.slice(pixels, 4, 1, c - 1)) end
      if c < W then parts[#parts + 1] = core.zeros(R, 1, 1, W - c) end
      pixels = core.concat(parts, 4)
    end
    rows[r] = pixels
  end
  return core.reshape(core.concat(rows, 3), R, H * W)
end

function Pixels:draw(y, code, n, rng)
  local all = core.reshape(normal.repeated(y, n), -1, self.height * self.width)
  local codes, parts = repeat_rows(code, n), {}
  for from = 1, all.shape[1], CHUNK do
    local to = math.min(from + CHUNK - 1, all.shape[1])
    local scope <close> = core.scope()
    parts[#parts + 1] = scope:keep(draw_some(self, as_image(self, core.slice(all, 1, from, to)),
      core.slice(codes, 1, from, to), rng))
  end
  return core.reshape(#parts == 1 and parts[1] or core.concat(parts, 1), y.shape[1], n, -1)
end

return {
  options = {
    channels = { "integer", default = 16, min = 1, max = 512, doc = "of each convolution" },
    layers = { "integer", default = 4, min = 1, max = 64, doc = "convolutions of 3 x 3 pixels, behind one of 7 x 7" },
  },
  logits = true,
  new = function(t)
    if #t.output ~= 3 or t.output[1] ~= 1 then
      check.fail(5, "model: decoder \"pixelcnn\" takes images of one channel, {1, height, width}; the output is %s",
        check.shape_text(t.output))
    end
    local C, rng = t.channels, t.rng
    local self = setmetatable({ height = t.output[2], width = t.output[3], channels = C, blocks = {} }, Pixels)
    self.reach = FIRST // 2 + t.layers * (KERNEL // 2)
    self.first = masked(1, C, FIRST, 0, rng)
    self.beside = nn.conv2d(1, C, KERNEL, { padding = KERNEL // 2, std = math.sqrt(2 / KERNEL ^ 2), rng = rng })
    for i = 1, t.layers do self.blocks[i] = masked(C, C, KERNEL, 1, rng) end
    self.last = nn.conv2d(C, 1, 1, { std = 0.01 / math.sqrt(C), rng = rng })
    self.features = nn.sequential { nn.linear(t.code, FEATURES, { std = 1 / math.sqrt(t.code), rng = rng }), nn.silu(),
      nn.linear(FEATURES, C, { std = math.sqrt(2 / FEATURES), rng = rng }) }
    self.net = nn.layer { label = "PixelCNN", inner = { self.first, self.beside, self.last, self.features,
      table.unpack(self.blocks) }, forward = function() end }
    return self
  end,
}
