--- A pendulum that a Python program simulates: length, damping and first angle from the angles alone.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment {
  simulator = dofile(folder .. "simulators/pendulum.lua"),
  net = "mlp", width = 128,
}
