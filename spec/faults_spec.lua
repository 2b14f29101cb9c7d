local sv = require "simvae"
local core = require "simvae.core"
local cache = require "simvae.sampler.cache"
local own_time = require "simvae.sampler.own_time"
local prior = require "simvae.simulator.prior"
local helper = require "spec.helper"

local folder = helper.temporary_folder()

-- Faults by region of the prior: a raises, b is NaN, c hangs, d and e kill the worker.
local kinds = {
  { "raise", 0.05, "raised: .*too steep" },
  { "nan", 0.10, "not finite, at element 5 " },
  { "hang", 0.11, "took longer than 0.7 s" },
  { "signal", 0.115, "died by SIGKILL" },
  { "exit", 0.12, "ended %(exit code 3%)" },
}

local function kind_of(u)
  for _, kind in ipairs(kinds) do
    if u < kind[2] then return kind[1], kind[3] end
  end
end

local function faulty()
  return sv.simulator {
    name = "faulty", output = { 1, 4, 4 },
    params = { { name = "u", low = 0, high = 1 }, { name = "v, \"volts\"", low = 0, high = 5, unit = "V" } },
    simulate = function(z, out)
      local kind = kind_of(z.u)
      out:fill(z.u)
      if kind == "raise" then error("too steep,\nat " .. z.u) end
      if kind == "nan" then out:set(0 / 0, 1, 2, 1) end
      if kind == "hang" then core.system.sleep(60) end
      if kind == "signal" then os.execute("kill -KILL " .. core.system.pid()) end
      if kind == "exit" then os.exit(3) end
    end,
  }
end

-- Every failure that the first n samples of a seed meet: "sample:attempt" -> kind, and z; and how many.
local function expected_failures(sim, n, seed)
  local list, count = {}, 0
  for sample = 1, n do
    local attempt = 0
    while true do
      local u = prior.draw(sim, 1, seed, sample, attempt):get(1, 1)
      local kind, pattern = kind_of(u)
      if not kind then break end
      list[sample .. ":" .. attempt] = { kind = kind, pattern = pattern, u = u }
      count, attempt = count + 1, attempt + 1
    end
  end
  return list, count
end

local read = helper.read

