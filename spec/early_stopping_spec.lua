--- The held-out part of the simulations and early stopping: the measure against densities of the model in use, on
-- samples drawn apart; the weights that are kept; runs that go on.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

-- A line with noise; the box of its parameters has a volume of 8.
local function line(noise)
  return sv.simulator { name = "line", output = { 3 }, noise = noise,
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 4 } },
    simulate = function(z, out, rng)
      for i = 1, 3 do out[i] = z.a + z.b * i + 0.3 * rng:normal() end
    end }
end

local function model_of(sim)
  return sv.model { simulator = sim or line(), posterior = "flow", transforms = 1, bins = 4, width = 16, seed = 5 }
end

-- Options of a training whose encoder overfits 90 of 120 simulations.
local function options(out, more)
  local t = { simulations = 120, batch = 30, quiet = true, out = out, seed = 7, log_every = 1000,
    decoder = { steps = 40 }, encoder = { steps = 600, lr = 2e-2, labels = 1, patience = 40 } }
  for k, v in pairs(more or {}) do t[k] = v end
  return t
end

-- Rows of a log of one stage that have a measure: lists of step and measure.
local function measures(out, stage)
  local rows = {}
  for line_ in helper.read(out .. "/log.csv"):gmatch "[^\n]+" do
    local step, of, value = line_:match "^(%d+),(%a+),.*,([^,]*)$"
    if of == stage and tonumber(value) then rows[#rows + 1] = { tonumber(step), tonumber(value) } end
  end
  return rows
end

local function best_of(rows)
  local best = rows[1]
  for _, row in ipairs(rows) do
    if row[2] > best[2] then best = row end
  end
  return best
end

local function same_weights(a, b)
  local other = b:state()
  for name, t in pairs(a:state()) do assert.equal(0, core.max(core.abs(t - other[name])):item(), name) end
end

describe("the average of weights", function()
  local averaging = require "simvae.train.averaging"

  it("is the recursion m = k m + (1 - k) w every four steps, k = 0.9^4 or less at the start", function()
    local w = core.buffer(core.tensor { 1, 10 })
    local average = averaging.new({ w = w }, 0.9)
    local expected = { 1, 10 }
    for step = 1, 200 do
      w:copy(core.tensor { step, 10 - step ^ 2 / 1000 })
      average:after(step)
      if step % 4 == 0 then
        local k = math.min(0.9, (1 + step) / (10 + step)) ^ 4
        for i, v in ipairs(w:totable()) do expected[i] = k * expected[i] + (1 - k) * v end
      end
    end
    for i, v in ipairs(average.mean.w:totable()) do assert.near(expected[i], v, 1e-4 * math.abs(expected[i])) end
    average:exchange()
    assert.near(expected[1], w:get(1), 1e-4 * expected[1])
    assert.equal(200, average.mean.w:get(1))
  end)
end)

describe("early stopping", function()
  local folder = helper.temporary_folder()

  it("ends a stage that no longer improves, with the weights that measured best on samples never trained on", function()
    local model = model_of():train(options(folder .. "/best"))
    local rows = measures(folder .. "/best", "encoder")
    local best, last = best_of(rows), rows[#rows]
    assert.is_true(model.trained.encoder < 600)
    assert.equal(model.trained.encoder, last[1])
    assert.is_true(last[1] - best[1] >= 40)
    assert.is_true(last[2] < best[2] - 0.02)
    -- samples 91 to 120 of the seed are held out
    local source <close> = sv.sampler.new { simulator = line(), batch = 120, seed = 7 }
    local z, x = source:next()
    local own = model:posterior(core.slice(x, 1, 91, 120)):log_prob(core.slice(z, 1, 91, 120))
    assert.near(best[2], core.mean(own):item() + math.log(8), 2e-4)
  end)

  it("lets the rate fall where a doubling of the steps adds less than the tolerance, and goes on from there", function()
    local function run(out, more)
      local o = { encoder = { steps = 1200, lr = 5e-3, labels = "auto", patience = 1200, tolerance = 100 } }
      o.decoder, o.log_every = { steps = 5 }, 1
      for k, v in pairs(more or {}) do o[k] = v end
      return model_of():train(options(folder .. out, o))
    end
    local whole = run("/settled")
    local rates, looks = {}, {}
    for line_ in helper.read(folder .. "/settled/log.csv"):gmatch "[^\n]+" do
      local step, rate = line_:match "^(%d+),encoder,[^,]*,([^,]*)"
      if step then rates[tonumber(step)] = tonumber(rate) end
    end
    -- looked at after 200 steps, and at factors of the square root of 2 from there, when twice as many can be compared;
    -- then three trials, of which one is kept
    for _, row in ipairs(measures(folder .. "/settled", "encoder")) do
      if row[1] >= (looks[1] and math.sqrt(2) * looks[#looks] or 200) and #looks < 3 then looks[#looks + 1] = row[1] end
    end
    local from = looks[3] + math.max(50, looks[3] // 5)
    local to = from + from // 3
    assert.equal(to, whole.trained.encoder)
    for step = looks[3] + 1, to do
      local expected = step <= from and 5e-3 or 2.5e-3 * (1 + math.cos(math.pi * (step - from) / (to - from)))
      if rates[step] then assert.near(expected, rates[step], 1e-8, step) end
    end
    assert.is_not_nil(rates[to - 1])
    for i, stop in ipairs { looks[3], from + 1, to - 3 } do
      assert.is_false(pcall(run, "/settled" .. i, { checkpoint_every = 1e-9, on_step = function(stage, step)
        if stage == "encoder" and step >= stop then error("interrupted!", 0) end
      end }))
      same_weights(whole, run("/settled" .. i))
    end
  end)

  it("goes on from where it was interrupted as if it had not been, with the best weights", function()
    local whole = model_of():train(options(folder .. "/whole"))
    local last = whole.trained.encoder
    for i, stop in ipairs { last - 20, last } do
      local out = folder .. "/stop" .. i
      local more = { checkpoint_every = 1e-9, on_step = function(stage, step)
        if stage == "encoder" and step == stop then error("interrupted!", 0) end
      end }
      assert.is_false(pcall(model_of().train, model_of(), options(out, more)))
      local again = model_of()
      again:train(options(out))
      same_weights(whole, again)
      assert.same(whole.trained, again.trained)
      assert.same(measures(folder .. "/whole", "encoder"), measures(out, "encoder"))
    end
  end)

  it("keeps the decoder's best weights where the number of simulations is limited", function()
    local out = folder .. "/decoder"
    local model = model_of():train(options(out, { decoder = { steps = 500, lr = 2e-2, patience = 200 },
      encoder = { steps = 0 } }))
    local rows = measures(out, "decoder")
    local best = best_of(rows)
    assert.is_true(best[2] > rows[#rows][2] + 0.003)
    local source <close> = sv.sampler.new { simulator = line(), batch = 120, seed = 7 }
    local z, x = source:next()
    local off = (model:decode(core.slice(z, 1, 91, 120)) - core.slice(x, 1, 91, 120)) / model.loss.std
    assert.near(-best[2], core.mean(core.square(off)):item(), 1e-4)
  end)

  it("measures further samples of a simulator without limit, with the noise of their measurement", function()
    local out = folder .. "/free"
    model_of(line(0.5)):train { batch = 32, quiet = true, out = out, decoder = { steps = 60 },
      encoder = { steps = 60, labels = 1, lr = 5e-3 } }
    assert.same({}, measures(out, "decoder"))
    local rows = measures(out, "encoder")
    assert.equal(60, rows[#rows][1])
    assert.is_true(rows[#rows][2] > 0) -- more is known than by the prior
  end)
end)

describe("the held-out part", function()
  it("is in no epoch of a number of simulations", function()
    local sim = line()
    local all <close> = sv.sampler.new { simulator = sim, batch = 40, seed = 3 }
    local z, x = all:next()
    local part <close> = sv.sampler.new { simulator = sim, batch = 10, seed = 3, simulations = 40, held_out = 0.25 }
    local held_z, held_x = part:held_out_samples(100)
    assert.same(core.slice(z, 1, 31, 40):totable(), held_z:totable())
    assert.same(core.slice(x, 1, 31, 40):totable(), held_x:totable())
    assert.equal(4, part:held_out_samples(4).shape[1])
    local known, seen = {}, 0
    for i = 1, 30 do known[z:get(i, 1)] = true end
    for _ = 1, 12 do
      local batch = part:next()
      for i = 1, 10 do
        assert.is_true(known[batch:get(i, 1)])
        seen = seen + 1
      end
    end
    assert.equal(120, seen)
    raises("held_out = 1 leaves none of the 40 simulations for training", sv.sampler.new,
      { simulator = sim, simulations = 40, held_out = 1 })
  end)

  it("is the same with workers, and does not move the position", function()
    local sim = line()
    local alone <close> = sv.sampler.new { simulator = sim, batch = 5, seed = 3 }
    local crew <close> = sv.sampler.new { simulator = sim, batch = 5, seed = 3, workers = 2 }
    alone:next()
    crew:next()
    assert.same(alone:held_out_samples(7):totable(), crew:held_out_samples(7):totable())
    assert.same(alone:next():totable(), crew:next():totable())
  end)

  it("of a data set is some of its rows, which training does not draw", function()
    local folder = helper.temporary_folder()
    local z, x = sv.simulate(line(), 200, sv.rng(1))
    assert(sv.io.save_npy(folder .. "/z.npy", z))
    assert(sv.io.save_npy(folder .. "/x.npy", x))
    local data = assert(sv.dataset { z = folder .. "/z.npy", x = folder .. "/x.npy" })
    local part = data.part(0.2)
    local held_z, held_x = part.held_out(1000)
    assert.is_true(part.count >= 22 and part.count <= 58) -- 40 expected, standard deviation 5.7
    assert.equal(part.count, held_z.shape[1])
    local held, of = {}, {}
    for i = 1, 200 do of[z:get(i, 1)] = i end
    for i = 1, part.count do
      held[held_z:get(i, 1)] = true
      assert.same(x[of[held_z:get(i, 1)]]:totable(), held_x[i]:totable())
    end
    local drawn = part.training:sample(2000, sv.rng(2))
    for i = 1, 2000 do assert.is_nil(held[drawn:get(i, 1)]) end
    local model = model_of(data)
    local out = folder .. "/run"
    model:train { batch = 20, quiet = true, out = out, decoder = { steps = 30 }, encoder = { steps = 30, labels = 1 } }
    assert.is_true(#measures(out, "decoder") > 0 and #measures(out, "encoder") > 0)
  end)

  it("is done without, and said once, where there are few simulations, and refused where it was wanted", function()
    local said = helper.stderr_of(function()
      model_of():train { simulations = 40, batch = 10, decoder = { steps = 2 }, encoder = { steps = 2 } }
    end)
    assert.matches("40 simulations are too few to hold some of them out: 64 would do", said)
    raises("held_out = 0.1 of 100 simulations is 10, and takes at least 16: give a larger share, more simulations, or "
      .. "held_out = 0", model_of().train, model_of(), { simulations = 100, held_out = 0.1, quiet = true })
    said = helper.stderr_of(function()
      model_of():train { simulations = 40, held_out = 0, batch = 10, decoder = { steps = 2 }, encoder = { steps = 2 } }
    end)
    assert.no.matches("too few", said)
    raises("held_out needs offline = true, simulations, a data set, or a posterior trained by likelihood", function()
      sv.model { simulator = line(), posterior = "gaussian", width = 4 }:train { held_out = 0.1, quiet = true }
    end)
  end)
end)

-- A model of the line whose decoder is given: its formula, or one that is wrong by a quarter.
local function with_decoder(factor, sim)
  local weights = core.tensor { { factor, factor, factor }, { 2, 4, 6 } }
  local function net(t)
    local _, encoder = sv.nets.mlp(t)
    return sv.nn.func(function(code) return core.matmul(code, weights) + core.tensor { 2, 4, 6 } end), encoder
  end
  local model = sv.model { simulator = sim or line(), posterior = "flow", transforms = 1, bins = 4, width = 16,
    seed = 5, loss = "mse", net = net }
  model.loss.fitted = true -- the formula is in the simulator's units
  return model
end

describe("labels = \"auto\"", function()
  local function train(model, more)
    local t = { simulations = 80, batch = 40, decoder = { steps = 0 }, seed = 7,
      encoder = { steps = 400, lr = 5e-3, labels = "auto", patience = 400 } }
    for k, v in pairs(more or {}) do t[k] = v end
    return model:train(t)
  end

  it("takes samples of a decoder that is right where simulations are few, and the simulator's of one that is wrong",
    function()
      local few = { encoder = { steps = 800, lr = 5e-3, labels = "auto", patience = 800 } }
      local function share(model, simulations)
        few.simulations = simulations
        return helper.stderr_of(train, model, few):match "encoder: (%S+) of a batch are the simulator's pairs"
      end
      assert.equal("0", share(with_decoder(1), 80))
      assert.equal("1", share(with_decoder(-1), 800))
    end)

  it("goes on from an interruption before, within and after its trials as if there had been none", function()
    local folder = helper.temporary_folder()
    local calls, last = 0, math.huge
    local sim = sv.simulator { name = "line", output = { 3 }, params = line().params,
      simulate = function(z, out) for i = 1, 3 do out[i] = z.a + z.b * i end end,
      noise = function(x, rng)
        calls = calls + 1
        if calls == last then error("interrupted!", 0) end
        return x + rng:normal { 3 } * 0.3
      end }
    local function run(out)
      calls = 0
      return train(with_decoder(1, sim), { quiet = true, batch = 8, simulations = 80, out = out,
        encoder = { steps = 140, lr = 5e-3, labels = "auto" } })
    end
    local whole = run(folder .. "/whole")
    local all = calls
    for i, part in ipairs { 0.3, 0.5, 0.6, 0.9 } do
      local out = folder .. "/part" .. i
      last = math.floor(part * all)
      assert.is_false(pcall(run, out))
      last = math.huge
      local again = run(out)
      same_weights(whole, again)
      assert.same(measures(folder .. "/whole", "encoder"), measures(out, "encoder"))
    end
  end)
end)
