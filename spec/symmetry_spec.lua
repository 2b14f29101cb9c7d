local core = require "simvae.core"
require "simvae.tensor"
local metrics = require "simvae.metrics"
local parameters = require "simvae.simulator.parameters"
local simulator = require "simvae.simulator"
local symmetry = require "simvae.simulator.symmetry"

local function near(expected, value, tolerance, what)
  assert.is_true(math.abs(expected - value) <= tolerance, string.format("%s%g is not within %g of %g",
    what and what .. ": " or "", value, tolerance, expected))
end

-- Two numbers that may be exchanged.
local function pair(change)
  local t = {
    name = "pair",
    params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } },
    output = { 2 },
    symmetry = { { name = "exchange", map = function(z) return { a = z.b, b = z.a } end } },
    simulate = function(z, out) out[1], out[2] = z.a + z.b, z.a * z.b end,
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return simulator.new(t)
end

-- A product of which only the factors' scale is free, and an angle known up to half a turn.
local function product()
  return simulator.new {
    name = "product",
    params = { { name = "a", low = 1, high = 100, scale = "log" }, { name = "b", low = 1, high = 100, scale = "log" } },
    output = { 1 },
    symmetry = { { name = "scale", free = { low = 0, high = math.huge, scale = "log" },
      map = function(z, s) return { a = z.a * s, b = z.b / s } end } },
    invariants = { { name = "ab", value = function(z) return z.a * z.b end, scale = "log", high = 1000 } },
    simulate = function(z, out) out[1] = math.log(z.a * z.b) end,
  }
end

local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
local polygon = require "simvae.simulators.polygon"
local box = require "simvae.simulators.box"
local dsprites = require "simvae.simulators.dsprites"

