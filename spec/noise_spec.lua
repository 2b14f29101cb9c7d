--- The noise of a measurement: what sv.simulate adds, what training and inference see, and what never does.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

local function line(given, output)
  return sv.simulator { name = "line", params = { { name = "a", low = -3, high = 3 } }, output = output or { 2 },
    noise = given, simulate = function(z, out)
      if #out.shape == 1 then out[1], out[2] = z.a, 2 * z.a else out:fill(z.a) end
    end }
end

-- Means and standard deviations of the columns of what noise adds to n samples.
local function added(sim, n)
  local z, x = sv.simulate(sim, n, sv.rng(4))
  local away = (x - sim:run(z)):reshape { n, -1 }
  return core.mean(away, 1):totable(), core.sqrt(core.var(away, 1)):totable()
end

describe("the noise of a simulator", function()
  it("has the declared standard deviation: a number, a list, a tensor or a function", function()
    local mean, std = added(line(0.5), 4000)
    for i = 1, 2 do
      assert.near(0, mean[i], 4 * 0.5 / math.sqrt(4000))
      assert.near(0.5, std[i], 0.03)
    end
    std = select(2, added(line { 0.1, 3 }, 4000))
    assert.near(0.1, std[1], 0.006)
    assert.near(3, std[2], 0.18)
    std = select(2, added(line({ 0.1, 3 }, { 2, 1, 3 }), 2000)) -- of channels
    for i = 1, 6 do assert.near(i <= 3 and 0.1 or 3, std[i], i <= 3 and 0.01 or 0.3) end
    std = select(2, added(line(core.tensor { 0, 1 }), 2000))
    assert.equal(0, std[1])
    assert.near(1, std[2], 0.1)
    std = select(2, added(sv.command { cmd = { "cat" }, params = { { name = "a", low = -3, high = 3 } }, output = { 1 },
      noise = 0.5 }, 300))
    assert.near(0.5, std[1], 0.09)
    local seen
    mean = added(line(function(x, rng, z)
      seen = z.a
      x[1] = x[1] + 7
      x[2] = x[2] + rng:uniform(-1, 1)
      return x
    end), 2000)
    assert.near(7, mean[1], 1e-4)
    assert.near(0, mean[2], 0.06)
    assert.equal("number", type(seen))
  end)

  it("of a sample depends on the seed and its number alone, and is in no cache", function()
    local folder = helper.temporary_folder()
    local sim = line(0.5)
    local z, x = sv.simulate(sim, 20, sv.rng(4))
    local rng = sv.rng(4)
    local _, first = sv.simulate(sim, 7, rng)
    local _, second = sv.simulate(sim, 13, rng, { workers = 1 })
    assert.same(x:totable(), core.concat({ first, second }, 1):totable())
    local _, cached = sv.simulate(sim, 20, sv.rng(4), { cache = folder .. "/samples" })
    local _, clean = sv.simulate(sim, 20, sv.rng(4), { cache = folder .. "/samples", noise = false })
    assert.same(x:totable(), cached:totable())
    assert.same(sim:run(z):totable(), clean:totable())
    assert.is_false(core.max(core.abs(x - clean)):item() == 0)
  end)

  it("names bad input", function()
    raises("simulator 'line': noise takes standard deviations of at least 0; got %-0.1", line, -0.1)
    raises("noise must be a number; got %-?nan", line, 0 / 0)
    raises("noise lists 2 standard deviations, one for each element of the output; got %(3,%)", line, { 1, 2, 3 })
    raises("noise lists 2 standard deviations, one for each channel; got %(1,%)", line, { 1 }, { 2, 1, 3 })
    raises("noise has shape %(3,%), the output has %(2,%)", line, core.ones(3))
    raises("noise takes a number or table or tensor or function; got \"loud\"", line, "loud")
    raises("its noise returns the output as measured, a tensor %(2,%); got nil", sv.simulate, line(function() end), 2)
    raises("its noise is not finite at a = ", sv.simulate, line(function(x) return x / 0 end), 2)
  end)
end)

