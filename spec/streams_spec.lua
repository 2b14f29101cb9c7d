local helper = require "spec.helper"
local sv = require "simvae"
local core = require "simvae.core"
local streams = require "simvae.simulator.streams"

local raises = helper.raises
local folder = helper.temporary_folder()

-- Output: noise from rng, and from math.random by its name and by a reference taken early.
local random = math.random
local function noisy(change)
  local t = {
    name = "noisy", params = { { name = "a", low = 0, high = 1 } }, output = { 4 },
    simulate = function(z, out, rng)
      out[1], out[2], out[3], out[4] = z.a, rng:normal(), math.random(), random(1, 1000000)
    end,
  }
  for k, v in pairs(change or {}) do t[k] = v end
  if t.batch then t.simulate = nil end
  return sv.simulator(t)
end

local function rows_of(sim, n, options)
  local sampler <close> = assert(sv.sampler.new {
    simulator = sim, seed = 7, batch = options.batch or 64, workers = options.workers, cache = options.cache,
    max_failures = 0.9, restart_after = options.restart_after,
  })
  local rows = {}
  if options.from then sampler:restore { drawn = options.from } end
  while #rows < n do
    local z, x = sampler:next()
    for s, row in ipairs(x:totable()) do rows[#rows + 1] = table.move(row, 1, #row, 2, { z:get(s, 1) }) end
  end
  return table.move(rows, 1, n, 1, {})
end

local function distinct(rows, column)
  local seen, n = {}, 0
  for _, row in ipairs(rows) do
    if not seen[row[column]] then seen[row[column]], n = true, n + 1 end
  end
  return n
end

-- One that draws per row, and one that fails now and then by chance.
local variants = {
  simulate = function() return noisy() end,
  prior = function()
    return noisy { prior = function(rng) return { a = (math.random() + rng:uniform()) / 2 } end }
  end,
  failing = function()
    return noisy { simulate = function(z, out, rng)
      if rng:uniform() < 0.2 then error "by chance" end
      out[1], out[2] = z.a, math.random()
    end }
  end,
  batch = function()
    return noisy { batch = function(z, out, rngs)
      assert(#rngs == z:size(1))
      for s, rng in ipairs(rngs) do
        out:set(z:get(s, 1), s, 1)
        out:set(rng:normal() + rngs[s]:uniform(), s, 2)
      end
    end }
  end,
  ["batch with math.random"] = function()
    return noisy { batch = function(z, out)
      for s = 1, z:size(1) do out:set(math.random(), s, 3) end
    end }
  end,
}

describe("a sample's random numbers", function()
  for name, make in pairs(variants) do
    it("depend on its number and the seed alone: " .. name, function()
      local expected = rows_of(make(), 150, { workers = 0 })
      for workers = 0, 3 do
        for _, batch in ipairs { 7, 150 } do
          assert.same(expected, rows_of(make(), 150, { workers = workers, batch = batch }))
        end
      end
      assert.same(expected, rows_of(make(), 150, { workers = 2, restart_after = 10 }))
      assert.same(table.move(expected, 41, 150, 1, {}), rows_of(make(), 110, { workers = 1, from = 40 }))
      local cache = string.format("%s/%s", folder, name)
      rows_of(make(), 60, { workers = 2, cache = cache })
      assert.same(expected, rows_of(make(), 150, { workers = 0, cache = cache, batch = 15 }))
      local columns = 0
      for column = 1, #expected[1] do
        if distinct(expected, column) > 145 then columns = columns + 1 end
      end
      assert.is_true(columns >= 2, columns .. " columns of random numbers")
    end)
  end

  it("come from the stream that the documentation names", function()
    local z, x = sv.simulate(noisy(), 5, sv.rng(3))
    for s = 1, 5 do
      assert.near(sv.rng(3):at(s):uniform(), z:get(s, 1), 1e-6)
      assert.near(sv.rng(3):at(s + (1 << 62)):normal(), x:get(s, 2), 1e-6)
    end
    local alone = noisy():run(z, sv.rng(3))
    assert.same(x:totable(), alone:totable())
    local plain = noisy():run(z)
    assert.same(plain:totable(), noisy():run(z, sv.rng(0)):totable())
    assert.not_same(x:totable(), plain:totable())
    local rng = sv.rng(3)
    local first, second = noisy():run(z, rng):totable(), noisy():run(z, rng):totable()
    assert.same(x:totable(), first)
    assert.not_equal(first[1][2], second[1][2])
  end)

  it("have the moments of uniform and normal numbers, and no correlation from sample to sample", function()
    local _, x = sv.simulate(noisy(), 4000, sv.rng(1), { workers = 2 })
    local mean, var = x:mean(1):totable(), sv.var(x, 1):totable()
    assert.near(0, mean[2], 0.05)
    assert.near(1, var[2], 0.1)
    assert.near(0.5, mean[3], 0.015)
    assert.near(1 / 12, var[3], 0.004)
    local rows, product = x:totable(), 0
    for s = 2, 4000 do product = product + (rows[s][3] - 0.5) * (rows[s - 1][3] - 0.5) end
    assert.near(0, product / 3999 * 12, 0.05) -- standard deviation 0.016
  end)

  it("leave the caller's math.random as it was, also after errors", function()
    local function sequence(f)
      math.randomseed(42)
      local list = { math.random() }
      f()
      for i = 2, 5 do list[i] = math.random() end
      return list
    end
    local expected = sequence(function() end)
    for _, workers in ipairs { 0, 2 } do
      assert.same(expected, sequence(function() sv.simulate(noisy(), 10, sv.rng(1), { workers = workers }) end))
    end
    assert.same(expected, sequence(function() noisy():sample(3, sv.rng(1)) end))
    assert.same(expected, sequence(function() noisy():run { { 0.5 } } end))
    local bad = noisy { simulate = function() error(math.random()) end }
    assert.same(expected, sequence(function() pcall(bad.run, bad, { { 0.5 } }) end))
    local yields = noisy { simulate = function() coroutine.yield(math.random()) end }
    assert.same(expected, sequence(function()
      coroutine.wrap(function() pcall(yields.run, yields, { { 0.5 } }) end)()
    end))
    math.randomseed(1)
    local before = noisy():run { { 0.5 } }:totable()
    math.randomseed(2)
    assert.same(before, noisy():run { { 0.5 } }:totable())
  end)

  it("do not come from the clock where a simulator seeds by it", function()
    local seed = math.randomseed
    local clocked = noisy { simulate = function(_, out)
      math.randomseed(os.time())
      out[1] = math.random()
      math.randomseed()
      out[2] = math.random()
    end }
    local expected = rows_of(clocked, 60, { workers = 0 })
    assert.same(expected, rows_of(clocked, 60, { workers = 2 }))
    assert.equal(60, distinct(expected, 2))
    for _, row in ipairs(expected) do assert.equal(row[2], row[3]) end
    -- a seed of its own choice is its own
    local pattern = noisy { simulate = function(z, out)
      math.randomseed(math.floor(4 * z.a))
      out[1] = math.random()
    end }
    local x = pattern:run({ { 0.5 }, { 0.5 }, { 0.25 } }):totable()
    math.randomseed(2)
    assert.near(math.random(), x[1][1], 1e-6)
    assert.equal(x[1][1], x[2][1])
    assert.not_equal(x[1][1], x[3][1])
    assert.equal(seed, math.randomseed)
  end)

  it("are another sample's in a simulator that runs another one", function()
    local inner = noisy()
    local outer = noisy { simulate = function(z, out, rng)
      out[1] = inner:run({ { z.a } }):get(1, 2)
      out[2] = inner:run({ { z.a } }, rng):get(1, 2)
      out[3] = select(2, sv.simulate(inner, 1)):get(1, 2)
      out[4] = rng:uniform()
    end }
    local expected = rows_of(outer, 60, { workers = 0 })
    assert.same(expected, rows_of(outer, 60, { workers = 2, batch = 9 }))
    for column = 2, 5 do assert.equal(60, distinct(expected, column)) end
    local again = sv.simulate(noisy(), 1, sv.rng(1):at(1)):item()
    assert.not_equal(again, sv.simulate(noisy(), 1, sv.rng(1):at(2)):item())
  end)

  it("do not come from a generator that all samples of a process share", function()
    local shared = sv.rng(5)
    raises("made outside of the function that is run for one sample", sv.simulate,
      noisy { simulate = function(_, out) out[1] = shared:uniform() end }, 3, sv.rng(1))
    raises("made outside of the function that is run for one sample", sv.simulate,
      noisy { prior = function() return { shared:uniform() } end }, 3, sv.rng(1))
    local late
    raises("made outside of the function", sv.simulate, noisy { simulate = function(_, out)
      late = late or sv.rng(5)
      out[1] = late:uniform()
    end }, 3, sv.rng(1))
    local own = noisy { simulate = function(_, out, rng) out[1] = sv.rng(rng:integer(1, 1000)):uniform() end }
    assert.is_true(sv.simulate(own, 3, sv.rng(1)):finite())
    assert.is_true(shared:uniform() < 1) -- and it can be used again
  end)

  it("are those of the failure in a replay", function()
    local path = folder .. "/chance.csv"
    local sim = noisy { simulate = function(_, out, rng)
      local a, b = rng:uniform(), math.random()
      if a < 0.3 then error(string.format("%.9f and %.9f", a, b), 0) end
      out[1] = a
    end }
    local _, _, failed = sv.simulate(sim, 60, sv.rng(9), { workers = 2, failures = path, max_failures = 0.9 })
    assert.is_true(failed > 5)
    local list = assert(sv.replay(sim, path, { quiet = true }))
    assert.equal(failed, #list)
    for _, r in ipairs(list) do
      assert.equal(9, r.seed)
      assert.equal(r.reason, r.now)
    end
  end)

  it("are counted from streams that do not meet", function()
    assert.equal(3 + (2 << 40), streams.prior(3, 2))
    local rngs = streams.simulation(1, 4):list(2)
    assert.equal(sv.rng(1):at(5 + (1 << 62)):uniform(), rngs[2]:uniform())
    raises("there are generators 1 to 2", function() return rngs[0] end)
    raises("there are generators 1 to 2", function() return rngs.x end)
    assert.is_nil(core.sample_rng())
  end)
end)

describe("initial weights", function()
  local nn = sv.nn
  local function first(layer) return layer.own.weight:totable() end
  local function model(seed)
    return sv.model { seed = seed, width = 4, simulator = sv.simulator { name = "s", output = { 3 },
      params = { { name = "a", low = 0, high = 1 } }, simulate = function() end },
      net = function(t) return nn.linear(t.code, 3), nn.linear(3, t.heads) end }
  end

  it("of a model depend on its seed alone, those of a builder without rng too", function()
    local a = first(model(1).decoder)
    nn.linear(5, 5)
    assert.same(a, first(model(1).decoder))
    assert.not_same(a, first(model(2).decoder))
  end)

  it("come from the given stream within a function, errors included", function()
    local a = nn.with_rng(sv.rng(3), function() return first(nn.linear(2, 2)) end)
    assert.same(sv.rng(3):uniform(-1 / math.sqrt(2), 1 / math.sqrt(2), { 2, 2 }):totable(), a)
    assert.same(a, first(nn.linear(2, 2, { rng = sv.rng(3) })))
    local inner = sv.rng(4)
    assert.has_error(function() nn.with_rng(inner, error, "stop") end)
    local before = inner:state()
    nn.linear(2, 2)
    assert.same(before, inner:state())
  end)
end)
