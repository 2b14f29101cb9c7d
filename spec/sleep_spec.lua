local helper = require "spec.helper"
local sv = require "simvae"
local core = require "simvae.core"
local sleep = require "simvae.train.sleep"
local symmetry = require "simvae.simulator.symmetry"

local raises = helper.raises

-- x = z^2: two parameters give every output, and their mean gives another one.
local function squares(declared)
  return sv.simulator {
    name = "squares", params = { { name = "z", low = -1, high = 1 } }, output = { 1, 1, 1 },
    simulate = function(z, out) out:set(z.z ^ 2, 1, 1, 1) end,
    symmetry = declared and { { name = "sign", map = function(z) return { z = -z.z } end } } or nil,
  }
end

-- The formula as the decoder, so that only the encoder is learned.
local formula = sv.nn.func(function(code) return core.reshape(core.square(code), -1, 1, 1, 1) end)

local function model_of(sim, options)
  options.simulator = sim
  options.posterior = options.posterior or "gaussian"
  options.net = function(t)
    local _, encoder = sv.nets.mlp(t)
    return formula, encoder
  end
  options.width, options.loss = 32, "mse"
  local model = sv.model(options)
  model.loss.fitted = true -- the formula is in the simulator's units
  return model
end

-- An encoder that gives the same heads to all outputs.
local function constant(sim, components, heads)
  heads = core.tensor { heads }
  return sv.model { simulator = sim, posterior = components > 1 and "mixture" or "gaussian",
    components = components > 1 and components or nil, loss = "mse", net = {
    decoder = formula,
    encoder = sv.nn.func(function(x) return core.expand(heads, { x.shape[1], heads.shape[2] }) end),
  } }
end

-- The logarithm of a normal density of a code, truncated to [-1, 1]; Simpson's rule for its share inside.
local function log_normal(code, mean, std)
  local function density(v) return math.exp(-(v - mean) ^ 2 / (2 * std ^ 2)) / (std * math.sqrt(2 * math.pi)) end
  local inside = 0
  for i = 0, 1000 do
    inside = inside + density(-1 + i / 500) * ((i == 0 or i == 1000) and 1 or i % 2 == 1 and 4 or 2) / 1500
  end
  return math.log(density(code) / inside)
end

describe("the loss of sleep", function()
  it("is the error to the nearest equivalent, and a likelihood of the spread alone", function()
    local z = core.tensor { { 0.5 }, { -0.1 } }
    local heads, std = { 0.3, 0.2 }, math.exp(-0.8) -- mean 0.3, log std - 1 = 0.2
    -- densities are over the unit cube: twice those of codes in [-1, 1]
    local function expect(declared, first, second)
      local surprise = -(log_normal(first, 0.3, std) + log_normal(second, 0.3, std)) / 2 - math.log(2)
      local error_of = (math.abs(first - 0.3) + math.abs(second - 0.3)) / 2
      local model = constant(squares(declared), 1, heads)
      assert.near(error_of + 0.02 * surprise, sleep.loss(model, z):item(), 1e-6)
      assert.near(0.02 * surprise, sleep.spread(model, z):item(), 1e-6)
    end
    expect(true, 0.5, 0.1)
    expect(false, 0.5, -0.1)
  end)

  it("leads means that lie outside the support back in", function()
    local inside = sleep.loss(constant(squares(true), 1, { 1, 0 }), core.tensor { { 1 } }):item()
    local outside = sleep.loss(constant(squares(true), 1, { 1.5, 0 }), core.tensor { { 1 } }):item()
    assert.near(0.25, outside - inside, 1e-6)
  end)

  it("takes an image outside the bounds for none", function()
    local sim = sv.simulator { name = "shift", params = { { name = "z", low = 0, high = 1 } }, output = { 1 },
      simulate = function(z, out) out[1] = math.cos(4 * math.pi * z.z) end,
      symmetry = { { name = "half", map = function(z) return { z = z.z + 0.5 } end },
        { name = "impedance", free = { low = 0, high = math.huge, scale = "log" }, map = function(z) return z end } } }
    local images = symmetry.images(sim, { { 0.25 }, { 0.75 } })
    assert.same({ { { 0.25 }, { 0.75 } }, { { 0.75 }, { 0.75 } } }, images)
  end)
end)

