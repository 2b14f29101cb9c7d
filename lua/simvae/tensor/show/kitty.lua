--- Pictures in kitty's graphics protocol (https://sw.kovidgoyal.net/kitty/graphics-protocol): PNG in base64.
local base64 = require "simvae.util.base64"
local core = require "simvae.core"

local kitty = {}

local CHUNK = 4096 -- bytes of an escape sequence

-- (4, height, width): red, green, blue, and 0 between the images.
local function tensor_of(rows)
  local planes = { {}, {}, {}, {} }
  for y = 1, rows.height do
    local lines = { {}, {}, {}, {} }
    for x = 1, rows.width do
      local v = rows[y][x]
      for k = 1, 3 do lines[k][x] = v and (v >> 8 * (3 - k) & 255) / 255 or 0 end
      lines[4][x] = v and 1 or 0
    end
    for k = 1, 4 do planes[k][y] = lines[k] end
  end
  return core.tensor(planes)
end

--- The picture as escape sequences.
-- @tparam table rows of simvae.tensor.show.raster
-- @tparam integer scale pixels of the terminal for one of the image, in both directions
-- @treturn string
function kitty.text(rows, scale)
  local scope <close> = core.scope()
  local t = core.upsample2d(tensor_of(rows):reshape(1, 4, rows.height, rows.width), scale)
  local data = base64(core.io.encode_png(t:reshape(4, rows.height * scale, rows.width * scale), 1))
  local parts = {}
  for from = 1, #data, CHUNK do
    parts[#parts + 1] = string.format("\27_G%sm=%d;%s\27\\", from == 1 and "a=T,f=100,q=2," or "",
      from + CHUNK <= #data and 1 or 0, data:sub(from, from + CHUNK - 1))
  end
  return table.concat(parts)
end

return kitty
