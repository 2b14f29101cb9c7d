--- simvae new --kind circuit: a netlist that ngspice simulates, a loaded low-pass filter.
return {
  doc = "A circuit, simulated by ngspice: a low-pass filter with a known load.",
  needs = "ngspice (libngspice0)",
  files = { [".cir"] = [==[
@NAME@: a low-pass filter with a known load of 100 ohm
V1 in 0 DC 0 AC 1
R1 in a {R}
L1 a out {L}
C1 out 0 {C}
R2 out 0 100
.ac dec 8 1k 1meg
.end
]==], [".lua"] = [==[
--- @NAME@: a circuit (@NAME@.cir), simulated by ngspice; the components, from its frequency response.
--
--     simvae train @NAME@.lua                    # writes runs/@NAME@: model, figures, report.html
--     simvae doctor runs/@NAME@                  # what is learned well, what is not, and what to try
--     simvae encode runs/@NAME@ measured.csv     # the components of a measured response, with their uncertainty
--
-- measured.csv: a line of names, then frequency, and what `output` lists, at the 25 frequencies.
local sv = require "simvae"
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""

local simulator = assert(sv.spice {
  name = "@NAME@",
  netlist = folder .. "@NAME@.cir", -- as KiCad and PySpice write it; {R}, {L}, {C} are the parameters

  -- What is to be inferred; scale = "log": uniform in the logarithm.
  params = {
    { name = "R", low = 5, high = 200, unit = "ohm", scale = "log" },
    { name = "L", low = 1e-5, high = 1e-3, unit = "H", scale = "log" },
    { name = "C", low = 1e-8, high = 1e-6, unit = "F", scale = "log" },
  },

  -- Vectors of the analysis that are observed, 25 numbers each: gain in dB and phase in radians at the output, and gain
  -- between R and L. Without the latter two values of L and C give one response: simvae doctor finds that.
  output = { "vdb(out)", "vp(out)", "vdb(a)" },

  -- Of the instrument: a standard deviation, in units of the output; a list gives each number its own.
  noise = 0.02,
})

-- How it is trained; `simvae train --help` lists the options that replace these.
return {
  simulator = simulator,
  posterior = "flow",          -- of any shape
  recalibrate = 1000,          -- new simulations on which its stated intervals are corrected after the training
  simulations = 20000,         -- ngspice runs so often in total; training uses these in epochs
  workers = 2,                 -- processes that simulate beside the training
  decoder = { steps = 5000 },
  encoder = { steps = 8000 },
}
]==] },
}
