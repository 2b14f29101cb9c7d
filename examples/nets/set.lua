--- The mean and the standard deviation of 50 independent observations, beside the exact posterior.
-- `lua5.4 examples/nets/set.lua`
local sv = require "simvae"
local measure = dofile(arg[0]:match "^(.*/)" .. "measure.lua")

local N, LOW, HIGH = 50, { -2, 0.3 }, { 2, 3 }
local sample = sv.simulator {
  name = "sample", output = { N },
  params = { { name = "mean", low = LOW[1], high = HIGH[1] },
    { name = "std", low = LOW[2], high = HIGH[2], scale = "log" } },
  simulate = function(z, out, rng)
    for i = 1, N do out[i] = rng:normal(z.mean, z.std) end
  end,
}

-- Log density of observations, but for factors that do not depend on the parameters: by their mean and variance.
local function log_likelihood(centre, variance, mean, std)
  return -N * math.log(std) - N * (variance + (centre - mean) ^ 2) / (2 * std ^ 2)
end

-- Nats by which the exact posterior's log density of the true parameters is above the prior's: the evidence is an
-- integral over a grid, even in the mean and in the logarithm of the standard deviation, as the prior is.
local function information(z, x)
  local rows, centres, variances = z:totable(), sv.mean(x, 2):totable(), sv.var(x, 2, { correction = 0 }):totable()
  local CELLS, total = 200, 0
  for i, row in ipairs(rows) do
    local best = log_likelihood(centres[i], variances[i], row[1], row[2])
    local sum = 0
    for a = 1, CELLS do
      local mean = LOW[1] + (HIGH[1] - LOW[1]) * (a - 0.5) / CELLS
      for b = 1, CELLS do
        local std = LOW[2] * (HIGH[2] / LOW[2]) ^ ((b - 0.5) / CELLS)
        sum = sum + math.exp(log_likelihood(centres[i], variances[i], mean, std) - best)
      end
    end
    total = total - math.log(sum / CELLS ^ 2)
  end
  return total / #rows
end

for _, simulations in ipairs { 1000, 10000 } do
  print(simulations .. " simulations:")
  measure(sample, { "mlp", "conv1d", "set" }, { decoder = 0, encoder = 1000 }, simulations)
end
print(string.format("| exact | | %.2f | |", information(sv.simulate(sample, 200, sv.rng(9)))))
