local core = require "simvae.core"
require "simvae.tensor"
local evaluate = require "simvae.evaluate"
local simulator = require "simvae.simulator"

local function near(expected, got, tolerance, what)
  assert.is_true(got ~= nil and math.abs(expected - got) <= tolerance,
    string.format("%s: expected %.7g within %g, got %s", what or "value", expected, tolerance, got))
end

-- A simulator whose output is its parameters, and more of them: easy to invert by hand.
local function plain(change)
  local t = {
    name = "plain",
    params = { { name = "a", low = 0, high = 10, unit = "m" }, { name = "b", low = 1, high = 1000, scale = "log" },
      { name = "c", period = 6 }, { name = "d", levels = 3 } },
    output = { 8 },
    simulate = function(z, out)
      out[1], out[2], out[3], out[4] = z.a / 10, math.log(z.b), z.c, z.d
    end,
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return simulator.new(t)
end

-- A model that reads the parameters off the output and answers with an error.
local function reader(sim, spoil, std)
  return {
    simulator = sim,
    decode = function(_, z) return sim:run(z) end,
    encode = function(_, x)
      local z, s = {}, {}
      for i, row in ipairs(x:totable()) do
        z[i] = { row[1] * 10, math.exp(row[2]), row[3], row[4] }
        if spoil then spoil(z[i]) end
        s[i] = std and std(z[i]) or { 1, 1, 1, 1 }
      end
      return core.tensor(z), core.tensor(s)
    end,
  }
end

local small = { samples = 2000, batch = 300, interval = 20, chance = 2 }

describe("evaluate", function()
  it("gives an exact inverse full marks", function()
    local r = evaluate(reader(plain()), small)
    near(r.truth.mig, r.mig, 1e-4)
    for i = 1, 4 do near(1, r.mim:get(i, i), 1e-4) end
    near(1, r.resimulation_r2, 1e-5)
    near(0, r.decoder_mse, 1e-9)
    near(1, r.decoder_r2, 1e-6)
    near(0, r.rmse.a, 1e-5)
    near(0, r.rmse_relative.b, 1e-5)
    near(1, r.accuracy.d, 0)
    near(0, r.outside, 0)
    assert.are.equal(2000, r.samples)
    assert.are.same({ 2000, 4 }, r.z.shape)
    assert.are.equal(2000, #r.errors)
    assert.are.same({ "a", "b", "c", "d" }, r.names)
    assert.is_true(r.chance.mig < 0.02)
    assert.are.same({}, r.notes)
  end)

  it("measures errors in units, as shares, and round a period", function()
    local rng = core.rng(3)
    local function spoil(z)
      z[1] = z[1] + rng:normal(0, 0.5)
      z[2] = z[2] * math.exp(rng:normal(0, 0.1))
      z[3] = z[3] + 6 + rng:normal(0, 0.2) -- a full turn and a little
    end
    local r = evaluate(reader(plain(), spoil, function(z) return { 0.5, 0.1 * z[2], 0.2, 1 } end), small)
    near(0.5, r.rmse.a, 0.03)
    near(0.05, r.rmse_relative.a, 0.003)
    near(0.1 / math.log(1000), r.rmse_relative.b, 0.002, "log scale")
    near(0.2, r.rmse.c, 0.02, "period")
    near(0.53, r.mim:get(1, 1), 0.03, "5% of the range")
    near(0.683, r.coverage.one, 0.02)
    near(0.954, r.coverage.two, 0.01)
    near(0.683, r.coverage.by.b.one, 0.04)
    assert.is_nil(r.coverage.by.d)
    assert.is_true(r.outside > 0.01 and r.outside < 0.2)
  end)

  it("lets the re-simulation R² be what it is by hand", function()
    -- only output 1 = a / 10 is wrong, by 0.1; the variance of the four is 1/12, (ln 1000)²/12, 36/12, 2/3
    local r = evaluate(reader(plain(), function(z) z[1] = z[1] > 5 and z[1] - 1 or z[1] + 1 end), small)
    near(1 - 0.01 / (1 / 12 + math.log(1000) ^ 2 / 12 + 3 + 2 / 3), r.resimulation_r2, 1e-4)
  end)

  it("does not depend on the size of the batches, and draws other samples for another seed", function()
    local model = reader(plain(), function(z) z[1] = z[1] * 0.9 end)
    local a = evaluate(model, { samples = 1000, batch = 1000, interval = 0, chance = 0 })
    local b = evaluate(model, { samples = 1000, batch = 77, interval = 0, chance = 0 })
    assert.are.same(a.z:totable(), b.z:totable())
    assert.are.same(a.mim:totable(), b.mim:totable())
    near(a.resimulation_r2, b.resimulation_r2, 1e-5)
    local c = evaluate(model, { samples = 1000, seed = 8, interval = 0, chance = 0 })
    assert.are_not.same(a.z:totable(), c.z:totable())
    assert.are_not.same(a.z:totable(), model.simulator:sample(1000, core.rng(7)):totable()) -- not training's draws
  end)

  it("says when an encoder has collapsed", function()
    local r = evaluate(reader(plain(), function(z) z[1] = 5 end), small)
    near(0, r.mim:get(1, 1), 0)
    assert.are.same({ "the encoder returns a = 5 for every sample" }, r.notes)
    near(1 / math.sqrt(12), r.rmse_relative.a, 0.01)
  end)

  it("keeps the worst samples, the worst first", function()
    local n = 0
    local r = evaluate(reader(plain(), function(z)
      n = n + 1
      if n % 100 == 0 then z[1] = z[1] > 5 and 0 or 10 end
    end), small)
    assert.are.same({ 12, 8 }, r.worst.x.shape)
    local function wrong(i) return math.abs(r.worst.x:get(i, 1) - r.worst.y:get(i, 1)) end
    for i = 2, 12 do assert.is_true(wrong(i) <= wrong(i - 1) + 1e-6) end
    assert.is_true(wrong(12) > 0.5)
    near(r.worst.z:get(1, 1) / 10, r.worst.x:get(1, 1), 1e-5)
  end)

  it("leaves out samples that the simulator fails on", function()
    local sim = plain {
      simulate = function(z, out)
        if z.a < 1 then error("no convergence", 0) end
        out[1], out[2], out[3], out[4] = z.a / 10, math.log(z.b), z.c, z.d
      end,
    }
    local r = evaluate(reader(sim), small)
    assert.are.equal(2000, r.samples + r.failures)
    near(200, r.failures, 50)
    near(1, r.resimulation_r2, 1e-5)
    assert.is_truthy(r.notes[1]:find("no convergence", 1, true))
    assert.has_error(function() evaluate(reader(sim), { samples = 2000, max_failures = 0.01 }) end)
  end)

  it("names what is wrong", function()
    local function raises(pattern, ...)
      local ok, message = pcall(evaluate, ...)
      assert.is_false(ok)
      assert.is_truthy(message:find(pattern, 1, true), message)
    end
    raises("takes a model", {})
    raises("did you mean 'samples'", reader(plain()), { sample = 3 })
    raises("the encoder's mean of 'b' is not finite", reader(plain(), function(z) z[2] = 0 / 0 end), small)
    raises("samples are too few for the 400 cells", reader(plain()), { samples = 100 })
  end)
end)
