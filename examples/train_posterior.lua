--- A posterior, compared with the exact one: two moons.
--
--     lua examples/train_posterior.lua --out runs/posterior        # under two minutes on two cores
--
-- Two parameters give an output of two numbers, with noise of its own. Many parameters give the same output: the
-- posterior consists of two crescents, mirrored in the line z1 + z2 = 0. It is known in closed form, so that samples
-- of the model can be laid over exact ones.
local command_line = require "simvae.cli.command_line"
local sv = require "simvae"

local number = command_line.number
local parser = require "argparse"("lua train_posterior.lua", "Learns the posterior of two moons, and draws it on exact "
  .. "samples.")
command_line.training(parser, "runs/posterior")
number(parser, "--simulations", "Simulations that it learns from.", 100, nil, 10000)
number(parser, "--draws", "Draws of each posterior that are compared.", 20, nil, 2000)
number(parser, "--steps", "Steps of each stage, in place of the defaults.", 1)
number(parser, "--width", "Units of the hidden layers.", 1, 4096, 128)
local a = parser:parse()
if a.threads then sv.threads(a.threads) end

-- ---- the simulator ------------------------------------------------------------------------------

-- A point of the crescent that the noise draws, before the parameters move it.
local function crescent(rng)
  local angle, r = rng:uniform(-math.pi / 2, math.pi / 2), rng:normal(0.1, 0.01)
  return r * math.cos(angle), r * math.sin(angle)
end

local two_moons = sv.simulator {
  name = "two_moons", output = { 2 },
  params = { { name = "z1", low = -1, high = 1 }, { name = "z2", low = -1, high = 1 } },
  simulate = function(z, out, rng)
    local p, q = crescent(rng)
    out[1] = p + 0.25 - math.abs(z.z1 + z.z2) / math.sqrt(2)
    out[2] = q + (z.z2 - z.z1) / math.sqrt(2)
  end,
}

-- Exact samples (n, 2) of the posterior of x. The output is linear in s = |z1 + z2| / sqrt 2 and
-- d = (z2 - z1) / sqrt 2, and the prior is uniform: s and d are solved for a draw of the noise, and rejected where they
-- are of no parameters of the prior.
local function exact(x, n, rng)
  local rows = {}
  while #rows < n do
    local p, q = crescent(rng)
    local s, d = p + 0.25 - x[1], x[2] - q
    if s >= 0 then
      if rng:uniform(0, 1) < 0.5 then s = -s end
      local z1, z2 = (s - d) / math.sqrt(2), (s + d) / math.sqrt(2)
      if math.abs(z1) < 1 and math.abs(z2) < 1 then rows[#rows + 1] = { z1, z2 } end
    end
  end
  return sv.tensor(rows)
end

-- ---- training -----------------------------------------------------------------------------------

local model = sv.model { simulator = two_moons, posterior = "flow", width = a.width, seed = a.seed }
local stage = { steps = a.steps }
model:train { out = a.out, simulations = a.simulations, decoder = stage, encoder = stage, quiet = a.quiet }

-- ---- comparison ---------------------------------------------------------------------------------

local truth, x = sv.simulate(two_moons, 3, sv.rng(a.seed + 1))
local posterior = model:posterior(x)
local samples = posterior:sample(a.draws, sv.rng(a.seed + 2))
for i = 1, 3 do
  local reference = exact(x[i]:totable(), a.draws, sv.rng(a.seed + 10 + i))
  local path, why = sv.figures.pairs(samples[i], string.format("%s/moons_%d.png", a.out, i), { simulator = two_moons,
    reference = reference, truth = truth[i] })
  print(string.format("output %d: C2ST %.3f (0.5: not to be told from exact samples)  %s", i,
    sv.metrics.c2st(reference, samples[i]), path or "no picture: " .. why))
end