-- Is the process gone? One that ended but that no one has waited for counts as gone. (ps does not get on with the
-- sanitizers' libraries.)
local function gone(pid)
  local state = helper.run("env -u LD_PRELOAD ps -o stat= -p " .. pid)
  return state:match "^%s*$" ~= nil or state:match "^%s*Z" ~= nil
end

local function eventually(condition, seconds)
  local stop = core.system.clock() + seconds
  while core.system.clock() < stop do
    if condition() then return true end
    core.system.sleep(0.02)
  end
  return false
end

describe("a simulator that raises, answers NaN, hangs and kills its worker", function()
  it("trains to the end, with every failure in failures.csv", function()
    local sim, out = faulty(), folder .. "/faulty"
    local model = sv.model { simulator = sim, posterior = "gaussian", net = "mlp", width = 8, seed = 5 }
    local steps = { steps = 20 }
    model:train { out = out, batch = 10, decoder = steps, encoder = steps, workers = 3, timeout = 0.7, quiet = true }
    assert.same({ decoder = 20, encoder = 20 }, model.trained)

    local expected, count = expected_failures(sim, 464, 5) -- 64 after the steps: the reference of surprise
    local seen = {}
    for _, f in pairs(expected) do seen[f.kind] = true end
    for _, kind in ipairs(kinds) do assert.is_true(seen[kind[1]], "the seed meets no " .. kind[1]) end

    local lines = read(out .. "/failures.csv"):gmatch "(.-)\n"
    assert.equal('sample,attempt,u,"v, ""volts""",reason,time,seed', lines())
    local logged = 0
    for line in lines do
      local sample, attempt, u, reason, time = line:match "^(%d+),(%d+),([%d.e-]+),[%d.e-]+,(.*),([^,]*),5$"
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", time)
      local f = expected[sample .. ":" .. attempt]
      assert.is_truthy(f, "not a failure: " .. line)
      assert.near(f.u, tonumber(u), 1e-7)
      assert.matches(f.pattern, reason)
      expected[sample .. ":" .. attempt] = nil
      logged = logged + 1
    end
    assert.is_nil(next(expected))
    assert.equal(count, logged)
  end)

  it("is replayed in this process", function()
    local path = folder .. "/mild.csv"
    local mild = sv.simulator {
      name = "mild", params = { { name = "u", low = 0, high = 1 } }, output = { 2 },
      simulate = function(z, out)
        if z.u < 0.1 then error 'no "go",\nsorry' end
        out[1] = z.u
      end,
    }
    local z, _, failed = sv.simulate(mild, 100, sv.rng(2), { failures = path })
    assert.is_true(failed > 0 and z:min():item() >= 0.1)
    local list = assert(sv.replay(mild, path, { quiet = true }))
    assert.equal(failed, #list)
    for _, r in ipairs(list) do
      assert.is_true(r.z[1] < 0.1)
      assert.matches('no "go", sorry', r.reason)
      assert.matches('no "go",\nsorry', r.now)
    end
    -- repaired
    mild.simulate = function(p, out) out[1] = p.u end
    list = assert(sv.replay(mild, path, { quiet = true, sample = list[1].sample }))
    assert.is_nil(list[1].now)
    assert.near(list[1].z[1], list[1].x:get(1, 1), 1e-7)
    local none, why = sv.replay(faulty(), path, { quiet = true })
    assert.is_nil(none)
    assert.matches("first line is not sample,attempt,u", why)
    assert.is_nil((sv.replay(mild, folder .. "/none.csv")))
  end)

  it("ends, with a table of reasons and of where it fails, when too many fail", function()
    local bad = sv.simulator {
      name = "bad", params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10, unit = "V" } },
      output = { 2 },
      simulate = function(z, out)
        if z.a > 0.2 then error("too steep at " .. z.a, 0) end
        if z.a < -0.8 then return { 1, 2, 3 } end
        out[1] = 1
      end,
    }
    for workers = 0, 2 do
      local ok, message = pcall(sv.simulate, bad, 500, sv.rng(1), { workers = workers })
      assert.is_false(ok)
      assert.matches("simulator 'bad': %d+ of %d+ samples failed %(%d+%%%); max_failures allows 20%%", message)
      assert.matches("times +reason", message)
      assert.matches("%d+ +raised: too steep at 0%.", message)
      assert.matches("%d+ +its result does not fit the output %(2,%)", message)
      assert.matches("a +%-0%.%d+ to 0%.%d+ +%-1 to 1\n", message)
      assert.matches("b +%d.* to %d.* V +0 to 10 V", message)
      assert.equal(2, select(2, message:gsub("too steep", ""))
        + select(2, message:gsub("does not fit", ""))) -- one line each, whatever the numbers
    end
    assert.has_no_error(function() sv.simulate(bad, 100, sv.rng(1), { max_failures = 0.8 }) end)
    local strict = pcall(sv.simulate, bad, 100, sv.rng(1), { max_failures = 0 })
    assert.is_false(strict)
    local hopeless = sv.simulator { name = "hopeless", params = { { name = "a", low = 0, high = 1 } }, output = { 1 },
      simulate = function() error "never" end }
    local ok, message = pcall(sv.simulate, hopeless, 3, sv.rng(1), { max_failures = 1 })
    assert.is_false(ok)
    assert.matches("sample 1 and the %d+ draws in place of it failed", message)
  end)

  it("is found among the samples of a simulator that runs many at once", function()
    local count = 0
    local many = sv.simulator {
      name = "many", params = { { name = "u", low = 0, high = 1 } }, output = { 2 },
      batch = function(z, x)
        local failures = {}
        for s, row in ipairs(z:totable()) do
          count = count + 1
          if row[1] < 0.05 then failures[s] = "did not converge" end
          if row[1] > 0.95 then error "crashed" end
          x:set(row[1] > 0.9 and row[1] < 0.92 and 1 / 0 or row[1], s, 2)
        end
        return failures
      end,
    }
    local z, x = sv.simulate(many, 200, sv.rng(1))
    local z2, x2 = sv.simulate(many, 200, sv.rng(1), { workers = 2 })
    assert.same(z:totable(), z2:totable())
    assert.same(x:totable(), x2:totable())
    assert.is_true(x:finite())
    assert.has_error(function() many:run(z * 0) end)
  end)
end)