describe("a declared symmetry", function()
  it("lists the finite part of an orbit once", function()
    assert.are.same({ { 0.2, 0.7 }, { 0.7, 0.2 } }, symmetry.all(pair(), { 0.2, 0.7 }))
    assert.are.same({ { 0.5, 0.5 } }, symmetry.all(pair(), { 0.5, 0.5 }))
    assert.are.equal(8, #symmetry.all(polygon, { 1, 2, 30, 4, 50, 60, 7, 40 }))
    assert.are.equal(4, #symmetry.all(dsprites, { 1, 0.7, 0.1, 0.5, 0.5 })) -- square
    assert.are.equal(2, #symmetry.all(dsprites, { 2, 0.7, 0.1, 0.5, 0.5 })) -- ellipse
    assert.are.equal(1, #symmetry.all(dsprites, { 3, 0.7, 0.1, 0.5, 0.5 })) -- heart
  end)

  it("leaves the outputs as they are", function()
    for _, sim in ipairs { rlc, polygon, dsprites, pair(), product() } do
      assert.is_true(symmetry.defect(sim) < 1e-5, sim.name)
    end
    local wrong = pair { simulate = function(z, out) out[1], out[2] = z.a, z.b end }
    assert.is_true(symmetry.defect(wrong) > 0.1)
  end)

  it("draws equivalents evenly and within the bounds", function()
    local rng, exchanged, logs, n = core.rng(1), 0, 0, 4000
    local sim, ab = product(), pair()
    for _ = 1, n do
      if symmetry.random(ab, { 0.2, 0.7 }, rng)[1] > 0.5 then exchanged = exchanged + 1 end
      local z = symmetry.random(sim, { 2, 50 }, rng) -- a b = 100: ln a is uniform from 0 to ln 100
      assert.is_true(z[1] >= 0.999 and z[1] <= 100.001 and z[2] >= 0.999 and z[2] <= 100.001)
      near(100, z[1] * z[2], 1e-6)
      logs = logs + math.log(z[1]) / n
    end
    near(0.5, exchanged / n, 0.03)
    near(math.log(10), logs, 0.07)
  end)

  it("finds the nearest equivalent", function()
    assert.are.same({ 0.7, 0.2 }, symmetry.nearest(pair(), { 0.2, 0.7 }, { 0.9, 0.3 }))
    -- in logarithms the orbit is a line and the nearest point its foot: ln a - ln b is the target's
    local z, distance = symmetry.nearest(product(), { 4, 9 }, { 50, 2 })
    near(36, z[1] * z[2], 1e-4)
    near(25, z[1] / z[2], 1e-4)
    near((math.log(100 / 36) / math.log(100)) ^ 2 / 2, distance, 1e-9)
    -- kept within the bounds
    z = symmetry.nearest(product(), { 4, 9 }, { 100, 0.01 }, true)
    near(36, z[1], 1e-3)
    near(1, z[2], 1e-4)
  end)

  it("finds it on a bounded family that turns back on itself", function()
    local ring = simulator.new {
      name = "ring", output = { 1 },
      params = { { name = "x", low = -2, high = 2 }, { name = "y", low = -2, high = 2 } },
      symmetry = { { name = "turn", free = { low = -math.pi, high = math.pi }, map = function(z, s)
        return { x = z.x * math.cos(s) - z.y * math.sin(s), y = z.x * math.sin(s) + z.y * math.cos(s) }
      end } },
      simulate = function(z, out) out[1] = z.x ^ 2 + z.y ^ 2 end,
    }
    local rng = core.rng(2)
    for _ = 1, 50 do
      local angle = rng:uniform(-3.1, 3.1)
      local z = symmetry.nearest(ring, { 1, 0 }, { 2 * math.cos(angle), 2 * math.sin(angle) })
      near(math.cos(angle), z[1], 1e-5)
      near(math.sin(angle), z[2], 1e-5)
    end
  end)

  it("leaves out maps beyond the bounds, and names those that give no number", function()
    local far = pair { symmetry = { { name = "far", map = function(z) return { a = z.a + 5, b = z.b } end } } }
    assert.are.same({ 0.2, 0.7 }, symmetry.random(far, { 0.2, 0.7 }, core.rng(1)))
    local function raises(pattern, f)
      local ok, message = pcall(f)
      assert.is_false(ok)
      assert.is_truthy(message:find(pattern, 1, true), message)
    end
    local broken = pair { symmetry = { { name = "half", map = function(z) return { a = z.a } end } } }
    raises("symmetry 'half' gave no number for 'b', but nil", function() symmetry.all(broken, { 0.2, 0.7 }) end)
    raises("symmetry[1] takes { name =", function() pair { symmetry = { { name = "x" } } } end)
    raises("low below high", function()
      pair { symmetry = { { name = "x", map = function(z) return z end, free = { low = 1, high = 1 } } } }
    end)
    raises("invariants[1] takes { name =", function() pair { invariants = { { name = "x" } } } end)
  end)
end)

describe("the ground truth", function()
  -- MIG(V, V-bar) as the paper has it: box 0.82, polygon 0, rlc 0.07
  local function truth(sim)
    local rng = core.rng(7)
    local rows = sim:sample(6000, rng):totable()
    local names, levels = parameters.columns(sim.params)
    return (metrics.mig(metrics.mim(parameters.scaled(sim.params, symmetry.equivalents(sim, rows, rng)),
      parameters.scaled(sim.params, rows), { names = names, levels = levels, z_levels = levels })))
  end
  it("is the paper's #long", function()
    near(0.82, truth(box), 0.01)
    near(1, truth(require "simvae.simulators.fourier"), 0.02)
    near(0, truth(polygon), 0.01)
    near(0.07, truth(rlc), 0.05)
  end)
end)

local function answers(v, f)
  local rng, rows = core.rng(11), v:totable()
  for i, row in ipairs(rows) do rows[i] = f(row, rng) end
  return core.tensor(rows)
end

local function noise(size)
  return function(row, rng) return { row[1] + rng:normal(0, size), row[2] + rng:normal(0, size) } end
end

describe("orbit-aligned MIM", function()
  local sim = pair()
  local v = sim:sample(5000, core.rng(3))
  local function score(f) return metrics.orbit_mim(answers(v, f), v, { simulator = sim }) end

  it("gives full marks to any equivalent, where MIG gives next to none", function()
    local jumping = answers(v, function(row, rng) return symmetry.random(sim, row, rng) end)
    assert.is_true(metrics.mig(metrics.mim(jumping, v)) < 0.05)
    local r = metrics.orbit_mim(jumping, v, { simulator = sim })
    near(1, r.score, 1e-6)
    near(1, r.accuracy.a, 1e-6)
    near(1, r.separation, 0.01)
    assert.are.same({ 5000, 2 }, r.aligned.shape)
  end)

  it("is 0 for answers that have nothing to do with the truth", function()
    local r = score(function(_, rng) return { rng:uniform(), rng:uniform() } end)
    near(0, r.score, 0.01)
    assert.is_true(r.chance:get(1, 1) > 0.02, r.chance:get(1, 1)) -- what choosing the nearer of two lends them
    assert.is_nil(r.separation)
    near(0, score(function() return { 0.3, 0.6 } end).score, 0.01)
  end)

  it("tells noise from mixing", function()
    local small, large = score(noise(0.02)), score(noise(0.05))
    near(0.72, small.score, 0.03)
    near(0.53, large.score, 0.03)
    assert.is_true(small.separation > 0.97 and large.separation > 0.97)
    local plain = pair()
    plain.symmetry = nil
    local mixed = metrics.orbit_mim(answers(v, function(row)
      return { (row[1] + row[2]) / 2, (row[1] - row[2]) / 2 + 0.5 }
    end), v, { simulator = plain })
    near(0.5, mixed.separation, 0.03)
  end)

  it("does not charge an encoder for ties of the true parameters", function()
    local w = box:sample(4000, core.rng(3))
    local r = metrics.orbit_mim(w, w, { simulator = box })
    near(1, r.score, 1e-6)
    near(1, r.separation, 0.01)
  end)

  it("names what is wrong", function()
    assert.has_error(function() metrics.orbit_mim(v, v) end, "orbit_mim: option 'simulator' is missing")
    assert.has_error(function() metrics.orbit_mim(v, core.zeros(5000, 3), { simulator = sim }) end,
      "orbit_mim: z and v have a column for each of the 2 parameters; got 2 and 3")
    local broken = v:clone()
    broken:set(0 / 0, 7, 2)
    assert.has_error(function() metrics.orbit_mim(broken, v, { simulator = sim }) end,
      "orbit_mim: column 2 ('b') of z is not finite at sample 7")
  end)
end)

describe("self-consistent MIM", function()
  local sim = pair()
  local v = sim:sample(5000, core.rng(4))
  it("is 1 for the same answer again, and low for jumps", function()
    near(1, metrics.consistent_mim(v, v, { simulator = sim }).score, 1e-6)
    local jumps = answers(v, function(row, rng) return symmetry.random(sim, row, rng) end)
    -- half of the pairs agree: MI of a uniform number that is kept with probability 1/2 and else replaced
    local kept = 0.5 + 0.5 / 20
    local expected = 1 + (kept * math.log(kept) + 19 * 0.025 * math.log(0.025)) / math.log(20)
    near(expected, metrics.consistent_mim(v, jumps, { simulator = sim }).score, 0.03)
  end)
  it("scores a collapsed latent 0, and tells its spread", function()
    local function blind(row, rng) return { row[1], 0.5 + rng:normal(0, 1e-5) } end
    local r = metrics.consistent_mim(answers(v, blind), answers(v, blind), { simulator = sim, v = v })
    near(1, r.by.a, 1e-6)
    near(0, r.by.b, 0)
    near(0.5, r.score, 1e-6)
    near(1, r.spread.a, 1e-6)
    near(0, r.spread.b, 1e-3)
    near(0, metrics.consistent_mim(core.full(0.5, 5000, 2), v, { simulator = sim }).score, 0)
  end)
end)

describe("MIM of invariants", function()
  local sim = product()
  local v = sim:sample(5000, core.rng(5))
  it("does not see the symmetry, and sees a wrong slope", function()
    local r = metrics.invariant_mim(answers(v, function(row, rng) return symmetry.random(sim, row, rng) end), v,
      { simulator = sim })
    near(1, r.by.ab.slope, 1e-4)
    near(1, r.by.ab.r2, 1e-5)
    near(1, r.by.ab.exact, 1e-5)
    near(1, r.by.ab.mi, 0.02)
    assert.is_true(r.samples < 5000 and r.samples > 3000) -- a b is limited to 1000
    for _, x in ipairs(r.v:totable()) do assert.is_true(x[1] <= 1000) end
    local wrong = metrics.invariant_mim(answers(v, function(row) return { 2 * row[1], row[2] } end), v,
      { simulator = sim }).by.ab
    near(2, wrong.slope, 1e-4)
    near(1, wrong.r2, 1e-5)
    assert.is_true(wrong.exact < 0.5)
  end)
  it("is nil where there is nothing to compare", function()
    assert.is_nil(metrics.invariant_mim(v, v, { simulator = pair() }))
    assert.is_nil(metrics.invariant_mim(core.tensor { { 50, 50 } }, core.tensor { { 50, 50 } }, { simulator = sim }))
  end)
end)

describe("intersection over union", function()
  -- dark rectangles on white
  local function rect(x, y, w, h, ink)
    local t = core.full(1 - (ink or 0), 1, 1, 10, 10)
    for r = y + 1, y + h do
      for c = x + 1, x + w do t:set(ink or 0, 1, 1, r, c) end
    end
    return t
  end
  it("is that of areas", function()
    near(1, (metrics.iou(rect(0, 0, 4, 4), rect(0, 0, 4, 4))), 1e-6)
    near(8 / 24, (metrics.iou(rect(0, 0, 4, 4), rect(2, 0, 4, 4))), 1e-6)
    near(0, (metrics.iou(rect(0, 0, 4, 4), rect(5, 5, 4, 4))), 1e-6)
    near(8 / 24, (metrics.iou(rect(0, 0, 4, 4, 1), rect(2, 0, 4, 4, 1))), 1e-6, "light on dark")
    local mean, each = metrics.iou(core.concat({ rect(0, 0, 4, 4), rect(0, 0, 4, 4) }, 1),
      core.concat({ rect(0, 0, 4, 4), rect(2, 0, 4, 4) }, 1))
    near(2 / 3, mean, 1e-6)
    near(1, each[1], 1e-6)
    near(1, (metrics.iou(core.ones(2, 1, 4, 4), core.ones(2, 1, 4, 4))), 0) -- nothing drawn, twice
    local half = metrics.iou(core.full(0.5, 1, 1, 2, 2), core.zeros(1, 1, 2, 2), { light = false })
    near(0.5, half, 1e-6, "half covered")
  end)
  it("names what is wrong", function()
    assert.has_error(function() metrics.iou(core.zeros(1, 1, 4, 4), core.zeros(1, 1, 4, 5)) end,
      "iou: x has shape (1, 1, 4, 4), y has (1, 1, 4, 5); they must agree")
  end)
end)
