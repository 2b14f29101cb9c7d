-- The training loop against the bare step: forward, loss, backward, clipping and the optimizer on one batch that is
-- there already. Both run in turn, a few steps each, so that other work on the machine slows both.
--
--     lua5.4 spec/bench/loop.lua [--threads 1,2] [--rounds 40] [--steps 5] [--only stage1-16,…] [--clock cpu]
--
-- Figures are medians of rounds, per step, and the median of the ratios of neighbouring rounds. --clock cpu: processor
-- time, on one thread the better measure where a machine has other work. --clock serial: on two threads or more, the
-- processor time of a step outside of what threads share (parallel.c), which bounds what more threads gain (Amdahl
-- 1967).
local core = require "simvae.core"
local sv = require "simvae"

local o = { threads = "1,2", rounds = "40", steps = "5", only = "", clock = "wall" }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%a+)$"
  assert(o[name or ""], "spec/bench/loop.lua takes --threads, --rounds, --steps, --only and --clock")
  o[name] = assert(arg[i + 1], arg[i] .. " takes a value")
end
local rounds, steps = tonumber(o.rounds), tonumber(o.steps)
local clocks = { wall = core.system.clock, cpu = os.clock, serial = function() return core.serial_seconds(true) end }
local clock = assert(clocks[o.clock], "--clock takes wall, cpu or serial")

local CLIP = 1e9 -- computed, and never reached
local FIRST = 20 -- steps that are not measured: in the first epoch over simulations these are made

-- A prepared batch: z in units, its code, x as networks see it.
local function batch_of(model, n)
  local z, x = sv.simulate(model.simulator, n, sv.rng(1))
  return core.buffer(z), core.buffer(model.latent:to_code(z)), core.buffer(model.loss:standardise(x))
end

-- A bare step of some nets; loss() -> a tensor.
local function bare(nets, loss)
  local params = {}
  for _, net in ipairs(nets) do
    net:train()
    for _, t in ipairs(net:parameters()) do params[#params + 1] = t end
  end
  local adam = sv.optim.adam(params, { lr = 1e-4 })
  return function()
    local tape <close> = core.tape()
    local value = loss()
    value:item()
    tape:backward(value)
    sv.optim.clip_grad_norm(params, CLIP)
    adam:step()
  end
end

local box = require "simvae.simulators.box"
local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
local curve = sv.simulator {
  name = "curve", output = { 8 }, noise = 0.1,
  params = {
    { name = "a", low = -1, high = 1 }, { name = "b", low = -1, high = 1 }, { name = "c", low = -1, high = 1 },
  },
  simulate = function(z, out) for i = 1, 8 do out[i] = z.a * i + z.b * z.c end end,
}

-- Each makes a model, the options of its training, and its bare step.
local cases = {
  { "stage1-16", "DCGAN of width 16, decoder, box", "decoder", function()
    local model = sv.model { simulator = box, net = "dcgan", width = 16, seed = 1, posterior = "gaussian" }
    local _, code, x = batch_of(model, 64)
    return model, {}, bare({ model.decoder }, function() return core.bce_with_logits(model.decoder(code), x) end)
  end },
  { "stage2-16", "DCGAN of width 16, encoder through the decoder, box", "encoder", function()
    local model = sv.model { simulator = box, net = "dcgan", width = 16, seed = 1, posterior = "gaussian" }
    local _, _, x = batch_of(model, 64)
    local rng = sv.rng(2)
    local frozen = sv.model { simulator = box, net = "dcgan", width = 16, seed = 1 }.decoder
    frozen:eval()
    frozen:freeze()
    return model, { recipe = "paper" }, bare({ model.encoder }, function()
      local heads = model.encoder(x)
      local mean, std = core.tanh(core.slice(heads, 2, 1, 4)), core.exp(core.clamp(core.slice(heads, 2, 5, 8), -7, 1))
      return core.bce_with_logits(frozen(mean + std * rng:normal { 64, 4 }), x)
    end)
  end },
  { "mlp", "MLP 3-128-128-128-122, decoder, batch 256, rlc in closed form", "decoder", function()
    local model = sv.model { simulator = rlc, width = 128, seed = 1 }
    local _, code, x = batch_of(model, 256)
    return model, { batch = 256 }, bare({ model.decoder }, function()
      return core.mse_loss(model.decoder(code), x)
    end)
  end },
  { "flow", "flow of a vector of 8, encoder, batch 128, 2,000 simulations", "encoder", function()
    local cube = require "simvae.posterior.support.cube"
    local model = sv.model { simulator = curve, seed = 1, posterior = "flow" }
    local z, _, x = batch_of(model, 128)
    local u = core.buffer(cube.points(model.latent, z))
    return model, { simulations = 2000, labels = 1, held_out = 0 }, bare({ model.encoder, model.head.net },
      function() return model.head:loss(model:encoder_outputs(x), u) end)
  end },
}

-- The training as a coroutine that yields after each step.
local function training(model, stage, options)
  local t = { quiet = true, steps = 1 << 30, lr = 1e-4, clip = CLIP, on_step = function() coroutine.yield() end }
  for k, v in pairs(options) do t[k] = v end
  return coroutine.wrap(function() model:train_stage(stage, t) end)
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function seconds(step)
  local started = clock()
  for _ = 1, steps do step() end
  return (clock() - started) / steps
end

local function measure(step, other)
  for _ = 1, FIRST do
    step()
    other()
  end
  local a, b, ratios = {}, {}, {}
  for i = 1, rounds do
    a[i] = seconds(step)
    b[i] = seconds(other)
    ratios[i] = b[i] / a[i]
  end
  return median(a), median(b), median(ratios)
end

print(string.format("load average %s, %s time", io.open "/proc/loadavg":read "a":match "^%S+", o.clock))
print "| step | threads | bare | training loop | ratio |"
print "| --- | --- | --- | --- | --- |"
for _, case in ipairs(cases) do
  local name, title, stage, make = table.unpack(case)
  if o.only == "" or ("," .. o.only .. ","):find("," .. name .. ",", 1, true) then
    local model, options, step = make()
    local other = training(model, stage, options)
    for threads in o.threads:gmatch "%d+" do
      sv.threads(tonumber(threads))
      local own, loop, ratio = measure(step, other)
      print(string.format("| %s: %s | %s | %.3f ms | %.3f ms | %.3f |", name, title, threads, 1e3 * own, 1e3 * loop,
        ratio))
    end
  end
end
os.exit(true, false)
