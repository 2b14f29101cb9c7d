--- A stochastic oscillator, an autoregressive process of order 2 (Yule 1927): what is to be inferred is in no place of
-- the series, but in all of it. `lua5.4 examples/nets/process.lua`
local sv = require "simvae"
local measure = dofile(arg[0]:match "^(.*/)" .. "measure.lua")

local N = 256
local process = sv.simulator {
  name = "process", output = { N },
  params = { { name = "period", low = 4, high = 40, scale = "log" },
    { name = "memory", low = 4, high = 60, scale = "log" }, { name = "std", low = 0.5, high = 2, scale = "log" } },
  simulate = function(z, out, rng)
    local r = math.exp(-1 / z.memory)
    local a, b, last, before = 2 * r * math.cos(2 * math.pi / z.period), -r * r, 0, 0
    for i = -100, N do
      last, before = a * last + b * before + rng:normal(0, z.std), last
      if i > 0 then out[i] = last end
    end
  end,
}
measure(process, { "mlp", "conv1d", "gru", "lstm" }, { decoder = 0, encoder = 800 })
