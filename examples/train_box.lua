--- The paper's box plotter: a rectangle's width, height and place, from its picture alone.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment(dofile(folder .. "experiments.lua").box())
