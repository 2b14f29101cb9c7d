--- A transient: a damped oscillation that starts at an unknown time, in noise. `lua5.4 examples/nets/transient.lua`
local sv = require "simvae"
local measure = dofile(arg[0]:match "^(.*/)" .. "measure.lua")

local N = 512
local transient = sv.simulator {
  name = "transient", output = { N }, noise = 0.1,
  params = { { name = "start", low = 0, high = 0.6, unit = "s" },
    { name = "frequency", low = 10, high = 40, scale = "log", unit = "Hz" },
    { name = "damping", low = 3, high = 30, scale = "log", unit = "1/s" } },
  simulate = function(z, out)
    for i = 1, N do
      local t = i / N - z.start
      if t > 0 then out[i] = math.exp(-z.damping * t) * math.sin(2 * math.pi * z.frequency * t) end
    end
  end,
}
measure(transient, { "mlp", "conv1d" }, { decoder = 1000, encoder = 1000 })
