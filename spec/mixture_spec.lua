--- The mixture posterior: its density against numerical integration and the multivariate normal one, its draws against
-- the density's moments, and what it and the single normal learn against closed forms.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local function box(bound)
  return sv.simulator { name = "s", output = { 2 }, simulate = function() end,
    params = { { name = "a", low = -bound, high = bound }, { name = "b", low = -bound, high = bound } } }
end

-- A mixture whose encoder gives these numbers to all outputs: of each component two means, two logarithms of standard
-- deviations (less 1) and the factor of the correlation, then logits.
local function posterior(bound, components, numbers)
  local model = sv.model { simulator = box(bound), posterior = "mixture", components = components, net = {
    decoder = sv.nn.func(function(code) return code end),
    encoder = sv.nn.func(function(x) return core.expand(core.tensor { numbers }, { x.shape[1], #numbers }) end),
  } }
  return model:posterior(core.zeros(1, 2))
end

local function grid(bound, n)
  local rows = {}
  for i = 1, n do
    for j = 1, n do rows[#rows + 1] = { bound * (2 * (i - 0.5) / n - 1), bound * (2 * (j - 0.5) / n - 1) } end
  end
  return core.tensor { rows }, (2 * bound / n) ^ 2
end

describe("a mixture with full covariances", function()
  it("is far from the bounds the normal density of its correlation", function()
    -- codes are 0.05 z; the correlation of factor r is r / sqrt(1 + r^2)
    local r, sa, sb = -1.5, math.exp(-3), math.exp(-2.5)
    local rho = r / math.sqrt(1 + r * r)
    local p = posterior(20, 1, { 0.1, -0.05, -2, -1.5, r })
    for _, at in ipairs { { 2, -1 }, { 3, -2 }, { 1.5, 1 }, { 2.4, -3 } } do
      local x, y = (at[1] / 20 - 0.1) / sa, (at[2] / 20 + 0.05) / sb
      local expected = -(x * x - 2 * rho * x * y + y * y) / (2 * (1 - rho * rho))
        - math.log(2 * math.pi * sa * sb * math.sqrt(1 - rho * rho) * 400)
      assert.near(expected, p:log_prob({ at }):item(), 1e-3)
    end
    local aa, ab, bb = 0, 0, 0
    for _, row in ipairs(p:sample(8000, sv.rng(1))[1]:totable()) do
      local a, b = (row[1] / 20 - 0.1) / sa, (row[2] / 20 + 0.05) / sb
      aa, ab, bb = aa + a * a / 8000, ab + a * b / 8000, bb + b * b / 8000
    end
    assert.near(1, aa, 0.05)
    assert.near(rho, ab, 0.05)
    assert.near(1, bb, 0.05)
  end)

  it("integrates to 1 within the prior's bounds, at their corners too, and draws as it states", function()
    for _, numbers in ipairs { { 0.2, -0.3, -0.5, 0, 2 }, { 0.97, 0.9, 0, -0.5, -3 }, { -1, 1, 1, -1, 1 } } do
      local p = posterior(3, 1, numbers)
      local z, cell = grid(3, 250)
      local density = core.exp(p:log_prob(z))
      assert.near(1, core.sum(density):item() * cell, 1e-3)
      local draws = p:sample(20000, sv.rng(2))
      assert.is_true((draws:within(-3, 3)))
      for k = 1, 2 do -- first and second moments
        local column = core.reshape(core.slice(z, 3, k, k), 1, 62500)
        for power = 1, 2 do
          local expected = core.sum(density * column ^ power):item() * cell
          assert.near(expected, core.mean(core.slice(draws, 3, k, k) ^ power):item(), 0.06)
        end
      end
    end
    local two = posterior(3, 2, { 0.9, 0.9, -1, -1, 1, -0.5, 0.1, 0, -2, -1, 0.3, -0.8 })
    local z, cell = grid(3, 250)
    assert.near(1, core.sum(core.exp(two:log_prob(z))):item() * cell, 1e-3)
  end)
end)

-- x = A z + noise, with the formula as the decoder; A = { { 1, 0 }, { 1, 0.5 } }.
local function linear(noise, options)
  options.simulator = sv.simulator { name = "linear", output = { 2 }, noise = noise,
    params = { { name = "a", low = -3, high = 3 }, { name = "b", low = -3, high = 3 } },
    simulate = function(z, out) out[1], out[2] = z.a, z.a + 0.5 * z.b end }
  local weights = core.tensor { { 3, 3 }, { 0, 1.5 } }
  options.loss, options.width = "mse", 32
  options.net = function(t)
    local _, encoder = sv.nets.mlp(t)
    return sv.nn.func(function(code) return core.matmul(code, weights) end), encoder
  end
  local model = sv.model(options)
  model.loss.fitted = true
  return model
end

-- With noise of 0.4 and 0.3: precision P = A' S^-1 A; at x = (0.5, 0.2) the mean P^-1 A' S^-1 x is (0.5, -0.6), the
-- standard deviations are 0.4 and 1, the correlation -0.8.
local mean, std, x = { 0.5, -0.6 }, { 0.4, 1 }, core.tensor { { 0.5, 0.2 } }

describe("training of normal posteriors", function()
  it("recovers the correlated posterior of a linear simulator by a mixture #long", function()
    local model = linear({ 0.4, 0.3 }, { posterior = "mixture", components = 2 })
    model:train { decoder = { steps = 0 }, encoder = { steps = 600, lr = { peak = 5e-3, warmup = 20 } }, batch = 128,
      quiet = true }
    local p, total = model:posterior(x), 0
    local m, s = p:mean(), p:std()
    for k = 1, 2 do
      assert.near(mean[k], m:get(1, k), 0.2 * std[k])
      assert.near(std[k], s:get(1, k), 0.12 * std[k])
    end
    for _, row in ipairs(p:sample(4000, sv.rng(1))[1]:totable()) do
      total = total + (row[1] - m:get(1, 1)) / s:get(1, 1) * (row[2] - m:get(1, 2)) / s:get(1, 2)
    end
    assert.near(-0.8, total / 4000, 0.08)
    assert.near(-math.log(2 * math.pi * 0.4 * 0.6), p:log_prob({ mean }):item(), 0.25)
  end)

  it("gives the standard deviations of its errors to the single normal beside eq. 4, without sleep", function()
    local model = linear({ 0.1, 0.1 }, {}) -- far from the bounds, mostly
    model:train { decoder = { steps = 0 }, encoder = { steps = 800, lr = { peak = 5e-3, warmup = 20 }, noise = 0,
      prior = 0 }, batch = 128, quiet = true }
    local z, measured = sv.simulate(model.simulator, 2000, sv.rng(5))
    local centre, spread = model:encode(measured)
    for k = 1, 2 do
      local one, two = 0, 0
      for i = 1, 2000 do
        local off = math.abs(z:get(i, k) - centre:get(i, k)) / spread:get(i, k)
        one, two = one + (off < 1 and 1 or 0), two + (off < 2 and 1 or 0)
      end
      assert.near(0.68, one / 2000, 0.06)
      assert.near(0.95, two / 2000, 0.03)
    end
  end)

  it("reads files of diagonal mixtures from before there were correlations", function()
    local description = require "simvae.model.description"
    local about = linear(0.1, { posterior = "mixture", correlations = 0 }):description()
    about.correlations = nil
    assert.equal(0, description.check(about, 1e6).correlations)
    helper.raises("correlations must be from 0 to 1; got 2", sv.model, { simulator = box(1), posterior = "mixture",
      correlations = 2 })
  end)
end)
