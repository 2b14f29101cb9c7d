--- Tapes and no_grad that do not end where they should: collected while open, closed out of order, opened in
-- coroutines that yield, end or are dropped.
local helper = require "spec.helper"
local core = require "simvae.core"
require "simvae.tensor"

local function parameter(...) return core.parameter(core.tensor(...)) end

local function collect()
  collectgarbage()
  collectgarbage()
end

-- Does an op record here, and what is the gradient of sum(p * p)?
local function gradient_of_square()
  local p = parameter { 1, 2 }
  local tape <close> = core.tape()
  local loss = (p * p):sum()
  if not loss.needs_grad then return "nothing is recorded" end
  tape:backward(loss)
  return p.grad:totable()
end

describe("a tape that is collected while open", function()
  it("leaves what was made under it to whoever holds it", function()
    local p, kept = parameter { 3, 4 }, nil
    pcall(function()
      core.tape()
      kept = p * 2
      error "a step that fails"
    end)
    local after = kept + 1 -- still under that tape
    assert.is_true(after.needs_grad)
    collect()
    assert.is_false((p * p).needs_grad)
    assert.same({ 6, 8 }, kept:totable())
    assert.same({ 7, 9 }, after:totable())
    assert.is_false(kept.needs_grad)
    assert.equal(0, core.memory().live)
  end)

  it("inside an op changes nothing that the op is using", function()
    -- A collector without a pause, in large steps, runs finalizers inside most ops.
    local mode = collectgarbage "incremental"
    collectgarbage("incremental", 1, 1000, 1)
    local p = core.parameter(core.ones(16, 16))
    for _ = 1, 150 do
      pcall(function()
        core.tape()
        local _ = core.exp(p)
        error "a step that fails"
      end)
      local y = (core.exp(p) * p):mean()
      assert.near(math.exp(1), y:item(), 1e-5)
    end
    collectgarbage(mode)
    collect()
    assert.same({ 2, 4 }, gradient_of_square())
    assert.equal(0, core.memory().live)
  end)

  it("does not close a tape that was opened under it", function()
    local p = parameter { 1, 2 }
    pcall(function()
      core.tape()
      error "a step that fails"
    end)
    local tape <close> = core.tape()
    local loss = (p * p):sum()
    collect()
    tape:backward(loss * 1)
    assert.same({ 2, 4 }, p.grad:totable())
  end)
end)

describe("a finalizer", function()
  -- Runs f in a finalizer, and returns what it returned.
  local function in_finalizer(f)
    local result
    setmetatable({}, { __gc = function() result = table.pack(pcall(f)) end })
    collect()
    return table.unpack(result, 1, result.n)
  end

  it("can compute, but opens no tape and runs no backward", function()
    local p = parameter { 1, 2 }
    local tape <close> = core.tape()
    local loss = (p * p):sum()
    assert.same({ true, 5 }, { in_finalizer(function() return (p * p):sum():item() end) })
    local ok, why = in_finalizer(core.tape)
    assert.is_false(ok)
    assert.matches("not within a finalizer", why)
    ok, why = in_finalizer(function() tape:backward(loss) end)
    assert.is_false(ok)
    assert.matches("not within a finalizer", why)
    assert.is_true((in_finalizer(function() return core.no_grad(function() return p * 2 end) end)))
    tape:backward(loss)
    assert.same({ 2, 4 }, p.grad:totable())
  end)

  it("closes a tape without taking from an op what it uses", function()
    local p, tape = parameter { 1, 2 }, core.tape()
    local y = p * 3
    assert.is_true((in_finalizer(function() tape:close() end)))
    assert.matches("closed", tostring(tape))
    assert.same({ 3, 6 }, y:totable())
    assert.is_false((p * p).needs_grad)
    assert.same({ 3, 6 }, y:totable())
    assert.equal(0, core.memory().live)
  end)

  it("called by hand does no harm", function()
    local p, tape = parameter { 1, 2 }, core.tape()
    local y = p * 3
    getmetatable(tape).__gc(tape)
    getmetatable(tape).__gc(tape)
    helper.raises("this tape is closed", function() tape:backward(y:sum()) end)
    tape:close()
    assert.same({ 3, 6 }, y:totable())
    assert.same({ 2, 4 }, gradient_of_square())
    for _, object in ipairs { core.rng(1), core.ones(2), io.stdout, "text", 1 } do
      assert.is_false((pcall(getmetatable(tape).__gc, object)))
      assert.is_false((pcall(getmetatable(tape).__close, object)))
    end
  end)
end)

