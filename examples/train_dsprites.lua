--- dSprites: shape, size, orientation and place of a sprite, from its picture.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment(dofile(folder .. "experiments.lua").dsprites())
