--- The decoder's distribution q(x | z) in the simulator's units: densities against closed forms and integrals, draws
-- against densities, and importance resampling against conjugate posteriors.
local core = require "simvae.core"
local helper = require "spec.helper"
local io_module = require "simvae.io"
local json = require "simvae.io.json"
local sv = require "simvae"

local raises = helper.raises

local function log_normal(v, mean, variance)
  return -(v - mean) ^ 2 / (2 * variance) - math.log(2 * math.pi * variance) / 2
end

-- x = (a, 100 + 10 b) for networks that are formulas, in units of 1 and 10 about 0 and 100; the encoder gives the same
-- numbers to all outputs.
local function formula(options)
  local sim = { name = "plane", output = { 2 }, simulate = function() end,
    params = { { name = "a", low = -5, high = 5 }, { name = "b", low = -5, high = 5 } } }
  sim.noise, sim.prior, options.noise, options.prior = options.noise, options.prior, nil, nil
  options.simulator = sv.simulator(sim)
  options.posterior = options.posterior or "gaussian"
  options.net = {
    decoder = sv.nn.func(function(code) return code * 5 end),
    encoder = sv.nn.func(function(x)
      return core.expand(core.zeros(1, 4), { x.shape[1], 4 })
    end),
  }
  local model = sv.model(options)
  model.loss.mean:copy(core.tensor { 0, 100 })
  model.loss.std:copy(core.tensor { 1, 10 })
  return model
end

-- The same with standard deviations of 0.5 and 2 about the outputs.
local function known(options)
  local model = formula(options or {})
  model.likelihood.net.buffers.std:copy(core.tensor { 0.5, 0.2 })
  return model
end

-- x ~ N((a, 2 b - a), diag(0.04, (0.1 + b)^2)), b from 0 to 1
local line = sv.simulator {
  name = "line", output = { 2 }, params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 1 } },
  simulate = function(z, out, rng)
    out[1], out[2] = z.a + 0.2 * rng:normal(), 2 * z.b - z.a + (0.1 + z.b) * rng:normal()
  end,
}

local function trained(decoder, sim, steps)
  local model = sv.model { posterior = "gaussian", simulator = sim or line, decoder = decoder, width = 32, seed = 1 }
  return model:train_decoder { quiet = true, batch = 64, steps = steps or 500, lr = { peak = 3e-3, warmup = 50 } }
end

-- The mean absolute difference of log_likelihood from f(x, z) over draws of a simulator, as measured.
local function distance(model, f)
  local z, x = sv.simulate(model.simulator, 500, sv.rng(8))
  local log, total = model:log_likelihood(x, z):totable(), 0
  x = x:totable()
  for i, row in ipairs(z:totable()) do total = total + math.abs(log[i] - f(x[i], row)) / 500 end
  return total
end

