-- Netlists of different make, through sv.spice and through the ngspice program (`ngspice -b -r`), which is the
-- reference.
local helper = require "spec.helper"
local core = require "simvae.core"
local spice = require "simvae.simulator.spice".spice

if not helper.have_ngspice() or not helper.have "ngspice" then
  pending("netlists: no libngspice, or no ngspice program", function() end)
  return
end

local fixtures = "spec/fixtures/spice/"

-- The binary raw file of `ngspice -b -r`: { name = { re, … } }; with complex set, { re, im, … }.
local function read_raw(path)
  local text = helper.read(path)
  local head, at = text:match "^(.-)\nBinary:\n()"
  local count, points = tonumber(head:match "No%. Variables: (%d+)"), tonumber(head:match "No%. Points: (%d+)")
  local complex = head:find "Flags: complex" ~= nil
  local names, vectors = {}, { complex = complex, points = points }
  for name in head:match("Variables:%s*\n(.*)$"):gmatch "%s*%d+%s+(%S+)%s+[^\n]*" do names[#names + 1] = name end
  assert(#names == count)
  for _, name in ipairs(names) do vectors[name] = {} end
  for p = 1, points do
    for _, name in ipairs(names) do
      if complex then
        vectors[name][2 * p - 1], vectors[name][2 * p], at = string.unpack("<dd", text, at)
      else
        vectors[name][p], at = string.unpack("<d", text, at)
      end
    end
  end
  return vectors
end

-- What the ngspice program gives for a netlist whose parameters stand in .param cards before its end: the raw file's
-- vectors, or with measured, what it prints of .meas cards, which it runs without a raw file alone.
local function program(file, params, values, measured)
  local folder = helper.temporary_folder()
  local text = helper.read(fixtures .. file):gsub("%.backanno\r?\n", "") -- LTspice's, which ngspice 39 refuses
  local cards = ""
  for i, p in ipairs(params) do
    cards = cards .. string.format(".param %s=%.17g\n", p.name, values[i])
  end
  local where = text:lower():match "()%.end[^%a]"
  local out <close> = assert(io.open(folder .. "/c.cir", "wb"))
  out:write(text:sub(1, where - 1), cards, text:sub(where))
  out:close()
  helper.run("cp -r " .. fixtures .. "models " .. helper.quote(folder))
  local said = helper.run("cd " .. helper.quote(folder) .. " && ngspice -b "
    .. (measured and "" or "-r c.raw ") .. "c.cir")
  return measured and said or read_raw(folder .. "/c.raw")
end

-- The numbers of an output such as "vdb(out)" or "i(v1)".
local function pick(raw, output, index)
  local letter, part, nodes = output:match "^([vi])(%a*)%((.*)%)$"
  local to, from = nodes:match "^([^,]+),?(.*)$"
  local re, im = 0, 0
  for sign, name in pairs { [1] = to, [-1] = from ~= "" and from or nil } do
    local v = assert(raw[letter .. "(" .. name:lower() .. ")"] or raw[name:lower()], "the program has no " .. name)
    re = re + sign * (raw.complex and v[2 * index - 1] or v[index])
    im = im + sign * (raw.complex and v[2 * index] or 0)
  end
  if part == "db" then return 10 * math.log(re * re + im * im, 10) end
  if part == "p" then return math.atan(im, re) end
  return part == "i" and im or part == "m" and math.sqrt(re * re + im * im) or re
end

local function near(expected, got, what)
  local slack = 2e-6 * math.max(math.abs(expected), 1e-3) + 1e-12
  assert(math.abs(expected - got) <= slack, string.format("%s: the program gives %.9g, sv.spice %.9g", what, expected,
    got))
end

local turn = 2 * math.pi

local function compare(case)
  local params = {}
  for i, p in ipairs(case.params) do params[i] = { name = p[1], low = p[2], high = p[3] } end
  local sim = spice { name = case.file, netlist = fixtures .. case.file, params = params, output = case.output,
    grid = "steps", points = case.points, probe = not case.points }
  for _, values in ipairs(core.tensor(case.values):totable()) do -- as single precision has them
    local raw = program(case.file, params, values)
    if raw.points * #case.output ~= sim.output[1] then -- the steps of .tran depend on the parameters
      sim:close()
      sim = spice { name = case.file, netlist = fixtures .. case.file, params = params, output = case.output,
        grid = "steps", points = raw.points, probe = false }
    end
    local x = sim:run({ values }):totable()[1]
    assert.equal(raw.points * #case.output, #x)
    for k, output in ipairs(case.output) do
      for i = 1, raw.points do
        local expected, got = pick(raw, output, i), x[(k - 1) * raw.points + i]
        if output:find "^.p%(" then got = got - turn * math.floor((got - expected) / turn + 0.5) end
        near(expected, got, string.format("%s %s, point %d", case.file, output, i))
      end
    end
  end
  sim:close()
end

local cases = {
  { file = "kicad.cir", params = { { "Rload", 1e3, 1e4 } }, values = { { 2e3 }, { 7e3 } },
    output = { "vdb(/out)", "vp(Net-_C1-Pad1_)", "vm(/in,/out)" } },
  { file = "pyspice.cir", params = { { "Rc", 1e3, 2e4 } }, values = { { 5e3 }, { 1e4 } },
    output = { "vdb(out)", "vp(4)" } },
  { file = "ltspice.cir", params = { { "R", 1e2, 1e4 } }, values = { { 1e3 }, { 330 } },
    output = { "v(out)", "i(L1)" } },
  { file = "opamp.cir", params = { { "Rin", 1e3, 1e4 } }, values = { { 1e3 }, { 4700 } },
    output = { "vdb(out)", "vp(out)" } },
  { file = "bjt_switch.cir", params = { { "RB", 1e3, 1e5 } }, values = { { 1e4 }, { 5e4 } },
    output = { "v(c)", "i(VCC)" } },
  { file = "mosfet.cir", params = { { "WN", 1e-6, 1e-5 }, { "VDD", 3, 6 } }, values = { { 2e-6, 5 }, { 5e-6, 3.3 } },
    output = { "v(out)", "v(in)" } },
  { file = "transformer.cir", params = { { "Lp", 1e-3, 1e-2 } }, values = { { 2e-3 }, { 8e-3 } },
    output = { "vm(o)", "vdb(p)", "ip(L1)" } },
  { file = "behavioural.cir", params = { { "x", -3, 3 } }, values = { { -1.5 }, { 2.25 } },
    output = { "v(sq)", "v(lim)", "v(cur)", "v(e)", "v(g)" } },
  { file = "lib_section.cir", params = { { "VSUP", 3, 6 }, { "scale", 0.5, 2 } }, values = { { 3.3, 1.5 }, { 5, 0.7 } },
    output = { "v(out)", "i(v1)" } },
  { file = "subckt_shadow.cir", params = { { "R", 100, 1e4 } }, values = { { 1e3 }, { 470 } },
    output = { "v(mid)", "v(x3.m)" } },
  { file = "tabs.cir", params = { { "R", 100, 1e4 } }, values = { { 1e3 }, { 5e3 } }, output = { "v(Out)", "i(VIN)" } },
  { file = "diode_temp.cir", params = { { "R", 100, 1e5 } }, values = { { 1e3 }, { 3e4 } }, output = { "v(d)" } },
  { file = "functions.cir", params = { { "R", 1e3, 1e4 } }, values = { { 2e3 }, { 9e3 } }, output = { "v(out)" } },
  { file = "switch.cir", params = { { "D", 0.2, 0.8 } }, values = { { 0.4 }, { 0.7 } },
    output = { "v(out)", "i(L1)" } },
  { file = "jfet_line.cir", params = { { "RS", 500, 5e3 } }, values = { { 1e3 }, { 3e3 } },
    output = { "vdb(out)", "vp(s)" } },
}

describe("a netlist gives what the ngspice program gives:", function()
  for _, case in ipairs(cases) do
    it(case.file, function() compare(case) end)
  end

  -- ngspice loses the last parenthesis of such a name, and so does its raw file
  it("kicad5.cir, whose nodes are named like Net-(C1-Pad1)", function()
    local sim = spice { name = "kicad5", netlist = fixtures .. "kicad5.cir",
      params = { { name = "Rs", low = 1, high = 100 } },
      output = { "v(Net-(C1-Pad1))" } }
    local raw = program("kicad5.cir", sim.params, { 10 })
    local x, i = sim:run({ { 10 } }):totable()[1], 1
    assert.equal(301, #x) -- even steps of 10 us, read off ngspice's own by linear interpolation
    for k = 0, 300 do
      while i + 1 < raw.points and raw.time[i + 1] < k * 1e-5 do i = i + 1 end
      local v, w = raw["v(net-(c1-pad1)"], (k * 1e-5 - raw.time[i]) / (raw.time[i + 1] - raw.time[i])
      near(v[i] + w * (v[i + 1] - v[i]), x[k + 1], "point " .. k)
    end
    sim:close()
  end)

  it(".meas results", function()
    local params = { { name = "D", low = 0.2, high = 0.8 } }
    local sim = spice { name = "switch", netlist = fixtures .. "switch.cir",
       params = params, output = { "meas:vavg", "vpp" } }
    local said = program("switch.cir", params, { 0.4 }, true)
    local x = sim:run({ { 0.4 } }):totable()[1]
    assert.near(tonumber(said:match "vavg%s*=%s*(%S+)"), x[1], 1e-5)
    assert.near(tonumber(said:match "vpp%s*=%s*(%S+)"), x[2], 1e-6)
    sim:close()
  end)
end)

describe("altering an element in place", function()
  it("gives the same as reading the circuit afresh, near and far from the values before", function()
    local function results(netlist)
      local sim = spice { name = "altered", netlist = netlist, analysis = ".tran 10u 2m",
        params = { { name = "R", low = 1, high = 1e6 }, { name = "C", low = 1e-9, high = 1e-6 } },
        output = { "v(b)", "v(q)" } }
      local x = sim:run(core.tensor { { 1e3, 1e-7 }, { 10, 1e-9 }, { 1e6, 1e-6 }, { 1e3, 1e-7 } }):totable()
      sim:close()
      return x
    end
    local text = "diodes, a transistor and a source of its own\nV1 in 0 5 sin(0 5 1k)\nR1 in out {R}\nD1 out a dm\n"
      .. ".model dm d(is=1e-14 n=1.5)\nQ1 a out b qm\n.model qm npn(bf=100)\nR9 b 0 1k\nC9 b 0 {C}\nB1 q 0 V=v(b)^2\n"
    local altered = results(text)
    assert.same(results((text:gsub("{R}", "{R*1}"))), altered)
    assert.same(altered[1], altered[4])
  end)
end)
