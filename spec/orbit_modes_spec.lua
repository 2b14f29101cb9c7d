--- Modes of an orbit, against draws of a known division among the equivalents.
local core = require "simvae.core"
local sv = require "simvae"

local polygon = require "simvae.simulators.polygon"
local dsprites = require "simvae.simulators.dsprites"
local symmetry = require "simvae.simulator.symmetry"

-- Draws about the first `some` equivalents of each row, in turn.
local function draws(sim, rows, some)
  local rng, all = core.rng(5), {}
  for i, row in ipairs(rows) do
    local list = symmetry.all(sim, row)
    all[i] = {}
    for d = 1, 160 do
      local image = list[(d - 1) % math.min(some, #list) + 1]
      all[i][d] = {}
      for k, p in ipairs(sim.params) do
        local noise = p.levels and 0 or (p.high - p.low) * 0.002 * rng:normal()
        all[i][d][k] = p.levels and image[k] or math.max(p.low, math.min(p.high, image[k] + noise))
      end
    end
  end
  return core.tensor(all)
end

describe("modes of an orbit", function()
  it("are the share of equivalents that are drawn equally often", function()
    local v = polygon:sample(10, core.rng(3))
    for _, some in ipairs { 1, 2, 8 } do
      local r = sv.metrics.orbit_modes(draws(polygon, v:totable(), some), v, { simulator = polygon })
      assert.near(some / 8, r.held, 0.01)
      assert.equal(8, r.each[1].equivalents)
    end
  end)

  it("are as many as each output has", function()
    local v = core.tensor { { 1, 0.7, 1, 0.5, 0.5 }, { 2, 0.7, 1, 0.5, 0.5 }, { 3, 0.7, 1, 0.5, 0.5 } }
    local r = sv.metrics.orbit_modes(draws(dsprites, v:totable(), 2), v, { simulator = dsprites })
    local counts = {}
    for n, one in ipairs(r.each) do counts[n] = one.equivalents end
    assert.same({ 4, 2, 1 }, counts)
    assert.near(0.5, r.each[1].held, 0.01)
    assert.near(1, r.each[2].held, 0.01)
    assert.near(0.75, r.held, 0.01) -- of the two with several
  end)

  it("are not those of a simulator without symmetry, or with a continuous one", function()
    local box, rlc = require "simvae.simulators.box", require "simvae.simulators.rlc" { engine = "analytic" }
    assert.is_nil(sv.metrics.orbit_modes(core.zeros(2, 3, 4), core.zeros(2, 4), { simulator = box }))
    assert.is_nil(sv.metrics.orbit_modes(core.ones(2, 3, 3), core.ones(2, 3), { simulator = rlc }))
  end)

  it("are measured at the level of the noise of each output", function()
    local sim = sv.simulator { name = "even", params = { { name = "a", low = -1, high = 1 } }, output = { 4 },
      noise = { low = 0.01, high = 0.1 }, symmetry = { { name = "sign", map = function(z) return { a = -z.a } end } },
      simulate = function(z, out) out:fill(z.a * z.a) end }
    local model = sv.model { simulator = sim, width = 4 }
    model:train { quiet = true, decoder = { steps = 3 }, encoder = { steps = 3 } }
    local r = sv.evaluate(model, { samples = 500, interval = 0, chance = 0, calibration = 20 })
    assert.is_true(r.orbit_modes.held > 0.4 and r.orbit_modes.held <= 1)
  end)
end)
