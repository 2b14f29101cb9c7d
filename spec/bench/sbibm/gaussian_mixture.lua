--- sbibm's gaussian_mixture (Sisson et al. 2007): x ~ N(z, I) or N(z, 0.01 I), with probability 1/2 each.
local sv = require "simvae"

return sv.simulator {
  name = "gaussian_mixture", output = { 2 },
  params = { { name = "z1", low = -10, high = 10 }, { name = "z2", low = -10, high = 10 } },
  simulate = function(z, out, rng)
    local std = rng:uniform(0, 1) < 0.5 and 1 or 0.1
    out[1], out[2] = rng:normal(z.z1, std), rng:normal(z.z2, std)
  end,
}
