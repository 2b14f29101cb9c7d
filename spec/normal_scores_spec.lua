-- Normal scores of outputs: against the normal distribution function and ranks by definition.
local assert = require "luassert"
local core = require "simvae.core"
local helper = require "spec.helper"
local normal_scores = require "simvae.model.normal_scores"
local sv = require "simvae"

local N = 1000

-- Columns: normal, lognormal, counts that are mostly 0, a constant.
local function outputs(seed)
  local rng = sv.rng(seed)
  local t = rng:normal { N, 1 }
  local counts = {}
  for i = 1, N do counts[i] = { i <= N - 100 and 0 or i - (N - 100) } end
  return core.concat({ t, core.exp(t * 2), core.tensor(counts), core.full(3, { N, 1 }) }, 2)
end

-- Numbers in standard deviations of others, as they count beside their scores: beyond 3 by the logarithm.
local function counted(list, of)
  local mean, squares, result = 0, 0, {}
  for _, v in ipairs(of) do mean = mean + v / #of end
  for _, v in ipairs(of) do squares = squares + (v - mean) ^ 2 / #of end
  for i, v in ipairs(list) do
    local y = (v - mean) / math.sqrt(squares)
    result[i] = y > 3 and 3 + math.log(y - 2) or y
  end
  return result
end

local function column(x, e) return x:slice(2, e, e):reshape(x.shape[1]):totable() end

describe("normal scores", function()
  local x = outputs(1)
  local scores = normal_scores.new { 4 }
  scores:fit(x)

  it("leave numbers alone that are normal or constant", function()
    local y = scores(x)
    for _, e in ipairs { 1, 4 } do
      assert.near(0, core.max(core.abs(y:slice(2, e, e) - x:slice(2, e, e))):item(), 1e-5)
    end
  end)

  it("of lognormal numbers are nearly those of the normal ones below them, and half of the encoder's", function()
    local other = outputs(2)
    local y, t, own = column(scores(other), 2), column(other, 1), counted(column(other, 2), column(x, 2))
    local squares = 0
    for i = 1, N do squares = squares + (2 * y[i] - own[i] - t[i]) ^ 2 / N end
    assert.is_true(math.sqrt(squares) < 0.24, tostring(math.sqrt(squares)))
  end)

  it("of equal numbers are those of their middle rank, and the others' follow", function()
    local y, own = column(scores(x), 3), counted(column(x, 3), column(x, 3))
    local middle = core.normal_quantile(core.tensor { (N - 100) / 2 / N }):item()
    local last = core.normal_quantile(core.tensor { (N - 0.5) / N }):item()
    assert.near((middle + own[1]) / 2, y[1], 1e-5)
    assert.near((last + own[N]) / 2, y[N], 1e-5)
    for i = N - 99, N do assert.is_true(y[i] > y[i - 1]) end
  end)

  it("go on beyond the sample, and keep the level of a noise", function()
    local y = scores(core.tensor { { 0, 1e4, 500, 3, -1 }, { 0, 2e4, 1000, 3, 1 } })
    assert.is_true(y:get(2, 2) > y:get(1, 2) and y:get(2, 3) > y:get(1, 3))
    assert.same({ -1, 1 }, column(y, 5))
    assert.same({ 2, 3, 4 }, scores(core.ones(2, 3, 4)).shape) -- sets of measurements
  end)

  it("are none of pictures, of outputs close to normal, and before the first training", function()
    assert.is_nil(normal_scores.new { 1, 8, 8 })
    local own = normal_scores.new { 1 }
    local t = sv.rng(3):normal { N, 1 }
    assert.equal(t, own(t))
    own:fit(t)
    assert.equal(t, own(t))
    local map = {}
    own:save(map)
    assert.is_nil(next(map))
  end)

  it("are restored from a model's tensors, or refused with a reason", function()
    local map, again = {}, normal_scores.new { 4 }
    scores:save(map)
    assert.is_true(again:load(map))
    assert.equal(0, core.max(core.abs(again(x) - scores(x))):item())
    local function refused(pattern, change)
      local other = { ["output.knots"] = map["output.knots"], ["output.scores"] = map["output.scores"] }
      change(other)
      local ok, why = normal_scores.new { 4 }:load(other)
      assert.is_nil(ok)
      assert.matches(pattern, why)
    end
    refused("'output.scores' is missing", function(t) t["output.scores"] = nil end)
    refused("'output.knots' has shape %(2, 2%)", function(t) t["output.knots"] = core.ones(2, 2) end)
    refused("does not ascend", function(t) t["output.knots"] = t["output.scores"] * -1 end)
    assert.is_true(again:load {})
    assert.equal(x, again(x))
  end)

  it("let an encoder see what a few large numbers hide", function()
    -- the logarithm of the output is the parameter; nine tenths of them lie within 0.02 standard deviations
    local sim = sv.simulator { name = "decades", params = { { name = "a", low = 0, high = 1 } }, output = { 1 },
      simulate = function(z, out) out[1] = math.exp(12 * z.a) end }
    local model = sv.model { simulator = sim, posterior = "gaussian", width = 16, seed = 1 }
    model:train { quiet = true, batch = 64, decoder = { steps = 1 }, sleep = { steps = 0 }, encoder = { steps = 1 } }
    local spread = model.scores(model.loss:standardise(sv.tensor { { math.exp(3) }, { math.exp(6) } }))
    assert.is_true(spread:get(2, 1) - spread:get(1, 1) > 0.3)
    local path = helper.temporary_folder() .. "/decades.safetensors"
    assert(model:save(path))
    local again = assert(sv.load(path, sim))
    local y = sv.tensor { { math.exp(3) }, { math.exp(6) } }
    assert.same(model:encode(y):totable(), again:encode(y):totable())
  end)
end)

