local helper = require "spec.helper" -- luacheck: ignore 211
local core = require "simvae.core"
require "simvae.tensor"
local optim = require "simvae.nn.optim"
local reference = dofile "spec/fixtures/optim.lua"

local tolerance = core.real == "double" and 1e-9 or 2e-6

local function flat(v, to)
  to = to or {}
  if type(v) == "table" then
    for _, e in ipairs(v) do flat(e, to) end
  else
    to[#to + 1] = v
  end
  return to
end

local function near(expected, tensor, slack)
  local want, have = flat(expected), tensor:reshape(-1):totable()
  assert.are.equal(#want, #have)
  for i, w in ipairs(want) do
    local off = math.abs(w - have[i])
    assert.is_true(w == have[i] or off <= (slack or tolerance) * math.max(1, math.abs(w)),
      string.format("number %d: %.9g where the reference has %.9g", i, have[i], w))
  end
end

-- Gives p the gradient g: the loss is their product.
local function give(p, g)
  local tape <close> = core.tape()
  tape:backward((p * core.tensor(g)):sum())
end

local function descend(make, p, from, to)
  local opt = make(p)
  for i = from or 1, to or #reference.grads do
    give(p, reference.grads[i])
    opt:step()
  end
  return p, opt
end

local makers = {
  adam = function(p) return optim.adam({ p }, { lr = 0.05 }) end,
  adam_decay = function(p)
    return optim.adam({ p }, { lr = 0.05, beta1 = 0.8, beta2 = 0.95, eps = 1e-3, weight_decay = 0.1 })
  end,
  adamw = function(p) return optim.adamw({ p }, { lr = 0.05, weight_decay = 0.1 }) end,
  sgd = function(p) return optim.sgd({ p }, { lr = 0.05, weight_decay = 0.1 }) end,
  momentum = function(p) return optim.sgd({ p }, { lr = 0.05, momentum = 0.9, weight_decay = 0.1 }) end,
  nesterov = function(p) return optim.sgd({ p }, { lr = 0.05, momentum = 0.9, nesterov = true }) end,
}

describe("optimizers", function()
  for name, make in pairs(makers) do
    it(name .. " agrees with PyTorch over six steps", function()
      near(reference.optimizers[name], (descend(make, core.parameter(core.tensor(reference.start)))))
    end)
    it(name .. " goes on from its state as if never stopped", function()
      local p = core.parameter(core.tensor(reference.start))
      local _, first = descend(make, p, 1, 3)
      local q = core.parameter(p)
      local second = make(q)
      second:load_state(first:state())
      assert.are.equal(3, second.count)
      for i = 4, 6 do
        give(q, reference.grads[i])
        second:step()
      end
      near(reference.optimizers[name], q)
    end)
  end

  it("give the same bits on any number of threads", function()
    local start = core.rng(1):normal(0, 1, { 300, 301 })
    local grad = core.rng(2):normal(0, 1, { 300, 301 })
    local before, results = core.threads(), {}
    for threads = 1, 3 do
      core.threads(threads)
      local p = core.parameter(start)
      local opt = optim.adam({ p })
      for _ = 1, 3 do
        do
          local tape <close> = core.tape()
          tape:backward((p * grad):mean())
        end
        optim.clip_grad_norm({ p }, 0.001)
        opt:step()
      end
      results[threads] = p:sum():item() .. " " .. p:get(7, 9) .. " " .. p:logsumexp():item()
    end
    core.threads(before)
    assert.are.equal(results[1], results[2])
    assert.are.equal(results[1], results[3])
  end)

  it("skip parameters without a gradient and frozen ones, and use gradients up", function()
    local a, b = core.parameter(core.ones(2)), core.parameter(core.ones(2))
    local opt = optim.sgd({ a = a, b = b }, { lr = 1 })
    give(a, { 1, 1 })
    assert.are.equal(1, opt:step())
    assert.are.same({ 0, 0 }, a:totable())
    assert.are.same({ 1, 1 }, b:totable())
    assert.is_nil(a.grad)
    assert.has_error(function() opt:step() end,
      "sgd: step: no parameter has a gradient; run tape:backward(loss) first, on a loss made from them")
  end)

  it("take a rate for one step, and a function of the step", function()
    local p = core.parameter(core.ones(1))
    local opt = optim.sgd({ p }, { lr = function(step) return step / 8 end })
    give(p, { 1 })
    assert.are.equal(0.125, opt:step())
    give(p, { 1 })
    assert.are.equal(0.5, opt:step(0.5))
    give(p, { 1 })
    assert.are.equal(0.375, opt:step())
    assert.are.same({ 0 }, p:totable())
  end)

  it("keep_grad leaves the gradients, to be added to", function()
    local p = core.parameter(core.zeros(1))
    local opt = optim.sgd({ p }, { lr = 1 })
    give(p, { 1 })
    opt:step(nil, { keep_grad = true })
    give(p, { 1 })
    assert.are.same({ 2 }, p.grad:totable())
    opt:zero_grad()
    assert.is_nil(p.grad)
  end)

  it("refuse bad options and foreign states", function()
    local p = core.parameter(core.ones(2))
    assert.error_matches(function() optim.adam({ p }, { beta = 1 }) end, "unknown option.*beta1")
    assert.error_matches(function() optim.adam({ p }, { lr = -1 }) end, "lr must be a finite number")
    assert.error_matches(function() optim.adam(p) end, "params must be a list")
    assert.error_matches(function() optim.adam { 3 } end, "parameter 1 must be a tensor")
    assert.error_matches(function() optim.sgd({ p }, { nesterov = true }) end, "needs momentum")
    local opt = optim.adam { p }
    local state = opt:state()
    state["m.1"] = core.zeros(3)
    assert.error_matches(function() opt:load_state(state) end, "'m.1' has shape %(3%), the parameter %(2%)")
    state["m.1"] = nil
    assert.error_matches(function() opt:load_state(state) end, "'m.1' is missing")
    assert.error_matches(function() optim.sgd({ p }):load_state(opt:state()) end, "another optimizer's")
  end)
end)

describe("clip_grad_norm", function()
  it("scales all gradients to the norm", function()
    local a, b = core.parameter(core.ones(2)), core.parameter(core.ones(2, 1))
    give(a, { 3, 0 })
    give(b, { { 0 }, { 4 } })
    local norm, finite = optim.clip_grad_norm({ a, b }, 10)
    assert.are.equal(5, norm)
    assert.is_true(finite)
    assert.are.same({ 3, 0 }, a.grad:totable())
    optim.clip_grad_norm({ a, b }, 1)
    near({ 0.6, 0 }, a.grad)
    near({ 0, 0.8 }, b.grad)
  end)
  it("leaves gradients that are not finite", function()
    local p = core.parameter(core.ones(2))
    give(p, { math.huge, 1 })
    local norm, finite = optim.clip_grad_norm({ p }, 1)
    assert.are.equal(math.huge, norm)
    assert.is_false(finite)
    assert.are.equal(1, p.grad:get(2))
  end)
end)

describe("schedules", function()
  it("are the functions of the step they say", function()
    local c = optim.cosine(2, 11, { final = 1 })
    near({ 2, 1.5, 1, 1 }, core.tensor { c(1), c(6), c(11), c(500) })
    local w = optim.cosine(2, 10, { warmup = 4 })
    near({ 0.5, 2, 2, 0 }, core.tensor { w(1), w(4), w(5), w(10) })
    local d = optim.step_decay(8, 10, 0.5)
    near({ 8, 8, 4, 2 }, core.tensor { d(1), d(10), d(11), d(25) })
    local r = optim.warmup(optim.constant(3), 3)
    near({ 1, 2, 3, 3 }, core.tensor { r(1), r(2), r(3), r(9) })
    assert.error_matches(function() optim.cosine(1, 10, { final_lr = 1 }) end, "did you mean 'final'")
  end)
end)

describe("reductions agree with PyTorch:", function()
  local x, t = core.tensor(reference.x), core.tensor(reference.t)
  local results = {
    sum = x:sum(), sum_1 = x:sum(1), sum_23 = x:sum { 2, 3 }, sum_13 = x:sum { -1, 1 }, mean_2 = x:mean(2),
    max_3 = x:max(3), min_1 = x:min(1), argmax_3 = x:argmax(3), argmin_1 = x:argmin(1),
    var = x:var(), var_2 = x:var(2), var_12_0 = x:var { axes = { 1, 2 }, correction = 0 },
    logsumexp_3 = x:logsumexp(3), logsumexp_12 = x:logsumexp { 1, 2 },
    softmax_2 = x:softmax(2), log_softmax_3 = x:log_softmax(),
    mse = core.mse_loss(x, t), l1_sum = core.l1_loss(x, t, "sum"), bce = core.bce_with_logits(x, t),
    bce_none = core.bce_with_logits(x, t, "none"),
    bce_big = core.bce_with_logits(core.tensor { -100, -30, 0, 30, 100 }, core.tensor { 0, 1, 0.5, 0, 1 }, "none"),
    cross_entropy = core.cross_entropy(core.tensor(reference.logits), core.tensor(reference.classes)),
    nll = core.gaussian_nll(core.tensor(reference.mean), core.tensor(reference.log_std),
      core.tensor(reference.target), "none"),
    kl = core.gaussian_kl(core.tensor(reference.mean), core.tensor(reference.log_std), "none"),
  }
  for name, result in pairs(results) do
    it(name, function() near(reference[name], result) end)
  end

  it("keepdims leaves axes of one", function()
    assert.are.same({ 2, 1, 4 }, x:sum(2, true).shape)
    assert.are.same({ 2, 1, 1 }, x:max({ 2, 3 }, true).shape)
    assert.are.same({}, x:mean().shape)
  end)

  it("long ones keep their precision, and hold the closed forms", function()
    local n = 1000001
    local long = core.full(0.1, n)
    near(n * long:get(1), long:sum(), 1e-7)
    near(long:get(1), long:mean(), 1e-7)
    local ramp = core.arange(1, 4000):reshape(40, 100)
    near(4000 * 4001 / 2, ramp:sum(), 1e-7)
    near((4000 ^ 2 - 1) / 12, ramp:var { correction = 0 }, 1e-6)
    assert.are.equal(4000, ramp:argmax():item())
    assert.are.same({ 3901, 4000 }, { ramp:max(1):get(1), ramp:max(1):get(100) })
  end)

  it("NaN wins, equals go to the first, nothing cannot be averaged", function()
    local v = core.tensor { 1, 0 / 0, 3 }
    assert.is_true(v:max():item() ~= v:max():item())
    assert.are.equal(2, v:argmin():item())
    assert.are.equal(2, core.tensor({ 1, 5, 5 }):argmax():item())
    assert.are.equal(0, core.zeros(0):sum():item())
    assert.are.same({ 0, 0 }, core.zeros(2, 0):sum(2):totable())
    assert.error_matches(function() core.zeros(0):mean() end, "nothing to reduce")
    assert.error_matches(function() x:sum(4) end, "axis 4 is outside the 3 axes")
    assert.error_matches(function() x:sum { 1, 1 } end, "given twice")
    assert.error_matches(function() x:sum(0) end, "counts from 1")
    assert.are.equal(-math.huge, core.full(-math.huge, 3):logsumexp():item())
  end)

  it("channels-last pictures give what plain ones do", function()
    local w = core.rng(3):normal(0, 1, { 5, 3, 1, 1 })
    local plain_in = core.rng(4):normal(0, 1, { 2, 3, 4, 6 })
    local last = core.conv2d(plain_in, w)
    local plain = core.tensor(last:totable())
    for _, axes in ipairs { {}, { 1 }, { 2 }, { 3 }, { 4 }, { 1, 3, 4 }, { 2, 3 }, { 3, 4 }, { 1, 2 }, { 2, 4 } } do
      for _, op in ipairs { "sum", "mean", "max", "argmin", "var", "logsumexp" } do
        for _, keep in ipairs { false, true } do
          near(core[op](plain, axes, keep):totable(), core[op](last, axes, keep), 1e-5)
        end
      end
    end
    for _, k in ipairs { 1, 2 } do
      near(core.avg_pool2d(plain, k):totable(), core.avg_pool2d(last, k))
      near(core.upsample2d(plain, k):totable(), core.upsample2d(last, k))
    end
    near(core.bce_with_logits(plain, plain):totable(), core.bce_with_logits(last, plain), 1e-5)
    near(core.gaussian_nll(plain, 0.5, plain, "none"):totable(), core.gaussian_nll(last, 0.5, last, "none"))
  end)
end)

describe("ops of shape", function()
  local x = core.arange(1, 24):reshape(2, 3, 4)
  it("move the numbers where they say", function()
    assert.are.same({ 3, 4, 2 }, x:permute(2, 3, 1).shape)
    assert.are.equal(x:get(2, 3, 1), x:permute({ 2, 3, 1 }):get(3, 1, 2))
    assert.are.equal(x:get(1, 2, 4), x:transpose():get(1, 4, 2))
    assert.are.same({ { 4, 2 }, { 8, 6 }, { 12, 10 } }, x:slice(3, -1, 2, -2)[1]:totable())
    assert.are.same({ 2, 0, 4 }, x:slice(2, 2, 1).shape)
    assert.are.same({ 2, 12 }, x:flatten(2).shape)
    assert.are.same({ 2, 3, 9 }, core.concat({ x, x:slice(3, 1, 1), x }, 3).shape)
    assert.are.equal(24, core.concat({ x, x:slice(3, 1, 1), x }, 3):get(2, 3, 9))
    assert.are.same({ 2, 2, 3, 4 }, core.stack({ x, x }, 2).shape)
    assert.are.equal(24, core.stack({ x, x }, 2):get(2, 1, 3, 4))
    assert.are.same({ { 0, 0, 0 }, { 0, 7, 0 } }, core.full(7, 1, 1):pad({ 1, 0, 1, 1 }):totable())
    assert.are.same({ { 1, 1 }, { 2, 2 } }, core.tensor({ { 1 }, { 2 } }):broadcast_to(2, 2):totable())
    local picked = core.tensor({ { 3, 9 }, { 9, 4 } }):gather(core.tensor { { 1 }, { 2 } }, 2)
    assert.are.same({ { 3 }, { 4 } }, picked:totable())
    local doubled = core.tensor({ { { { 1, 2 } } } }):upsample2d(2)
    assert.are.same({ { { { 1, 1, 2, 2 }, { 1, 1, 2, 2 } } } }, doubled:totable())
  end)
  it("refuse what does not fit, with the shapes", function()
    assert.error_matches(function() x:slice(3, 1, 5) end, "first 1 to last 5 is outside axis 3.* 4 entries")
    assert.error_matches(function() core.concat({ x, core.zeros(2, 3) }, 1) end, "tensor 2 does not")
    assert.error_matches(function() core.stack { x, core.zeros(2, 3) } end, "tensor 2 is not")
    assert.error_matches(function() x:permute(1, 2) end, "takes all 3 axes")
    assert.error_matches(function() core.zeros(1, 1, 3, 4):avg_pool2d(2) end, "multiples of kernel 2")
    assert.error_matches(function() core.zeros(2):gather(core.tensor { 3 }, 1) end, "index 3 is not a whole number")
    assert.error_matches(function() core.cross_entropy(core.zeros(1, 2), core.tensor { 0 }) end, "target 1 is 0")
    assert.error_matches(function() core.mse_loss(core.zeros(2), core.zeros(3)) end, "mse_loss: the shapes must be")
    assert.error_matches(function() core.mse_loss(x, x, { reducton = "sum" }) end, "did you mean 'reduction'")
    assert.error_matches(function() core.mse_loss(x, x, "avg") end, "one of mean, sum, none; got avg")
  end)
end)
