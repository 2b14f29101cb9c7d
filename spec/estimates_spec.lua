--- Point estimates of a posterior from its draws, against mixtures of normal distributions in closed form.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local estimates = require "simvae.posterior.support.estimates"
local latent = require "simvae.model.latent"

local STD = 0.01

-- Estimates of a mixture of normals on the cube of K intervals, of which modes (lists of K numbers) are the means.
local function estimated(modes)
  local K, D = #modes[1], 128
  local params = {}
  for k = 1, K do params[k] = { name = "p" .. k, low = 0, high = 1 } end
  local space = latent.new(params)
  local rng, rows = core.rng(4), {}
  for d = 1, D do
    local mode = modes[(d - 1) % #modes + 1]
    rows[d] = {}
    for k = 1, K do rows[d][k] = mode[k] + STD * rng:normal() end
  end
  local u = core.reshape(core.tensor(rows), 1, D, K)
  local head = { latent = space, log_prob = function(_, _, at)
    local total = 0
    for _, mode in ipairs(modes) do
      local away = core.sum(core.square(at - core.reshape(core.tensor { mode }, 1, 1, K)), 3)
      total = core.exp(away * (-0.5 / STD ^ 2)) + total
    end
    return core.log(total + 1e-30)
  end }
  local codes = cube.to_code(space, u)
  local mean = core.mean(codes, 2)
  local std = core.sqrt(core.mean(core.square(codes - core.reshape(mean, 1, 1, K)), 2))
  local list = estimates.of(head, core.zeros(1, 1), codes, u, head:log_prob(nil, u), mean, std)
  for i, code in ipairs(list) do list[i] = cube.from_code(space, code):totable()[1] end
  return list
end

local function distance(a, b)
  local far = 0
  for k, v in ipairs(a) do far = math.max(far, math.abs(v - b[k])) end
  return far
end

describe("the estimates of a posterior", function()
  it("are its mean where it has one mode", function()
    for _, mode in ipairs { { 0.3 }, { 0.3, 0.6 }, { 0.3, 0.6, 0.2, 0.5, 0.7 } } do
      local list = estimated { mode }
      assert.equal(1, #list)
      assert.near(0, distance(list[1], mode), 4 * STD / math.sqrt(128))
    end
  end)

  it("are centres of its modes where the mean lies between them", function()
    local modes = { { 0.2, 0.5 }, { 0.8, 0.5 }, { 0.5, 0.9 } }
    local list, seen = estimated(modes), {}
    assert.equal(8, #list)
    for i, point in ipairs(list) do
      local nearest, which = math.huge, nil
      for m, mode in ipairs(modes) do
        local d = distance(point, mode)
        if d < nearest then nearest, which = d, m end
      end
      if i <= 3 then assert.is_true(nearest < STD, "estimate " .. i .. " is " .. nearest .. " from a mode") end
      if nearest < 3 * STD then seen[which] = true end
    end
    assert.same({ true, true, true }, seen)
  end)

  it("are points on circles and single classes", function()
    local space = latent.new { { name = "turn", low = 0, high = 1, period = 1 }, { name = "kind", levels = 3 } }
    local rng, rows = core.rng(4), {}
    for d = 1, 128 do rows[d] = { (0.01 * rng:normal() + (d % 2) * 0.5) % 1, d % 2 == 0 and 1 / 6 or 5 / 6 } end
    local u = core.reshape(core.tensor(rows), 1, 128, 2)
    local head = { latent = space, log_prob = function(_, _, at)
      -- class 1 lies at turn 0, class 3 at turn 1/2
      local turn, kind = cube.column(at, 1), cube.column(at, 2)
      local off = core.sin((turn - core.clamp((kind - 0.5) * 1e6, 0, 0.5)) * math.pi)
      return core.reshape(core.square(off) * -500, at.shape[1], at.shape[2])
    end }
    local codes = cube.to_code(space, u)
    local mean = core.mean(codes, 2)
    local std = core.sqrt(core.mean(core.square(codes - core.reshape(mean, 1, 1, 5)), 2))
    for _, code in ipairs(estimates.of(head, core.zeros(1, 1), codes, u, head:log_prob(nil, u), mean, std)) do
      local row = code:totable()[1]
      assert.near(1, row[1] ^ 2 + row[2] ^ 2, 1e-5)
      assert.near(row[1] > 0 and 1 or 0, row[3], 1e-6)
      assert.near(row[1] > 0 and 0 or 1, row[5], 1e-6)
    end
  end)
end)
