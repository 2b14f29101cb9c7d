local sv = require "simvae"
local core = require "simvae.core"
local cache = require "simvae.sampler.cache"
local helper = require "spec.helper"

local function line(change)
  local t = {
    name = "line",
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10, unit = "V" } },
    output = { 3 },
    simulate = function(z, out)
      for i = 1, 3 do out[i] = z.a * i + z.b end
    end,
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return sv.simulator(t)
end

-- Fails on 5% of the prior in each of two ways.
local function flaky()
  return line { simulate = function(z, out)
    if z.a > 0.9 then error("too steep at " .. z.a, 0) end
    if z.a < -0.9 then out[2] = 0 / 0 end
    out[1] = z.a
  end }
end

-- The next n samples as rows { z…, x… }; of pictures the means of their rows.
local function rows_of(sampler, n)
  local rows = {}
  while #rows < n do
    local z, x = sampler:next()
    local outputs = (x.ndim == 4 and x:mean { 2, 4 } or x):totable()
    for s, row in ipairs(z:totable()) do
      table.move(outputs[s], 1, #outputs[s], #row + 1, row)
      rows[#rows + 1] = row
    end
  end
  return table.move(rows, 1, n, 1, {})
end

local function samples(sim, n, change)
  local t = { simulator = sim, batch = 20, seed = 3 }
  for k, v in pairs(change or {}) do t[k] = v end
  local sampler <close> = assert(sv.sampler.new(t))
  return rows_of(sampler, n), sampler:counts()
end

local raises = helper.raises

local folder = helper.temporary_folder()
local files = 0
local function new_path()
  files = files + 1
  return string.format("%s/%d", folder, files)
end

local read = helper.read

local write = helper.write

describe("a sampler", function()
  it("gives sample i of a seed for any number of workers and any batch", function()
    for _, sim in ipairs { line(), flaky(), (require "simvae.simulators.box") } do
      local expected = samples(sim, 150)
      for workers = 0, 3 do
        for _, batch in ipairs { 7, 64 } do
          assert.same(expected, (samples(sim, 150, { workers = workers, batch = batch })))
        end
      end
    end
  end)

  it("agrees with the simulator's own batch, and goes on from a state", function()
    local sim = line()
    local z, x = sim:simulate_batch(50, sv.rng(3))
    for _, workers in ipairs { 0, 2 } do
      local first <close> = sv.sampler.new { simulator = sim, batch = 10, seed = 3, workers = workers }
      rows_of(first, 20)
      local second <close> = sv.sampler.new { simulator = sim, batch = 15, seed = 3, workers = workers }
      rows_of(second, 15)
      second:restore(first:state())
      local again = rows_of(second, 30)
      for s = 1, 30 do
        assert.same({ z:get(s + 20, 1), z:get(s + 20, 2) }, { again[s][1], again[s][2] })
        assert.equal(x:get(s + 20, 3), again[s][5])
      end
    end
  end)

  it("shows what comes next without using it up", function()
    for _, workers in ipairs { 0, 2 } do
      local sampler <close> = sv.sampler.new { simulator = line(), batch = 8, seed = 3, workers = workers }
      rows_of(sampler, 8)
      local ahead = sampler:peek(50):totable()
      local rows = rows_of(sampler, 50)
      for s = 1, 50 do assert.same(ahead[s], { rows[s][1], rows[s][2] }) end
    end
  end)

  it("replaces a sample that fails by a draw from a stream of its own", function()
    local rows, failed = samples(flaky(), 200)
    local draws = line():sample(200, sv.rng(3)):totable()
    local replaced = 0
    for s, z in ipairs(draws) do
      if math.abs(z[1]) <= 0.9 then
        assert.same(z, { rows[s][1], rows[s][2] })
      else
        replaced = replaced + 1
        local fresh = sv.rng(3):at(s + (1 << 40)):uniform(-1, 1)
        if math.abs(fresh) <= 0.9 then assert.near(fresh, rows[s][1], 1e-6) end
        assert.is_true(math.abs(rows[s][1]) <= 0.9)
      end
    end
    assert.is_true(replaced > 5 and failed >= replaced)
  end)

  it("starts workers afresh after a number of samples", function()
    local sim = line { simulate = function(_, out) out[1] = core.system.pid() % 65536 end }
    local seen, pids = {}, 0
    for _, row in ipairs((samples(sim, 60, { workers = 1, restart_after = 10, batch = 10 }))) do
      if not seen[row[3]] then pids = pids + 1 end
      seen[row[3]] = true
    end
    assert.is_true(pids >= 5)
    assert.is_nil(seen[core.system.pid() % 65536])
  end)

  it("makes a number of samples once and then goes over them in epochs", function()
    local expected = samples(line(), 25)
    for _, workers in ipairs { 0, 2 } do
      local t = { simulator = line(), batch = 10, seed = 3, simulations = 25, workers = workers }
      local sampler <close> = sv.sampler.new(t)
      local rows = rows_of(sampler, 80)
      for s = 1, 25 do assert.same(expected[s], rows[s]) end
      for epoch = 1, 2 do
        local order, same = {}, 0
        for s = 1, 25 do
          order[s] = rows[25 * epoch + s]
          if order[s][1] == expected[s][1] then same = same + 1 end
        end
        assert.is_true(same < 15)
        table.sort(order, function(p, q) return p[1] < q[1] end)
        local all = table.move(expected, 1, 25, 1, {})
        table.sort(all, function(p, q) return p[1] < q[1] end)
        assert.same(all, order)
      end
      local single <close> = sv.sampler.new { simulator = line(), batch = 1, seed = 3, simulations = 25 }
      assert.same(rows, rows_of(single, 80)) -- batches that span epochs, and those that do not
      local other <close> = sv.sampler.new(t)
      other:restore { drawn = 40 }
      assert.same(table.move(rows, 41, 80, 1, {}), rows_of(other, 40))
      local failed, tried = other:counts()
      assert.same({ 0, 25 }, { failed, tried })
    end
  end)

  it("runs the simulator no more often than a training may", function()
    local path = new_path()
    local sim = sv.simulator { name = "counted", params = { { name = "a", low = 0, high = 1 } }, output = { 4 },
      simulate = function(z, out)
        local file <close> = assert(io.open(path, "a"))
        file:write(string.format("%.9g\n", z.a))
        for i = 1, 4 do out[i] = z.a * i end
      end }
    for _, case in ipairs { { 300 }, { 1400, 2 }, { 600, 2, new_path() } } do
      helper.write(path)
      sv.model({ simulator = sim, width = 4 }):train { simulations = case[1], workers = case[2], cache = case[3],
        decoder = { steps = 30 }, encoder = { steps = 30 }, quiet = true }
      local seen, runs = {}, 0
      for a in io.lines(path) do
        assert.is_nil(seen[a], a .. " is simulated twice")
        seen[a], runs = true, runs + 1
      end
      assert.equal(case[1], runs)
    end
  end)

  it("is what sv.simulate goes through", function()
    local rng = sv.rng(3)
    local z1, x1 = sv.simulate(flaky(), 30, rng)
    local z2, x2, failed = sv.simulate(flaky(), 90, rng, { workers = 2, failures = new_path() })
    local expected = samples(flaky(), 120)
    local z, x = z1:totable(), x1:totable()
    table.move(z2:totable(), 1, 90, 31, z)
    table.move(x2:totable(), 1, 90, 31, x)
    for s = 1, 120 do assert.same(expected[s], { z[s][1], z[s][2], x[s][1], x[s][2], x[s][3] }) end
    assert.is_true(failed > 0)
    assert.equal(0, sv.simulate(line(), 0, rng, { workers = 1 }).shape[1])
  end)

  it("names what is wrong with its options", function()
    local new = sv.sampler.new
    raises("unknown option 'worker'; did you mean 'workers'", new, { simulator = line(), worker = 2 })
    raises("timeout needs workers = 1 or more", new, { simulator = line(), timeout = 1 })
    raises("offline needs cache", new, { simulator = line(), offline = true })
    raises("simulations has no use with offline", new, { simulator = line(), offline = true, cache = "a",
      simulations = 5 })
    raises("simulations must be", new, { simulator = line(), simulations = 0 })
    raises("held_out needs offline = true", new, { simulator = line(), held_out = 0.1 })
    raises("must be made by sv.simulator", new, { simulator = {} })
    raises("takes a simulator", sv.simulate, {}, 3)
    raises("simulate: timeout needs workers", sv.simulate, line(), 3, sv.rng(1), { timeout = 1 })
    raises("max_failures must be from 0 to 1", new, { simulator = line(), max_failures = 3 })
  end)

  it("raises what a prior does wrong, from workers too", function()
    local sim = line { prior = function() return { 5, 5 } end }
    raises("the prior drew a = 5", samples, sim, 10)
    raises("the prior drew a = 5", samples, sim, 10, { workers = 2 })
  end)
end)

describe("a cache", function()
  local sim, runs
  before_each(function()
    runs = 0
    sim = line { simulate = function(z, out)
      runs = runs + 1
      if z.a > 0.9 then error "too steep" end
      for i = 1, 3 do out[i] = z.a * i + z.b end
    end }
  end)

  it("runs no sample twice", function()
    local path = new_path()
    local expected, failed = samples(sim, 100)
    local first = samples(sim, 60, { cache = path })
    runs = 0
    assert.same(expected, (samples(sim, 100, { cache = path, batch = 50 })))
    assert.is_true(runs < 40 + failed)
    runs = 0
    assert.same(expected, (samples(sim, 100, { cache = path, workers = 2 })))
    assert.equal(0, runs)
    assert.same(first, table.move(expected, 1, 60, 1, {}))
  end)

  it("is filled by workers, in whatever order they end", function()
    local path = new_path()
    local expected = samples(sim, 130)
    samples(sim, 100, { cache = path, workers = 3, total = 100 })
    local opened = assert(cache.open(path, sim, 3, false))
    assert.equal(100, opened.count)
    opened:close()
    assert.same(expected, (samples(sim, 130, { cache = path, batch = 13 })))
  end)

  it("drops a tail that was cut off or damaged, and passes over a damaged record", function()
    local path = new_path()
    local expected = samples(sim, 60, { cache = path })
    local whole = read(path)
    local each = 16 + 5 * (core.real == "double" and 8 or 4) + 4
    local cases = {
      { whole:sub(1, -each // 2), 59, "half a record" },
      { whole:sub(1, -2), 59, "a byte short" },
      { whole .. ("\0"):rep(each + 3), 60, "zeros after a power cut" },
      { whole:sub(1, -10) .. "x" .. whole:sub(-8), 59, "a damaged last record" },
      { whole:sub(1, -20 * each - 1) .. ("y"):rep(9) .. whole:sub(-20 * each + 9), 59, "damage in the middle" },
      { whole:sub(1, 20), 0, "half a header" },
      { "", 0, "nothing" },
    }
    for _, case in ipairs(cases) do
      write(path, case[1])
      local opened = assert(cache.open(path, sim, 3, true), case[3])
      assert.equal(case[2], opened.count, case[3])
      opened:close()
      assert.same(expected, (samples(sim, 60, { cache = path })), case[3])
      opened = assert(cache.open(path, sim, 3, true))
      assert.equal(60, opened.count, case[3])
      opened:close()
    end
  end)

  it("is refused, by name, for other samples", function()
    local path = new_path()
    samples(sim, 10, { cache = path })
    local function refused(pattern, change, other)
      local t = { simulator = other or sim, seed = 3, cache = path }
      for k, v in pairs(change or {}) do t[k] = v end
      local made, why = sv.sampler.new(t)
      assert.is_nil(made)
      assert.matches(pattern, why)
    end
    refused("the seed was 3 and is now 4", { seed = 4 })
    refused("the simulator was 'line' and is now 'other'", nil, line { name = "other" })
    refused("the output was %(3,%) and is now %(4,%)", nil, line { output = { 4 } })
    refused("high of parameter 'b' was 10 and is now 11", nil,
      line { params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 11 } } })
    refused("the parameters were a, b and are now a, c", nil,
      line { params = { { name = "a", low = -1, high = 1 }, { name = "c", low = 0, high = 10 } } })
    refused("a of sample 1 was .* and the prior draws 0.5 now", nil,
      line { prior = function() return { 0.5, 5 } end })
    local strange = new_path()
    write(strange, "step,loss\n1,2\n")
    refused("is not a cache of simvae", { cache = strange })
    assert.equal("step,loss\n1,2\n", read(strange))
    refused("directory", { cache = folder })
    refused("No such file", { cache = folder .. "/none/x" })
    local z, why = sv.simulate(sim, 3, sv.rng(4), { cache = path })
    assert.is_nil(z)
    assert.matches("the seed was 3 and is now 4", why)
  end)

  it("is the same again for bounds that no short decimal gives", function()
    local change = { params = { { name = "a", low = -1 / 3, high = 2 / 3 },
      { name = "b", low = 0.1, high = math.pi * 1e3 } } }
    local path = new_path()
    local first = samples(line(change), 6, { cache = path })
    assert.same(first, samples(line(change), 6, { cache = path }))
    local header = read(path):match "\n(.-)\n"
    local b = assert(require "dkjson".decode(header)).params[2]
    assert.equal(math.pi * 1e3, b.high) -- to the last bit
  end)

  it("written by an earlier version, with bounds of 14 digits, is taken", function()
    local change = { params = { { name = "a", low = -1 / 3, high = 2 / 3 }, { name = "b", low = 0, high = 10 } } }
    local path = new_path()
    local first = samples(line(change), 6, { cache = path })
    local text = read(path)
    local shorter = text:gsub("%-0%.33333333333333%d+", "-0.33333333333333"):gsub("0%.66666666666666%d+",
      "0.66666666666667")
    assert.not_equal(text, shorter)
    write(path, shorter)
    assert.same(first, samples(line(change), 6, { cache = path }))
  end)

  it("belongs to one sampler at a time", function()
    local path = new_path()
    local scope <close> = sv.sampler.new { simulator = sim, seed = 3, cache = path }
    local other, why = sv.sampler.new { simulator = sim, seed = 3, cache = path }
    assert.is_nil(other)
    assert.matches("in use by this process", why)
    local alone = helper.lua_command("-e", string.format(
      "print(select(2, require('simvae.core').io.open_sample_log(%q, 2, 3, true)))", path))
    assert.matches("in use by another process", (helper.run(alone)))
  end)

  it("is a data set of its own", function()
    local path = new_path()
    local rows = samples(sim, 100, { cache = path })
    runs = 0
    local function pass(change)
      local t = { simulator = sim, cache = path, offline = true, batch = 9, seed = 8, epochs = 1 }
      for k, v in pairs(change or {}) do t[k] = v end
      local sampler <close> = assert(sv.sampler.new(t))
      local got = {}
      for z in sampler.next, sampler do table.move(z:totable(), 1, z.shape[1], #got + 1, got) end
      return got
    end
    local function sorted(list)
      table.sort(list, function(p, q) return p[1] < q[1] end)
      return list
    end
    local all = {}
    for s, row in ipairs(rows) do all[s] = { row[1], row[2] } end

    assert.same(all, pass { shuffle = false })
    local once, twice = pass(), pass { epochs = 2 }
    assert.equal(200, #twice)
    assert.same(once, table.move(twice, 1, 100, 1, {}))
    assert.not_same(once, table.move(twice, 101, 200, 1, {}))
    assert.not_same(all, once)
    local held, kept = pass { held_out = 0.2, part = "held_out" }, pass { held_out = 0.2 }
    assert.is_true(#held >= 10 and #held <= 30) -- 20 expected, standard deviation 4
    assert.equal(100, #held + #kept)
    sorted(all)
    assert.same(all, sorted(once))
    assert.same(all, sorted(table.move(held, 1, #held, #kept + 1, kept)))
    assert.equal(0, runs)

    local first <close> = sv.sampler.new { simulator = sim, cache = path, offline = true, batch = 30, seed = 8 }
    rows_of(first, 150)
    local second <close> = sv.sampler.new { simulator = sim, cache = path, offline = true, batch = 30, seed = 8 }
    second:restore(first:state())
    assert.same(rows_of(first, 90), rows_of(second, 90))
  end)

  it("trains a model, beside the simulator or without it", function()
    local path = new_path()
    local function train(t)
      local model = sv.model { posterior = "gaussian", simulator = sim, net = "mlp", width = 8, seed = 3 }
      for k, v in pairs { cache = path, batch = 10, decoder = { steps = 6 }, encoder = { steps = 4 }, quiet = true } do
        t[k] = v
      end
      return model:train(t)
    end
    train { workers = 1 }
    assert.equal(0, runs)
    train {}
    assert.equal(0, runs) -- all of them are in the cache, those that the outputs are standardised by too
    local model = train { offline = true, held_out = 0.2 }
    assert.equal(0, runs)
    assert.same({ decoder = 6, encoder = 4 }, model.trained)
    raises("train: .*the seed was 3 and is now 9", train, { seed = 9 })
    raises("train: held_out needs offline", train, { held_out = 0.1 })
    raises("unknown option 'ofline'; did you mean 'offline'", train, { ofline = true })
  end)

  it("says when there is nothing to read", function()
    local made, why = sv.sampler.new { simulator = sim, cache = new_path(), offline = true }
    assert.is_nil(made)
    assert.matches("No such file", why)
    local path = new_path()
    samples(sim, 5, { cache = path, batch = 5 })
    made, why = sv.sampler.new { simulator = sim, cache = path, offline = true, held_out = 0, part = "held_out" }
    assert.is_nil(made)
    assert.matches("holds 5 samples, none of them held out", why)
  end)
end)

describe("a simulator in C, whose next batch threads draw beside other work", function()
  local box = require "simvae.simulators.box"
  local rlc = require "simvae.simulators.rlc" { engine = "analytic" }

  -- Other work for threads.
  local function work()
    local x = core.rng(1):uniform(0, 1, { 300, 300 })
    return core.sum(core.matmul(x, x)):item()
  end

  it("gives the samples of a single batch, whatever is called between batches", function()
    for _, sim in ipairs { box, rlc } do
      local function drawn()
        local rows = {}
        local sampler <close> = sv.sampler.new { simulator = sim, batch = 20, seed = 3 }
        local other <close> = sv.sampler.new { simulator = sim, batch = 7, seed = 4 } -- one of them is started
        local function take()
          local tape <close> = core.tape()
          other:next()
          work()
          local z, x = sampler:next()
          local n = z.shape[1]
          for _, row in ipairs(core.concat({ z, core.reshape(x, n, -1) }, 2):totable()) do rows[#rows + 1] = row end
        end
        for _ = 1, 3 do take() end
        sampler:peek(5)
        take()
        sampler.batch = 11
        take()
        local before = core.threads()
        core.threads(before == 1 and 2 or 1)
        take()
        core.threads(before)
        take()
        sampler:restore { drawn = 20 }
        for _ = 1, 2 do take() end
        return rows
      end
      local one, three = helper.by_threads(drawn)
      local all <close> = sv.sampler.new { simulator = sim, batch = 113, seed = 3 }
      local z, x = all:next()
      local whole = core.concat({ z, core.reshape(x, 113, -1) }, 2):totable()
      assert.equal(4 * 20 + 3 * 11 + 2 * 11, #one)
      for i = 1, 113 do assert.same(whole[i], one[i], i) end
      for i = 1, 22 do assert.same(whole[20 + i], one[113 + i], i) end
      assert.same(one, three)
    end
  end)

  it("belongs to the tape that takes it, and leaves nothing", function()
    core.threads(2)
    local before = core.memory().live
    local sampler = sv.sampler.new { simulator = box, batch = 16, seed = 1 }
    local z, x
    for _ = 1, 3 do
      local tape <close> = core.tape()
      z, x = sampler:next()
      assert.is_true(z.alive and x.alive)
    end
    assert.is_false(z.alive)
    assert.is_false(x.alive)
    z, x = sampler:next() -- without a tape: collected
    sampler:close()
    assert.same({ 16, 4 }, z.shape)
    assert.equal(before, core.memory().live)
    local all <close> = sv.sampler.new { simulator = box, batch = 64, seed = 1 }
    assert.same(core.slice(select(2, all:next()), 1, 49, 64):totable(), x:totable())
    local dropped = sv.sampler.new { simulator = box, batch = 16, seed = 1 }
    dropped:next()
    dropped = nil -- luacheck: ignore
    collectgarbage()
    core.threads(1)
    core.threads(2)
    assert.equal(before, core.memory().live)
  end)

  it("goes on in a process that was forked meanwhile", function()
    core.threads(2)
    local sampler <close> = sv.sampler.new { simulator = box, batch = 400, seed = 1 }
    sampler:next()
    local workers <close> = sv.sampler.new { simulator = box, batch = 8, seed = 5, workers = 1 }
    workers:next()
    local child <close> = core.process.fork(function(channel)
      local _, x = sampler:next()
      channel:send(string.pack("d", core.sum(x):item()))
    end)
    local _, x = sampler:next()
    assert.equal(core.sum(x):item(), (string.unpack("d", child:receive())))
  end)
end)
