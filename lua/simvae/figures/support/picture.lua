--- Composition of images. Every image is a tensor (3, H, W), 1 = white.
local core = require "simvae.core"
local check = require "simvae.util.check"

local picture = {}

--- A uniform background.
function picture.blank(h, w, r, g, b)
  local t = core.zeros(3, h, w)
  for c, v in ipairs { r or 1, g or r or 1, b or r or 1 } do t[c] = v end
  return t
end

--- Colours from an image (C, H, W): grey for one channel; with two, the third is 0;
-- of more than three, the first three.
function picture.colours(t)
  local C, H, W = table.unpack(t.shape)
  if C == 3 then return t:clone() end
  local result = core.zeros(3, H, W)
  for c = 1, 3 do
    if C == 1 or c <= C then result[c] = t[C == 1 and 1 or c] end
  end
  return result
end

--- Each pixel becomes a square of s by s.
function picture.enlarge(t, s)
  if s == 1 then return t end
  local C, H, W = table.unpack(t.shape)
  return core.add(t:reshape(C, H, 1, W, 1), core.zeros(C, H, s, W, s)):reshape(C, H * s, W * s)
end

--- Side by side; shorter ones are filled up with white below, or around (align = "middle").
function picture.beside(list, align)
  local h = 0
  for _, t in ipairs(list) do h = math.max(h, t.shape[2]) end
  local parts = {}
  for i, t in ipairs(list) do
    local missing = h - t.shape[2]
    local above = align == "middle" and missing // 2 or 0
    parts[i] = picture.pad(t, above, 0, missing - above, 0)
  end
  return #parts == 1 and parts[1] or core.concat(parts, 3)
end

--- One below the other; narrower ones are filled up with white on the right.
function picture.below(list)
  local w = 0
  for _, t in ipairs(list) do w = math.max(w, t.shape[3]) end
  local parts = {}
  for i, t in ipairs(list) do parts[i] = picture.pad(t, 0, 0, 0, w - t.shape[3]) end
  return #parts == 1 and parts[1] or core.concat(parts, 2)
end

--- A margin: above, left, below, right, in pixels.
function picture.pad(t, above, left, below, right, grey)
  local parts, H, W = {}, t.shape[2], t.shape[3]
  if left > 0 or right > 0 then
    if left > 0 then parts[#parts + 1] = picture.blank(H, left, grey) end
    parts[#parts + 1] = t
    if right > 0 then parts[#parts + 1] = picture.blank(H, right, grey) end
    t, W = core.concat(parts, 3), W + left + right
  end
  if above == 0 and below == 0 then return t end
  parts = {}
  if above > 0 then parts[#parts + 1] = picture.blank(above, W, grey) end
  parts[#parts + 1] = t
  if below > 0 then parts[#parts + 1] = picture.blank(below, W, grey) end
  return core.concat(parts, 2)
end

--- A line of text as an image.
function picture.text(string, size)
  local ink = require "simvae.figures.support.text" (string, size)
  local H, W = table.unpack(ink.shape)
  return core.add(ink:reshape(1, H, W), core.zeros(3, H, W))
end

--- Images in rows, with thin grey lines between them.
-- @tparam table rows list of lists of (3, H, W)
-- @tparam integer line width of the lines
function picture.tiles(rows, line)
  local grey, lines = 0.8, {}
  for r, row in ipairs(rows) do
    local parts = {}
    for i, t in ipairs(row) do parts[i] = picture.pad(t, 0, i == 1 and line or 0, 0, line, grey) end
    lines[r] = picture.pad(picture.beside(parts), r == 1 and line or 0, 0, line, 0, grey)
  end
  return picture.below(lines)
end

--- Factor by which images of this size are enlarged so that n of them fill about 1400 pixels.
function picture.factor(h, w, n)
  return math.max(1, math.min(6, math.floor(1400 / (w * n)), math.floor(300 / h)))
end

--- Raises unless t is a batch of images.
function picture.check_images(what, name, t)
  if getmetatable(t) ~= core.metatable or t.ndim ~= 4 or t.count == 0 then
    check.fail(3, "%s: %s takes images (N, C, H, W); got %s", what, name, check.shape_of(t))
  end
end

return picture
