--- Graphs of a model's directions: against the model, on nets of one's own, and what cannot leave.
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local dim = require "simvae.export.support.dim"
local every_net = require "spec.every_net"
local graph = require "simvae.export.support.graph"
local helper = require "spec.helper"
local latent = require "simvae.model.latent"
local sv = require "simvae"
local units = require "simvae.export.support.units"

local N, M = 7, 4

local function trained(t)
  local model = sv.model(t)
  model:train { decoder = { steps = 10 }, encoder = { steps = 10 }, batch = 16, quiet = true }
  return model:recalibrate(false)
end

local function builtin(name, posterior, more)
  local t = { simulator = require("simvae.simulators." .. name), width = 4, posterior = posterior }
  for k, v in pairs(more or {}) do t[k] = v end
  return trained(t)
end

local function one(model, what, more)
  local o = { what = what }
  for k, v in pairs(more or {}) do o[k] = v end
  return sv.export.graph(model, o)[1]
end

-- The parameters of the most probable component, as model:infer gives them.
local function most_probable(model, x)
  local means, stds, shares = model:infer(x)
  local list, rows, spreads = core.argmax(shares, 2):totable(), {}, {}
  for i, a in ipairs(list) do rows[i], spreads[i] = means[i][math.tointeger(a)], stds[i][math.tointeger(a)] end
  return core.stack(rows, 1), core.stack(spreads, 1)
end

local pulse = sv.simulator {
  name = "pulse", output = { 12 },
  params = { { name = "t", low = 0.2, high = 0.8, unit = "s" },
    { name = "w", low = 0.02, high = 0.2, scale = "log", unit = "s" } },
  simulate = function(z, out)
    for i = 1, 12 do out:set(math.exp(-0.5 * ((i / 12 - z.t) / z.w) ^ 2), i) end
  end,
}

-- A decoder and an encoder of ops, without layers of ours.
local function own_net(t)
  local decoder = sv.nn.func(function(z, own) return sv.tanh(sv.matmul(z, own.a)) * 2 + own.b end,
    { a = sv.parameter(sv.rng(1):normal(0, 0.5, { t.code, 12 })), b = sv.parameter(sv.rng(2):normal(0, 0.1, { 12 })) })
  local encoder = sv.nn.func(function(x, own)
    local mean = sv.mean(sv.reshape(x, x.shape[1], 2, 6), 2)
    local h = sv.layer_norm(mean, own.scale, own.shift)
    local top = sv.maximum(sv.max(x, 2, true), sv.logsumexp(x, 2, true))
    return sv.matmul(sv.concat({ sv.slice(h, 2, 1, -1, 2), top, sv.softmax(h, 2) }, 2), own.c)
  end, { c = sv.parameter(sv.rng(3):normal(0, 0.5, { 10, t.heads })), scale = sv.parameter(sv.ones(6)),
    shift = sv.parameter(sv.zeros(6)) })
  return decoder, encoder
end

