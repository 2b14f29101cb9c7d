--- Distributions of the decoder that are learned: against closed forms of the simulator's own, integrals and moments.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

-- x ~ N((a, 2 b - a), [[0.04 + c, c], [c, (0.1 + b)^2 + c]]), c = (0.2 + a / 8)^2
local correlated = sv.simulator {
  name = "correlated", output = { 2 },
  params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 1 } },
  simulate = function(z, out, rng)
    local common = (0.2 + z.a / 8) * rng:normal()
    out[1] = z.a + 0.2 * rng:normal() + common
    out[2] = 2 * z.b - z.a + (0.1 + z.b) * rng:normal() + common
  end,
}

-- Mean, variances and covariance of x.
local function moments(z, noise)
  local c = (0.2 + z[1] / 8) ^ 2
  return { z[1], 2 * z[2] - z[1] }, 0.04 + c + noise, (0.1 + z[2]) ^ 2 + c + noise, c
end

local function log_density(x, z, noise)
  local mean, a, b, c = moments(z, noise)
  local det, r, s = a * b - c * c, x[1] - mean[1], x[2] - mean[2]
  return -(b * r * r + a * s * s - 2 * c * r * s) / (2 * det) - math.log(det) / 2 - math.log(2 * math.pi)
end

local function trained(decoder, sim, t)
  local model = sv.model { simulator = sim, posterior = "gaussian", net = "mlp",
    decoder = decoder, width = 32, seed = 1 }
  return model:train_decoder { quiet = true, batch = 64, steps = t.steps, lr = { peak = 3e-3, warmup = 50 } }
end

-- The mean of f(x, z) - log_likelihood over draws as measured, an estimate of the Kullback-Leibler divergence.
local function divergence(model, f)
  local z, x = sv.simulate(model.simulator, 1000, sv.rng(8))
  local log, total = model:log_likelihood(x, z):totable(), 0
  x = x:totable()
  for i, row in ipairs(z:totable()) do total = total + (f(x[i], row) - log[i]) / 1000 end
  return total
end

