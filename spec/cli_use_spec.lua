-- simvae encode, decode, invert, simulate, info and new: the real program.
local assert = require "luassert"
local helper = require "spec.helper"
local core = require "simvae.core"

local simvae = require "spec.fixtures.simvae"
local folder, run, output, write = simvae.folder, simvae.run, simvae.output, simvae.write
local files = require "simvae.io"
local json = require "simvae.io.json"
local sv = require "simvae"

write("ring.lua", simvae.ring)
local ring = dofile(folder .. "/ring.lua")

-- A simulator whose inverse is exact: its parameters are the first numbers of two curves.
write("curves.lua", [[
local sv = require "simvae"
return sv.simulator { name = "curves", output = { 6 },
  params = { { name = "a", low = 0, high = 1, unit = "V" }, { name = "b", low = 1, high = 100, scale = "log" } },
  series = { { name = "one" }, { name = "two" }, axis = { name = "t", unit = "s", low = 0, high = 2 } },
  simulate = function(z, out) for i = 1, 3 do out[i], out[3 + i] = z.a * i, math.log(z.b) * i end end }
]])
local curves = dofile(folder .. "/curves.lua")

local _, x = sv.simulate(ring, 3, sv.rng(1))
local model = sv.model { simulator = ring, width = 4, posterior = "flow", seed = 1 }
model:train { out = folder .. "/runs/ring", quiet = true, batch = 8, decoder = { steps = 3 }, encoder = { steps = 3 } }
local of_curves = sv.model { simulator = curves, width = 8, posterior = "flow", seed = 1 }
of_curves:train { quiet = true, decoder = { steps = 300 }, encoder = { steps = 600 } }
assert(core.system.mkdir(folder .. "/runs/curves"))
assert(of_curves:save(folder .. "/runs/curves/model.safetensors"))
assert(json.save(folder .. "/runs/curves/run.json", { simulator = "curves", source = folder .. "/curves.lua",
  series = curves.series, axis = curves.series.axis }))
for i = 1, 3 do assert(files.save_png(string.format("%s/%d.png", folder, i), x[i])) end
assert(files.save_npy(folder .. "/x.npy", x))

local function decoded(...)
  local out, code = output(...)
  assert.equal(0, code)
  return assert(json.decode(out))
end

