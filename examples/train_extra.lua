--- Latents beside the named parameters: the box under a light that its parameters do not describe.
--
--     lua examples/train_extra.lua --out runs/extra        # some minutes on two cores
--
-- The simulator draws the paper's box in a light of random colour. Two models learn it: one with the four parameters
-- alone, whose decoder averages over the light, and one with extra latents, which hold it. The estimates of the
-- parameters are compared, and the outputs drawn: the simulator's, the decoder's from the parameters, that from
-- parameters and extra latents, and that from parameters and extra latents of their prior.
local command_line = require "simvae.cli.command_line"
local box = require "simvae.simulators.box"
local core = require "simvae.core"
local json = require "simvae.io.json"
local sv = require "simvae"

local number = command_line.number
local parser = require "argparse"("lua train_extra.lua", "Learns the box in a light that its parameters do not "
  .. "describe, with and without extra latents.")
command_line.training(parser, "runs/extra")
number(parser, "--extra", "Extra latents.", 1, 64, 3)
number(parser, "--steps", "Steps of each stage.", 1, nil, 3000)
number(parser, "--batch", "Samples of a step.", 2, nil, 64)
number(parser, "--samples", "Samples of the evaluation.", 400, nil, 4000)
number(parser, "--width", "Width of the networks.", 1, 4096, 16)
local a = parser:parse()
if a.threads then sv.threads(a.threads) end

-- ---- the simulator ------------------------------------------------------------------------------

local side = 64
local lit_box = sv.simulator {
  name = "lit_box", params = { table.unpack(box.params) }, output = box.output, correlated = true,
  prior = function(rng)
    local w, h = rng:uniform(0, side), rng:uniform(0, side)
    return { w, h, rng:uniform(0, side - w), rng:uniform(0, side - h) }
  end,
  simulate = function(z, out, rng)
    local light = rng:uniform(0.3, 1, { 3, 1, 1 })
    out:copy(box:run(sv.tensor { { z.w, z.h, z.x, z.y } })[1] * light)
  end,
}

-- ---- training and evaluation --------------------------------------------------------------------

local function learn(extra, name)
  local model = sv.model { simulator = lit_box, width = a.width, seed = a.seed, extra = extra }
  local stage = { steps = a.steps }
  return model:train { out = a.out .. "/" .. name, batch = a.batch, decoder = stage, encoder = stage, quiet = a.quiet }
end

local z, x = sv.simulate(lit_box, a.samples, sv.rng(a.seed + 1))

-- R² of reconstructions.
local function explained(y) return (select(2, sv.metrics.decoder_error(x, y))) end

local r = { steps = a.steps, width = a.width, extra = a.extra, seed = a.seed, samples = a.samples }
local rich
for i, name in ipairs { "plain", "extra" } do
  local extra = i == 1 and 0 or a.extra
  local model = learn(extra, name)
  local estimates = model:encode(x)
  local mim = sv.metrics.mim(estimates, z, { constant = "zero" })
  local one = { mig = sv.metrics.mig(mim), mim = mim:totable(), parameters = explained(model:decode(estimates)) }
  if extra > 0 then
    local e = model:encode_extra(x, { z = estimates })
    one.with_extra = explained(model:decode(estimates, { extra = e }))
    one.told = sv.metrics.mim(e, z, { constant = "zero" }):totable() -- what the extra latents tell of the parameters
    rich = { model = model, z = estimates, e = e }
  end
  r[name] = one
end

local most = 0
for _, row in ipairs(r.extra.told) do most = math.max(most, table.unpack(row)) end
print(string.format("MIG of the four parameters: %.3f without extra latents, %.3f with %d", r.plain.mig, r.extra.mig,
  a.extra))
print(string.format("R² of the reconstruction: %.3f without, %.3f with", r.plain.parameters, r.extra.with_extra))
print(string.format("most information of an extra latent about a parameter: %.3f", most))
assert(core.io.write(a.out .. "/metrics.json", { json.encode(r) }))

local function first(t) return sv.slice(t, 1, 1, 10) end
print(sv.figures.grid(a.out .. "/extra.png", { first(x), rich.model:decode(first(rich.z)),
  rich.model:decode(first(rich.z), { extra = first(rich.e) }),
  rich.model:decode(first(rich.z), { extra = sv.rng(a.seed + 2):normal(0, 1, { 10, a.extra }) }) },
  { labels = { "output", "of parameters", "and extra", "and drawn" }, scale = 1 }))
