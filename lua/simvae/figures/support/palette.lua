--- Colours. The ramp is computed: equal steps of lightness in
-- CIELAB (CIE 15:2004; sRGB by IEC 61966-2-1), from near white to dark blue over
-- green, so that equal differences are perceived as equal, also in greyscale.
local palette = {}

-- Colours that most forms of colour blindness tell apart (Okabe and Ito, 2008).
palette.lines = { "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9" }

local function unfold(t) -- CIELAB's f, inverted
  return t > 6 / 29 and t ^ 3 or 3 * (6 / 29) ^ 2 * (t - 4 / 29)
end

local function gamma(v)
  v = math.max(0, math.min(1, v))
  return v <= 0.0031308 and 12.92 * v or 1.055 * v ^ (1 / 2.4) - 0.055
end

--- sRGB (0 … 255 each) of lightness, chroma and hue in degrees.
function palette.lch(lightness, chroma, hue)
  local a, b = chroma * math.cos(math.rad(hue)), chroma * math.sin(math.rad(hue))
  local fy = (lightness + 16) / 116
  local x, y, z = 0.95047 * unfold(fy + a / 500), unfold(fy), 1.08883 * unfold(fy - b / 200)
  local rgb = {
    3.2406 * x - 1.5372 * y - 0.4986 * z,
    -0.9689 * x + 1.8758 * y + 0.0415 * z,
    0.0557 * x - 0.2040 * y + 1.0570 * z,
  }
  for i = 1, 3 do rgb[i] = math.floor(255 * gamma(rgb[i]) + 0.5) end
  return table.unpack(rgb)
end

--- The ramp's colour at t in [0, 1], as a whole number 0xRRGGBB.
function palette.ramp(t)
  t = math.max(0, math.min(1, t))
  local r, g, b = palette.lch(98 - 70 * t, 4 + 150 * t * (1 - t) + 26 * t, 100 + 185 * t ^ 0.8)
  return r << 16 | g << 8 | b
end

--- Black or white, whichever can be read on the ramp at t.
function palette.ink(t)
  return t > 0.5 and 0xffffff or 0x222222
end

--- As gnuplot and CSS write a colour.
function palette.hex(colour)
  return string.format("#%06x", colour)
end

return palette
