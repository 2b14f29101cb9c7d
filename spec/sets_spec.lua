--- Sets of measurements of the same parameters: the posterior against the closed form of a normal mean with known
-- variance.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

-- x = (a + 0.5 e1, 2 a + e2): the posterior of a set is normal, its precision that of 8 M, under a flat prior.
local function line(options)
  local t = { name = "line", output = { 2 }, noise = { 0.5, 1 }, params = { { name = "a", low = -2, high = 2 } },
    simulate = function(z, out) out[1], out[2] = z.a, 2 * z.a end }
  for k, v in pairs(options or {}) do t[k] = v or nil end
  return sv.simulator(t)
end

local function model_of(sim, options)
  local t = { simulator = sim, posterior = "flow", set = { low = 1, high = 8 }, loss = "mse", transforms = 2, bins = 8,
    net = function(o)
      o.width = 32
      local _, encoder = sv.nets.mlp(o)
      return sv.nn.func(function(code) return core.concat({ code * 2, code * 4 }, 2) end), encoder
    end }
  for k, v in pairs(options or {}) do t[k] = v end
  local model = sv.model(t)
  model.loss.fitted = true -- the formula is in the simulator's units
  return model
end

-- A set of M measurements at a, and the mean and standard deviation of its posterior.
local function measurements(M, a, rng)
  local x, sum = core.zeros(1, M, 2), 0
  for m = 1, M do
    local x1, x2 = a + 0.5 * rng:normal(), 2 * a + rng:normal()
    x:set(x1, 1, m, 1)
    x:set(x2, 1, m, 2)
    sum = sum + x1 / 0.25 + 2 * x2
  end
  return x, sum / (8 * M), 1 / math.sqrt(8 * M)
end

local function small(sim, t, options)
  local model = sv.model { simulator = sim, posterior = "flow", set = true, width = 8, transforms = 1, bins = 4,
    members = options and options.members }
  local o = { quiet = true, batch = 16, decoder = { steps = 8 }, encoder = { steps = 8 } }
  for k, v in pairs(t or {}) do o[k] = v end
  return model:train(o)
end

describe("the posterior of a set of measurements #long", function()
  local model
  lazy_setup(function()
    model = model_of(line())
    model:train { quiet = true, decoder = { steps = 0 }, batch = 96,
      encoder = { steps = 1200, lr = { peak = 6e-3, warmup = 20 } } }
  end)

  it("is as narrow as the closed form says for each number of them", function()
    local rng = sv.rng(3)
    for _, M in ipairs { 1, 2, 4, 8 } do
      local away, widths = 0, 0
      for i = 1, 6 do
        local x, mean, std = measurements(M, -0.9 + 0.3 * i, rng)
        local p = model:posterior(x)
        away = away + math.abs(p:mean():item() - mean) / std / 6
        widths = widths + p:std():item() / std / 6
      end
      assert.near(1, widths, 0.3, "standard deviation of " .. M)
      assert.is_true(away < 0.5, "mean of " .. M)
    end
  end)

  it("does not depend on their order", function()
    local x = core.tensor { { { 1, 2 }, { 0, 1 }, { 0.5, 0.2 } } }
    local y = core.tensor { { { 0.5, 0.2 }, { 1, 2 }, { 0, 1 } } }
    assert.near(model:posterior(x):mean():item(), model:posterior(y):mean():item(), 1e-4)
    assert.near(model:encode(x):item(), model:encode(y):item(), 1e-4)
  end)

  it("is one for each set, and (N, …output) are sets of one", function()
    local x = core.rng(1):normal { 5, 3, 2 }
    local p = model:posterior(x)
    assert.same({ 5, 7, 1 }, p:sample(7, sv.rng(1)).shape)
    assert.near(p:mean():get(4, 1), model:posterior(core.slice(x, 1, 4, 4)):mean():item(), 0.05)
    local one = core.slice(x, 2, 1, 1)
    local mean = model:encode(core.reshape(one, 5, 2))
    assert.near(0, core.max(core.abs(mean - model:encode(one))):item(), 1e-5)
    assert.same({ 5, 1 }, model:invert(x, { steps = 2 }).shape)
    raises("recalibrate: the model is of sets of measurements; give z %(N, K%)", model.recalibrate, model)
  end)

  it("has the product of the measurements' likelihoods", function()
    local x, z = core.tensor { { { 1, 2 }, { 0, 1 }, { 0.5, 0.2 } } }, core.tensor { { 0.3 } }
    local sum = 0
    for m = 1, 3 do sum = sum + model:log_likelihood(core.slice(x, 2, m, m):reshape(1, 2), z):item() end
    assert.near(sum, model:log_likelihood(x, z):item(), 1e-3)
    local drawn, size = model:posterior(x):sample(500, sv.rng(1), { resample = true })
    assert.same({ 1, 500, 1 }, drawn.shape)
    assert.is_true(size:item() > 200)
  end)
end)

