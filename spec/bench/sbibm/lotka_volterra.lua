--- sbibm's lotka_volterra: predators and prey at ten times, each seen with log-normal noise.
local sv = require "simvae"
local support = dofile "spec/bench/sbibm/support.lua"

local TIMES, BETWEEN, STEPS = 10, 2.1, 100
local mean = { alpha = -0.125, beta = -3, gamma = -0.125, delta = -3 }
local params = {}
for i, name in ipairs { "alpha", "beta", "gamma", "delta" } do
  params[i] = { name = name, prior = { "lognormal", mean[name], 0.5 } }
end

return sv.simulator {
  name = "lotka_volterra", output = { 2 * TIMES }, params = params,
  simulate = function(z, out, rng)
    local x, y = 30, 1
    local function flow(a, b) return z.alpha * a - z.beta * a * b, -z.gamma * b + z.delta * a * b end
    local function seen(v) return math.exp(rng:normal(math.log(math.min(math.max(v, 1e-10), 1e4)), 0.1)) end
    for k = 1, TIMES do
      out[k], out[TIMES + k] = seen(x), seen(y)
      for _ = 1, STEPS do x, y = support.step(flow, x, y, BETWEEN / STEPS) end
    end
  end,
}
