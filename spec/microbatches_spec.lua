-- Steps in microbatches, against the same step on the whole batch, and sums by the tree in bfloat16 against numbers
-- rounded by hand.
local core = require "simvae.core"
local helper = require "spec.helper"
local microbatch = require "simvae.nn.microbatch"
local microbatches = require "simvae.train.microbatches"
local sv = require "simvae"

local nn, raises = sv.nn, helper.raises

local N = 16

local function net_of(kind, rng)
  if kind == "vector" then
    return nn.sequential { nn.linear(5, 12, { rng = rng }), nn.batch_norm(12, { std = 0.3, rng = rng }), nn.relu(),
      nn.linear(12, 7, { rng = rng }), nn.batch_norm(7), nn.linear(7, 3, { rng = rng }) }
  end
  if kind == "activated" then -- by the convolutions themselves
    return nn.sequential { nn.conv2d(2, 8, 3, { padding = 1, rng = rng }), nn.leaky_relu(0.2),
      nn.conv_transpose2d(8, 4, 4, { stride = 2, padding = 1, rng = rng }), nn.relu(), nn.reshape { 4 * 256 },
      nn.linear(4 * 256, 3, { rng = rng }) }
  end
  return nn.sequential { nn.conv2d(2, 16, 4, { stride = 2, padding = 1, rng = rng }),
    nn.batch_norm(16, { std = 0.3, rng = rng }), nn.leaky_relu(0.2),
    nn.conv2d(16, 6, 3, { padding = 1, rng = rng }), nn.batch_norm(6), nn.reshape { 6 * 16 },
    nn.linear(6 * 16, 3, { rng = rng }) }
end

local inputs = { vector = { N, 5 }, image = { N, 2, 8, 8 }, activated = { N, 2, 8, 8 } }

-- A net, its input and target.
local function problem(kind)
  local rng = core.rng(4)
  local net = net_of(kind, rng)
  return net, rng:normal(3, 2, inputs[kind]), rng:normal { N, 3 }
end

-- The loss, gradients and state of a net after a step on the whole batch; and, where count is given, in microbatches.
local function step(kind, count, options)
  local net, x, y = problem(kind)
  local o = options or {}
  local loss_of = o.loss or function(a, b) return sv.mse_loss(a, b) end
  local value
  if count then
    local run = { microbatches = count, seed = 1, reduce = o.reduce }
    local divided, n = microbatches.new(run, "decoder", sv.optim.adam(net:parameters())), N // count
    value = divided:step(1, function(i)
      local from, to = (i - 1) * n + 1, i * n
      return loss_of(net(core.slice(x, 1, from, to)), core.slice(y, 1, from, to))
    end)
  else
    local tape <close> = sv.tape()
    local loss = loss_of(net(x), y)
    tape:backward(loss)
    value = loss:item()
  end
  local grads = {}
  for i, p in ipairs(net:parameters()) do grads[i] = p.grad end
  return value, grads, net:state()
end

local tolerance = core.real == "double" and 1e-12 or 3e-5

-- Whether gradients are equal to rounding: that of a bias before a batch normalisation is nothing but that.
local function assert_near(grads, divided)
  local size = 0
  for _, g in ipairs(grads) do size = math.max(size, core.max(core.abs(g)):item()) end
  for i, g in ipairs(grads) do assert.is_true(core.max(core.abs(divided[i] - g)):item() < tolerance * size) end
end

-- The largest difference of two tensors, as a share of the largest number.
local function difference(a, b)
  local size = core.max(core.abs(b)):item()
  return core.max(core.abs(a - b)):item() / math.max(size, 1e-6)
end

