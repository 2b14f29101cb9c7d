-- Shards of a data set: whoever draws them and whatever is killed, they merge to what one process writes.
local helper = require "spec.helper"
local assert = require "luassert"
local core = require "simvae.core"
local files = require "simvae.sampler.shards.files"
local json = require "simvae.io.json"
local npz = require "simvae.io.npz"
local sv = require "simvae"
local zip = require "simvae.io.zip"

local read, write = helper.read, helper.write

-- Fails in a tenth of the prior; its measurement has noise.
local function line(change)
  local t = {
    name = "line", output = { 3 }, noise = 0.1,
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10, unit = "V" } },
    simulate = function(z, out, rng)
      if z.a > 0.8 then return false, "too steep" end
      for i = 1, 3 do out[i] = z.a * i + z.b * rng:normal() end
    end,
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return sv.simulator(t)
end

local sim = line()
local N = 500

local top = helper.temporary_folder()
local count = 0
local function new_folder()
  count = count + 1
  return top .. "/" .. count
end

local function draw(folder, change)
  local t = { simulator = sim, total = N, of = 4, out = folder }
  for k, v in pairs(change or {}) do t[k] = v end
  return sv.shards.draw(t)
end

local function draw_all(folder, change)
  for shard = 1, 4 do
    local t = { shard = shard }
    for k, v in pairs(change or {}) do t[k] = v end
    assert(draw(folder, t))
  end
  return folder
end

-- What one process writes: a .npz file, and a sample cache.
local whole_npz, whole_samples = top .. "/whole.npz", top .. "/whole.samples"
do
  local z, x = sv.simulate(sim, N, sv.rng(1))
  assert(sv.io.save_npz(whole_npz, { z = z, x = x }))
  sv.simulate(sim, N, sv.rng(1), { cache = whole_samples })
end

-- Asserts that a folder's shards are the whole; the report of merging.
local function is_whole(folder)
  assert(sv.shards.merge(folder, top .. "/merged.samples"))
  assert.equal(read(whole_samples), read(top .. "/merged.samples"))
  local r = assert(sv.shards.merge(folder, top .. "/merged.npz", { simulator = sim }))
  assert.equal(read(whole_npz), read(top .. "/merged.npz"))
  return r
end

