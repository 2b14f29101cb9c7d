--- The paper's RLC circuit: R, L and C, from gain and phase, through ngspice.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment(dofile(folder .. "experiments.lua").rlc())