describe("a graph", function()
  it("decodes and encodes as the model does", function()
    for name, net in pairs { box = "dcgan", polygon = "conv", dsprites = "coordconv", rlc = "mlp", fourier = "conv" } do
      local model = builtin(name, "gaussian", { net = net })
      local z = model.simulator:sample(N, sv.rng(3))
      local y = model:decode(z)
      assert.near(0, graph.difference(one(model, "decode"):run { z }[1], y), 1e-6)
      local mean, std = model:encode(y)
      local out = one(model, "encode"):run { y }
      assert.near(0, graph.difference(out[1], mean), 1e-6)
      assert.near(0, graph.difference(out[2], std), 1e-5)
    end
  end)

  it("decodes and encodes as the model does, with every net", function()
    every_net.each(function(name, options)
      options.posterior = "gaussian"
      local model = trained(options)
      local z, x = sv.simulate(model.simulator, N, sv.rng(3))
      assert.near(0, graph.difference(one(model, "decode"):run({ z })[1], model:decode(z)), 1e-5, name)
      local mean, std = model:encode(x)
      local out = one(model, "encode"):run { x }
      assert.near(0, graph.difference(out[1], mean), 1e-5, name)
      assert.near(0, graph.difference(out[2], std), 1e-5, name)
    end)
  end)

  it("of a flow draws from uniform numbers and gives densities", function()
    for name, more in pairs { box = {}, rlc = { members = 2 } } do
      local model = builtin(name, "flow", more)
      local z = model.simulator:sample(N, sv.rng(3))
      local x = model:decode(z)
      local sample, log_prob = table.unpack(sv.export.graph(model, { what = "posterior" }))
      local u = sv.rng(2):uniform(0, 1, { N, M, sample.inputs[2].shape[3] })
      local draws = sample:run { x, u }[1]
      if not more.members then
        assert.near(0, graph.difference(draws, model:posterior(x):sample(M, sv.rng(2))), 1e-6)
      end
      assert.near(0, graph.difference(log_prob:run { x, draws }[1], model:posterior(x):log_prob(draws)), 1e-5)
    end
  end)

  it("of normal distributions draws from their distribution", function()
    for _, posterior in ipairs { "gaussian", "mixture" } do
      local model = builtin("dsprites", posterior)
      local z = model.simulator:sample(1, sv.rng(3))
      local x, n = model:decode(z), 4000
      local sample, log_prob = table.unpack(sv.export.graph(model, { what = "posterior" }))
      local draws = sample:run { x, sv.rng(2):uniform(0, 1, { 1, n, sample.inputs[2].shape[3] }) }[1]
      local own = model:posterior(x):sample(n, sv.rng(5))
      assert.near(0, graph.difference(log_prob:run { x, own }[1], model:posterior(x):log_prob(own)), 1e-5)
      for k in ipairs(model.simulator.params) do -- Kolmogorov and Smirnov, of two samples
        local a, b = cube.column(draws, k):reshape(n):totable(), cube.column(own, k):reshape(n):totable()
        table.sort(a)
        table.sort(b)
        local i, j, far = 1, 1, 0
        while i <= n and j <= n do
          local at = math.min(a[i], b[j])
          while i <= n and a[i] <= at do i = i + 1 end
          while j <= n and b[j] <= at do j = j + 1 end
          far = math.max(far, math.abs(i - j) / n)
        end
        assert(far < 1.95 * math.sqrt(2 / n), string.format("%s: %s: %g", posterior, model.simulator.names[k], far))
      end
    end
  end)

  it("of a mixture estimates the most probable component", function()
    local model = builtin("box", "mixture")
    local x = model:decode(model.simulator:sample(N, sv.rng(3)))
    local out, mean, std = one(model, "encode"):run { x }, most_probable(model, x)
    assert.near(0, graph.difference(out[1], mean), 1e-5)
    assert.near(0, graph.difference(out[2], std), 1e-5)
  end)

  it("of a flow estimates the mean and spread of draws, as model:encode does of one mode", function()
    local model = builtin("box", "flow")
    local x = model:decode(model.simulator:sample(N, sv.rng(3)))
    local out, mean, std = one(model, "encode"):run { x }, model:encode(x)
    assert.near(0, graph.difference(out[1], mean), 1e-5)
    assert.near(0, graph.difference(out[2], std), 1e-5)
  end)

  it("is made of nets of one's own", function()
    local model = trained { simulator = pulse, net = own_net, posterior = "gaussian" }
    local z = pulse:sample(N, sv.rng(3))
    local x = pulse:run(z)
    assert.near(0, graph.difference(one(model, "decode"):run { z }[1], model:decode(z)), 1e-6)
    assert.near(0, graph.difference(one(model, "encode"):run { x }[1], (model:encode(x))), 1e-6)
  end)

  it("takes levels of noise and sets of measurements", function()
    local noisy = sv.simulator { name = "noisy", params = pulse.params, output = { 12 }, simulate = pulse.simulate,
      noise = { low = 0.01, high = 0.1 } }
    local model = sv.model { simulator = noisy, width = 8, posterior = "gaussian" }
    local x, levels = pulse:run(pulse:sample(N, sv.rng(3))), sv.rng(1):uniform(0.01, 0.1, { N })
    local g = one(model, "encode")
    assert.equal("noise", g.inputs[2].name)
    assert.near(0, graph.difference(g:run({ x, levels })[1], (model:encode(x, { noise = levels }))), 1e-6)
    local of_sets = sv.model { simulator = pulse, width = 8, posterior = "gaussian", set = { low = 2, high = 4 } }
    local sets = sv.stack({ x, x + 0.1, x - 0.2 }, 2)
    helper.raises("measurements = n", one, of_sets, "encode")
    helper.raises("sets of 2 to 4", one, of_sets, "encode", { measurements = 5 })
    assert.near(0, graph.difference(one(of_sets, "encode", { measurements = 3 }):run({ sets })[1],
      (of_sets:encode(sets))), 1e-6)
  end)

  it("converts every kind of parameter", function()
    local kinds = { { prior = { "normal", 3, 2 } }, { prior = { "lognormal", 0, 1 } }, { prior = { "gamma", 2, 3 } },
      { prior = { "beta", 2, 3 }, low = 1, high = 4 }, { prior = { "normal", 0, 1 }, low = -0.5, high = 2 },
      { low = 1, high = 100, scale = "log" }, { low = 0, high = 360, period = 360 },
      { low = 10, high = 100, period = 360 }, { levels = 3 }, { low = 0, high = 1, grid = 11 },
      { low = 0, high = 360, period = 360, grid = 13 }, { prior = { "lognormal", 0, 1 }, low = 0.1, high = 20 } }
    for _, p in ipairs(kinds) do
      p.name = "p"
      local sim = sv.simulator { name = "one", params = { p }, output = { 1 }, simulate = function() end }
      local space, z = latent.new(sim.params), sim:sample(500, sv.rng(4))
      local code = space:to_code(z)
      local mean, std = space:to_units(code, code * 0 + 0.1)
      local own_mean, own_std = units.from_code(space, code, code * 0 + 0.1)
      local u, slopes = units.points(space, z:reshape(1, 500, 1))
      local points, log = cube.from_units(space, z:totable())
      for what, pair in pairs { code = { units.to_code(space, z), code }, mean = { own_mean, mean },
        std = { own_std, std }, u = { u, sv.tensor(points) }, slopes = { slopes, sv.tensor(log) } } do
        local far = graph.difference(pair[1], pair[2])
        assert(far < 1e-5, string.format("%s of %s: %g", what, sv.linalg and require("simvae.io.json").encode(p), far))
      end
      local outside = sv.tensor { { { 1e4 }, { -1e4 } } }
      local _, none = units.points(space, outside)
      local _, wanted = cube.from_units(space, outside[1]:totable())
      for i, v in ipairs(wanted) do
        if v == -math.huge then assert.equal(-math.huge, none:get(1, i)) end
      end
    end
  end)

  it("folds batch norms and constants", function()
    local g = one(builtin("box", "gaussian", { net = "dcgan" }), "decode")
    for _, node in ipairs(g.nodes) do assert(not node.op:find "norm", node.op) end
    local x = g.outputs[1]
    assert.equal("(batch, 3, 64, 64)", dim.text(x.shape))
    assert.equal(4, #g.inputs[1].labels)
    assert.equal("px", g.inputs[1].labels[1].unit)
  end)

  it("refuses what is no function of one output", function()
    local function encode(net)
      return pcall(one, sv.model { simulator = pulse, posterior = "gaussian", net = function(t)
        local w = sv.parameter(sv.zeros(12, t.heads))
        return own_net(t), function(x) return net(x, w) end
      end }, "encode")
    end
    local cases = {
      ["reads numbers that depend"] = function(x, w)
        return sv.matmul(sv.max(x):item() > 0 and x or -x, w)
      end,
      ["dropout in training"] = function(x, w) return sv.matmul(sv.dropout(x, 0.5, 1, 1), w) end,
      ["batch_norm in training"] = function(x, w)
        return sv.matmul(sv.batch_norm(x, sv.ones(12), sv.zeros(12)), w)
      end,
      ["other numbers in another run"] = (function()
        local rng = sv.rng(9)
        return function(x, w) return sv.matmul(x + rng:normal { 12 }, w) end
      end)(),
      ["is applied in one run"] = function(x, w)
        return sv.matmul(x.shape[1] == 3 and sv.tanh(x) or x, w)
      end,
      ["neither fixed nor a multiple"] = function(x, w)
        local wide = sv.concat({ x, sv.zeros(1, 12) }, 1)
        return sv.matmul(sv.slice(wide, 1, 1, x.shape[1]), w)
      end,
      ["writes into a tensor"] = function(x, w)
        local y = x * 1
        y:fill(0)
        return sv.matmul(y, w)
      end,
      ["differs from the model's"] = function(x, w)
        return sv.matmul(x - sv.mean(x, 1, true), w + 1)
      end,
    }
    for message, net in pairs(cases) do
      local ok, why = encode(net)
      assert(not ok and tostring(why):find(message, 1, true), message .. ": " .. tostring(why))
    end
  end)

  it("corrects posteriors as model:recalibrate does, or leaves them as they were trained", function()
    for name, posterior in pairs { rlc = "flow", dsprites = "mixture" } do
      local model = builtin(name, posterior)
      local x, z = model:decode(model.simulator:sample(N, sv.rng(3))), model.simulator:sample(N, sv.rng(4))
      local plain, points = model:posterior(x):log_prob(z), z:reshape(N, 1, #model.simulator.params)
      model:recalibrate { simulations = 100 }
      local p = model:posterior(x)
      assert.near(0, graph.difference(one(model, "log_prob"):run({ x, points })[1], p:log_prob(points)), 1e-5)
      assert.near(0, graph.difference(one(model, "log_prob", { recalibrated = false }):run({ x, points })[1],
        plain:reshape(N, 1)), 1e-5)
      if posterior == "flow" then
        local u = sv.rng(2):uniform(0, 1, { N, M, 3 })
        assert.near(0, graph.difference(one(model, "sample"):run({ x, u })[1], p:sample(M, sv.rng(2))), 1e-5)
      end
    end
  end)

  it("refuses what it does not know", function()
    local model = builtin("rlc", "flow")
    helper.raises("resample", one, model, "posterior", { resample = true })
    helper.raises("did you mean 'decode'", one, model, "decoed")
    helper.raises("takes a model", sv.export.graph, {})
  end)
end)
