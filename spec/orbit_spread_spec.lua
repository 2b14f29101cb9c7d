--- Spread along an orbit, against draws of the exact posterior: for the circuit all (R / s, L / s, C s) within the
-- bounds, uniform in ln s.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
local N, M = 20, 1000

-- Draws from share `from` to share `to` of each row's orbit.
local function draws(rows, from, to)
  local rng, all = core.rng(5), {}
  for i, row in ipairs(rows) do
    local low, high = -math.huge, math.huge
    for k, p in ipairs(rlc.params) do
      local down, up = math.log(p.low / row[k]), math.log(p.high / row[k])
      if p.name ~= "C" then down, up = -up, -down end
      low, high = math.max(low, down), math.min(high, up)
    end
    all[i] = {}
    for d = 1, M do
      local s = math.exp(low + (high - low) * rng:uniform(from, to))
      all[i][d] = { row[1] / s, row[2] / s, row[3] * s }
    end
  end
  return core.tensor(all)
end

describe("spread along an orbit", function()
  local v = rlc:sample(N, core.rng(4))
  local rows = v:totable()
  local function spread(samples) return sv.metrics.orbit_spread(samples, v, { simulator = rlc }) end

  it("is that of uniform numbers for draws of the exact posterior", function()
    local r = spread(draws(rows, 0, 1))
    assert.near(0.8687 / math.sqrt(M), r.kolmogorov, 0.008) -- the mean of Kolmogorov's distribution
    assert.is_true(r.pooled < 1.63 / math.sqrt(N * M)) -- exceeded by 1%
    assert.equal(N, #r.each)
  end)

  it("is the share that draws leave out", function()
    assert.near(0.5, spread(draws(rows, 0, 0.5)).kolmogorov, 0.02)
    assert.near(0.25, spread(draws(rows, 0.25, 1)).kolmogorov, 0.02)
    assert.is_true(spread(core.expand(core.reshape(v, N, 1, 3), N, M, 3)).kolmogorov > 0.5)
  end)

  it("is not known without a continuous family, or with a prior that is not uniform", function()
    local box = require "simvae.simulators.box"
    assert.is_nil(sv.metrics.orbit_spread(core.zeros(2, 3, 4), core.zeros(2, 4), { simulator = box }))
    local function sum(prior)
      return sv.simulator { name = "sum", output = { 1 }, simulate = function(z, out) out[1] = z.a + z.b end,
        params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } }, prior = prior,
        symmetry = { { name = "shift", free = { low = -math.huge, high = math.huge },
          map = function(z, s) return { a = z.a + s, b = z.b - s } end } } }
    end
    local samples, truth = core.full(0.5, { 2, 10, 2 }), core.full(0.5, { 2, 2 })
    assert.near(0.5, sv.metrics.orbit_spread(samples, truth, { simulator = sum() }).kolmogorov, 1e-5)
    local skewed = sum(function(rng) return { a = rng:uniform() ^ 2, b = rng:uniform() } end)
    assert.is_nil(sv.metrics.orbit_spread(samples, truth, { simulator = skewed }))
    helper.raises("samples takes a tensor", function()
      sv.metrics.orbit_spread(1, truth, { simulator = sum() })
    end)
  end)
end)