describe("a step in microbatches", function()
  for _, kind in ipairs { "vector", "image", "activated" } do
    for _, count in ipairs { 2, 4, 8, 16 } do
      it("gives the gradients of the whole batch: " .. kind .. ", " .. count, function()
        local value, grads, state = step(kind)
        local again, divided, statistics = step(kind, count)
        assert.near(value, again, tolerance * math.abs(value))
        assert_near(grads, divided)
        for name, t in pairs(state) do assert.is_true(difference(statistics[name], t) < tolerance, name) end
      end)
    end
  end

  it("sees all rows of a batch where a loss is of all of them", function()
    local function loss(a)
      local all, count = microbatch.rows(a)
      local value = core.mean(core.square(core.sort(all, 1)) * core.tensor { { 1, 2, 3 } })
        + core.mean(core.square(core.var(all, 1)))
      return count > 1 and value * count - value:detach() * (count - 1) or value
    end
    local value, grads = step("vector", nil, { loss = loss })
    local again, divided = step("vector", 4, { loss = loss })
    assert.near(value, again, tolerance * math.abs(value))
    assert_near(grads, divided)
  end)

  it("gives back all memory, also after an error, and goes on", function()
    local net, x = problem "vector"
    local divided = microbatches.new({ microbatches = 4, seed = 1 }, "decoder", sv.optim.adam(net:parameters()))
    local function part(i) return net(core.slice(x, 1, 4 * i - 3, 4 * i)) end
    local before = core.memory().live
    assert.matches("broken at 3", select(2, pcall(divided.step, divided, 1, function(i)
      if i == 3 then error("broken at 3", 0) end
      return core.mean(part(i))
    end)))
    assert.equal(before, core.memory().live)
    assert.is_nil(microbatch.now)
    divided:step(1, function(i) return core.mean(core.square(part(i))) end)
    assert.equal(before, core.memory().live)
  end)

  it("leaves parameters without a gradient that no microbatch uses", function()
    local used, unused = core.parameter(core.ones(3)), core.parameter(core.ones(70000))
    local divided = microbatches.new({ microbatches = 2, seed = 1 }, "decoder", sv.optim.adam { used, unused })
    divided:step(1, function(i) return core.sum(used * i) end)
    assert.same({ 1.5, 1.5, 1.5 }, used.grad:totable())
    assert.is_nil(unused.grad)
  end)

  it("draws dropout by the microbatch's number", function()
    local drop, seen = nn.dropout(0.5, { seed = 3 }), {}
    local w = core.parameter(core.ones(64))
    for round = 1, 2 do
      local divided = microbatches.new({ microbatches = 2, seed = 1 }, "decoder", sv.optim.adam { w })
      divided:step(7, function(i)
        local a, b = drop(w), drop(w)
        seen[round] = seen[round] or {}
        seen[round][i] = { a:totable(), b:totable() }
        return core.mean(a + b)
      end)
    end
    assert.same(seen[1], seen[2])
    assert.are_not.same(seen[1][1][1], seen[1][2][1])
    assert.are_not.same(seen[1][1][1], seen[1][1][2])
  end)
end)

-- x rounded to bfloat16: the nearer of the two numbers of 8 bits, ties to the even one.
local function bf16(x)
  if x == 0 then return x end
  local exponent = math.floor(math.log(math.abs(x), 2) + 1e-12)
  local unit = 2.0 ^ (exponent - 7)
  local low = math.floor(x / unit)
  local rest = x / unit - low
  if rest > 0.5 or rest == 0.5 and low % 2 == 1 then low = low + 1 end
  return low * unit
end

describe("the sum of microbatches in bf16", function()
  it("rounds every node of the tree", function()
    local numbers = { 1.2345678, -3.1415927, 100.37109375, 1.00390625, 1.01171875, -7.5e-3, 3e-39, 0 }
    local w, values = core.parameter(core.zeros(#numbers)), {}
    local divided = microbatches.new({ microbatches = 4, seed = 1, reduce = "bf16" }, "decoder", sv.optim.adam { w })
    for i = 1, 4 do
      local row = {}
      for k, v in ipairs(numbers) do row[k] = v * (1 + 0.37 * (i - 1) * k) end
      values[i] = core.tensor(row)
    end
    divided:step(1, function(i) return core.sum(w * values[i]) end)
    local grad = w.grad:totable()
    for k = 1, 6 do
      local v = {}
      for i = 1, 4 do v[i] = bf16(values[i]:totable()[k]) end
      local function single(x) return core.tensor({ x }):totable()[1] end
      local left, right = single(v[1] + v[2]), single(v[3] + v[4])
      assert.equal(bf16(single(bf16(left) + bf16(right))) / 4, grad[k])
    end
    assert.equal(0, grad[8])
  end)
end)

-- ---- trainings ------------------------------------------------------------------------------------

local function simulator()
  return sv.simulator {
    name = "sum", params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 1, high = 2 } }, output = { 4 },
    noise = 0.01, simulate = function(z, out) out[1], out[2], out[3], out[4] = z.a, z.b, z.a * z.b, z.a - z.b end,
  }
