--- The paper's box: width, height and position of a rectangle, from its image.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment(dofile(folder .. "experiments.lua").box())
