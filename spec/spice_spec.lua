-- Circuits through ngspice, against closed forms and the ngspice program.
local helper = require "spec.helper"
local core = require "simvae.core"
local spice = require "simvae.simulator.spice".spice
local rlc = require "simvae.simulators.rlc"

local missing = not helper.have_ngspice()

local netlist = [[
RLC
V1 in 0 dc 0 ac 1
R1 in a {R}
L1 a out {L}
C1 out 0 {C}
]]

local function circuit(change)
  local t = {
    name = "circuit", netlist = netlist,
    params = {
      { name = "R", low = 10, high = 1000, scale = "log" }, { name = "L", low = 1e-3, high = 0.1, scale = "log" },
      { name = "C", low = 1e-8, high = 1e-6, scale = "log" },
    },
    analysis = ".ac dec 20 100 100k", output = { "vdb(out)", "vp(out)" },
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return spice(t)
end

local z = core.tensor { { 100, 0.01, 1e-7 }, { 20, 0.05, 2e-8 }, { 900, 0.002, 9e-7 } }

-- What is said of a circuit that does not run, when it is made.
local function failure_of(change)
  local ok, why = pcall(circuit, change)
  assert.is_false(ok)
  return why
end

-- Gain in dB and phase of 1 / (1 - w^2 LC + jwRC).
local function response(R, L, C, hz)
  local w = 2 * math.pi * hz
  local re, im = 1 - w * w * L * C, w * R * C
  return -10 * math.log(re * re + im * im, 10), -math.atan(im, re)
end

describe("a netlist", function()
  it("needs a parameter for each placeholder, and a place for each parameter", function()
    assert.error_matches(function() circuit { netlist = netlist .. "R2 out 0 {Rload}\n" } end,
      "placeholder {Rload} has no parameter", 1, true)
    assert.error_matches(function() circuit { netlist = netlist:gsub("{L}", "1m") } end,
      "parameter 'L' has no place in the netlist", 1, true)
    assert.error_matches(function() circuit { netlist = netlist:gsub("^RLC\n", "") } end,
      "first line is its title", 1, true)
    local sim, why = circuit { netlist = "no/such/file.cir" }
    assert.is_nil(sim)
    assert.matches("no/such/file.cir: No such file", why, 1, true)
  end)

  it("needs an analysis and outputs that are some", function()
    assert.error_matches(function() circuit { analysis = ".foo 1 2" } end, "analysis is", 1, true)
    assert.error_matches(function() circuit { analysis = ".ac dec 20" } end, "not complete", 1, true)
    assert.error_matches(function() circuit { output = { "vx(out)" } } end, "'vx' is not known", 1, true)
    assert.error_matches(function() circuit { netlst = "" } end, "did you mean 'netlist'", 1, true)
  end)
end)

if missing then
  pending("circuits: no libngspice", function() end)
  return
end

describe("a circuit", function()
  it("has as many points as ngspice gives, which points is compared with", function()
    assert.same({ 61 }, circuit { output = { "vm(out)" } }.output)
    assert.same({ 2 * 10 }, circuit { analysis = ".ac lin 10 1k 2k" }.output)
    assert.same({ 5 }, circuit { analysis = ".dc V1 0 2 0.5", output = { "v(out)" } }.output)
    assert.same({ 9 }, circuit { analysis = ".dc V1 0 2 1 R1 1k 3k 1k", output = { "v(out)" } }.output)
    assert.same({ 2000 }, circuit { analysis = ".dc v1 0 20 0.01", output = { "v(out)" } }.output) -- rounding
    assert.same({ 11 }, circuit { analysis = ".tran 1u 10u", output = { "v(out)" } }.output)
    assert.same({ 1 }, circuit { analysis = ".op", output = { "v(out)" } }.output)
    assert.error_matches(function() circuit { points = 60 } end, "points is 60, but ngspice gives 61", 1, true)
    assert.error_matches(function() circuit { probe = false } end, "probe = false needs points", 1, true)
    local sim = circuit { points = 60, probe = false }
    assert.error_matches(function() sim:run(z) end, "ngspice gave 61 points where 60 were expected", 1, true)
    sim:close()
  end)

  it("agrees with the closed form", function()
    local sim <close> = setmetatable({ circuit() }, { __close = function(t) t[1]:close() end })
    local x = sim[1]:run(z):totable()
    for i, row in ipairs(z:totable()) do
      for k = 0, 60 do
        local gain, phase = response(row[1], row[2], row[3], 100 * 10 ^ (k / 20))
        assert.near(gain, x[i][k + 1], 1e-4)
        assert.near(phase, x[i][k + 62], 1e-5)
      end
    end
  end)

  it("gives the same altered in place, parsed afresh, by .param, from a file", function()
    local folder = helper.temporary_folder()
    local file = assert(io.open(folder .. "/c.cir", "w"))
    file:write(netlist, ".ac dec 20 100 100k\n.end\n")
    file:close()
    local altered = circuit()
    local expected = altered:run(z):totable()
    for _, change in ipairs {
      { netlist = netlist:gsub("a {R}", "a {1*R}") },
      { netlist = netlist:gsub("a {R}", "a {r}"):gsub("{C}", "'C*1'") },
      { netlist = netlist:gsub("\nV1", "\n.param R=5 L={1+1}\nV1") },
      { netlist = folder .. "/c.cir", analysis = nil },
      { restart = 1 },
    } do
      local sim = circuit(change)
      assert.same(expected, sim:run(z):totable())
      sim:close()
    end
    altered:close()
  end)

  it("measures voltages, currents and differences", function()
    local sim = spice {
      name = "divider", netlist = "divider\nV1 1 0 dc 10\nR1 1 mid {R}\nR2 mid 0 1k\n",
      params = { { name = "R", low = 100, high = 10000 } }, analysis = ".op",
      output = { "v(mid)", "v(1)", "v(1, mid)", "i(v1)" },
    }
    local x = sim:run { { 1000 }, { 4000 } }:totable()
    assert.near(5, x[1][1], 1e-5)
    assert.near(2, x[2][1], 1e-5)
    assert.near(10, x[2][2], 1e-5)
    assert.near(8, x[2][3], 1e-5)
    assert.near(-0.002, x[2][4], 1e-8)
    sim:close()
  end)

  it("is read off at even steps of time", function()
    local sim = spice {
      name = "step", netlist = "step\nV1 in 0 pulse(0 1 0 1p 1p 1 2)\nR1 in out {R}\nC1 out 0 1u\n",
      params = { { name = "R", low = 100, high = 10000 } }, analysis = ".tran 10u 5m 0 10u", output = { "v(out)" },
      points = 26,
    }
    local x = sim:run { { 1000 } }:totable()[1]
    for k = 0, 25 do assert.near(1 - math.exp(-k * 0.2), x[k + 1], 2e-3) end
    sim:close()
  end)

  it("says what is wrong, and which vectors there are", function()
    assert.matches("no vector 'foo'; those there are: .*out", failure_of { output = { "vdb(foo)" } })
    assert.matches("v(out) is complex in this analysis", failure_of { output = { "v(out)" } }, 1, true)
    assert.matches("hello", failure_of { netlist = netlist .. "hello\n" }, 1, true)
    assert.matches("foo", failure_of { netlist = netlist .. "D1 out 0 foo\n" }, 1, true)
    assert.matches("singular matrix", failure_of { netlist = netlist .. "V2 in 0 dc 1\n" }, 1, true)
    assert.matches("[Uu]ndefined parameter", failure_of { netlist = netlist .. "R3 out 0 {2*Rx}\n" })
    assert.matches("unknown subckt", failure_of { netlist = netlist .. "X1 out 0 nothing\n" }, 1, true)
    assert.matches("R = 100", failure_of { netlist = netlist .. "hello\n" }, 1, true)
    assert.matches("(timeout)", failure_of { analysis = ".tran 1u 10", timeout = 0.1, output = { "v(out)" } }, 1, true)
  end)

  it("goes on after a failure", function()
    -- an infinite resistance for the second
    local sim = circuit { netlist = netlist:gsub("a {R}", "a {1/(R > 50 ? 1/R : 0)}") }
    local x = core.zeros(3, 122)
    local reasons = sim.batch(z, x)
    assert.is_nil(reasons[1])
    assert.is_nil(reasons[3])
    assert.is_string(reasons[2])
    local expected = circuit():run(z):totable()
    local got = x:totable()
    assert.same(expected[1], got[1])
    assert.same(expected[3], got[3])
    sim:close()
  end)

  it("goes on after failures that leave ngspice beyond repair", function()
    local sim = circuit { netlist = netlist .. "R3 out 0 {2*Rx}\n", points = 61, probe = false }
    for _ = 1, 2 do
      local reasons = sim.batch(z, core.zeros(3, 122))
      for i = 1, 3 do assert.matches("[Uu]ndefined parameter", reasons[i]) end
    end
    sim:close()
  end)

  it("survives the death of its process, and lives in a forked copy", function()
    local sim = circuit()
    local expected = sim:run(z):totable()
    local copy <close> = core.process.fork(function(link)
      local x = sim:run(z)
      link:send(tostring(x:get(1, 1)))
      sim:close()
    end)
    assert.equal(tostring(expected[1][1]), copy:receive(10))
    assert.same(expected, sim:run(z):totable())
    sim:close()
    assert.same(expected, sim:run(z):totable())
    sim:close()
  end)

  it("keeps its memory flat", function()
    local worker <close> = core.process.fork(function(link)
      assert(core.spice.open())
      assert(core.spice.load { "rlc", "V1 in 0 ac 1", "R1 in a 100", "L1 a out 10m", "C1 out 0 100n", ".end" })
      local out, first = core.zeros(61), nil
      for i = 1, 1500 do
        assert(core.spice.run { "alter r1 = " .. i, "alter c1 = " .. i * 1e-9, "ac dec 20 100 100k" })
        assert(core.spice.read("db", "out", nil, out, 0, 61))
        if i % 100 == 0 then collectgarbage() end
        if i == 500 then first = core.system.resident() end
      end
      link:send(tostring(core.system.resident() - first))
    end)
    local grown = tonumber((assert(worker:receive(20))))
    if not os.getenv "LD_PRELOAD" then assert.is_true(grown <= 64 * 1024, grown .. " bytes in 1000 runs") end
  end)
end)

describe("rlc", function()
  it("agrees with its closed form", function()
    local params = rlc:sample(40, core.rng(1))
    local exact = rlc { engine = "analytic" }
    local x, y = rlc:run(params):totable(), exact:run(params):totable()
    for i = 1, 40 do
      for k = 1, 61 do
        assert.near(y[i][k], x[i][k], 0.01)
        assert.near(y[i][k + 61], x[i][k + 61], 0.001)
      end
    end
    local R, L, C = table.unpack(params:totable()[1])
    for k = 0, 60 do
      local gain, phase = response(R, L, C, 100 * 10 ^ (k / 20))
      assert.near(gain, y[1][k + 1], 1e-4)
      assert.near(phase, y[1][k + 62], 1e-5)
    end
  end)

  it("agrees with the ngspice program", function()
    if not helper.have "ngspice" then return pending "no ngspice program" end
    local folder = helper.temporary_folder()
    local file = assert(io.open(folder .. "/c.cir", "w"))
    file:write("rlc\nV1 in 0 dc 0 ac 1\nR1 in a 150\nL1 a out 20m\nC1 out 0 50n\n.control\nset wr_singlescale\n",
      "set numdgt=12\nac dec 20 100 100k\nwrdata ", folder, "/out.txt vdb(out) vp(out)\n.endc\n.end\n")
    file:close()
    helper.run("ngspice -b " .. helper.quote(folder .. "/c.cir"))
    local x = rlc:run { { 150, 0.02, 50e-9 } }:totable()[1]
    local k = 0
    for line in io.lines(folder .. "/out.txt") do
      local hz, gain, phase = line:match "(%S+)%s+(%S+)%s+(%S+)"
      if tonumber(hz) then
        k = k + 1
        assert.near(tonumber(gain), x[k], 0.01)
        assert.near(tonumber(phase), x[61 + k], 0.001)
      end
    end
    assert.equal(61, k)
  end)

  it("leaves f0, Q and the response as they are under its symmetry", function()
    local at = { R = 150, L = 0.02, C = 50e-9 }
    local moved = rlc.symmetry[1].map(at, 2.5)
    for _, invariant in ipairs(rlc.invariants) do
      assert.near(1, invariant.value(moved) / invariant.value(at), 1e-12)
    end
    assert.near(5032.9, rlc.invariants[1].value(at), 0.1)
    assert.near(4.2164, rlc.invariants[2].value(at), 1e-4)
    local x = rlc:run { { at.R, at.L, at.C }, { moved.R, moved.L, moved.C } }:totable()
    for k = 1, 122 do assert.near(x[1][k], x[2][k], 1e-3) end
  end)

  it("says which package is missing", function()
    local output = helper.run("SV_NGSPICE=/no/such/library.so " .. helper.lua_command("-e", [[
      local rlc = require "simvae.simulators.rlc"
      print(rlc { engine = "analytic" }:run { { 100, 0.01, 1e-7 } }.shape[2])
      print(pcall(rlc.run, rlc, { { 100, 0.01, 1e-7 } }))]]))
    assert.matches("^122\n", output)
    assert.matches("apt-get install libngspice0", output, 1, true)
    assert.error_matches(function() rlc { engine = "spice" } end, "engine is one of ngspice, analytic", 1, true)
  end)
end)

describe("the example circuits", function()
  it("run: a low-pass filter", function()
    local sim = dofile "examples/simulators/filter.lua"
    local x = sim:run { { 1000, 1e-7 } }:totable()[1]
    for k = 0, 30 do
      local w = 2 * math.pi * 100 * 10 ^ (k / 10) * 1e-4
      assert.near(-10 * math.log(1 + w * w, 10), x[k + 1], 1e-3)
    end
    sim:close()
  end)

  it("run: a diode rectifier", function()
    local sim = dofile "examples/simulators/rectifier.lua"
    local x = sim:run { { 5, 1e-4, 1000 } }:totable()[1]
    local highest, lowest = -math.huge, math.huge
    for k = 41, 121 do highest, lowest = math.max(highest, x[k]), math.min(lowest, x[k]) end
    assert.is_true(highest > 4.1 and highest < 4.5) -- 5 V less the drop across the diode
    assert.near(highest * math.exp(-0.018 / 0.1), lowest, 0.15) -- discharges by R C between the crests
    sim:close()
  end)
end)
