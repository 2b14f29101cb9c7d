--- Local tests, predictive checks, parameters that cannot be told apart, and evaluation under a declared symmetry, on
-- simulators with known posteriors.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

-- x = z + e, both standard normal: the posterior of z is normal about x / 2, with variance 1 / 2.
local function conjugate(N, K, wrong)
  local rng = sv.rng(2)
  local z, e = rng:normal(0, 1, { N, K }), rng:normal(0, 1, { N, K })
  local x = z + e
  local function posterior(at) return wrong(at, at / 2, rng:normal(0, 1, at.shape) * math.sqrt(0.5)) end
  return z, x, posterior
end

local function p_at(point, wrong)
  local z, x, posterior = conjugate(1500, 2, wrong)
  local observation = core.tensor { { point, point } }
  return (sv.metrics.lc2st(z, posterior(x), x, posterior(core.expand(observation, 500, 2)), observation,
    { permutations = 100 }))
end

describe("the local classifier two-sample test", function()
  it("passes exact conjugate posteriors", function()
    for _, point in ipairs { 0, 1, -2 } do
      assert.is_true(p_at(point, function(_, mean, away) return mean + away end) > 0.05)
    end
  end)

  it("rejects shifted, too narrow and too wide ones", function()
    assert.is_true(p_at(0.5, function(_, mean, away) return mean + 0.3 + away end) < 0.02)
    assert.is_true(p_at(0.5, function(_, mean, away) return mean + away * 0.6 end) < 0.02)
    assert.is_true(p_at(0.5, function(_, mean, away) return mean + away * 1.5 end) < 0.02)
  end)

  it("tells where a posterior is wrong", function()
    local function wrong(at, mean, away) return mean + core.clamp(at, 0, 10) * 0.6 + away end -- above 0 alone
    assert.is_true(p_at(1.5, wrong) < 0.02)
    assert.is_true(p_at(-1.5, wrong) > p_at(1.5, wrong))
  end)

  it("says what does not fit together", function()
    local z, x = core.ones(20, 2), core.ones(20, 3)
    raises("observation takes one row of x, 3 numbers", sv.metrics.lc2st, z, z, x, z, { 1 })
    raises("z has 20 samples, samples has 19", sv.metrics.lc2st, z, z:slice(1, 1, 19), x, z, { 1, 1, 1 })
    raises("x has 19 rows, z has 20", sv.metrics.lc2st, z, z, x:slice(1, 1, 19), z, { 1, 1, 1 })
    raises("not finite", sv.metrics.lc2st, z, z * (0 / 0), x, z, { 1, 1, 1 })
    raises("unknown option 'permutation'", sv.metrics.lc2st, z, z, x, z, { 1, 1, 1 }, { permutation = 3 })
  end)
end)

-- x = (a, a, …) + noise, and a model whose posterior is normal about the mean of x, with `width` and a `shift`.
local line = sv.simulator { name = "line", params = { { name = "a", low = -10, high = 10 } }, output = { 8 },
  noise = 0.5, simulate = function(z, out)
    for i = 1, 8 do out[i] = z.a end
  end }

local function line_model(shift)
  local std = 0.5 / math.sqrt(8)
  return {
    simulator = line, decode = function(_, z) return line:run(z) end,
    encode = function(_, x) return core.mean(x, 2, true) + shift, core.full(std, { x.shape[1], 1 }) end,
    posterior = function(_, x)
      return { sample = function(_, n, rng)
        local mean = core.reshape(core.mean(x, 2), x.shape[1], 1, 1) + shift
        return core.clamp(mean + rng:normal(0, std, { x.shape[1], n, 1 }), -10, 10)
      end }
    end,
  }
end

