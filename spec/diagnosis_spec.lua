-- sv.diagnose and simvae doctor: planted faults are named, and nothing else is.
local assert = require "luassert"
local helper = require "spec.helper"
local core = require "simvae.core"
local json = require "simvae.io.json"
local sv = require "simvae"

local A, B = { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 1, unit = "V" }

local function simulator(t)
  t.name, t.params, t.output = t.name or "planted", t.params or { A, B }, t.output or { 3 }
  return sv.simulator(t)
end

-- The kinds of the findings, with their parameters: "no effect b".
local function kinds(d)
  local list = {}
  for i, f in ipairs(d.findings) do
    list[i] = f.kind .. (f.parameters and " " .. table.concat(f.parameters, ",") or "")
    assert.is_true(#f.text > 20 and #f.try > 20)
    assert.matches("%.$", f.text)
    assert.matches("%.$", f.try)
  end
  table.sort(list)
  return list
end

-- A model whose networks are functions, of the posterior "gaussian".
local function model_of(sim, decoder, head)
  return sv.model { simulator = sim, posterior = "gaussian", bounded = false, loss = "mse", net = {
    decoder = sv.nn.func(decoder), encoder = sv.nn.func(head) } }
end

local o = { samples = 400 }

describe("sv.diagnose of a simulator", function()
  it("finds nothing in the built-in ones", function()
    for _, name in ipairs { "box", "polygon", "fourier", "dsprites", "digits" } do
      assert.same({}, kinds(sv.diagnose((require("simvae.simulators." .. name)))), name)
    end
    assert.same({}, kinds(sv.diagnose(require "simvae.simulators.rlc" { engine = "analytic" })))
  end)

  it("names a parameter that no output depends on", function()
    local function simulate(z, out) for i = 1, 3 do out[i] = z.a * i end end
    local d = sv.diagnose(simulator { simulate = simulate })
    assert.same({ "no effect b" }, kinds(d))
    assert.equal(512, d.tried)
    -- also of a stochastic simulator, whose random numbers are the same for the same sample
    assert.same({ "no effect b" }, kinds(sv.diagnose(simulator { simulate = function(z, out, rng)
      for i = 1, 3 do out[i] = z.a * i + 0.01 * rng:normal() end
    end })))
    -- and of a picture
    assert.same({ "no effect b" }, kinds(sv.diagnose(simulator { output = { 1, 8, 8 }, simulate = function(z, out)
      sv.draw(out):clear(1):circle(4 + 2 * z.a, 4, 2, { fill = 0 })
    end })))
  end)

  it("names a parameter whose effect the noise hides", function()
    for _, t in ipairs {
      { noise = 0.1, simulate = function(z, out) for i = 1, 3 do out[i] = z.a * i + 0.01 * z.b end end },
      { simulate = function(z, out, rng)
        for i = 1, 3 do out[i] = z.a * i + 0.01 * z.b + 0.1 * rng:normal() end
      end },
    } do
      assert.same({ "hidden by noise b" }, kinds(sv.diagnose(simulator(t))))
    end
    assert.same({}, kinds(sv.diagnose(simulator { noise = 0.1,
      simulate = function(z, out) for i = 1, 3 do out[i] = z.a * i + z.b end end })))
  end)

  it("names outputs that are constant, of vectors and of pictures", function()
    local d = sv.diagnose(simulator { output = { 4 }, simulate = function(z, out)
      out[1], out[2], out[3], out[4] = z.a, 7, z.b, 0
    end })
    assert.same({ "constant outputs" }, kinds(d))
    assert.same({ 2, 4 }, { table.unpack(d.findings[1].elements) })
    assert.matches("Elements 2 and 4 of the output (2 of 4) are constant over 512 draws", d.findings[1].text, 1, true)
    d = sv.diagnose(simulator { output = { 2, 8, 8 }, simulate = function(z, out)
      for r = 1, 8 do out:set(z.a > 0 and z.b or 1 - z.b, 1, r, 1) out:set((z.a + 1) / 2, 1, r, 2) end
    end })
    assert.same({ "constant outputs" }, kinds(d))
    assert.matches("Channel 2 of the pictures (1 of 2)", d.findings[1].text, 1, true)
  end)

  it("names outputs and parameters of a bad scale", function()
    local d = sv.diagnose(simulator { params = { { name = "k", low = 0.01, high = 100 } }, simulate = function(z, out)
      out[1], out[2], out[3] = z.k, 1e7 + 0.01 * z.k, math.exp(0.3 * (z.k - 70))
    end })
    assert.same({ "output scale", "parameter scale k" }, kinds(d))
    assert.matches("Element 2 of the output", d.findings[1].text, 1, true)
    assert.matches("'k' covers 4.0 decades (0.01 to 100) on a linear scale", d.findings[2].text, 1, true)
    assert.same({}, kinds(sv.diagnose(simulator { params = { { name = "k", low = 0.01, high = 100, scale = "log" } },
      output = { 1 }, simulate = function(z, out) out[1] = math.log(z.k) end })))
    d = sv.diagnose(simulator { output = { 1, 4, 4 }, simulate = function(z, out)
      for r = 1, 4 do out:set(255 * z.b, 1, r, 1) out:set(100 * (1 + z.a), 1, r, 2) end
    end })
    assert.same({ "output scale" }, kinds(d))
    assert.matches("Pixels of the pictures go from 0 to 2", d.findings[1].text, 1, true)
  end)

  it("names the region that it fails in", function()
    local d = sv.diagnose(simulator { output = { 2 }, simulate = function(z, out)
      if z.b > 0.75 then return nil, "no convergence" end
      out[1], out[2] = z.a, z.b
    end })
    assert.same({ "failures b" }, kinds(d))
    local f = d.findings[1]
    assert.near(0.25, f.share, 0.06)
    assert.near(0.75, f.low, 0.08)
    assert.near(1, f.high, 0.02)
    assert.equal(d.failures, math.floor(f.share * d.tried + 0.5))
    assert.matches("the first: no convergence. They lie where 'b' is from 0.%d+ V to ", f.text)
    assert.matches("^Leave that region out of the prior %(low and high of 'b', .*%), or let the simulator", f.try)
    -- failures anywhere have no region
    d = sv.diagnose(simulator { output = { 2 }, simulate = function(z, out, rng)
      if rng:uniform() < 0.2 then return nil, "bad luck" end
      out[1], out[2] = z.a, z.b
    end })
    assert.same({ "failures" }, kinds(d))
    assert.matches("the first: bad luck%.$", d.findings[1].text)
    assert.matches("^Let the simulator give an output for these parameters as well", d.findings[1].try)
    -- a simulator that never works
    d = sv.diagnose(simulator { simulate = function() return nil, "what is it?" end })
    assert.same({ "failures" }, kinds(d))
    assert.matches("fails on 100%% of 512 draws of the prior; the first: what is it%.$", d.findings[1].text)
    assert.matches("^Mend the simulator", d.findings[1].try)
  end)

  it("names symmetries that are not declared, with the declaration that silences it", function()
    local cases = {
      { "a", { A, B }, function(z, out) out[1], out[2] = z.a ^ 2, z.b end },
      { "a,c", { { name = "a", low = 0, high = 1 }, { name = "c", low = 0, high = 1 } },
        function(z, out) out[1], out[2] = z.a + z.c, z.a * z.c end },
      { "a,c", { { name = "a", low = -1, high = 1 }, { name = "c", low = -2, high = 2 } },
        function(z, out) out[1], out[2] = z.a * z.c, z.a ^ 2 + z.c ^ 2 / 8 end },
      { "a,c", { { name = "a", low = 1, high = 10, scale = "log" }, { name = "c", low = 1, high = 20, scale = "log" } },
        function(z, out) out[1], out[2] = z.a / z.c, math.log(z.a / z.c) end },
      { "angle", { { name = "angle", low = 0, high = 360, period = 360 }, B },
        function(z, out) out[1], out[2] = math.cos(math.rad(2 * z.angle)) + z.b, math.sin(math.rad(2 * z.angle)) end },
    }
    for _, case in ipairs(cases) do
      local t = { params = case[2], output = { 2 }, simulate = case[3] }
      local d = sv.diagnose(simulator(t))
      assert.same({ "undeclared symmetry " .. case[1] }, kinds(d))
      local declaration = d.findings[1].try:match "symmetry = (%b{})"
      t.symmetry = assert(load("return " .. declaration))()
      assert.is_true(sv.symmetry.defect(simulator(t)) < 1e-5)
      assert.same({}, kinds(sv.diagnose(simulator(t))))
    end
  end)

  it("refuses what is neither", function()
    helper.raises("diagnose: takes a model or a simulator; got 3", sv.diagnose, 3)
    helper.raises("samples must be at least 400; got 3", sv.diagnose, simulator { simulate = print }, { samples = 3 })
  end)
end)

describe("sv.diagnose of a model", function()
  local plain = simulator { output = { 2 }, noise = 0.04, simulate = function(z, out) out[1], out[2] = z.a, z.b end }
  -- codes are in [-1, 1]: a as it is, b = (1 + code) / 2
  local function exact(code)
    return core.concat({ core.slice(code, 2, 1, 1), (core.slice(code, 2, 2, 2) + 1) / 2 }, 2)
  end
  local function inverse(x) return core.concat({ core.slice(x, 2, 1, 1), core.slice(x, 2, 2, 2) * 2 - 1 }, 2) end
  -- the encoder's numbers: means, then logarithms of standard deviations and 1 (posterior.support.normals)
  local function numbers(mean, ...)
    local std = { ... }
    for i, v in ipairs(std) do std[i] = 1 + math.log(v) end
    return core.concat({ mean, core.expand(core.tensor { std }, { mean.shape[1], 2 }) }, 2)
  end
  local function head(scale)
    return function(x) return numbers(inverse(x), 0.04 * scale, 0.08 * scale) end
  end

  it("tells what is learned well, and finds nothing wrong with it", function()
    local d = sv.diagnose(model_of(plain, exact, head(1)), o)
    assert.same({}, kinds(d))
    assert.same({ "a", "b" }, { d.learned[1].name, d.learned[2].name })
    assert.near(0.04, d.learned[1].error, 0.01)
    assert.near(0.68, d.learned[1].within, 0.08)
    assert.is_true(d.learned[1].well and d.learned[2].well)
  end)

  it("names intervals that are too narrow, and too wide", function()
    local d = sv.diagnose(model_of(plain, exact, head(0.4)), o)
    assert.same({ "overconfident a,b" }, kinds(d))
    assert.matches("too narrow; of the truths lie, of 'a': %d+%% in 68%% intervals", d.findings[1].text)
    assert.matches("model:recalibrate { simulations = 1000 } corrects stated intervals; in a script of `simvae train`: "
      .. "recalibrate = 1000.", d.findings[1].try, 1, true)
    assert.same({ "underconfident" }, kinds(sv.diagnose(model_of(plain, exact, head(1.8)), o)))
  end)

  it("names a decoder and an encoder that were not trained", function()
    local blind = model_of(plain, function(code) return code * 0 + 0.2 end, head(1))
    assert.same({ "undertrained decoder" }, kinds(sv.diagnose(blind, o)))
    blind.trained.decoder = 6000
    assert.same({ "weak decoder" }, kinds(sv.diagnose(blind, o)))
    -- errors of b of 0.09, which the posterior states and the noise of 0.04 does not explain
    local function away(x)
      local b = core.slice(x, 2, 2, 2)
      return (core.sin(b * 200) + core.sin(b * 333) + core.sin(b * 517)) * 0.144
    end
    local wrong = model_of(plain, exact, function(x)
      return numbers(inverse(x) + core.concat({ away(x) * 0, away(x) }, 2), 0.04, 0.19)
    end)
    assert.same({ "undertrained encoder" }, kinds(sv.diagnose(wrong, o)))
    wrong.trained.encoder = 6000
    assert.same({ "weak encoder" }, kinds(sv.diagnose(wrong, o)))
  end)

  it("names a model that knows its own simulations better than new ones #long", function()
    local sim = simulator { output = { 6 }, noise = 0.3, simulate = function(z, out)
      for i = 1, 6 do out[i] = math.sin(3 * i * z.a) + z.b * i end
    end }
    local model = sv.model { simulator = sim, posterior = "flow", transforms = 2, width = 64, seed = 3 }
    model:train { quiet = true, simulations = 60, held_out = 0, batch = 20, decoder = { steps = 500 },
      encoder = { steps = 500, average = 0, labels = 1 } }
    local d = sv.diagnose(model, { samples = 400, simulations = 60 })
    assert.matches("few simulations", table.concat(kinds(d), "; "), 1, true)
    -- where their number is not known nothing is said of it
    assert.is_nil(table.concat(kinds(sv.diagnose(model, o)), "; "):find "few simulations")
  end)

  it("names several values, by the modes of the posterior, and the change between them #long", function()
    -- a is known up to the reflection about 0.3, which leaves its range
    local sim = simulator { output = { 2 }, noise = 0.01, params = { A, B },
      simulate = function(z, out) out[1], out[2] = (z.a - 0.3) ^ 2, z.b end }
    assert.same({}, kinds(sv.diagnose(sim))) -- its simulator alone does not show it
    local model = sv.model { simulator = sim, posterior = "flow", transforms = 3, width = 48, seed = 1 }
    model:train { quiet = true, decoder = { steps = 500 }, encoder = { steps = 900, labels = 1 } }
    local d = sv.diagnose(model, o)
    assert.matches("undeclared symmetry a", table.concat(kinds(d), "; "), 1, true)
    local found
    for _, f in ipairs(d.findings) do
      if f.kind == "undeclared symmetry" then found = f end
    end
    assert.matches("'a' is reflected about 0.3: for one output 'a' is", found.text, 1, true)
    assert.matches("map = function(z) return { a = 0.6 - z.a, b = z.b } end", found.try, 1, true)
  end)

  it("refuses a model without its simulator", function()
    local path = helper.temporary_folder() .. "/m.safetensors"
    assert(sv.model { simulator = plain, width = 4 }:save(path))
    helper.raises("loaded without its simulator 'planted'", sv.diagnose, sv.load(path))
  end)
end)

describe("simvae doctor", function()
  local simvae = require "spec.fixtures.simvae"

  it("prints a page, and exits with 3 where something was found", function()
    simvae.write("unused.lua", [[
local sv = require "simvae"
return { simulator = sv.simulator { name = "unused", output = { 2 }, params = { { name = "a", low = 0, high = 1 },
  { name = "b", low = 0, high = 1 } }, simulate = function(z, out) out[1], out[2] = z.a, 2 * z.a end } }
]])
    local out, code = simvae.run("doctor", "unused.lua")
    assert.equal(3, code, out)
    assert.matches("^unused: 512 draws of the simulator, %S+ ms each\n\nWhat was found\n  1%. no effect: b\n"
      .. "     No output depends on 'b'", out)
    assert.matches("\n     Try: Leave it out of params", out)
    out, code = simvae.run("doctor", "box")
    assert.equal(0, code)
    assert.matches("\nNothing wrong was found.\n$", out)
    out, code = simvae.output("doctor", "unused.lua", "--json")
    assert.equal(3, code)
    assert.equal("no effect", json.decode(out).findings[1].kind)
    assert.matches('"findings":[]', (simvae.output("doctor", "box", "--json")), 1, true)
    assert.equal(1, select(2, simvae.run("doctor", "none.lua")))
  end)

  it("is a section of the report, and a part of metrics.json #long", function()
    local out, code = simvae.run("train", "unused.lua", "--steps", "20", "--width", "16", "--samples", "400", "--quiet",
      "--simulations", "200")
    assert.equal(0, code, out)
    local report = helper.read(simvae.folder .. "/runs/unused/report.html")
    assert.matches("<h2>What is learned, and what is not</h2>", report, 1, true)
    assert.matches("<b>No effect: b</b>", report, 1, true)
    local numbers = assert(json.load(simvae.folder .. "/runs/unused/metrics.json"))
    assert.equal("no effect", numbers.diagnosis.findings[1].kind)
    assert.equal(200, json.load(simvae.folder .. "/runs/unused/run.json").simulations)
    out, code = simvae.run("doctor", "runs/unused", "--samples", "400")
    assert.equal(3, code)
    assert.matches("; the model on 400 samples", out, 1, true)
    assert.matches("no effect: b", out, 1, true)
  end)
end)
