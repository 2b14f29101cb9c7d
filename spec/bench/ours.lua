-- simvae as a worker of the benchmark: the line protocol of peers/protocol.py, and the
-- workloads. It starts first and writes the weights and data that all peers read.
--
--   lua5.4 spec/bench/ours.lua      (BENCH_THREADS=2, BENCH_CLOCK=cpu for processor time)
local here = arg[0]:match "^(.*/)" or "./"
package.path = here .. "?.lua;" .. package.path

local core = require "simvae.core"
local exported = require "exported"
local sv = require "simvae"
local streams = require "simvae.util.streams"

local THREADS = tonumber(os.getenv "BENCH_THREADS") or 2
local BATCH, BATCHES, CHECKS = 64, 4, 4
local TEST = 0x74657374 -- the seed of pictures that no training sees
local PRECISIONS = { bf16 = "bf16" }
local clock = os.getenv "BENCH_CLOCK" == "cpu" and os.clock or core.system.clock

local function builtin(name) return require("simvae.simulators." .. name) end

-- Arrays for the peers; a list of tensors of one shape becomes one array. A path "none" writes nothing: for
-- measures of memory, to which the file's making would add.
local function save(path, arrays)
  if path == "none" then return end
  local flat = {}
  for name, value in pairs(arrays) do flat[name] = type(value) == "table" and sv.stack(value, 1) or value end
  assert(sv.io.save_npz(path, flat))
end

local function add_state(arrays, prefix, net)
  for name, t in pairs(net:state()) do arrays[prefix .. name] = t end
  return arrays
end

-- ---- training ------------------------------------------------------------------------------

-- Steps over prepared batches. loss(i, noise) -> a tensor; noise: given in the check, else drawn.
local function training(params, loss, noises)
  local adam, at = sv.optim.adam(params, { lr = 1e-3 }), 0
  local function step(i, noise)
    local tape <close> = core.tape()
    local value = loss(i, noise)
    local number = value:item()
    tape:backward(value)
    adam:step()
    return number
  end
  return {
    run = function(steps)
      for _ = 1, steps do
        at = at % BATCHES + 1
        step(at)
      end
    end,
    check = function()
      local losses = {}
      for k = 1, CHECKS do losses[k] = step(1, noises and noises[k]) end
      return losses
    end,
  }
end

local function bce_training(net, code, x)
  return training(net:parameters(), function(i) return core.bce_with_logits(net(code[i]), x[i]) end)
end

-- The bounds of a simulator's parameters, (K,) each.
local function bounds(sim)
  local low, high = {}, {}
  for k, p in ipairs(sim.params) do low[k], high[k] = p.low, p.high end
  return core.tensor(low), core.tensor(high)
end

-- Batches of box: codes in [-1, 1], pictures.
local function images(n, rng)
  local box = builtin "box"
  local low, high = bounds(box)
  local code, x = {}, {}
  for i = 1, BATCHES do
    local z
    z, x[i] = box:simulate_batch(n, rng)
    code[i] = (z - low) / (high - low) * 2 - 1
  end
  return code, x
end

local function dcgan(width, rng, form)
  local decoder, encoder = sv.nets.dcgan { code = 4, heads = 8, output = { 3, 64, 64 }, width = width, rng = rng }
  if PRECISIONS[form] then
    for _, net in ipairs { decoder, encoder } do net:set_precision(PRECISIONS[form]) end
  end
  return decoder, encoder
end

local works = {}

-- Stage 1: the decoder on fresh pictures (SimVAE, eq. 3).
function works.stage1(file, width, form)
  local rng = core.rng(1)
  local decoder = dcgan(tonumber(width), rng, form)
  local code, x = images(BATCH, rng)
  decoder:train()
  save(file, add_state({ code = code, x = x }, "decoder.", decoder))
  return bce_training(decoder, code, x)
end

