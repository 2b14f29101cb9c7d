--- Priors beyond a box: distributions of single parameters, priors of whole simulators with a density, and the unit
-- cube and codes that are made of them.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local helper = require "spec.helper"
local latent = require "simvae.model.latent"
local marginal = require "simvae.simulator.marginal"
local sv = require "simvae"

-- The text is plain.
local function raises(text, ...)
  return helper.raises(text:gsub("%p", "%%%0"), ...)
end

-- SciPy 1.17: distribution, parameters, t, and at t stats.norm, at exp(t) stats.gamma, at 1 / (1 + exp(-t)) stats.beta:
-- cdf, sf, and logpdf plus log |dx/dt|.
local table_of_scipy = {
  { "normal", { }, -8, 6.22096057427174e-16, 0.999999999999999, -32.9189385332047 },
  { "normal", { }, -0.7, 0.241963652223073, 0.758036347776927, -1.16393853320467 },
  { "normal", { }, 4.5, 0.999996602326875, 3.39767312473005e-06, -11.0439385332047 },
  { "gamma", { 0.05 }, -30, 0.229203063655236, 0.770796936344764, -4.46887920105182 },
  { "gamma", { 0.05 }, 1, 0.998976464589686, 0.00102353541031428, -5.63716102951078 },
  { "gamma", { 2.5 }, 0.5, 0.345766749224207, 0.654233250775793, -0.683404141173047 },
  { "gamma", { 9.5 }, 2, 0.263408112925962, 0.736591887074038, -0.078389519727919 },
  { "gamma", { 400 }, 6.1, 0.987033382912075, 0.0129666170879249, -0.367003518650245 },
  { "gamma", { 400 }, 5.8, 0.000110388513712699, 0.999889611486287, -4.80879334578203 },
  { "beta", { 2, 5 }, -1, 0.510390891808007, 0.489609108191993, -0.791634430965404 },
  { "beta", { 2, 5 }, 1.5, 0.998972068395292, 0.00102793160470838, -5.50869556421711 },
  { "beta", { 0.05, 0.3 }, -20, 0.321626708854865, 0.678373291145135, -4.13009596944498 },
  { "beta", { 20, 0.3 }, 6, 0.555088294769265, 0.444911705230735, -2.05260175487627 },
  { "beta", { 12, 40 }, -2, 0.0150442583527108, 0.984955741647289, -2.32473209625456 },
  { "beta", { 2000, 8000 }, -1.4, 0.293751985711348, 0.706248014288655, 2.62003336827764 },
}

local function near(expected, got, relative)
  assert.near(expected, got, relative * math.max(1e-300, math.abs(expected)))
end

describe("distribution functions", function()
  it("agree with SciPy's to ten digits in both tails", function()
    for _, row in ipairs(table_of_scipy) do
      local name, a, t = row[1], row[2], row[3]
      local below, above = core.distribution.cdf(name, t, a[1], a[2])
      near(row[4], below, 1e-10)
      near(row[5], above, 1e-10)
      near(row[6], core.distribution.log_density(name, t, a[1], a[2]), 1e-10)
    end
  end)

  it("are inverted by the quantiles", function()
    for _, row in ipairs(table_of_scipy) do
      local a = row[2]
      near(row[3], core.distribution.quantile(row[1], row[4], row[5], a[1], a[2]), 1e-10)
    end
    for _, u in ipairs { 1e-15, 1e-6, 0.2, 0.5, 0.999 } do
      for _, d in ipairs { { "gamma", 0.01 }, { "gamma", 1e5 }, { "beta", 20, 0.3 }, { "beta", 1000, 3 } } do
        local t = core.distribution.quantile(d[1], u, 1 - u, d[2], d[3])
        near(u, (core.distribution.cdf(d[1], t, d[2], d[3])), 1e-9)
      end
    end
  end)

  it("have infinite quantiles at 0 and 1, and none outside", function()
    local q = core.distribution.quantile
    for _, name in ipairs { "normal", "gamma", "beta" } do
      assert.equal(-math.huge, q(name, 0, 1, 2, 3))
      assert.equal(math.huge, q(name, 1, 0, 2, 3))
      assert.is_true(q(name, -0.1, 1.1, 2, 3) ~= q(name, -0.1, 1.1, 2, 3))
    end
    raises("there is no 'cauchy'", q, "cauchy", 0.5, 0.5)
  end)

  it("are ops for the normal one", function()
    local u = core.tensor { 2 ^ -20, 0.25, 0.5, 0.875 }
    local x = core.normal_quantile(u):totable()
    for i, expected in ipairs { -4.76300103427, -0.674489750196, 0, 1.15034938038 } do -- scipy.stats.norm.ppf
      assert.near(expected, x[i], 2e-6)
    end
    assert.near(0, core.max(core.abs(core.normal_cdf(core.normal_quantile(u)) - u)):item(), 1e-7)
  end)
end)