describe("the posterior predictive check", function()
  local _, x = sv.simulate(line, 60, sv.rng(3))

  it("passes where the posterior is right", function()
    local p, replicated = sv.metrics.predictive_check(line_model(0), x)
    assert.same({ 60 }, p.shape)
    assert.same({ 200, 8 }, replicated[1].shape)
    local low = 0
    for _, v in ipairs(p:totable()) do low = low + (v < 0.05 and 1 or 0) end
    assert.is_true(low <= 6) -- at most 3 expected
    assert.near(core.mean(x[1]):item(), core.mean(replicated[1]):item(), 0.15)
  end)

  it("finds outputs that draws do not reproduce, by a discrepancy of the user's too", function()
    local p = sv.metrics.predictive_check(line_model(1.5), x:slice(1, 1, 10))
    assert.is_true(core.sort(p, 1):get(9) < 0.05) -- an output at the bound may pass
    local odd = x[1]:clone()
    odd:set(odd:get(4) + 5, 4)
    p = sv.metrics.predictive_check(line_model(0.3), odd, { discrepancy = function(y)
      return core.max(y):item() - core.min(y):item()
    end })
    assert.is_true(p:item() < 0.05)
  end)

  it("is drawn, and names bad input", function()
    local model = line_model(0)
    local some = x:slice(1, 1, 3)
    local p, replicated = sv.metrics.predictive_check(model, some, { draws = 20 })
    local folder = helper.temporary_folder()
    if helper.have "gnuplot" then
      assert(sv.figures.predictive(folder .. "/p.png", some, replicated, { p = p }))
    end
    local pictures, again = core.ones(2, 1, 8, 8), {}
    for i = 1, 2 do again[i] = core.ones(5, 1, 8, 8) * 0.5 end
    assert(sv.figures.predictive(folder .. "/i.png", pictures, again))
    -- two series over an axis from 10 to 1000, in its logarithm: element 2 of 3 lies at 100
    local series = { { name = "gain", unit = "dB" }, { name = "phase" }, axis = { name = "frequency", low = 10,
      high = 1000, scale = "log" } }
    local six = core.reshape(core.tensor { 1, 2, 3, 4, 5, 6 }, 1, 6)
    local path = folder .. "/series.png"
    assert.equal(path, sv.figures.predictive(path, six, { core.concat({ six - 1, six + 1 }, 1) }, { series = series }))
    local data = helper.read(folder .. "/series.dat")
    assert.matches("\n\n\n10 1\n100 2\n1000 3\n\n\n", data, 1, true)
    assert.matches("\n\n\n10 4\n100 5\n1000 6\n", data, 1, true)
    assert.matches("10 3 5\n100 4 6\n1000 5 7\n", data, 1, true)
    raises("predictive: 4 series do not make up 6 numbers", sv.figures.predictive, path, six, { six },
      { series = { {}, {}, {}, {} } })
    raises("takes a model with :posterior first", sv.metrics.predictive_check, {}, x)
    raises("draws must be from 10", sv.metrics.predictive_check, model, x, { draws = 1 })
    raises("predictive_check: takes %(N, 8%)", sv.metrics.predictive_check, model, core.ones(2, 3))
    raises("discrepancy returns a number", sv.metrics.predictive_check, model, some,
      { discrepancy = function() return "no" end })
    raises("replicated%[2%] takes outputs of the shape of x", sv.figures.predictive, "x.png", pictures, { again[1] })
  end)

  it("is a card of the report and a warning of an evaluation", function()
    local options = { samples = 800, interval = 0, chance = 0 }
    assert.same({}, sv.evaluate(line_model(0), options).warnings)
    local r = sv.evaluate(line_model(1.5), options)
    assert.is_true(r.predictive.low > 0.9)
    assert.matches("Draws of the posterior do not reproduce their outputs: in %d of 8", r.warnings[2])
  end)
end)