describe("simvae encode", function()
  it("gives what model:encode and model:posterior give, from every kind of file", function()
    local seen = files.load_png(folder .. "/1.png"):reshape(1, 1, 32, 32)
    local mean, posterior = model:encode(seen), model:posterior(seen)
    local std, interval = posterior:std(), posterior:quantile { 0.05, 0.95 }
    local one = decoded("encode", "runs/ring", "1.png", "--level", "0.9", "--json")[1]
    assert.equal("1.png", one.output)
    for k, p in ipairs(ring.params) do
      local v = one.parameters[k]
      assert.equal(p.name, v.name)
      assert.equal("px", v.unit)
      assert.near(mean:get(1, k), v.value, 1e-4)
      assert.near(std:get(1, k), v.std, 1e-4)
      assert.near(interval:get(1, 1, k), v.low, 1e-4)
      assert.near(interval:get(1, 2, k), v.high, 1e-4)
    end
    local three = decoded("encode", "runs/ring", "x.npy", "--json")
    assert.equal("x.npy, output 3", three[3].output)
    assert.equal(3, #decoded("encode", "runs/ring/model.safetensors", "1.png", "2.png", "3.png", "--json"))
    -- standard input, without a name
    local piped = helper.run("cat " .. folder .. "/1.png | { " .. simvae.command("encode", "runs/ring", "-", "--json",
      "--level", "0.9") .. "; }")
    assert.same(one.parameters, json.decode(piped)[1].parameters)
    local text, code = output("encode", "runs/ring", "1.png", "2.png")
    assert.equal(0, code)
    assert.matches("^1.png\nname +value +unit +std +95%% interval\nx +%S+ +px +%S+ +%S+ to %S+\n", text)
    assert.matches("\n\n2.png\n", text)
  end)

  it("tells where several values explain an output, with the standard deviation of them all", function()
    local mirror = sv.simulator { name = "mirror", output = { 2 }, noise = 0.02,
      params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 1 } },
      simulate = function(z, out) out[1], out[2] = z.a ^ 2, z.b end }
    local two = sv.model { simulator = mirror, width = 16, posterior = "flow", seed = 1 }
    two:train { quiet = true, decoder = { steps = 200 }, encoder = { steps = 300 } }
    assert(two:save(folder .. "/mirror.safetensors"))
    write("mirror.csv", "0.49,0.5\n") -- a is 0.7 or -0.7
    local one = decoded("encode", "mirror.safetensors", "mirror.csv", "--json")[1]
    assert.same({ "a" }, one.one_of_many)
    assert.near(0.7, math.abs(one.parameters[1].value), 0.1)
    assert.near(0.7, one.parameters[1].std, 0.1)
    assert.near(0.5, one.parameters[2].value, 0.1)
    assert.is_true(one.parameters[2].std < 0.1)
    assert.matches("\na: several values explain the output. The value is one of them, not their mean;",
      (output("encode", "mirror.safetensors", "mirror.csv")), 1, true)
  end)

  it("prints draws of the posterior as CSV", function()
    local out, code = output("encode", "runs/ring", "1.png", "--samples", "50", "--seed", "3")
    assert.equal(0, code)
    local header, rest = out:match "^([^\n]*)\n(.*)$"
    assert.equal("x,y,r", header)
    local draws = model:posterior(files.load_png(folder .. "/1.png"):reshape(1, 1, 32, 32)):sample(50, sv.rng(3))
    local i = 0
    for line in rest:gmatch "[^\n]+" do
      i = i + 1
      local a, b, c = line:match "^([^,]+),([^,]+),([^,]+)$"
      assert.near(draws:get(1, i, 1), tonumber(a), 1e-4)
      assert.near(draws:get(1, i, 2), tonumber(b), 1e-4)
      assert.near(draws:get(1, i, 3), tonumber(c), 1e-4)
    end
    assert.equal(50, i)
  end)

  it("reads measured curves from CSV files, as rows, a column, or a column a series beside the axis", function()
    local a, b = 0.3, 20
    local y, cells = curves:run { { a, b } }:totable()[1], {}
    for i, v in ipairs(y) do cells[i] = string.format("%.6g", v) end
    write("row.csv", "v1,v2,v3,v4,v5,v6\n" .. table.concat(cells, ",") .. "\n")
    write("bare.csv", table.concat(cells, ";") .. "\n")
    write("column.csv", "v\n" .. table.concat(cells, "\n") .. "\n")
    local lines, pairs_of = { "t,one,two" }, { "one,two" }
    for i = 1, 3 do
      lines[i + 1] = string.format("%d,%s,%s", i - 1, cells[i], cells[3 + i])
      pairs_of[i + 1] = string.format("%s,%s", cells[i], cells[3 + i])
    end
    write("axis.csv", table.concat(lines, "\n"))
    write("series.csv", table.concat(pairs_of, "\n"))
    local first = decoded("encode", "runs/curves", "row.csv", "--json")[1]
    assert.is_nil(first.one_of_many)
    assert.near(a, first.parameters[1].value, 0.1)
    assert.near(math.log(b), math.log(first.parameters[2].value), 0.3)
    for _, name in ipairs { "bare.csv", "column.csv", "axis.csv", "series.csv" } do
      assert.same(first.parameters, decoded("encode", "runs/curves", name, "--json")[1].parameters)
    end
  end)

  it("takes columns by their names, and numbers with decimal commas", function()
    local cells = curves:run({ { 0.3, 20 } }):totable()[1]
    local lines = { "note;two;t [s];one" }
    for i = 1, 3 do
      lines[i + 1] = string.format("point;%.6g;%d;%.6g", cells[3 + i], i - 1, cells[i]):gsub("%.", ",")
    end
    write("sheet.csv", table.concat(lines, "\n"))
    local first = decoded("encode", "runs/curves", "row.csv", "--json")[1]
    assert.same(first.parameters, decoded("encode", "runs/curves", "sheet.csv", "--json")[1].parameters)
    write("sheet.csv", (table.concat(lines, "\n"):gsub("t %[s%]", "t [ms]")))
    local out, code = run("encode", "runs/curves", "sheet.csv")
    assert.equal(0, code)
    assert.matches("sheet.csv: column 't [ms]' is taken to be in s, as the simulator's", out, 1, true)
    assert.is_nil(out:find("in their order", 1, true))
    write("sheet.csv", string.format("t,upper,lower\n0,%g,%g\n1,%g,%g\n2,%g,%g\n", cells[1], cells[4], cells[2],
      cells[5], cells[3], cells[6]))
    out, code = run("encode", "runs/curves", "sheet.csv")
    assert.equal(0, code)
    assert.matches("sheet.csv: columns are taken in their order: 'upper' as one, 'lower' as two\n", out, 1, true)
  end)

  it("refuses a measurement that was taken where the simulator's outputs are not", function()
    local cells = curves:run({ { 0.3, 20 } }):totable()[1]
    local function encoded(first, step)
      local lines = { "t,one,two" }
      for i = 1, 3 do lines[i + 1] = string.format("%g,%.6g,%.6g", first + (i - 1) * step, cells[i], cells[3 + i]) end
      write("shifted.csv", table.concat(lines, "\n"))
      return run("encode", "runs/curves", "shifted.csv")
    end
    assert.equal(0, select(2, encoded(0.05, 0.98)))
    for _, case in ipairs {
      { 0.5, 1, "line 2: column 't' is 0.5 where the simulator's t is 0 s" },
      { 0, 1.2, "line 3: column 't' is 1.2 where the simulator's t is 1 s" },
      { 0, 1000, "line 3: column 't' is 1000 where" },
      { 2, -1, "line 2: column 't' is 2 where the simulator's t is 0 s" },
    } do
      local out, code = encoded(case[1], case[2])
      assert.equal(1, code, out)
      assert.matches(case[3], out, 1, true)
      assert.matches("interpolate the measurement to the simulator's 3 values, 0 to 2 s", out, 1, true)
    end
    write("few.csv", "t,one,two\n0,1,2\n1,1,2\n")
    assert.matches("few.csv has 2 rows of 3 numbers; the model takes rows of 6 numbers, an output each, or one output "
      .. "as 3 rows of t, one, two", (run("encode", "runs/curves", "few.csv")), 1, true)
  end)

  it("says what it does with a picture of another size, and how to change it", function()
    local scaled = sv.preprocess.resize(x[1], 64, 96)
    assert(files.save_png(folder .. "/large.png", scaled))
    local out, code = run("encode", "runs/ring", "large.png")
    assert.equal(0, code)
    assert.matches("large.png has 96 x 64 pixels in 1 channel; the model takes 32 x 32 pixels in 1 channel: it is "
      .. "padded with its background and resized. --fit stretch changes its proportions, or --fit exact refuses it",
      out, 1, true)
    out, code = run("encode", "runs/ring", "large.png", "--fit", "exact")
    assert.equal(1, code)
    assert.matches("--fit pad or --fit stretch resizes it", out, 1, true)
    -- stretched back it is nearly the picture of before, padded another one
    local function x_of(...)
      return decoded("encode", "runs/ring", "large.png", "--json", ...)[1].parameters[1].value
    end
    local plain = decoded("encode", "runs/ring", "1.png", "--json")[1].parameters[1].value
    assert.is_true(math.abs(x_of("--fit", "stretch") - plain) < math.abs(x_of("--fit", "pad") - plain))
    assert.equal(0, select(2, output("encode", "runs/ring", "1.png", "--ground", "dark", "--contrast")))
  end)

  it("refuses what is no output of its simulator", function()
    local cells = {}
    for i = 1, 1024 do cells[i] = "b" .. i - 1 end
    local names = table.concat(cells, ",")
    write("text.csv", names .. "\n" .. names:gsub("b%d+", "1", 1):gsub("b%d+", "x") .. "\n")
    write("short.csv", "a,b\n1,2\n")
    write("empty.csv", "")
    assert(files.save_npy(folder .. "/other.npy", core.zeros(2, 5)))
    assert(files.save_npz(folder .. "/other.npz", { y = core.zeros(2, 5) }))
    for _, case in ipairs {
      { "none.png: there is no such file", "none.png" },
      { "text.csv, line 2: column 'b1' is \"x\", which is not a number", "text.csv" },
      { "short.csv has 1 row of 2 numbers; the model takes rows of 1024 numbers, an output each, or 1024 rows of one "
        .. "number", "short.csv" },
      { "empty.csv: is empty", "empty.csv" },
      { "other.npy has the shape (2, 5); the model takes (1, 32, 32), or several as (N, 1, 32, 32)", "other.npy" },
      { "other.npz has no array x; it has y", "other.npz" },
    } do
      local out, code = run("encode", "runs/ring", case[2])
      assert.equal(1, code, out)
      assert.matches(case[1], out, 1, true)
      assert.is_nil(out:find "traceback")
    end
    assert.matches("1.png is a picture; the model takes 6 numbers", (run("encode", "runs/curves", "1.png")), 1, true)
    assert.matches("standard input is empty", (helper.run(simvae.command("encode", "runs/ring", "-")
      .. " < /dev/null")), 1, true)
  end)
