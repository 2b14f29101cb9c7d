-- The command `simvae`: the real program, in a folder of its own.
local absolute = require "simvae.util.absolute"
local assert = require "luassert"
local helper = require "spec.helper"
local core = require "simvae.core"

local simvae = require "spec.fixtures.simvae"
local folder, run, write = simvae.folder, simvae.run, simvae.write
local io_module = require "simvae.io"
local json = require "simvae.io.json"

write("ring.lua", simvae.ring)

describe("simvae", function()
  it("lists its commands, and prints its version and help", function()
    local out, code = run("--help")
    assert.equal(0, code)
    for _, command in ipairs(require("simvae.cli.main").commands()) do
      assert.matches("\n   " .. command.name .. " ", out, 1, true)
      local own, result = run(command.name, "--help")
      assert.equal(0, result, own)
      assert.matches("^Usage: simvae " .. command.name, own)
      assert.equal(own, (run("help", command.name)))
    end
    assert.equal("simvae " .. require("simvae").version .. "\n", (run("--version")))
    assert.equal(out, (run("help")))
  end)

  it("names the nearest command and option, with exit code 2", function()
    for _, case in ipairs {
      { "unknown command 'trian'; did you mean 'train'?", "trian" },
      { "unknown option '--stpes'; did you mean '--steps'?", "train", "--stpes", "3", "box" },
      { "simvae train ring.lua trains on the simulator that it returns", "ring.lua" },
      { "--steps takes a whole number of 1 or more; got '0'", "train", "box", "--steps", "0" },
      { "missing argument 'simulator'", "train" },
    } do
      local out, code = run(table.unpack(case, 2))
      assert.equal(2, code, out)
      assert.matches(case[1], out, 1, true)
      assert.matches("--help tells what it takes", out, 1, true)
    end
  end)

  it("is on the PATH that make env sets, and needs neither HOME nor a terminal", function()
    local out, code = helper.run("env -u HOME -u TERM -u LUA_PATH -u LUA_CPATH PATH="
      .. helper.quote(absolute(helper.build) .. "/bin") .. ":$PATH simvae help exit-codes < /dev/null")
    assert.equal(0, code, out)
    assert.matches("130  interrupted", out, 1, true)
  end)

  it("prints help on functions and methods, and the nearest topic", function()
    assert.matches("^model:invert", (run("help", "model.invert")))
    assert.matches("no help on 'modell'; did you mean '", (run("help", "modell")), 1, true)
    assert.equal(1, select(2, run("help", "modell")))
  end)

  it("makes a man page of every command", function()
    local page = require("simvae.cli.man").page()
    for _, command in ipairs(require("simvae.cli.main").commands()) do
      assert.matches("\n.SS " .. command.name .. "\n", page, 1, true)
    end
    if not helper.have "man" then return end
    write("simvae.1", page)
    assert.equal("", (helper.run("cd " .. folder .. " && LC_ALL=C man --warnings -l simvae.1 2>&1 > /dev/null")))
  end)

  it("completes commands and options in bash", function()
    for _, shell in ipairs { "bash", "zsh", "fish" } do
      local out, code = run("completion", shell)
      assert.equal(0, code)
      assert.matches("posterior", out)
    end
    if not helper.have "bash" then return pending "no bash" end
    write("completion.bash", (run("completion", "bash")))
    local function completed(...)
      local words = table.concat({ ... }, " ")
      return (helper.run("cd " .. folder .. " && bash -c '. ./completion.bash; COMP_WORDS=(" .. words
        .. "); COMP_CWORD=" .. select("#", ...) - 1 .. "; _simvae; echo ${COMPREPLY[@]}'"))
    end
    assert.equal("train\n", completed("simvae", "tr"))
    assert.equal("--posterior\n", completed("simvae", "train", "--po"))
    assert.equal("flow\n", completed("simvae", "train", "--posterior", "fl"))
    assert.equal(2, select(2, run("completion", "csh")))
  end)
end)

describe("simvae run", function()
  it("runs a script with its arguments and exit code", function()
    write("script.lua", "local sv = require 'simvae' print(sv.ones(2).count, arg[0], arg[1], ...) os.exit(7)")
    local out, code = run("run", "script.lua", "--help", "b")
    assert.equal("2\tscript.lua\t--help\t--help\tb\n", out)
    assert.equal(7, code)
  end)

  it("names file and line of errors", function()
    write("bad.lua", "local a = 1\nlocal x = = 2\n")
    write("fails.lua", "local a\nprint(a.b)\n")
    write("calls.lua", "local function f(t)\n  print(t.a.b)\nend\n\nf {}\nprint 'not reached'\n")
    for _, case in ipairs {
      { "^simvae: bad.lua:2: unexpected symbol near '='\n$", "bad.lua" },
      { "^simvae: fails.lua:2: attempt to index a nil value %(local 'a'%)\n$", "fails.lua" },
      { "^simvae: calls.lua:2: attempt to index a nil value %(field 'a'%)\n  called at calls.lua:5\n$", "calls.lua" },
      { "^simvae: none.lua: No such file or directory\n$", "none.lua" },
    } do
      local out, code = run("run", case[2])
      assert.equal(1, code)
      assert.matches(case[1], out)
    end
  end)
end)

