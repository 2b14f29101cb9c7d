-- SIGINT, SIGTERM and SIGHUP: one message, no work lost.
local helper = require "spec.helper"
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"

local folder = helper.temporary_folder()

local path = folder .. "/train.lua"
do
  local file <close> = assert(io.open(path, "w"))
  file:write [[
    local sv = require "simvae"
    local slow = arg[1]:match "^pcall (.+)" -- a simulator that catches all errors of what it does
    if slow then arg[1] = slow end
    local function work()
      local core = require "simvae.core"
      local since = core.system.clock()
      while core.system.clock() - since < 0.001 do end
    end
    local sim = sv.simulator { name = "line", params = { { name = "a", low = 0, high = 1 } }, output = { 8 },
      simulate = function(z, out) if slow then pcall(work) end for i = 1, 8 do out[i] = z.a * i end end }
    local what, out = arg[1], arg[2]
    local model = sv.model { simulator = sim, width = 8 }
    io.stdout:setvbuf "no"
    if what == "train" then
      local slow = require("simvae.io").save_safetensors
      require("simvae.io").save_safetensors = function(...) -- so that a second signal meets it
        print "saving"
        require("simvae.core").system.sleep(tonumber(arg[3] or 0))
        return slow(...)
      end
      model:train { out = out, quiet = true, decoder = { steps = 1000000 }, encoder = { steps = 1 },
        on_step = function(_, step) if step == 5 then print "running" end end }
    elseif what == "evaluate" then
      print "running"
      sv.evaluate(model, { samples = 100000000 })
    elseif what == "invert" then
      local _, x = sv.simulate(sim, 2, sv.rng(1))
      print "running"
      model:invert(x, { steps = 100000000 })
    else
      print "running"
      local simulate = sim.simulate
      sim.simulate = function(...) require("simvae.core").system.sleep(0.001); return simulate(...) end
      sv.simulate(sim, 100000, sv.rng(1), { workers = tonumber(out) })
    end]]
end

local function environment()
  local line = helper.lua_command(path)
  return { LUA_PATH = line:match "LUA_PATH='(.-)'", LUA_CPATH = line:match "LUA_CPATH='(.-)'" }
end

