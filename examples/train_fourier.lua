--- The paper's Fourier series: eleven coefficients, from the image of the curve.
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""

sv.experiment(dofile(folder .. "experiments.lua").fourier())
