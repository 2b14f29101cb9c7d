--- Posteriors in the simulator's units: densities against numerical integration and closed forms, draws against
-- densities.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

local params = {
  { name = "a", low = -2, high = 3, unit = "V" },
  { name = "b", low = 1, high = 100, unit = "ohm", scale = "log" },
  { name = "turn", low = -90, high = 270, period = 360 },
  { name = "kind", levels = 3 },
  { name = "arc", low = 0, high = 90, period = 360 },
}

-- A model of some of these parameters whose encoder gives the same numbers to all outputs.
local function model_of(names, options, numbers)
  local chosen = {}
  for _, name in ipairs(names) do
    for _, p in ipairs(params) do
      if p.name == name then chosen[#chosen + 1] = p end
    end
  end
  options.simulator = sv.simulator { name = "s", params = chosen, output = { 2 }, simulate = function() end }
  options.posterior = options.posterior or "gaussian"
  options.net = {
    decoder = sv.nn.func(function(code) return core.slice(core.concat({ code, code }, 2), 2, 1, 2) end),
    encoder = sv.nn.func(function(x) return core.expand(core.tensor { numbers }, { x.shape[1], #numbers }) end),
  }
  return sv.model(options)
end

local function posterior(names, options, numbers, count)
  return model_of(names, options, numbers):posterior(core.zeros(count or 1, 2))
end

-- The midpoints of n cells from low to high.
local function grid(low, high, n)
  local list = {}
  for i = 1, n do list[i] = low + (i - 0.5) / n * (high - low) end
  return list
end

-- The integral of a density over the product of lists of { points, width of a cell }.
local function integral(p, axes)
  local rows = { {} }
  local cell = 1
  for _, axis in ipairs(axes) do
    local longer = {}
    for _, row in ipairs(rows) do
      for _, v in ipairs(axis[1]) do
        local more = table.move(row, 1, #row, 1, {})
        more[#more + 1] = v
        longer[#longer + 1] = more
      end
    end
    rows, cell = longer, cell * axis[2]
  end
  return core.sum(core.exp(p:log_prob(core.tensor { rows }))):item() * cell
end

describe("a posterior's density", function()
  it("integrates to 1 over each kind of parameter, at the edges too", function()
    for _, mean in ipairs { 0.3, -1, 1.4 } do
      for _, spread in ipairs { 0.2, 1.5, -1 } do
        local near = posterior({ "a" }, {}, { mean, spread })
        assert.near(1, integral(near, { { grid(-2, 3, 4000), 5 / 4000 } }), 1e-3)
        assert.near(1, integral(posterior({ "b" }, {}, { mean, spread }), { { grid(1, 100, 8000), 99 / 8000 } }), 1e-3)
        local circle = { mean, -0.7, spread, spread }
        assert.near(1, integral(posterior({ "turn" }, {}, circle), { { grid(-90, 270, 2000), 360 / 2000 } }), 1e-3)
        assert.near(1, integral(posterior({ "arc" }, {}, circle), { { grid(0, 90, 2000), 90 / 2000 } }), 1e-3)
        assert.near(1, integral(posterior({ "kind" }, {}, { mean, 1, -0.4, 0, 0, 0 }), { { { 1, 2, 3 }, 1 } }), 1e-5)
      end
    end
    local two = { "a", "kind" } -- three components: means, logarithms of spreads, and the logits
    local numbers = { 0.5, 0, 1, 0, -1, 0, 0, 0, -0.8, 2, 0, 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0.2, 0, 0, 0, 0.3, 1, -1 }
    local p = posterior(two, { posterior = "mixture", components = 3 }, numbers)
    assert.near(1, integral(p, { { grid(-2, 3, 2000), 5 / 2000 }, { { 1, 2, 3 }, 1 } }), 1e-3)
  end)

  it("is a truncated normal one of an interval, per unit, and -inf outside the support", function()
    -- code 0.3, spread exp(0.2 - 1): mean 0.5 + 0.3 * 2.5 V
    local p = posterior({ "a" }, {}, { 0.3, 0.2 }, 3)
    local mean, std = 0.5 + 0.3 * 2.5, math.exp(-0.8) * 2.5
    local inside = 0 -- by Simpson's rule
    local function normal(v) return math.exp(-(v - mean) ^ 2 / (2 * std ^ 2)) / (std * math.sqrt(2 * math.pi)) end
    for i = 0, 1000 do
      inside = inside + normal(-2 + i * 5 / 1000) * ((i == 0 or i == 1000) and 1 or i % 2 == 1 and 4 or 2) * 5 / 3000
    end
    local q = p:log_prob { { { 1 }, { -1.9 }, { 4 }, { -2.1 } }, { { 1 }, { 1 }, { 1 }, { 1 } },
      { { 0 / 0 }, { 1 / 0 }, { 3 }, { -2 } } }
    assert.same({ 3, 4 }, q.shape)
    assert.near(math.log(normal(1) / inside), q:get(1, 1), 1e-4)
    assert.near(math.log(normal(-1.9) / inside), q:get(1, 2), 1e-4)
    for _, at in ipairs { { 1, 3 }, { 1, 4 }, { 3, 1 }, { 3, 2 } } do
      assert.equal(-math.huge, q:get(table.unpack(at)))
    end
    assert.is_true(q:get(3, 3) > -10 and q:get(3, 4) > -10)
    assert.same({ 3 }, p:log_prob({ { 1 }, { 4 }, { 1 } }).shape)
    assert.equal(-math.huge, p:log_prob({ { 1 }, { 4 }, { 1 } }):get(2))
    assert.equal(-math.huge, posterior({ "kind" }, {}, { 0, 0, 0, 0, 0, 0 }):log_prob({ { 1.5 } }):item())
    local turn = posterior({ "turn" }, {}, { 1, 0, 0, 0 }) -- a full circle has no outside
    assert.near(turn:log_prob({ { -80 } }):item(), turn:log_prob({ { 280 } }):item(), 1e-4)
  end)
end)

describe("probabilities of classes", function()
  local function flow(list, members)
    local model = sv.model { simulator = sv.simulator { name = "f", params = list, output = { 3 },
      simulate = function() end }, width = 4, seed = 3, posterior = "flow", members = members }
    model.encoder:eval()
    -- far from equal ones
    for _, head in ipairs(members and model.head.members or { model.head }) do
      for _, class in ipairs(head.classes) do
        for _, w in ipairs(class.net:parameters()) do w:copy(core.rng(5):normal(w.shape) * 0.3) end
      end
    end
    return model:posterior(core.rng(9):normal { 2, 3 })
  end
  local classes = { { name = "a", levels = 2 }, { name = "b", levels = 3 }, { name = "c", levels = 4 } }

  it("are those of the density at every combination, and sums over the others", function()
    for _, members in ipairs { false, 2 } do
      local p = flow(classes, members or nil)
      local rows = {}
      for a = 1, 2 do
        for b = 1, 3 do
          for c = 1, 4 do rows[#rows + 1] = { a, b, c } end
        end
      end
      local exact = core.exp(p:log_prob(core.tensor { rows, rows })):totable()
      local joint = p:probabilities()
      assert.same({ 2, 2, 3, 4 }, joint.shape)
      local ca, b = p:probabilities { "c", "a" }, p:probabilities "b"
      assert.same({ 2, 4, 2 }, ca.shape)
      for n = 1, 2 do
        local sums_ca, sums_b = {}, { 0, 0, 0 }
        for i, z in ipairs(rows) do
          assert.near(exact[n][i], joint:get(n, table.unpack(z)), 1e-5)
          local key = z[3] * 10 + z[1]
          sums_ca[key] = (sums_ca[key] or 0) + exact[n][i]
          sums_b[z[2]] = sums_b[z[2]] + exact[n][i]
        end
        for c = 1, 4 do
          for a = 1, 2 do assert.near(sums_ca[c * 10 + a], ca:get(n, c, a), 1e-5) end
        end
        for k = 1, 3 do assert.near(sums_b[k], b:get(n, k), 1e-5) end
      end
    end
  end)

  it("are the density's integral over the other parameters", function()
    for _, options in ipairs { {}, { posterior = "mixture", components = 2, correlations = 0 } } do
      -- codes of a and kind: means, then logarithms of standard deviations; of a mixture twice, and its logits
      local one = { 0.2, 0.5, 1.5, -0.3, 0.1, 0, 0, 0 }
      local numbers = table.move(one, 1, 8, 1, {})
      if options.components then
        table.move({ -0.6, 2, 0, 0, -0.4, 0, 0, 0 }, 1, 8, 9, numbers)
        table.move({ 0.3, -0.5 }, 1, 2, 17, numbers)
      end
      local p = posterior({ "a", "kind" }, options, numbers)
      local q = p:probabilities "kind"
      for k = 1, 3 do
        assert.near(integral(p, { { grid(-2, 3, 2000), 5 / 2000 }, { { k }, 1 } }), q:get(1, k), 1e-4)
      end
      assert.near(1, core.sum(q):item(), 1e-5)
    end
  end)

  it("names what is no class", function()
    local p = flow(classes)
    raises("probabilities: takes names of classes, a, b, c; got \"d\"", function() p:probabilities "d" end)
    raises("probabilities: 'a' is named twice", function() p:probabilities { "a", "b", "a" } end)
    raises("probabilities: simulator 's' has no class among its parameters a", function()
      posterior({ "a" }, {}, { 0, 0 }):probabilities "a"
    end)
  end)
end)

describe("a posterior's draws", function()
  it("lie within the support, and are the same from the same generator", function()
    local numbers, all = {}, { "a", "b", "turn", "kind", "arc" }
    local rng = core.rng(7)
    for i = 1, 2 * (2 * 9 + 3) + 2 do numbers[i] = rng:uniform(-1, 1) end -- 3: correlations of a, b and arc
    local p = posterior(all, { posterior = "mixture", components = 2 }, numbers, 2)
    local z = p:sample(5000, sv.rng(3))
    assert.same({ 2, 5000, 5 }, z.shape)
    assert.same(z[2]:slice(1, 1, 50):totable(), p:sample(5000, sv.rng(3))[2]:slice(1, 1, 50):totable())
    for k, range in ipairs { { -2, 3 }, { 1, 100 }, { -90, 270 }, { 1, 3 }, { 0, 90 } } do
      assert.is_true(core.slice(z, 3, k, k):within(range[1], range[2]), all[k])
    end
    assert.is_true((p:log_prob(z):finite()))
    for _, row in ipairs(z[1]:totable()) do assert.equal(row[4] // 1, row[4]) end
  end)

  it("follow the density (Kolmogorov and Smirnov)", function()
    -- two components, of which one reaches over an end of the range or of the turn
    local interval = { 0.95, 0.6, -0.2, -0.5, 0.3, -0.3 }
    local circle = { 1, 0.2, 1, 1, 0.2, 1, 0, 0, 0.4, -0.4 }
    for name, c in pairs { a = { interval, -2, 3 }, b = { interval, 1, 100 }, turn = { circle, -90, 270 },
      arc = { circle, 0, 90 } } do
      local p = posterior({ name }, { posterior = "mixture", components = 2 }, c[1])
      local draws = core.reshape(core.sort(p:sample(20000, sv.rng(5)), 2), -1):totable()
      local points, below, at, worst = grid(c[2], c[3], 2000), 0, 0, 0
      local density = core.reshape(core.exp(p:log_prob(core.reshape(core.tensor(points), 1, 2000, 1))), -1):totable()
      local width = (c[3] - c[2]) / 2000
      for i, v in ipairs(points) do
        below = below + density[i] * width
        while draws[at + 1] and draws[at + 1] <= v + width / 2 do at = at + 1 end
        worst = math.max(worst, math.abs(below - at / 20000))
      end
      assert.is_true(worst < 0.0138, name .. ": " .. worst) -- exceeded by chance once in a thousand times
    end
    local p = posterior({ "kind" }, {}, { 1, 0, -1, 0, 0, 0 })
    local counts = { 0, 0, 0 }
    for _, row in ipairs(p:sample(20000, sv.rng(5))[1]:totable()) do counts[row[1] // 1] = counts[row[1] // 1] + 1 end
    for c = 1, 3 do assert.near(math.exp(p:log_prob({ { c } }):item()), counts[c] / 20000, 0.012) end
  end)

  it("give mean, standard deviation and quantiles of a normal distribution", function()
    local p = posterior({ "a", "b" }, {}, { 0.3, -0.2, -2, -2 }, 2) -- spreads exp(-3): far from the bounds
    local mean, std = 0.5 + 0.3 * 2.5, math.exp(-3) * 2.5
    assert.near(mean, p:mean():get(2, 1), 4 * std / math.sqrt(2048))
    assert.near(std, p:std():get(2, 1), 0.07 * std)
    local q = p:quantile { 0.1587, 0.5, 0.8413 }
    assert.same({ 2, 3, 2 }, q.shape)
    for i, away in ipairs { -1, 0, 1 } do
      assert.near(mean + away * std, q:get(1, i, 1), 0.12 * std)
      assert.near(10 ^ (0.8 + away * math.exp(-3)), q:get(1, i, 2), 0.12 * math.exp(-3) * 2.3 * 10) -- log10 1 to 100
    end
    assert.near(mean, p:mode():get(1, 1), 0.05 * std)
    assert.same(p:mean():totable(), p:mean():totable())
  end)

  it("have the mean direction of a circle across its seam, and the most probable class", function()
    -- phase 0 is -90 degrees, at the seam
    local p = posterior({ "turn", "kind" }, {}, { 1, 0, 0, 1, 0, -1.5, -1.5, 0, 0, 0 })
    local std = math.exp(-2.5) / (2 * math.pi) * 360
    local away = (p:mean():get(1, 1) + 90 + 180) % 360 - 180
    assert.near(0, away, 0.1 * std)
    assert.near(std, p:std():get(1, 1), 0.07 * std)
    assert.equal(2, p:mean():get(1, 2))
    assert.equal(2, p:mode():get(1, 2))
    local q = p:quantile { 0.1587, 0.8413 }
    assert.near(270 - std, q:get(1, 1, 1), 0.12 * std)
    assert.near(-90 + std, q:get(1, 2, 1), 0.12 * std)
    assert.equal(2, p:quantile(0.5):get(1, 1, 2))
  end)

  it("are none of nothing", function()
    local p = posterior({ "a", "b" }, {}, { 0.3, -0.2, -2, -2 }, 0)
    assert.same({ 0, 5, 2 }, p:sample(5, sv.rng(1)).shape)
    for _, name in ipairs { "mean", "std", "mode" } do assert.same({ 0, 2 }, p[name](p).shape, name) end
    assert.same({ 0, 2, 2 }, p:quantile({ 0.1, 0.9 }).shape)
    assert.same({ 0 }, p:log_prob(core.zeros(0, 2)).shape)
  end)
end)

describe("a posterior", function()
  it("agrees with encode and infer of the same model, and is told in words", function()
    local model = model_of({ "a" }, { posterior = "mixture", components = 2, loss = "mse" },
      { 0.5, -4, -0.5, -4, 1, 1 })
    local p = model:posterior(core.tensor { { 0.5, 0.5 }, { -0.5, -0.5 } })
    assert.near(0.5, p:mean():get(1, 1), 0.1) -- between both
    assert.near(1.25, p:std():get(1, 1), 0.05)
    assert.near(1.75, model:encode(core.tensor { { 0.5, 0.5 } }):item(), 1e-5) -- the one that the decoder reproduces
    local means, _, shares = model:infer(core.tensor { { 0.5, 0.5 } })
    assert.same({ { { 1.75 }, { -0.75 } } }, means:totable())
    assert.same({ { 0.5, 0.5 } }, shares:totable())
    assert.equal('posterior "mixture" of 2 outputs of s over a', tostring(p))
    assert.equal("mixture", model:description().posterior)
    assert.equal(2, model:description().components)
  end)

  it("names bad input", function()
    local p = posterior({ "a", "b" }, {}, { 0.3, -0.2, -2, -2 }, 2)
    raises("sample: n takes a whole number; got nil", p.sample, p)
    raises("sample: n must be from 1 to 16777216; got 0", p.sample, p, 0, sv.rng(1))
    raises("sample: rng takes a generator, such as sv.rng%(1%); got nil", p.sample, p, 5)
    raises("log_prob: takes a tensor %(2, 2%) or %(2, M, 2%), of parameters a, b; got a tensor %(3, 2%)", p.log_prob, p,
      core.zeros(3, 2))
    raises("log_prob: takes a tensor .* got nil", p.log_prob, p)
    raises("quantile: q%[2%] must be from 0 to 1; got 1.5", p.quantile, p, { 0.5, 1.5 })
    raises("quantile: q takes a list of shares", p.quantile, p, {})
    raises("mean: is a method, posterior:mean%(…%) with a colon", p.mean)
    raises("a posterior has no 'sampel'; did you mean 'sample'?", function() return p.sampel end)
    local sim = require "simvae.simulators.box"
    raises("posterior is one of .*gaussian.*mixture.* got \"flows\"", sv.model,
      { simulator = sim, posterior = "flows" })
    raises("components is an option of posterior = \"mixture\"; the posterior is \"flow\"", sv.model,
      { simulator = sim, components = 4 })
  end)

  it("of a model that was never trained is noticed, once", function()
    local script = helper.temporary_folder() .. "/untrained.lua"
    local file <close> = assert(io.open(script, "w"))
    file:write [[
      local sv = require "simvae"
      local box = require "simvae.simulators.box"
      local model = sv.model { simulator = box, width = 2 }
      local _, x = sv.simulate(box, 1, sv.rng(1))
      model:posterior(x)
      model:posterior(x)
    ]]
    file:close()
    assert.equal("simvae: posterior: the model's encoder has not been trained\n",
      (helper.run(helper.lua_command(script) .. " 2>&1")))
  end)

  it("is what `answers` of earlier versions was", function()
    local model = sv.model { simulator = require "simvae.simulators.box", width = 2, answers = 3 }
    assert.same({ "mixture", 3 }, { model:description().posterior, model:description().components })
    assert.equal("gaussian", sv.model({ simulator = require "simvae.simulators.box", width = 2, answers = 1 })
      :description().posterior)
  end)
end)
