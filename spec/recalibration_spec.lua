--- Recalibration of posteriors on held-out simulations: coverage on fresh ones, densities by numerical integration.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

-- Parameters that are seen with normal noise, in code space, and a model whose head states `width` times its standard
-- deviation.
local params = {
  { name = "a", low = -3, high = 5 }, { name = "b", low = 1, high = 1000, scale = "log" },
  { name = "turn", low = 0, high = 360, period = 360 },
}
local NOISE = 0.15

local sim = sv.simulator { name = "seen", params = params, output = { 4 }, noise = NOISE,
  simulate = function(z, out)
    out[1], out[2] = (z.a - 1) / 4, 2 * math.log(z.b) / math.log(1000) - 1
    out[3], out[4] = math.cos(math.rad(z.turn)), math.sin(math.rad(z.turn))
  end }

local function model_of(width, change)
  local log_std = math.log(NOISE * width) + 1 -- the head subtracts 1
  local options = { simulator = sim, posterior = "gaussian", bounded = false, loss = "mse", net = {
    decoder = sv.nn.func(function(code) return code end),
    encoder = sv.nn.func(function(x) return core.concat({ x, core.full(log_std, { x.shape[1], 4 }) }, 2) end) } }
  for k, v in pairs(change or {}) do options[k] = v end
  return sv.model(options)
end

-- Shares of the true parameters within the central intervals of 68.27% and 95.45%, by their ranks among 199 draws, and
-- within one standard deviation of encode, on n fresh simulations: by parameter.
local function shares(model, n)
  local z, x = sv.simulate(model.simulator, n, sv.rng(77))
  local draws = model:posterior(x):sample(199, sv.rng(78))
  local mean, std = model:encode(x)
  mean, std = mean:totable(), std:totable()
  local result = {}
  for k, p in ipairs(model.simulator.params) do
    local s = { 0, 0, 0 }
    local columns = core.reshape(core.slice(draws, 3, k, k), n, 199):totable()
    for i, row in ipairs(z:totable()) do
      local below, cut = 0, p.period and mean[i][k] - p.period / 2 or 0
      local function place(v) return p.period and (v - cut) % p.period or v end
      local truth = place(row[k])
      for _, v in ipairs(columns[i]) do below = below + (place(v) < truth and 1 or 0) end
      local off = math.abs((below + 0.5) / 200 - 0.5)
      if off <= 0.6827 / 2 then s[1] = s[1] + 1 / n end
      if off <= 0.9545 / 2 then s[2] = s[2] + 1 / n end
      local d, width = row[k] - mean[i][k], std[i][k]
      if p.period then d = (d + 180) % 360 - 180 end
      if p.scale == "log" then d, width = math.log(row[k] / mean[i][k]), width / mean[i][k] end
      if math.abs(d) <= width then s[3] = s[3] + 1 / n end
    end
    result[p.name] = s
  end
  return result
end

local function check_shares(model, n)
  for name, s in pairs(shares(model, n)) do
    assert.near(0.683, s[1], 0.04, name)
    assert.near(0.95, s[2], 0.02, name) -- 190 of 200 ranks
    assert.near(0.683, s[3], 0.04, name)
  end
end

-- The integral of the density of one posterior over one parameter's range, others of n draws each.
local function integral(p, low, high, cells, other)
  local points = {}
  for i = 1, cells do points[i] = other(low + (i - 0.5) / cells * (high - low)) end
  return core.sum(core.exp(p:log_prob(core.tensor { points }))):item() * (high - low) / cells
end

