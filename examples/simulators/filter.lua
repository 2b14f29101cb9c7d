--- An RC low-pass filter, a circuit of two parameters (filter.cir): gain in dB and phase in radians at 31
-- frequencies from 100 Hz to 100 kHz. The response depends on the product R C alone.
local sv = require "simvae"
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""

return assert(sv.spice {
  name = "filter",
  netlist = folder .. "filter.cir",
  params = {
    { name = "R", low = 100, high = 10e3, unit = "ohm", scale = "log" },
    { name = "C", low = 1e-9, high = 1e-6, unit = "F", scale = "log" },
  },
  output = { "vdb(out)", "vp(out)" },
  invariants = {
    { name = "cutoff", unit = "Hz", scale = "log", value = function(z) return 1 / (2 * math.pi * z.R * z.C) end },
  },
})
