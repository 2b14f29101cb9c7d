--- Text as an image, for labels of images: a font of strokes on a grid (capitals
-- 10 high, small letters 7, down to -3), drawn antialiased at any size.
local core = require "simvae.core"

-- A glyph: its width, then strokes "x y x y …"; "~" before one makes it a smooth
-- curve through its points.
local bowl = "~4.8 5.4 3.9 6.6 2.6 7 .7 5.8 0 3.5 .7 1.2 2.6 0 3.9 .4 4.8 1.6"
local mirrored = "~0 5.4 .9 6.6 2.2 7 4.1 5.8 4.8 3.5 4.1 1.2 2.2 0 .9 .4 0 1.6"
local arch = "~0 4.8 .9 6.4 2.4 7 4 6.2 4.5 4.4 4.5 0"
local round = "~6.8 8.2 5.6 9.5 3.8 10 1.4 8.7 0 5 1.4 1.3 3.8 0 5.6 .5 6.8 1.8"
local ring = "~3.9 10 1.2 8.7 0 5 1.2 1.3 3.9 0 6.6 1.3 7.8 5 6.6 8.7 3.9 10"
local glyphs = {
  [" "] = { 3 },
  A = { 7, "0 0 3.5 10 7 0", "1.2 3.4 5.8 3.4" },
  B = { 6.2, "0 0 0 10 3 10", "~3 10 5 9.4 5.6 7.7 5 6 3 5.3", "0 5.3 3 5.3",
    "~3 5.3 5.4 4.5 6.2 2.7 5.4 .8 3 0", "3 0 0 0" },
  C = { 7, round },
  D = { 6.8, "2.6 0 0 0 0 10 2.6 10", "~2.6 10 5.4 8.8 6.8 5 5.4 1.2 2.6 0" },
  E = { 5.8, "5.8 10 0 10 0 0 5.8 0", "0 5.2 5 5.2" },
  F = { 5.6, "5.6 10 0 10 0 0", "0 5.2 4.8 5.2" },
  G = { 7, round, "6.8 1.8 6.8 4.8 4.2 4.8" },
  H = { 6.8, "0 0 0 10", "6.8 0 6.8 10", "0 5.2 6.8 5.2" },
  I = { 0, "0 0 0 10" },
  J = { 4, "4 10 4 3", "~4 3 3.4 .8 2 0 .6 .6 0 2.2" },
  K = { 6.6, "0 0 0 10", "6.2 10 0 4", "2.4 6.2 6.6 0" },
  L = { 5.4, "0 10 0 0 5.4 0" },
  M = { 8.4, "0 0 0 10 4.2 2 8.4 10 8.4 0" },
  N = { 6.8, "0 0 0 10 6.8 0 6.8 10" },
  O = { 7.8, ring },
  P = { 6.2, "0 0 0 10 3.4 10", "~3.4 10 5.5 9.3 6.2 7.4 5.5 5.4 3.4 4.7", "3.4 4.7 0 4.7" },
  Q = { 7.8, ring, "4.8 2.4 7.6 -1" },
  R = { 6.6, "0 0 0 10 3.4 10", "~3.4 10 5.5 9.3 6.2 7.4 5.5 5.4 3.4 4.7", "3.4 4.7 0 4.7", "3.4 4.7 6.6 0" },
  S = { 6.4, "~6.1 8.3 5 9.6 3.2 10 1 9.2 .4 7.6 1.4 6 3.2 5.3 5.4 4.4 6.4 2.7 5.6 .8 3.4 0 1.2 .5 0 2" },
  T = { 7, "0 10 7 10", "3.5 10 3.5 0" },
  U = { 6.8, "0 10 0 4", "~0 4 .8 1 3.4 0 6 1 6.8 4", "6.8 4 6.8 10" },
  V = { 7.2, "0 10 3.6 0 7.2 10" },
  W = { 10.4, "0 10 2.6 0 5.2 9 7.8 0 10.4 10" },
  X = { 6.6, "0 0 6.6 10", "0 10 6.6 0" },
  Y = { 7, "0 10 3.5 5 7 10", "3.5 5 3.5 0" },
  Z = { 6.6, ".3 10 6.4 10 0 0 6.6 0" },
  a = { 4.8, bowl, "4.8 7 4.8 0" },
  b = { 4.8, "0 10 0 0", mirrored },
  c = { 4.6, "~4.6 5.7 3.8 6.7 2.6 7 .7 5.8 0 3.5 .7 1.2 2.6 0 3.8 .3 4.6 1.3" },
  d = { 4.8, bowl, "4.8 10 4.8 0" },
  e = { 4.8, "0 3.8 4.8 3.8", "~4.8 3.8 4.3 6 2.5 7 .7 5.9 0 3.5 .7 1.1 2.6 0 3.9 .4 4.7 1.4" },
  f = { 3.4, "~3.6 9.9 2.6 10 1.6 9.3 1.3 8", "1.3 8 1.3 0", "0 7 3.2 7" },
  g = { 4.8, bowl, "4.8 7 4.8 0", "~4.8 0 4.5 -1.8 3.6 -2.8 2.3 -3 .8 -2.5" },
  h = { 4.5, "0 10 0 0", arch },
  i = { 0, "0 7 0 0", "0 9.5 0 9.8" },
  j = { 1.4, "1.4 7 1.4 -1.4", "~1.4 -1.4 1 -2.6 0 -3", "1.4 9.5 1.4 9.8" },
  k = { 4.6, "0 10 0 0", "4.4 7 0 2.6", "1.7 4.3 4.6 0" },
  l = { 0, "0 10 0 0" },
  m = { 7.6, "0 7 0 0", "~0 4.8 .8 6.4 2 7 3.4 6.2 3.8 4.4 3.8 0", "~3.8 4.8 4.6 6.4 5.8 7 7.2 6.2 7.6 4.4 7.6 0" },
  n = { 4.5, "0 7 0 0", arch },
  o = { 5.2, "~2.6 7 .8 6 0 3.5 .8 1 2.6 0 4.4 1 5.2 3.5 4.4 6 2.6 7" },
  p = { 4.8, "0 7 0 -3", mirrored },
  q = { 4.8, bowl, "4.8 7 4.8 -3" },
  r = { 3.2, "0 7 0 0", "~0 4.2 .8 6 2 6.9 3.2 7" },
  s = { 4.4, "~4.2 5.7 3.4 6.7 2.2 7 .8 6.5 .3 5.3 1 4.2 2.3 3.6 3.8 3 4.4 1.8 3.7 .5 2.3 0 .9 .3 0 1.3" },
  t = { 3.4, "1.3 9.4 1.3 1.8", "~1.3 1.8 1.7 .4 2.7 0 3.4 .1", "0 7 3.2 7" },
  u = { 4.5, "0 7 0 2.6", "~0 2.6 .5 .8 2.1 0 3.6 .6 4.5 2.2", "4.5 7 4.5 0" },
  v = { 5.2, "0 7 2.6 0 5.2 7" },
  w = { 8, "0 7 2 0 4 6.4 6 0 8 7" },
  x = { 4.8, "0 0 4.8 7", "0 7 4.8 0" },
  y = { 5.2, "0 7 2.6 0", "5.2 7 2.6 0 1.8 -2.1", "~1.8 -2.1 1.1 -2.8 0 -3" },
  z = { 4.8, ".2 7 4.6 7 0 0 4.8 0" },
  ["0"] = { 6, "~3 10 .8 8.8 0 5 .8 1.2 3 0 5.2 1.2 6 5 5.2 8.8 3 10" },
  ["1"] = { 3.4, ".4 8 2.6 10 2.6 0" },
  ["2"] = { 5.8, "~.3 7.6 .9 9.2 2.8 10 4.9 9.2 5.4 7.4 4.5 5.2", "4.5 5.2 0 0 5.8 0" },
  ["3"] = { 5.6, "~.3 8.4 1.2 9.5 2.8 10 4.9 9.2 5.3 7.5 4.4 5.9 2.6 5.3",
    "~2.6 5.3 4.8 4.6 5.6 2.8 4.8 .8 2.7 0 .9 .5 0 1.8" },
  ["4"] = { 6, "4.4 0 4.4 10 0 3 6 3" },
  ["5"] = { 5.6, "5 10 1 10 .5 5.4", "~.5 5.4 1.4 6 2.8 6.3 4.9 5.4 5.6 3.2 4.8 1 2.7 0 .9 .4 0 1.6" },
  ["6"] = { 5.7, "~5 9 3.4 10 1.2 8.6 .1 5 .2 2.6 1.2 .6 3 0 5 .9 5.7 3 4.9 5.2 3 6 1.1 5 .2 3" },
  ["7"] = { 5.8, "0 10 5.8 10 2 0" },
  ["8"] = { 5.8, "~2.9 10 .9 9.3 .4 7.6 1 6 2.9 5.2 4.9 4.3 5.8 2.6 5 .7 2.9 0 .8 .7 0 2.6 .9 4.3 2.9 5.2 "
    .. "4.8 6 5.4 7.6 4.9 9.3 2.9 10" },
  ["9"] = { 5.7, "~.7 1 2.3 0 4.5 1.4 5.6 5 5.5 7.4 4.5 9.4 2.7 10 .7 9.1 0 7 .8 4.8 2.7 4 4.6 5 5.5 7" },
  ["."] = { 0, "0 0 0 .3" },
  [","] = { .6, ".6 .3 0 -1.6" },
  [":"] = { 0, "0 0 0 .3", "0 6.4 0 6.7" },
  [";"] = { .6, ".6 .3 0 -1.6", ".6 6.4 .6 6.7" },
  ["-"] = { 3.6, "0 3.6 3.6 3.6" },
  ["–"] = { 5, "0 3.6 5 3.6" },
  ["_"] = { 5, "0 -1.4 5 -1.4" },
  ["("] = { 2.2, "~2.2 11.4 .6 8.6 0 4.6 .6 .6 2.2 -2.2" },
  [")"] = { 2.2, "~0 11.4 1.6 8.6 2.2 4.6 1.6 .6 0 -2.2" },
  ["["] = { 1.8, "1.8 11.2 0 11.2 0 -2 1.8 -2" },
  ["]"] = { 1.8, "0 11.2 1.8 11.2 1.8 -2 0 -2" },
  ["/"] = { 3.8, "0 -1 3.8 11" },
  ["|"] = { 0, "0 -2 0 11.2" },
  ["="] = { 5, "0 2.4 5 2.4", "0 5 5 5" },
  ["+"] = { 5, "0 3.7 5 3.7", "2.5 1.2 2.5 6.2" },
  ["±"] = { 5, "0 4.6 5 4.6", "2.5 2.1 2.5 7.1", "0 0 5 0" },
  ["<"] = { 4.6, "4.6 6.8 0 3.7 4.6 .6" },
  [">"] = { 4.6, "0 6.8 4.6 3.7 0 .6" },
  ["→"] = { 7, "0 3.7 7 3.7", "4.6 6 7 3.7 4.6 1.4" },
  ["*"] = { 3.6, "1.8 10 1.8 6", "0 9 3.6 7", "0 7 3.6 9" },
  ["'"] = { 0, "0 10 0 7.4" },
  ['"'] = { 2, "0 10 0 7.4", "2 10 2 7.4" },
  ["!"] = { 0, "0 10 0 3", "0 0 0 .3" },
  ["?"] = { 4.8, "~0 8 .7 9.4 2.4 10 4.2 9.3 4.8 7.6 4 5.8 2.6 4.6 2.3 3", "2.3 0 2.3 .3" },
  ["%"] = { 8, "7 10 1 0", "~1.8 10 .3 8.9 0 7.6 .3 6.3 1.8 5.2 3.3 6.3 3.6 7.6 3.3 8.9 1.8 10",
    "~6.2 4.8 4.7 3.7 4.4 2.4 4.7 1.1 6.2 0 7.7 1.1 8 2.4 7.7 3.7 6.2 4.8" },
  ["²"] = { 3, "~.1 8.6 .6 9.7 1.5 10 2.6 9.5 2.7 8.4 2.2 7.3", "2.2 7.3 0 5 3 5" },
  ["°"] = { 2.8, "~1.4 10 .2 9.4 0 8.6 .2 7.8 1.4 7.2 2.6 7.8 2.8 8.6 2.6 9.4 1.4 10" },
  ["µ"] = { 4.5, "0 7 0 -3", "~0 2.6 .5 .8 2.1 0 3.6 .6 4.5 2.2", "4.5 7 4.5 0" },
}
glyphs["μ"] = glyphs["µ"]
local missing = { 5, "0 0 5 0 5 9 0 9 0 0" }
local spacing, top, bottom = 2.2, 12, -3.5