end)

describe("simvae decode", function()
  it("writes what the decoder predicts", function()
    local y = model:decode { { 20, 10, 5 } }[1]
    local out, code = output("decode", "runs/ring", "y=10", "x=20", "r=5", "-o", "out.png")
    assert.equal(0, code)
    assert.equal("out.png\n", out)
    assert.is_true(core.max(core.abs(files.load_png(folder .. "/out.png") - y)):item() <= 0.5 / 255 + 1e-5)
    assert.equal(0, select(2, output("decode", "runs/ring", "y=10", "x=20", "r=5", "-o", "out.npy")))
    assert.near(0, core.max(core.abs(files.load_npy(folder .. "/out.npy") - y)):item(), 1e-6)
    local made = decoded("decode", "runs/ring", "y=10", "x=20", "r=5", "--json")
    assert.same({ 1, 32, 32 }, made.shape)
    assert.near(y:get(1, 3, 4), made.output[1][3][4], 1e-5)
    -- CSV, in a pipe: a column a series, which encode reads
    out = output("decode", "runs/curves", "a=0.5", "b=10")
    assert.matches("^one,two\n", out)
    write("again.csv", out)
    local again = decoded("encode", "runs/curves", "again.csv", "--json")[1]
    assert.near(0.5, again.parameters[1].value, 0.1)
  end)

  it("names the parameters that it takes", function()
    for _, case in ipairs {
      { "parameters without a value: y (8 to 24 px), r (2 to 8 px)", "x=9" },
      { "x takes a number; got 'wide'", "x=wide" },
      { "'9' is no parameter: they are given as name=value, such as x=16", "9" },
      { "'ring' has no parameter 'radius'; its parameters are x, y, r", "radius=9" },
      { "x is given twice", "x=9", "x=10" },
    } do
      local out, code = run("decode", "runs/ring", table.unpack(case, 2))
      assert.equal(2, code, out)
      assert.matches(case[1], out, 1, true)
    end
    local out, code = run("decode", "runs/curves", "a=0.5", "b=10", "-o", "curves.png")
    assert.equal(2, code)
    assert.matches("outputs of 'curves' are 6 numbers and no pictures: -o takes .npy or .csv", out, 1, true)
    assert.is_nil(core.system.kind(folder .. "/curves.png"))
    assert.equal(2, select(2, run("decode", "runs/ring", "x=9", "y=9", "r=3", "-o", "none/out.png")))
  end)
end)

