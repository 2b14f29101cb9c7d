--- Rounds of training for one observation: the restricted prior against areas of ellipses, the posterior against a
-- closed form, and runs that are interrupted.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"
local truncation = require "simvae.posterior.support.truncation"

local raises = helper.raises

-- ---- the restricted prior -----------------------------------------------------------------------

-- A head whose posterior on the unit square is normal about the centre, with these standard deviations along the
-- diagonals.
local function normal_model(along, across, prior)
  local sim = sv.simulator { name = "square", output = { 1 }, prior = prior, simulate = function() end,
    params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } } }
  local model = sv.model { simulator = sim, posterior = "flow", width = 4, transforms = 1, bins = 2 }
  local turn = core.tensor { { math.sqrt(0.5), math.sqrt(0.5) }, { -math.sqrt(0.5), math.sqrt(0.5) } }
  local std = core.tensor { along, across }
  model.head = {
    sample = function(_, h, n, rng)
      local e = rng:normal { h.shape[1] * n, 2 } * std
      return core.reshape(core.matmul(e, turn) + 0.5, h.shape[1], n, 2)
    end,
    log_prob = function(_, _, u)
      local e = core.matmul(core.reshape(u - 0.5, -1, 2), turn, { transpose_y = true }) / std
      return core.reshape(core.sum(core.square(e), 2) * -0.5 - math.log(2 * math.pi * along * across), u.shape[1], -1)
    end,
  }
  return model, turn, std
end

-- The squared distances of draws from the centre, in standard deviations, sorted.
local function distances(z, turn, std)
  local e = core.matmul(z - 0.5, turn, { transpose_y = true }) / std
  local list = core.sum(core.square(e), 2):totable()
  table.sort(list)
  return list
end

describe("the prior within the support of a posterior", function()
  local h = core.zeros(1, 1)
  local radius = -2 * math.log(1e-3) -- squared, of the ellipse with 99.9 % of a normal distribution in two dimensions

  it("is uniform in the highest-density region, the ellipse of a normal posterior", function()
    local model, turn, std = normal_model(0.08, 0.03)
    local z, kept = truncation.new(model, h, 1e-3, sv.rng(1)):draw(4000, sv.rng(2))
    assert.same({ 4000, 2 }, z.shape)
    assert.is_true(kept > 0.1)
    local d = distances(z, turn, std)
    assert.near(radius, d[4000], 0.12 * radius) -- of 10,000 draws, ten lie outside
    for _, share in ipairs { 0.25, 0.5, 0.75 } do -- areas of ellipses
      assert.near(share, d[math.floor(share * 4000)] / d[4000], 0.035)
    end
  end)

  it("is resampled from the posterior's draws where the box is nearly empty", function()
    local model, turn, std = normal_model(0.1, 0.0002)
    local z, kept = truncation.new(model, h, 1e-2, sv.rng(1)):draw(2000, sv.rng(2))
    assert.is_nil(kept)
    local d = distances(z, turn, std)
    assert.is_true(d[2000] < 1.2 * -2 * math.log(1e-2))
    assert.near(0.5, d[1000] / d[2000], 0.08) -- of the posterior itself: 0.15
  end)

  it("keeps the draws of a prior that is a function #long", function()
    local function prior(rng) return { a = math.sqrt(rng:uniform(0, 1)), b = rng:uniform(0, 1) } end -- density 2 a
    local model, turn, std = normal_model(0.1, 0.1, prior)
    local z = truncation.new(model, h, 1e-3, sv.rng(1)):draw(4000, sv.rng(2))
    local d = distances(z, turn, std)
    assert.is_true(d[4000] < 1.1 * radius)
    -- the mean of a under density a in a disc about (1/2, 1/2): 1/2 + 2 (variance of a in the disc, R^2 / 4)
    local mean = core.mean(z, 1):get(1)
    assert.near(0.5 + 2 * radius * 0.01 / 4, mean, 0.012)
    -- with its log density, by importance resampling of a thin ellipse, where the same formula holds along its length
    model, turn, std = normal_model(0.1, 0.0002, { draw = prior, log_density = function(v) return math.log(v.a) end })
    z = truncation.new(model, h, 1e-2, sv.rng(1)):draw(4000, sv.rng(2))
    d = distances(z, turn, std)
    radius = -2 * math.log(1e-2)
    assert.is_true(d[4000] < 1.2 * radius)
    assert.near(0.5 + 2 * radius * 0.01 / 2 / 4, core.mean(z, 1):get(1), 0.02)
    local far = normal_model(0.002, 0.002, function(rng) return { a = rng:uniform(0, 0.1), b = 0.1 } end)
    raises("of %d+ draws of the prior, a function, 0 lie in the posterior's support",
      function() truncation.new(far, h, 1e-3, sv.rng(1)):draw(1, sv.rng(2)) end)
  end)
end)

