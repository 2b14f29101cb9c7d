--- sbibm's slcp (simple likelihood, complex posterior; Papamakarios et al. 2019): four draws of a normal distribution
-- whose mean, standard deviations and correlation are the parameters.
local sv = require "simvae"

local params = {}
for i = 1, 5 do params[i] = { name = "z" .. i, low = -3, high = 3 } end

return sv.simulator {
  name = "slcp", output = { 8 }, params = params,
  simulate = function(z, out, rng)
    local s1, s2, correlation = z[3] ^ 2, z[4] ^ 2, 1 - 2 / (math.exp(2 * z[5]) + 1)
    local v1, v2, c = s1 * s1 + 1e-6, s2 * s2 + 1e-6, correlation * s1 * s2
    local l11 = math.sqrt(v1) -- the Cholesky factor of the covariance
    local l21 = c / l11
    local l22 = math.sqrt(v2 - l21 * l21)
    for i = 1, 8, 2 do
      local a, b = rng:normal(0, 1), rng:normal(0, 1)
      out[i], out[i + 1] = z[1] + l11 * a, z[2] + l21 * a + l22 * b
    end
  end,
}