describe("stage 2 with sleep", function()
  it("finds both parameters and their probabilities where one estimate cannot be right #long", function()
    local model = model_of(squares(false), { posterior = "mixture", components = 2, seed = 1 })
    model:train { decoder = { steps = 0 }, sleep = { steps = 1000, lr = { peak = 5e-3, warmup = 20 } },
      encoder = { steps = 500, noise = 0, prior = 0 }, batch = 64, quiet = true }
    local x = core.reshape(core.tensor { 0.04, 0.25, 0.64 }, 3, 1, 1, 1)
    local means, stds, shares = model:infer(x)
    assert.same({ 3, 2, 1 }, means.shape)
    assert.same({ 3, 2, 1 }, stds.shape)
    for i, root in ipairs { 0.2, 0.5, 0.8 } do
      local a, b = means:get(i, 1, 1), means:get(i, 2, 1)
      assert.near(-root, math.min(a, b), 0.06)
      assert.near(root, math.max(a, b), 0.06)
      assert.near(1, shares:get(i, 1) + shares:get(i, 2), 1e-6)
      assert.near(0.5, shares:get(i, 1), 0.2)
      assert.near(x:get(i, 1, 1, 1), model:encode(x):get(i, 1) ^ 2, 0.04)
    end
  end)

  it("gives one answer of a declared symmetry, and a standard deviation of the size of its errors #long", function()
    local sim = squares(true)
    local model = model_of(sim, { seed = 2 })
    model:train_sleep { steps = 1500, batch = 64, quiet = true, lr = { peak = 5e-3, warmup = 20 } }
    local z, x = sim:simulate_batch(2000, core.rng(5))
    local mean, std = model:encode(x)
    local off = core.abs(core.abs(mean) - core.abs(z)):totable()
    local within = 0
    for i = 1, 2000 do if off[i][1] <= 2 * std:get(i, 1) then within = within + 1 end end
    assert.is_true(core.mean(core.abs(core.abs(mean) - core.abs(z))):item() < 0.03)
    assert.is_true(within / 2000 > 0.85, "within two standard deviations: " .. within / 2000)
    assert.is_true(core.mean(std):item() < 0.1)
  end)

  it("is logged as such, and goes on from where it was interrupted as if it had not been", function()
    local folder = helper.temporary_folder()
    local function train(out, stop)
      local model = model_of(squares(false), { posterior = "mixture", components = 2, seed = 3 })
      model:train { out = out, quiet = true, log_every = 5, batch = 8, decoder = { steps = 0 },
        sleep = { steps = 10 }, encoder = { steps = 10, noise = 0 },
        on_step = function(stage, at) if stage == stop[1] and at == stop[2] then error("interrupted!", 0) end end }
      return model
    end
    local whole = train(folder .. "/whole", {})
    local log = helper.read(folder .. "/whole/log.csv")
    assert.matches("\n5,sleep,.*\n10,sleep,.*\n5,encoder,.*\n10,encoder,", log)
    for i, stop in ipairs { { "sleep", 7 }, { "encoder", 3 } } do
      local out = folder .. "/stop" .. i
      assert.is_false(pcall(train, out, stop))
      local added <close> = assert(io.open(out .. "/log.csv", "a")) -- a line of somebody else's is left alone
      added:write("1,other,0,0,0,0\n")
      added:flush()
      local again = train(out, {})
      assert.same({ decoder = 0, sleep = 10, encoder = 10 }, again.trained)
      assert.matches("\n1,other,0,0,0,0\n", helper.read(out .. "/log.csv"))
      for name, t in pairs(whole:state()) do
        assert.equal(0, core.max(core.abs(t - again:state()[name])):item(), name)
      end
    end
    raises("sleep.steps was 10 and is now 20", function()
      local model = model_of(squares(false), { posterior = "mixture", components = 2, seed = 3 })
      model:train { out = folder .. "/whole", quiet = true, batch = 8, decoder = { steps = 0 },
        sleep = { steps = 20 }, encoder = { steps = 10 } }
    end)
  end)
end)

describe("a mixture", function()
  it("gives the one that the decoder reproduces best, and begins at the others when it inverts", function()
    local model = constant(squares(false), 3, { 0.9, -1, 0.5, -1, -0.6, -3, 5, 0, 0 })
    local x = core.reshape(core.tensor { 0.25, 0.8, 0.36 }, 3, 1, 1, 1)
    local mean, std = model:encode(x)
    for i, z in ipairs { 0.5, 0.9, -0.6 } do assert.near(z, mean:get(i, 1), 1e-6) end
    assert.near(math.exp(-4), std:get(3, 1), 1e-6)
    local codes = model:ranked(x)
    assert.near(-0.6, codes[2]:get(1, 1), 1e-6)
    assert.near(0.9, codes[3]:get(1, 1), 1e-6)
    local z, misfit = model:invert(x, { starts = 3 })
    assert.near(0, misfit, 1e-5)
    assert.near(math.sqrt(0.8), math.abs(z:get(2, 1)), 1e-2)
    local path = helper.temporary_folder() .. "/several.safetensors"
    local learned = model_of(squares(false), { posterior = "mixture", components = 2, seed = 3 })
    assert(learned:save(path))
    local nets = learned.net
    assert.same(learned:encode(x):totable(), assert(sv.load(path, squares(false), { net = nets })):encode(x):totable())
  end)

  it("refuses what it cannot be trained by", function()
    local several = model_of(squares(false), { posterior = "mixture", components = 2 })
    raises("components must be from 1 to 64; got 0", sv.model, { simulator = squares(false), posterior = "mixture",
      components = 0 })
    raises("sleep must be at least 0; got %-1", several.train_encoder, several, { steps = 2, sleep = -1 })
    local rlc = require "simvae.simulators.rlc"
    local model = sv.model { posterior = "gaussian", simulator = rlc, width = 4 }
    raises("'impedance' of simulator 'rlc' has a free number", model.train_encoder, model,
      { steps = 2, sleep = 0.5, quiet = true })
    raises("'impedance' of simulator 'rlc' has a free number", model.train_sleep, model, { steps = 2, quiet = true })
  end)
end)