describe("a model's file", function()
  it("holds the noise, so that a model without its simulator knows its likelihood", function()
    local path = helper.temporary_folder() .. "/m.safetensors"
    for _, given in ipairs { 0.3, { 0.1, 0.2 }, core.tensor { 0.2, 0.4 }, function(x) return x + 0.5 end } do
      local sim = line(given)
      local model = sv.model { simulator = sim, width = 4 }
      model:train { decoder = { steps = 1 }, encoder = { steps = 1 }, batch = 8, quiet = true }
      assert(model:save(path))
      local again = assert(sv.load(path))
      assert.equal(model:log_likelihood({ { 1, 2 } }, { { 1 } }):item(),
        again:log_likelihood({ { 1, 2 } }, { { 1 } }):item())
      assert.equal("", (helper.stderr_of(sv.load, path, sim)))
    end
    raises("loaded without its simulator", function()
      assert(sv.load(path)):decode({ { 1 } }, { samples = 1, rng = sv.rng(1) })
    end)
  end)

  it("is noticed where its noise is another than that of the simulator given", function()
    local path = helper.temporary_folder() .. "/m.safetensors"
    assert(sv.model { simulator = line(0.3), width = 4 }:save(path))
    for _, given in ipairs { 0.4, { 0.3, 0.4 }, false } do
      local said = helper.stderr_of(sv.load, path, line(given or nil))
      assert.matches("was trained with another noise of the measurement", said, 1, true)
    end
    local _, why = sv.load(path, line(function(x) return x end))
    assert.matches("its noise is declared by standard deviations, the simulator's by a function", why, 1, true)
  end)
end)

describe("training with noise", function()
  local function model_of(sim, options)
    options.simulator, options.loss, options.width = sim, "mse", 16
    options.net = function(t)
      local _, encoder = sv.nets.mlp(t)
      return sv.nn.func(function(code) return core.concat({ code * 3, code * 6 }, 2) end), encoder
    end
    local model = sv.model(options)
    model.loss.fitted = true -- the formula is in the simulator's units
    return model
  end
  -- x = (a + 0.3 e1, 2 a + 0.6 e2): the posterior is normal of standard deviation 0.3 / sqrt 2
  local noisy = { 0.3, 0.6 }

  it("gives a flow the spread that it causes", function()
    local model = model_of(line(noisy), { posterior = "flow", transforms = 2, bins = 8 })
    model:train { decoder = { steps = 0 }, encoder = { steps = 300, lr = { peak = 8e-3, warmup = 20 } }, batch = 128,
      quiet = true }
    local p = model:posterior(core.tensor { { 1, 2 }, { 1.3, 1.4 } })
    local std = 0.3 / math.sqrt(2)
    for i = 1, 2 do
      assert.near(1, p:mean():get(i, 1), 0.4 * std) -- of both: 1.3 and 0.7 weigh the same
      assert.near(std, p:std():get(i, 1), 0.25 * std)
    end
  end)

  it("gives a normal posterior the spread that it causes, in sleep", function()
    local model = model_of(line(noisy), {})
    model:train { decoder = { steps = 0 }, sleep = { steps = 600, lr = { peak = 5e-3, warmup = 20 } },
      encoder = { steps = 0 }, batch = 64, quiet = true }
    local _, std = model:encode(core.tensor { { 1, 2 } })
    assert.near(0.3 / math.sqrt(2), std:item(), 0.07)
  end)

  it("is seen by the encoder alone, goes on as if not interrupted, and by the evaluation", function()
    local function train(out, stop)
      local model = sv.model { simulator = line(0.5), width = 4 }
      model:train { out = out, quiet = true, batch = 8, decoder = { steps = 6 }, sleep = { steps = 4 },
        encoder = { steps = 6 },
        on_step = function(stage, at) if stage == "encoder" and at == stop then error("interrupted!", 0) end end }
      return model
    end
    local whole = helper.goes_on(train, 3)
    local clean = sv.model { simulator = line(), width = 4 }
    clean:train { quiet = true, batch = 8, decoder = { steps = 6 }, sleep = { steps = 4 }, encoder = { steps = 6 } }
    clean = clean:state()
    local encoder = 0
    for name, t in pairs(whole:state()) do
      local away = core.max(core.abs(t - clean[name])):item()
      if name:find "^decoder" then assert.equal(0, away, name) else encoder = encoder + away end
    end
    assert.is_true(encoder > 0)
    local function rmse(given)
      local exact = { simulator = line(given), encode = function(_, x)
        return core.slice(x, 2, 1, 1), core.full(0.1, { x.shape[1], 1 })
      end, decode = function(_, z) return core.concat({ z, z * 2 }, 2) end }
      return sv.evaluate(exact, { samples = 1000, interval = 0, chance = 0 }).rmse.a
    end
    assert.near(0, rmse(nil), 1e-5)
    assert.near(0.5, rmse(0.5), 0.05)
  end)
end)