describe("the likelihood of a decoder with measured noise", function()
  it("is that of a normal distribution, per unit of each element", function()
    local model = known()
    local log = model:log_likelihood({ { 1, 110 }, { 0, 95 } }, { { 0.7, 0.5 }, { 0, 0 } })
    assert.same({ 2 }, log.shape)
    assert.near(log_normal(1, 0.7, 0.25) + log_normal(110, 105, 4), log:get(1), 1e-4)
    assert.near(log_normal(0, 0, 0.25) + log_normal(95, 100, 4), log:get(2), 1e-4)
    local several = model:log_likelihood(core.tensor { { 1, 110 }, { 0, 95 } }, core.tensor {
      { { 0.7, 0.5 }, { 0, 0 }, { 1, 1 } }, { { 0, 0 }, { 1, 1 }, { 2, 2 } } })
    assert.same({ 2, 3 }, several.shape)
    assert.near(log:get(1), several:get(1, 1), 1e-5)
    assert.near(log:get(2), several:get(2, 1), 1e-5)
    assert.near(log_normal(0, 2, 0.25) + log_normal(95, 120, 4), several:get(2, 3), 1e-3)
    assert.same({ 2, 0 }, model:log_likelihood(core.zeros(2, 2), core.zeros(2, 0, 2)).shape)
  end)

  it("integrates to 1 over outputs", function()
    local model, rows, n = known(), {}, 200
    for i = 1, n do
      for j = 1, n do rows[#rows + 1] = { 0.7 + (i - n / 2) / n * 8, 105 + (j - n / 2) / n * 32 } end
    end
    local z = core.expand(core.tensor { { 0.7, 0.5 } }, n * n, 2)
    local total = core.sum(core.exp(model:log_likelihood(core.tensor(rows), z))):item() * 8 / n * 32 / n
    assert.near(1, total, 1e-3)
  end)

  it("holds the noise of a measurement: its declared variance, or the variance on samples", function()
    local function at(noise)
      return known { noise = noise }:log_likelihood({ { 1, 110 } }, { { 0.7, 0.5 } }):item()
    end
    assert.near(log_normal(1, 0.7, 0.25 + 9) + log_normal(110, 105, 4 + 9), at(3), 1e-4)
    assert.near(log_normal(1, 0.7, 0.25 + 1) + log_normal(110, 105, 4 + 25), at { 1, 5 }, 1e-4)
    local noisy = sv.simulator { name = "noisy", output = { 2 }, params = line.params,
      simulate = function(z, out) out[1], out[2] = z.a, 2 * z.b - z.a end,
      noise = function(x, rng) return x + rng:normal(x.shape) * core.tensor { 0.3, 0.1 } end }
    local near = distance(trained(nil, noisy), function(x, z)
      return log_normal(x[1], z[1], 0.09) + log_normal(x[2], 2 * z[2] - z[1], 0.01)
    end)
    assert.is_true(near < 0.1, tostring(near))
  end)

  it("is learned from a simulator that draws", function()
    local sim = sv.simulator { name = "even", output = { 2 }, params = line.params,
      simulate = function(z, out, rng)
        out[1], out[2] = z.a + 0.2 * rng:normal(), 2 * z.b - z.a + 0.6 * rng:normal()
      end }
    local near = distance(trained(nil, sim), function(x, z)
      return log_normal(x[1], z[1], 0.04) + log_normal(x[2], 2 * z[2] - z[1], 0.36)
    end)
    assert.is_true(near < 0.1, tostring(near))
  end)

  it("is a scale mixture where the errors of vectors are of several sizes", function()
    local sim = sv.simulator { name = "tails", output = { 2 }, params = line.params,
      simulate = function(z, out, rng)
        local size = rng:uniform(0, 1) < 0.7 and 0.1 or 1
        out[1], out[2] = z.a + 0.2 * size * rng:normal(), 2 * z.b - z.a + 0.6 * size * rng:normal()
      end }
    local model = trained(nil, sim, 1500)
    local function exact(x, z)
      local logs = {}
      for i, size in ipairs { 0.1, 1 } do
        logs[i] = log_normal(x[1], z[1], (0.2 * size) ^ 2) + log_normal(x[2], 2 * z[2] - z[1], (0.6 * size) ^ 2)
      end
      return math.log(0.7 * math.exp(logs[1]) + 0.3 * math.exp(logs[2]))
    end
    local near = distance(model, exact)
    assert.is_true(near < 0.25, tostring(near))
    -- the share of draws within three standard deviations of the narrower normal
    local n = 4000
    local x, z = model:decode({ { 0.2, 0.5 } }, { samples = n, rng = sv.rng(5) }), { 0.2, 0.8 }
    local middle, inside = core.mean(x, 2):totable()[1], 0
    for _, row in ipairs(x:totable()[1]) do
      if math.abs(row[1] - middle[1]) < 0.06 then inside = inside + 1 end
    end
    assert.near(0.7 * 0.9973 + 0.3 * 0.2358, inside / n, 0.05)
    assert.near(z[1], middle[1], 0.03)
    assert.near(z[2], middle[2], 0.06)
  end)

  it("is of each pixel of an image", function()
    local sim = sv.simulator { name = "grey", output = { 1, 2, 2 }, params = { { name = "v", low = 0, high = 1 } },
      simulate = function(z, out) out:fill(z.v) end }
    local model = sv.model { posterior = "gaussian", simulator = sim, net = {
      decoder = sv.nn.func(function(code) return core.reshape(core.expand(code, code.shape[1], 4), -1, 1, 2, 2) end),
      encoder = sv.nn.func(function(x) return core.zeros(x.shape[1], 2) end) } }
    model.likelihood.net.buffers.std:copy(core.tensor { 0.1, 0.2, 0.3, 0 })
    local x, mean = core.full(0.5, { 1, 1, 2, 2 }), 1 / (1 + math.exp(-0.6)) -- v = 0.8: code 0.6
    local expected = 0
    for _, std in ipairs { 0.1, 0.2, 0.3, 1e-3 } do expected = expected + log_normal(0.5, mean, std ^ 2) end
    assert.near(expected, model:log_likelihood(x, { { 0.8 } }):item(), 1e-3 * math.abs(expected))
    assert.same({ 1, 7, 1, 2, 2 }, model:decode({ { 0.8 } }, { samples = 7, rng = sv.rng(1) }).shape)
  end)
end)

describe("the likelihood of an ensemble", function()
  it("is the mean of its networks' densities, and draws come of all of them", function()
    local sim = sv.simulator { name = "one", output = { 1 }, params = { { name = "a", low = -1, high = 1 } },
      simulate = function() end }
    local count = 0
    local model = sv.model { posterior = "gaussian", simulator = sim, members = 2, net = function()
      count = count + 1
      local shift = count * 4
      return sv.nn.func(function(code) return code + shift end),
        sv.nn.func(function(x) return core.zeros(x.shape[1], 2) end)
    end }
    model.likelihood.net.buffers.std:copy(core.tensor { 0.5 })
    local log = model:log_likelihood({ { 5 } }, { { 0.3 } }):item()
    assert.near(math.log((math.exp(log_normal(5, 4.3, 0.25)) + math.exp(log_normal(5, 8.3, 0.25))) / 2), log, 1e-4)
    local near = 0
    for _, v in ipairs(model:decode({ { 0 } }, { samples = 4000, rng = sv.rng(1) }):reshape(4000):totable()) do
      if v < 6 then near = near + 1 end
    end
    assert.near(2000, near, 5 * math.sqrt(1000))
  end)
end)

describe("a decoder whose standard deviations depend on the parameters", function()
  it("learns them, and keeps the mean", function()
    local model = trained("normal", nil, 1500)
    local near = distance(model, function(x, z)
      return log_normal(x[1], z[1], 0.04) + log_normal(x[2], 2 * z[2] - z[1], (0.1 + z[2]) ^ 2)
    end)
    assert.is_true(near < 0.12, tostring(near))
    local mean = model:decode { { 0.5, 0.25 } }
    assert.near(0.5, mean:get(1, 1), 0.05)
    assert.near(0, mean:get(1, 2), 0.05)
  end)

  it("learns noise that a function adds", function()
    local noisy = sv.simulator { name = "noisy", output = { 1 }, params = { { name = "a", low = 1, high = 3 } },
      simulate = function(z, out) out[1] = z.a end, noise = function(x, rng) return x * (1 + 0.2 * rng:normal()) end }
    local model = trained("normal", noisy)
    local near = distance(model, function(x, z) return log_normal(x[1], z[1], (0.2 * z[1]) ^ 2) end)
    assert.is_true(near < 0.1, tostring(near))
    raises("noise = false is not known", model.decode, model, { { 1 } },
      { samples = 1, rng = sv.rng(1), noise = false })
  end)
end)

describe("draws of a decoder", function()
  it("have the density's mean and variance, with the noise of a measurement unless it is refused", function()
    local model, z = known { noise = { 1, 5 } }, core.tensor { { 0.7, 0.5 }, { -1, 2 } }
    local x = model:decode(z, { samples = 20000, rng = sv.rng(4) })
    assert.same({ 2, 20000, 2 }, x.shape)
    assert.same(x[2][7]:totable(), model:decode(z, { samples = 20000, rng = sv.rng(4) })[2][7]:totable())
    local mean, variance = core.mean(x, 2), core.var(x, 2)
    for i, m in ipairs { { 0.7, 105 }, { -1, 120 } } do
      for k, v in ipairs { 1.25, 29 } do
        assert.near(m[k], mean:get(i, k), 4 * math.sqrt(v / 20000))
        assert.near(v, variance:get(i, k), 4 * v * math.sqrt(2 / 20000))
      end
    end
    variance = core.var(model:decode(z, { samples = 20000, rng = sv.rng(4), noise = false }), 2)
    assert.near(4, variance:get(1, 2), 0.2)
    assert.same({ 0, 3, 2 }, model:decode(core.zeros(0, 2), { samples = 3, rng = sv.rng(1) }).shape)
  end)
end)

describe("importance resampling", function()
  it("gives the conjugate posterior from proposals that are too wide", function()
    -- x ~ N((a, 100 + 10 b), diag(0.25, 4)) under a uniform prior
    local model = known()
    local p = model:posterior { { 1, 110 }, { -0.5, 80 } }
    local z, sizes = p:sample(4000, sv.rng(2), { resample = true })
    assert.same({ 2, 4000, 2 }, z.shape)
    assert.same({ 2 }, sizes.shape)
    local mean, variance = core.mean(z, 2), core.var(z, 2)
    for i, expected in ipairs { { 1, 1 }, { -0.5, -2 } } do
      local n = math.min(4000, sizes:get(i))
      assert.is_true(n > 1000)
      for k, v in ipairs { 0.25, 0.04 } do
        assert.near(expected[k], mean:get(i, k), 5 * math.sqrt(v / n))
        assert.near(v, variance:get(i, k), 5 * v * math.sqrt(2 / n))
      end
    end
    local plain, none = p:sample(10, sv.rng(2))
    assert.same({ 2, 10, 2 }, plain.shape)
    assert.is_nil(none)
  end)

  it("weighs by the prior's density, of the parameters' own priors and of a function's", function()
    -- a ~ N(0, 1), x ~ N(a, 0.25): a | x ~ N(0.8 x, 0.2)
    local sims = {
      { params = { { name = "a", prior = { "normal", 0, 1 } } } },
      { params = { { name = "a", low = -8, high = 8 } }, prior = { draw = function(rng) return { rng:normal() } end,
        log_density = function(z) return -z.a ^ 2 / 2 end } },
    }
    for i, t in ipairs(sims) do
      t.name, t.output, t.simulate = "normal", { 1 }, function() end
      local model = sv.model { posterior = "gaussian", simulator = sv.simulator(t), net = {
        decoder = sv.nn.func(function(code) return i == 1 and code or code * 8 end),
        encoder = sv.nn.func(function(x) return core.expand(core.tensor { { 0, 2 - i } }, x.shape[1], 2) end) } }
      model.likelihood.net.buffers.std:copy(core.tensor { 0.5 })
      local z, sizes = model:posterior({ { 1.5 } }):sample(4000, sv.rng(2), { resample = true })
      local n = math.min(4000, sizes:item())
      assert.is_true(n > 1000)
      assert.near(1.2, core.mean(z):item(), 5 * math.sqrt(0.2 / n))
      assert.near(0.2, core.var(z, 2):item(), 5 * 0.2 * math.sqrt(2 / n))
    end
  end)

  it("gives effective sample sizes: (mean w)^2 / mean w^2 of the proposals", function()
    local model = known()
    local x = { { 1, 110 } }
    local p, grid, cell = model:posterior(x), {}, 10 / 300
    for i = 1, 300 do
      for j = 1, 300 do grid[#grid + 1] = { -5 + (i - 0.5) * cell, -5 + (j - 0.5) * cell } end
    end
    local at = core.tensor { grid }
    local q, l = core.exp(p:log_prob(at)):reshape(90000), core.exp(model:log_likelihood(x, at)):reshape(90000)
    local first, second = core.sum(l):item() * cell ^ 2, core.sum(l * l / q):item() * cell ^ 2
    local _, sizes = p:sample(4000, sv.rng(2), { resample = true })
    assert.near(first ^ 2 / second, sizes:item() / 40000, 0.05 * first ^ 2 / second)
  end)

  it("gives notice of few effective proposals, with their number", function()
    local model = known()
    model.likelihood.net.buffers.std:copy(core.tensor { 1e-3, 1e-3 })
    local p = model:posterior { { 1, 110 } }
    local said = helper.stderr_of(function() p:sample(100, sv.rng(2), { resample = true }) end)
    assert.truthy(said:find "effective sample size of output 1 is %d+%.%d of 4096 proposals")
    local z, sizes = p:sample(100, sv.rng(2), { resample = true })
    assert.is_true(z:finite() and sizes:item() >= 1)
  end)

  it("refuses what has no likelihood or no prior density", function()
    local untrained = formula {}
    raises("noise of the decoder has not been measured", function()
      untrained:posterior({ { 1, 110 } }):sample(10, sv.rng(1), { resample = true })
    end)
    local own = known({ posterior = "gaussian", prior = function(rng)
      return { a = rng:uniform(-5, 5), b = rng:uniform(-5, 5) }
    end })
    raises("prior of simulator 'plane' is a function without one", function()
      own:posterior({ { 1, 110 } }):sample(10, sv.rng(1), { resample = true })
    end)
    raises("unknown option 'resampled'", function()
      known():posterior({ { 1, 110 } }):sample(10, sv.rng(1), { resampled = true })
    end)
  end)
end)

describe("a decoder's distribution", function()
  it("is saved and loaded with the model", function()
    for _, decoder in ipairs { "homoscedastic", "normal" } do
      local model = trained(decoder, nil, 20)
      local path = os.tmpname()
      assert(model:save(path))
      local again = assert(sv.load(path, line))
      os.remove(path)
      assert.equal(decoder, again.likelihood.name)
      local x, z = { { 0.1, 0.2 } }, { { 0.3, 0.4 } }
      assert.equal(model:log_likelihood(x, z):item(), again:log_likelihood(x, z):item())
    end
  end)

  it("is measured for files of earlier versions, which have none", function()
    local model, path = trained(nil, nil, 20), os.tmpname()
    assert(model:save(path))
    local state, metadata = io_module.load_safetensors(path)
    for _, name in ipairs { "std", "shares", "scales" } do state["likelihood." .. name] = nil end
    local about = json.decode(metadata.model)
    about.likelihood = nil
    metadata.model = json.encode(about)
    assert(io_module.save_safetensors(path, state, { metadata = metadata }))
    local again = assert(sv.load(path, line))
    os.remove(path)
    raises("train_decoder { steps = 0 } measures it", again.log_likelihood, again, { { 0.1, 0.2 } }, { { 0.3, 0.4 } })
    again:train_decoder { steps = 0, quiet = true }
    assert.near(model:log_likelihood({ { 0.1, 0.2 } }, { { 0.3, 0.4 } }):item(),
      again:log_likelihood({ { 0.1, 0.2 } }, { { 0.3, 0.4 } }):item(), 0.2)
  end)

  it("is normal in files of earlier versions that have standard deviations alone", function()
    local model = known()
    local state = model:state()
    state["likelihood.shares"], state["likelihood.scales"] = nil, nil
    local again = known()
    again.likelihood.net.buffers.std:copy(core.tensor { 3, 3 })
    assert(again:load_state(state))
    assert.equal(model:log_likelihood({ { 1, 110 } }, { { 0.7, 0.5 } }):item(),
      again:log_likelihood({ { 1, 110 } }, { { 0.7, 0.5 } }):item())
  end)

  it("takes a name and options that it has, and what it can be asked", function()
    raises("decoder is one of .*homoscedastic", sv.model, { simulator = line, decoder = "gauss" })
    raises("got no name", sv.model, { simulator = line, decoder = { rank = 2 } })
    raises("unknown option 'rank'", sv.model, { simulator = line, decoder = { "normal", rank = 2 } })
    raises("decoder takes a string or table", sv.model, { simulator = line, decoder = 3 })
    raises("the model has not been trained", function()
      local model = sv.model { simulator = line }
      model:log_likelihood({ { 0, 0 } }, { { 0, 0 } })
    end)
    raises("\"normal\" has not been trained", function()
      local model = sv.model { simulator = line, decoder = "normal" }
      model:decode({ { 0, 0 } }, { samples = 2, rng = sv.rng(1) })
    end)
    local model = known()
    raises("z takes a tensor %(1, 2%) or %(1, M, 2%), of parameters a, b", model.log_likelihood, model, { { 0, 0 } },
      { { 0, 0 }, { 1, 1 } })
    raises("takes %(N, 2%)", model.log_likelihood, model, { { 0, 0, 0 } }, { { 0, 0 } })
    raises("finite", model.log_likelihood, model, { { 0, 0 / 0 } }, { { 0, 0 } })
    raises("'samples' is missing", model.decode, model, { { 0, 0 } }, { rng = sv.rng(1) })
    raises("rng takes a generator", model.decode, model, { { 0, 0 } }, { samples = 2 })
  end)
end)
