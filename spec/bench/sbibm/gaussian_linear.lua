--- sbibm's gaussian_linear: x ~ N(z, 0.1 I), z ~ N(0, 0.1 I); the posterior is N(x / 2, 0.05 I).
local sv = require "simvae"

local STD, BOUND = math.sqrt(0.1), 1.6 -- the bounds cut off 4e-7 of each parameter's prior
local params = {}
for i = 1, 10 do params[i] = { name = "z" .. i, low = -BOUND, high = BOUND } end

-- Of the normal distribution within the bounds.
local function draw(rng)
  local v
  repeat v = rng:normal(0, STD) until math.abs(v) < BOUND
  return v
end

return sv.simulator {
  name = "gaussian_linear", output = { 10 }, params = params,
  prior = function(rng)
    local z = {}
    for i = 1, 10 do z[i] = draw(rng) end
    return z
  end,
  simulate = function(z, out, rng)
    for i = 1, 10 do out[i] = rng:normal(z[i], STD) end
  end,
}