-- Stage 2: the encoder through the frozen decoder (eq. 4), whose running statistics have seen a few batches.
function works.stage2(file, width, form)
  local rng = core.rng(1)
  local decoder, encoder = dcgan(tonumber(width), rng, form)
  local code, x = images(BATCH, rng)
  if file ~= "none" then
    decoder:train()
    bce_training(decoder, code, x).run(3)
  end
  decoder:eval()
  decoder:freeze()
  encoder:train()
  local noises = {}
  for k = 1, CHECKS do noises[k] = core.buffer(rng:normal { BATCH, 4 }) end
  save(file, add_state(add_state({ x = x, noise = noises }, "decoder.", decoder), "encoder.", encoder))
  return training(encoder:parameters(), function(i, noise)
    local heads = encoder(x[i])
    local mean = core.tanh(core.slice(heads, 2, 1, 4))
    local std = core.exp(core.clamp(core.slice(heads, 2, 5, 8) - 1, -7, 1))
    return core.bce_with_logits(decoder(mean + std * (noise or rng:normal { BATCH, 4 })), x[i])
  end, noises)
end

-- The decoder of a vector, 3-128-128-128-122.
function works.mlp(file)
  local rng = core.rng(1)
  local net = sv.nets.mlp { code = 3, heads = 6, output = { 122 }, width = 128, rng = rng }
  local code, x = {}, {}
  for i = 1, BATCHES do
    code[i], x[i] = core.buffer(rng:uniform(-1, 1, { 256, 3 })), core.buffer(rng:normal { 256, 122 })
  end
  save(file, add_state({ code = code, x = x }, "decoder.", net))
  return training(net:parameters(), function(i) return core.mse_loss(net(code[i]), x[i]) end)
end

-- ---- one call a step --------------------------------------------------------------------------

local function calls(step, check)
  return {
    run = function(steps) for _ = 1, steps do step() end end,
    check = check or function() return {} end,
  }
end

