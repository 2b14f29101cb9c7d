--- Ranges of noise levels: what training draws, what an encoder is told, and what methods of a model take.
local core = require "simvae.core"
local helper = require "spec.helper"
local levels = require "simvae.model.levels"
local sv = require "simvae"

-- The text is plain.
local function raises(text, ...)
  return helper.raises(text:gsub("%p", "%%%0"), ...)
end

local RANGE = { low = 0.2, high = 2 }

local function line(noise, output)
  return sv.simulator { name = "line", params = { { name = "a", prior = { "normal", 1, 2 } } },
    output = output or { 1 }, noise = noise or RANGE, simulate = function(z, out) out:fill(z.a) end }
end

describe("a simulator with a range of noise levels", function()
  it("measures each sample at a level of its own, uniform in the logarithm, and gives the levels", function()
    local z, x, failed, given = sv.simulate(line(), 4000, sv.rng(1))
    assert.equal(0, failed)
    assert.is_true(given:within(0.2, 2))
    local logs = core.log(given)
    -- uniform over ln 10: mean ln(0.2) + ln(10) / 2, standard deviation ln(10) / sqrt(12)
    assert.near(math.log(0.2 * math.sqrt(10)), core.mean(logs):item(), 0.045)
    assert.near(math.log(10) / math.sqrt(12), math.sqrt(core.var(logs):item()), 0.03)
    local away = (x:reshape(4000) - z:reshape(4000)) / given
    assert.near(0, core.mean(away):item(), 4 / math.sqrt(4000))
    assert.near(1, math.sqrt(core.var(away):item()), 0.05)
  end)

  it("measures at the level that is asked for, and without noise", function()
    local z, x = sv.simulate(line(), 2000, sv.rng(1), { noise = 0.5 })
    assert.near(0.5, math.sqrt(core.var(x - z):item()), 0.04)
    local list = {}
    for i = 1, 2000 do list[i] = i <= 1000 and 0.2 or 2 end
    z, x = sv.simulate(line(), 2000, sv.rng(1), { noise = list })
    assert.near(0.2, math.sqrt(core.var(core.slice(x - z, 1, 1, 1000)):item()), 0.02)
    assert.near(2, math.sqrt(core.var(core.slice(x - z, 1, 1001, 2000)):item()), 0.2)
    z, x = sv.simulate(line(), 4, sv.rng(1), { noise = false })
    assert.same(z:totable(), x:totable())
  end)

  it("multiplies standard deviations of elements or channels by the level", function()
    local z, x = sv.simulate(line({ low = 0.1, high = 1, std = { 1, 10 } }, { 2, 1, 2 }), 2000, sv.rng(1),
      { noise = 0.5 })
    local std = core.sqrt(core.var(x:reshape(2000, 4) - z, 1)):totable()
    for i, expected in ipairs { 0.5, 0.5, 5, 5 } do assert.near(expected, std[i], 0.08 * expected) end
  end)

  it("draws a sample's level by its number, and keeps none in a cache", function()
    local path = os.tmpname()
    os.remove(path)
    local _, x, _, given = sv.simulate(line(), 10, sv.rng(3), { cache = path })
    local rng = sv.rng(3)
    local _, first, _, some = sv.simulate(line(), 4, rng)
    local _, second, _, others = sv.simulate(line(), 6, rng)
    assert.same(x:totable(), core.concat({ first, second }, 1):totable())
    assert.same(given:totable(), core.concat({ some, others }, 1):totable())
    local _, fixed = sv.simulate(line(0.3), 10, sv.rng(3), { cache = path, noise = false })
    assert.same(sv.simulate(line(), 10, sv.rng(3)):totable(), fixed:totable()) -- x = z
    os.remove(path)
  end)

  it("names bad input", function()
    raises("noise takes levels above 0, { low = 0.01, high = 0.2 }; got high = nil", line, { low = 0.1 })
    raises("got low = 0", line, { low = 0, high = 1 })
    raises("got low = -1", line, { low = -1, high = 1 })
    raises("noise has low = 1, high = 1; low must be below high", line, { low = 1, high = 1 })
    raises("noise has an unknown field \"hihg\"", line, { low = 1, hihg = 2 })
    raises("noise takes std as a list or a tensor", line, { low = 1, high = 2, std = 3 })
    raises("noise lists 1 standard deviations", line, { low = 1, high = 2, std = { 1, 2 } })
    raises("noise takes standard deviations of at least 0; got -1", line, { low = 1, high = 2, std = { -1 } })
    raises("simulate: noise = 3 of output 1 is outside the levels of simulator 'line', 0.2 to 2", sv.simulate, line(),
      2, sv.rng(1), { noise = 3 })
    raises("that of simulator 'line' is fixed", sv.simulate, line(0.3), 2, sv.rng(1), { noise = 0.3 })
  end)
end)

