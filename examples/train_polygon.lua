--- The paper's polygon: four corners, in any of eight orders, from the filled figure.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment(dofile(folder .. "experiments.lua").polygon())
