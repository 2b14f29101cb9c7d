local helper = require "spec.helper"
local sv = require "simvae"
local uniformity = require "simvae.metrics.support.uniformity"

-- The truth is a draw of the same normal distribution as the samples of its posterior, times `width`.
local function normal(n, l, k, width, shift)
  local rng = sv.rng(2)
  local v = rng:normal(0, 1, { n, k })
  return rng:normal(0, 1, { n, l, k }) * width + (shift or 0), v
end

describe("the classifier two-sample test", function()
  local rng = sv.rng(5)
  local a, b = rng:normal(0, 1, { 1000, 2 }), rng:normal(0, 1, { 1000, 2 })

  it("has 0.5 for one distribution", function()
    local score, folds = sv.metrics.c2st(a, b, { folds = 3 })
    assert.near(0.5, score, 0.035)
    assert.equal(3, #folds)
    assert.equal(score, (sv.metrics.c2st(a, b, { folds = 3 })))
  end)

  it("comes near the best classifier's accuracy for shifted normal distributions, by its closed form", function()
    -- a shift of d standard deviations in all: the likelihood ratio is right with probability Phi(d / 2)
    assert.near(0.841, (sv.metrics.c2st(a, b + math.sqrt(2), { folds = 3 })), 0.03) -- d = 2
    assert.near(1, (sv.metrics.c2st(a, b + 10, { folds = 2 })), 1e-3)
  end)

  it("does not depend on the units of a column", function()
    local unit = sv.tensor { 1e-6, 1e6 }
    assert.near((sv.metrics.c2st(a, b + 1, { folds = 2, epochs = 5 })),
      (sv.metrics.c2st(a * unit, (b + 1) * unit, { folds = 2, epochs = 5 })), 0.01)
  end)

  it("says what it cannot compare", function()
    helper.raises("a has 2 columns, b has 1", sv.metrics.c2st, a, sv.ones(5))
    helper.raises("4 rows are too few for 5 folds", sv.metrics.c2st, a:slice(1, 1, 4), b)
    helper.raises("a is constant", sv.metrics.c2st, sv.ones(100, 1), rng:normal(0, 1, { 100, 1 }))
    helper.raises("not finite", sv.metrics.c2st, a, b * (0 / 0))
  end)
end)

describe("Kolmogorov's test", function()
  it("has the probabilities of scipy.stats.kstwo", function()
    for _, c in ipairs { { 0.05, 1000, 0.013091 }, { 0.03, 1000, 0.322478 }, { 0.1, 100, 0.251254 } } do
      assert.near(c[3], uniformity.p_value(c[1], c[2]), 0.02 * c[3] + 1e-3)
    end
    assert.near(0.25, uniformity.supremum { 0.25, 0.75 }, 1e-12) -- by hand
  end)
end)

describe("simulation-based calibration", function()
  it("finds uniform ranks where the posterior is right", function()
    local samples, v = normal(500, 99, 2, 1)
    local r = sv.metrics.sbc(samples, v, { names = { "a", "b" }, bins = 10 })
    for j = 1, 2 do
      assert.is_true(r[j].p > 0.01)
      assert.is_true(r[j].uniform)
      local total = 0
      for _, count in ipairs(r[j].histogram) do total = total + count end
      assert.equal(500, total)
    end
    assert.equal(r[1], r.a)
  end)

  it("sees posteriors that are too narrow, too wide or shifted", function()
    for _, case in ipairs { { 0.6 }, { 1.6 }, { 1, 0.4 } } do
      local samples, v = normal(500, 99, 1, case[1], case[2])
      local r = sv.metrics.sbc(samples, v)[1]
      assert.is_true(r.p < 1e-3)
      assert.is_false(r.uniform)
    end
    -- too narrow: the truth falls beyond the samples, ranks pile up at the ends
    local samples, v = normal(500, 99, 1, 0.5)
    local h = sv.metrics.sbc(samples, v, { bins = 5 })[1].histogram
    assert.is_true(h[1] > 2 * h[3] and h[5] > 2 * h[3])
  end)

  it("keeps its band's promise: about one uniform sample in twenty leaves it", function()
    local rng, out = sv.rng(11), 0
    for _ = 1, 100 do
      local v = rng:uniform(0, 1, { 200, 1 })
      local samples = rng:uniform(0, 1, { 200, 20, 1 })
      if not sv.metrics.sbc(samples, v)[1].uniform then out = out + 1 end
    end
    assert.is_true(out <= 14, out .. " of 100") -- 5 expected; more than 14 has a probability of 1e-4
  end)

  it("breaks ties by chance, and says what does not fit together", function()
    local r = sv.metrics.sbc(sv.ones(400, 9, 1), sv.ones(400, 1))[1]
    assert.is_true(r.uniform) -- all equal: every rank is as likely
    helper.raises("samples takes a tensor %(N, L, K%)", sv.metrics.sbc, sv.ones(3, 2), sv.ones(3, 2))
    helper.raises("of 3 simulations and 1 parameters, v of 2 and 1", sv.metrics.sbc, sv.ones(3, 2, 1), sv.ones(2, 1))
    helper.raises("samples are not finite at simulation 2", sv.metrics.sbc, sv.tensor { { { 1 } }, { { 0 / 0 } } },
      sv.ones(2, 1))
  end)
end)

describe("tests of accuracy with random points", function()
  it("have coverage alpha where the posterior is right, below it where it is overconfident", function()
    local samples, v = normal(500, 100, 3, 1)
    local right = sv.metrics.tarp(samples, v)
    assert.is_true(right.p > 0.01)
    assert.near(0, right.atc, 0.02)
    for i, alpha in ipairs(right.alpha) do assert.near(alpha, right.coverage[i], 0.08) end
    local narrow = sv.metrics.tarp((normal(500, 100, 3, 0.5)), v)
    assert.is_true(narrow.p < 1e-3)
    assert.is_true(narrow.atc < -0.03)
  end)

  it("agree with the Python package tarp", function()
    local python, why = helper.python("tarp", "numpy")
    if not python then return pending(why) end
    local folder = helper.temporary_folder()
    local samples, v = normal(400, 60, 2, 0.7)
    assert(sv.io.save_npy(folder .. "/s.npy", samples))
    assert(sv.io.save_npy(folder .. "/v.npy", v))
    local said = helper.run(python .. " -c " .. helper.quote(string.format([[
import numpy as np, tarp
s, v = np.load("%s/s.npy"), np.load("%s/v.npy")
ecp, alpha = tarp.get_tarp_coverage(np.swapaxes(s, 0, 1), v, seed=1, norm=True)
print(" ".join(str(np.interp(a, alpha, ecp)) for a in (0.2, 0.5, 0.8)))]], folder, folder)))
    local theirs = {}
    for number in said:gmatch "%d+%.%d+" do theirs[#theirs + 1] = tonumber(number) end
    assert.equal(3, #theirs, said)
    local ours = sv.metrics.tarp(samples, v, { points = 10 }).coverage
    for i, at in ipairs { 3, 6, 9 } do assert.near(theirs[i], ours[at], 0.08) end
  end)
end)

describe("an evaluation of a model's posterior", function()
  -- x = a + 0.4 e: the posterior of a is normal about x, truncated to the prior's bounds
  local sim = sv.simulator { name = "line", params = { { name = "a", low = -3, high = 3 } }, output = { 1 },
    noise = 0.4, simulate = function(z, out) out[1] = z.a end }
  local function model_of(width)
    return {
      simulator = sim, decode = function(_, z) return z end,
      encode = function(_, x) return x, sv.full(0.4, x.shape) end,
      posterior = function(_, x)
        return { sample = function(_, n, rng)
          local z = {}
          for i, row in ipairs(x:totable()) do
            z[i] = {}
            for s = 1, n do
              repeat z[i][s] = { row[1] + 0.4 * width * rng:normal() } until math.abs(z[i][s][1]) <= 3
            end
          end
          return sv.tensor(z)
        end }
      end,
    }
  end
  local options = { samples = 500, interval = 0, chance = 0 }

  it("finds one that is right calibrated, at the edges of the prior too", function()
    local c = sv.evaluate(model_of(1), options).calibration
    assert.same({ 500, 199 }, { c.samples, c.draws })
    assert.near(0.68, c.coverage.one, 0.065) -- three standard deviations of 500 samples
    assert.near(0.95, c.coverage.by.a.two, 0.03)
    assert.is_true(c.sbc.a.uniform)
    assert.near(0, c.tarp.atc, 0.03)
    assert.same({}, sv.evaluate(model_of(1), options).warnings)
  end)

  it("finds one of half the width too narrow, and says so in numbers and in the report", function()
    local model = model_of(0.5)
    local r = sv.evaluate(model, options)
    assert.near(0.38, r.calibration.coverage.one, 0.065) -- 2 Phi(1/2) - 1
    assert.is_false(r.calibration.sbc.a.uniform)
    local reported = require("simvae.metrics.calibration").reported
    assert.equal(r.calibration.coverage.one, reported.numbers(r).calibration.by.a.one)
    reported.cards(r, function(title, _, grade, text)
      assert.equal("Calibration poor", title .. " " .. grade)
      assert.matches("not uniform for a", text)
    end)
    assert.equal(1, #r.warnings)
    assert.matches("intervals do not hold %(too narrow%): of 'a' %d+%% of the truths in 68%% intervals", r.warnings[1])
    assert.matches("model:recalibrate", r.warnings[1], 1, true)
    local folder = helper.temporary_folder()
    assert(sv.report(folder, { model = model, results = r }))
    assert.matches('<p class="warning">The posterior&#39;s stated intervals do not hold', helper.read(folder
      .. "/report.html"), 1, true)
    if helper.have "gnuplot" then
      local c = r.calibration
      for _, name in ipairs { "ranks", "coverage" } do
        local path = folder .. "/" .. name .. ".png"
        assert.equal(path, sv.figures[name](path, c.sbc, c.draws, r.names))
        assert.is_true(assert(sv.io.load_png(path)):mean():item() < 0.99)
      end
      -- share within the central 68%: 2 Phi(0.497) - 1 of a posterior of half the width
      local at = tonumber(helper.read(folder .. "/coverage.dat"):match "# a\n.-\n0%.68 (%S+)")
      assert.near(c.coverage.one, at, 1e-6)
    end
    helper.raises("ranks: takes what metrics.sbc returned", sv.figures.ranks, "x.png", {}, 9)
    helper.raises("coverage: takes what metrics.sbc returned", sv.figures.coverage, "x.png", {}, 9)
    model.posterior = nil
    assert.is_nil(sv.evaluate(model, options).calibration)
  end)
end)