-- Runs it; when it has printed each word, sends the signal beside it. How it ended, and its standard error.
local function run(arguments, events)
  local command = { os.getenv "LUA" or "lua5.4", path }
  table.move(arguments, 1, #arguments, 3, command)
  local process <close> = assert(core.process.spawn(command, { env = environment() }))
  for _, event in ipairs(events) do
    local line
    repeat line = process:read_line(30) until not line or line == event[1]
    assert.equal(event[1], line)
    core.system.sleep(0.1)
    process:kill(event[2])
  end
  local how, code = process:wait(30)
  return how, code, process:errors()
end

describe("an interruption", function()
  it("of a training is one sentence without a traceback, after its checkpoint", function()
    local out = folder .. "/once"
    local how, code, errors = run({ "train", out }, { { "running", "INT" } })
    assert.same({ "exit", 1 }, { how, code })
    assert.matches("^%S+: interrupted at decoder step %d+; the same call goes on from there\n$", errors)
    assert.equal("file", (core.system.kind(out .. "/checkpoint.safetensors")))
  end)

  it("waits, when it comes again, until the checkpoint is there", function()
    local out = folder .. "/twice"
    local how, code, errors = run({ "train", out, "0.5" }, { { "running", "INT" }, { "saving", "INT" } })
    assert.same({ "exit", 1 }, { how, code })
    assert.matches("saving what was done; a moment\n.*interrupted at decoder step %d+; the same call goes on", errors)
    local saved, metadata = require("simvae.io").load_safetensors(out .. "/checkpoint.safetensors")
    assert.is_truthy(saved, metadata)
    assert.is_nil(errors:find "traceback")
  end)

  it("by SIGTERM or SIGHUP saves a checkpoint, then ends the process as that signal does", function()
    for _, name in ipairs { "TERM", not helper.ignores(1) and "HUP" or nil } do -- nohup ignores SIGHUP
      local out = folder .. "/" .. name
      local how, what, errors = run({ "train", out }, { { "running", name } })
      assert.same({ "signal", "SIG" .. name }, { how, what })
      assert.matches("^interrupted at decoder step %d+; the same call goes on from there\n$", errors)
      assert.equal("file", (core.system.kind(out .. "/checkpoint.safetensors")))
    end
  end)

  it("is not taken for a lack of memory when it comes while a large tensor is made", function()
    local pcall, sethook, zeros, stopped = pcall, debug.sethook, core.zeros, 0
    for call = 1, 2 do
      local calls = 0
      sethook(function()
        calls = calls + 1
        if calls == call + 1 then error("interrupted!", 0) end -- as lua.c does; the first call is pcall's
      end, "c")
      local ok, why = pcall(zeros, 1 << 22)
      sethook()
      if not ok then
        assert.equal("interrupted!", why)
        stopped = stopped + 1
      end
    end
    assert.equal(2, stopped) -- at zeros, and at what it calls
  end)

  it("of an evaluation or a simulation is one sentence, with workers and without", function()
    local _, code, errors = run({ "evaluate" }, { { "running", "INT" } })
    assert.equal(1, code)
    errors = errors:gsub("^simvae: posterior: the model's encoder has not been trained\n", "") -- it has not
    assert.matches("^%S+: evaluate: interrupted\n$", errors)
    for _, workers in ipairs { "0", "2" } do
      _, code, errors = run({ "simulate", workers }, { { "running", "INT" } })
      assert.equal(1, code)
      assert.matches("^%S+: simulate: interrupted\n$", errors)
    end
  end)

  it("by SIGPIPE, where whoever read the output has gone, saves a checkpoint too", function()
    local out = folder .. "/pipe"
    local how, what, errors = run({ "train", out }, { { "running", "PIPE" } })
    assert.same({ "signal", "SIGPIPE" }, { how, what })
    assert.equal("", errors)
    assert.equal("file", (core.system.kind(out .. "/checkpoint.safetensors")))
  end)

  it("that comes again and again has no traceback, and the checkpoint is there", function()
    for i = 1, 3 do
      local out = folder .. "/often" .. i
      local command = helper.lua_command(path, "train", out, "0.1")
      local said = out .. ".txt"
      local text = helper.run(command .. " > " .. said .. " 2>&1 & p=$!; until grep -q running " .. said
        .. " || ! kill -0 $p; do sleep 0.05; done; while kill -INT $p; do :; done 2> " .. folder .. "/kill; wait $p; "
        .. "cat " .. said)
      assert.is_nil(text:find("traceback", 1, true), text)
      assert.is_truthy(require("simvae.io").load_safetensors(out .. "/checkpoint.safetensors"))
    end
  end)

  it("ends what runs although the simulator catches all errors", function()
    for _, what in ipairs { "train", "evaluate", "simulate" } do
      local _, code, errors = run({ "pcall " .. what, what == "train" and folder .. "/caught" or "0" },
        { { "running", "INT" } })
      assert.equal(1, code) -- within 30 s; to the end: hours
      assert.matches("interrupted", errors)
      assert.is_nil(errors:find "traceback")
    end
  end)

  it("of model:invert is one sentence", function()
    local _, code, errors = run({ "invert" }, { { "running", "INT" } })
    assert.same({ 1, true }, { code, errors:find "^%S+: invert: interrupted\n$" ~= nil })
  end)

  it("is told from other errors", function()
    assert.is_true(interrupt.is "x.lua:3: interrupted!")
    assert.is_false(interrupt.is "x.lua:3: the line was interrupted! twice")
    assert.is_false(interrupt.is {})
    local ok, e = pcall(interrupt.during, "work: interrupted", error, "interrupted!", 0)
    assert.is_false(ok)
    assert.is_true(interrupt.is(e))
    assert.equal("work: interrupted", tostring(e))
    ok, e = pcall(interrupt.during, "outer: interrupted", interrupt.during, "inner: interrupted", error,
      "interrupted!", 0)
    assert.same({ false, "inner: interrupted" }, { ok, tostring(e) })
    assert.same({ 1, nil, 3 }, { interrupt.during("x", function(...) return ... end, 1, nil, 3) })
    ok, e = pcall(interrupt.during, "x", error, "another", 0)
    assert.same({ false, "another" }, { ok, e })
    assert.has_error(function() interrupt.pcall(error, "interrupted!", 0) end, "interrupted!")
    assert.same({ false, "else" }, { interrupt.pcall(error, "else", 0) })
  end)
end)