describe("the recipe of the paper", function()
  it("takes a posterior that eq. 4 trains", function()
    local sim = sv.simulator { name = "s", params = { { name = "a", low = 0, high = 1 } }, output = { 2 },
      simulate = function(z, out) out[1], out[2] = z.a, 1 - z.a end }
    local model = sv.model { simulator = sim, width = 4 }
    helper.raises("recipe \"paper\" trains the encoder by the decoder's misfit .*this model's posterior is \"flow\"",
      model.train, model, { recipe = "paper", quiet = true, decoder = { steps = 1 }, encoder = { steps = 1 } })
  end)

  it("are of outputs with the noise of a measurement, which then has the size of all others", function()
    local noise = 0.05
    -- the first number is seen through the noise; the others differ by orders of magnitude below it, or hardly
    local sim = sv.simulator { name = "below", output = { 3 }, noise = noise,
      params = { { name = "a", low = 0, high = 1 }, { name = "b", low = -20, high = -5 } },
      simulate = function(z, out) out[1], out[2], out[3] = z.a, math.exp(z.b), 1e-4 * z.a end }
    local model = sv.model { simulator = sim, width = 8, seed = 1 }
    model:train { quiet = true, decoder = { steps = 1 }, encoder = { steps = 1 } }
    local _, measured = sv.simulate(sim, 2000, sv.rng(4))
    local seen = model.scores(model.loss:standardise(measured))
    for e = 1, 3 do
      local list = seen:slice(2, e, e)
      assert.near(1, math.sqrt(sv.var(list):item()), 0.15, "number " .. e)
      assert.near(0, sv.mean(list):item(), 0.15)
    end
  end)

  it("let an encoder see what noise in other numbers would hide #long", function()
    local sim = sv.simulator { name = "hidden", output = { 20 }, noise = 0.05,
      params = { { name = "a", low = 0, high = 1 } },
      simulate = function(z, out)
        out[1] = z.a
        for i = 2, 20 do out[i] = 1e-4 * z.a end
      end }
    local model = sv.model { simulator = sim, posterior = "mixture", width = 32, seed = 1 }
    model:train { quiet = true, recalibrate = false, decoder = { steps = 1 }, encoder = { steps = 400 } }
    local z, x = sv.simulate(sim, 500, sv.rng(5))
    -- of a normal posterior of standard deviation 0.05: -log(0.05) - log(2 pi e) / 2 = 1.58 nats
    local gained = sv.mean(model:posterior(x):log_prob(z)):item()
    assert.is_true(gained > 1.3 and gained < 1.8, tostring(gained))
  end)
end)