describe("a worker that the machine kills or stops", function()
  local function slow(change)
    local t = {
      name = "slow", params = { { name = "u", low = 0, high = 1 } }, output = { 2 },
      simulate = function(z, out, rng)
        core.system.sleep(2e-3)
        out[1], out[2] = z.u, rng:uniform() + math.random()
      end,
    }
    for k, v in pairs(change or {}) do t[k] = v end
    if t.batch then t.simulate = nil end
    return sv.simulator(t)
  end

  local function signal(name, worker)
    return os.execute(string.format("kill -%s %d", name, worker.process:pid()))
  end

  -- The first n samples, with what is done before each batch; asserts that none failed.
  local function samples(sim, n, disturb, change)
    local t = { simulator = sim, batch = 10, seed = 4, workers = 2, total = n, max_failures = 0 }
    for k, v in pairs(change or {}) do t[k] = v end
    local sampler <close> = sv.sampler.new(t)
    local rows = {}
    while #rows < n do
      disturb(#rows // 10 + 1, sampler)
      local z, x = sampler:next()
      for s, row in ipairs(x:totable()) do rows[#rows + 1] = { z:get(s, 1), row[1], row[2] } end
    end
    assert.same({ 0, n }, { sampler:counts() })
    return rows
  end

  local function nothing() end

  it("is replaced, and no sample is lost, doubled, or another one", function()
    local expected = samples(slow(), 200, nothing, { workers = 0 })
    for _, name in ipairs { "KILL", "TERM" } do
      assert.same(expected, samples(slow(), 200, function(step, sampler)
        if step % 4 == 0 then signal(name, sampler.worker_pool.worker[step % 8 // 4 + 1]) end
      end))
    end
    local path = folder .. "/worker.bin"
    samples(slow(), 200, function(step, sampler)
      if step % 5 == 0 then signal("KILL", sampler.worker_pool.worker[step % 2 + 1]) end
    end, { cache = path })
    local opened = assert(cache.open(path, slow(), 4, false))
    table.sort(opened.order)
    assert.equal(200, #opened.order)
    for i = 1, 200 do assert.equal(i, opened.order[i]) end
    opened:close()
  end)

  it("is run again where a simulator runs many at once", function()
    local function many()
      return slow { batch = function(z, x, rngs)
        core.system.sleep(5e-3)
        for s, rng in ipairs(rngs) do x:set(z:get(s, 1) + rng:uniform(), s, 1) end
      end }
    end
    local expected = samples(many(), 100, nothing, { workers = 0 })
    assert.same(expected, samples(many(), 100, function(step, sampler)
      if step % 3 == 0 then signal("KILL", sampler.worker_pool.worker[1]) end
    end))
  end)

  it("and stays stopped is replaced, without a timeout too", function()
    local expected = samples(slow(), 60, nothing, { workers = 0 })
    assert.same(expected, samples(slow(), 60, function(step, sampler)
      if step == 3 then signal("STOP", sampler.worker_pool.worker[1]) end
    end))
  end)

  it("and goes on is not timed out", function()
    local expected = samples(slow(), 60, nothing, { workers = 0 })
    assert.same(expected, samples(slow(), 60, function(step, sampler)
      if step ~= 3 then return end
      local pid = sampler.worker_pool.worker[1].process:pid()
      os.execute(string.format("kill -STOP %d; (sleep 1; kill -CONT %d) &", pid, pid))
    end, { timeout = 0.3 }))
  end)

  it("for one sample again and again fails it, after three runs", function()
    local path = folder .. "/runs"
    local greedy = slow { simulate = function(z, out)
      if z.u < 0.1 then
        os.execute(string.format("echo %.9g >> %s; kill -KILL %d", z.u, path, core.system.pid()))
        core.system.sleep(60)
      end
      out[1] = z.u
    end }
    local _, _, failed = sv.simulate(greedy, 30, sv.rng(4), { workers = 2, failures = folder .. "/greedy.csv",
      max_failures = 0.9 })
    local runs, kinds_of = {}, 0
    for u in read(path):gmatch "[^\n]+" do
      if not runs[u] then kinds_of = kinds_of + 1 end
      runs[u] = (runs[u] or 0) + 1
    end
    assert.is_true(failed > 0)
    assert.equal(failed, kinds_of)
    for _, n in pairs(runs) do assert.equal(3, n) end
    assert.matches("died by SIGKILL, 3 times at this sample %(out of memory%?%)", read(folder .. "/greedy.csv"))
  end)

  it("is told from one that the simulator crashes or that computes for too long", function()
    local crash = slow { simulate = function(z, out)
      if z.u < 0.1 then os.execute("kill -ABRT " .. core.system.pid()) end -- sanitizers catch SIGSEGV
      if z.u > 0.9 then while true do math.sin(1) end end
      out[1] = z.u
    end }
    local path = folder .. "/crash.csv"
    local z = sv.simulate(crash, 20, sv.rng(4), { workers = 2, timeout = 0.2, failures = path, max_failures = 0.9 })
    assert.is_true(z:min():item() >= 0.1 and z:max():item() <= 0.9)
    local text = read(path)
    assert.matches("its worker died by SIGABRT", text)
    assert.matches("took longer than 0.2 s", text)
    assert.is_nil(text:find("times at this sample", 1, true))
  end)

  it("has a time of its own: computing and waiting count, being stopped or short of a processor do not", function()
    local state, cpu = "R", 0
    local process = { activity = function() return state, cpu end }
    local function passed(before, now, used, most)
      state = before
      local t = own_time.start(process)
      core.system.sleep(0.02)
      state, cpu = now, cpu + used
      own_time.observe(t, most or 10)
      return t.seconds, t.stopped
    end
    assert.equal(0, (passed("R", "R", 0)))       -- others have the processors
    assert.near(0.015, (passed("R", "R", 0.015)), 1e-9)
    assert.is_true(passed("S", "S", 0) >= 0.02)  -- sleeps
    assert.is_true(passed("R", "D", 0) >= 0.02)
    assert.equal(0.005, (passed("S", "S", 0, 0.005))) -- its owner was suspended
    assert.equal(0, (passed("T", "S", 0)))
    local seconds, stopped = passed("T", "T", 0)
    assert.equal(0, seconds)
    assert.is_true(stopped >= 0.02)
    assert.same({ 0, 0 }, { passed("t", "t", 0) }) -- a debugger's
    state, cpu = nil, nil
    local t = own_time.start(process)
    core.system.sleep(0.02)
    own_time.observe(t, 10)
    assert.is_true(t.seconds >= 0.02) -- a system that does not tell
    local worker <close> = core.process.fork(function() core.system.sleep(10) end)
    if core.system.kind "/proc/self/stat" then
      assert.is_true(eventually(function() return worker:activity() == "S" end, 5))
      worker:kill "STOP"
      assert.is_true(eventually(function() return worker:activity() == "T" end, 5))
      assert.is_true(select(2, worker:activity()) < 1)
    end
  end)
end)

-- ---- the owner killed -------------------------------------------------------------------------

local script = [[
local sv, core = require "simvae", require "simvae.core"
local slow = sv.simulator {
  name = "slow", params = { { name = "u", low = 0, high = 1 } }, output = { 1, 4, 4 },
  simulate = function(z, out)
    core.system.sleep(1e-3)
    if z.u < 0.05 then error "too small" end
    out:fill(z.u)
  end,
}
local model = sv.model { simulator = slow, posterior = "gaussian", net = "mlp", width = 8, seed = 6 }
local out = ...
model:train { out = out, cache = out .. ".bin", batch = 10, decoder = { steps = 30 }, encoder = { steps = 30 },
  workers = 2, quiet = true, on_step = function()
    if core.system.kind(out .. ".children") then return end
    local children = io.popen("env -u LD_PRELOAD ps -o pid= --ppid " .. core.system.pid()):read "a"
    local file = assert(io.open(out .. ".part", "w"))
    file:write(children)
    file:close()
    os.rename(out .. ".part", out .. ".children")
  end }
print(model.trained.decoder, model.trained.encoder)
]]

describe("a run", function()
  local path = folder .. "/train.lua"
  local file = assert(io.open(path, "w"))
  file:write(script)
  file:close()

  -- Starts the run; ends it by the signal once its cache has grown by so much; checks that no worker stays.
  local function start_and(signal, out, growth)
    os.remove(out .. ".children")
    local child = assert(core.process.spawn { "sh", "-c", "exec env " .. helper.lua_command(path, out) })
    local function size() return select(2, core.system.kind(out .. ".bin")) or 0 end
    local first = size()
    assert.is_true(eventually(function()
      return size() > first + growth and core.system.kind(out .. ".children") == "file"
    end, 20), "the run does not go on: " .. child:errors())
    local workers = read(out .. ".children")
    os.execute(string.format("kill -%s %d", signal, child:pid()))
    local kind, what = child:wait(10)
    assert.is_truthy(kind, what)
    local count = 0
    for pid in workers:gmatch "%d+" do
      count = count + 1
      assert.is_true(eventually(function() return gone(pid) end, 10), "worker " .. pid .. " stays")
    end
    assert.is_true(count >= 2)
    return kind, what, child:errors()
  end

  local function check_whole(out)
    local sim = sv.simulator { name = "slow", params = { { name = "u", low = 0, high = 1 } }, output = { 1, 4, 4 },
      simulate = function(z, o)
        if z.u < 0.05 then error "too small" end
        o:fill(z.u)
      end }
    local opened = assert(cache.open(out .. ".bin", sim, 6, false))
    assert.equal(600, #opened.log:scan(opened.from))
    assert.equal(600, opened.count)
    local z, x = sv.simulate(sim, 600, sv.rng(6))
    local a, b = core.zeros(1), core.zeros(1, 4, 4)
    for i = 1, 600 do
      opened:read(i, a, b)
      assert.equal(z:get(i, 1), a:get(1))
      assert.equal(x:get(i, 1, 4, 4), b:get(1, 4, 4))
    end
    opened:close()
    local again, rows = {}, 0
    for sample, attempt in read(out .. "/failures.csv"):gmatch "\n(%d+),(%d+)," do
      rows = rows + 1
      assert.is_nil(again[sample .. ":" .. attempt])
      again[sample .. ":" .. attempt] = true
    end
    assert.equal(select(3, sv.simulate(sim, 600, sv.rng(6))), rows)
  end

  it("killed by SIGKILL, and killed again, goes on from its cache without losing or doubling a sample", function()
    local out = folder .. "/killed"
    for _ = 1, 2 do
      local kind, what = start_and("KILL", out, 5000)
      assert.same({ "signal", "SIGKILL" }, { kind, what })
    end
    assert.matches("^30%s+30%s", (helper.run(helper.lua_command(path, out))))
    check_whole(out)
  end)

  it("stopped by Ctrl-C leaves no process, a whole cache and a checkpoint", function()
    local out = folder .. "/stopped"
    local kind, _, errors = start_and("INT", out, 5000)
    assert.equal("exit", kind)
    assert.matches("interrupted at %a+ step %d+; the same call goes on from there", errors)
    assert.equal("file", (core.system.kind(out .. "/checkpoint.safetensors")))
    assert.matches("^30%s+30%s", (helper.run(helper.lua_command(path, out))))
    check_whole(out)
  end)
end)