local function parameter_of(p)
  p.name = p.name or "a"
  return sv.simulator { name = "s", params = { p }, output = { 1 }, simulate = function(z) return { z[1] } end }
end

describe("the prior of a parameter", function()
  -- scipy.stats: norm(3, 2), lognorm(0.5, scale=exp(-1)), gamma(0.3, scale=4), gamma(2, scale=4), beta(2, 5, -1, 4);
  -- cut to [low, high]: (cdf(v) - cdf(low)) / mass, logpdf(v) - log(mass), ppf(cdf(low) + u mass)
  local cases = {
    { { prior = { "normal", 3, 2 } }, 4.5, 0.773372647623, -1.89333571376, 0.01, -1.65269574808 },
    { { prior = { "normal", 3, 2 }, low = 0, high = 4 }, 1.5, 0.255853366394, -1.42278034835, 0.97, 3.89488833155 },
    { { prior = { "lognormal", -1, 0.5 } }, 0.7, 0.900891865629, -0.696850664218, 0.2, 0.241518158851 },
    { { prior = { "lognormal", -1, 0.5 }, low = 0.2, high = 2 }, 0.7, 0.888815689835, -0.578292463156, 0.2,
      0.278585886803 },
    { { prior = { "gamma", 0.3, 4 } }, 0.7, 0.635120067607, -1.4370138424, 0.001, 2.78907963871e-10 },
    { { prior = { "gamma", 2, 4 }, low = 1, high = 20 }, 6, 0.445490809644, -2.41155773218, 0.999, 19.8904246516 },
    { { prior = { "beta", 2, 5 }, low = -1, high = 3 }, 0.5, 0.725818634033, -0.845940749452, 0.4, -0.109665865538 },
  }
  it("has SciPy's distribution function, density and quantiles, truncated as declared", function()
    for _, c in ipairs(cases) do
      local m = marginal.of(parameter_of(c[1]).params[1])
      near(c[3], (m:shares(c[2])), 1e-9)
      near(c[4], m:log_density(c[2]), 1e-9)
      near(c[6], m:quantile(c[5]), 1e-9)
    end
  end)

  -- Kolmogorov and Smirnov's distance of n uniform numbers exceeds 2.3 / sqrt(n) once in 20,000 times.
  it("is what draws follow, as rows and on the cube", function()
    for _, c in ipairs(cases) do
      local sim, n = parameter_of(c[1]), 4000
      local code = latent.new(sim.params)
      local p, m = sim.params[1], marginal.of(sim.params[1])
      local u = cube.draw(code, sim, n, sv.rng(2))
      for _, z in ipairs { sim:sample(n, sv.rng(1)), cube.to_units(code, u) } do
        local shares = {}
        for i, v in ipairs(z:reshape(n):totable()) do
          assert.is_true(v >= p.low and v <= p.high)
          shares[i] = m:shares(v)
        end
        table.sort(shares)
        local distance = 0
        for i, share in ipairs(shares) do distance = math.max(distance, math.abs(share - (i - 0.5) / n)) end
        assert.is_true(distance < 2.3 / math.sqrt(n))
      end
    end
  end)

  it("gives the draw i of a seed, however many are drawn at once", function()
    local sim = parameter_of { prior = { "gamma", 2, 1 } }
    local code, whole = latent.new(sim.params), sv.rng(5)
    local all = cube.draw(code, sim, 10, whole):totable()
    local rng = sv.rng(5)
    rng:take(7)
    assert.same({ all[8], all[9] }, cube.draw(code, sim, 2, rng):totable())
  end)

  it("codes a value by its z-score, in units of the logarithm for a lognormal", function()
    local sim = sv.simulator { name = "s", output = { 1 }, simulate = function(z) return { z[1] } end,
      params = { { name = "a", prior = { "normal", 3, 2 } }, { name = "b", prior = { "lognormal", -1, 0.5 } } } }
    local code = latent.new(sim.params)
    local c = code:to_code(core.tensor { { 4, math.exp(-1.25) }, { -1, math.exp(0.25) } }):totable()
    for i, row in ipairs { { 0.5, -0.5 }, { -2, 2.5 } } do
      for k = 1, 2 do assert.near(row[k], c[i][k], 1e-6) end
    end
    local z, std = code:to_units(core.tensor { { 0.5, -0.5 } }, core.tensor { { 0.1, 0.1 } })
    assert.near(4, z:get(1, 1), 1e-6)
    assert.near(0.2, std:get(1, 1), 1e-6)
    assert.near(math.exp(-1.25), z:get(1, 2), 1e-6)
    assert.near(0.05 * math.exp(-1.25), std:get(1, 2), 1e-6)
  end)

  it("keeps codes, points of the cube and parameters in step, by rows and by tensor ops", function()
    local params = {}
    for i, c in ipairs(cases) do
      params[i] = { name = "p" .. i, prior = c[1].prior, low = c[1].low, high = c[1].high }
    end
    table.move({ { name = "u", low = 2, high = 5 }, { name = "l", low = 1, high = 100, scale = "log" },
      { name = "c", levels = 3 }, { name = "d", period = 360 },
      { name = "e", low = 1, high = 100, scale = "log", prior = { "beta", 2, 3 } } }, 1, 5, #params + 1, params)
    local sim = sv.simulator { name = "s", params = params, output = { 1 }, simulate = function(z) return { z[1] } end }
    local code = latent.new(sim.params)
    local u = cube.draw(code, sim, 500, sv.rng(3))
    local z = cube.to_units(code, u)
    local by_rows = core.tensor((cube.from_units(code, z:totable())))
    assert.is_true(core.max(core.abs(by_rows - u)):item() < 1e-5)
    local c = cube.to_code(code, u)
    assert.is_true(core.max(core.abs(cube.from_code(code, c) - u)):item() < 1e-6)
    assert.is_true(core.max(core.abs(code:to_code(z) - c)):item() < 2e-4)
    local scale = core.max(core.abs(z), 1, true)
    assert.is_true(core.max(core.abs(code:to_units(c) - z) / scale):item() < 1e-5)
  end)

  it("has ends of the cube that give finite numbers", function()
    for _, c in ipairs(cases) do
      local sim = parameter_of(c[1])
      local code = latent.new(sim.params)
      local ends = core.tensor { { 0 }, { 1 } }
      assert.is_true(cube.to_units(code, ends):finite())
      assert.is_true(cube.to_code(code, ends):finite())
    end
  end)

  it("has a density in units whose integral is 1", function()
    for _, c in ipairs { { { prior = { "lognormal", 0, 0.4 } }, 0, 8 },
      { { prior = { "normal", 1, 2 }, low = 0 }, 0, 14 },
      { { low = 2, high = 7 }, 0, 9 }, { { low = 1, high = 50, scale = "log" }, 0.5, 60 } } do
      local sim, n, total = parameter_of(c[1]), 20000, 0
      local step, rows = (c[3] - c[2]) / n, {}
      for i = 1, n do rows[i] = { c[2] + (i - 0.5) * step } end
      for _, v in ipairs(sim:log_prior(rows):totable()) do total = total + math.exp(v) * step end
      assert.near(1, total, 1e-3)
    end
  end)

  it("may be left uniform by name", function()
    local sim = parameter_of { low = 0, high = 2, prior = "uniform" }
    assert.is_nil(sim.params[1].prior)
    assert.near(-math.log(2), sim:log_prior({ { 1 } }):item(), 1e-7)
    assert.equal(-math.huge, sim:log_prior({ { 3 } }):item())
  end)

  it("gives figures and errors a finite range: quantiles of the unbounded sides", function()
    local p = parameter_of { prior = { "normal", 3, 2 }, low = -1e6 }.params[1]
    assert.near(3 - 2 * 3.0902323, p.axis.low, 1e-5)
    assert.near(3 + 2 * 3.0902323, p.axis.high, 1e-5)
    p = parameter_of { prior = { "gamma", 2, 1 } }.params[1]
    assert.near(0, p.axis.low, 1e-3)
    assert.near(9.2334135, p.axis.high, 1e-5) -- scipy.stats.gamma.ppf(0.999, 2)
    assert.equal("log", parameter_of { prior = { "lognormal", 0, 1 } }.params[1].scale)
  end)

  it("is refused where it is none, with what would do", function()
    local function refused(text, p) raises(text, parameter_of, p) end
    refused("did you mean 'normal'", { prior = { "norml", 0, 1 } })
    refused("needs numbers: { \"normal\", mean, std }", { prior = "normal" })
    refused("whose std is -1; it takes a finite number above 0", { prior = { "normal", 0, -1 } })
    refused("whose std is nil", { prior = { "normal", 0 } })
    refused("an entry 4 too many", { prior = { "normal", 0, 1, 2 } })
    refused("whose mean is ", { prior = { "normal", 0 / 0, 1 } })
    refused("whose shape is 1e+07", { prior = { "gamma", 1e7, 1 } })
    refused("low must be below high", { prior = { "normal", 0, 1 }, low = 2, high = 1 })
    refused("hold 6.2e-16", { prior = { "normal", 0, 1 }, low = 8 })
    refused("lies above 0", { prior = { "gamma", 2, 1 }, low = -1 })
    refused("lies above 0", { prior = { "lognormal", 2, 1 }, low = -1 })
    refused("leave it out where there is no bound", { prior = { "normal", 0, 1 }, low = -math.huge })
    refused("\"lognormal\", m, s", { prior = { "normal", 1, 0.1 }, low = 0.1, scale = "log" })
    refused("has levels and a prior", { prior = { "normal", 1, 0.1 }, levels = 3 })
    refused("has a period and a prior", { prior = { "normal", 1, 0.1 }, period = 3 })
    refused("needs a finite low; got nil", { high = 1 })
    refused("prior = a function", { prior = function() end })
  end)

  it("has a name in what a simulator shows", function()
    assert.equal("simulator s: (a normal(3, 2)) -> (1,)", tostring(parameter_of { prior = { "normal", 3, 2 } }))
    assert.equal("simulator s: (a from 0, normal(3, 2)) -> (1,)",
      tostring(parameter_of { prior = { "normal", 3, 2 }, low = 0 }))
  end)
end)

-- Two correlated normals: x ~ N(0, 1), y ~ N(0.8 x, 0.6).
local function correlated(density)
  return sv.simulator { name = "pair", output = { 2 }, correlated = true,
    simulate = function(z) return { z.x, z.y } end,
    params = { { name = "x", prior = { "normal", 0, 1 } }, { name = "y", prior = { "normal", 0, 1 } } },
    prior = { draw = function(rng)
      local x = rng:normal()
      return { x = x, y = 0.8 * x + 0.6 * rng:normal() }
    end, log_density = density } }
end

describe("the prior of a simulator", function()
  local function right(z) return -0.5 * (z.x ^ 2 + ((z.y - 0.8 * z.x) / 0.6) ^ 2) end

  it("may come with a log density, up to a constant", function()
    local sim = correlated(right)
    local values = sim:log_prior({ { 0, 0 }, { 1, 0.8 }, { 1, 0.2 } }):totable()
    for i, expected in ipairs { 0, -0.5, -1 } do assert.near(expected, values[i], 1e-6) end
    assert.is_nil(sv.simulator { name = "s", output = { 1 }, params = { { name = "a", low = 0, high = 1 } },
      simulate = function(z) return { z.a } end,
      prior = function(rng) return { rng:uniform() } end }:log_prior { { 0.5 } })
  end)

  it("is refused where draws and density disagree: in mean, spread, correlation, or support", function()
    raises("disagree in the correlation of 'y' and 'x'", correlated, function(z) return -0.5 * (z.x ^ 2 + z.y ^ 2) end)
    raises("disagree", correlated, function(z) return right { x = z.x - 0.5, y = z.y } end)
    raises("disagree", correlated, function(z) return right { x = 1.4 * z.x, y = 1.4 * z.y } end)
    raises("disagree", correlated, function(z) return -right(z) end)
    raises("disagree", correlated, function(z) return math.exp(right(z)) end) -- a density in place of its logarithm
    raises("the density is 0 at the draw", correlated, function(z) return z.x > 0 and right(z) or -math.huge end)
  end)

  it("is refused where the density has a mode that is never drawn", function()
    local function bimodal(z)
      return math.log(math.exp(-0.5 * ((z.a - 2) / 0.3) ^ 2) + math.exp(-0.5 * ((z.a - 8) / 0.3) ^ 2))
    end
    raises("disagree in the mean of 'a'", sv.simulator, { name = "s", output = { 1 },
      params = { { name = "a", low = 0, high = 10 } }, simulate = function(z) return { z.a } end,
      prior = { draw = function(rng) return { math.max(0, rng:normal(2, 0.3)) } end, log_density = bimodal } })
  end)

  it("is taken where they agree, with classes and circles, whatever the seed of the check", function()
    local sim = sv.simulator { name = "s", output = { 1 }, simulate = function(z) return { z.a } end,
      params = { { name = "a", low = 0, high = 10 }, { name = "c", levels = 3 }, { name = "d", period = 360 } },
      prior = { draw = function(rng)
        local c = rng:uniform() < 0.5 and 1 or rng:uniform() < 0.5 and 2 or 3
        return { a = 10 * rng:uniform() ^ (1 / c), c = c, d = 90 * rng:uniform() }
      end, log_density = function(z)
        if z.d > 90 then return -math.huge end
        return math.log(z.c == 1 and 0.5 or 0.25) + math.log(z.c) + (z.c - 1) * math.log(z.a / 10)
      end } }
    assert.is_truthy(sim)
  end)

  it("has clear errors", function()
    raises("log_density is nil at", correlated, function() end)
    raises("nan at z(x", correlated, function() return 0 / 0 end)
    raises("prior is a function(rng), or { draw", correlated, 3)
    raises("unknown field \"mean\"", sv.simulator, { name = "s", output = { 1 }, simulate = function() end,
      params = { { name = "a", low = 0, high = 1 } }, prior = { mean = 3 } })
    raises("the prior drew a = inf", function()
      sv.simulator { name = "s", output = { 1 }, simulate = function() end, prior = function() return { math.huge } end,
        params = { { name = "a", prior = { "normal", 0, 1 } } } }:sample(1, sv.rng(1))
    end)
  end)
end)

describe("models under such priors", function()
  local function line(prior, noise)
    return sv.simulator { name = "line", params = { prior }, output = { 1 }, noise = noise,
      simulate = function(z) return { z[1] } end }
  end

  it("have posterior densities in units whose integral is 1, and none outside the support", function()
    local model = sv.model { simulator = line { name = "a", prior = { "lognormal", 0, 0.5 } }, posterior = "flow" }
    model.trained.encoder = 1 -- no notice that it is untrained
    local p, n, total, rows = model:posterior(core.zeros(1, 1)), 2000, 0, {}
    for i = 1, n do rows[i] = { (i - 0.5) * 20 / n } end
    local values = p:log_prob(core.tensor { rows }):reshape(n):totable()
    for _, v in ipairs(values) do total = total + math.exp(v) * 20 / n end
    assert.near(1, total, 1e-3)
    assert.equal(-math.huge, p:log_prob { { -1 } }:item())
  end)

  it("give the posterior of a conjugate normal", function()
    -- a ~ N(1, 2^2), x ~ N(a, 1): a | x ~ N((1 / 4 + x) / (1 / 4 + 1), 1 / (1 / 4 + 1))
    local sim = line({ name = "a", prior = { "normal", 1, 2 } }, 1)
    local model = sv.model { simulator = sim, posterior = "flow", width = 16, seed = 1 }
    model:train { quiet = true, batch = 256, decoder = { steps = 50 },
      encoder = { steps = 400, labels = 1, lr = { peak = 4e-3, warmup = 20 } } }
    local p = model:posterior(core.tensor { { -2 }, { 1 }, { 4 } })
    for i, x in ipairs { -2, 1, 4 } do
      assert.near((0.25 + x) / 1.25, p:mean():get(i, 1), 0.12)
      assert.near(math.sqrt(0.8), p:std():get(i, 1), 0.09)
    end
  end)

  it("say where parameters are beyond what scores tell apart, and encode within it", function()
    local model = sv.model { simulator = line { name = "a", prior = { "normal", 1, 2 } }, seed = 1 }
    local said = helper.stderr_of(function() model:decode { { 30 } } end)
    assert.matches("has a = 30, prior normal(1, 2): ", said, 1, true)
    local z = model:encode(core.tensor { { 1e6 } }):item()
    assert.is_true(math.abs(z - 1) <= 2 * marginal.LIMIT)
  end)

  it("have posteriors of normal distributions of the score", function()
    local model = sv.model { simulator = line { name = "a", prior = { "lognormal", 0, 0.5 } }, posterior = "mixture",
      components = 2, seed = 3 }
    model.trained.encoder = 1
    local p, rows = model:posterior(core.zeros(1, 1)), {}
    for i = 1, 4000 do rows[i] = { (i - 0.5) / 100 } end
    local total = 0
    local values = p:log_prob(core.tensor { rows }):reshape(4000):totable()
    for _, v in ipairs(values) do total = total + math.exp(v) / 100 end
    assert.near(1, total, 1e-2)
    local mean, std, share = model:infer(core.zeros(1, 1))
    local codes = model.latent:to_code(mean:reshape(2, 1)):reshape(2):totable()
    local below = 0
    for k = 1, 2 do
      local s = std:get(1, k, 1) / (0.5 * mean:get(1, k, 1))
      below = below + share:get(1, k) * core.distribution.cdf("normal", (0.3 - codes[k]) / s)
    end
    local drawn = 0
    for _, v in ipairs(p:sample(4000, sv.rng(1)):reshape(4000):totable()) do
      drawn = drawn + (v <= math.exp(0.15) and 1 / 4000 or 0)
    end
    assert.near(below, drawn, 5 * 0.5 / math.sqrt(4000))
  end)

  it("are evaluated and drawn over a finite range", function()
    local sim = sv.simulator { name = "s", output = { 2 }, simulate = function(z) return { z.a, z.b } end,
      params = { { name = "a", prior = { "normal", 1, 2 } }, { name = "b", prior = { "gamma", 2, 1 } } } }
    local model = sv.model { simulator = sim, posterior = "flow", width = 8, seed = 1 }
    model.trained.encoder = 1
    local r = sv.evaluate(model, { samples = 60, bins = 5, interval = 0, chance = 0, calibration = 20 })
    assert.is_true(r.rmse_relative.a > 0 and r.rmse_relative.a < 1)
    assert.is_true(r.rmse_relative.b > 0 and r.rmse_relative.b < 1)
    local path = os.tmpname() .. ".png"
    local said = helper.stderr_of(function() assert(sv.figures.traversals(path, model)) end)
    assert.is_nil(said:find("beyond", 1, true))
    os.remove(path)
  end)

  it("are saved with them", function()
    local path = os.tmpname()
    local sim = line { name = "a", prior = { "gamma", 2, 0.5 }, high = 9 }
    local model = sv.model { simulator = sim, posterior = "flow", seed = 4 }
    model.trained.encoder = 1
    assert(model:save(path))
    local again = assert(sv.load(path))
    assert.same({ "gamma", 2, 0.5 }, { table.unpack(again.simulator.params[1].prior) })
    assert.equal(9, again.simulator.params[1].high)
    local x = core.ones(1, 1)
    assert.same(model:posterior(x):sample(5, sv.rng(1)):totable(), again:posterior(x):sample(5, sv.rng(1)):totable())
    assert.is_truthy(sv.load(path, sim))
    local _, why = sv.load(path, line { name = "a", prior = { "gamma", 2, 0.6 }, high = 9 })
    assert.matches("prior = \"gamma(2, 0.5)\", the simulator's \"gamma(2, 0.6)\"", why, 1, true)
    _, why = sv.load(path, line { name = "a", low = 0, high = 9 })
    assert.matches("prior", why, 1, true)
    os.remove(path)
  end)

  it("keep caches apart", function()
    local path = os.tmpname()
    os.remove(path)
    assert(sv.simulate(line { name = "a", prior = { "normal", 0, 1 } }, 4, sv.rng(1), { cache = path }))
    assert(sv.simulate(line { name = "a", prior = { "normal", 0, 1 } }, 4, sv.rng(1), { cache = path }))
    local z, why = sv.simulate(line { name = "a", prior = { "normal", 0, 2 } }, 4, sv.rng(1), { cache = path })
    assert.is_nil(z)
    assert.matches("prior of parameter 'a' was", why, 1, true)
    local data = assert(sv.dataset { path = path })
    assert.same({ "normal", 0, 1 }, { table.unpack(data.params[1].prior) })
    os.remove(path)
  end)
end)
