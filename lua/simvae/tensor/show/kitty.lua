--- Pictures in kitty's graphics protocol (https://sw.kovidgoyal.net/kitty/graphics-protocol): PNG in base64.
local base64 = require "simvae.util.base64"
local raster = require "simvae.tensor.show.raster"

local kitty = {}

local CHUNK = 4096 -- bytes of an escape sequence

--- The picture as escape sequences.
-- @tparam table rows of simvae.tensor.show.raster
-- @tparam integer scale pixels of the terminal for one of the image, in both directions
-- @treturn string
function kitty.text(rows, scale)
  local data = base64(raster.png(rows, scale))
  local parts = {}
  for from = 1, #data, CHUNK do
    parts[#parts + 1] = string.format("\27_G%sm=%d;%s\27\\", from == 1 and "a=T,f=100,q=2," or "",
      from + CHUNK <= #data and 1 or 0, data:sub(from, from + CHUNK - 1))
  end
  return table.concat(parts)
end

return kitty
