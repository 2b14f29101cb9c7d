-- Checkpoints, log.csv and failures.csv of a run that meets damage, a second training, or a full disk. The reference of
-- each run is the same training without the fault.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local read, run, raises = helper.read, helper.run, helper.raises

local spill = helper.write

local function simulator()
  return sv.simulator {
    name = "sum", params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 1, high = 2 } }, output = { 3 },
    simulate = function(z, out)
      if z.a < 0.02 then error "too small" end
      out[1], out[2], out[3] = z.a, z.b, z.a * z.b
    end,
  }
end

-- Trains in a folder: 20 + 20 steps, a checkpoint after each step. More options, and the step at which to stop.
local function train(out, more, stop)
  local model = sv.model { simulator = simulator(), width = 4, seed = 3 }
  local t = { out = out, quiet = true, batch = 8, log_every = 1, checkpoint_every = 1e-9, decoder = { steps = 20 },
    encoder = { steps = 20 } }
  for k, v in pairs(more or {}) do t[k] = v end
  local on_step = t.on_step
  t.on_step = function(stage, step)
    if on_step then on_step(stage, step) end
    if stop and stage == stop[1] and step == stop[2] then error "stopped" end
  end
  if stop then
    assert.is_false(pcall(model.train, model, t))
  else
    model:train(t)
  end
  return model
end

local function state(model)
  local list = {}
  for name, t in pairs(model:state()) do list[name] = t:totable() end
  return list
end

