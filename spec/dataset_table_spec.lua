-- CSV tables as data sets: spreadsheets, instruments, LTspice.
local helper = require "spec.helper"
local core = require "simvae.core"
local dataset = require "simvae.simulator.dataset".dataset

local folder = helper.temporary_folder()
local path = folder .. "/runs.csv"

-- The data set of a text, and its notices; or nil, message.
local function open(text, options)
  helper.write(path, text)
  local t = { path = path }
  for name, v in pairs(options or {}) do t[name] = v end
  local made, why
  local notices = helper.stderr_of(function() made, why = dataset(t) end)
  return made, made and notices or why
end

local function refused(pattern, text, options)
  local made, why = open(text, options)
  assert.is_nil(made)
  assert.matches(pattern, why, 1, true)
end

local wide = "R [kOhm],C (nF),note,gain,phase (deg)\n1,10,a,0.5,-45\n2,10,b,0.25,-60\n1,22,c,0.75,-30\n"

describe("a table in wide form", function()
  it("has names, units, bounds and outputs by its columns", function()
    local data, notice = open(wide, { params = { "R", "C" }, drop = { "note" } })
    assert.same({ "R", "C" }, data.names)
    assert.equal("kOhm", data.params[1].unit)
    assert.equal("nF", data.params[2].unit)
    assert.same({ 10, 22 }, { data.params[2].low, data.params[2].high })
    assert.same({ 2 }, data.output)
    assert.same({ { 0.5, -45 }, { 0.75, -30 } }, data:run({ { 1, 10 }, { 1, 22 } }):totable())
    assert.matches("bounds by the rows: R 1 to 2 kOhm, C 10 to 22 nF; params = { { name = \"R\"", notice, 1, true)
  end)

  it("takes declarations, in their order, and columns by header", function()
    local data, notice = open(wide, {
      params = { { name = "C", low = 1, high = 100, scale = "log" }, { name = "R [kOhm]", low = 1, high = 10 } },
      outputs = { "phase" },
    })
    assert.same({ "C", "R" }, data.names)
    assert.equal("log", data.params[1].scale)
    assert.equal("kOhm", data.params[2].unit)
    assert.same({ { -60 } }, data:run({ { 10, 2 } }):totable())
    assert.equal("", notice)
    data = assert(open(wide, { outputs = { "gain", "phase (deg)" }, drop = { "note" } }))
    assert.same({ "R", "C" }, data.names)
    data = assert(open("a,b,p0,p1,p2,p3\n1,2,0,.1,.2,.3\n2,3,.4,.5,.6,.7\n",
      { params = { "a", "b" }, output = { 1, 2, 2 } }))
    assert.near(0.6, data:run({ { 2, 3 } }):get(1, 1, 2, 1), 1e-6)
  end)

  it("is read as spreadsheets and instruments write it", function()
    for _, text in ipairs {
      "R;v\n1,5;-0,25\n2,5;1e3\n", -- a German spreadsheet
      "\xEF\xBB\xBFsep=;\r\nR;v\r\n1,5;\"-0,25\"\r\n2,5;1000\r\n",
      "R\tv\n1,50\t-0,25\n2,5\t1,0E+03\n",
      "R,v\n\"1,5\",\"-0,25\"\n\"2,5\",1000\n",
      "# of Monday\nR,v\n1.5,-0.25\n# a comment\n2.5,1000\n",
      "# R,v\n1.5,-0.25\n2.5,1000\n", -- numpy.savetxt
      "R,v\n(kOhm),(V)\n\n1.5,-0.25\n2.5,1000\n", -- PicoScope
      "R / kOhm,v / V\n1.5,-0.25\n2.5,1000\n",
    } do
      local data = assert(open(text, { params = { "R" } }))
      assert.same({ { -0.25 }, { 1000 } }, data:run({ { 1.5 }, { 2.5 } }):totable())
    end
    assert.equal("kOhm", assert(open("R,v\n(kOhm),(V)\n1,2\n2,3\n", { params = { "R" } })).params[1].unit)
    assert.equal("µm", assert(open("w [µm],v\n1,2\n2,3\n", { params = { "w" } })).params[1].unit)
    local data = assert(open("x[1],\"V(a,b)\",p (1)\n1,2,3\n2,3,4\n", { outputs = { "p (1)" } }))
    assert.same({ "x[1]", "V(a,b)" }, data.names) -- no units
    data = assert(open("v [mV],v [V]\n1,2\n2,3\n", { params = { "v [mV]" } }))
    assert.same({ "v [mV]" }, data.names)
  end)

  it("is refused by line and column, with what to do", function()
    refused('params = { … } names the columns that are parameters, or outputs = { … }', wide)
    refused("there are R [kOhm], C (nF), note, gain, phase (deg)", wide)
    refused("params: there is no column \"r\"; there are R [kOhm]", wide, { params = { "r" } })
    refused("outputs: column 'R [kOhm]' is one of params", wide, { params = { "R" }, outputs = { "R" } })
    refused("runs.csv: line 2: column 'note' is \"a\", which is not a number (drop = { \"note\" } leaves it out)", wide,
      { params = { "R", "C" } })
    refused("2 missing values: line 3, column 'R'; line 4, column 'v'; missing = \"skip\" leaves these rows out",
      "R,v\n1,2\n,3\n3,NaN\n4,5\n", { params = { "R" } })
    refused("5 missing values: line 2, column 'v'; line 3, column 'v'; line 4, column 'v'; and 2 more",
      "R,v\n1,\n2,\n3,\n4,\n5,\n6,1\n", { params = { "R" } })
    refused("no row without missing values", "R,v\n1,\n2,\n", { params = { "R" }, missing = "skip" })
    refused("column 'v' is \"1.234,5\", which", "R;v\n1;1.234,5\n", { params = { "R" } })
    refused("line 3: column 'v' is \"1,5\", and line 2: column 'v' is \"0.5\"; decimal = \",\" or decimal = \".\"",
      "R;v\n1;0.5\n2;1,5\n", { params = { "R" } })
    refused("line 2: column 'v' is \"1,500\", which may be thousands or a decimal comma; decimal",
      "R\tv\n1\t1,500\n2\t2,250\n", { params = { "R" } })
    refused("is \"1.5\", which has a decimal point", "R;v\n1;1.5\n", { params = { "R" }, decimal = "," })
    refused("line 3 has 2 cells where the header has 3", "a,b,c\n1,2,3\n1,2\n", { params = { "a" } })
    refused("no rows after the header", "a,b\n", { params = { "a" } })
    refused("is empty", "\n", { params = { "a" } })
    refused("holds numbers: 1, 2", "1,2\n3,4\n", { params = { "a" } })
    refused("column 2 is named 'a', as column 1 is", "a,a,b\n1,2,3\n", { outputs = { "b" } })
    refused("parameter 1, 'R', is 1 in every row", "R,v\n1,2\n1,3\n1,2.5\n", { params = { "R" } })
    refused("drop: there is no column \"x\"", wide, { params = { "R" }, drop = { "x" } })
    refused("not a finite number", "R,v\n1,inf\n", { params = { "R" } })
    helper.raises("axis is an option of CSV tables", dataset, { z = "z.npy", x = "x.npy", axis = "t" })
    helper.raises("params%[2%] takes a name, or a table", open, wide, { params = { "R", 3 }, outputs = { "gain" } })
  end)

  it("leaves out rows with missing values where it is told to", function()
    local data, notice = open("R,v\n1,2\n,3\n3,NaN\n4,5\n", { params = { "R" }, missing = "skip" })
    assert.equal(2, data.rows)
    assert.matches("2 rows with missing values are left out", notice, 1, true)
    local value = assert(open("R\tv\n1\t1,500\n2\t2,250\n", { params = { "R" }, decimal = "," })):run({ { 1 } })
    assert.equal(1.5, value:get(1, 1))
  end)

  it("may be larger than a block", function()
    local lines = { "a," .. table.concat((function()
      local names = {}
      for i = 1, 400 do names[i] = "v" .. i end
      return names
    end)(), ",") }
    for r = 1, 1500 do lines[r + 1] = r .. ("," .. r / 2):rep(400) end
    local data = assert(open(table.concat(lines, "\n") .. "\n", { params = { "a" } }))
    assert.equal(1500, data.rows)
    assert.same({ 750, 328 }, { data:run({ { 1500 } }):get(1, 400), data:run({ { 656 } }):get(1, 7) })
  end)
end)

