--- Parameters that take the values of a grid: their prior, their points on the cube, and what a posterior learns of
-- them against the exact probabilities (Bayes' rule for normal noise).
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local helper = require "spec.helper"
local latent = require "simvae.model.latent"
local sv = require "simvae"

local function simulator_of(params, simulate)
  return sv.simulator { name = "s", params = params, output = { 2 }, simulate = simulate or function() end }
end

describe("a parameter with a grid", function()
  local sim = simulator_of { { name = "a", low = 0.5, high = 1, grid = 6 },
    { name = "turn", low = 0, high = 360, period = 360, grid = 41 } }

  it("is drawn from equally likely values, low and high among them", function()
    local counts = {}
    for _, row in ipairs(sim:sample(3000, core.rng(1)):totable()) do
      local index = (row[1] - 0.5) * 10
      assert.near(0, math.abs(index - math.floor(index + 0.5)), 1e-5)
      counts[math.floor(index + 0.5)] = (counts[math.floor(index + 0.5)] or 0) + 1
    end
    for i = 0, 5 do assert.near(500, counts[i], 90) end -- 4 standard deviations
  end)

  it("has a cell of the cube for each value, whose points are that value", function()
    local space = latent.new(sim.params)
    local z = core.tensor { { 0.5, 0 }, { 0.6, 9 }, { 1, 360 }, { 0.9, 351 } }
    local u = cube.points(space, z)
    for n, row in ipairs((cube.from_units(space, z:totable()))) do
      for k, v in ipairs(row) do assert.near(v, u:get(n, k), 1e-6) end
    end
    assert.near(0.5 / 6, u:get(1, 1), 1e-6)
    assert.near(5.5 / 6, u:get(3, 1), 1e-6)
    for step = 1, 20 do
      local moved = cube.dequantised(space, u, core.rng(step))
      assert.is_true((moved:within(0, 1)))
      local back = cube.to_units(space, moved):totable()
      for n, row in ipairs(z:totable()) do
        assert.near(row[1], back[n][1], 1e-6)
        assert.near(row[2] % 360, back[n][2], 1e-3)
      end
      local codes = cube.to_code(space, moved)
      assert.near(0, core.max(core.abs(codes - space:to_code(z))):item(), 1e-5)
      assert.near(0, core.max(core.abs(cube.from_code(space, codes) - u)):item(), 1e-5)
    end
  end)

  it("has posterior probabilities by Bayes' rule #long", function()
    local noisy = simulator_of({ { name = "a", low = -1, high = 1, grid = 5 }, { name = "b", low = -1, high = 1 } },
      function(z, out, rng)
        out[1], out[2] = z.a + 0.4 * rng:normal(), z.b + 0.4 * rng:normal()
      end)
    local model = sv.model { simulator = noisy, posterior = "flow", width = 32 }
    model:train { quiet = true, decoder = { steps = 0 }, encoder = { steps = 500, labels = 1 } }
    local p = model:posterior(core.tensor { { 0.2, 0.1 } })
    local draws, counts = p:sample(4000, sv.rng(1)):totable()[1], {}
    for _, row in ipairs(draws) do
      local i = math.floor((row[1] + 1) * 2 + 0.5)
      assert.near(-1 + i / 2, row[1], 1e-6)
      counts[i] = (counts[i] or 0) + 1
    end
    local total, exact = 0, {}
    for i = 0, 4 do
      exact[i] = math.exp(-0.5 * ((0.2 - (-1 + i / 2)) / 0.4) ^ 2)
      total = total + exact[i]
    end
    for i = 0, 4 do assert.near(exact[i] / total, (counts[i] or 0) / #draws, 0.08) end
    local path = helper.temporary_folder() .. "/grid.safetensors"
    assert(model:save(path))
    assert.equal(5, assert(sv.load(path, noisy)).simulator.params[1].grid)
  end)

  it("is linear, equally likely and no class", function()
    for _, field in ipairs { { "levels", 3 }, { "scale", "log" }, { "prior", { "normal", 0, 1 } } } do
      helper.raises("has a grid", function()
        simulator_of { { name = "a", low = field[1] == "scale" and 1 or field[1] ~= "levels" and 0 or nil,
          high = field[1] ~= "levels" and 3 or nil, grid = 3, [field[1]] = field[2] } }
      end)
    end
    helper.raises("a.grid must be from 2", function() simulator_of { { name = "a", low = 0, high = 1, grid = 1 } } end)
  end)
end)
