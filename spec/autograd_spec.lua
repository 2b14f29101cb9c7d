local helper = require "spec.helper" -- luacheck: ignore 211
local core = require "simvae.core"
require "simvae.tensor"
local autograd = require "simvae.tensor.autograd"

local function parameter(v)
  return core.parameter(core.tensor(v))
end

-- The gradients of f(p, …), summed, with respect to its inputs.
local function gradients(f, ...)
  local tape <close> = core.tape()
  tape:backward(f(...):sum())
  local result = {}
  for i, p in ipairs { ... } do
    result[i] = p.grad and p.grad:totable()
    p:zero_grad()
  end
  return table.unpack(result, 1, select("#", ...))
end

describe("gradients", function()
  local x = parameter { 1, 2, 3 }

  it("add up where a tensor is used again", function()
    assert.are.same({ 2, 4, 6 }, gradients(function(p) return p * p end, x))
    assert.are.same({ 2, 2, 2 }, gradients(function(p) return p + p end, x))
    assert.are.same({ 3, 12, 27 }, gradients(function(p)
      local square = p * p
      return square * p
    end, x))
    assert.are.same({ 0, 0, 0 }, gradients(function(p) return p - p end, x))
  end)

  it("pass through operators with numbers", function()
    assert.are.same({ 2, 4, 6 }, gradients(function(p) return p ^ 2 end, x))
    assert.are.same({ 3, 12, 27 }, gradients(function(p) return p ^ 3 end, x))
    assert.are.same({ -1, -0.25 }, gradients(function(p) return 1 / p end, parameter { 1, 2 }))
    assert.are.same({ -2, -2, -2 }, gradients(function(p) return 1 - 2 * p end, x))
    assert.are.same({ -0.5, -0.5, -0.5 }, gradients(function(p) return -p / 2 end, x))
  end)

  it("pass through views and their views", function()
    local m = parameter { { 1, 2 }, { 3, 4 }, { 5, 6 } }
    assert.are.same({ { 0, 0 }, { 1, 1 }, { 0, 0 } }, gradients(function(p) return p[2] end, m))
    assert.are.same({ { 1, 1 }, { 0, 0 }, { 2, 2 } }, gradients(function(p) return p[1] + p[3] + p[-1] end, m))
    assert.are.same({ { 0, 0 }, { 0, 1 }, { 0, 1 } }, gradients(function(p)
      return p:transpose():select(1, 2):slice(1, 2)
    end, m))
    assert.are.same({ { 3, 1 }, { 3, 1 }, { 3, 1 } }, gradients(function(p)
      local flat = p:reshape(-1)
      return flat:reshape(3, 2) * core.tensor { 2, 0 } + flat:flatten():reshape(3, 2)
    end, m))
  end)

  it("accumulate over backwards until they are forgotten", function()
    for _ = 1, 2 do
      local tape <close> = core.tape()
      tape:backward(x:sum())
    end
    assert.are.same({ 2, 2, 2 }, x.grad:totable())
    x:zero_grad()
    assert.is_nil(x.grad)
  end)

  it("are not computed for frozen parameters and constants", function()
    local frozen, free = parameter { 1, 2 }, parameter { 3, 4 }
    frozen:requires_grad(false)
    local a, b = gradients(function(p, q) return p * q + core.ones(2) end, frozen, free)
    assert.is_nil(a)
    assert.are.same({ 1, 2 }, b)
    frozen:requires_grad()
    assert.are.same({ 3, 4 }, (gradients(function(p, q) return p * q end, frozen, free)))
    assert.are.same({ 1, 2 }, (gradients(function(p) return p * p:detach() end, parameter { 1, 2 })))
  end)

  it("of two losses need retain, or one sum", function()
    local tape <close> = core.tape()
    local square = x * x
    local first, second = square:sum(), (square * 2):sum()
    tape:backward(first, { retain = true })
    tape:backward(second)
    assert.are.same({ 6, 12, 18 }, x.grad:totable())
    x:zero_grad()
    assert.error_matches(function() tape:backward(second) end, "already run")
    assert.error_matches(function() tape:backward(first) end, "passed by an earlier backward")
  end)

  it("go through channels-last pictures; leaves are plain", function()
    local w = core.rng(1):normal(0, 1, { 3, 3, 3, 3 })
    local image = core.conv2d(core.rng(2):normal(0, 1, { 2, 3, 5, 5 }), w, { padding = 1 })
    assert.error_matches(function() image:requires_grad() end, "channels%-last in memory; clone it first")
    local function loss(p) return core.conv2d(p, w, { padding = 1 }):square():mean() end
    local plain = gradients(loss, core.parameter(core.tensor(image:totable())))
    assert.are.same(plain, (gradients(loss, core.parameter(image))))
    assert.are.same(plain, (gradients(loss, image:clone():requires_grad())))
    local copy = image:detach()
    image[1] = 0
    image[2] = copy[1]
    assert.are.equal(0, image:get(1, 2, 3, 4))
    assert.are.equal(copy:get(1, 2, 3, 4), image:get(2, 2, 3, 4))
  end)

  it("check: a number, not an error, is what a mistake gives", function()
    local ok, report, off = autograd.grad_check(function(a, b) return a * b:exp() end, { core.ones(2), core.zeros(2) })
    assert.is_true(ok)
    assert.is_nil(report)
    assert.is_true(off < 0.01)
    assert.error_matches(function() autograd.grad_check(function() end, { core.ones(1) }) end, "must return a tensor")
    assert.error_matches(function() autograd.grad_check(function() end, {}, { epsilon = 1 }) end, "did you mean 'eps'")
  end)
end)