-- The integral of the likelihood at z over a square of the output's space.
local function integral(model, z, centre, side)
  local rows, n = {}, 250
  for i = 1, n do
    for j = 1, n do
      rows[#rows + 1] = { centre[1] + ((i - 0.5) / n - 0.5) * side, centre[2] + ((j - 0.5) / n - 0.5) * side }
    end
  end
  local log = model:log_likelihood(core.tensor(rows), core.expand(core.tensor { z }, n * n, 2))
  return core.sum(core.exp(log)):item() * (side / n) ^ 2
end

describe("a decoder's distribution of correlated numbers", function()
  for _, case in ipairs { { { "lowrank", rank = 1 }, 600 }, { { "mixture", components = 3 }, 600 },
    { { "flow", transforms = 2, bins = 5 }, 600 } } do
    local decoder, steps = case[1], case[2]

    it(decoder[1] .. " approaches the simulator's, and is normalised", function()
      local model = trained(decoder, correlated, { steps = steps })
      local off = divergence(model, function(x, z) return log_density(x, z, 0) end)
      assert.is_true(off < 0.06 and off > -0.02, tostring(off)) -- of a diagonal covariance it is 0.055 at best
      local z = { 0.5, 0.25 }
      local mean, a, b, c = moments(z, 0)
      assert.near(1, integral(model, z, mean, 8), 1e-3)
      local x = model:decode({ z }, { samples = 20000, rng = sv.rng(3) }):reshape(20000, 2)
      local centre = core.mean(x, 1)
      local covariance = core.matmul(core.transpose(x - centre, 1, 2), x - centre) / 20000
      for k = 1, 2 do assert.near(mean[k], centre:get(k), 0.06) end
      for _, v in ipairs { { a, 1, 1 }, { b, 2, 2 }, { c, 1, 2 } } do
        assert.near(v[1], covariance:get(v[2], v[3]), 0.2 * math.sqrt(a * b))
      end
    end)
  end

  it("holds the noise of a measurement", function()
    local noisy = {}
    for _, name in ipairs { "output", "params", "simulate" } do noisy[name] = correlated[name] end
    noisy.name, noisy.noise = "noisy", 0.5
    noisy = sv.simulator(noisy)
    for _, decoder in ipairs { { "lowrank", rank = 1 }, { "flow", transforms = 2, bins = 5 } } do
      local model = trained(decoder, noisy, { steps = 500 })
      local off = divergence(model, function(x, z) return log_density(x, z, 0.25) end)
      assert.is_true(off < 0.06 and off > -0.02, decoder[1] .. " " .. off)
      local x = model:decode({ { 0.5, 0.25 } }, { samples = 20000, rng = sv.rng(3) })
      local _, a = moments({ 0.5, 0.25 }, 0.25)
      assert.near(a, core.var(x, 2):get(1, 1), 0.15 * a)
    end
  end)
end)

describe("a covariance of a diagonal and low rank", function()
  it("has the determinant and the inverse of the whole matrix", function()
    local q = require "simvae.likelihood.lowrank".new { count = 2, rank = 2, code = 1, rng = sv.rng(1) }
    local s, v = { 0.5, 0.8 }, { { 0.3, -0.2 }, { 0.6, 0.4 } } -- standard deviations; factors
    q.net = function(code)
      return core.expand(core.tensor { { 0.1, -0.2, math.log(s[1]), math.log(s[2]), v[1][1], v[1][2], v[2][1],
        v[2][2] } }, code.shape[1], 8) -- the first two are added to the mean
    end
    for _, noise in ipairs { 0, 0.7 } do
      local a = s[1] ^ 2 + noise + v[1][1] ^ 2 + v[1][2] ^ 2
      local b = s[2] ^ 2 + noise + v[2][1] ^ 2 + v[2][2] ^ 2
      local c = v[1][1] * v[2][1] + v[1][2] * v[2][2]
      local det, r, t = a * b - c * c, 0.4, -0.9
      local expected = -(b * r * r + a * t * t - 2 * c * r * t) / (2 * det) - math.log(det) / 2 - math.log(2 * math.pi)
      local got = q:log_prob(core.tensor { { 1, 2 } }, core.zeros(1, 1), core.tensor { { 1.5, 0.9 } },
        noise > 0 and core.full(noise, { 1, 2 }) or nil)
      assert.near(expected, got:item(), 1e-5)
    end
  end)
end)

describe("a mixture", function()
  it("learns outcomes between which a simulator chooses", function()
    local sim = sv.simulator { name = "either", output = { 1 }, params = { { name = "p", low = 0.2, high = 0.8 } },
      simulate = function(z, out, rng) out[1] = (rng:uniform() < z.p and 1 or -1) + 0.1 * rng:normal() end }
    local model = trained({ "mixture", components = 2 }, sim, { steps = 800 })
    local off = divergence(model, function(x, z)
      local function part(m) return math.exp(-((x[1] - m) / 0.1) ^ 2 / 2) / (0.1 * math.sqrt(2 * math.pi)) end
      return math.log(z[1] * part(1) + (1 - z[1]) * part(-1))
    end)
    assert.is_true(off < 0.05 and off > -0.02, tostring(off))
    local above = 0
    for _, v in ipairs(model:decode({ { 0.3 } }, { samples = 5000, rng = sv.rng(2) }):reshape(5000):totable()) do
      if v > 0 then above = above + 1 end
    end
    assert.near(0.3, above / 5000, 0.04)
  end)
end)

describe("Bernoulli distributions", function()
  -- Logits of -2, 0 and 3 of three pixels in a row.
  local logits = { -2, 0, 3 }
  local function fixed(simulate)
    local sim = sv.simulator { name = "pixels", output = { 1, 1, 3 }, params = { { name = "a", low = 0, high = 1 } },
      simulate = simulate }
    local model = sv.model { simulator = sim, posterior = "gaussian", decoder = "bernoulli", net = {
      decoder = sv.nn.func(function(code)
        return core.expand(core.tensor { { { logits } } }, code.shape[1], 1, 1, 3)
      end),
      encoder = sv.nn.func(function(x) return core.zeros(x.shape[1], 2) end) } }
    return model:train_decoder { quiet = true, steps = 1, batch = 16, lr = 1e-9 }
  end

  it("are probabilities of pixels that are 0 or 1", function()
    local model = fixed(function(z, out) out:set(z.a > 0.5 and 1 or 0, 1, 1, 1) end)
    local total = 0
    for i = 0, 7 do
      local x = core.tensor { { { { i & 1, i >> 1 & 1, i >> 2 & 1 } } } }
      total = total + math.exp(model:log_likelihood(x, { { 0.5 } }):item())
    end
    assert.near(1, total, 1e-5)
    local mean = core.mean(model:decode({ { 0.5 } }, { samples = 20000, rng = sv.rng(1) }), 2)
    for k, l in ipairs(logits) do assert.near(1 / (1 + math.exp(-l)), mean:get(1, 1, 1, k), 0.015) end
  end)

  it("are densities of grey pixels that integrate to 1, and their draws follow them", function()
    local model = fixed(function(z, out) out:fill(z.a) end)
    local n, at = 2000, {}
    for i = 1, n do at[i] = (i - 0.5) / n end
    local draws = model:decode({ { 0.5 } }, { samples = 20000, rng = sv.rng(1) })
    for k, l in ipairs(logits) do
      local rows = {}
      for i, v in ipairs(at) do
        rows[i] = { { { 0.5, 0.5, 0.5 } } }
        rows[i][1][1][k] = v
      end
      local density = core.exp(model:log_likelihood(core.tensor(rows), core.full(0.5, { n, 1 }))):totable()
      local total, mean = 0, 0
      for i, v in ipairs(density) do total, mean = total + v / n, mean + v * at[i] / n end
      -- of the other two pixels the densities at 0.5
      local others = 1
      for j, m in ipairs(logits) do
        if j ~= k then others = others * (m == 0 and 1 or m / (math.exp(m / 2) - math.exp(-m / 2))) end
      end
      assert.near(1, total / others, 1e-3)
      assert.near(mean / total, core.mean(core.slice(draws, 5, k, k)):item(), 0.01, "logit " .. l)
    end
  end)

  it("are refused for outputs that are no such numbers", function()
    raises("takes outputs in %[0, 1%] under loss \"bce\".*the loss is \"mse\"", sv.model,
      { simulator = correlated, decoder = "bernoulli" })
    local noisy = sv.simulator { name = "noisy", output = { 1, 4, 4 }, params = { { name = "a", low = 0, high = 1 } },
      simulate = function() end, noise = 0.1 }
    raises("the simulator declares noise", sv.model, { simulator = noisy, decoder = "bernoulli" })
  end)
end)

describe("distributions that are learned", function()
  it("are saved and loaded with their options", function()
    local path = os.tmpname()
    for _, decoder in ipairs { { "lowrank", rank = 2 }, { "mixture", components = 2 },
      { "flow", transforms = 2, bins = 3 } } do
      local model = trained(decoder, correlated, { steps = 5 })
      assert(model:save(path))
      local again = assert(sv.load(path, correlated))
      assert.equal(decoder[1], again.likelihood.name)
      local x, z = { { 0.1, 0.2 } }, { { 0.3, 0.4 } }
      assert.equal(model:log_likelihood(x, z):item(), again:log_likelihood(x, z):item())
    end
    os.remove(path)
  end)

  it("are resumed as if the training had not been interrupted", function()
    local folder = helper.temporary_folder()
    local function train(decoder, out, on_step)
      local model = sv.model { simulator = correlated, decoder = decoder, width = 8, seed = 1 }
      return model:train { quiet = true, batch = 16, out = out, on_step = on_step, decoder = { steps = 12 },
        encoder = { steps = 2 } }
    end
    for _, decoder in ipairs { "homoscedastic", "normal", { "flow", transforms = 2, bins = 3 } } do
      local out = folder .. "/" .. (decoder[1] or decoder)
      local whole = train(decoder)
      assert.is_false(pcall(train, decoder, out, function(stage, at)
        if stage == "decoder" and at == 7 then error("interrupted!", 0) end
      end))
      local again = train(decoder, out):state()
      for name, t in pairs(whole:state()) do
        if name:find "^likelihood" then assert.equal(0, core.max(core.abs(t - again[name])):item(), name) end
      end
    end
  end)

  it("are those of images too, where they are normal", function()
    local sim = sv.simulator { name = "noisy", output = { 1, 4, 4 }, params = { { name = "a", low = 0.2, high = 0.8 } },
      simulate = function(z, out, rng)
        for r = 1, 4 do
          for c = 1, 4 do out:set(z.a + 0.1 * z.a * rng:normal(), 1, r, c) end
        end
      end, loss = "mse" }
    local model = trained("normal", sim, { steps = 400 })
    local z, x = sv.simulate(sim, 200, sv.rng(8))
    local expected = 0
    for i, row in ipairs(z:totable()) do
      local std = 0.1 * row[1]
      for _, v in ipairs(x[i]:reshape(16):totable()) do
        expected = expected - ((v - row[1]) / std) ^ 2 / 2 - math.log(std * math.sqrt(2 * math.pi))
      end
    end
    assert.near(expected / 200, core.mean(model:log_likelihood(x, z)):item(), 1) -- of 16 pixels together
  end)

  it("are refused where the output is no vector, or an option is another's", function()
    local image = sv.simulator { name = "image", output = { 1, 4, 4 }, params = { { name = "a", low = 0, high = 1 } },
      simulate = function() end }
    for _, name in ipairs { "lowrank", "mixture", "flow" } do
      raises("is a distribution of vectors {n}; the output of simulator 'image' is %(1, 4, 4%)", sv.model,
        { simulator = image, decoder = name })
    end
    raises("unknown option 'components'", sv.model, { simulator = correlated, decoder = { "flow", components = 2 } })
    raises("rank must be from 1 to 64", sv.model, { simulator = correlated, decoder = { "lowrank", rank = 0 } })
  end)
end)

describe("the decoder \"pixelcnn\"", function()
  -- A model whose distribution has random weights, several times those of a new one.
  local function random(height, width, layers, gain)
    local sim = sv.simulator { name = "pixels", output = { 1, height, width },
      params = { { name = "a", low = 0, high = 1 } }, simulate = function() end }
    local model = sv.model { simulator = sim, net = "mlp", width = 4, decoder = { "pixelcnn", channels = 4,
      layers = layers }, seed = 2 }
    local last = model.likelihood.net.inner[3].own.weight -- from features to logits
    last:copy(sv.rng(3):normal(0, gain, last.shape))
    return model, model.likelihood
  end

  it("is a distribution over all images, and draws by it", function()
    local _, q = random(2, 3, 2, 2)
    local y, code = sv.tensor { { 0.3, -0.5, 0.2, 1, -0.4, 0 } }, sv.tensor { { 0.2 } }
    local images = {}
    for i = 0, 63 do
      images[i + 1] = {}
      for k = 0, 5 do images[i + 1][k + 1] = i >> k & 1 end
    end
    local p = sv.exp(q:log_prob(sv.expand(y, 64, 6), sv.expand(code, 64, 1), sv.tensor(images)))
    assert.near(1, sv.sum(p):item(), 1e-5)
    -- not a product of pixels' probabilities: the odds ratio of the first two is not 1
    assert.is_true(math.abs(p:get(1) * p:get(4) / (p:get(2) * p:get(3)) - 1) > 0.01)
    local counts, n = {}, 4000
    for _, x in ipairs(q:draw(y, code, n, sv.rng(1))[1]:totable()) do
      local i = 0
      for k = 0, 5 do i = i + (math.tointeger(x[k + 1]) << k) end
      counts[i] = (counts[i] or 0) + 1
    end
    for i = 0, 63 do assert.near(p:get(i + 1), (counts[i] or 0) / n, 5 * math.sqrt(p:get(i + 1) / n)) end
  end)

  it("draws each pixel from the rows that it depends on, as one pass over the image tells", function()
    local _, q = random(12, 5, 1, 1e4) -- so large logits that each pixel is certain
    local y, code = sv.zeros(3, 60), sv.tensor { { 0.2 }, { 0.5 }, { 0.9 } }
    local x = q:draw(y, code, 2, sv.rng(4))
    assert.near(0, sv.max(sv.abs(q:log_prob(sv.zeros(6, 60), sv.tensor { { 0.2 }, { 0.2 }, { 0.5 }, { 0.5 }, { 0.9 },
      { 0.9 } }, sv.reshape(x, 6, 60)))):item(), 1e-3)
  end)

  it("refuses other outputs", function()
    local function sim(...)
      return sv.simulator { name = "grey", output = { ... }, loss = "bce",
        params = { { name = "a", low = 0, high = 1 } }, simulate = function(z, out) out:fill(z.a) end }
    end
    raises("decoder \"pixelcnn\" takes images of one channel", sv.model, { simulator = sim(3, 8, 8),
      decoder = "pixelcnn" })
    local model = sv.model { simulator = sim(1, 8, 8), decoder = "pixelcnn", width = 2 }
    raises("takes images of pixels that are 0 or 1", model.train_decoder, model, { quiet = true, steps = 1 })
  end)
end)