-- An evaluation of a model that knows nothing: estimates are draws of the prior.
local function evaluated(t)
  t.name = "s"
  local sim = sv.simulator(t)
  local rng = sv.rng(1)
  return sv.evaluate({ simulator = sim, decode = function(_, z) return sim:run(z) end,
    encode = function(_, x) return sim:sample(x.shape[1], rng), core.ones(x.shape[1], #sim.params) end },
    { samples = 400, interval = 0, chance = 0 })
end

local function bump(t, x, r) return math.exp(-0.5 * ((t - x) / r) ^ 2) end

describe("parameters that cannot be told apart", function()
  it("are two figures of a picture: an exchange of all that belongs to them", function()
    local r = evaluated { output = { 16 }, params = { { name = "x1", low = 0, high = 1 },
      { name = "r1", low = 0.05, high = 0.15 }, { name = "x2", low = 0, high = 1 },
      { name = "r2", low = 0.05, high = 0.15 } }, simulate = function(z, out)
        for i = 1, 16 do out[i] = bump(i / 16, z.x1, z.r1) + bump(i / 16, z.x2, z.r2) end
      end }
    assert.equal(1, #r.notes)
    assert.matches("the output stays the same where 'x1' and 'x2', 'r1' and 'r2' are exchanged", r.notes[1], 1, true)
    local map = r.notes[1]:match "map = (function.- end) }"
    assert.same({ x1 = 3, x2 = 1, r1 = 4, r2 = 2 }, load("return " .. map)() { x1 = 1, r1 = 2, x2 = 3, r2 = 4 })
  end)

  -- ratio: between the largest and the smallest resistor.
  local function sallen_key(ratio)
    local params = {}
    for i, name in ipairs { "R1", "R2", "C1", "C2" } do
      local low = i <= 2 and 1e3 or 1e-9
      params[i] = { name = name, low = low, high = (i <= 2 and ratio or 100) * low, scale = "log" }
    end
    return { name = "filter", output = { 20 }, params = params, simulate = function(z, out)
      for i = 1, 20 do
        local w = 2 * math.pi * 10 ^ (1 + 5 * (i - 1) / 19)
        local re, im = 1 - w * w * z.R1 * z.R2 * z.C1 * z.C2, w * z.C2 * (z.R1 + z.R2)
        out[i] = -10 * math.log(re * re + im * im, 10)
      end
    end }
  end

  it("are the parts of a Sallen-Key filter: a common factor, and two resistors", function()
    local r = evaluated(sallen_key(100))
    assert.equal(2, #r.notes)
    assert.matches("'R1' and 'R2' are exchanged", r.notes[1], 1, true)
    assert.matches("where R1, R2 are multiplied and C1, C2 divided by one factor", r.notes[2], 1, true)
    local map = r.notes[2]:match "map = (function.- end) }"
    assert.same({ R1 = 2, R2 = 4, C1 = 2, C2 = 4 }, load("return " .. map)()({ R1 = 1, R2 = 2, C1 = 4, C2 = 8 }, 2))
  end)

  it("are the same where draws of the posterior vary most along the difference of the resistors", function()
    local sim, rng = sv.simulator(sallen_key(1000)), sv.rng(2)
    local z, mean, draws = sim:sample(40, rng):totable(), {}, {}
    for n, row in ipairs(z) do -- exact draws: all that gives the same R1 R2 C1 C2 and C2 (R1 + R2), within the bounds
      local product, sum = row[1] * row[2] * row[3] * row[4], row[4] * (row[1] + row[2])
      draws[n] = {}
      while #draws[n] < 20 do
        local a, b = 1e3 * 1000 ^ rng:uniform(), 1e3 * 1000 ^ rng:uniform()
        local d = sum / (a + b)
        local c = product / (a * b * d)
        if math.min(c, d) >= 1e-9 and math.max(c, d) <= 1e-7 then table.insert(draws[n], { a, b, c, d }) end
      end
      mean[n] = draws[n][1]
    end
    local found = require("simvae.metrics.ambiguity").search({ sim = sim, params = sim.params, z = z, mean = mean },
      { true, true, true, true }, draws)
    assert.same({ { { 1, 2 } } }, found.exchange)
    assert.same({ up = { "R1", "R2" }, down = { "C1", "C2" } }, found.factors)
  end)

  it("are angles of figures that look alike after a part of a turn", function()
    local r = evaluated { output = { 2 }, params = { { name = "a", low = 0, high = 360, period = 360, unit = "deg" } },
      simulate = function(z, out) out[1], out[2] = math.cos(math.rad(3 * z.a)), math.sin(math.rad(3 * z.a)) end }
    assert.same({ a = 3 }, r.ambiguity.turns)
    assert.matches("where 'a' is turned by 120 deg", r.notes[1], 1, true)
    r = evaluated { output = { 1 }, params = { { name = "a", low = 0, high = 360, period = 360 } },
      simulate = function(z, out) out[1] = math.cos(math.rad(z.a)) end }
    assert.matches("where 'a' is reflected", r.notes[1], 1, true)
  end)

  it("are those of which a flow keeps the prior's spread, in words #long", function()
    local sim = sv.simulator { name = "sum", output = { 1 }, noise = 0.02,
      params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 2 },
        { name = "c", low = 0, high = 1 } },
      simulate = function(z, out) out[1] = z.a + z.b * z.b end }
    local model = sv.model { simulator = sim, posterior = "flow", transforms = 2, width = 32 }
    model:train { quiet = true, decoder = { steps = 200, lr = 3e-3 }, encoder = { steps = 250, lr = 2e-3 } }
    local r = sv.evaluate(model, { samples = 400, calibration = 100, interval = 0, chance = 0 })
    assert.near(1, r.ambiguity.spread.c, 0.1) -- the output does not depend on it
    assert.is_true(r.ambiguity.spread.b < 0.6)
    assert.matches("no output depends on 'c', or hardly.", r.notes[#r.notes - 1], 1, true)
    assert.matches("the posterior of 'a' %(%d+%%%).* keeps much of the prior's spread", r.notes[#r.notes])
  end)

  it("are none where all is known, or a symmetry is declared", function()
    local sim = sv.simulator { name = "both", output = { 2 }, params = { { name = "a", low = 0, high = 1 },
      { name = "b", low = 0, high = 1 } }, simulate = function(z, out) out[1], out[2] = z.a, z.b end }
    local r = sv.evaluate({ simulator = sim, decode = function(_, z) return z end,
      encode = function(_, x) return x, core.ones(x.shape) end }, { samples = 400, interval = 0, chance = 0 })
    assert.same({}, r.ambiguity.notes)
  end)
end)

describe("an evaluation under a declared symmetry", function()
  local sim = sv.simulator { name = "two", output = { 2 }, params = { { name = "a", low = 0, high = 1 },
    { name = "b", low = 0, high = 1 } },
    symmetry = { { name = "exchange", map = function(z) return { a = z.b, b = z.a } end } },
    simulate = function(z, out) out[1], out[2] = z.a + z.b, z.a * z.b end }

  it("compares estimates with the nearest equivalent", function()
    local rng = sv.rng(2)
    local r = sv.evaluate({ simulator = sim, decode = function(_, z) return sim:run(z) end, encode = function(_, x)
      local z = {}
      for i, row in ipairs(x:totable()) do -- the roots of t² - s t + p, in random order, with an error of 0.01
        local root = math.sqrt(math.max(row[1] ^ 2 / 4 - row[2], 0))
        local sign = rng:uniform() < 0.5 and 1 or -1
        z[i] = { row[1] / 2 + sign * root + rng:normal(0, 0.01), row[1] / 2 - sign * root + rng:normal(0, 0.01) }
      end
      return core.tensor(z), core.full(0.01, { #z, 2 })
    end }, { samples = 1000, interval = 0, chance = 0 })
    assert.near(0.01, r.rmse.a, 0.001)
    assert.near(0.01, r.rmse_relative.b, 0.001)
    assert.is_true(r.rmse_unaligned.a > 0.2)
    assert.near(0.683, r.coverage.one, 0.04)
    assert.is_nil(r.ambiguity)
    assert.near(r.rmse.a, core.sqrt(core.mean(core.square(r.nearest - r.mean))):item(), 1e-3)
  end)
end)
