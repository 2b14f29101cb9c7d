--- What training draws beyond the rows of a data set.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local helper = require "spec.helper"
local latent = require "simvae.model.latent"
local prior = require "simvae.simulator.prior"
local prior_draws = require "simvae.train.prior_draws"
local streams = require "simvae.util.streams"
local sv = require "simvae"

-- A data set of z (N, K), x = its sum.
local function data(z, options)
  local folder = helper.temporary_folder()
  assert(sv.io.save_npy(folder .. "/z.npy", z))
  assert(sv.io.save_npy(folder .. "/x.npy", core.sum(z, 2, true)))
  local t = { z = folder .. "/z.npy", x = folder .. "/x.npy" }
  for k, v in pairs(options or {}) do t[k] = v end
  return assert(sv.dataset(t))
end

local function columns(t)
  local result = {}
  for k = 1, t.shape[2] do result[k] = core.slice(t, 2, k, k):reshape(t.shape[1]):totable() end
  return result
end

-- Largest distance of two distribution functions.
local function distance(a, b)
  table.sort(a)
  table.sort(b)
  local largest, j = 0, 0
  for i, v in ipairs(a) do
    while j < #b and b[j + 1] <= v do j = j + 1 end
    largest = math.max(largest, math.abs(i / #a - j / #b))
  end
  return largest
end

local function correlation(t)
  local away = t - core.mean(t, 1)
  local c = core.mean(core.slice(away, 2, 1, 1) * core.slice(away, 2, 2, 2)):item()
  local v = core.mean(core.square(away), 1)
  return c / math.sqrt(v:get(1) * v:get(2))
end

local function set_of(t)
  local seen = {}
  for _, row in ipairs(t:totable()) do seen[table.concat(row, " ")] = true end
  return seen
end

describe("the prior of a data set beyond its rows", function()
  it("is that of independent parameters where the rows look so: uniform, with classes, and by declaration", function()
    local n = 400
    local z = core.concat({ sv.rng(1):uniform(2, 5, { n, 2 }), sv.rng(2):normal(3, 2, { n, 1 }) }, 2)
    for i = 1, n do z:set(1 + i % 3, i, 2) end
    local sim = data(z, { params = { { name = "a", low = 2, high = 5 }, { name = "c", levels = 3 },
      { name = "n", prior = { "normal", 3, 2 } } } })
    local made = sim.fresh()
    assert.is_nil(made.prior)
    assert.is_true(prior.known(sim))
    assert.near(-math.log(3) - math.log(3) - math.log(2) - 0.5 * math.log(2 * math.pi),
      sim:log_prior({ { 3, 1, 3 } }):item(), 1e-5)
    local rows, dreamt = set_of(z), prior_draws.new(latent.new(sim.params), sim, 1)
    local drawn = dreamt:dreams({ stage = "sleep", step = 1 }, 50)
    for row in pairs(set_of(drawn)) do assert.is_nil(rows[row]) end
    assert.is_true(rows[next(set_of(sim:sample(1, sv.rng(5))))] ~= nil) -- its own are the rows
  end)

  it("is about the rows where they are not: as far apart, as related, within the bounds", function()
    local n = 2000
    local a = sv.rng(1):normal(0, 1, { n, 1 })
    local z = core.concat({ a, a * 0.9 + sv.rng(2):normal(0, math.sqrt(0.19), { n, 1 }) }, 2)
    local sim = data(z)
    local made = sim.fresh()
    assert.is_truthy(made.prior)
    assert.is_false(prior.known(sim))
    local drawn = made:sample(n, sv.rng(3))
    for k, column in ipairs(columns(drawn)) do
      assert.is_true(distance(column, columns(z)[k]) < 0.06)
      assert.is_true(column[1] >= sim.params[k].low and column[n] <= sim.params[k].high)
    end
    assert.near(correlation(z), correlation(drawn), 0.03)
    local rows, same = set_of(z), 0
    for row in pairs(set_of(drawn)) do same = same + (rows[row] and 1 or 0) end
    assert.equal(0, same)
    local u = cube.draw(latent.new(sim.params), made, 100, streams.dreams(1))
    assert.is_true(u:within(0, 1))
  end)

  it("keeps the values of columns that have few, and goes the shorter way round a circle", function()
    local n = 600
    local z = core.zeros(n, 2)
    for i = 1, n do
      z:set(10 * (i % 4), i, 1)
      z:set((350 + 20 * ((i * 0.618) % 1)) % 360, i, 2)
    end
    local sim = data(z, { params = { { name = "a", low = 0, high = 30 }, { name = "d", period = 360 } } })
    for _, row in ipairs(sim.fresh():sample(300, sv.rng(1)):totable()) do
      assert.equal(0, row[1] % 10)
      assert.is_true(row[2] <= 15 or row[2] >= 345)
    end
  end)

  it("is the rows for a complete grid, and where it is asked for", function()
    local z = core.zeros(12, 2)
    for i = 0, 11 do
      z:set(i % 3, i + 1, 1)
      z:set(i // 3, i + 1, 2)
    end
    local sim = data(z)
    assert.equal(sim, sim.fresh())
    sim = data(sv.rng(1):uniform(0, 1, { 50, 2 }), { prior = "rows" })
    assert.equal(sim, sim.fresh())
    assert.is_nil(data(z, { prior = "independent" }).fresh().prior)
  end)

  it("may be given as of sv.simulator", function()
    local z = sv.rng(1):uniform(0, 1, { 50, 1 })
    local sim = data(z, { prior = function(rng) return { rng:uniform(0.4, 0.5) } end,
      params = { { name = "a", low = 0, high = 1 } } })
    assert.is_true(sim.fresh():sample(20, sv.rng(1)):within(0.4, 0.5))
    helper.raises("disagree in the mean of 'z1'", data, z, { prior = {
      draw = function(rng) return { z:get(1, 1) * 0 + rng:uniform(0.1, 0.3) } end,
      log_density = function(p) return p[1] > 0.1 and p[1] < 0.9 and 0 or -math.huge end } })
    helper.raises("dataset: prior is one of independent, fitted, rows", data, z, { prior = "row" })
    helper.raises("dataset: prior has an unknown field", data, z, { prior = { mean = 2 } })
  end)

  it("is what sleep decodes: a posterior of few rows has seen more parameters than those", function()
    local sim = data(sv.rng(1):uniform(0, 1, { 80, 1 }))
    local model = sv.model { simulator = sim, width = 8, posterior = "flow" }
    model:train { quiet = true, batch = 16, held_out = 0, decoder = { steps = 3 }, encoder = { steps = 3 } }
    assert.equal(3, model.trained.encoder)
  end)
end)