describe("simvae train", function()
  local small = { "--steps", "5", "--width", "4", "--samples", "400", "--quiet" }
  local function train(...)
    local words = { "train", ... }
    table.move(small, 1, #small, #words + 1, words)
    return run(table.unpack(words))
  end

  it("trains a script's simulator, from which the run is evaluated, reported and drawn #long", function()
    local out, code = train("ring.lua")
    assert.equal(0, code, out)
    assert.matches("  truths within 68%% intervals %d+%%", out)
    assert.matches("\nfound: .*\nsimvae doctor runs/ring tells why, and what to try\nreport: runs/ring/report.html\n$",
      out)
    local record = assert(json.load(folder .. "/runs/ring/run.json"))
    assert.equal("ring", record.simulator)
    assert.equal("/ring.lua", record.source:sub(-9))
    assert.equal("/", record.source:sub(1, 1))

    -- an evaluation repeats the numbers of the training's
    local numbers = assert(json.load(folder .. "/runs/ring/metrics.json"))
    out, code = simvae.output("evaluate", "runs/ring", "--samples", "400", "--json")
    assert.equal(0, code, out)
    local again = assert(json.decode(out))
    assert.same(numbers.rmse, again.rmse)
    assert.is_true(numbers.training_seconds > 0)
    assert.equal(numbers.training_seconds, again.training_seconds)
    assert.equal("flow", again.posterior)

    out, code = run("report", "runs/ring/", "--samples", "400", "--out", "elsewhere")
    assert.equal(0, code, out)
    assert.equal("file", core.system.kind(folder .. "/elsewhere/report.html"))
    out, code = run("figures", "runs/ring", "--samples", "400", "--out", "drawn")
    assert.equal(0, code, out)
    assert.matches("drawn/figures/traversals.png\n", out, 1, true)
    assert(io_module.load_png(folder .. "/drawn/figures/traversals.png"))

    -- the folder is not taken by a run of another simulator
    out, code = train("box", "--out", "runs/ring")
    assert.equal(1, code)
    assert.matches("runs/ring is a run of the simulator 'ring', not of 'box'", out, 1, true)
    out, code = run("evaluate", "runs/ring", "--simulator", "box")
    assert.equal(1, code)
    assert.matches("a model of 'ring', and not of the simulator given: parameter 1 is 'x', the simulator's 'w'", out, 1,
      true)

    -- a model alone does not know its script
    assert(os.rename(folder .. "/runs/ring/model.safetensors", folder .. "/m.safetensors"))
    out, code = run("evaluate", "m.safetensors")
    assert.equal(1, code)
    assert.matches("does not hold its simulator 'ring': give --simulator FILE.lua", out, 1, true)
    assert.equal(0, select(2, run("evaluate", "m.safetensors", "--samples", "400", "--simulator", "ring.lua")))

    -- what is left is the folder of a run that crashed
    out, code = run("evaluate", "runs/ring")
    assert.equal(1, code)
    assert.matches("runs/ring holds no model yet: its training has not ended; `simvae train /%S+/ring.lua %-%-out "
      .. "runs/ring`", out)
    local _scope <close> = assert(core.io.lock(folder .. "/runs/ring/train.lock")) -- or of one that is running
    assert.matches("runs/ring holds no model yet: process %d+ on %S+ trains there; the model is there when that has "
      .. "ended", (run("evaluate", "runs/ring")))
  end)

  it("evaluates with no more runs of the simulator than the training was limited to #long", function()
    local out, code = run("train", "ring.lua", "--steps", "5", "--width", "4", "--quiet", "--simulations", "1000",
      "--out", "runs/few")
    assert.equal(0, code, out)
    assert.equal(500, json.load(folder .. "/runs/few/metrics.json").samples)
    assert.equal(500, json.decode((simvae.output("evaluate", "runs/few", "--json"))).samples)
  end)

  it("trains a built-in simulator with other options than its settings, and prints JSON #long", function()
    local out, code = train("dsprites", "--posterior", "gaussian", "--net", "mlp", "--batch", "8", "--out", "runs/b",
      "--json") -- with --quiet
    assert.equal(0, code, out)
    local numbers = assert(json.decode(out))
    assert.equal("gaussian", numbers.posterior)
    assert.equal("mlp", numbers.net)
    assert.equal("dsprites", json.load(folder .. "/runs/b/run.json").source)
    assert.equal(0, select(2, run("evaluate", "runs/b", "--samples", "400")))
  end)

  it("is interrupted with exit code 130 and a checkpoint, from which the same command goes on #long", function()
    if helper.ignores(2) then return pending "SIGINT is ignored here" end
    local words = { "train", "ring.lua", "--steps", "40000", "--width", "4", "--out", "runs/stopped" }
    local command = simvae.command(table.unpack(words)):gsub("&& LUA_PATH", "&& exec env LUA_PATH")
    local log = folder .. "/runs/stopped/log.csv"
    local function rows() return core.system.kind(log) and select(2, helper.read(log):gsub("\n", "")) or 0 end
    local function interrupted()
      local process <close> = assert(core.process.spawn { "sh", "-c", command })
      local before, since = rows(), core.system.clock()
      while rows() <= before and core.system.clock() - since < 60 do core.system.sleep(0.05) end
      process:kill "INT"
      local how, code = process:wait(60)
      assert.same({ "exit", 130 }, { how, code })
      return process:errors()
    end
    local out = interrupted()
    local step = out:match "simvae: interrupted at decoder step (%d+); the same call goes on from there\n$"
    assert.is_truthy(step, out)
    local said, code = run("evaluate", "runs/stopped")
    assert.equal(1, code)
    assert.matches("its training has not ended; `simvae train ", said, 1, true)
    assert.equal("interrupted", json.decode((simvae.output("info", "runs/stopped", "--json"))).state)
    assert.matches("runs/stopped: going on from decoder step " .. step, interrupted(), 1, true)
    -- another number of steps is another training
    words[4] = "50000"
    said, code = run(table.unpack(words))
    assert.equal(1, code)
    assert.matches("is of another configuration: decoder", said, 1, true)
  end)

  it("takes a table of settings", function()
    write("settings.lua", "local sim = dofile 'ring.lua'\nreturn { simulator = sim, width = 6, posterior = 'mixture', "
      .. "decoder = { steps = 3 }, encoder = { steps = 3 }, samples = 400 }")
    local out, code = run("train", "settings.lua", "--out", "runs/s", "--quiet", "--json")
    assert.equal(0, code, out)
    local numbers = assert(json.decode(out))
    assert.equal(6, numbers.width)
    assert.equal("mixture", numbers.posterior)
    assert.equal(3, numbers.steps.decoder)
  end)

  it("refuses what is no simulator, and leaves no folder", function()
    write("bad.lua", "local a = 1\nlocal x = = 2\n")
    write("nothing.lua", "local sv = require 'simvae'\n")
    write("number.lua", "return 3\n")
    write("wrong.lua", "local sv = require 'simvae'\nreturn sv.simulator { name = 'w', output = { 3 },\n  params = { "
      .. "{ name = 'a', lwo = 1, high = 2 } }, simulate = print }\n")
    write("line.lua", "local sv = require 'simvae'\nlocal sim = sv.simulator { name = 'w' }\nreturn sim\n")
    write("option.lua", "return { simulator = dofile 'ring.lua', widht = 4 }\n")
    for _, case in ipairs {
      { "there is no simulator 'bxo'; did you mean 'box'?", "bxo" },
      { "there is no simulator 'orbital'; built in are box, digits, dsprites, fourier, polygon, rlc, scene",
        "orbital" },
      { "none.lua: there is no such file", "none.lua" },
      { "bad.lua:2: unexpected symbol near '='", "bad.lua" },
      { "nothing.lua returns nothing; its last line has to return a simulator", "nothing.lua" },
      { "number.lua returns 3; its last line", "number.lua" },
      { "wrong.lua: simulator 'w': parameter 'a' has an unknown field 'lwo'; did you mean 'low'?", "wrong.lua" },
      { "line.lua:2: simulator 'w': option '%a+' is missing", "line.lua" },
      { "option.lua: unknown option 'widht'; did you mean 'width'?", "option.lua" },
      { "there is no simulator 'ring'; did you mean the script ring.lua?", "ring" },
    } do
      local out, code = run("train", case[2], "--out", "refused")
      assert.equal(1, code, out)
      assert.matches("simvae: " .. case[1]:gsub("[-?]", "%%%0"), out)
      assert.is_nil(out:find "traceback")
    end
    assert.is_nil(core.system.kind(folder .. "/refused"))
  end)
end)