end

local function train(more, about)
  local given = { simulator = simulator(), width = 8, seed = 3 }
  for k, v in pairs(about or {}) do given[k] = v end
  local model = sv.model(given)
  local t = { quiet = true, batch = 16, decoder = { steps = 12 }, encoder = { steps = 12 } }
  for k, v in pairs(more or {}) do t[k] = v or nil end
  return model:train(t)
end

local function state(model)
  local list = {}
  for name, t in pairs(model:state()) do list[name] = t:totable() end
  return list
end

describe("a training in microbatches", function()
  it("of a decoder is that in whole batches", function()
    local whole, divided = train(), train { microbatches = 4 }
    local a, b, found = whole:state(), divided:state(), 0
    for name, t in pairs(a) do
      if name:find "^decoder" then
        found = found + 1
        assert.is_true(difference(b[name], t) < 50 * tolerance, name)
      end
    end
    assert.is_true(found > 3)
  end)

  it("of a posterior by likelihood, with a sleep phase, trains both", function()
    local model = train({ microbatches = 2, sleep = { steps = 6 } }, { posterior = "flow", transforms = 1, bins = 4 })
    assert.same({ decoder = 12, sleep = 6, encoder = 12 }, model.trained)
  end)

  it("goes on where it was interrupted, with the same weights, and is the same in any number of threads", function()
    local out = helper.temporary_folder()
    local whole = train { microbatches = 4, reduce = "bf16" }
    local stop = function(stage, at) if stage == "encoder" and at == 5 then error "stopped" end end
    assert.is_false(pcall(train, { microbatches = 4, reduce = "bf16", out = out, on_step = stop,
      checkpoint_every = 1e-9 }))
    local threads = core.threads()
    core.threads(threads == 1 and 2 or 1)
    local again = train { microbatches = 4, reduce = "bf16", out = out }
    core.threads(threads)
    assert.same(state(whole), state(again))
    raises("microbatches was 4 and is now 2", train, { microbatches = 2, reduce = "bf16", out = out })
    raises("reduce was bf16 and is now not set", train, { microbatches = 4, out = out })
  end)

  it("takes a number that divides the batches, and of batches by default the next multiple", function()
    local recipe = { batch = 13, decoder = { steps = 1 }, encoder = { steps = 1 } }
    assert.same({ decoder = 1, encoder = 1 }, train({ microbatches = 4, batch = false, recipe = recipe,
      decoder = {}, encoder = {} }).trained)
    raises("microbatches are a power of two, .*; got 6", train, { microbatches = 6 })
    raises("decoder: a batch of 16 is not divided by 32 microbatches; batch = 32 or 64 would be", train,
      { microbatches = 32 })
    raises("encoder: a batch of 18 is not divided by 4 microbatches; batch = 16 or 20 would be", train,
      { microbatches = 4, encoder = { steps = 2, batch = 18 } })
    raises("reduce is the precision of sums over microbatches", train, { reduce = "bf16" })
  end)
end)

describe("backward into a flat tensor", function()
  it("is refused outside of a coroutine, and for parameters that are not in the list", function()
    local a, b = core.parameter(core.ones(2)), core.parameter(core.ones(2))
    local list = core.gradients { a }
    local into = core.buffer(core.zeros(list:count()))
    local tape <close> = sv.tape()
    local loss = core.sum(a * b)
    raises("has to run in a coroutine", tape.backward, tape, loss, { gradients = list, into = into })
    local thread = coroutine.create(function()
      local own <close> = sv.tape()
      own:backward(core.sum(a * b), { gradients = list, into = into })
    end)
    assert.matches("depends on a parameter that is not in the list", select(2, coroutine.resume(thread)))
    raises("is not a parameter", core.gradients, { core.ones(2) })
    raises("has 3 numbers, not 16", list.set, list, core.ones(3), 1, {})
    raises("tree: the tensor has 3 numbers, not 2 from number 2 on", core.tree.add, core.ones(3), nil, 2, 2, true)
  end)
end)
