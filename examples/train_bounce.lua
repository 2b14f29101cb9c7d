--- A thrown ball that a shell script simulates: height and speed from the flight.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment {
  simulator = dofile(folder .. "simulators/bounce.lua"),
  net = "mlp", width = 128,
}