describe("a tape", function()
  local x = parameter { 1, 2, 3 }

  it("releases what was made under it, views too", function()
    local y, view, copy, constant
    do
      local tape <close> = core.tape()
      y = x * 2
      view = y:reshape(3, 1)
      constant = core.ones(3)
      copy = tape:keep(x * 3)
    end
    for _, t in ipairs { y, view, constant } do
      assert.is_false(t.alive)
      assert.error_matches(function() t:totable() end, "released with its tape")
      assert.error_matches(function() return t + 1 end, "released with its tape")
    end
    assert.is_true(copy.alive)
    assert.are.same({ 3, 6, 9 }, copy:totable())
    assert.is_false(copy.needs_grad)
    assert.are.same({ 3, 6, 9 }, (gradients(function(p) return p * copy end, x)))
  end)

  it("does so after an error inside it, and the next one starts clean", function()
    local y
    assert.error_matches(function()
      local tape <close> = core.tape()
      y = x * 2
      tape:backward(y)
    end, "the loss must be one number; this has shape %(3,%)")
    assert.is_false(y.alive)
    assert.is_nil(x.grad)
    assert.are.same({ 1, 1, 1 }, (gradients(function(p) return p * 1 end, x)))
    assert.are.equal(0, core.memory().live)
  end)

  it("may be inside another; inner tensors go first", function()
    local outer <close> = core.tape()
    local y = x * 2
    local inner_y
    do
      local inner <close> = core.tape()
      inner_y = x * 3
      inner:backward(inner_y:sum())
      assert.error_matches(function() inner:backward((y * x):sum()) end, "computed under another tape")
      assert.error_matches(function() outer:backward(y:sum()) end, "opened later is still open")
    end
    assert.is_false(inner_y.alive)
    assert.is_true(y.alive)
    assert.are.same({ 3, 3, 3 }, x.grad:totable())
    x:zero_grad()
    outer:backward(y:sum())
    assert.are.same({ 2, 2, 2 }, x.grad:totable())
    x:zero_grad()
  end)

  it("closed from outside closes the inner ones", function()
    local outer = core.tape()
    local inner = core.tape()
    local y = x * 2
    outer:close()
    assert.is_false(y.alive)
    assert.error_matches(function() inner:backward(y) end, "closed")
    inner:close()
    assert.are.equal(0, core.memory().live)
  end)

  it("keeps survive the collector before it closes, and so do dropped free lists", function()
    local outer = core.tape()
    for i = 1, 50 do
      local t = outer:keep(core.zeros(1000 + i)) -- luacheck: ignore 211
      do
        local inner <close> = core.tape()
        local _ = core.zeros(5000 + i)
        inner:close()
      end
      core.release_memory()
      collectgarbage()
    end
    outer:close()
    assert.are.equal(0, core.memory().live)
  end)

  it("says whether ops are recorded", function()
    assert.is_false(core.is_recording())
    local tape <close> = core.tape()
    assert.is_true(core.is_recording())
    assert.is_false(core.no_grad(core.is_recording))
    do
      local scope <close> = core.scope()
      assert.is_false(core.is_recording())
    end
    assert.is_true(core.is_recording())
  end)

  it("does not record under no_grad, in a scope, or without a parameter", function()
    local tape <close> = core.tape()
    local y = core.no_grad(function(p) return p * 2 end, x)
    assert.is_false(y.needs_grad)
    assert.is_false((core.ones(3) * 2).needs_grad)
    assert.error_matches(function() tape:backward(y:sum()) end, "not computed under this tape")
    assert.has_error(function() core.no_grad(error, "mine") end, "mine")
    assert.is_true((x * 2).needs_grad)
    do
      local scope <close> = core.scope() -- luacheck: ignore 211
      assert.is_false((x * 2).needs_grad)
    end
    assert.is_false((x * 2):argmax().needs_grad)
  end)

  it("refuses changes in place of what its gradient needs", function()
    local p, data = parameter { 1, 2, 3 }, core.tensor { 1, 1, 1 }
    do
      local tape <close> = core.tape()
      local y = p * data
      for _, t in ipairs { y, y:detach(), p, data, data:reshape(3, 1) } do
        assert.error_matches(function() t:fill(0) end, "an open tape needs the value")
      end
      assert.error_matches(function() p[1] = 0 end, "an open tape needs the value")
      assert.error_matches(function() data:copy(p) end, "an open tape needs the value")
      assert.error_matches(function() y:set(1, 1) end, "an open tape needs the value")
      core.zeros(3):fill(1)
      tape:backward(y:sum())
      p:fill(0)
    end
    data:fill(2)
    assert.are.same({ 2, 2, 2 }, data:totable())
    assert.are.same({ 1, 1, 1 }, p.grad:totable())
  end)

  it("lends a larger free block, but not one of more than twice the size", function()
    local number = core.real == "double" and 8 or 4
    local function pooled_after(count)
      do
        local tape <close> = core.tape()
        core.zeros(count)
      end
      return core.memory().pooled
    end
    core.release_memory()
    local before = pooled_after(1000)
    assert.equal(before, pooled_after(600))
    assert.equal(before + 400 * number, pooled_after(400))
  end)

  it("reuses memory: nothing grows from step to step", function()
    local w = core.parameter(core.rng(1):normal(0, 1, { 50, 50 }))
    local function step()
      local tape <close> = core.tape()
      local y = core.matmul(w, w):tanh()
      tape:backward((y * y):mean())
      w:zero_grad()
    end
    for _ = 1, 3 do step() end
    local before = core.memory()
    for _ = 1, 200 do step() end
    local after = core.memory()
    assert.are.equal(0, after.live)
    assert.are.equal(before.peak, after.peak)
    assert.is_true(after.pooled <= before.pooled)
  end)
end)
