--- A thrown ball, simulated by a shell script: height and speed from the trajectory.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment {
  simulator = dofile(folder .. "simulators/bounce.lua"),
  net = "mlp", width = 128,
}
