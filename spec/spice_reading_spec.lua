-- How sv.spice reads netlists, analyses and outputs. The right values are ngspice 39's own (`ngspice -b`), or those of
-- a voltage divider.
local helper = require "spec.helper"
local core = require "simvae.core"
local simulate = require "simvae".simulate
local spice = require "simvae.simulator.spice".spice

if not helper.have_ngspice() then
  pending("netlists: no libngspice", function() end)
  return
end

local R = { { name = "R", low = 100, high = 1e4, scale = "log" } }

local function make(t)
  t.params, t.output = t.params or R, t.output or { "v(out)" }
  t.analysis = t.analysis or not t.own and ".op" or nil
  t.own = nil
  return assert(spice(t))
end

-- The outputs at given values (default: R = 1000).
local function run(t, values)
  local sim = make(t)
  local x = sim:run(core.tensor { values or { 1000 } }):totable()[1]
  sim:close()
  return x
end

local function fails(pattern, t)
  local ok, why = pcall(make, t)
  assert.is_false(ok, "was made, and should not: " .. pattern)
  assert.matches(pattern, why)
end

local function write(folder, name, text) helper.write(folder .. "/" .. name, text) end

local supply = "V1 in 0 5\nR1 in out {R}\n"

describe("a netlist's lines", function()
  it("lose their comments, and go on after any mixture of them", function()
    for _, lower in ipairs {
      "R2 out 0 1k ; 5", "R2 out 0 1k;5", "R2 out 0 1k $ 5", "R2 out 0 1k,$5", "R2 out 0 1k // 5", "R2 out 0 1k//5",
      "R2 out 0 1k\n* c\n+ tc1=0", "R2 out 0\n+ 1k", "R2 out 0\n\n+ 1k", "R2 out 0\n  * c\n   + 1k",
      "R2 out 0 ; c\n+ 1k",
      "R2 out 0 $ c\n*d\n+ 1k ; e", "R2\tout\t0\t1k", "R2 out 0 // c\n\n// d\n$ e\n+1k", "R2 out\n+\n+ 0 1k",
      "R2 out 0 \\\\\n1k", "* R2 out 0 2k\nR2 out 0 1k", "R2 out 0 1k\n*# shell false", "r2 OUT 0 1K",
    } do
      for _, ends in ipairs { "\n", "\r\n" } do
        local text = ("t\n" .. supply .. lower .. "\n.end\n"):gsub("\n", ends)
        assert.near(2.5, run { netlist = text } [1], 1e-6, lower)
      end
    end
    for _, mark in ipairs { ";", "$", "//" } do -- ngspice 39: v(out) = 1.3804
      local text = ("t\n" .. supply .. "D1 out 0 dm\n.model dm d(IS=1e-14 ; saturation\n+ N=2 ; emission\n+ RS=1)\n")
      assert.near(1.3804, run { netlist = text:gsub(";", mark) } [1], 1e-4)
    end
  end)

  it("begin with a title, which may be a .title card or blank", function()
    local circuit = supply .. "R2 out 0 1k\n.end\n"
    for _, title in ipairs { "t\n", ".title KiCad schematic\n", "\n", "\n\nRC circuit of two\n", "* c\n.title x\n",
      "t\n+ u\n", "\u{FEFF}t\n", "*ng_script\n" } do
      assert.near(2.5, run { netlist = title .. circuit } [1], 1e-6)
    end
    for _, title in ipairs { "Resistor in series 10k\n", "Voltage divider with 5 V\n", "Q1 in out bc547\n" } do
      assert.near(2.5, run { netlist = title .. circuit } [1], 1e-6)
    end
    fails("first line is its title", { netlist = circuit })
    -- a blank line is a title: what follows is the circuit
    for _, card in ipairs { "R9 in 0 1k", "V9 q 0 pulse(0 1)\nR9 q 0 1k", "R9 in 0 R=1k", "R9 in\n* c\n+ 0 1k",
      "X9 in 0 load\n.subckt load a b\nR a b 1k\n.ends", "D9 0 in dm\n.model dm d", "B9 in 0 I = 2 * 0.5",
      "E9 q 0 value={v(in)}\nR9 q 0 1k" } do
      assert.near(-5 / 2000 - (card:find "B9" and 1 or card:find "[RX]9 in" and 5e-3 or 0),
        run { netlist = "\n" .. card .. "\n" .. circuit, output = { "i(V1)" } } [1], 1e-6, card)
    end
    for _, card in ipairs { "V1 in 0 pulse(0 1 0 1n 1n 1 2)", "R1 in out R", "E1 out 0 in 0 2", ".param RL=1k" } do
      fails("first line is its title", { netlist = card .. "\n" .. circuit })
    end
    fails("first line is its title", { netlist = "D1 out 0 dm\n" .. supply .. "R2 out 0 1k\n.model dm d\n" })
  end)

  it("end with .end, after which there may be nothing but comments", function()
    local circuit = "t\n" .. supply .. "R2 out 0 1k\n.end"
    for _, rest in ipairs { "", "\n\n* c\n", " of it\n", "\n; c\n" } do
      assert.near(2.5, run { netlist = circuit .. rest } [1], 1e-6)
    end
    fails("goes on after .end: R3 out 0 1k", { netlist = circuit .. "\nR3 out 0 1k\n" }) -- ngspice reads it
  end)

  it("have micro signs of three kinds", function()
    for _, micro in ipairs { "\u{B5}", "\u{3BC}", "\xB5", "u" } do
      local x = run { netlist = "t\nV1 in 0 pulse(0 1 0 1n 1n 1 2)\nR1 in out {R}\nC1 out 0 1" .. micro .. "F\n",
        analysis = ".tran 10" .. micro .. "s 1ms" }
      assert.equal(101, #x)
      assert.near(1 - math.exp(-1), x[101], 1e-3)
    end
  end)

  it("come from included files and sections of libraries", function()
    local folder = helper.temporary_folder()
    os.execute("mkdir " .. helper.quote(folder .. "/sub"))
    write(folder, "corner.inc", ".param VDD=3.3\n.include 'sub/low.inc'\n.end\n")
    write(folder, "sub/low.inc", "R2 out 0 {RL} ; in a folder of its own\n.param RL=1k\n.include \"more.inc\"\n")
    write(folder, "sub/more.inc", "* nothing\n")
    write(folder, "l.lib", ".lib slow\n.param RL=3k\n.endl slow\n.lib fast\n.param RL=1k\n.endl\n")
    write(folder, "c.cir", "t\n.include corner.inc\nV1 in 0 {VDD}\nR1 in out {R}\n.end\n")
    write(folder, "loop.inc", ".include loop.inc\n")
    local circuit = "V1 in 0 {VDD}\nR1 in out {R}\n"
    assert.near(1.65, run { netlist = "t\n.INCLUDE " .. folder .. "/corner.inc\n" .. circuit } [1], 1e-6)
    assert.near(1.65, run { netlist = folder .. "/c.cir" } [1], 1e-6)
    local with_lib = "t\n.lib '" .. folder .. "/l.lib' SECTION\nR2 out 0 {RL}\n.param VDD=4\n" .. circuit
    assert.near(2, run { netlist = with_lib:gsub("SECTION", "fast") } [1], 1e-6)
    assert.near(3, run { netlist = with_lib:gsub("SECTION", "SLOW") } [1], 1e-6)
    -- a sampled parameter replaces that of an included file
    assert.near(1, run({ netlist = folder .. "/c.cir", params = { R[1], { name = "vdd", low = 1, high = 5 } } },
      { 1000, 2 })[1], 1e-6)
    -- PSPICE's if() in an included file, with ngspice's own program: v(out) = 1
    write(folder, "ps.inc", ".subckt high a b\nE1 b 0 VALUE {IF(V(a)>1, 1, 0)}\n.ends\n")
    local pspice = "t\nV1 in 0 5\nX1 in out high\nR1 out 0 {R}\n.include " .. folder .. "/ps.inc\n"
    for _, mode in ipairs { "ps", "ltps", "psa" } do
      for _, trusted in ipairs { false, true } do
        assert.near(1, run { netlist = pspice, compatibility = mode, trusted = trusted } [1], 1e-6)
      end
    end
    fails("no such function 'if'", { netlist = pspice })
    fails("has no section 'typical'", { netlist = with_lib:gsub("SECTION", "typical") })
    fails("No such file", { netlist = "t\n.include missing.inc\n" .. circuit })
    fails("is no file", { netlist = "t\n.include /dev/zero\n" .. circuit })
    fails("is UTF%-16", { netlist = "\xFF\xFEt\0\n\0" })
    fails("include each other", { netlist = "t\n.include " .. folder .. "/loop.inc\n" .. circuit })
    fails("[Uu]ndefined parameter", { netlist = "t\n.include " .. folder .. "/sub/more.inc\n" .. circuit })
  end)
end)

describe("a parameter", function()
  it("is ngspice's, so that a subcircuit's own of the same name stays", function()
    local seg = "t\nV1 in 0 1\nX1 in out seg R={R}\nX2 out 0 seg%s\n.subckt seg a b %s\nR1 a b {R}\n.ends\n"
    assert.near(0.75, run { netlist = seg:format(" R=3k", "R=1k") } [1], 1e-6) -- ngspice 39
    assert.near(0.75, run { netlist = seg:format("", "R=3k") } [1], 1e-6)
    local own = "t\nV1 in 0 1\nR1 in out {R}\nX2 out 0 seg\n.subckt seg a b\n.param R=3k\nR1 a b {R}\n.ends\n"
      .. ".param R=7\n"
    assert.near(0.75, run { netlist = own } [1], 1e-6)
    fails("'R' has no place", { netlist = own:gsub("in out {R}", "in out 1k"):gsub("%.param R=7", "") })
  end)

  it("may stand beside random functions, which each sample draws for itself, whatever the workers", function()
    local t = { netlist = "t\nV1 in 0 5\nR1 in out {R}\nR2 out 0 {agauss(1k, 100, 1)}\n",
      output = { "@r2[resistance]" } }
    local _, x = simulate(make(t), 60, core.rng(3), { workers = 2 })
    local _, y = simulate(make(t), 60, core.rng(3), { workers = 0 })
    assert.same(y:totable(), x:totable())
    local seen = {}
    for _, row in ipairs(x:totable()) do
      assert.is_nil(seen[row[1]])
      seen[row[1]] = true
    end
    assert.near(1000, core.mean(x):item(), 5 * 100 / math.sqrt(60)) -- agauss(mean, deviation at 1 sigma)
  end)
  it("is one operand in every expression, whatever its sign", function()
    local x = { { name = "x", low = -3, high = 3 } }
    for expression, value in pairs { ["5-{x}"] = 8, ["{x}^2"] = 9, ["-{x}"] = 3, ["2-x"] = 5, ["{2-x^2}"] = -7,
      ["2/{x}"] = -2 / 3, ["'x'*2"] = -6, ["{x > 0 ? 1 : 2}"] = 2 } do
      local netlist = "t\nR1 out 0 1k\nB1 out 0 V=" .. expression .. "\n"
      assert.near(value, run({ netlist = netlist, params = x }, { -3 })[1], 1e-5, expression)
    end
    for _, value in ipairs { "{x}", "'x'", "x", "dc {x}", "dc=x", "{ X }" } do
      local netlist = "t\nR1 out 0 1k\nV1 out 0 " .. value .. "\n"
      assert.near(-3, run({ netlist = netlist, params = x }, { -3 })[1], 1e-5, value)
    end
  end)

  it("may have a name that ngspice has another meaning for, or none", function()
    for _, name in ipairs { "max", "sin", "ac", "int", "pi", "temper", "time", "e", "2x", "x.y", "\u{B5}", "größe",
      "sqrt" } do
      local p = { { name = name, low = 1, high = 10 } }
      local netlist = "t\nV1 in 0 {" .. name .. "}\nR1 in out {max(1k, 5)}\nR2 out 0 1k\n"
      assert.near(3.5, run({ netlist = netlist, params = p }, { 7 })[1], 1e-6, name)
    end
  end)

  it("stands with a unit suffix, a sign, or for an area, where ngspice takes no expression", function()
    local k = { { name = "k", low = -10, high = 10 } }
    for _, card in ipairs { "R1 in out {k}k", "R1 in out { K }kOhm", "R1 in out r={k}Meg m=1k" } do
      assert.near(1.25, run({ netlist = "t\nV1 in 0 5\n" .. card .. "\nR2 out 0 1k\n", params = k }, { 3 })[1], 1e-6)
    end
    for _, source in ipairs { "-{k}", "dc -{k}", "-{k*1000}m", "'-k'" } do
      assert.near(3, run({ netlist = "t\nV1 out 0 " .. source .. "\nR1 out 0 1\n", params = k }, { -3 })[1], 1e-6)
    end
    local diode = "t\nI1 0 out 1m\nD1 out 0 dm %s\n.model dm d(is=1e-14)\n.param unused={k}\nR9 out 0 {1e9+k}\n"
    assert.near(run({ netlist = diode:format "area=3", params = k }, { 3 })[1],
      run({ netlist = diode:format "{k}", params = k }, { 3 })[1], 1e-6)
    local model = "t\nV1 in 0 5\nR1 in out {k} rm\nR2 out 0 1\n.model rm r(tc1=0.01)\n.options temp=127\n"
    assert.near(5 / 7, run({ netlist = model, params = k }, { 3 })[1], 1e-6)
    fails("decimal sign is a point: R1 in out 1,5k", { netlist = "t\nV1 in 0 1\nR1 in out 1,5k\nR2 out 0 {k}\n",
      params = k })
    fails("1{k} is no number", { netlist = "t\nV1 out 0 1{k}\nR1 out 0 1\n", params = k }) -- ngspice: 1 and 3
  end)
  it("is heard in initial values, measurements, temperatures and analyses", function()
    local v0 = { { name = "V0", low = 1, high = 4 } }
    local rc = "t\nV1 in 0 5\nR1 in out 1k\nC1 out 0 1u\n"
    local x = run({ netlist = rc .. ".ic v(out)={V0}\n", params = v0, analysis = ".tran 10u 1m uic" }, { 2 })
    assert.near(2, x[1], 1e-3)
    x = run({ netlist = rc, params = { { name = "f", low = 10, high = 1000 } }, output = { "frequency" },
      analysis = ".ac lin 3 {f} {3*f}" }, { 100 })
    assert.same({ 100, 200, 300 }, x)
    x = run({ netlist = rc, params = { { name = "max", low = 10, high = 1000 } }, output = { "frequency" },
      analysis = ".ac lin 3 1 {max}" }, { 101 })
    assert.same({ 1, 51, 101 }, x)
    fails("say into how many even points", { netlist = rc, params = v0, analysis = ".tran 10u {V0*1m}" })
    x = run({ netlist = rc, params = v0, analysis = ".tran 10u {V0*1m}", points = 5, output = { "time" } }, { 2 })
    for k = 1, 5 do assert.near((k - 1) * 5e-4, x[k], 1e-9) end
  end)

  it("is altered in place where coupled inductors allow it", function()
    local t = { netlist = "t\nV1 in 0 ac 1\nR1 in a {R}\nL1 a 0 {L}\nL2 o 0 4m\nL3 p 0 1m\nK1 L1 L2 0.9\nK2 L2 L3 0.9\n"
      .. "RL o 0 1k\nRP p 0 1k\n.end\n", params = { R[1], { name = "L", low = 1e-4, high = 1e-1, scale = "log" } },
      analysis = ".ac lin 1 10k 10k", output = { "vm(o)" } }
    local z = core.tensor { { 1000, 1e-3 }, { 1000, 1e-2 }, { 1000, 1e-3 } }
    local x = make(t):run(z):totable()
    t.netlist = t.netlist:gsub("{L}", "{L*1}"):gsub("{R}", "{R*1}")
    assert.same(make(t):run(z):totable(), x)
    t = { netlist = "t\n.probe alli\n" .. supply .. "R2 out 0 1k\n", output = { "v(out)", "i(R1)" } } -- KiCad's
    x = run(t)
    assert.near(2.5, x[1], 1e-6)
    assert.near(2.5e-3, x[2], 1e-9)
  end)
end)

describe("an output", function()
  it("is a vector of the analysis that was run, never a constant of ngspice's", function()
    for _, name in ipairs { "e", "c", "i", "kelvin", "pi", "yes", "boltz", "planck", "TRUE" } do
      local netlist = "t\n" .. supply .. "R2 out 0 1k\n"
      fails("no vector .*those there are: .*out", { netlist = netlist, output = { "v(" .. name .. ")" } })
      fails("no vector .*those there are: .*out", { netlist = netlist, output = { name } })
    end
    -- nodes of these names are nodes
    assert.near(2.5, run { netlist = "t\nV1 in 0 5\nR1 in e {R}\nR2 e 0 1k\n", output = { "v(E)" } } [1], 1e-6)
  end)

  it("names nodes in any case, with punctuation, one less another, and currents", function()
    local netlist = "t\nV1 /In 0 5\nR1 /in Net-(C1-Pad1) {R}\nR2 Net-(C1-Pad1) a.b 500\nR3 a.b 0 500\n"
      .. "R4 /in 7 1k\nR5 7 gnd 1k\n"
    local x = run { netlist = netlist, output = { "V(Net-(C1-Pad1))", "v(/IN)", "v(/in,A.B)", "v(0,7)", "v(7,gnd)",
      "i(V1)", "@r1[i]", "7" } }
    for i, value in ipairs { 2.5, 5, 3.75, -2.5, 2.5, -5e-3, 2.5e-3, 2.5 } do assert.near(value, x[i], 1e-6) end
    fails("@NAME%[i%]", { netlist = netlist, output = { "i(r1)" } })
    fails("one node or two", { netlist = netlist, output = { "v(7)-v(/in)" } })
    fails("is ground", { netlist = netlist, output = { "v(0)" } })
  end)

  it("comes with a notice of what ngspice passes over: misspelt parameters, unknown nodes", function()
    local real, said = io.stderr, {}
    io.stderr = { write = function(_, ...) said[#said + 1] = table.concat { ... } end } -- luacheck: ignore
    local ok, why = pcall(make, { netlist = "t\n" .. supply .. "D1 out 0 dm\n.model dm d(iss={R})\n.ic v(nope)=1\n" })
    io.stderr = real -- luacheck: ignore
    assert(ok, why)
    assert.matches("unrecognized parameter %(iss%) %- ignored", table.concat(said))
    assert.matches("non%-existent node %- nope", table.concat(said))
  end)
  it("names nodes in any alphabet, where the ngspice program makes one of all of a length", function()
    local netlist = "t\nV1 in 0 5\nR1 in té {R}\nR2 té 0 1k\nR3 in tè 3k\nRΩ tè 0 1kΩ\n"
    local x = run { netlist = netlist, output = { "v(té)", "v(tè)", "v(té,tè)" } }
    for i, value in ipairs { 2.5, 1.25, 1.25 } do assert.near(value, x[i], 1e-6) end
    fails("no vector 'tô'; those there are: in, tè, té", { netlist = netlist, output = { "v(tô)" } })
  end)
  it("is a .meas result: an RC's rise time is 2.197 RC", function()
    local t = { netlist = "t\nV1 in 0 pulse(0 1 0 1n 1n 1 2)\nR1 in out {R}\nC1 out 0 1u\n"
      .. ".meas tran trise trig v(out) val=0.1 rise=1 targ v(out) val=0.9 rise=1\n"
      .. ".meas tran none when v(out)=3\n.measure tran twice param='2*trise'\n.end\n",
      analysis = ".tran 10u 10m" }
    t.output = { "trise", "meas:TWICE" }
    local x = run(t)
    assert.near(1000 * 1e-6 * math.log(9), x[1], 1e-6)
    assert.near(2 * x[1], x[2], 1e-9)
    local z = core.tensor { { 1000 }, { 3000 }, { 200 } } -- each sample's own
    local each = make(t):run(z):totable()
    for i, row in ipairs(z:totable()) do assert.near(row[1] * 1e-6 * math.log(9), each[i][1], 1e-6 * row[1] / 1000) end
    t.output = { "none" }
    fails("%.meas tran none when .* failed", t)
    t.output = { "meas:fall" }
    fails("no .meas of that name; there are none, trise, twice", t)
    t.output, t.analysis = { "trise" }, ".op"
    fails("its .meas is of tran, the analysis is", t)
  end)

  it("is part of the simulator's series, with unit and axis", function()
    local rc = "t\nV1 in 0 dc 1 ac 1\nR1 in out {R}\nC1 out 0 1u\n"
    local s = make { netlist = rc, analysis = ".ac dec 10 10 1k", output = { "vdb(out)", "vp(out)", "im(v1)" } }.series
    assert.same({ { name = "vdb(out)", unit = "dB" }, { name = "vp(out)", unit = "rad" },
      { name = "im(v1)", unit = "A" } }, { s[1], s[2], s[3] })
    assert.same({ "frequency", "Hz", "log" }, { s.axis.name, s.axis.unit, s.axis.scale })
    assert.near(10, s.axis.low, 1e-9)
    assert.near(1000, s.axis.high, 1e-9)
    assert.same({ name = "time", unit = "s", low = 0, high = 1e-3 },
      make { netlist = rc, analysis = ".tran 10u 1m" }.series.axis)
    assert.same({ name = "V1", unit = "V", low = -1, high = 2 },
      make { netlist = rc, analysis = ".dc V1 -1 2 0.5" }.series.axis)
    assert.is_nil(make { netlist = rc }.series)
  end)

  it("of .tran is interpolated on an even grid, or as ngspice's own steps", function()
    local rc = "t\nV1 in 0 sin(0 1 1k)\nR1 in out {R}\nC1 out 0 1u\n"
    assert.same({ 0, 3, 6, 9 }, (function(x)
      for i, v in ipairs(x) do x[i] = math.floor(v * 1e6 + 0.5) end
      return x
    end)(run { netlist = rc, analysis = ".tran 3u 10u", output = { "time" } }))
    -- from a start on, where ngspice's own first point is 2.8 us later
    for _, tail in ipairs { "", " 2u", " 2u uic" } do
      local x = run { netlist = rc, analysis = ".tran 10u 1m 0.5m" .. tail, output = { "v(in)" } }
      assert.equal(51, #x)
      for k = 1, 51 do assert.near(-math.sin(2 * math.pi * (k - 1) / 100), x[k], 2e-3) end
    end
    fails("steps farther than it runs", { netlist = rc, analysis = ".tran 2m 1m" })
    local own = run { netlist = rc, analysis = ".tran 10u 1m", output = { "time" }, grid = "steps" }
    assert.is_true(#own > 50 and #own ~= 101)
    assert.near(1e-3, own[#own], 1e-9)
    fails("points is 101, but ngspice gives", { netlist = rc, analysis = ".tran 10u 1m", grid = "steps", points = 101 })
  end)
end)

describe("an analysis", function()
  local divider = "t\n" .. supply .. "R2 out 0 1k\n"

  it("is chosen where the netlist has several", function()
    local netlist = divider .. ".tran 10u 1m\n.op\n.noise v(out) V1 dec 1 1 10\n"
    fails("3 analyses: %.tran 10u 1m; %.op; %.noise", { netlist = netlist, own = true })
    assert.equal(101, #run { netlist = netlist, analysis = ".tran 10u 1m" })
    assert.equal(1, #run { netlist = divider .. ".op\n", own = true })
    fails("analysis is missing", { netlist = divider, own = true })
    fails("analysis is", { netlist = divider .. ".noise v(out) V1 dec 1 1 10\n", own = true })
    fails("%.step param R 1 2 1: sv.spice varies a circuit by its parameters",
      { netlist = divider .. ".step param R 1 2 1\n" })
  end)

  it("is one, of its parts alone", function()
    local file = helper.temporary_folder() .. "/made"
    for _, text in ipairs { ".op\nshell touch FILE", ".op;shell touch FILE", ".dc v1 0 1 `touch FILE`",
      ".op\rshell touch FILE", ".dc `touch${IFS}FILE` 0 1 1", ".tran 1u 1m 0 `touch FILE`", ".op $(touch FILE)",
      ".dc v1 0 1 1 > FILE", "shell touch FILE", ".dc v1 0 1 {`touch FILE`}", ".ac dec 10 1 10 | touch FILE" } do
      fails("analysis", { netlist = divider, analysis = text:gsub("FILE", file) })
    end
    assert.is_nil(core.system.kind(file))
    for _, text in ipairs { ".tran 1m", ".tran 0 1m", ".tran 1u 1m startup", ".ac dec 10 0 100", ".ac 10 1 10",
      ".dc v1 0 1 0" } do
      fails("analysis", { netlist = divider, analysis = text })
    end
  end)
end)
