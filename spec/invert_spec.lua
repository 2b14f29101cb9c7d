local helper = require "spec.helper"
local sv = require "simvae"
local core = require "simvae.core"
local evaluate = require "simvae.evaluate"
local loss = require "simvae.model.loss"

local raises = helper.raises

-- A simulator with two local optima for every global one, a circle and a class, and its own formula as the decoder.
local waves = sv.simulator {
  name = "waves",
  params = { { name = "a", low = -2, high = 2, unit = "V" }, { name = "turn", low = 0, high = 360, period = 360 },
    { name = "kind", levels = 3 } },
  output = { 5 },
  simulate = function(z, out)
    out[1], out[2] = math.sin(3 * z.a) + 0.3 * z.a, math.cos(math.rad(z.turn))
    out[3], out[4], out[5] = math.sin(math.rad(z.turn)), z.kind == 2 and 1 or 0, z.kind == 3 and 1 or 0
  end,
}

local function formula(code)
  local a = core.slice(code, 2, 1, 1) * 2
  local turn, kind = core.slice(code, 2, 2, 3), core.slice(code, 2, 5, 6)
  return core.concat({ core.sin(a * 3) + a * 0.3, turn, kind }, 2)
end

-- An encoder that always gives the same answer.
local function waving(given)
  local heads = core.zeros(1, 12)
  return sv.model { posterior = "gaussian", simulator = waves, loss = given, net = {
    decoder = sv.nn.func(formula),
    encoder = sv.nn.func(function(x) return core.expand(heads, { x.shape[1], 12 }) end),
  } }
end

local function squared(model, z, x)
  return core.mean(core.square(model:decode(z) - x), 2):totable()
end

describe("model:invert", function()
  it("finds circles and classes downhill, and leaves wrong basins with more starts", function()
    local model = waving()
    local z, x = waves:simulate_batch(150, core.rng(4)) -- more than a chunk
    local once, value = model:invert(x)
    local again, better = model:invert(x, { starts = 6, spread = 0.6 })
    local e, a, b = squared(model, model:encode(x), x), squared(model, once, x), squared(model, again, x)
    local solved, solved_again, mean = 0, 0, 0
    for i = 1, 150 do
      assert.is_true(a[i] <= e[i] + 1e-6 and b[i] <= a[i] + 1e-6, "further off than before")
      if a[i] < 1e-4 then solved = solved + 1 end
      if b[i] < 1e-4 then
        solved_again = solved_again + 1
        local zi, bi = z[i]:totable(), again[i]:totable()
        assert.equal(zi[3], bi[3])
        assert.near(0, (zi[2] - bi[2] + 180) % 360 - 180, 3)
      end
      mean = mean + b[i] / 150
    end
    assert.near(mean, better, 1e-6)
    assert.is_true(better < value)
    assert.is_true(solved_again >= 140 and solved < solved_again, solved .. " and " .. solved_again)
  end)

  it("gives the same again, the encoder's answer after no steps, and nothing of nothing", function()
    local model = waving()
    local _, x = waves:simulate_batch(5, core.rng(4))
    local o = { starts = 3, steps = 10 }
    assert.same(model:invert(x, o):totable(), model:invert(x, o):totable())
    assert.same((model:encode(x)):totable(), (model:invert(x, { steps = 0 })):totable())
    assert.same({ 0, 3 }, (model:invert(core.zeros(0, 5))).shape)
  end)

  it("takes a loss of one's own, sample by sample", function()
    local model = waving(function(y, x) return core.mean(core.abs(y - x)) end)
    local _, x = waves:simulate_batch(6, core.rng(5))
    local z, value = model:invert(x, { steps = 150, starts = 4, spread = 0.6 })
    assert.near(core.mean(core.abs(model:decode(z) - x)):item(), value, 1e-5)
    assert.is_true(value < 0.05, tostring(value))
  end)

  it("leaves the decoder as it was, also after an error", function()
    local model = sv.model { posterior = "gaussian", simulator = waves, width = 4 }
    local _, x = waves:simulate_batch(2, core.rng(5))
    local broken = model.loss.misfit
    model.loss.misfit = function() error("stop", 0) end
    assert.has_error(function() model:invert(x) end, "stop")
    model.loss.misfit = broken
    for _, p in ipairs(model.decoder:parameters()) do assert.is_true(p.needs_grad) end
  end)

  it("names what is wrong", function()
    local model = waving()
    raises("invert: starts must be at least 1; got 0", function() model:invert(core.zeros(1, 5), { starts = 0 }) end)
    raises("invert: takes", function() model:invert(core.zeros(1, 4)) end)
    raises("did you mean 'starts'", function() model:invert(core.zeros(1, 5), { start = 2 }) end)
  end)
end)

