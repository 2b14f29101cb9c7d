--- Preprocessing of images from elsewhere for a simulator's encoder.
--
--     local x = assert(sv.preprocess.load("curve.png", fourier.output))     -- (1, 64, 64)
--     local z = model:encode(x)
--
-- In this order: transparent pixels are composited on white; one channel is the luma of ITU-R BT.709, three repeat it;
-- the image is padded with its background to the target's proportions, without stretching, and resized by area
-- averaging; a dark background is inverted where a light one is wanted, and vice versa; contrast is stretched so that
-- the background is 1 and the darkest ink 0.
--
-- The background is the median of the image's border.
local check = require "simvae.util.check"
local core = require "simvae.core"

local preprocess = {}

local SLACK = 1e-3 -- tolerance beyond [0, 1], for interpolation and rounding of images

local options = check.declare("preprocess.picture", {
  ground = { "string", default = "light", one_of = { "light", "dark", "keep" },
    doc = "the ground that images of the simulator have: an image whose ground is the other is inverted; \"keep\": "
      .. "none is" },
  stretch = { "boolean", default = true,
    doc = "moves the ground to 1 and the farthest ink to 0 (dark ground: the other way round)" },
})

check.declare("preprocess.load", options)

local function to_channels(x, channels)
  local C, H, W = table.unpack(x.shape)
  if C == channels then return x end
  if channels == 1 then
    local weight = C >= 3 and { 0.2126, 0.7152, 0.0722 } or { 1 }
    local grey = core.zeros(H, W)
    for c, w in ipairs(weight) do grey = grey + x[c] * w end
    return grey:reshape(1, H, W)
  end
  local parts = {}
  for c = 1, channels do parts[c] = x[math.min(c, C)]:reshape(1, H, W) end
  return core.concat(parts, 1)
end

-- Median of the border's pixels, over all channels.
local function ground_of(x)
  local values = {}
  for _, plane in ipairs(x:totable()) do
    local H, W = #plane, #plane[1]
    for r = 1, H do
      local step = (r == 1 or r == H) and 1 or math.max(1, W - 1)
      for c = 1, W, step do values[#values + 1] = plane[r][c] end
    end
  end
  table.sort(values)
  return values[(#values + 1) // 2]
end

local function pad_to(x, height, width, ground)
  local C, H, W = table.unpack(x.shape)
  local h, w = math.max(H, math.ceil(W * height / width)), math.max(W, math.ceil(H * width / height))
  if h == H and w == W then return x end
  local top, left = (h - H) // 2, (w - W) // 2
  local function blank(rows, columns) return core.full(ground, { C, rows, columns }) end
  local parts = {}
  if left > 0 then parts[#parts + 1] = blank(H, left) end
  parts[#parts + 1] = x
  if w - W - left > 0 then parts[#parts + 1] = blank(H, w - W - left) end
  x = #parts > 1 and core.concat(parts, 3) or x
  parts = {}
  if top > 0 then parts[#parts + 1] = blank(top, w) end
  parts[#parts + 1] = x
  if h - H - top > 0 then parts[#parts + 1] = blank(h - H - top, w) end
  return #parts > 1 and core.concat(parts, 2) or x
end

-- (to, from): row i has the shares of the old pixels that new pixel i covers.
local function coverage(from, to)
  local m = core.zeros(to, from)
  local size = from / to
  for i = 1, to do
    local a, b = (i - 1) * size, i * size
    for j = math.floor(a) + 1, math.min(from, math.ceil(b)) do
      local share = math.min(b, j) - math.max(a, j - 1)
      if share > 0 then m:set(share / size, i, j) end
    end
  end
  return m
end

--- Resizes an image by area averaging.
-- @tparam tensor x (C, H, W)
-- @tparam integer height
-- @tparam integer width
-- @treturn tensor (C, height, width)
-- @raise a tensor that is not an image
-- @usage print(sv.preprocess.resize(x[1], 16, 16).shape)
function preprocess.resize(x, height, width)
  if getmetatable(x) ~= core.metatable or x.ndim ~= 3 or x.count == 0 then
    check.fail(2, "resize: takes an image (C, H, W); got %s", check.describe(x))
  end
  check.value("resize", "height", height, { "integer", min = 1 })
  check.value("resize", "width", width, { "integer", min = 1 })
  local C, H, W = table.unpack(x.shape)
  if H == height and W == width then return x end
  local rows, columns = coverage(H, height), coverage(W, width)
  local parts = {}
  for c = 1, C do
    parts[c] = core.matmul(core.matmul(rows, x[c]), columns, false, true):reshape(1, height, width)
  end
  return #parts == 1 and parts[1] or core.concat(parts, 1)
end

--- Preprocesses an image.
-- @tparam tensor x (C, H, W) in [0, 1], C = 1 or 3
-- @tparam {integer,integer,integer} shape the simulator's output, {channels, height, width}
-- @tparam[opt] table opts options
-- @treturn tensor of that shape, in [0, 1]
-- @raise a tensor that is not an image in [0, 1], an invalid shape, unknown options
-- @usage print(sv.preprocess.picture(sv.zeros(3, 48, 64), ring.output).shape)
function preprocess.picture(x, shape, opts)
  opts = check.options("preprocess", opts, options)
  if getmetatable(x) ~= core.metatable or x.ndim ~= 3 or x.count == 0 then
    check.fail(2, "preprocess: takes an image (C, H, W)")
  end
  if type(shape) ~= "table" or #shape ~= 3 then
    check.fail(2, "preprocess: shape is {channels, height, width}, as a simulator's output; got %s",
      type(shape) == "table" and check.shape_text(shape) or check.describe(shape))
  end
  local finite, at = x:finite()
  if not finite then check.fail(2, "preprocess: the image is not finite at element %d", at) end
  if not x:within(-SLACK, 1 + SLACK) then
    check.fail(2, "preprocess: takes an image in [0, 1]; got %g to %g: divide by its largest value, such as 255",
      core.min(x):item(), core.max(x):item())
  end
  local channels, height, width = table.unpack(shape)
  x = to_channels(x, channels)
  x = preprocess.resize(pad_to(x, height, width, ground_of(x)), height, width)
  local ground = ground_of(x)
  if opts.ground == "light" and ground < 0.5 or opts.ground == "dark" and ground > 0.5 then
    x, ground = 1 - x, 1 - ground
  end
  if opts.stretch then
    local light = ground >= 0.5
    local ink = light and core.min(x):item() or core.max(x):item()
    if math.abs(ground - ink) > 0.05 then -- else there is nothing drawn
      x = (x - ink) / (ground - ink)
      if not light then x = 1 - x end
    end
  end
  return core.clamp(x, 0, 1)
end

--- Reads a PNG as an encoder takes it.
-- @tparam string path
-- @tparam {integer,integer,integer} shape the simulator's output
-- @tparam[opt] table opts options
-- @treturn tensor; or nil, message
-- @usage
-- sv.io.save_png("ring.png", x[1], { scale = 3 })
-- print(assert(sv.preprocess.load("ring.png", ring.output)).shape)
function preprocess.load(path, shape, opts)
  local x, why = require "simvae.io".load_png(path)
  if not x then return nil, why end
  return preprocess.picture(x, shape, opts)
end

return preprocess