-- Points along a Catmull-Rom spline through p (a list x, y, x, y, …), ends held.
local function smooth(p)
  local n, result = #p // 2, {}
  local closed = p[1] == p[2 * n - 1] and p[2] == p[2 * n]
  local function at(i)
    if closed then i = (i - 1) % (n - 1) + 1 end
    i = math.max(1, math.min(n, i))
    return p[2 * i - 1], p[2 * i]
  end
  for i = 1, n - 1 do
    local ax, ay = at(i - 1)
    local bx, by = at(i)
    local cx, cy = at(i + 1)
    local dx, dy = at(i + 2)
    for s = 0, 5 do
      local t = s / 6
      local function blend(a, b, c, d)
        return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t ^ 3)
      end
      result[#result + 1], result[#result + 2] = blend(ax, bx, cx, dx), blend(ay, by, cy, dy)
    end
  end
  result[#result + 1], result[#result + 2] = p[2 * n - 1], p[2 * n]
  return result
end

local function points(stroke)
  local p = {}
  for number in stroke:gmatch "[-%d.]+" do p[#p + 1] = tonumber(number) end
  return stroke:sub(1, 1) == "~" and smooth(p) or p
end

-- Darkens rows (0 … 1 ink) along a segment; coverage by the distance to its axis.
local function draw(rows, x0, y0, x1, y1, half)
  local dx, dy = x1 - x0, y1 - y0
  local length = dx * dx + dy * dy
  local reach = half + 1
  for r = math.max(1, math.floor(math.min(y0, y1) - reach) + 1), math.min(#rows, math.ceil(math.max(y0, y1) + reach)) do
    local row = rows[r]
    for c = math.max(1, math.floor(math.min(x0, x1) - reach) + 1),
      math.min(#row, math.ceil(math.max(x0, x1) + reach)) do
      local px, py = c - 0.5 - x0, r - 0.5 - y0
      local t = length > 0 and math.max(0, math.min(1, (px * dx + py * dy) / length)) or 0
      local d = math.sqrt((px - t * dx) ^ 2 + (py - t * dy) ^ 2)
      row[c] = math.max(row[c], math.min(1, math.max(0, half + 0.5 - d)))
    end
  end
end

--- Width of a text, in pixels.
local function width(text, size)
  local w = 0
  for _, code in utf8.codes(text, true) do
    w = w + (glyphs[utf8.char(code)] or missing)[1] + spacing
  end
  return math.ceil((w + 1) * size / 10)
end

--- Draws a line of text.
-- @tparam string text in UTF-8; characters without a glyph are a box
-- @tparam[opt=13] number size height of a capital, pixels
-- @treturn tensor (H, W), 1 = paper, 0 = ink
local function draw_text(_, text, size)
  size = size or 13
  local scale = size / 10
  local W, H = width(text, size), math.ceil((top - bottom) * scale)
  local rows = {}
  for r = 1, H do
    local row = {}
    for c = 1, W do row[c] = 0 end
    rows[r] = row
  end
  local x = 1
  for _, code in utf8.codes(text, true) do
    local glyph = glyphs[utf8.char(code)] or missing
    for s = 2, #glyph do
      local p = points(glyph[s])
      for i = 1, #p - 3, 2 do
        draw(rows, (x + p[i]) * scale, (top - p[i + 1]) * scale, (x + p[i + 2]) * scale, (top - p[i + 3]) * scale,
          0.6 * scale)
      end
    end
    x = x + glyph[1] + spacing
  end
  for r = 1, H do
    for c = 1, W do rows[r][c] = 1 - rows[r][c] end
  end
  return core.tensor(rows)
end

return setmetatable({ width = width }, { __call = draw_text })
