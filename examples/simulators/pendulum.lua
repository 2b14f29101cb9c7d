--- A damped pendulum, simulated by a Python program (pendulum.py): 64 angles in radians, 0.1 s apart.
local sv = require "simvae"
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""

return sv.command {
  name = "pendulum",
  cmd = { "python3", folder .. "pendulum.py" },
  params = {
    { name = "length", low = 0.2, high = 2, unit = "m" },
    { name = "damping", low = 0, high = 1, unit = "1/s" },
    { name = "angle", low = -2, high = 2, unit = "rad" },
  },
  output = { 64 },
}
