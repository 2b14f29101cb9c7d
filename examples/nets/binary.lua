--- Binary images of which the parameters tell the size of a disc alone, and not where it is: log-likelihoods of new
-- images. `lua5.4 examples/nets/binary.lua`
local sv = require "simvae"
sv.threads(1)

local disc = sv.simulator {
  name = "disc", output = { 1, 16, 16 }, params = { { name = "r", low = 1, high = 4, unit = "px" } },
  simulate = function(z, out, rng)
    local x, y = rng:uniform(4, 12), rng:uniform(4, 12)
    for i = 1, 16 do
      for j = 1, 16 do
        if (i - 0.5 - y) ^ 2 + (j - 0.5 - x) ^ 2 < z.r ^ 2 then out:set(1, 1, i, j) end
      end
    end
  end,
}
local z, x = sv.simulate(disc, 1000, sv.rng(9))
print("| decoder | log-likelihood of an image, nats | seconds of training | of a draw |")
print("| --- | --- | --- | --- |")
for _, decoder in ipairs { "bernoulli", "pixelcnn" } do
  local model, started = sv.model { simulator = disc, decoder = decoder, seed = 1 }, os.clock()
  model:train { quiet = true, decoder = { steps = 1000, lr = { peak = 2e-3, warmup = 100 } }, encoder = { steps = 0 } }
  local trained = os.clock() - started
  local nats = sv.mean(model:log_likelihood(x, z)):item()
  started = os.clock()
  model:decode(sv.tensor { { 3 } }, { samples = 100, rng = sv.rng(1) })
  print(string.format("| %s | %.1f | %.0f | %.4f |", decoder, nats, trained, (os.clock() - started) / 100))
  io.stdout:flush()
end
