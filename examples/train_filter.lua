--- An RC low-pass filter through ngspice: R and C from the response, which determines only their product.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment {
  simulator = dofile(folder .. "simulators/filter.lua"),
  net = "mlp", width = 128,
}