describe("no_grad", function()
  it("ends when its coroutine is dropped, closed, or fails", function()
    local function suspended() -- in no_grad
      local co = coroutine.create(function() core.no_grad(coroutine.yield) end)
      assert(coroutine.resume(co))
      return co
    end
    suspended()
    assert.same({ 2, 4 }, gradient_of_square())
    collect()
    assert.same({ 2, 4 }, gradient_of_square())
    local co = suspended()
    assert.same({ 2, 4 }, gradient_of_square())
    assert.is_true(coroutine.close(co))
    assert.same({ 2, 4 }, gradient_of_square())
    co = coroutine.create(function() core.no_grad(error, "failed") end)
    assert.is_false((coroutine.resume(co)))
    assert.same({ 2, 4 }, gradient_of_square())
  end)

  it("holds in the coroutine that called it and in those that it resumes, and nowhere else", function()
    local p = parameter { 1, 2 }
    local function recorded() return (p * p).needs_grad end
    local tape <close> = core.tape() -- luacheck: ignore 211
    local inner = coroutine.wrap(function() while true do coroutine.yield(recorded()) end end)
    local outer = coroutine.wrap(function()
      core.no_grad(function()
        coroutine.yield(recorded(), inner())
        coroutine.yield(recorded(), inner())
      end)
      coroutine.yield(recorded(), inner())
    end)
    for _ = 1, 2 do
      assert.same({ false, false }, { outer() })
      assert.same({ true, true }, { recorded(), inner() })
    end
    assert.same({ true, true }, { outer() })
  end)

  it("passes arguments, results and errors on", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(core.no_grad(function(...) return ... end, 1, nil, 3)))
    assert.equal(0, select("#", core.no_grad(function() end)))
    local mark = {}
    local ok, why = pcall(core.no_grad, error, mark)
    assert.is_false(ok)
    assert.equal(mark, why)
    helper.raises("no_grad: argument 1 must be a function; got 1", core.no_grad, 1)
    local callable = setmetatable({}, { __call = function(_, x) return x + 1 end })
    assert.equal(3, core.no_grad(callable, 2))
  end)
end)

describe("a tape in a coroutine", function()
  it("is not in effect outside while the coroutine waits", function()
    local p = parameter { 1, 2 }
    local co = coroutine.wrap(function()
      local tape <close> = core.tape()
      local loss = (p * p):sum()
      coroutine.yield()
      loss = loss + p:sum()
      tape:backward(loss)
      return p.grad:totable()
    end)
    co()
    local outside = p * 2
    assert.is_false(outside.needs_grad)
    do
      local tape <close> = core.tape()
      local q = parameter { 5 }
      tape:backward((q * q):sum())
      assert.same({ 10 }, q.grad:totable())
    end
    assert.same({ 3, 5 }, co())
    assert.same({ 2, 4 }, outside:totable())
    assert.equal(0, core.memory().live)
  end)

  it("that is dropped goes with it", function()
    local p = parameter { 1, 2 }
    local kept
    coroutine.wrap(function()
      local tape <close> = core.tape() -- luacheck: ignore 211
      kept = p * 2
      coroutine.yield()
    end)()
    collect()
    assert.same({ 2, 4 }, gradient_of_square())
    assert.same({ 2, 4 }, kept:totable())
    assert.equal(0, core.memory().live)
  end)

  it("records what coroutines that it resumes compute", function()
    local p = parameter { 1, 2 }
    local tape <close> = core.tape()
    local square = coroutine.wrap(function() coroutine.yield(p * p) end)
    tape:backward(square():sum())
    assert.same({ 2, 4 }, p.grad:totable())
  end)

  it("and others alternate without touching each other", function()
    local function train(start)
      local p = parameter { start }
      for _ = 1, 3 do
        local tape <close> = core.tape()
        local y = p * p
        coroutine.yield()
        tape:backward(y:sum())
        coroutine.yield()
        p:copy(core.no_grad(function() return p - p.grad * 0.25 end))
        p:zero_grad()
      end
      return p:item()
    end
    local first, second = coroutine.wrap(train), coroutine.wrap(train)
    local a, b = first(8), second(16)
    while not (a and b) do a, b = first(), second() end
    assert.same({ 1, 2 }, { a, b })
  end)
end)

describe("tapes closed out of order", function()
  it("take those that were opened under them along", function()
    local p = parameter { 1, 2 }
    local outer = core.tape()
    local inner = core.tape()
    local y = p * 2
    outer:close()
    assert.matches("closed", tostring(inner))
    helper.raises("released with its tape", function() return y + 1 end)
    helper.raises("this tape is closed", function() inner:backward(p:sum()) end)
    inner:close()
    outer:close()
    assert.same({ 2, 4 }, gradient_of_square())
  end)

  it("leave the tapes of other coroutines open", function()
    local p = parameter { 1, 2 }
    local outer = core.tape()
    local co = coroutine.wrap(function()
      local tape <close> = core.tape()
      local loss = (p * p):sum()
      coroutine.yield()
      tape:backward(loss)
      return p.grad:totable()
    end)
    co()
    outer:close()
    assert.same({ 2, 4 }, co())
  end)
end)

describe("requires_grad between forward and backward", function()
  it("turned off takes an input out of backward, turned on comes too late for it", function()
    local p, q, constant = parameter { 1, 2 }, parameter { 3, 4 }, core.tensor { 5, 6 }
    do
      local tape <close> = core.tape()
      local loss = (p:reshape(2, 1):reshape(2) * q * constant):sum()
      p:requires_grad(false)
      constant:requires_grad()
      tape:backward(loss)
    end
    assert.is_nil(p.grad)
    assert.is_nil(constant.grad)
    assert.same({ 5, 12 }, q.grad:totable())
  end)
end)

describe("settings that change between forward and backward", function()
  it("change no result", function()
    local threads = core.threads()
    local function gradient(before, after)
      core.threads(before)
      local p = core.parameter(core.rng(1):normal(0, 1, { 16, 16, 4, 4 }))
      local tape <close> = core.tape()
      local y = core.conv2d(core.rng(2):normal(0, 1, { 4, 16, 16, 16 }), p, nil, { stride = 2, padding = 1 })
      local loss = (y * y):sum()
      core.threads(after)
      tape:backward(loss)
      return p.grad
    end
    local expected = gradient(1, 1):totable()
    assert.same(expected, gradient(1, 3):totable())
    assert.same(expected, gradient(3, 1):totable())
    core.threads(threads)
  end)
end)
