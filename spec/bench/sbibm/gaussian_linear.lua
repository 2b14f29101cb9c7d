--- sbibm's gaussian_linear: x ~ N(z, 0.1 I), z ~ N(0, 0.1 I); the posterior is N(x / 2, 0.05 I).
local sv = require "simvae"

local STD = math.sqrt(0.1)
local params = {}
for i = 1, 10 do params[i] = { name = "z" .. i, prior = { "normal", 0, STD } } end

return sv.simulator {
  name = "gaussian_linear", output = { 10 }, params = params,
  simulate = function(z, out, rng)
    for i = 1, 10 do out[i] = rng:normal(z[i], STD) end
  end,
}