-- ---- training -------------------------------------------------------------------------------------

local calls = 0
local function line(options)
  local t = { name = "line", output = { 2 },
    params = { { name = "a", low = -4, high = 4 }, { name = "b", low = -4, high = 4 } },
    simulate = function(z, out, rng)
      calls = calls + 1
      out[1], out[2] = z.a + 0.3 * rng:normal(), z.a + z.b + 0.3 * rng:normal()
    end }
  for k, v in pairs(options or {}) do t[k] = v end
  return sv.simulator(t)
end
local observation = core.tensor { { 1, -1 } }

local function train(t, sim)
  local model = sv.model { simulator = sim or line(), posterior = "flow", width = 16, transforms = 2, bins = 4 }
  local o = { quiet = true, rounds = 3, observation = observation, simulations = 192, batch = 16,
    decoder = { steps = 6 }, encoder = { steps = 8 } }
  for k, v in pairs(t or {}) do o[k] = v end
  return model:train(o)
end

local function same_weights(a, b)
  a, b = a:state(), b:state()
  for name, t in pairs(a) do assert.equal(0, core.max(core.abs(t - b[name])):item(), name) end
end

describe("training in rounds", function()
  it("finds the posterior of the observation, with simulations ever closer to it #long", function()
    local folder = helper.temporary_folder()
    local weights = core.tensor { { 4, 4 }, { 0, 4 } }
    local model = sv.model { simulator = line(), posterior = "flow", width = 32, transforms = 2, bins = 8, loss = "mse",
      net = function(t)
        local _, encoder = sv.nets.mlp(t)
        return sv.nn.func(function(code) return core.matmul(code, weights) end), encoder
      end }
    model.loss.fitted = true -- the formula is in the simulator's units
    model:train { quiet = true, rounds = 3, observation = observation, simulations = 600, batch = 96,
      out = folder, truncation = 0.02, decoder = { steps = 0 },
      encoder = { steps = 250, lr = { peak = 5e-3, warmup = 20 } } }
    local p = model:posterior(observation)
    -- a ~ N(1, 0.3^2), b = (x2 - x1) + noise ~ N(-2, 2 0.3^2)
    local std = { 0.3, 0.3 * math.sqrt(2) }
    for k, mean in ipairs { 1, -2 } do
      assert.near(mean, p:mean():get(1, k), 0.5 * std[k])
      assert.near(1, p:std():get(1, k) / std[k], 0.3)
    end
    local widths = {}
    for r = 1, 3 do
      local made = assert(sv.dataset { path = string.format("%s/round_%d/samples.bin", folder, r) })
      assert.equal(200, made.rows)
      widths[r] = core.sqrt(core.var(made:sample(200, sv.rng(1)), 1)):get(1)
    end
    assert.near(8 / math.sqrt(12), widths[1], 0.3)
    -- a uniform distribution in the ellipse that holds 98 % of the posterior
    local exact = std[1] * math.sqrt(-2 * math.log(0.02)) / 2
    for r = 2, 3 do assert.is_true(widths[r] > 0.7 * exact and widths[r] < 2 * exact) end
  end)

  it("is the same with workers, and goes on from where it was interrupted", function()
    local folder = helper.temporary_folder()
    local whole = train()
    same_weights(whole, train { workers = 2 })
    local function stopped(where, stop)
      local seen = 0
      local out = folder .. "/" .. where
      assert.is_false(pcall(train, { out = out, on_step = function(stage, at)
        if stage == "encoder" and at == 1 then seen = seen + 1 end
        if seen == 2 and stage == "encoder" and at == stop then error("interrupted!", 0) end
      end }))
      calls = 0
      local again = train { out = out }
      assert.equal(64, calls, "simulations of the third round")
      same_weights(whole, again)
      calls = 0
      same_weights(again, train { out = out })
      assert.equal(0, calls)
      same_weights(again, assert(sv.load(out .. "/model.safetensors", line())))
      raises("rounds.observation was %x+ and is now %x+", train, { out = out,
        observation = core.tensor { { 1, -2 } } })
    end
    stopped("second", 5)
  end)

  it("replaces failed simulations, and adds the noise of a measurement", function()
    local sim = line { noise = 0.1, simulate = function(z, out)
      if z.a > 1.2 and z.a < 1.25 then return false, "no" end
      out[1], out[2] = z.a, z.a + z.b
    end }
    assert.truthy(train({}, sim).focus.distance > 0)
  end)

  it("leaves a model that says what it is for", function()
    local folder = helper.temporary_folder()
    local model = train { truncation = 0.05 }
    assert.truthy(tostring(model):find("in 3 rounds for one observation", 1, true))
    model:posterior(observation)
    assert.is_nil(model.noticed.focus)
    local text = helper.stderr_of(function()
      model:posterior(core.tensor { { 1, -1 }, { 100, -200 } })
      model:posterior(core.tensor { { 100, -200 } })
    end)
    assert.truthy(text:find("posterior: the model was trained in 3 rounds for one observation; sample 2 is", 1, true))
    local path = folder .. "/m.safetensors"
    assert(model:save(path))
    local loaded = assert(sv.load(path, line()))
    assert.same(observation:totable(), loaded.focus.observation:totable())
    assert.same({ 3, model.focus.distance }, { loaded.focus.rounds, loaded.focus.distance })
    raises("trained in rounds for one observation, whose posterior draws of the prior do not measure",
      loaded.recalibrate, loaded)
    local r = sv.evaluate(loaded, { samples = 400, calibration = 20, interval = 0, chance = 0 })
    assert.matches("was trained in 3 rounds for one observation", r.warnings[1], 1, true)
    assert.is_nil(train({ rounds = 1, simulations = 64 }).focus) -- of the whole prior
    loaded:train { quiet = true, batch = 8, decoder = { steps = 1 }, encoder = { steps = 1 } }
    assert.is_nil(loaded.focus)
  end)

  it("names bad input", function()
    local function refused(message, t, options, sim)
      options = options or { posterior = "flow" }
      options.simulator, options.width = sim or line(), 4
      t.quiet = true
      local model = sv.model(options)
      raises(message, model.train, model, t)
    end
    local x = observation
    refused("rounds need observation = x", { rounds = 2, simulations = 200 })
    refused("observation needs rounds", { observation = x })
    refused("truncation needs rounds", { truncation = 1e-4 })
    refused("rounds must be from 1 to 100; got 0", { rounds = 0, observation = x })
    refused("truncation must be", { rounds = 2, observation = x, truncation = 0 })
    refused("train: takes %(N, 2%); got %(1, 3%)", { rounds = 2, observation = core.zeros(1, 3), simulations = 200 })
    refused("observation takes one output; got 2", { rounds = 2, observation = core.zeros(2, 2), simulations = 200 })
    refused("train: takes finite numbers", { rounds = 2, observation = x / 0, simulations = 200 })
    refused("rounds take a posterior that is trained by likelihood, such as \"flow\"; this model's is \"gaussian\"",
      { rounds = 2, observation = x, simulations = 200, sleep = { steps = 1 } }, { posterior = "gaussian" })
    refused("rounds need simulations = N", { rounds = 2, observation = x })
    refused("2 rounds take simulations = 128 or more; got 20", { rounds = 2, observation = x, simulations = 20 })
    refused("rounds need steps of the encoder",
      { rounds = 2, observation = x, simulations = 200, encoder = { steps = 0 } })
    refused("offline reads a cache", { rounds = 2, observation = x, simulations = 200, offline = true })
    local model = sv.model { simulator = line(), posterior = "flow", width = 4 }
    raises("train_encoder: rounds train both stages", model.train_encoder, model, { rounds = 2, quiet = true })
    local folder = helper.temporary_folder()
    sv.io.save_npy(folder .. "/z.npy", core.rng(1):normal { 200, 2 })
    sv.io.save_npy(folder .. "/x.npy", core.rng(2):normal { 200, 2 })
    refused("'dataset' is a data set, which has 200 rows and no others",
      { rounds = 2, observation = x, simulations = 200 }, nil,
      assert(sv.dataset { z = folder .. "/z.npy", x = folder .. "/x.npy" }))
  end)
end)