describe("misfit", function()
  -- two pictures of one pixel of ink each that share nothing, and one that is the same
  local x, y = core.ones(2, 1, 16, 16), core.ones(2, 1, 16, 16)
  x:set(0, 1, 1, 1, 1)
  y:set(0, 1, 1, 16, 16)
  x:set(0, 2, 1, 3, 3)
  y:set(0, 2, 1, 3, 3)

  it("is the Jaccard distance, with four pixels of grace, and what coarser views differ by", function()
    local d = loss.new(nil, { 1, 16, 16 })
    d.to_output = function(_, raw) return raw end
    -- the union is 2 pixels; a block of b x b pixels differs by 1 / b^2 in two of (16 / b)^2 blocks
    local fine = 2 * 2 / (2 + 2 + 4)
    local coarse = 0
    for _, b in ipairs { 2, 4, 8 } do coarse = coarse + 2 * (1 / b ^ 2) ^ 2 / (16 / b) ^ 2 end
    local each = d:misfit(y, x):totable()
    assert.near(fine + 4 * coarse, each[1], 1e-6)
    assert.near(0, each[2], 1e-7)
    assert.near(5 * 2 / 256 + 4 * coarse, d:misfit(y, x, "absolute"):totable()[1], 1e-6)
  end)

  it("of each sample has D as its mean", function()
    local rng = core.rng(3)
    for _, kind in ipairs { "bce", "mse", "l1", "gaussian" } do
      local d = loss.new(kind, { 1, 16, 16 })
      local raw, target = rng:normal { 3, 1, 16, 16 }, rng:uniform(0, 1, { 3, 1, 16, 16 })
      assert.near(d(raw, target):item(), core.mean(d:each(raw, target)):item(), 1e-6)
    end
  end)
end)

describe("model:invert with keep", function()
  it("returns the best results of the starts, in order, and the same best one as without", function()
    local model = waving()
    local _, x = waves:simulate_batch(70, core.rng(4))
    local o = { starts = 6, spread = 0.6, steps = 60 }
    local best, mean = model:invert(x, o)
    o.keep = 4
    local z, misfits = model:invert(x, o)
    assert.same({ 70, 4, 3 }, z.shape)
    assert.same({ 70, 4 }, misfits.shape)
    assert.same(best:totable(), core.slice(z, 2, 1, 1):reshape(70, 3):totable())
    assert.near(mean, core.mean(core.slice(misfits, 2, 1, 1)):item(), 1e-6)
    local several = 0
    for i, row in ipairs(misfits:totable()) do
      for k = 1, 4 do
        -- the misfit is that of the row beside it
        if k > 1 then assert.is_true(row[k] >= row[k - 1]) end
        local error = squared(model, z[i][k]:reshape(1, 3), x[i]:reshape(1, 5))[1]
        if k > 1 and row[k] > row[1] then several = several + 1 end
        assert.near(error, row[k], 1e-5)
      end
    end
    assert.is_true(several > 70) -- other optima of a
    assert.same({ 0, 4, 3 }, (model:invert(core.zeros(0, 5), o)).shape)
    raises("keep = 7 takes as many starts; got starts = 6", function() model:invert(x, { starts = 6, keep = 7 }) end)
  end)
end)

describe("evaluate", function()
  it("tells what refining brings, and that it is of the samples named", function()
    local model = waving()
    local r = evaluate(model, { samples = 500, interval = 0, chance = 0,
      refine = { samples = 100, starts = 4, spread = 0.6 } })
    assert.equal(100, r.refined.samples)
    assert.same({ 100, 3 }, r.refined.mean.shape)
    assert.same(r.z[100]:totable(), r.refined.z[100]:totable())
    assert.is_true(r.refined.resimulation_r2 > 0.95 and r.refined.resimulation_r2 > r.resimulation_r2 + 0.3)
    assert.is_true(r.refined.rmse.turn < 30 and r.rmse.turn > 80)
    assert.is_nil(r.refined.mig) -- of too few samples
    r = evaluate(model, { samples = 500, interval = 0, chance = 0, bins = 10,
      refine = { samples = 100, starts = 4, spread = 0.6 } })
    assert.equal(sv.metrics.mig(sv.metrics.mim(r.refined.mean, r.refined.z, { bins = 10 })), r.refined.mig)
    assert.is_true(r.refined.mig > r.mig)
    assert.is_nil(evaluate(model, { samples = 500, interval = 0, chance = 0 }).refined)
    local plain = { simulator = waves, encode = model.encode, decode = model.decode }
    raises("refine takes a model with :invert", function() evaluate(plain, { refine = {} }) end)
    raises("evaluate: refine: ", function() evaluate(model, { refine = { start = 1 } }) end)
  end)
end)

describe("net \"coordconv\"", function()
  it("takes the sides that halve down to 4 to 8, trains both of its halves, and is saved whole", function()
    for _, side in ipairs { 16, 24, 64 } do
      local sim = sv.simulator { name = "square", output = { 1, side, side },
        params = { { name = "x", low = 0, high = 1 } },
        simulate = function(z, out)
          for c = 1, side do out:set(math.min(1, math.max(0, z.x * side - c + 1)), 1, side // 2, c) end
        end }
      local model = sv.model { posterior = "gaussian", simulator = sim, net = "coordconv", width = 4 }
      local before = model:state()
      for name, t in pairs(before) do before[name] = core.buffer(t * 1) end
      model:train { quiet = true, batch = 4, decoder = { steps = 3 }, encoder = { steps = 3 } }
      local after = model:state()
      for name, t in pairs(before) do
        assert.is_true(core.max(core.abs(after[name] - t)):item() > 0, name .. " of side " .. side .. " has not moved")
      end
      local path = helper.temporary_folder() .. "/coordconv.safetensors"
      assert(model:save(path))
      local _, x = sim:simulate_batch(2, core.rng(1))
      assert.same((model:encode(x)):totable(), (sv.load(path, sim):encode(x)):totable())
    end
  end)
end)