-- The logs of a folder, or of one shard.
local function logs(folder, shard)
  local list = {}
  for _, one in ipairs(assert(files.list(folder))) do
    if not shard or one.shard == shard then list[#list + 1] = one.log end
  end
  return list
end

local function refused(pattern, value, why)
  assert.is_nil(value)
  assert.matches(pattern, why, 1, true)
end

describe("shards", function()
  it("divide the samples into consecutive parts", function()
    for _, case in ipairs { { 500, 4 }, { 7, 3 }, { 5, 5 }, { 1, 1 }, { 1000003, 64 } } do
      local total, of = table.unpack(case)
      local after, least, most = 0, math.huge, 0
      for shard = 1, of do
        local first, last = files.range(total, shard, of)
        assert.equal(after + 1, first)
        after, least, most = last, math.min(least, last - first + 1), math.max(most, last - first + 1)
      end
      assert.equal(total, after)
      assert.is_true(most - least <= 1)
    end
  end)

  it("merge to the files of one process, byte for byte, for any number of workers", function()
    for workers = 0, 2 do
      local folder = draw_all(new_folder(), { workers = workers })
      local r = is_whole(folder)
      assert.equal(N, r.samples)
      assert.equal(0, r.doubles + r.damaged)
      local s = assert(sv.shards.status(folder))
      assert.equal(r.replaced, s.failed)
      assert.same({ done = 4 }, s.states)
      assert.equal(N, s.done)
    end
    local folder = new_folder()
    assert(draw(folder, { of = 1 }))
    is_whole(folder)
  end)

  it("are drawn once: what is there is not drawn again", function()
    local folder = new_folder()
    assert.equal(125, (draw(folder)))
    assert.same({ 0, 0 }, { draw(folder) })
    assert.equal(1, #logs(folder))
  end)

  it("merge without the noise of a measurement, and need the simulator with it", function()
    local folder = draw_all(new_folder())
    assert(sv.shards.merge(folder, top .. "/plain.npz", { noise = false }))
    local z, x = sv.simulate(sim, N, sv.rng(1), { noise = false })
    assert(sv.io.save_npz(top .. "/expected.npz", { z = z, x = x }))
    assert.equal(read(top .. "/expected.npz"), read(top .. "/plain.npz"))
    helper.raises("simulator is needed for its noise, or noise = false", sv.shards.merge, folder, top .. "/n.npz")
    refused("another simulator: the output was", sv.shards.merge(folder, top .. "/n.npz",
      { simulator = line { output = { 4 } } }))
  end)

  it("are read by training as one cache", function()
    local folder = draw_all(new_folder())
    local cache = top .. "/training.samples"
    assert(sv.shards.merge(folder, cache))
    local runs = 0
    local counted = line { simulate = function(z, out, rng)
      runs = runs + 1
      return sim.simulate(z, out, rng)
    end }
    local s <close> = assert(sv.sampler.new { simulator = counted, cache = cache, simulations = N, batch = N })
    local z = s:next()
    assert.equal(0, runs)
    assert.same((sv.simulate(sim, N, sv.rng(1))):totable(), z:totable())
  end)
end)

describe("a folder of shards", function()
  it("refuses those of another simulator, seed, number of samples or of shards", function()
    local folder = new_folder()
    assert(draw(folder))
    local other = line { params = { { name = "a", low = -1, high = 2 }, { name = "b", low = 0, high = 10 } } }
    for _, case in ipairs {
      { "the seed was 1 and is now 2", { seed = 2 } },
      { "the number of samples was 500 and is now 600", { total = 600 } },
      { "is one of 4 shards; this is shard 1 of 5", { of = 5 } },
      { "the simulator was 'line' and is now 'dot'", { simulator = line { name = "dot" } } },
      { "high of parameter 'a' was 1 and is now 2", { simulator = other } },
      { "the noise of a measurement was true and is now false", { simulator = sv.simulator { name = "line",
        output = { 3 }, params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10, unit = "V" } },
        simulate = print } } },
      { "the checksum of the simulator's script was nil and is now 12345678", { script = "12345678" } },
    } do
      for _, shard in ipairs { 1, 2 } do
        case[2].shard = shard
        local drawn, why = draw(folder, case[2])
        assert.is_nil(drawn)
        assert.matches(case[1]:gsub("shard 1 of", "shard " .. shard .. " of"), why, 1, true)
      end
    end
    assert.equal(1, #logs(folder))
    assert.equal(125, (draw(folder, { script = "12345678", changed = true, shard = 2 })))
  end)

  it("is not merged where shards are of different seeds, versions or scripts", function()
    for _, case in ipairs {
      { "the seed was 1 and is now 2", '"seed":1,', '"seed":2,' },
      { "the version of simvae was " .. sv.version .. " and is now 9.9.9; --allow-changed",
        '"version":"' .. sv.version .. '"', '"version":"9.9.9"' },
      { "the checksum of the simulator's script was nil and is now aa", '"shard":3,', '"shard":3,"script":"aa",' },
    } do
      local folder = draw_all(new_folder())
      local path = logs(folder, 3)[1]
      local text, replaced = read(path):gsub(case[2]:gsub("%p", "%%%0"), (case[3]:gsub("%%", "%%%%")), 1)
      assert.equal(1, replaced)
      write(path, text)
      refused(case[1], sv.shards.merge(folder, top .. "/none.npz", { simulator = sim }))
      assert.is_nil(core.system.kind(top .. "/none.npz"))
      if not case[1]:find "seed" then
        assert(sv.shards.merge(folder, top .. "/merged.npz", { simulator = sim, changed = true }))
        assert.equal(read(whole_npz), read(top .. "/merged.npz"))
      end
    end
  end)

  it("is not merged where samples are missing, and says which", function()
    local folder = new_folder()
    assert(draw(folder, { shard = 2 }))
    refused("375 of 500 samples are missing: 125 of shard 1/4, 125 of shard 3/4, 125 of shard 4/4",
      sv.shards.merge(folder, top .. "/none.npz", { simulator = sim }))
    refused("there are no shards", sv.shards.merge(top, top .. "/none.npz"))
    refused("No such file", sv.shards.merge(top .. "/nowhere", top .. "/none.npz"))
    assert.is_nil(core.system.kind(top .. "/none.npz"))
  end)

  it("loses damaged records alone, which are drawn again", function()
    local folder = draw_all(new_folder())
    local path = logs(folder, 2)[1]
    local text = read(path)
    local middle = #text // 2
    write(path, text:sub(1, middle - 1), string.char(text:byte(middle) ~ 1), text:sub(middle + 1))
    refused("1 of 500 samples are missing (1 damaged records): 1 of shard 2/4",
      sv.shards.merge(folder, top .. "/none.samples"))
    assert.equal(1, (draw(folder, { shard = 2 })))
    is_whole(folder)
    -- cut in the middle of a record, as by a power failure
    write(path, text:sub(1, middle))
    assert.is_true(assert(draw(folder, { shard = 2 })) > 10)
    is_whole(folder)
  end)

  it("takes no notice of files that their process could not begin", function()
    local folder = new_folder()
    assert(draw(folder))
    local text = read(logs(folder)[1])
    write(folder .. "/0001-of-0004.00000000.samples", "")
    write(folder .. "/0002-of-0004.00000000.samples", text:sub(1, 40))
    write(folder .. "/notes.txt", "mine")
    draw_all(folder)
    is_whole(folder)
    assert.equal(N, assert(sv.shards.status(folder)).done)
    -- a file of another kind is not passed over
    write(folder .. "/0001-of-0004.00000000.samples", "PK\3\4", ("x"):rep(100))
    refused("0001-of-0004.00000000.samples: is not a cache of simvae", sv.shards.merge(folder, top .. "/none.npz"))
    write(folder .. "/0001-of-0004.00000000.samples", (text:gsub('"of":4', '"of":9', 1)))
    refused("its header is not that of this shard", sv.shards.merge(folder, top .. "/none.npz"))
  end)

  it("takes samples that were drawn twice, and refuses two that differ", function()
    local folder, other = draw_all(new_folder()), new_folder()
    assert(draw(other, { shard = 3 }))
    helper.run(string.format("cp %s/* %s", other, folder))
    local r = is_whole(folder)
    assert.equal(125, r.doubles)
    assert.equal(r.replaced, assert(sv.shards.status(folder)).failed) -- each failed draw is counted once

    -- damage of one of the two does no harm
    local path = logs(folder, 3)[1]
    local text = read(path)
    write(path, text:sub(1, -20), "\0\0\0", text:sub(-16))
    assert.equal(1, is_whole(folder).damaged)

    -- a simulator that depends on something else than its parameters and rng
    local once = new_folder()
    assert(draw(once, { shard = 4, simulator = line { simulate = function(_, out) out[1] = 1 end } }))
    helper.run(string.format("cp %s/* %s", once, folder))
    refused("sample 376 is not the same in ", sv.shards.merge(folder, top .. "/none.samples"))
  end)

  it("tells how far it is, whatever the clocks say", function()
    local folder = new_folder()
    assert(draw(folder, { shard = 1 }))
    assert.is_false(pcall(draw, folder, { shard = 2, max_failures = 0 }))
    local crash = line { simulate = function() error("no netlist here", 0) end }
    assert.is_false(pcall(draw, folder, { shard = 3, simulator = crash }))
    local function look() return assert(sv.shards.status(folder)) end
    local s = look()
    assert.same({ done = 1, failed = 2, ["not begun"] = 1 }, s.states)
    assert.matches("no netlist here", s.shards[3].reason, 1, true)
    assert.matches("no netlist here", s.failures, 1, true)
    assert.matches("too steep", s.failures, 1, true)
    for _, date in ipairs { "1980-01-01", "2035-01-01" } do
      helper.run(string.format("touch -d %s %s/*", date, folder))
      assert.same(s, look())
    end
    draw_all(folder)
    is_whole(folder)
    s = look()
    assert.same({ done = 4 }, s.states)
    assert.equal(0, s.rate)
  end)

  it("judges the share of failures by all processes of a shard", function()
    -- what a killed process leaves is often what has failed: here nothing else
    local folder = new_folder()
    assert(draw(folder, { of = 1 }))
    local path = logs(folder)[1]
    local text = read(path)
    local header = #text:match "^[^\n]*\n[^\n]*\n"
    local each = (#text - header) // N
    local kept, missing = { text:sub(1, header) }, 0
    for i = 1, N do
      local record = text:sub(header + (i - 1) * each + 1, header + i * each)
      if string.unpack("<i8", record, 9) == 0 then kept[#kept + 1] = record else missing = missing + 1 end
    end
    write(path, table.concat(kept))
    assert.is_true(missing > 40)
    assert.same({ missing, 0 }, { draw(folder, { of = 1, max_failures = 0.12 }) }) -- no failure is new
    is_whole(folder)
    -- where they are not known, all of them fail at first
    assert(os.remove(path:gsub("samples$", "failures.csv")))
    assert(os.remove(logs(folder)[1] == path and logs(folder)[2] or logs(folder)[1]))
    assert.is_false(pcall(draw, folder, { of = 1, max_failures = 0 }))
  end)

  it("is refused with arguments that do not fit", function()
    helper.raises("shard must be from 1 to 4; got 5", draw, new_folder(), { shard = 5 })
    helper.raises("shard must be at least 1; got 0", draw, new_folder(), { shard = 0 })
    helper.raises("of must be at most 500, the number of samples; got 501", draw, new_folder(), { of = 501 })
    refused("Not a directory", draw(whole_npz))
  end)
end)

describe("a .npz file that comes in parts", function()
  it("is that of save_npz, with the sizes of zip64 where they are needed as well", function()
    local python = helper.python "numpy"
    local z, x = sv.simulate(sim, 50, sv.rng(1))
    local limit = zip.limit
    for _, least in ipairs { limit, 500, 1 } do
      zip.limit = least
      local path = string.format("%s/parts-%d.npz", top, least)
      local stream <close> = assert(npz.create(path, { z = z.shape, x = x.shape }))
      for first = 1, 50, 20 do
        local last = math.min(first + 19, 50)
        assert(stream:rows("z", core.slice(z, 1, first, last)))
        assert(stream:rows("x", core.slice(x, 1, first, last)))
      end
      assert.is_nil(core.system.kind(path))
      assert(stream:commit())
      assert(sv.io.save_npz(top .. "/at-once.npz", { z = z, x = x }))
      assert.equal(read(top .. "/at-once.npz"), read(path))
      local back = assert(sv.io.load_npz(path))
      assert.same(z:totable(), back.z:totable())
      assert.same(x:totable(), back.x:totable())
      if python then
        assert.matches("^None 50 ", (helper.run(python .. " -c 'import sys, zipfile, numpy; "
          .. "d = numpy.load(sys.argv[1]); "
          .. "print(zipfile.ZipFile(sys.argv[1]).testzip(), len(d[\"z\"]), d[\"x\"].sum())' " .. path)))
      end
    end
    zip.limit = limit
    if not python then return pending "no Python with numpy: read by our own reader alone" end
  end)

  it("is discarded where it is not committed", function()
    do
      local stream <close> = assert(npz.create(top .. "/gone.npz", { x = { 2, 3 } }))
      assert(stream:rows("x", sv.ones(2, 3)))
    end
    assert.is_nil(core.system.kind(top .. "/gone.npz"))
    refused("Is a directory", npz.create(top, { x = { 2, 3 } }))
  end)
end)

describe("merging", function()
  it("holds a batch of samples in memory, whatever their number #long", function()
    local script = top .. "/merge.lua"
    write(script, [[
      local sv, core = require "simvae", require "simvae.core"
      local folder = ...
      local flat = sv.simulator { name = "flat", output = { 1, 128, 128 },
        params = { { name = "a", low = 0, high = 1 } },
        batch = function(z, x) for i = 1, z.shape[1] do x[i]:copy(core.full(z:get(i, 1), 1, 128, 128)) end end }
      assert(sv.shards.draw { simulator = flat, total = tonumber((select(2, ...))), out = folder })
      collectgarbage()
      local _, before = core.system.resident()
      assert(sv.shards.merge(folder, folder .. "/data.npz"))
      local _, after = core.system.resident()
      print(after - before)
    ]])
    local grown = {}
    for i, n in ipairs { 400, 2400 } do -- 26 and 157 MB
      grown[i] = tonumber((helper.run(helper.lua_command(script, new_folder(), tostring(n)))))
    end
    assert.is_true(grown[2] < 40e6 and grown[2] < grown[1] + 10e6, table.concat(grown, ", "))
  end)
end)

describe("a process that draws a shard", function()
  local simvae = require "spec.fixtures.simvae"
  local folder = simvae.folder

  simvae.write("line.lua", [[
    local sv = require "simvae"
    local seconds = tonumber(os.getenv "SECONDS") or 0
    return sv.simulator {
      name = "line", output = { 3 }, noise = 0.1,
      params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10, unit = "V" } },
      simulate = function(z, out, rng)
        if seconds > 0 then require("simvae.core").system.sleep(seconds) end
        if z.a > 0.8 then return false, "too steep" end
        for i = 1, 3 do out[i] = z.a * i + z.b * rng:normal() end
      end,
    }
  ]])

  -- The command of one shard, in the background; the shell prints its process's number and waits for its end.
  local function simulate(out, options)
    return simvae.command("simulate", "line.lua", "-n", "500", "--out", out, "--quiet", table.unpack(options or {}))
  end

  local function status(out) return json.decode((simvae.output("status", out, "--json"))) end

  -- Starts it, sends it a signal when samples are there, and returns its exit code and what it wrote.
  local function stopped(signal, out, options)
    local command = simulate(out, options):gsub("&& ", "&& exec env ", 1) -- so that $! is its own process
    local text = helper.run(string.format([[
      size() { cat %s/%s/*.samples 2> /dev/null | wc -c; }
      before=$(size)
      export SECONDS=0.005; %s > %s/log 2>&1 & pid=$!
      for i in $(seq 200); do [ "$(size)" -gt $((before + 600)) ] && break; sleep 0.05; done
      kill -%s $pid; wait $pid; echo "code $?"; cat %s/log]], folder, out, command, folder, signal, folder))
    return tonumber(text:match "code (%d+)"), text
  end

  it("goes on after SIGKILL and SIGTERM, to the same bytes", function()
    for _, workers in ipairs { "0", "2" } do
      local out = "killed-" .. workers
      local options = { "--workers", workers }
      local seen = 0
      for _, signal in ipairs { "KILL", "TERM", "KILL", "INT" } do
        local code, text = stopped(signal, out, options)
        assert.equal(({ KILL = 137, TERM = 143, INT = 130 })[signal], code, text)
        if signal ~= "KILL" then assert.matches("and the same command goes on from there", text, 1, true) end
        local s = status(out)
        assert.is_true(s.done > seen and s.done < 500, text)
        assert.equal(signal == "KILL" and "killed" or "interrupted", s.shards[1].state)
        seen = s.done
      end
      local text, code = helper.run(simulate(out, options))
      assert.equal(0, code, text)
      assert.equal("done", status(out).shards[1].state)
      is_whole(folder .. "/" .. out)
    end
  end)

  it("shares a folder, and a shard, with others at the same time", function()
    local commands = {}
    for shard = 1, 2 do
      for _ = 1, 2 do commands[#commands + 1] = "( " .. simulate("together", { "--shard", shard .. "/2" }) .. " ) &" end
    end
    local text, code = helper.run("export SECONDS=0.001\n" .. table.concat(commands, "\n") .. "\nwait")
    assert.equal(0, code, text)
    local r = is_whole(folder .. "/together")
    assert.is_true(r.doubles > 100)
  end)

  it("ends with a reason on a full disk, and goes on where there is room", function()
    local text, code = helper.run("ulimit -f 8\n" .. simulate("full"))
    assert.equal(1, code, text)
    assert.matches("0001%-of%-0001%.%x+%.samples: [^\n]+\nshard 1/1 holds %d+ of 500 samples, and the same command "
      .. "goes on from there", text)
    local s = status "full"
    assert.is_true(s.done > 50 and s.done < 500)
    assert.equal("failed", s.shards[1].state)
    assert.matches("the disk is full", s.shards[1].reason:gsub("File too large", "the disk is full"), 1, true)
    assert.equal(0, select(2, helper.run(simulate("full"))))
    is_whole(folder .. "/full")
    text, code = helper.run("ulimit -f 8\n" .. simvae.command("merge", "full", "--quiet"))
    assert.equal(1, code)
    assert.matches("data.npz: File too large", text, 1, true)
    assert.is_nil(core.system.kind(folder .. "/data.npz"))
  end)
end)

describe("the commands for shards", function()
  local simvae = require "spec.fixtures.simvae"
  local run, folder = simvae.run, simvae.folder

  it("draw, tell, and merge with the script's own noise", function()
    for shard = 1, 3 do
      local out, code = run("simulate", "line.lua", "-n", "500", "--shard", shard .. "/3", "--out", "parts/")
      assert.equal(0, code, out)
      assert.matches("\nparts\n", "\n" .. out, 1, true)
    end
    local out, code = run("status", "parts")
    assert.equal(0, code)
    assert.matches("line: 500 samples of seed 1 in 3 shards", out, 1, true)
    assert.matches("samples  500 done %(100%%%)\nshards   3 done\nfailed   %d+ draws, which others replace", out)
    out, code = run("merge", "parts", "-o", "parts.npz")
    assert.equal(0, code, out)
    assert.equal(read(whole_npz), read(folder .. "/parts.npz"))
    out, code = run("merge", "parts", "-o", "parts.samples")
    assert.equal(0, code, out)
    assert.equal(read(whole_samples), read(folder .. "/parts.samples"))
    out, code = run("info", "parts")
    assert.equal(0, code, out)
    assert.matches("^shards\n  done +500\n  samples +500\n  seed +1\n  shards +3\n  simulator +line\n", out)
    os.rename(folder .. "/line.lua", folder .. "/moved.lua")
    out, code = run("merge", "parts", "-o", "again.npz")
    assert.equal(1, code)
    assert.matches("of simulator 'line', which is not at /.*/line.lua: give %-%-simulator, or %-%-no%-noise", out)
    out, code = run("merge", "parts", "-o", "again.npz", "--simulator", "moved.lua")
    assert.equal(0, code, out)
    assert.is_true(read(whole_npz) == read(folder .. "/again.npz"))
    os.rename(folder .. "/moved.lua", folder .. "/line.lua")
    simvae.write("line.lua", read(folder .. "/line.lua") .. "-- edited\n")
    out, code = run("simulate", "line.lua", "-n", "500", "--shard", "1/3", "--out", "parts")
    assert.equal(1, code)
    assert.matches("the checksum of the simulator's script was %x+ and is now %x+; %-%-allow%-changed", out)
    assert.equal(0, select(2, run("simulate", "line.lua", "-n", "500", "--shard", "1/3", "--out", "parts",
      "--allow-changed")))
  end)

  it("name what is wrong with the command line", function()
    for _, case in ipairs {
      { 2, "--shard takes a number and how many there are, as 1/64 to 64/64; got '0/3'", "--shard", "0/3", "-o", "d" },
      { 2, "got '4/3'", "--shard", "4/3", "-o", "d" },
      { 2, "got '1'", "--shard", "1", "-o", "d" },
      { 2, "got 'a/b'", "--shard", "a/b", "-o", "d" },
      { 2, "--shard goes with --out FOLDER", "--shard", "1/3" },
      { 2, "--shard 1/3: there are 2 samples (-n), fewer than shards", "--shard", "1/3", "-n", "2", "-o", "d" },
      { 2, "--cache goes with a file", "-o", "d", "--cache", "c" },
      { 2, "--no-noise goes with a file", "-o", "d", "--no-noise" },
      { 2, "--allow-changed goes with --out FOLDER", "--allow-changed" },
      { 2, "the file's name ends in .npz, or it is a folder; got 'd.csv'", "-o", "d.csv" },
    } do
      local out, code = run("simulate", "line.lua", table.unpack(case, 3))
      assert.equal(case[1], code, out)
      assert.matches(case[2], out, 1, true)
    end
    assert.is_nil(core.system.kind(folder .. "/d"))
    for _, case in ipairs {
      { 1, "nowhere: No such file or directory", "merge", "nowhere" },
      { 2, "the file's name ends in .npz, .samples; got 'd.csv'", "merge", "parts", "-o", "d.csv" },
      { 1, "nowhere: No such file or directory", "status", "nowhere" },
      { 2, "'line.lua' is not a folder", "status", "line.lua" },
      { 2, "--tasks: there are 3 samples (-n), fewer than tasks", "slurm", "line.lua", "-n", "3" },
      { 2, "a time is at least five minutes", "slurm", "line.lua", "--time", "2:00" },
      { 2, "got '1:xx'", "slurm", "line.lua", "--time", "1:xx" },
      { 2, "--train: unknown option '--stops'", "slurm", "line.lua", "--train=--stops 3" },
      { 2, "--train: --seed is that of the shards", "slurm", "line.lua", "--train=--seed 3" },
      { 2, "--train and --no-train exclude each other", "slurm", "line.lua", "--train=--steps 3", "--no-train" },
      { 2, "--sbatch takes an option of sbatch", "slurm", "line.lua", "--sbatch=x" },
      { 1, "there is no such file", "slurm", "none.lua" },
    } do
      local out, code = run(table.unpack(case, 3))
      assert.equal(case[1], code, out)
      assert.matches(case[2], out, 1, true)
    end
    assert.is_nil(core.system.kind(folder .. "/line-shards"))
  end)

  it("write scripts for Slurm that bash understands", function()
    local out, code = run("slurm", "line.lua", "-n", "500", "--tasks", "4", "--array-limit", "2", "--partition",
      "short", "--mem", "2G", "--cpus", "2", "--sbatch=--constraint=a b", "--out", "a cluster", "--train=--steps 3",
      "--time", "1-0")
    assert.equal(0, code, out)
    assert.matches("a cluster/array.sh\na cluster/next.sh\n", out, 1, true)
    local array, following = read(folder .. "/a cluster/array.sh"), read(folder .. "/a cluster/next.sh")
    for _, text in ipairs { "#SBATCH --array=1-4%2\n", "#SBATCH --time=1-0\n", "#SBATCH --partition=short\n",
      "#SBATCH --mem=2G\n", "#SBATCH --cpus-per-task=2\n", "#SBATCH --constraint=a b\n", "#SBATCH --requeue\n",
      "simvae simulate line.lua -n 500 --seed 1 --out 'a cluster/' --quiet --workers 2 --shard" } do
      assert.matches(text, array, 1, true)
    end
    assert.matches("exec simvae train line.lua --cache 'a cluster/data.samples' --simulations 500 --seed 1 --steps 3\n",
      following, 1, true)
    for _, name in ipairs { "array", "next" } do
      assert.equal("", (helper.run(string.format("bash -n '%s/a cluster/%s.sh'", folder, name))))
    end
    out, code = run("slurm", "line.lua", "--no-train", "--out", "b")
    assert.equal(0, code, out)
    assert.is_nil(read(folder .. "/b/next.sh"):find("simvae train", 1, true))
    local lua = os.getenv "LUA" or "lua5.4"
    helper.run(string.format("mkdir %s/bin && ln -s $(command -v %s) %s/bin/", folder, lua, folder)) -- and no sbatch
    out, code = helper.run(string.format("export PATH=%s/bin; ", folder) .. simvae.command("slurm", "line.lua",
      "--submit", "--out", "c"))
    assert.equal(1, code)
    assert.matches("sbatch is not on the PATH", out, 1, true)
    assert.is_nil(core.system.kind(folder .. "/c"))
  end)
end)
