--- Surprise: uniform for a simulator's own outputs, near 1 for outputs that it did not make.
local core = require "simvae.core"
local helper = require "spec.helper"
local surprise = require "simvae.model.surprise"
local sv = require "simvae"

local N = 24

local function wave(noise)
  return sv.simulator { name = "wave", output = { N }, noise = noise,
    params = { { name = "f", low = 1, high = 3 }, { name = "a", low = 0.5, high = 2 } },
    simulate = function(z, out)
      for i = 1, N do out[i] = z.a * math.sin(z.f * i * 0.3) end
    end }
end

local disc = sv.simulator { name = "disc", output = { 1, 16, 16 },
  params = { { name = "x", low = 5, high = 11 }, { name = "y", low = 5, high = 11 },
    { name = "r", low = 2, high = 5 } },
  simulate = function(z)
    local x, y, r, list, max, min = z.x + 0.5, z.y + 0.5, z.r + 0.5, {}, math.max, math.min
    for i = 1, 16 do
      for j = 1, 16 do list[#list + 1] = max(0, min(1, r - ((j - x) ^ 2 + (i - y) ^ 2) ^ 0.5)) end
    end
    return list
  end }

-- Kolmogorov's distance of numbers from the uniform distribution.
local function distance(t)
  local list, d = t:totable(), 0
  table.sort(list)
  for i, u in ipairs(list) do d = math.max(d, i / #list - u, u - (i - 1) / #list) end
  return d
end

-- The share of outputs of which surprise is above 0.99.
local function flagged(model, x)
  local count = 0
  for _, u in ipairs(model:posterior(x).surprise:totable()) do count = count + (u > 0.99 and 1 or 0) end
  return count / x.shape[1]
end

describe("the surprise of vectors #long", function()
  local model, x

  setup(function()
    model = sv.model { simulator = wave(0.05), width = 64 }
    model:train { quiet = true, decoder = { steps = 700, lr = 3e-3 }, encoder = { steps = 500, lr = 2e-3 } }
    x = select(2, sv.simulate(wave(0.05), 400, sv.rng(5)))
  end)

  it("is uniform for fresh simulations", function()
    local u = model:posterior(x).surprise
    assert.same({ 400 }, u.shape)
    assert.is_true(u:within(0, 1))
    -- two samples of 400 and 512: exceeded by chance once in a hundred times
    assert.is_true(distance(u) < 1.63 * math.sqrt(1 / 400 + 1 / 512), distance(u))
    assert.is_true(flagged(model, x) < 0.04)
  end)

  it("is near 1 for another noise, an occlusion and a unit mistaken by 1,000", function()
    local _, noisy = sv.simulate(wave(0.2), 100, sv.rng(6))
    assert.is_true(flagged(model, noisy) > 0.95)
    local some = x:slice(1, 1, 100)
    local covered = core.concat({ some:slice(2, 1, 9), core.full(0.3, { 100, 6 }), some:slice(2, 16, N) }, 2)
    assert.is_true(flagged(model, covered) > 0.95)
    helper.stderr_of(function()
      assert.equal(1, flagged(model, some * 1000))
      assert.is_true(flagged(model, some * 0.001) > 0.95)
    end)
  end)

  it("is kept in the model's file, and measured anew by further training", function()
    local path = helper.temporary_folder() .. "/m.safetensors"
    assert(model:save(path))
    local again = assert(sv.load(path, model.simulator))
    local some = x:slice(1, 1, 20)
    assert.same(model:posterior(some).surprise:totable(), again:posterior(some).surprise:totable())
    assert.same({ 0 }, model:posterior(x:slice(1, 1, 0)).surprise.shape)
    again:train { quiet = true, decoder = { steps = 0 }, encoder = { steps = 3 } }
    assert.same({ 6, 64 }, again.usual.reference.shape)
  end)

  it("refuses a file whose reference does not fit", function()
    local state = model:state()
    local function refused(pattern, change)
      local map = {}
      for name, t in pairs(state) do map[name] = t end
      change(map)
      local ok, why = surprise.load({ head = model.head, simulator = model.simulator }, map)
      assert.is_nil(ok)
      assert.matches(pattern, why)
    end
    refused("surprise.centre is missing", function(map) map["surprise.centre"] = nil end)
    refused("surprise.whiten does not fit", function(map) map["surprise.whiten"] = core.ones(2, 2) end)
    refused("surprise.reference does not ascend", function(map)
      map["surprise.reference"] = core.tensor { { 2, 1 }, { 1, 2 }, { 1, 2 }, { 1, 2 }, { 1, 2 }, { 1, 2 } }
    end)
    refused("surprise.scale is not above 0", function(map) map["surprise.scale"] = core.zeros(1, N) end)
  end)
end)

describe("the surprise of pictures #long", function()
  it("is uniform for fresh ones, near 1 for a grey square, noise and a unit mistaken by 1,000", function()
    local model = sv.model { posterior = "gaussian", simulator = disc, net = "mlp", width = 48 }
    model:train { quiet = true, decoder = { steps = 300, lr = 3e-3 }, encoder = { steps = 250, lr = 2e-3 } }
    local _, x = sv.simulate(disc, 300, sv.rng(5))
    assert.is_true(distance(model:posterior(x).surprise) < 1.63 * math.sqrt(1 / 300 + 1 / 512))
    local some = x:slice(1, 1, 60)
    local covered = some:clone()
    for k = 1, 60 do
      for i = 2, 5 do
        for j = 2, 5 do covered:set(0.5, k, 1, i, j) end
      end
    end
    helper.stderr_of(function()
      assert.is_true(flagged(model, covered) > 0.95)
      local noise = sv.rng(3):normal { 60, 1, 16, 16 }
      assert.is_true(flagged(model, core.clamp(some + noise * 0.1, 0, 1)) > 0.95)
      assert.is_true(flagged(model, some * 0.001) > 0.95)
    end)
  end)
end)

describe("surprise", function()
  it("has no reference in a model that was not trained", function()
    local model = sv.model { simulator = wave(0.05), width = 4 }
    model.trained.encoder = 1
    helper.raises("surprise needs a reference", function() return model:posterior(core.zeros(1, N)).surprise end)
  end)
end)
