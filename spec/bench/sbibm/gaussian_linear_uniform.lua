--- sbibm's gaussian_linear_uniform: x ~ N(z, 0.1 I), z uniform; the posterior is N(x, 0.1 I) within the bounds.
local sv = require "simvae"

local params = {}
for i = 1, 10 do params[i] = { name = "z" .. i, low = -1, high = 1 } end

return sv.simulator {
  name = "gaussian_linear_uniform", output = { 10 }, params = params,
  simulate = function(z, out, rng)
    for i = 1, 10 do out[i] = rng:normal(z[i], math.sqrt(0.1)) end
  end,
}
