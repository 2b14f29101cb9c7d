--- The flow posterior: its density against numerical integration and finite differences, its inverse, and what it
-- learns against closed forms (Bayes' rule for linear Gaussian simulators and for classes).
local core = require "simvae.core"
local coupling = require "simvae.posterior.support.coupling"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

local params = {
  a = { name = "a", low = -3, high = 3 },
  b = { name = "b", low = 1, high = 100, scale = "log" },
  turn = { name = "turn", low = 0, high = 360, period = 360 },
  kind = { name = "kind", levels = 3 },
}

-- Weights far from their initial ones, so that the density is not nearly uniform.
local function shaken(layer, seed)
  local rng = core.rng(seed)
  for _, t in ipairs(layer:parameters()) do t:copy(t + rng:normal(t.shape) * (t.ndim == 1 and 0.1 or 0.05)) end
  return layer
end

local function simulator_of(names, output, simulate)
  local chosen = {}
  for i, name in ipairs(names) do chosen[i] = params[name] end
  return sv.simulator { name = "s", params = chosen, output = { output }, simulate = simulate or function() end }
end

-- The sum of a density at the midpoints of cells, times their volume.
local function integral(p, axes)
  local rows, cell = { {} }, 1
  for _, axis in ipairs(axes) do
    local longer, width = {}, (axis[2] - axis[1]) / axis[3]
    for _, row in ipairs(rows) do
      for i = 1, axis[3] do
        local more = table.move(row, 1, #row, 1, {})
        more[#more + 1] = axis[1] + (i - 0.5) * width
        longer[#longer + 1] = more
      end
    end
    rows, cell = longer, cell * width
  end
  return core.sum(core.exp(p:log_prob(core.tensor { rows }))):item() * cell
end

describe("a neural spline flow", function()
  local flow = shaken(coupling { circle = { false, true, false }, context = 4, transforms = 5, bins = 10,
    rng = core.rng(1) }, 2)
  local rng = core.rng(3)
  local context, u = rng:normal { 3, 4 }, rng:uniform(0, 1, { 3, 50, 3 })

  it("is undone by its inverse", function()
    core.no_grad(function()
      local _, base = flow.density(context, u)
      assert.is_true((base:within(0, 1)))
      assert.is_true(core.max(core.abs(base - u)):item() > 0.05)
      assert.near(0, core.max(core.abs(flow.draw(context, base) - u)):item(), 1e-5)
    end)
  end)

  it("gives the density of its draws beside them", function()
    local uniform = core.rng(9):uniform(0, 1, { 3, 2100, 3 }) -- more than are drawn at once
    local drawn, log = flow.draw_with_density(context, uniform)
    assert.same(flow.draw(context, uniform):totable(), drawn:totable())
    assert.near(0, core.max(core.abs(core.no_grad(flow.density, context, drawn) - log)):item(), 1e-3)
  end)

  it("has the density of many points that it has of a few", function()
    local many = rng:uniform(0, 1, { 3, 2500, 3 })
    local log, base = flow.density(context, many)
    local some_log, some_base = flow.density(context, core.slice(many, 2, 2201, 2210))
    assert.near(0, core.max(core.abs(core.slice(log, 2, 2201, 2210) - some_log)):item(), 1e-3)
    assert.near(0, core.max(core.abs(core.slice(base, 2, 2201, 2210) - some_base)):item(), 1e-4)
    local tape <close> = core.tape()
    tape:backward(core.mean((flow.density(context, many))))
    assert.is_true(core.max(core.abs(flow:parameters()[1].grad)):item() > 0)
  end)

  it("has the determinant of its Jacobian matrix by finite differences", function()
    core.no_grad(function()
      local h = core.real == "double" and 1e-6 or 4e-3
      local function base(i, step)
        local moved = u * 1
        for n = 1, 3 do
          for m = 1, 10 do moved:set(u:get(n, m, i) + step, n, m, i) end
        end
        local _, b = flow.density(context, moved)
        return b
      end
      local inner = core.clamp(u, 0.02, 0.98) -- away from the ends
      for m = 1, 10 do
        for n = 1, 3 do
          for i = 1, 3 do u:set(inner:get(n, m, i), n, m, i) end
        end
      end
      local log = flow.density(context, u)
      local columns = {}
      for i = 1, 3 do columns[i] = (base(i, h) - base(i, -h)) / (2 * h) end
      local off = {}
      for n = 1, 3 do
        for m = 1, 10 do
          local function d(i, j) return columns[j]:get(n, m, i) end
          local det = d(1, 1) * (d(2, 2) * d(3, 3) - d(2, 3) * d(3, 2))
            - d(1, 2) * (d(2, 1) * d(3, 3) - d(2, 3) * d(3, 1)) + d(1, 3) * (d(2, 1) * d(3, 2) - d(2, 2) * d(3, 1))
          off[#off + 1] = math.abs(math.log(math.abs(det)) - log:get(n, m))
        end
      end
      table.sort(off)
      assert.near(0, off[25], 0.05) -- knots lie between both points of a few
    end)
  end)
end)

describe("a flow posterior's density", function()
  local function check(names, axes)
    local model = sv.model { simulator = simulator_of(names, 2), posterior = "flow", width = 8 }
    shaken(model.head.net, 5)
    model.trained.encoder = 1 -- no notice that it is untrained
    local p = model:posterior(core.tensor { { 0.3, -0.2 } })
    assert.near(1, integral(p, axes), 1e-3)
    local z = p:sample(500, sv.rng(2))
    assert.is_true((p:log_prob(z):finite()))
    for k, axis in ipairs(axes) do assert.is_true(core.slice(z, 3, k, k):within(axis[1], axis[2]), names[k]) end
  end

  it("integrates to 1 over the prior's support", function()
    check({ "a" }, { { -3, 3, 3000 } })
    check({ "b" }, { { 1, 100, 10000 } })
    check({ "turn" }, { { 0, 360, 3000 } })
    check({ "kind" }, { { 0.5, 3.5, 3 } })
    check({ "a", "turn" }, { { -3, 3, 250 }, { 0, 360, 250 } })
    check({ "kind", "a" }, { { 0.5, 3.5, 3 }, { -3, 3, 2000 } })
  end)

  it("is the same on both sides of a circle's seam, and -inf outside the bounds", function()
    local model = sv.model { simulator = simulator_of({ "turn", "a" }, 2), posterior = "flow", width = 8 }
    shaken(model.head.net, 6)
    model.trained.encoder = 1 -- no notice that it is untrained
    local p = model:posterior(core.tensor { { 0.3, -0.2 } })
    local log = p:log_prob { { { 0.001, 1 }, { 359.999, 1 }, { 180, 1 }, { 180, 3.1 } } }
    assert.near(log:get(1, 1), log:get(1, 2), 1e-3)
    assert.is_true(math.abs(log:get(1, 1) - log:get(1, 3)) > 1e-2)
    assert.equal(-math.huge, log:get(1, 4))
  end)
end)

-- A model whose decoder is the formula itself.
local function formula_model(sim, formula, options)
  options.simulator, options.posterior, options.loss, options.width = sim, "flow", "mse", 32
  options.net = function(t)
    local _, encoder = sv.nets.mlp(t)
    return sv.nn.func(formula), encoder
  end
  local model = sv.model(options)
  model.loss.fitted = true -- the formula is in the simulator's units
  return model
end

local gaussian = simulator_of({ "a", "turn" }, 3, function(z, out, rng)
  out[1] = z.a + 0.5 * rng:normal()
  out[2] = math.cos(math.rad(z.turn)) + 0.3 * rng:normal()
  out[3] = math.sin(math.rad(z.turn)) + 0.3 * rng:normal()
end)
local function gaussian_mean(code)
  return core.concat({ core.slice(code, 2, 1, 1) * 3, core.slice(code, 2, 2, 3) }, 2)
end

describe("stage 2 of a flow posterior", function()
  -- Trains a model of a linear simulator, and compares its posterior at x = (0.5, 0.2) with the exact one.
  local function linear(variational)
    local sim = sv.simulator { name = "linear", output = { 2 },
      params = { { name = "a", low = -3, high = 3 }, { name = "b", low = -3, high = 3 } },
      simulate = function(z, out, rng)
        out[1], out[2] = z.a + 0.4 * rng:normal(), z.a + 0.5 * z.b + 0.3 * rng:normal()
      end }
    local weights = core.tensor { { 3, 3 }, { 0, 1.5 } }
    local model = formula_model(sim, function(code) return core.matmul(code, weights) end, { transforms = 3, bins = 8 })
    model:train { decoder = { steps = 0 }, batch = 128, quiet = true,
      encoder = { steps = 400, lr = { peak = 8e-3, warmup = 20 }, variational = variational } }
    -- precision P = A' S^-1 A, A = {{1, 0}, {1, 0.5}}, S = diag(0.16, 0.09); mean P^-1 A' S^-1 x at x = (0.5, 0.2)
    local mean, std, correlation = { 0.5, -0.6 }, { 0.4, 1 }, -0.8
    local p = model:posterior(core.tensor { { 0.5, 0.2 } })
    for k = 1, 2 do
      assert.near(mean[k], p:mean():get(1, k), 0.2 * std[k])
      assert.near(std[k], p:std():get(1, k), 0.15 * std[k])
    end
    local m, s, total = p:mean(), p:std(), 0
    for _, row in ipairs(p:sample(4000, sv.rng(1))[1]:totable()) do
      total = total + (row[1] - m:get(1, 1)) / s:get(1, 1) * (row[2] - m:get(1, 2)) / s:get(1, 2)
    end
    assert.near(correlation, total / 4000, 0.1)
    assert.near(-math.log(2 * math.pi * 0.4 * 1 * 0.6), p:log_prob({ mean }):item(), 0.3)
    local z, spread = model:encode(core.tensor { { 0.5, 0.2 } })
    assert.near(mean[1], z:get(1, 1), 0.15)
    assert.near(std[2], spread:get(1, 2), 0.25)
  end

  it("recovers the correlated posterior of a linear simulator with noise #long", function() linear(0) end)

  it("recovers it by eq. 4 alone, through the decoder's distribution and with its own entropy #long", function()
    linear(1)
  end)

  it("gives classes their probabilities, and the others theirs within each class #long", function()
    local sim = simulator_of({ "kind", "a" }, 2, function(z, out, rng)
      out[1] = z.kind + 0.7 * rng:normal()
      out[2] = (z.kind == 2 and -z.a or z.a) + 0.3 * rng:normal()
    end)
    local model = formula_model(sim, function(code)
      local second, a = core.slice(code, 2, 2, 2), core.slice(code, 2, 4, 4) * 3
      return core.concat({ core.slice(code, 2, 1, 1) + second * 2 + core.slice(code, 2, 3, 3) * 3,
        a * (1 - second * 2) }, 2)
    end, { transforms = 2, bins = 8 })
    model:train { decoder = { steps = 0 }, encoder = { steps = 700, lr = { peak = 5e-3, warmup = 20 } }, batch = 128,
      quiet = true }
    local p = model:posterior(core.tensor { { 1.6, 1 } })
    local shares, total = {}, 0
    for c = 1, 3 do
      shares[c] = math.exp(-(1.6 - c) ^ 2 / (2 * 0.7 ^ 2))
      total = total + shares[c]
    end
    local counts, sums = { 0, 0, 0 }, { 0, 0, 0 }
    for _, row in ipairs(p:sample(4000, sv.rng(1))[1]:totable()) do
      local c = row[1] // 1
      counts[c], sums[c] = counts[c] + 1, sums[c] + row[2]
    end
    for c = 1, 3 do assert.near(shares[c] / total, counts[c] / 4000, 0.08) end
    assert.near(1, sums[1] / counts[1], 0.2)
    assert.near(-1, sums[2] / counts[2], 0.2)
  end)

  it("goes on from where it was interrupted as if it had not been, and is saved whole", function()
    local folder = helper.temporary_folder()
    local function train(out, stop, labels, supervised)
      local model = formula_model(gaussian, gaussian_mean, { transforms = 2, bins = 4 })
      model:train { out = out, quiet = true, batch = 8, decoder = { steps = 0 }, sleep = { steps = 4 },
        encoder = { steps = 8, labels = labels, supervised = supervised },
        on_step = function(stage, at) if stage == "encoder" and at == stop then error("interrupted!", 0) end end }
      return model
    end
    for i, case in ipairs { { 0, 0 }, { 0.5, 3 }, { 1, 5 }, { 1, 6 } } do -- supervised steps before, at and after it
      local labels, supervised = table.unpack(case)
      local whole = train(folder .. "/whole" .. i, nil, labels, supervised)
      local out = folder .. "/stopped" .. i
      assert.is_false(pcall(train, out, 5, labels, supervised))
      local again = train(out, nil, labels, supervised):state()
      local before = formula_model(gaussian, gaussian_mean, { transforms = 2, bins = 4 }):state()
      local moved = 0
      for name, t in pairs(whole:state()) do
        assert.equal(0, core.max(core.abs(t - again[name])):item(), name)
        if name:find "^posterior" then moved = moved + core.max(core.abs(t - before[name])):item() end
      end
      assert.is_true(moved > 0)
      local path = out .. "/flow.safetensors"
      assert(whole:save(path))
      local loaded = assert(sv.load(path, gaussian, { net = whole.net }))
      local x = core.tensor { { 1, 0.5, 0.5 } }
      assert.same({ "flow", 2, 4 }, { loaded.head.name, loaded.head.settings.transforms, loaded.head.settings.bins })
      assert.same(whole:posterior(x):sample(5, sv.rng(1)):totable(), loaded:posterior(x):sample(5, sv.rng(1)):totable())
      assert.same((whole:invert(x, { starts = 3, steps = 3 })):totable(),
        (loaded:invert(x, { starts = 3, steps = 3 })):totable())
    end
  end)

  describe("that begins with supervised steps", function()
    -- A bar of two sizes in a picture, whose place tells much more of the density than its kind.
    local bar = sv.simulator {
      name = "bar", output = { 1, 16, 16 },
      params = { { name = "kind", levels = 2 }, { name = "at", low = 0, high = 12 }, params.turn },
      simulate = function(z, out)
        out:fill(0)
        local first = math.floor(z.at)
        for r = first + 1, first + 2 + z.kind // 1 do out:set(1, 1, r, 8) end
      end,
    }
    local function model_of(more)
      local t = { simulator = bar, net = "conv", width = 4, seed = 3, posterior = "flow", transforms = 2, bins = 4 }
      for k, v in pairs(more or {}) do t[k] = v end
      return sv.model(t)
    end

    it("minimises the squared errors of codes and the cross-entropy of classes", function()
      local rng = sv.rng(2)
      for _, model in ipairs { model_of(), model_of { members = 2 } } do
        local h, z = rng:normal { 3, model.head.outputs }, bar:sample(3, rng)
        local loss, members = model.head:supervised(h, model.latent:to_code(z)):item(), model.members
        local features, total = h:totable(), 0
        for n, row in ipairs(z:totable()) do
          for m = 1, members do
            local at = (m - 1) * #features[n] // members
            local function own(k) return features[n][at + k] end
            local angle = math.rad(row[3])
            total = total - math.log(math.exp(own(row[1] // 1)) / (math.exp(own(1)) + math.exp(own(2))))
              + (own(3) - (row[2] / 6 - 1)) ^ 2 + (own(4) - math.cos(angle)) ^ 2 + (own(5) - math.sin(angle)) ^ 2
          end
        end
        assert.near(total / (3 * members), loss, 1e-4 * total)
      end
    end)

    it("trains the encoder alone, then the posterior anew, and of images by default", function()
      local model, before, losses, rates = model_of(), {}, {}, {}
      for name, t in pairs(model.head.net:state()) do before[name] = t:clone() end
      local still, moved = 0, 0
      model:train_encoder { steps = 40, labels = 1, batch = 16, quiet = true, lr = { peak = 1e-3, warmup = 4 },
        on_step = function(_, step, loss)
          losses[step] = loss
          local change = 0
          for name, t in pairs(model.head.net:state()) do
            change = math.max(change, core.max(core.abs(t - before[name])):item())
          end
          if step <= 20 then still = math.max(still, change) else moved = change end
        end }
      assert.equal(0, still) -- half of 40 steps, where a tenth is below 200
      assert.is_true(moved > 0)
      assert.is_true(losses[20] > 0.1) -- squared errors: never below 0; and they fall
      assert.is_true(losses[20] < losses[1])
      local other = model_of()
      other:train_encoder { steps = 4, supervised = 2, labels = 1, batch = 16, quiet = true, lr = function(step)
        rates[#rates + 1] = step
        return 1e-3
      end }
      assert.same({ 1, 2, 3, 4 }, rates) -- the moments start anew, the steps of the schedule do not
      local again = {}
      for name, t in pairs(model.head.net:state()) do again[name] = t:clone() end
      model:train_encoder { steps = 2, labels = 1, batch = 16, quiet = true } -- trained: no supervised steps
      local change = 0
      for name, t in pairs(model.head.net:state()) do
        change = math.max(change, core.max(core.abs(t - again[name])):item())
      end
      assert.is_true(change > 0)
    end)

    it("learns the scale of dSprites, which the density alone learns late #long", function()
      local dsprites, known = require "simvae.simulators.dsprites", {}
      local z, x = sv.simulate(dsprites, 300, sv.rng(8))
      local truth = core.slice(z, 2, 2, 2)
      for i, supervised in ipairs { 0, 150 } do
        local model = sv.model { simulator = dsprites, net = "conv", width = 4, seed = 3 }
        model:train_encoder { steps = 300, supervised = supervised, labels = 1, batch = 32, quiet = true }
        local off = core.mean(core.square(core.slice(model:encode(x), 2, 2, 2) - truth)):item()
        known[i] = 1 - off / core.var(truth):item()
      end
      assert.is_true(known[1] < 0.2 and known[2] > 0.5, table.concat(known, " "))
    end)

    it("names bad input", function()
      local function try(model, o)
        return function() model:train { decoder = { steps = 1 }, encoder = o, quiet = true } end
      end
      raises("train: supervised is an option of the posterior \"flow\", of up to 64 numbers of a code; this model's is "
        .. "\"mixture\"", try(sv.model { simulator = bar, net = "conv", width = 4, posterior = "mixture" },
        { steps = 4, supervised = 2 }))
      raises("train: supervised = 5 are more than the encoder's 4 steps",
        try(model_of(), { steps = 4, supervised = 5 }))
      raises("supervised takes a whole number; got 0.5", try(model_of(), { steps = 4, supervised = 0.5 }))
    end)
  end)

  it("names bad input", function()
    local model = formula_model(gaussian, gaussian_mean, {})
    raises("train: variational is an option of posteriors that are trained by likelihood", function()
      sv.model { simulator = gaussian, posterior = "gaussian", width = 4 }:train { encoder = { variational = 1 } }
    end)
    raises("variational takes draws with a gradient, which classes have not: parameter 'kind'", function()
      sv.model { simulator = simulator_of({ "kind", "a" }, 2), posterior = "flow", width = 4 }:train {
        encoder = { variational = 0.5 } }
    end)
    raises("infer: the posterior \"flow\" has no components", model.infer, model, core.zeros(1, 3))
    assert.same({ 0, 2 }, (model:encode(core.zeros(0, 3))).shape)
    assert.same({ 0, 7, 2 }, model:posterior(core.zeros(0, 3)):sample(7, sv.rng(1)).shape)
    raises("bins must be from 2 to 64; got 1", sv.model, { simulator = gaussian, posterior = "flow", bins = 1 })
    raises("transforms is an option of posterior = \"flow\"; the posterior is \"mixture\"", sv.model,
      { simulator = gaussian, posterior = "mixture", transforms = 3 })
    local plain = sv.model { simulator = gaussian, posterior = "gaussian", width = 4 }
    raises("labels is an option of posteriors that are trained by likelihood; this model's is \"gaussian\"",
      plain.train_encoder, plain, { steps = 1, labels = 1, quiet = true })
  end)
end)

describe("coordinates of a flow under priors with a shape", function()
  local stretch = require "simvae.posterior.support.stretch"

  it("have an inverse, and slopes as by finite differences; other parameters stay", function()
    local s = stretch.new { true, false }
    local list = { 1e-6, 1e-3, 0.2, 0.5, 0.77, 0.999, 1 - 1e-6 }
    local u, near = core.zeros(1, #list, 2), core.zeros(1, #list, 2)
    local h = 2e-3 -- of the distance to the nearer end
    for i, v in ipairs(list) do
      for k = 1, 2 do
        u:set(v, 1, i, k)
        near:set(v + h * math.min(v, 1 - v), 1, i, k)
      end
    end
    local w, slope = s:of(u)
    local other = s:of(near)
    local back, back_slope = s:back(w, true)
    for i, v in ipairs(list) do
      local room = math.min(v, 1 - v)
      assert.near(v, back:get(1, i, 1), 1e-3 * room + 3e-7)
      assert.near(slope:get(1, i), back_slope:get(1, i), 0.02)
      assert.equal(u:get(1, i, 2), w:get(1, i, 2))
      if v > 1e-4 and v < 1 - 1e-2 then
        local difference = (other:get(1, i, 1) - w:get(1, i, 1)) / (near:get(1, i, 1) - u:get(1, i, 1))
        assert.near(difference, math.exp(slope:get(1, i)), 0.01 * difference)
      end
    end
    assert.is_nil(stretch.new { false, false })
  end)

  it("lie between the flow and its draws with gradients, as between it and its other draws", function()
    local sim = sv.simulator { name = "s", output = { 2 }, simulate = function() end,
      params = { { name = "a", prior = { "normal", 0, 1 } }, { name = "b", low = 0, high = 1 } } }
    local head = sv.model { simulator = sim, posterior = "flow", width = 4, seed = 2 }.head
    shaken(head.net, 3)
    local h = core.rng(4):normal { 50, head.outputs }
    local u = core.reshape(head:sample(h, 1, core.rng(5)), 50, 2)
    assert.near(0, core.max(core.abs(head:reparameterised(h, core.rng(5)) - u)):item(), 1e-6)
  end)
end)