describe("recalibration", function()
  it("makes the intervals of overconfident and of too wide posteriors hold, in sample and encode #long", function()
    for _, width in ipairs { 0.25, 2.5 } do
      local model = model_of(width)
      local before = shares(model, 200)
      assert.is_true(math.abs(before.a[1] - 0.683) > 0.2)
      assert.is_true(math.abs(before.turn[3] - 0.683) > 0.2)
      assert.equal(model, model:recalibrate { simulations = 1000 })
      check_shares(model, 1000)
    end
  end)

  it("makes the intervals of values on a grid hold #long", function()
    local grid = sv.simulator { name = "grid", params = { { name = "a", low = -1, high = 1, grid = 9 } },
      output = { 1 }, noise = NOISE, simulate = function(z, out) out[1] = z.a end }
    local function encode(x)
      return core.concat({ x, core.full(math.log(0.6 * NOISE) + 1, { x.shape[1], 1 }) }, 2)
    end
    local model = model_of(1, { simulator = grid,
      net = { decoder = sv.nn.func(function(code) return code end), encoder = sv.nn.func(encode) } })
    local function coverage()
      return sv.evaluate(model, { samples = 3000, calibration = 3000, interval = 0 }).calibration.coverage
    end
    assert.is_true(coverage().one < 0.6)
    model:recalibrate { simulations = 3000 }
    local after = coverage()
    assert.near(0.683, after.one, 0.03)
    assert.near(0.954, after.two, 0.015)
  end)

  it("changes a calibrated posterior little", function()
    local model = model_of(1)
    local _, x = sv.simulate(sim, 50, sv.rng(3))
    local before = model:posterior(x)
    model:recalibrate()
    local after = model:posterior(x)
    assert.near(0, core.mean(core.abs(before:mean() - after:mean()):slice(2, 1, 1)):item(), 0.05 * 4 * NOISE)
    assert.near(1, core.mean((after:std() / before:std()):slice(2, 1, 1)):item(), 0.08)
  end)

  it("leaves a density that integrates to 1, and that draws follow #long", function()
    for _, p in ipairs(params) do
      local one = sv.simulator { name = "one", params = { p }, output = { p.period and 2 or 1 }, noise = NOISE,
        simulate = function(z, out)
          if p.period then
            out[1], out[2] = math.cos(math.rad(z.turn)), math.sin(math.rad(z.turn))
          else
            out[1] = p.scale == "log" and 2 * math.log(z.b) / math.log(1000) - 1 or (z.a - 1) / 4
          end
        end }
      local size = p.period and 2 or 1
      local log_std = math.log(NOISE * 0.3) + 1
      local function encode(x) return core.concat({ x, core.full(log_std, { x.shape[1], size }) }, 2) end
      local model = model_of(1, { simulator = one, net = { decoder = sv.nn.func(function(code) return code end),
        encoder = sv.nn.func(encode) } })
      model:recalibrate { simulations = 500 }
      local x = core.tensor { p.period and { 1, 0.05 } or { 0.9 } } -- near the bound, at the seam
      local posterior = model:posterior(x)
      assert.near(1, integral(posterior, p.low, p.high, 20000, function(v) return { v } end), 1e-3, p.name)
      local draws = core.reshape(core.sort(posterior:sample(20000, sv.rng(5)), 2), -1):totable()
      local cells, below, at, worst = 4000, 0, 0, 0
      local width = (p.high - p.low) / cells
      local points = {}
      for i = 1, cells do points[i] = { p.low + (i - 0.5) * width } end
      for i, d in ipairs(core.reshape(core.exp(posterior:log_prob(core.tensor { points })), -1):totable()) do
        below = below + d * width
        while draws[at + 1] and draws[at + 1] <= points[i][1] + width / 2 do at = at + 1 end
        worst = math.max(worst, math.abs(below - at / 20000))
      end
      assert.is_true(worst < 0.0138, p.name .. ": " .. worst) -- Kolmogorov: exceeded by chance once in a thousand times
      if not p.period then
        assert.equal(-math.huge, posterior:log_prob({ { p.high + 1 } }):item())
        assert.is_true(core.reshape(posterior:sample(2000, sv.rng(1)), -1):within(p.low, p.high))
      end
    end
  end)

  it("corrects a flow that was trained without the noise of the measurement #long", function()
    local function simulator(noise)
      return sv.simulator { name = "line", params = { { name = "a", low = 0, high = 1 }, { name = "k", levels = 2 } },
        output = { 2 }, noise = noise, simulate = function(z, out) out[1], out[2] = z.a, z.a * z.a + z.k end }
    end
    local path = helper.temporary_folder() .. "/line.safetensors"
    local trained = sv.model { simulator = simulator(0.01), width = 32, posterior = "flow", transforms = 2, seed = 3 }
    trained:train { batch = 128, quiet = true, decoder = { steps = 300, lr = 3e-3 },
      encoder = { steps = 400, lr = 2e-3 } }
    assert(trained:save(path))
    local model = assert(sv.load(path, simulator(0.05)))
    local before = shares(model, 200)
    assert.is_true(before.a[1] < 0.5, before.a[1])
    model:recalibrate { simulations = 1000 }
    local s = shares(model, 1000).a
    assert.near(0.683, s[1], 0.04)
    assert.near(0.95, s[2], 0.025)
    assert.near(0.683, s[3], 0.04)
    local _, x = sv.simulate(model.simulator, 1, sv.rng(8))
    local p = model:posterior(x)
    local total = 0
    for class = 1, 2 do total = total + integral(p, 0, 1, 60000, function(v) return { v, class } end) end
    assert.near(1, total, 1e-3)
    assert(model:save(path))
    local again = assert(sv.load(path, model.simulator))
    assert.same(p:sample(5, sv.rng(1)):totable(), again:posterior(x):sample(5, sv.rng(1)):totable())
    assert.same(p:log_prob({ { 0.5, 1 } }):totable(), again:posterior(x):log_prob({ { 0.5, 1 } }):totable())
    again:train { quiet = true, decoder = { steps = 1 }, encoder = { steps = 1 } }
    assert.is_false(again.recalibration)
  end)

  it("ends a training, on its held-out samples as they are measured", function()
    local function simulator()
      return sv.simulator { name = "line", params = { { name = "a", low = 0, high = 1 } }, output = { 2 }, noise = 0.1,
        simulate = function(z, out) out[1], out[2] = z.a, z.a * z.a end }
    end
    -- a posterior about the middle that is too narrow, and a training that leaves it as it is
    local function new()
      local model = sv.model { simulator = simulator(), width = 16, transforms = 2, seed = 3 }
      model.head.net:state()["1.1.2.bias"]:copy(core.tensor { 0, -2.7 }) -- of its location and scale
      return model
    end
    local function options(change)
      local t = { quiet = true, simulations = 4000, decoder = { steps = 10 },
        encoder = { steps = 10, lr = 1e-9, labels = 1, average = 0 } }
      for k, v in pairs(change) do t[k] = v end
      return t
    end
    local out = helper.temporary_folder()
    local model = new():train(options { out = out })
    local plain = new():train(options { recalibrate = false })
    assert.equal(400, model.recalibration.simulations)
    assert.is_false(plain.recalibration)
    local before, after = shares(plain, 1000).a[1], shares(model, 1000).a[1]
    assert.is_true(before < 0.5, tostring(before))
    assert.near(0.683, after, 0.07) -- three standard deviations of 400 samples
    assert.is_false(new():train(options { simulations = 1000 }).recalibration) -- 100 are held out
    -- a run that had ended, and its file, have the same
    local loaded = assert(sv.load(out .. "/model.safetensors", simulator()))
    for _, again in ipairs { new():train(options { out = out }), loaded } do
      assert.same(model.recalibration.factors, again.recalibration.factors)
      assert.same(model.recalibration.maps, again.recalibration.maps)
    end
  end)

  it("stretches marginal distributions by its maps, and leaves what is far from the bounds in place", function()
    local model = model_of(0.1)
    local x = core.tensor { { 0.1, -0.2, 0, 1 }, { -0.3, 0.4, -1, 0 } } -- phases a quarter turn from the seam, or more
    local before = model:posterior(x)
    local u = core.arange(1, 9) / 10
    local quantiles = before:quantile(u:totable())
    local levels = { -2, -1, 0, 1, 2 }
    for _, factor in ipairs { 0.5, 2 } do
      local values = {}
      for i, level in ipairs(levels) do values[i] = factor * level + 0.3 end
      model.recalibration = { version = 2, simulations = 100, factors = { 1, 1, 1 },
        maps = { { levels = levels, values = values }, false, { levels = levels, values = values } } }
      local after = model:posterior(x)
      local ratio, away = after:std() / before:std(), (after:mean() - before:mean()) / before:std()
      for i = 1, 2 do -- in standard deviations, as the posterior is a normal distribution; by 512 draws
        assert.near(factor, ratio:get(i, 1), 0.1 * factor)
        assert.near(factor, ratio:get(i, 3), 0.1 * factor)
        assert.near(0.3, away:get(i, 1), 0.1 * factor)
        assert.near(0.3, away:get(i, 3), 0.1 * factor)
      end
      assert.same(core.slice(quantiles, 3, 2, 2):totable(), core.slice(after:quantile(u:totable()), 3, 2, 2):totable())
    end
  end)

  it("is the same of many outputs at once, of members and of classes", function()
    local several = sv.simulator { name = "several", params = { params[1], params[3], { name = "k", levels = 2 } },
      output = { 4 }, noise = NOISE, simulate = function(z, out)
        out[1], out[2], out[3], out[4] = z.a / 4, z.k, math.cos(math.rad(z.turn)), math.sin(math.rad(z.turn))
      end }
    for _, t in ipairs { { posterior = "flow", transforms = 2 }, { posterior = "mixture", components = 2 },
      { posterior = "flow", transforms = 1, members = 2 } } do
      t.simulator, t.width, t.seed = several, 8, 1
      local model = sv.model(t)
      model.trained = { decoder = 1, encoder = 1 }
      model:recalibrate { simulations = 200 }
      local z, x = sv.simulate(several, 70, sv.rng(4))
      local all = model:posterior(x):log_prob(z)
      assert.is_true(all:finite())
      for _, i in ipairs { 1, 33, 70 } do
        assert.near(all:get(i), model:posterior(x:slice(1, i, i)):log_prob(z:slice(1, i, i)):item(), 1e-3)
      end
    end
  end)

  it("does not depend on the other outputs of a batch, and is undone by false", function()
    local model = model_of(0.5)
    local _, x = sv.simulate(sim, 3, sv.rng(4))
    local plain = model:posterior(x):mean():totable()
    model:recalibrate { simulations = 200, seed = 5 }
    local z = core.tensor { { { 1, 30, 90 } }, { { 1, 30, 90 } }, { { 1, 30, 90 } } }
    local all, last = model:posterior(x):log_prob(z), model:posterior(x[3]):log_prob(z:slice(1, 3, 3))
    assert.near(all:get(3, 1), last:get(1, 1), 1e-5)
    assert.is_true(model:posterior(x):mode():finite())
    assert.same({ 0, 4, 3 }, model:posterior(x:slice(1, 1, 0)):sample(4, sv.rng(1)).shape)
    model:recalibrate(false)
    assert.same(plain, model:posterior(x):mean():totable())
  end)

  it("takes held-out pairs of the caller's", function()
    local model = model_of(0.3)
    local z, x = sv.simulate(sim, 400, sv.rng(9))
    model:recalibrate { z = z, x = x }
    assert.near(0.683, shares(model, 1000).a[1], 0.08)
  end)

  it("names bad input", function()
    local model = model_of(1)
    local z, x = sv.simulate(sim, 120, sv.rng(9))
    raises("recalibrate: simulations must be at least 100; got 10", model.recalibrate, model, { simulations = 10 })
    raises("unknown option 'simulation'; did you mean 'simulations'", model.recalibrate, model, { simulation = 300 })
    raises("takes z and x together", model.recalibrate, model, { z = z })
    raises("as many rows of z as of x; got 50 and 120", model.recalibrate, model, { z = z:slice(1, 1, 50), x = x })
    raises("recalibrate: takes a table of options; got 3", model.recalibrate, model, 3)
    raises("encoder has not been trained", function()
      sv.model({ simulator = sim, width = 4 }):recalibrate()
    end)
    local folder = helper.temporary_folder()
    assert(sv.io.save_npy(folder .. "/z.npy", z))
    assert(sv.io.save_npy(folder .. "/x.npy", x))
    model.simulator = assert(sv.dataset { z = folder .. "/z.npy", x = folder .. "/x.npy" })
    raises("rows of a data set were used in training; give z and x", model.recalibrate, model)
  end)

  it("of a damaged file is refused", function()
    local check = require "simvae.model.recalibration".check
    local function refused(pattern, t)
      local result, why = require "simvae.io.file".attempt(check, t, { params[1] })
      assert.is_nil(result)
      assert.matches(pattern, why)
    end
    local good = { version = 1, simulations = 10, factors = { 1 },
      maps = { { levels = { -1, 0, 1 }, values = { -1, 0, 1 } } } }
    assert.same(good, check(good, { params[1] }))
    refused("factors are above 0", { simulations = 10, factors = { 0 }, maps = good.maps })
    refused("factors takes 1 to 1 numbers", { simulations = 10, factors = {}, maps = good.maps })
    refused("ascending", { simulations = 10, factors = { 1 },
      maps = { { levels = { -1, 0, 1 }, values = { -1, -2, 1 } } } })
    refused("finite", { simulations = 10, factors = { 0 / 0 }, maps = good.maps })
    refused("one for each parameter", { simulations = 10, factors = { 1 }, maps = {} })
    refused("version is 1 to 2; got 3", { version = 3, simulations = 10, factors = { 1 }, maps = good.maps })
  end)
end)
