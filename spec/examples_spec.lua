-- The programs of examples/ and notebooks/: help, and arguments that are rejected before anything runs.
local helper = require "spec.helper"
local core = require "simvae.core"

local folder = helper.temporary_folder()

local function programs()
  local list = {}
  for _, place in ipairs { "examples/", "notebooks/" } do
    for _, name in ipairs(core.system.list(place)) do
      if name:find "%.lua$" then list[#list + 1] = place .. name end
    end
  end
  table.sort(list)
  assert(#list >= 13)
  return list
end

-- Runs a program in an empty folder; what it printed, its exit code.
local here = (helper.run "pwd"):gsub("\n", "")
local function run(program, ...)
  local words = helper.lua_command(here .. "/" .. program, ...):gsub("='build/", "='" .. here .. "/build/")
    :gsub(";build/", ";" .. here .. "/build/")
  return helper.run("cd " .. folder .. "; " .. words)
end

describe("every program", function()
  it("prints its options for --help, and makes no file", function()
    for _, program in ipairs(programs()) do
      local out, code = run(program, "--help")
      assert.equal(0, code, program .. ": " .. out)
      assert.matches("^Usage: lua " .. program:match "([%w_]+)%.lua$" .. "%.lua", out)
      assert.matches("%-h, %-%-help", out)
    end
    assert.same({}, core.system.list(folder))
  end)

  it("names the nearest option for one that is misspelt", function()
    for _, program in ipairs(programs()) do
      local out, code = run(program, "--hepl")
      assert.equal(1, code)
      assert.matches("unknown option '%-%-hepl'.*Did you mean '%-%-help'", out)
    end
    assert.matches("Did you mean '%-%-steps'", (run("examples/train_box.lua", "--stpes", "3")))
  end)
end)

describe("an example", function()
  it("refuses arguments before it trains", function()
    for _, case in ipairs {
      { "--samples takes a whole number of 400 or more; got '200'", "--samples", "200" },
      { "--seed takes a whole number of 0 or more; got 'one'", "--seed", "one" },
      { "--steps takes a whole number of 1 or more; got '0'", "--steps", "0" },
      { "--steps takes a whole number of 1 or more; got '1.5'", "--steps", "1.5" },
      { "--threads takes a whole number from 1 to 64; got '65'", "--threads", "65" },
      { "--workers takes a whole number from 0 to 256; got 'two'", "--workers", "two" },
      { "must be one of 'default', 'paper'", "--recipe", "best" },
    } do
      local out, code = run("examples/train_bounce.lua", case[2], case[3])
      assert.equal(1, code)
      assert.matches((case[1]:gsub("%-%-", "%%-%%-")), out)
      assert.is_nil(out:find "traceback")
    end
    assert.same({}, core.system.list(folder))
  end)

  it("refuses settings that only its evaluation or figures need before it trains", function()
    local experiment = require("simvae.cli.experiment").experiment
    local sim = require "simvae".simulator { name = "line", params = { { name = "slope", low = 0, high = 1 } },
      output = { 4 }, simulate = function() error "ran" end }
    local function with(extra)
      local t = { simulator = sim, decoder = { steps = 1 }, encoder = { steps = 1 } }
      for k, v in pairs(extra) do t[k] = v end
      return function() experiment(t, { "--out", folder .. "/none", "--quiet" }) end
    end
    helper.raises("samples must be at least 400; got 399", with { samples = 399 })
    helper.raises("factors names 'slpoe', which is no parameter of 'line'; did you mean 'slope'",
      with { factors = { "slpoe" } })
    helper.raises("refine: unknown option 'setps'; did you mean 'steps'", with { refine = { setps = 3 } })
    helper.raises("base names 'slopes', which is no parameter of 'line'; did you mean 'slope'",
      with { base = { slopes = 1 } })
    helper.raises("pictures names '/none.png', which is not a file", with { pictures = { "/none.png" } })
    helper.raises("simulator must be made by sv.simulator; got an empty table", with { simulator = {} })
    assert.same({}, core.system.list(folder))
  end)
end)

describe("the examples of posteriors", function()
  it("train, compare with exact samples and draw them", function()
    local out, code = run("examples/train_posterior.lua", "--simulations", "200", "--steps", "3", "--width", "8",
      "--draws", "100", "--quiet", "--out", "moons")
    assert.equal(0, code, out)
    local count = 0
    for score in out:gmatch "C2ST (%d%.%d+)" do
      count = count + 1
      assert.is_true(tonumber(score) > 0.8) -- of a flow of three steps
    end
    assert.equal(3, count)
    local files = table.concat(core.system.list(folder .. "/moons"), " ")
    assert.matches("model.safetensors", files, 1, true)
    assert.matches("moons_3.dat", files, 1, true)
    assert(os.execute("rm -r " .. helper.quote(folder .. "/moons")))
  end)

  it("give intervals of a measured curve, and refuse a file that is none", function()
    local out, code = run("examples/train_noisy_filter.lua", "--steps", "3", "--width", "8", "--quiet", "--out",
      "filter")
    assert.equal(0, code, out)
    for _, name in ipairs { "R", "L", "C", "f0", "Q" } do
      local low, middle, high = out:match("\n" .. name .. " +(%S+) +(%S+) +(%S+)")
      low, middle, high = tonumber(low), tonumber(middle), tonumber(high)
      assert.is_true(low < middle and middle < high, out)
    end
    assert.matches("%d+%% of the measured numbers", out)
    local path = folder .. "/short.csv"
    for _, case in ipairs {
      { "takes 61 rows of frequency, gain and phase; it has 1 rows of 3", "f,gain,phase\n100,0,0\n" },
      { "line 3: takes a gain and a phase at 112.2 Hz; got '120,0,0'", "f,gain,phase\n100,0,0\n120,0,0\n"
        .. ("200,0,0\n"):rep(59) },
    } do
      do
        local file <close> = assert(io.open(path, "w"))
        file:write(case[2])
      end
      out, code = run("examples/train_noisy_filter.lua", "--measured", path)
      assert.equal(1, code)
      assert.matches(case[1], out, 1, true)
    end
    assert(os.execute("rm -r " .. helper.quote(folder .. "/filter") .. " " .. helper.quote(path)))
  end)
end)

describe("the examples of digits", function()
  it("read, multiply, draw and factor other digits, and refuse a file that is none", function()
    local path, lines = folder .. "/other.csv", { "digit" .. (",p"):rep(64) }
    for digit = 0, 9 do lines[#lines + 1] = digit .. (",0,16"):rep(32) end
    helper.write(path, table.concat(lines, "\n"), "\n")
    local out, code = run("examples/train_digits.lua", "--steps", "2", "--width", "4", "--quiet", "--out", "digits",
      "--digits", path)
    assert.equal(0, code, out)
    assert.matches("other.csv +10 digits, +%d+%.%d%% read correctly", out)
    out, code = run("examples/train_multiply.lua", "--steps", "2", "--width", "4", "--quiet", "--model", "digits",
      "--out", "product", "--pairs", "10", "--digits", path)
    assert.equal(0, code, out)
    assert.matches("| other.csv | %d+%.%d%% | %d+%.%d%% ", out)
    assert.matches("factors of 35, as it is drawn:\n  %d x %d  0%.%d+", out)
    local files = core.system.list(folder .. "/product")
    table.sort(files)
    assert.same({ "factors.png", "multiply.png", "table.md" }, files)
    for _, case in ipairs {
      { "takes a digit and 64 pixels a row; it has 2 columns", "digit,p\n1,2\n" },
      { "line 2: takes a digit from 0 to 9 and pixels from 0 to 16; got '3,17", lines[1] .. "\n3" .. (",17"):rep(64) },
    } do
      helper.write(path, case[2], "\n")
      out, code = run("examples/train_multiply.lua", "--digits", path)
      assert.equal(1, code)
      assert.matches(case[1], out, 1, true)
    end
    assert(os.execute("rm -r " .. helper.quote(folder .. "/digits") .. " " .. helper.quote(folder .. "/product") .. " "
      .. helper.quote(path)))
  end)
end)

describe("the list of experiments", function()
  it("is printed, and one with its settings", function()
    local out, code = run("examples/experiments.lua")
    assert.equal(0, code)
    for _, name in ipairs { "box", "fourier", "polygon", "dsprites", "rlc" } do
      assert.matches("\n" .. name .. ": ", "\n" .. out)
    end
    out, code = run("examples/experiments.lua", "polygon")
    assert.equal(0, code)
    assert.matches("simulator polygon: ", out)
    assert.matches("\nnet          \"coordconv\"\nposterior    \"flow\"\nrecalibrate  20000\n", out)
    assert.matches("must be one of", (run("examples/experiments.lua", "ploygon")))
  end)
end)

describe("the gallery", function()
  it("makes a picture of the name it is given, and refuses others", function()
    local out, code = run("examples/gallery.lua", "some.txt")
    assert.equal(1, code)
    assert.matches("the file's name ends in .png; got 'some.txt'", out)
    assert.matches("there is no folder 'none'", (run("examples/gallery.lua", "none/some.png")))
    out, code = run("examples/gallery.lua", "some.png", "--samples", "1")
    assert.equal(0, code, out)
    assert.same({ "some.png" }, core.system.list(folder))
    assert.equal(3, assert(require("simvae.io").load_png(folder .. "/some.png")).shape[1])
  end)
end)
