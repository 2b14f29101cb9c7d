--- A pendulum, simulated by a Python program: length, damping and initial angle from the angles.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment {
  simulator = dofile(folder .. "simulators/pendulum.lua"),
  net = "mlp", width = 128,
}
