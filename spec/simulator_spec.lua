local helper = require "spec.helper"
local sv = require "simvae"
local core = require "simvae.core"
local box = require "simvae.simulators.box"

-- A simulator of two parameters that most specs can share.
local function line(change)
  local t = {
    name = "line",
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10, unit = "V" } },
    output = { 3 },
    simulate = function(z, out)
      for i = 1, 3 do out[i] = z.a * i + z.b end
    end,
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return t
end

local raises = helper.raises

describe("the simulator contract", function()
  it("runs a Lua function on given parameters", function()
    local s = sv.simulator(line())
    assert.same({ { 3, 4, 5 }, { 6.5, 6, 5.5 } }, s:run(sv.tensor { { 1, 2 }, { -0.5, 7 } }):totable())
  end)

  it("takes a returned table or tensor as the output", function()
    local s = sv.simulator(line { simulate = function(z) return { z.a, z.b, 0 } end })
    assert.same({ { 0.5, 2, 0 } }, s:run(sv.tensor { { 0.5, 2 } }):totable())
  end)

  it("refuses names and units that a model file would not take back", function()
    for _, text in ipairs { "a\nb", "gr\xF6\xDFe", ("x"):rep(257), "\27[31m", "\xC2\x85" } do
      raises("name", sv.simulator, line { name = text })
      raises("name", sv.simulator, line { params = { { name = text, low = 0, high = 1 } } })
      raises("unit", sv.simulator, line { params = { { name = "a", unit = text, low = 0, high = 1 } } })
    end
    raises("unit that is no text", sv.simulator, line { params = { { name = "a", unit = 5, low = 0, high = 1 } } })
  end)

  it("draws an independent uniform prior within the bounds", function()
    local z = sv.simulator(line()):sample(4000, sv.rng(1))
    local mean = sv.mean(z, 1):totable()
    local var = sv.var(z, 1):totable()
    assert.near(0, mean[1], 0.05)
    assert.near(5, mean[2], 0.25)
    assert.near(4 / 12, var[1], 0.02)     -- (high - low)^2 / 12
    assert.near(100 / 12, var[2], 0.5)
    assert.is_true(sv.min(z):item() >= -1)
  end)

  it("draws log-uniformly on a log scale and whole numbers for categories", function()
    local s = sv.simulator {
      name = "s", output = { 1 }, simulate = function(_, out) out[1] = 0 end,
      params = { { name = "r", low = 1, high = 10000, scale = "log" }, { name = "c", levels = 3 } },
    }
    local rows = s:sample(3000, sv.rng(2)):totable()
    local below, seen = 0, { 0, 0, 0 }
    for _, row in ipairs(rows) do
      if row[1] < 100 then below = below + 1 end
      seen[row[2]] = seen[row[2]] + 1
    end
    assert.near(0.5, below / 3000, 0.03)
    for c = 1, 3 do assert.near(1 / 3, seen[c] / 3000, 0.03) end
  end)

  it("gives sample i of a seed whatever the size of the batches", function()
    local a, b = sv.rng(5), sv.rng(5)
    local whole = box:sample(10, a):totable()
    local parts = box:sample(3, b):totable()
    for _, row in ipairs(box:sample(7, b):totable()) do parts[#parts + 1] = row end
    assert.same(whole, parts)
  end)

  it("names what is wrong in a declaration", function()
    raises("unknown option 'paramz'; did you mean 'params'", sv.simulator, { name = "x", paramz = {} })
    raises("low = 3, high = 2; low must be below high", sv.simulator,
      line { params = { { name = "a", low = 3, high = 2 } } })
    raises("finite high; got inf", sv.simulator, line { params = { { name = "a", low = 0, high = 1 / 0 } } })
    raises("finite low; got nan", sv.simulator, line { params = { { name = "a", low = -(0 / 0), high = 1 } } })
    raises("two parameters are named 'a'", sv.simulator,
      line { params = { { name = "a", low = 0, high = 1 }, { name = "a", low = 0, high = 1 } } })
    raises("log scale needs low > 0", sv.simulator,
      line { params = { { name = "a", low = 0, high = 1, scale = "log" } } })
    raises("output is {channels, height, width} or {n}", sv.simulator, line { output = { 3, 4 } })
    raises("unknown field 'hihg'; did you mean 'high'", sv.simulator,
      line { params = { { name = "a", low = 0, hihg = 1 } } })
  end)

  it("names the parameter that a prior draws outside its bounds", function()
    local s = sv.simulator(line { prior = function() return { a = 2, b = 1 } end })
    raises("the prior drew a = 2 %(draw 1%), outside its bounds %-1 to 1", s.sample, s, 3, sv.rng(1))
    s = sv.simulator(line { prior = function() return { a = 0 } end })
    raises("gave no number for 'b'", s.sample, s, 3, sv.rng(1))
  end)

  it("says which sample went wrong and with which parameters", function()
    local z = sv.tensor { { 0, 1 }, { 0.5, 2 } }
    local function run(f)
      local s = sv.simulator(line { simulate = f })
      return s.run, s, z
    end
    raises("sample 2 %(a = 0.5, b = 2%) raised: .*too steep", run(function(p, out)
      if p.a > 0 then error "too steep" end
      out[1] = 0
    end))
    raises("sample 1 .* returned nothing", run(function(_) end))
    raises("does not fit the output %(3,%)", run(function() return { 1, 2 } end))
    raises("sample 1 .* not finite, at element 3", run(function(_, out) out[3] = 0 / 0 end))
    raises("takes z of shape %(N, 2%): a, b", function() sv.simulator(line()):run(sv.zeros(4, 3)) end)
  end)
end)

describe("z, as simulate is given it,", function()
  local function run(f, z, change)
    local t = line { simulate = f }
    for k, v in pairs(change or {}) do t[k] = v end
    return sv.simulator(t):run(z or { { 0.5, 2 } })
  end

  it("has names and positions", function()
    local seen
    run(function(z, out)
      seen = { z.a, z.b, z[1], z[2], #z, z[3] == nil, table.unpack(z) }
      local names, values = {}, {}
      for name, v in pairs(z) do names[#names + 1] = name .. "=" .. v end
      for i, v in ipairs(z) do values[i] = v end
      assert.same({ "a=0.5", "b=2.0" }, names)
      assert.same({ 0.5, 2 }, values)
      assert.equal("z(a = 0.5, b = 2)", tostring(z))
      assert.same({ { 0.5, 2 } }, sv.tensor({ z }):totable())
      out[1] = 0
    end)
    assert.same({ 0.5, 2, 0.5, 2, 2, true, 0.5, 2 }, seen)
  end)

  it("stays what it was when it is kept", function()
    local kept = {}
    local sim = sv.simulator(line { simulate = function(z, out)
      kept[#kept + 1] = z
      out[1] = z.a
    end })
    sim:run { { 0.25, 1 }, { 0.5, 2 } }
    assert.same({ 0.25, 1, 0.5, 2 }, { kept[1].a, kept[1].b, kept[2].a, kept[2].b })
    raises("'cc' is no parameter", function() return kept[1].cc end)
  end)

  it("is itself in a simulator that runs itself", function()
    local sim
    sim = sv.simulator(line { simulate = function(z, out)
      local deeper = z.b > 0 and sim:run({ { z.a, z.b - 1 } }):get(1, 1) or 0
      out[1] = z.b + deeper
    end })
    assert.equal(6, sim:run({ { 0, 3 } }):get(1, 1))
  end)

  it("names what it does not have, and is read-only", function()
    raises("simulator_spec.lua.*z.bb: 'bb' is no parameter; did you mean 'b'%?", run, function(z) return { z.bb } end)
    raises("'A' is no parameter; did you mean 'a'", run, function(z) return { z.A } end)
    raises("'temperature' is no parameter; the parameters are a, b", run, function(z) return { z.temperature } end)
    raises("0 is no parameter; they have names, and positions 1 to 2", run, function(z) return { z[0] } end)
    raises("simulator_spec.lua.*z is read%-only %(here 'a' is set%)", run, function(z) z.a = 1 end)
    raises("'why' is no parameter", run, function(z) z.why = 1 end)
    raises("changed z%[2%] %(b%); z is read%-only", run, function(z, out) z[2], out[1] = 1, 1 end)
    raises("z is read%-only", run, function(z) table.insert(z, 1) end)
    assert.has_no_error(function() run(function(z, out) out[1] = z.b end, { { 0 / 0, 1 } }) end)
  end)

  it("is what maps and invariants are given, and what they and the prior return is checked by name", function()
    local symmetry = require "simvae.simulator.symmetry"
    local function image(map)
      return symmetry.all(sv.simulator(line { symmetry = { { name = "flip", map = map } } }), { 0.5, 2 })[2]
    end
    assert.same({ -0.5, 2 }, image(function(z) return { a = -z.a, b = z.b } end))
    assert.same({ -0.5, 2 }, image(function(z) return { -z[1], z[2] } end))
    raises("'c' is no parameter", image, function(z) return { a = z.c, b = z.b } end)
    raises("symmetry 'flip' returned an unknown name: 'bb' is no parameter; did you mean 'b'", image,
      function(z) return { a = z.a, b = z.b, bb = z.b } end)
    raises("z is read%-only", image, function(z) z.a = -z.a return z end)

    local function draw(result)
      return sv.simulator(line { prior = function() return result end }):sample(1, sv.rng(1)):totable()[1]
    end
    assert.same({ 0.5, 2 }, draw { b = 2, a = 0.5 })
    assert.same({ 0.5, 2 }, draw { 0.5, 2 })
    raises("the prior returned an unknown name: 'bc' is no parameter; did you mean 'b'", draw, { a = 0, b = 1, bc = 2 })
    raises("gave no number for 'b': 'B' is no parameter; did you mean 'b'", draw, { a = 0, B = 1 })
    raises("by name and by position", draw, { 0.5, 2, a = 0.5 })
    raises("3 is no parameter", draw, { 0.5, 2, 3 })
    raises("the prior returned nil", draw, nil)
    raises("gave no number for 'b', but \"2\"", draw, { 0, "2" })
    raises("drew a = %-?nan", draw, { 0 / 0, 2 })
  end)
end)

describe("what simulate returns or writes", function()
  local function run(f, output)
    return sv.simulator(line { simulate = f, output = output }):run({ { 0.5, 2 } })
  end

  it("is a list of all numbers, or the output's shape, or it is refused", function()
    local picture = { 2, 2, 1 }
    local function same(expected, value)
      assert.same(expected, run(function() return value end, picture):totable()[1])
    end
    same({ { { 1 }, { 2 } }, { { 3 }, { 4 } } }, { 1, 2, 3, 4 })
    same({ { { 1 }, { 2 } }, { { 3 }, { 4 } } }, { { { 1 }, { 2 } }, { { 3 }, { 4 } } })
    same({ { { 1 }, { 2 } }, { { 3 }, { 4 } } }, { { 1, 2 }, { 3, 4 } })
    assert.same({ { 1, 2, 3 } }, run(function() return { { 1, 2, 3 } } end):totable())
    assert.same({ { 1, 2, 3 } }, run(function(...) local _, out = ... out:copy(sv.tensor { 1, 2, 3 }) end):totable())
    raises("does not fit the output %(3, 4, 5%): it has shape %(4, 5, 3%)", run,
      function() return sv.zeros(4, 5, 3) end, { 3, 4, 5 })
    raises("%(a = 0.5, b = 2%) its result does not fit the output %(3,%): it returned \"text\"", run,
      function() return "text" end)
    raises("it has shape %(2,%)", run, function() return { 1, 2 } end)
    raises("found a string", run, function() return { 1, "x", 3 } end)
    raises("it returned 5; return a table of numbers", run, function() return 5 end)
    raises("it returned true", run, function() return true end)
    raises("raised: a table without __tostring", run, function() error { code = 3 } end)
    raises("raised: a table whose __tostring raises", run, function()
      error(setmetatable({}, { __tostring = function() error "inner" end }))
    end)
    raises("no convergence", run, function() return nil, "no convergence" end)
    raises("not finite, at element 2", run, function() return { 1, 0 / 0, 3 } end)
    raises("index 4 is outside axis 1", run, function(_, out) out[4] = 1 end)
  end)

  it("cannot be written after the call", function()
    local kept
    local sim = sv.simulator(line { simulate = function(z, out)
      kept = kept or out
      kept[1] = z.a
    end })
    raises("sample 2 .*was released with its tape, or with the call of simulate", sim.run, sim,
      { { 0.25, 1 }, { 0.5, 2 } })
    assert.same({ { 0, 0, 0 } }, sv.simulator(line { simulate = function() end, batch = function(z, x)
      z:fill(7) -- of its own
      x:fill(0)
    end }):run({ { 0.25, 1 } }):totable())
  end)

  it("is read as failures where it comes from batch", function()
    local function batch(f)
      local t = line { batch = f }
      t.simulate = nil
      return sv.simulator(t):run { { 0.25, 1 }, { 0.5, 2 } }
    end
    raises("sample 2 .* too steep", batch, function() return { [2] = "too steep" } end)
    raises("sample 1 .* no licence", batch, function() return nil, "no licence" end)
    raises("batch fills its second argument.*returned %[5%] of 2 rows", batch,
      function() return { [5] = "too steep" } end)
    raises("returned a table for row 1", batch, function() return { { 1, 2, 3 }, { 4, 5, 6 } } end)
  end)
end)

describe("arguments of a simulator's functions", function()
  it("are named when they are wrong", function()
    local sim = sv.simulator(line())
    raises("simulate: rng takes a generator, such as sv.rng%(1%); got 1", sv.simulate, sim, 2, 1)
    raises("simulate: rng takes a generator, such as sv.rng%(5%); got 5", sv.simulate, sim, 2, 5)
    raises("simulate: n takes a whole number", sv.simulate, sim, "2", sv.rng(1))
    raises("sample: rng takes a generator", sim.sample, sim, 2)
    raises("sample: n takes a whole number; got 1.5", sim.sample, sim, 1.5, sv.rng(1))
    raises("run: rng takes a generator.*got 3", sim.run, sim, { { 0, 1 } }, 3)
    raises("run: is a method, simulator:run", sim.run, { { 0, 1 } })
    raises("sample: is a method", sim.sample, 3, sv.rng(1))
  end)
end)

describe("a parameter that single precision cannot hold", function()
  local function use(p)
    local sim = sv.simulator { name = "s", params = { p }, output = { 1 }, simulate = function(z) return { z[1] } end }
    return sim:sample(2, sv.rng(1))
  end

  it("is refused, with the remedy, wherever it is used", function()
    local sim = sv.simulator { name = "transit", params = { { name = "t0", low = 2459000, high = 2459000.5 } },
      output = { 1 }, simulate = function(z) return { z.t0 - 2459000 } end }
    local pattern = "parameter 't0' goes from 2459000 to 2459000.5, where single precision, in which parameters are "
      .. "kept, has 2 different values; declare its distance from an offset %(low = 0, high = 0.5%), and let simulate "
      .. "apply the offset 2459000"
    if core.real == "double" then return assert.has_no_error(function() sim:sample(2, sv.rng(1)) end) end
    raises(pattern, sim.sample, sim, 2, sv.rng(1))
    raises(pattern, sim.run, sim, { { 2459000 } })
    raises(pattern, sv.simulate, sim, 2, sv.rng(1))
    raises(pattern, sv.sampler.new, { simulator = sim })
    raises(pattern, sv.model, { simulator = sim })
  end)

  it("is one of fewer than 2^15 values, or beyond the range of numbers", function()
    if core.real == "double" then return end
    -- numbers of single precision are 2^-23 of their power of two apart (IEEE 754)
    assert.has_no_error(function() use { name = "p", low = 256, high = 257 } end)
    raises("has 16384 different values", use, { name = "p", low = 512, high = 513 })
    raises("has 16384 different values", use, { name = "p", low = -513, high = -512 })
    raises("logarithm of its ratio", use, { name = "p", low = 1, high = 1.0001, scale = "log" })
    raises("goes from 2459000 to 2459000.5", use, { name = "p", low = 2459000, period = 0.5 })
    raises("period = 0.01.* let low and high be one period apart", use,
      { name = "p", low = 0, high = 1000, period = 0.01 })
    raises("has low = 1e%-40.*choose another unit", use, { name = "p", low = 1e-40, high = 1e-30, scale = "log" })
    raises("has high = 1e%+39", use, { name = "p", low = 0, high = 1e39 })
    raises("16777217 levels; single precision counts to 16777216", use, { name = "p", levels = 2^24 + 1 })
    raises("a class is a whole number", function()
      sv.simulator { name = "s", params = { { name = "k", levels = 3 } }, output = { 1 },
        prior = function() return { 1.5 } end, simulate = function() return { 0 } end }:sample(1, sv.rng(1))
    end)
  end)

  it("is told from one whose codes are exact to the last of its values", function()
    local p = { name = "t", low = 4000, high = 4010 }
    local sim = sv.simulator { name = "s", params = { p }, output = { 1 }, simulate = function(z) return { z[1] } end }
    local latent = require "simvae.model.latent".new(sim.params)
    local z = sim:sample(1000, sv.rng(1))
    local back = latent:to_units(latent:to_code(z))
    assert.near(0, (back - z):abs():max():item(), 2 * 2^-12) -- neighbours are 2^-12 apart there
  end)
end)

describe("the box plotter", function()
  it("draws w h black pixels, whatever the place", function()
    -- away from the cross: coverage sums to the area by construction of the picture
    local x = box:run(sv.tensor { { 20, 10, 5, 8 }, { 20.5, 10.25, 30.1, 40.7 } })
    for n, area in ipairs { 200, 20.5 * 10.25 } do
      local red = x[n][1]  -- the cross is (0, 0, 1): black in red, over black
      assert.near(64 * 64 - area, sv.sum(red):item(), 1e-2)
    end
  end)

  it("has its origin at the lower left", function()
    local x = box:run(sv.tensor { { 10, 6, 0, 0 } })
    assert.equal(0, x:get(1, 1, 64, 1))   -- lowest row, first column
    assert.equal(0, x:get(1, 1, 59, 10))
    assert.equal(1, x:get(1, 1, 58, 10))
    assert.equal(1, x:get(1, 1, 64, 11))
  end)

  it("has a blue cross at its centre", function()
    local x = box:run(sv.tensor { { 20, 20, 20, 20 } })
    assert.is_true(x:get(1, 3, 64 - 30, 31) > 0.5)  -- blue
    assert.equal(0, x:get(1, 1, 64 - 30, 31))
    assert.equal(0, x:get(1, 3, 64 - 21, 22))       -- the rectangle's corner is black
  end)

  it("stays within the picture", function()
    for _, z in ipairs(box:sample(500, sv.rng(3)):totable()) do
      assert.is_true(z[1] + z[3] <= 64.0001 and z[2] + z[4] <= 64.0001)
    end
  end)

  it("is the same for any number of threads", function()
    local z = box:sample(50, sv.rng(4))
    local a, b = helper.by_threads(function() return box:run(z) end)
    assert.equal(0, sv.sum(sv.abs(a - b)):item())
  end)
end)