describe("simvae invert", function()
  it("prints the best results, with their misfit", function()
    local z, misfits = model:invert(files.load_png(folder .. "/1.png"):reshape(1, 1, 32, 32), { starts = 4, keep = 2,
      steps = 5, seed = 2 })
    local one = decoded("invert", "runs/ring", "1.png", "--starts", "4", "--keep", "2", "--steps", "5", "--seed", "2",
      "--json")[1]
    for k = 1, 2 do
      assert.near(misfits:get(1, k), one.results[k].misfit, 1e-4)
      assert.near(z:get(1, k, 3), one.results[k].parameters.r, 1e-3)
    end
    local out, code = output("invert", "runs/ring", "1.png", "--starts", "2", "--keep", "2", "--steps", "1")
    assert.equal(0, code)
    assert.matches("^misfit +x px +y px +r px\n[%d.]+ +%S+ +%S+ +%S+\n[%d.]+ +%S+ +%S+ +%S+\n$", out)
    assert.matches("keep = 3 takes as many starts; got starts = 2", (run("invert", "runs/ring", "1.png", "--starts",
      "2", "--keep", "3")), 1, true)
  end)
end)

describe("simvae simulate", function()
  it("writes the samples of sv.simulate, for any number of workers", function()
    local z, y = sv.simulate(curves, 300, sv.rng(5))
    for _, workers in ipairs { "0", "2" } do
      local out, code = run("simulate", "curves.lua", "-n", "300", "--seed", "5", "--workers", workers, "-o", "d.npz")
      assert.equal(0, code, out)
      assert.matches("simulate 300 samples in ", out, 1, true)
      local data = assert(files.load_npz(folder .. "/d.npz"))
      assert.same(z:totable(), data.z:totable())
      assert.same(y:totable(), data.x:totable())
    end
    assert.equal("d.npz\n", (run("simulate", "curves.lua", "-n", "30", "--quiet", "-o", "d.npz")))
    local x_of = decoded("encode", "runs/curves", "d.npz", "--json")
    assert.equal(30, #x_of)
  end)

  it("refuses files that cannot be written, before it simulates", function()
    for _, case in ipairs {
      { 2, "there is no folder 'none'", "curves.lua", "-o", "none/d.npz" },
      { 2, "the file's name ends in .npz, or it is a folder; got 'd.csv'", "curves.lua", "-o", "d.csv" },
      { 1, "GB of memory: --out FOLDER writes shards instead", "ring.lua", "-n", "2000000" },
      { 1, "there is no simulator 'foruier'; did you mean 'fourier'?", "foruier" },
    } do
      local out, code = run("simulate", table.unpack(case, 3))
      assert.equal(case[1], code, out)
      assert.matches(case[2], out, 1, true)
    end
  end)
end)

describe("simvae info", function()
  it("tells what files hold", function()
    sv.simulate(curves, 7, sv.rng(1), { cache = folder .. "/samples" })
    for _, case in ipairs {
      { "kind", "model", "runs/ring/model.safetensors" }, { "posterior", "flow", "runs/ring/model.safetensors" },
      { "kind", "run", "runs/ring" }, { "state", "trained", "runs/ring" },
      { "kind", "checkpoint", "runs/ring/checkpoint.safetensors" },
      { "stage", "done", "runs/ring/checkpoint.safetensors" },
      { "kind", "sample cache", "samples" }, { "samples", 7, "samples" },
      { "kind", "npy array", "x.npy" }, { "kind", "PNG picture", "1.png" }, { "width", 32, "1.png" },
      { "kind", "simulator", "ring.lua" }, { "simulator", "box", "box" },
      { "kind", "table", "runs/ring/log.csv" },
    } do
      assert.equal(case[2], decoded("info", case[3], "--json")[case[1]], case[3])
    end
    assert.same({ 3, 1, 32, 32 }, decoded("info", "x.npy", "--json").shape)
    local text = output("info", "runs/ring")
    assert.matches("^run\n", text)
    assert.matches("\n    r 2 to 8 px\n", text)
    assert.matches("runs/ring/events.out is of no kind", (function()
      write("runs/ring/events.out", "\1\2\0\3")
      return (run("info", "runs/ring/events.out"))
    end)(), 1, true)
  end)
end)

describe("simvae new", function()
  local needs = { circuit = helper.have_ngspice, program = function() return helper.python() ~= nil end }
  for _, kind in ipairs(require("simvae.util.catalogue").files("simvae.cli.templates", "function")) do
    it("writes a script of kind " .. kind .. " that trains, as it is but for its steps #long", function()
      if needs[kind] and not needs[kind]() then return pending("what a " .. kind .. " needs is not installed") end
      local out, code = output("new", "my_" .. kind, "--kind", kind)
      assert.equal(0, code)
      local listed = {}
      for name in out:gmatch "[^\n]+" do
        listed[name] = true
        assert.equal("file", core.system.kind(folder .. "/" .. name))
        local text = helper.read(folder .. "/" .. name)
        assert.is_nil(text:find("@NAME@", 1, true))
      end
      assert.is_true(listed["my_" .. kind .. ".lua"])
      out, code = run("train", "my_" .. kind .. ".lua", "--steps", "5", "--samples", "400", "--quiet", "--width", "8",
        "--simulations", "300", "--workers", "0")
      assert.equal(0, code, out)
      assert.matches("report: runs/my_" .. kind .. "/report.html\n$", out)
      out, code = run("new", "my_" .. kind, "--kind", kind)
      assert.equal(1, code)
      assert.matches("exists already; nothing was written", out, 1, true)
    end)
  end

  it("refuses names that cannot be files", function()
    for _, name in ipairs { "3d", "a/b", "" } do
      local out, code = run("new", name)
      assert.equal(2, code)
      assert.matches("a name has letters, digits, - and _", out, 1, true)
    end
    assert.equal(2, select(2, run("new", "a", "--kind", "picture")))
  end)
end)