-- The log without what depends on the time.
local function log_of(out)
  local rows = {}
  for row in read(out .. "/log.csv"):gmatch "[^\n]*\n" do rows[#rows + 1] = row:match "^[^,]*,[^,]*,[^,]*,[^,]*" end
  return rows
end

local whole_folder = helper.temporary_folder()
local whole = train(whole_folder)
local whole_log = log_of(whole_folder)

-- A run that ended after a step of the encoder, its last checkpoint one step before.
local function stopped()
  local out = helper.temporary_folder()
  train(out, nil, { "encoder", 11 })
  return out, out .. "/checkpoint.safetensors", out .. "/checkpoint.previous.safetensors"
end

local function step_of(path)
  local _, metadata = sv.io.load_safetensors(path)
  return metadata and tonumber(metadata.run:match '"step":(%d+)')
end

describe("a checkpoint", function()
  it("is kept with the one before it", function()
    local _, last, previous = stopped()
    assert.same({ 11, 10 }, { step_of(last), step_of(previous) })
  end)

  it("whose writing was killed with both names on one file leaves no other file", function()
    local out, last, previous = stopped()
    assert(os.execute("ln -f " .. last .. " " .. previous))
    train(out, nil, { "encoder", 13 })
    assert.same({ 13, 12 }, { step_of(last), step_of(previous) })
    for _, name in ipairs(core.system.list(out)) do assert.is_nil(name:match "%.tmp$", name) end
  end)

  it("that is damaged anywhere gives way to the one before, to the same weights and the same log", function()
    local out, last, previous = stopped()
    local good, before, log = read(last), read(previous), read(out .. "/log.csv")
    local header = 8 + string.unpack("<I8", good)
    local places = { 1, 9, 12, 40, header - 12, header + 1, header + 3, #good }
    local at = good:find("simvae.checksum", 1, true)
    places[#places + 1] = at + 20
    for i = 1, 20 do places[#places + 1] = 1 + (i * 7919) % #good end
    for i, place in ipairs(places) do
      local bad = good:sub(1, place - 1) .. string.char(good:byte(place) ~ 1) .. good:sub(place + 1)
      spill(last, bad)
      assert.is_nil((sv.io.load_safetensors(last)) and i ~= 9 or nil, "byte " .. place .. " is not missed")
      if i <= 4 or i == 9 then
        spill(previous, before)
        spill(out .. "/log.csv", log)
        local model
        local said = helper.stderr_of(function() model = train(out) end)
        assert.matches("checkpoint%.safetensors: ", said)
        assert.matches("The checkpoint before it is used, of encoder step 10\n", said)
        assert.same(state(whole), state(model))
        assert.same(whole_log, log_of(out))
      end
    end
  end)

  it("that is cut off or empty or gone gives way as well, and is not kept as the one before", function()
    local out, last, previous = stopped()
    local good, before = read(last), read(previous)
    for _, left in ipairs { #good - 1, #good // 2, 0, -1 } do
      spill(previous, before)
      if left < 0 then os.remove(last) else spill(last, good:sub(1, left)) end
      local said = helper.stderr_of(function() train(out, nil, { "encoder", 11 }) end)
      assert.matches("The checkpoint before it is used", said)
      assert.same({ 11, 10 }, { step_of(last), step_of(previous) })
    end
  end)

  it("ends the run when the one before is damaged as well, and nothing is changed", function()
    local out, last, previous = stopped()
    spill(last, read(last):sub(1, -2))
    spill(previous, read(previous):sub(1, -2) .. "x")
    local before = run("cd " .. out .. "; cksum *")
    local model = sv.model { simulator = simulator(), width = 4, seed = 3 }
    raises("checkpoint%.safetensors: .*checkpoint%.previous%.safetensors: .*nothing was changed", model.train, model,
      { out = out, quiet = true, batch = 8, decoder = { steps = 20 }, encoder = { steps = 20 } })
    assert.equal(before, run("cd " .. out .. "; cksum *"))
  end)

  it("that cannot be read is no damaged one", function()
    local out, last = stopped()
    os.remove(last)
    os.execute("ln -s loop " .. out .. "/loop; ln -s checkpoint.safetensors " .. last)
    local said = helper.stderr_of(function() train(out) end) -- a link to itself: nothing is there
    assert.matches("it is not there", said)
  end)
end)

describe("a saved model", function()
  it("carries a checksum that sv.load verifies", function()
    local path = helper.temporary_folder() .. "/m.safetensors"
    assert(whole:save(path))
    assert(sv.load(path, simulator()))
    local good = read(path)
    spill(path, good:sub(1, -3) .. string.char(good:byte(-2) ~ 4) .. good:sub(-1))
    local none, why = sv.load(path, simulator())
    assert.is_nil(none)
    assert.matches("it is damaged: its checksum is crc32:%x+%-%x+, that of its bytes crc32", why)
  end)

  it("has the checksum that Python's zlib computes", function()
    local python, missing = helper.python("zlib", "json")
    if not python then return pending(missing) end
    local path = helper.temporary_folder() .. "/m.safetensors"
    assert(whole:save(path))
    local output = run(python .. " -c " .. helper.quote([[
import json, sys, zlib
bytes = open(sys.argv[1], 'rb').read()
n = 8 + int.from_bytes(bytes[:8], 'little')
stated = json.loads(bytes[8:n])['__metadata__']['simvae.checksum']
blank = bytes[:n].replace(stated.encode(), b'crc32:00000000-00000000')
print(stated == 'crc32:%08x-%08x' % (zlib.crc32(blank), zlib.crc32(bytes[n:])))]]) .. " " .. path)
    assert.equal("True\n", output)
  end)
end)

describe("log.csv", function()
  it("loses no row to a kill while a run goes on, and a torn last row is repaired", function()
    local out = stopped()
    local path = out .. "/log.csv"
    spill(path, read(path) .. "12,enc")
    os.execute("ln " .. path .. " " .. out .. "/same") -- what an overwriting in place would change
    local before = read(path)
    local model = train(out)
    assert.equal(before, read(out .. "/same"))
    assert.same(whole_log, log_of(out))
    assert.same(state(whole), state(model))
  end)

  it("waits for room on the disk", function()
    local out = helper.temporary_folder()
    local path = out .. "/log.csv"
    if not io.open("/dev/full", "wb") then return pending "no /dev/full" end
    local said = helper.stderr_of(function()
      train(out, { on_step = function(stage, step)
        if stage == "decoder" and step == 5 then
          os.rename(path, path .. ".old")
          os.execute("ln -s /dev/full " .. path)
        elseif stage == "encoder" and step == 5 then
          os.rename(path .. ".old", path)
        end
      end })
    end)
    assert.equal(1, select(2, said:gsub("log%.csv: No space left on device", "")))
    assert.same(whole_log, log_of(out))
  end)
end)

describe("a second training in a folder", function()
  local script = [[
    local sv = require "simvae"
    local sim = sv.simulator { name = "sum", params = { { name = "a", low = 0, high = 1 } }, output = { 2 },
      simulate = function(z, out) out[1] = z.a end }
    local model = sv.model { simulator = sim, width = 4 }
    model:train { out = ..., quiet = true, workers = 1, decoder = { steps = 2 }, encoder = { steps = 2 } }]]

  it("is refused by the name of the first, changes nothing, and is let in when the first has ended", function()
    local out = helper.temporary_folder()
    local path = helper.temporary_folder() .. "/second.lua"
    spill(path, script)
    local seen
    train(out, { on_step = function(stage, step)
      if stage == "encoder" and step == 3 then
        local before = run("cd " .. out .. "; cksum *")
        seen = run(helper.lua_command(path, out))
        assert.equal(before, run("cd " .. out .. "; cksum *"))
        local model = sv.model { simulator = simulator(), width = 4 }
        raises("in use by this process", model.train, model, { out = out })
      end
    end })
    assert.matches(string.format("train: %s is in use by process %d on ", out, core.system.pid()), seen, 1, true)
    assert.same(whole_log, log_of(out))
    assert.is_nil(core.system.kind(out .. "/train.lock"))
    assert.matches("is of another configuration", (run(helper.lua_command(path, out))))
  end)
end)

describe("a full disk", function()
  it("ends no training: a checkpoint is tried again, and the old one stays whole", function()
    local out, last = stopped()
    local path = helper.temporary_folder() .. "/go_on.lua"
    -- SIGXFSZ ignored, a write beyond the limit fails like one on a full disk; log.csv is below the limit
    spill(path, [[
      package.path = package.path .. ";./?.lua"
      local sv = require "simvae"
      local sim = sv.simulator {
        name = "sum", params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 1, high = 2 } }, output = { 3 },
        simulate = function(z, out)
          if z.a < 0.02 then error "too small" end
          out[1], out[2], out[3] = z.a, z.b, z.a * z.b
        end }
      local model = sv.model { simulator = sim, width = 4, seed = 3 }
      local steps = 0
      print(pcall(model.train, model, { out = ..., quiet = true, batch = 8, log_every = 1, checkpoint_every = 1e-9,
        decoder = { steps = 20 }, encoder = { steps = 20 }, on_step = function() steps = steps + 1 end }))
      print("steps", steps, model.trained.encoder)]])
    local before = read(last)
    local said = run("trap '' XFSZ; ulimit -f 5; " .. helper.lua_command(path, out))
    assert.equal(1, select(2, said:gsub("checkpoint not written: [^\n]*File too large %(training goes on", "")))
    assert.matches("false\t.*checkpoint%.safetensors: File too large", said)
    assert.matches("steps\t9\t20", said)
    assert.equal(before, read(last))
    assert.same(state(whole), state(train(out)))
    assert.same(whole_log, log_of(out))
  end)

  it("at failures.csv is said once, and the failures are counted all the same", function()
    if not io.open("/dev/full", "wb") then return pending "no /dev/full" end
    local out = helper.temporary_folder()
    os.execute("ln -s /dev/full " .. out .. "/full.csv")
    local model
    local said = helper.stderr_of(function() model = train(out, { failures = out .. "/full.csv" }) end)
    assert.equal(1, select(2, said:gsub("full%.csv: No space left on device %(its rows are kept", "")))
    assert.equal(1, select(2, said:gsub("full%.csv: No space left on device; %d+ rows are lost", "")))
    assert.same(state(whole), state(model))
    assert.is_true(#read(whole_folder .. "/failures.csv") > 100)
  end)

  it("at the sample cache is said once, and what is in the cache stays whole", function()
    local folder = helper.temporary_folder()
    local path = folder .. "/cache.lua"
    spill(path, [[
      local sv, core = require "simvae", require "simvae.core"
      local sim = sv.simulator { name = "sum", params = { { name = "a", low = 0, high = 1 } }, output = { 20 },
        simulate = function(z, out) for i = 1, 20 do out[i] = z.a + i end end }
      local z, x = sv.simulate(sim, 200, sv.rng(4), { cache = ..., workers = tonumber(os.getenv "WORKERS") })
      print("sums", core.io.crc32 { z, x }, (select(2, core.system.kind(...)) - 200) // 104)]])
    local sum = run(helper.lua_command(path, folder .. "/whole")):match "sums%s+%d+"
    for workers = 0, 2, 2 do
      local out = folder .. "/full" .. workers
      local said = run("trap '' XFSZ; ulimit -f 10; WORKERS=" .. workers .. " " .. helper.lua_command(path, out))
      assert.equal(1, select(2, said:gsub("full%d: [%a ]+ %(samples that it has no room for are not kept", "")))
      assert.equal(sum, said:match "sums%s+%d+")
      assert.equal(sum, (run(helper.lua_command(path, out)):match "sums%s+%d+"))
      assert.equal(#read(folder .. "/whole"), #read(out))
    end
  end)

  it("lets the folder of a run vanish, which is made again at the end", function()
    local out = helper.temporary_folder() .. "/run"
    local model
    local said = helper.stderr_of(function()
      model = train(out, { on_step = function(stage, step)
        if stage == "encoder" and step == 10 then os.execute("rm -rf " .. out) end
      end })
    end)
    assert.matches("No such file or directory", said)
    assert.same(state(whole), state(model))
    assert(sv.load(out .. "/model.safetensors", simulator()))
    assert.equal(20, step_of(out .. "/checkpoint.safetensors") or 20)
  end)
end)
