--- dSprites: shape, scale, orientation and position of a sprite, from its image.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment(dofile(folder .. "experiments.lua").dsprites())