describe("a table in long form", function()
  -- v = R * t, i = t - C
  local function rows(order)
    local lines = { "R,C,t (ms),v (V),i (A)" }
    for _, p in ipairs(order) do
      for _, t in ipairs(p.times or { 0.5, 1, 1.5, 2 }) do
        lines[#lines + 1] = string.format("%g,%g,%g,%g,%g", p[1], p[2], t, p[1] * t, t - p[2])
      end
    end
    return table.concat(lines, "\n") .. "\n"
  end
  local three = rows { { 1, 10 }, { 2, 10 }, { 2, 20 } }
  local by = { params = { "R", "C" } }

  it("is recognised where it is unambiguous", function()
    local data, notice = open(three, by)
    assert.matches("rows are points along 't (ms)' of 3 runs (axis = false reads each row as a run)", notice, 1, true)
    assert.equal(3, data.rows)
    assert.same({ 8 }, data.output)
    assert.same({ { 1, 2, 3, 4, -9.5, -9, -8.5, -8 } }, data:run({ { 2, 10 } }):totable())
    assert.same({ "v", "V", "i", "A" },
      { data.series[1].name, data.series[1].unit, data.series[2].name, data.series[2].unit })
    assert.same({ name = "t", unit = "ms", low = 0.5, high = 2 }, data.series.axis)
    assert.equal(12, assert(open(three, { params = { "R", "C" }, axis = false })).rows)
    -- repetitions have the same parameters, and no axis
    assert.equal(4, assert(open("R,v\n1,3\n1,2\n1,2.5\n2,1\n", { params = { "R" } })).rows)
  end)

  it("is asked about where it is not", function()
    -- a count of repetitions, or an axis?
    refused('axis = "n" reads them as points of a run (long form), axis = false each row as a run',
      "R,n,v\n1,1,3\n1,2,2\n2,1,1\n2,2,7\n", { params = { "R" } })
    refused("axis = \"t\"", "R,t,v\n1,0.1,3\n1,0.2,2\n1,0.5,2\n2,0.1,1\n2,0.4,7\n2,0.5,1\n", { params = { "R" } })
    refused("its 2 runs have different points along 't'; points = n interpolates them at n even ones, from 0.1 to 0.5",
      "R,t,v\n1,0.1,3\n1,0.2,2\n1,0.5,2\n2,0.1,1\n2,0.4,7\n2,0.5,1\n", { params = { "R" }, axis = "t" })
    refused("(3 to 4 of them)", rows { { 1, 10 }, { 2, 10, times = { 0.5, 1, 2 } } },
      { params = { "R", "C" }, axis = "t" })
    refused("a run of one point along 'i'", three, { params = { "R", "t", "v" }, axis = "i" })
  end)

  it("takes runs apart by their column, by parameters and by an axis that goes back", function()
    -- the rows of the three runs in turn
    local lines, header, mixed = {}, nil, {}
    for line in three:gmatch "[^\n]+" do
      if header then lines[#lines + 1] = line else header = line end
    end
    for i = 1, 4 do
      for run = 0, 2 do mixed[#mixed + 1] = lines[run * 4 + i] end
    end
    local data = assert(open(header .. "\n" .. table.concat(mixed, "\n"), { params = { "R", "C" }, axis = "t" }))
    assert.same({ { 1, 2, 3, 4, -9.5, -9, -8.5, -8 } }, data:run({ { 2, 10 } }):totable())
    for k, line in ipairs(mixed) do mixed[k] = "run " .. (k - 1) % 3 .. "," .. line end
    data = assert(open("id," .. header .. "\n" .. table.concat(mixed, "\n"),
      { params = { "R", "C" }, axis = "t", run = "id" }))
    assert.same({ { 1, 2, 3, 4, -9.5, -9, -8.5, -8 } }, data:run({ { 2, 10 } }):totable())
    data = assert(open(rows { { 1, 10 }, { 1, 10 }, { 2, 10 } }, { params = { "R" }, axis = "t", outputs = { "v" } }))
    assert.equal(3, data.rows)
    refused("run \"0\" has other parameters than in line 2", "id,R,t,v\n0,1,0,1\n0,2,1,2\n",
      { params = { "R" }, axis = "t", run = "id" })
    -- wavenumbers that fall
    data = assert(open(rows { { 1, 10, times = { 4, 2, 1 } }, { 2, 10, times = { 4, 2, 1 } } },
      { params = { "R" }, outputs = { "v" }, axis = "t" }))
    assert.same({ { 2, 4, 8 } }, data:run({ { 2 } }):totable())
    assert.equal("log", data.series.axis.scale)
  end)

  it("is interpolated at even points", function()
    local data = assert(open(rows { { 1, 10, times = { 0, 1, 4 } }, { 2, 10, times = { 0.5, 0.5, 1, 2, 3 } } },
      { params = { "R" }, outputs = { "v" }, axis = "t", points = 6 }))
    local expected = {}
    for i = 0, 5 do expected[i + 1] = 0.5 + 0.5 * i end
    for k, v in ipairs(data:run({ { 1 } }):totable()[1]) do assert.near(expected[k], v, 1e-6) end
    for k, v in ipairs(data:run({ { 2 } }):totable()[1]) do assert.near(2 * expected[k], v, 1e-6) end
    assert.same({ name = "t", unit = "ms", low = 0.5, high = 3 }, data.series.axis)
    refused("no part of the axis in common", rows { { 1, 1, times = { 0, 1 } }, { 2, 1, times = { 2, 3 } } },
      { params = { "R" }, axis = "t", points = 5 })
  end)
end)

describe("an export of LTspice", function()
  local function export(steps, f)
    local lines = { "time\tV(out)\tI(R1)" }
    for i, s in ipairs(steps) do
      lines[#lines + 1] = string.format("Step Information: %s  (Run: %d/%d)", s[1], i, #steps)
      for _, t in ipairs(s[2]) do
        lines[#lines + 1] = string.format("%.15e\t%.6e\t%.6e", t, f(i, t), -t)
      end
    end
    return table.concat(lines, "\r\n") .. "\r\n"
  end

  it("has the stepped parameters and a curve for each trace", function()
    local even = { 0, 1e-3, 2e-3 }
    local data = assert(open(export({ { "R=1K C=10n", even }, { "R=4.7K C=10n", even }, { "R=1K C=2µ", even },
      { "R=2Meg C=1\xB5", even } }, function(i, t) return i + t end)))
    assert.same({ "R", "C" }, data.names)
    assert.near(4700, data:sample(60, core.rng(1)):totable() and data.params[1].low + 3700, 1e-3)
    assert.same({ 1000, 2e6 }, { data.params[1].low, data.params[1].high })
    local x = data:run({ { 2e6, 1e-6 } })
    for k, v in ipairs { 4, 4.001, 4.002, 0, -1e-3, -2e-3 } do assert.near(v, x:get(1, k), 1e-6) end
    assert.same({ "V(out)", "V", "I(R1)", "A" },
      { data.series[1].name, data.series[1].unit, data.series[2].name, data.series[2].unit })
    assert.same({ name = "time", unit = "s", low = 0, high = 2e-3 }, data.series.axis)
    data = assert(open(export({ { "R=1K C=10n", even }, { "R=4.7K C=10n", even } }, function(i, t) return i + t end),
      { params = { { name = "R", low = 1, high = 1e4, unit = "Ohm", scale = "log" } }, outputs = { "V(out)" } }))
    assert.same({ "R" }, data.names)
    assert.same({ 3 }, data.output)
  end)

  it("with time steps of its own is interpolated", function()
    local text = export({ { "R=1", { 0, 1, 4 } }, { "R=2", { 0, 2, 3, 4 } } }, function(i, t) return i * t end)
    refused("its 2 runs have different points along 'time' (3 to 4 of them); points = n", text)
    local data = assert(open(text, { points = 5, outputs = { "V(out)" } }))
    assert.same({ { 0, 2, 4, 6, 8 } }, data:run({ { 2 } }):totable())
    refused("the step has no R, as others have", (text:gsub("R=2", "Q=2")))
    refused("is no parameter = number of a step", (text:gsub("R=2", "R=x")))
  end)

  it("of an AC analysis gives magnitude and phase, or real and imaginary part", function()
    for _, degree in ipairs { "°", "\xB0" } do
      local data = assert(open("Freq.\tV(out)\nStep Information: C=1n  (Step: 1/2)\n"
        .. "1.0e+01\t(-1.5e+00dB,-4.5e+01" .. degree .. ")\n1.0e+02\t(-3.0e+00dB,-9.0e+01" .. degree .. ")\n"
        .. "Step Information: C=2n  (Step: 2/2)\n"
        .. "1.0e+01\t(-2.5e+00dB,-5.5e+01" .. degree .. ")\n1.0e+02\t(-4.0e+00dB,-8.0e+01" .. degree .. ")\n"))
      assert.same({ { -2.5, -4, -55, -80 } }, data:run({ { 2e-9 } }):totable())
      assert.same({ "V(out) magnitude", "dB", "V(out) phase", "deg" },
        { data.series[1].name, data.series[1].unit, data.series[2].name, data.series[2].unit })
    end
    local data = assert(open("Freq.\tV(a,b)\nStep Information: C=1n  (Run: 1/2)\n1.0e+01\t9.0e-01,-1.0e-01\n"
      .. "1.0e+02\t8.0e-01,-2.0e-01\nStep Information: C=2n  (Run: 2/2)\n1.0e+01\t7.0e-01,-3.0e-01\n"
      .. "1.0e+02\t6.0e-01,4.0e-01\n"))
    for k, v in ipairs { 0.7, 0.6, -0.3, 0.4 } do assert.near(v, data:run({ { 2e-9 } }):get(1, k), 1e-6) end
    assert.equal("V(a,b) imaginary part", data.series[2].name)
  end)
end)