function works.encode(file, batch)
  local box = builtin "box"
  local model = sv.model { posterior = "gaussian", simulator = box, net = "dcgan", width = 32, seed = 1,
    bounded = "tanh" }
  local _, x = box:simulate_batch(tonumber(batch), core.rng(2))
  local low, high = bounds(box)
  save(file, add_state({ x = x, low = low, high = high }, "encoder.", model.encoder))
  local function step()
    local scope <close> = core.scope()
    model:encode(x)
  end
  return calls(step, function()
    local list = {}
    for _, t in ipairs { model:encode(x) } do
      for _, v in ipairs(core.mean(t, 1):totable()) do list[#list + 1] = v end
    end
    return list
  end)
end

-- One call of a direction of a model, and the files of it that peers run.
function works.export(file, kind, form)
  local step, result = exported(file, kind, form, function(model, arrays)
    save(file, add_state(arrays, "decoder.", model.decoder))
  end)
  return calls(step, function()
    local values = core.reshape(result(), -1)
    return core.slice(values, 1, 1, math.min(64, values.count)):totable()
  end)
end

-- A million random numbers, or as many of which a tenth is dropped.
function works.random(file, name)
  local rng, shape = core.rng(6), { 1000000 }
  local x, seed = core.ones(shape), 0
  save(file, {})
  return calls(function()
    local scope <close> = core.scope()
    seed = seed + 1
    if name == "dropout" then core.dropout(x, 0.1, seed) else rng[name](rng, 0, 1, shape) end
  end)
end

-- Ops of x (1024, 1024), its first row and column, and whole numbers from 1 to 1024.
local single = {
  softmax = function(x) return sv.softmax(x, 2) end,
  ["log-softmax"] = function(x) return sv.log_softmax(x, 2) end,
  ["cross-entropy"] = function(x, _, _, index) return sv.cross_entropy(x, index[1]) end,
  logsumexp = function(x) return sv.logsumexp(x, 2) end,
  max = function(x) return sv.max(x, 2) end,
  ["layer-norm"] = function(x, row) return sv.layer_norm(x, row, row) end,
  transpose = function(x) return sv.transpose(x) end,
  gather = function(x, _, _, index) return sv.gather(x, index, 2) end,
  expand = function(_, _, column) return sv.expand(column, 1024, 1024) end,
  sin = function(x) return sv.sin(x) end,
  atan2 = function(x, row) return sv.atan2(x, row) end,
}

function works.op(file, name)
  local rng, n = core.rng(6), 1024
  local x, index = core.parameter(rng:uniform { n, n }), sv.floor(rng:uniform(1, n + 1, { n, n }))
  local row, column = core.parameter(rng:uniform { n }), core.parameter(rng:uniform { n, 1 })
  save(file, {})
  return calls(function()
    local tape <close> = core.tape()
    tape:backward(sv.sum(single[name](x, row, column, index)))
  end)
end

function works.mim(file)
  local rng = core.rng(3)
  local v = rng:uniform(-1, 1, { 10000, 11 })
  local z = v + rng:normal { 10000, 11 } * 0.2
  save(file, { z = z, v = v })
  return calls(function() sv.metrics.mim(z, v) end,
    function() return sv.metrics.mim(z, v):reshape(-1):totable() end)
end

-- Pictures of a batch at given parameters.
function works.draw(file, name)
  local z = builtin(name):sample(BATCH, core.rng(4))
  local sim = core.builtin[name]
  local out = core.zeros { BATCH, table.unpack(sim.output) }
  save(file, { z = z })
  return calls(function() sim.draw(z, out) end, function()
    sim.draw(z, out)
    return core.mean(out, { 2, 3, 4 }):totable()
  end)
end

-- What a training step of stage 1 at width 32 takes in all, and for its batch alone: the real sampler, prior
-- included, and the codes.
function works.sampler(_, _, form)
  local model = sv.model { posterior = "gaussian", simulator = builtin "box", net = "dcgan", width = 32, seed = 1 }
  local sampler = sv.sampler.new { simulator = model.simulator, batch = BATCH, seed = 1 }
  local adam = sv.optim.adam(model.decoder:parameters(), { lr = 1e-3 })
  model.decoder:train()
  return calls(function()
    local tape <close> = core.tape()
    local z, x = sampler:next()
    local code = model.latent:to_code(z)
    if form == "batch" then return end
    tape:backward(model.loss(model.decoder(code), x))
    adam:step()
  end)
end

-- Four 3x3 convolutions and relus, batch x side x channels, forward and backward from the gradient g of the output.
function works.convolutions(file, size)
  local batch, side, channels = size:match "^(%d+)x(%d+)x(%d+)$"
  batch, side, channels = math.tointeger(batch), math.tointeger(side), math.tointeger(channels)
  local rng, w = core.rng(6), {}
  local image = { batch, channels, side, side }
  local x, g = core.buffer(rng:normal(image)), core.buffer(rng:normal(image))
  for k = 1, 4 do
    w[k] = core.parameter(rng:normal { channels, channels, 3, 3 } * (2 / (9 * channels)) ^ 0.5)
  end
  save(file, { x = x, g = g, w = w })
  local function step()
    local tape <close> = core.tape()
    local y = x
    for k = 1, 4 do
      w[k]:zero_grad()
      y = core.conv2d(y, w[k], nil, { padding = 1, activation = "relu" })
    end
    local value = core.sum(y * g)
    tape:backward(value)
    return value:item()
  end
  return calls(step, function()
    local list = { step() }
    for k = 1, 4 do list[k + 1] = core.sum(w[k].grad * w[k].grad):item() end
    return list
  end)
end

-- Samples through so many worker processes, from their start to their end: none are made between the rounds.
function works.workers(_, speed, form)
  local sim = sv.simulator {
    name = speed, params = { { name = "v", low = 0, high = 1 } }, output = { 1, 64, 64 },
    simulate = function(z, out)
      local stop = speed == "slow" and core.system.clock() + 1e-3
      out:fill(z.v)
      while stop and core.system.clock() < stop do end
    end,
  }
  local made = calls()
  function made.run(steps)
    local total = BATCH * steps
    local sampler <close> = sv.sampler.new { simulator = sim, batch = BATCH, workers = tonumber(form), total = total }
    for _ = 1, steps do
      local scope <close> = core.scope()
      sampler:next()
    end
  end
  return made
end

-- Sweeps of the circuit: 16 a step.
function works.rlc(file, _, form)
  local sim = builtin "rlc"
  if form == "analytic" then sim = sim { engine = "analytic" } end
  local z = sim:sample(16, core.rng(5))
  save(file, { z = z })
  return calls(function()
    local scope <close> = core.scope()
    sim:run(z)
  end, function() return sim:run(z)[1]:totable() end)
end

-- A product M x N x K, "-at": the first factor is stored transposed, "-bt": the second.
function works.gemm(_, shape)
  local m, n, k, transposed = shape:match "^(%d+)x(%d+)x(%d+)%-?(%a*)$"
  m, n, k = math.tointeger(m), math.tointeger(n), math.tointeger(k)
  local ta, tb = transposed == "at", transposed == "bt"
  local rng = core.rng(6)
  local a, b = rng:uniform(0, 1, ta and { k, m } or { m, k }), rng:uniform(0, 1, tb and { n, k } or { k, n })
  return calls(function()
    local scope <close> = core.scope()
    core.matmul(a, b, ta, tb)
  end)
end

function works.sgemm() return works.gemm(nil, "1536x1536x1536") end

-- Megabytes resident after two numbers of steps of one training, both counted from its start.
function works.flat(_, steps)
  local first, last = steps:match "(%d+)to(%d+)"
  first, last = tonumber(first), tonumber(last)
  local model = sv.model { posterior = "gaussian", simulator = builtin "box", net = "dcgan", width = 16, seed = 1 }
  return {
    run = function() end,
    check = function()
      local seen = {}
      model:train_decoder {
        steps = last, quiet = true, recipe = "paper",
        on_step = function(_, step)
          if step == first or step == last then seen[#seen + 1] = (core.system.resident()) / 2 ^ 20 end
        end,
      }
      return seen
    end,
  }
end

-- The mean squared error of a decoder of box on fresh pictures, after training in the precision of the form.
function works.mse(_, size, form)
  local width, total, seed = size:match "^(%d+)%-(%d+)s(%d+)$"
  local box = builtin "box"
  local model = sv.model { posterior = "gaussian", simulator = box, net = "dcgan", width = tonumber(width),
    seed = tonumber(seed),
    precision = PRECISIONS[form] }
  return {
    run = function(steps)
      assert(steps == tonumber(total), "trained as a whole")
      model:train_decoder { steps = steps, seed = tonumber(seed), quiet = true }
    end,
    check = function()
      local scope <close> = core.scope()
      local z, x = box:simulate_batch(2000, core.rng(TEST))
      return { core.mse_loss(model:decode(z), x):item() }
    end,
  }
end

-- ---- a whole run -----------------------------------------------------------------------------------

local TESTED, AT_ONCE = 10000, 500 -- pictures that MIG is taken over; that are drawn at once

-- What the streams of a training with this seed hold (simvae.train): parameters and pictures of its batches, and
-- of the second stage's first steps the noise, the directions of the recipe's distances and the draws of the prior.
local function samples(model, seed)
  local sampler = sv.sampler.new { simulator = model.simulator, batch = BATCH, seed = seed }
  local noise, prior = streams.noise(seed), streams.prior(seed)
  return {
    batches = function(n)
      local code, x = {}, {}
      for i = 1, n do
        local z, pictures = sampler:next()
        code[i], x[i] = model.latent:to_code(z), pictures
      end
      return { code = code, x = x }
    end,
    draws = function(n)
      local list = { noise = {}, directions = {} }
      for i = 1, n do
        list.noise[i], list.directions[i] = noise:normal { BATCH, 4 }, noise:normal { 4, 32 }
      end
      return list
    end,
    prior = function(n)
      return model.latent:to_code(model.simulator:sample(BATCH * n, prior)):reshape(n, BATCH, 4)
    end,
  }
end

-- The pictures of the test, in parts, and their parameters: the same for everyone.
local function tested(sim)
  local z, rng = {}, core.rng(TEST)
  for i = 1, TESTED // AT_ONCE do z[i] = sim:sample(AT_ONCE, rng) end
  return z
end

-- What a peer starts a run from: weights, the recipe's numbers, the budget.
local function beginning(arrays, model, budget)
  local recipe = require("simvae.train.recipes").default
  arrays.budget = core.tensor(budget)
  arrays.peaks = core.tensor { recipe.decoder.lr.peak, recipe.encoder.lr.peak }
  arrays.warmups = core.tensor { recipe.decoder.lr.warmup, recipe.encoder.lr.warmup }
  arrays.pull = core.tensor { recipe.encoder.prior }
  return add_state(add_state(arrays, "decoder.", model.decoder), "encoder.", model.encoder)
end

-- The training that a user starts, paused after each step; and, as form "samples", what the peers are given of it.
function works.whole(file, size, form)
  local decoder, encoder, seed = size:match "^(%d+)x(%d+)s(%d+)$"
  decoder, encoder, seed = tonumber(decoder), tonumber(encoder), tonumber(seed)
  local sim = builtin "box"
  local model = sv.model { posterior = "gaussian", simulator = sim, net = "conv", width = 16, seed = seed }
  local test = tested(sim)
  if form == "samples" then
    local own = samples(model, seed)
    save(file, beginning({ prior = own.prior(encoder) }, model, { decoder, encoder }))
    return {
      draw = function(steps, path) save(path, own.batches(steps)) end,
      test = function(path)
        local x = {}
        for i, z in ipairs(test) do x[i] = sim:run(z) end
        save(path, { x = x })
      end,
      mig = function(path)
        local means = assert(sv.io.load_npy(path))
        return sv.metrics.mig(sv.metrics.mim(core.concat(test, 1), means, { bins = 20 }))
      end,
    }
  end
  local losses = {}
  local paused = coroutine.create(function()
    model:train {
      decoder = { steps = decoder }, encoder = { steps = encoder }, seed = seed, quiet = true,
      on_step = function(_, _, loss)
        losses[#losses + 1] = loss
        coroutine.yield()
      end,
    }
  end)
  local function run(steps)
    for _ = 1, steps do assert(coroutine.resume(paused)) end
  end
  return {
    run = run,
    check = function() -- all of stage 1, the first steps of stage 2: with all that a peer needs to take the same
      local own, steps = samples(model, seed), decoder + 2 * CHECKS
      local all, draws = own.batches(steps), own.draws(2 * CHECKS)
      all.noise, all.directions, all.prior = draws.noise, draws.directions, own.prior(2 * CHECKS)
      save(file, beginning(all, model, { decoder, encoder }))
      run(steps)
      return losses
    end,
    infer = function(_, path)
      local means = {}
      for i, z in ipairs(test) do
        local scope <close> = core.scope()
        means[i] = scope:keep((model:encode(sim:run(z))))
      end
      model.encoder:train()
      assert(sv.io.save_npy(path, core.concat(means, 1)))
    end,
  }
end

-- ---- the protocol ---------------------------------------------------------------------------------

local loaded = {}

local function numbers(list)
  local words = {}
  for i, v in ipairs(list) do words[i] = string.format("%.9g", v) end
  return table.concat(words, " ")
end

local answers = {}

local function set(form)
  core.threads(form == "one" and 1 or THREADS)
  core.products((form == "ours" or form == "openblas") and form or "auto")
end

function answers.load(workload, form, file)
  local kind, size = workload:match "^(%a+%d?)%-?(.*)$"
  set(form)
  loaded[workload .. form] = works[kind](file, size, form)
end

function answers.check(workload, form)
  set(form)
  return numbers(loaded[workload .. form].check())
end

-- A change in the number of threads starts or ends some: that is not timed.
function answers.run(workload, form, steps)
  local work, before = loaded[workload .. form], core.threads()
  set(form)
  if core.threads() ~= before then work.run(1) end
  local start = clock()
  work.run(tonumber(steps))
  return string.format("%.9f", clock() - start)
end

-- Of a whole run: the pictures of its next steps, those of the test, the encoder's means of these, what they are worth.
function answers.draw(workload, form, steps, path)
  local scope <close> = core.scope()
  loaded[workload .. form].draw(tonumber(steps), path)
end

function answers.test(workload, form, path)
  local scope <close> = core.scope()
  loaded[workload .. form].test(path)
end

function answers.infer(workload, form, pictures, path)
  loaded[workload .. form].infer(pictures, path)
end

function answers.mig(workload, form, path)
  return string.format("%.6f", loaded[workload .. form].mig(path))
end

function answers.resident()
  return tostring(select(2, core.system.resident()))
end

function answers.drop()
  loaded = {}
  collectgarbage()
  core.release_memory()
end

io.stdout:setvbuf "line"
print("ready\tsimvae " .. core.version .. " (" .. core.real .. ", kernel " .. core.kernel() .. "), " .. _VERSION)
for line in io.lines() do
  local words = {}
  for word in line:gmatch "[^\t]+" do words[#words + 1] = word end
  local ok, result = xpcall(answers[words[1]], debug.traceback, table.unpack(words, 2))
  if not ok then io.stderr:write(result, "\n") end
  print(ok and "ok\t" .. (result or "") or "no\t" .. result:match("^[^\n]*"):gsub("^[^:]+:%d+: ", ""))
end
