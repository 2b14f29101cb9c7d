--- A half-wave rectifier with a diode (rectifier.cir): its output voltage over the first three periods, in steps
-- of 0.5 ms.
local sv = require "simvae"
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""

return assert(sv.spice {
  name = "rectifier",
  netlist = folder .. "rectifier.cir",
  params = {
    { name = "amplitude", low = 2, high = 10, unit = "V" },
    { name = "C", low = 1e-6, high = 100e-6, unit = "F", scale = "log" },
    { name = "R", low = 100, high = 10e3, unit = "ohm", scale = "log" },
  },
  output = { "v(out)" },
  points = 121,
})
