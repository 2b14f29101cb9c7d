--- Binary images: log-likelihoods of new ones by decoders of independent pixels and by autoregressive ones, of a disc
-- of which the parameters tell the size alone, and not where it is, and of dSprites, which they determine.
-- `lua5.4 examples/nets/binary.lua`
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

-- Prints a row for each decoder.
local function compare(sim, steps, batch, held_out, draws)
  local z, x = sv.simulate(sim, held_out, sv.rng(9))
  local pixels = sim.output[2] * sim.output[3]
  print(sim.name .. ":")
  print("| decoder | log-likelihood of an image, nats | bits a pixel | seconds of training | of a draw |")
  print("| --- | --- | --- | --- | --- |")
  for _, decoder in ipairs { "bernoulli", "pixelcnn" } do
    local model, started = sv.model { simulator = sim, decoder = decoder, seed = 1 }, os.clock()
    model:train { quiet = true, batch = batch, decoder = { steps = steps, lr = { peak = 2e-3, warmup = 100 } },
      encoder = { steps = 0 } }
    local trained = os.clock() - started
    local nats = sv.mean(model:log_likelihood(x, z)):item()
    started = os.clock()
    model:decode(sv.slice(z, 1, 1, 1), { samples = draws, rng = sv.rng(1) })
    print(string.format("| %s | %.1f | %.4f | %.0f | %.4f |", decoder, nats, -nats / math.log(2) / pixels, trained,
      (os.clock() - started) / draws))
    io.stdout:flush()
  end
end

compare(disc, 1000, 64, 1000, 100)
compare(require "simvae.simulators.dsprites", 400, 32, 500, 1)