describe("training on sets", function()
  it("takes the decoder's distribution where the simulator draws random numbers #long", function()
    local sim = line { noise = false, simulate = function(z, out, rng)
      out[1], out[2] = z.a + 0.5 * rng:normal(), 2 * z.a + rng:normal()
    end }
    local model = model_of(sim)
    model:train { quiet = true, decoder = { steps = 0 }, batch = 96,
      encoder = { steps = 1000, lr = { peak = 6e-3, warmup = 20 } } }
    local x, mean, std = measurements(4, 0.5, sv.rng(2))
    assert.near(mean, model:posterior(x):mean():item(), 0.6 * std)
    assert.near(std, model:posterior(x):std():item(), 0.35 * std)
    raises("labels takes one output for each row of parameters, and a set of 'line'", model.train, model,
      { quiet = true, encoder = { steps = 1, labels = 0.5 } })
    local plain = sv.model { posterior = "gaussian", simulator = sim, set = true, width = 4 }
    raises("a set of measurements of 'line', which draws random numbers, takes a posterior that is trained by",
      plain.train, plain, { quiet = true })
  end)

  it("works for pictures, every posterior, the simulator's pairs, ensembles and rounds", function()
    local pictures = sv.simulator { name = "blot", output = { 1, 16, 16 }, noise = 0.1,
      params = { { name = "a", low = 0, high = 1 } },
      simulate = function(z, out) out:fill(z.a) end }
    for _, posterior in ipairs { "gaussian", "mixture", "flow" } do
      local model = sv.model { simulator = pictures, posterior = posterior, set = { low = 2, high = 3 }, width = 4 }
      model:train { quiet = true, batch = 4, decoder = { steps = 2 }, sleep = { steps = 2 }, encoder = { steps = 2 } }
      assert.same({ 2, 1 }, (model:encode(core.zeros(2, 3, 1, 16, 16))).shape)
    end
    local x = core.tensor { { { 1, 2 }, { 0, 1 } } }
    local model = small(line(), { encoder = { steps = 8, labels = 1 } })
    assert.same({ 1, 1 }, model:posterior(x):mean().shape)
    model = small(line(), { rounds = 2, observation = x, simulations = 128 }, { members = 2 })
    assert.same(x:totable(), model.focus.observation:totable())
    model:posterior(x)
    assert.is_nil(model.noticed.focus)
  end)

  it("is saved, loaded, and resumed as if it had not been interrupted", function()
    local folder = helper.temporary_folder()
    local whole = small(line())
    local out = folder .. "/run"
    assert.is_false(pcall(small, line(), { out = out, on_step = function(stage, at)
      if stage == "encoder" and at == 4 then error("interrupted!", 0) end
    end }))
    local again = small(line(), { out = out })
    for name, t in pairs(whole:state()) do
      assert.equal(0, core.max(core.abs(t - again:state()[name])):item(), name)
    end
    local loaded = assert(sv.load(out .. "/model.safetensors", line()))
    local x = core.rng(1):normal { 2, 5, 2 }
    assert.same(whole:encode(x):totable(), loaded:encode(x):totable())
    assert.same({ 1, 16 }, { loaded.set.low, loaded.set.high })
  end)

  it("names bad input", function()
    local model = small(line())
    model.set.low, model.set.high = 2, 5
    raises("posterior: the model is of sets of 2 to 5 measurements; got 1", model.posterior, model, core.zeros(3, 2))
    raises("got 6", model.encode, model, core.zeros(1, 6, 2))
    raises("takes sets of measurements %(N, M, 2%); got %(1, 3, 4%)", model.posterior, model, core.zeros(1, 3, 4))
    raises("takes finite numbers", model.posterior, model, core.zeros(1, 3, 2) / 0)
    local function new(set) return sv.model { simulator = line(), set = set, width = 4 } end
    raises("set goes from low = 5 to high = 2 measurements", new, { low = 5, high = 2 })
    raises("low must be at least 1", new, { low = 0 })
    raises("unknown option 'most'", new, { most = 3 })
    raises("set takes a boolean or table", new, 3)
    assert.is_nil(new(false).set)
  end)
end)
