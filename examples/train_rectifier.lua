--- A diode rectifier through ngspice, in the time domain: amplitude, capacitance and load from the output's waveform.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment {
  simulator = dofile(folder .. "simulators/rectifier.lua"),
  net = "mlp", width = 128,
}
