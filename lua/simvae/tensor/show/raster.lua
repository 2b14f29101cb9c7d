--- Several images as one: a grid of pixels, for terminals that show pictures.
local colour = require "simvae.tensor.show.blocks".colour
local core = require "simvae.core"

local raster = {}

--- Puts images beside each other, a pixel apart.
-- @tparam {table,...} list of images: planes as of simvae.tensor.show.blocks
-- @tparam integer in_row images of a row
-- @treturn table rows of pixels 0xRRGGBB, false between the images; fields width, height
function raster.compose(list, in_row)
  local h, w = #list[1][1], #list[1][1][1]
  in_row = math.min(in_row, #list)
  local rows = { width = in_row * (w + 1) - 1, height = math.ceil(#list / in_row) * (h + 1) - 1 }
  for y = 1, rows.height do
    rows[y] = {}
    for x = 1, rows.width do rows[y][x] = false end
  end
  for i, planes in ipairs(list) do
    local top, left = (i - 1) // in_row * (h + 1), (i - 1) % in_row * (w + 1)
    for r = 1, h do
      local row = rows[top + r]
      for c = 1, w do row[left + c] = colour(planes, r, c) end
    end
  end
  return rows
end

local GAP = 0.5 -- grey

-- (4, height, width): red, green, blue and opacity.
local function tensor_of(rows, opacity)
  local planes = { {}, {}, {}, {} }
  for y = 1, rows.height do
    local lines = { {}, {}, {}, {} }
    for x = 1, rows.width do
      local v = rows[y][x]
      for k = 1, 3 do lines[k][x] = v and (v >> 8 * (3 - k) & 255) / 255 or GAP end
      lines[4][x] = v and 1 or opacity
    end
    for k = 1, 4 do planes[k][y] = lines[k] end
  end
  return core.tensor(planes)
end

--- The picture as a PNG, transparent between the images or with grey lines there.
-- @tparam table rows of raster.compose
-- @tparam integer scale pixels of the PNG for one of the image, in both directions
-- @tparam ?number lines their opacity; default: 0
-- @treturn string its bytes
function raster.png(rows, scale, lines)
  local scope <close> = core.scope()
  local t = core.upsample2d(tensor_of(rows, lines or 0):reshape(1, 4, rows.height, rows.width), scale)
  return core.io.encode_png(t:reshape(4, rows.height * scale, rows.width * scale), 1)
end

return raster
