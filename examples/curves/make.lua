--- Draws the images of this folder: hand-drawn curves for the inference figure of the fourier example.
-- `lua examples/curves/make.lua` writes them again, bit for bit.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

-- A canvas of its own size, drawn on by f(canvas, width, height, rng), and saved.
local function picture(name, width, height, f, ground)
  local rng = sv.rng(#name + width)
  local out = sv.zeros(type(ground) == "table" and #ground or 1, height, width)
  local canvas = sv.draw(out):clear(ground or 1)
  local result = f(canvas, width, height, rng) or out
  assert(sv.io.save_png(folder .. name .. ".png", result))
end

-- Points of y = f(t), t in [0, 1], y in [-1, 1], within the image.
local function points(f, width, height, n)
  local list = {}
  for i = 0, n do
    local t = i / n
    list[#list + 1] = t * width
    list[#list + 1] = height * (0.5 + 0.5 * f(t))
  end
  return list
end

local function wave(t, ...)
  local y = 0
  for k, a in ipairs { ... } do y = y + a * math.sin(2 * math.pi * (k * t + 0.07 * k * k)) end
  return y
end

-- A trembling hand: smooth random walks added to both coordinates, with varying pressure.
picture("freehand", 256, 256, function(canvas, w, h, rng)
  local p, dx, dy = points(function(t) return wave(t, 0.34, 0.16, 0.08) end, w, h, 70), 0, 0
  for i = 1, #p, 2 do
    dx, dy = 0.8 * dx + rng:normal(0, 1.1), 0.8 * dy + rng:normal(0, 1.6)
    p[i], p[i + 1] = p[i] + dx, p[i + 1] + dy
  end
  for i = 1, #p - 6, 4 do
    local piece = table.move(p, i, math.min(i + 7, #p), 1, {})
    canvas:curve(piece, { width = 5 + rng:uniform(-1, 1), caps = "round", stroke = 0.12 })
  end
end)

-- A stroke of a few points, overshooting, as of one movement of the hand.
picture("scribble", 200, 200, function(canvas, w, h)
  canvas:curve({ 0, 0.42 * h, 0.1 * w, 0.61 * h, 0.24 * w, 0.72 * h, 0.38 * w, 0.47 * h, 0.52 * w, 0.29 * h, 0.63 * w,
    0.41 * h, 0.74 * w, 0.57 * h, 0.88 * w, 0.5 * h, w, 0.44 * h }, { width = 4.5, caps = "round", stroke = 0.2 })
end)

picture("thick_pen", 64, 64, function(canvas, w, h)
  canvas:curve(points(function(t) return wave(t, -0.3, 0.2) end, w, h, 40), { width = 5, caps = "round" })
end)

picture("dashed", 128, 128, function(canvas, w, h)
  local p = points(function(t) return wave(t, 0.2, -0.25, 0.1) end, w, h, 120)
  for i = 1, #p - 9, 16 do canvas:polyline(table.move(p, i, i + 9, 1, {}), { width = 3 }) end
end)

-- Pencil on grey paper, photographed: low contrast, a shade across, noise in every pixel.
picture("noisy", 128, 128, function(canvas, w, h, rng)
  canvas:curve(points(function(t) return wave(t, 0.28, 0.1, -0.14, 0.05) end, w, h, 60), { width = 3.2, stroke = 0.25 })
  local shade = sv.arange(1, w):reshape(1, 1, w) * (-0.1 / w)
  return canvas.out * 0.78 + shade + rng:normal { 1, h, w } * 0.05
end)

picture("square_wave", 64, 64, function(canvas, w, h)
  local p = {}
  for i, y in ipairs { 0.68, 0.32, 0.68, 0.32 } do
    for _, x in ipairs { (i - 1) / 4, i / 4 } do p[#p + 1], p[#p + 2] = x * w, y * h end
  end
  canvas:polyline(p, { width = 1.5 })
end)

-- Another resolution, and not square: 400 x 300.
picture("large", 400, 300, function(canvas, w, h)
  canvas:curve(points(function(t) return wave(t, 0.1, 0.3, 0.05, -0.1) end, w, h, 160), { width = 8 })
end)

-- Chalk: light on dark, in colour.
picture("chalk", 96, 96, function(canvas, w, h, rng)
  local p = points(function(t) return wave(t, 0.25, -0.12, 0.12) end, w, h, 60)
  for i = 2, #p, 2 do p[i] = p[i] + rng:normal(0, 0.6) end
  canvas:polyline(p, { width = 3, stroke = { 0.95, 0.93, 0.8 } })
end, { 0.08, 0.2, 0.16 })