describe("an encoder of noise levels", function()
  it("sees the level as one more number, from -1 to 1 on a logarithmic scale, or as one more channel", function()
    local x = core.tensor { { 5 }, { 6 }, { 7 } }
    local seen = levels.attach(line(), x, core.tensor { 0.2, math.sqrt(0.4), 2 })
    for i, expected in ipairs { -1, 0, 1 } do
      assert.near(expected, seen:get(i, 2), 1e-6)
      assert.equal(4 + i, seen:get(i, 1))
    end
    assert.same(x:totable(), levels.plain(line(), seen):totable())
    local images = core.ones { 2, 3, 2, 2 }
    seen = levels.attach(line(RANGE, { 3, 2, 2 }), images, core.tensor { 2, 0.2 })
    assert.same({ 2, 4, 2, 2 }, { table.unpack(seen.shape) })
    assert.near(1, seen:get(1, 4, 2, 2), 1e-6)
    assert.near(-1, seen:get(2, 4, 1, 1), 1e-6)
    assert.same(images:totable(), levels.plain(line(RANGE, { 3, 2, 2 }), seen):totable())
  end)

  -- a ~ N(1, 2^2), x ~ N(a, s^2): a | x, s ~ N(w x + (1 - w), w s^2), w = 4 / (4 + s^2)
  it("gives a flow the posterior of each level", function()
    local model = sv.model { simulator = line(), posterior = "flow", width = 24, seed = 1 }
    model:train { quiet = true, batch = 256, decoder = { steps = 150 },
      encoder = { steps = 500, labels = 1, lr = { peak = 5e-3, warmup = 20 } } }
    local p = model:posterior({ { 3 }, { 3 }, { 3 } }, { noise = { 0.3, 1, 1.9 } })
    local function std_of(s) return math.sqrt(4 / (4 + s * s)) * s end
    for i, s in ipairs { 0.3, 1, 1.9 } do
      local w, std = 4 / (4 + s * s), std_of(s)
      assert.near(w * 3 + 1 - w, p:mean():get(i, 1), 0.25 * std)
      assert.near(std, p:std():get(i, 1), 0.25 * std)
    end
    local z = core.tensor { { 3 }, { 3 }, { 3 } }
    local log = model:log_likelihood({ { 3 }, { 4 }, { 5 } }, z, { noise = { 0.3, 1, 1.9 } }):totable()
    for i, s in ipairs { 0.3, 1, 1.9 } do
      local exact = -0.5 * ((i - 1) / s) ^ 2 - math.log(s) - 0.5 * math.log(2 * math.pi)
      assert.near(exact, log[i], 0.1)
    end
    local draws, sizes = p:sample(200, sv.rng(1), { resample = true })
    assert.near(3 * 4 / 4.09 + 0.09 / 4.09, core.mean(draws[1]):item(), 0.1)
    assert.is_true(core.min(sizes):item() > 1000)
    model:recalibrate { simulations = 100 }
    assert.near(std_of(1), model:posterior({ { 3 } }, { noise = 1 }):std():item(), 0.3)
    local y = model:decode({ { 1 } }, { samples = 500, rng = sv.rng(1), noise = 1.5 })
    assert.near(1.5, math.sqrt(core.var(y):item()), 0.2)
  end)

  it("takes images, trains both stages of a normal posterior, and goes on as if not interrupted", function()
    local folder = helper.temporary_folder()
    local sim = sv.simulator { name = "spot", params = { { name = "a", low = 2, high = 14 } }, output = { 1, 16, 16 },
      noise = { low = 0.01, high = 0.1 }, simulate = function(z, out) sv.draw(out):circle(z.a, 8, 2) end }
    local function train(out, stop)
      local model = sv.model { simulator = sim, width = 2, seed = 1 }
      model:train { out = out, quiet = true, batch = 8, decoder = { steps = 4 }, sleep = { steps = 3 },
        encoder = { steps = 5 },
        on_step = function(stage, at) if stage == "encoder" and at == stop then error("interrupted!", 0) end end }
      return model
    end
    local whole = helper.goes_on(train, 3)
    local x = sv.simulate(sim, 3, sv.rng(1)) and select(2, sv.simulate(sim, 3, sv.rng(1)))
    local low, high = whole:encode(x, { noise = 0.01 }), whole:encode(x, { noise = 0.1 })
    assert.same({ 3, 1 }, { table.unpack(low.shape) })
    assert.is_true(core.max(core.abs(low - high)):item() > 0)
    assert.same({ 3, 1 }, { table.unpack(whole:invert(x, { noise = core.full(0.05, { 3 }), steps = 2 }).shape) })
    local r = sv.evaluate(whole, { samples = 40, bins = 4, interval = 0, chance = 0,
      refine = { samples = 2, steps = 1 } })
    assert.equal(40, r.samples)
    local picture = sim:run({ { 5 } })[1]
    local path, z = sv.figures.inference(folder .. "/a.png", whole, { picture }, { noise = 0.05,
      preprocess = { ground = "keep", stretch = false } })
    assert.is_truthy(path)
    assert.same(whole:encode(picture, { noise = 0.05 }):totable(), z:totable())
  end)

  it("is saved with its range, and takes a simulator of the same", function()
    local path = os.tmpname()
    local model = sv.model { simulator = line(), width = 4 }
    model.trained.encoder = 1
    assert(model:save(path))
    local again = assert(sv.load(path))
    assert.same(model:encode({ { 1 } }, { noise = 1 }):totable(), again:encode({ { 1 } }, { noise = 1 }):totable())
    assert.is_truthy(sv.load(path, line()))
    local _, why = sv.load(path, line { low = 0.2, high = 3 })
    assert.matches("its encoder is told levels of noise, 0.2 to 2, the simulator's are 0.2 to 3", why, 1, true)
    _, why = sv.load(path, line(0.3))
    assert.matches("the simulator's are none", why, 1, true)
    os.remove(path)
  end)

  it("asks for the level, and refuses one outside the range or where there is none", function()
    local model = sv.model { simulator = line(), width = 4 }
    for _, method in ipairs { "encode", "posterior", "infer", "invert" } do
      raises(method .. ": option 'noise' is missing: the level of the noise of what was measured, 0.2 to 2",
        model[method], model, { { 1 } })
      raises(method .. ": noise = 2.5 is outside the levels of simulator 'line', 0.2 to 2", model[method], model,
        { { 1 } }, { noise = 2.5 })
      raises("is outside the levels", model[method], model, { { 1 } }, { noise = core.tensor { 0 / 0 } })
      raises(method .. ": noise takes a level, or one for each of 1 output; got (2,)", model[method], model, { { 1 } },
        { noise = { 1, 1 } })
    end
    raises("unknown option 'nois'; did you mean 'noise'?", model.encode, model, { { 1 } }, { nois = 1 })
    raises("that of simulator 'line' is fixed", function()
      sv.model { simulator = line(0.3), width = 4 }:encode({ { 1 } }, { noise = 0.3 })
    end)
    raises("decoder \"flow\" learns the noise of a measurement, and is not told its level", sv.model,
      { simulator = line(), decoder = "flow" })
    raises("option 'observation_noise' is missing", function()
      sv.model { simulator = line(), posterior = "flow", width = 4 }:train { rounds = 2, observation = { 1 },
        simulations = 200 }
    end)
  end)

  it("takes sets of measurements of one level", function()
    local model = sv.model { simulator = line(), set = { low = 1, high = 4 }, posterior = "flow", width = 4 }
    model:train { quiet = true, batch = 8, decoder = { steps = 2 }, encoder = { steps = 2 } }
    local p = model:posterior(core.zeros(2, 3, 1), { noise = { 0.3, 1 } })
    assert.same({ 2, 5, 1 }, { table.unpack(p:sample(5, sv.rng(1)).shape) })
  end)

  it("may be a network of the user's, of the input's shape", function()
    local shape
    local model = sv.model { simulator = line(), net = function(t)
      shape = t.input
      return sv.nets.mlp(t)
    end, width = 4 }
    assert.same({ 2 }, shape)
    assert.same({ 1, 1 }, { table.unpack(model:encode({ { 1 } }, { noise = 1 }).shape) })
  end)
end)
