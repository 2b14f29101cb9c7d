--- A ball thrown upwards from a height, simulated by a shell script (bounce.sh): 32 heights in metres, 0.1 s apart.
local sv = require "simvae"
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""

return sv.command {
  name = "bounce",
  cmd = { "sh", folder .. "bounce.sh" },
  params = {
    { name = "height", low = 0, high = 5, unit = "m" },
    { name = "speed", low = 0, high = 10, unit = "m/s" },
  },
  output = { 32 },
}
