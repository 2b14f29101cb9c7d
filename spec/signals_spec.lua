-- Signals to a training in another process. The reference of each run is the same training without
-- signals; equal weights show that no step is kept in part.
local core = require "simvae.core"
local helper = require "spec.helper"

local read, run = helper.read, helper.run
local folder = helper.temporary_folder()

-- Trains in a folder and sends itself signals: KIND at a step, "INT TERM", …; prints a checksum of the weights.
local script = folder .. "/train.lua"
do
  local file <close> = assert(io.open(script, "w"))
  file:write([[
    local sv, core = require "simvae", require "simvae.core"
    local out, signals, place = ...
    local function send()
      for name in (signals or ""):gmatch "%u+" do -- os.execute would have SIGINT ignored meanwhile
        core.process.spawn({ "kill", "-" .. name, tostring(core.system.pid()) }):wait()
      end
      signals = nil
    end
    local runs = 0
    local sim = sv.simulator { name = "sum", params = { { name = "a", low = 0, high = 1 } }, output = { 3 },
      simulate = function(z, o)
        runs = runs + 1
        if place == "simulator" and runs == 1300 then
          pcall(function() send() for _ = 1, 1e5 do runs = runs + 0 end end) -- swallows what is raised
          o[1] = 99
          return
        end
        o[1], o[2], o[3] = z.a, z.a ^ 2, z.a ^ 3
      end }
    local function loss(y, x)
      if place == "loss" and runs > 1300 then send() end
      return sv.mse_loss(y, x)
    end
    local model = sv.model { posterior = "gaussian", simulator = sim, width = 4, seed = 3, loss = loss }
    local t = { out = out ~= "" and out or nil, quiet = true, batch = 8, log_every = 1, decoder = { steps = 30 },
      encoder = { steps = 30 }, on_step = function(stage, step)
        if place == "on_step" and stage == "encoder" and step == 7 then
          send()
          for i = 1, 1e6 do runs = runs + 0 end
        end
      end }
    local optim = require "simvae.nn.optim"
    local adam = optim.adam
    function optim.adam(...)
      if place == "optimizer" then send() end
      return adam(...)
    end
    local ok, why = pcall(model.train, model, t)
    print(ok, ok and "" or tostring(why), type(why))
    local crc = 0
    for _, tensors in ipairs { model:state() } do
      local names = {}
      for name in pairs(tensors) do names[#names + 1] = name end
      table.sort(names)
      for i, name in ipairs(names) do names[i] = tensors[name] end
      crc = core.io.crc32(names)
    end
    print("weights", crc)
    os.execute("kill -TERM " .. core.system.pid()) -- as it was before
    print "not ended"
  ]])
end

local function go(out, signals, place)
  return run(helper.lua_command(script, out, signals or "", place or ""))
end

local expected = go(folder .. "/whole"):match "weights%s+%d+"

describe("a signal to a training", function()
  for _, place in ipairs { "simulator", "loss", "on_step" } do
    for _, signal in ipairs { "INT", "TERM", "HUP" } do
      it(string.format("(SIG%s while the %s runs) writes a checkpoint that goes on to the same weights", signal, place),
        function()
          if signal == "HUP" and helper.ignores(1) then return pending "SIGHUP is ignored here (nohup)" end
          local out = folder .. "/" .. place .. signal
          local output, code = go(out, signal, place)
          if signal == "INT" then
            assert.matches("^false\tinterrupted at %a+ step %d+; the same call goes on from there\ttable\n", output)
            assert.equal(128 + 15, code) -- of the last line: what SIGTERM did before is restored
          else
            assert.matches("^interrupted at %a+ step %d+; the same call goes on from there\n", output)
            assert.equal(128 + (signal == "TERM" and 15 or 1), code)
            assert.is_nil(output:find "weights")
          end
          assert.equal("file", (core.system.kind(out .. "/checkpoint.safetensors")))
          local again = go(out)
          assert.matches("^true", again)
          assert.equal(expected, again:match "weights%s+%d+")
          local steps = select(2, read(out .. "/log.csv"):gsub("\n", ""))
          assert.equal(61, steps)
        end)
    end
  end

  it("that comes before a resumed run has taken over the optimizer's state changes nothing", function()
    local out = folder .. "/early"
    go(out, "INT", "on_step")
    local before = read(out .. "/checkpoint.safetensors")
    assert.matches("^false\tinterrupted at encoder step 7", (go(out, "INT", "optimizer")))
    assert.equal(before, read(out .. "/checkpoint.safetensors"))
    assert.equal(expected, go(out):match "weights%s+%d+")
  end)

  it("that comes twice saves first as well", function()
    local out = folder .. "/twice"
    local output = go(out, "INT INT", "loss")
    assert.matches("interrupted at encoder step %d+; the same call goes on", output)
    assert.equal(expected, go(out):match "weights%s+%d+")
  end)

  it("is as it was after the training, and for a process that ignores it always", function()
    local output, code = go(folder .. "/after")
    assert.matches("^true", output)
    assert.is_nil(output:find "not ended")
    assert.equal(128 + 15, code)
    output = run("trap '' HUP; " .. helper.lua_command(script, folder .. "/nohup", "HUP", "loss"))
    assert.equal(expected, output:match "weights%s+%d+")
    assert.matches("^true", output)
  end)
end)

describe("a training that is killed", function()
  it("at any moment goes on to the same weights and the same log", function()
    local function steps_of(out)
      local list = {}
      for row in read(out .. "/log.csv"):gmatch "[^\n]*\n" do list[#list + 1] = row:match "^[^,]*,[^,]*,[^,]*,[^,]*" end
      return list
    end
    local whole = steps_of(folder .. "/whole")
    local out, kills = folder .. "/killed", 0
    local rounds = tonumber(os.getenv "SIMVAE_KILLS") or 4
    local killed = folder .. "/killed.lua" -- the same, slower, with a checkpoint after each step
    local text = read(script):gsub("quiet = true", "quiet = true, checkpoint_every = 1e-9")
      :gsub("on_step = function%(stage, step%)", "%0 core.system.sleep(0.002)")
    do
      local file <close> = assert(io.open(killed, "w"))
      file:write(text)
    end
    for i = 1, rounds do
      local child = assert(core.process.spawn { "sh", "-c", "exec env " .. helper.lua_command(killed, out) })
      local stop = core.system.clock() + 10
      local aim = math.min(55, (i * 37) % 50 + 1) -- rows of the log
      local function rows()
        local file <close> = io.open(out .. "/log.csv")
        return file and select(2, file:read "a":gsub("\n", "")) or 0
      end
      local before = rows()
      while core.system.clock() < stop and child:running() and rows() < math.min(before + 1 + aim // 5, 59) do
        core.system.sleep(0.001)
      end
      if child:running() then
        child:kill "KILL"
        kills = kills + 1
      end
      child:wait(10)
      child:close()
    end
    assert.is_true(kills > 0)
    local output = run(helper.lua_command(killed, out))
    assert.equal(expected, output:match "weights%s+%d+")
    assert.same(whole, steps_of(out))
    for _, name in ipairs(core.system.list(out)) do assert.is_nil(name:match "%.tmp$") end
  end)
end)
