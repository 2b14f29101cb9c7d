local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"
local parameter = require "simvae.simulator.parameter"
local raises = helper.raises

local linear = { name = "x", low = -4, high = 12, unit = "V", scale = "linear" }
local log = { name = "R", low = 10, high = 1e5, unit = "Ω", scale = "log" }
local angle = { name = "angle", low = 0, high = 360, period = 360, scale = "linear" }
local part = { name = "part", low = 350, high = 370, period = 360, scale = "linear" } -- 20 degrees about north
local class = { name = "k", low = 1, high = 4, levels = 4, scale = "linear" }

describe("a parameter", function()
  it("goes to its code and back", function()
    for _, case in ipairs {
      { linear, { -4, -1.5, 12 } }, { log, { 10, 47, 1e5 } }, { angle, { 0, 90, 359 } }, { part, { 350, 360, 369 } },
      { class, { 1, 3, 4 } },
    } do
      local p, values = table.unpack(case)
      for _, v in ipairs(values) do
        local code = { "before" }
        parameter.to_code(p, v, code, 2)
        assert.equal("before", code[1])
        assert.equal(parameter.code_size(p), #code - 1)
        assert.near(v, (parameter.from_code(p, code, 2)), 1e-9 * math.abs(v) + 1e-9)
      end
    end
    assert.same({ "interval", "interval", "circle", "class" },
      { parameter.kind(linear), parameter.kind(log), parameter.kind(angle), parameter.kind(class) })
  end)

  it("is drawn and coded in C as it is one by one, bit for bit", function()
    local grid = { name = "g", low = -1, high = 2, grid = 7, scale = "linear" }
    local params = { linear, log, angle, part, class, grid }
    local all, n, seed, before = parameter.rows(params), 37, 11, (1 << 40) + 5
    local z, width = all:draw(seed, before, n), 0
    local codes = all:codes(z)
    local rng, expected = core.rng(seed), {}
    for s, row in ipairs(z:totable()) do
      rng:rewind(before + s)
      expected[s] = {}
      local at = 1
      for i, p in ipairs(params) do
        assert.equal(core.tensor { parameter.draw(p, rng) }:item(), row[i])
        parameter.to_code(p, row[i], expected[s], at)
        at = at + parameter.code_size(p)
      end
      width = at - 1
    end
    assert.same({ n, width }, { codes.shape[1], codes.shape[2] })
    assert.same(core.tensor(expected):totable(), codes:totable())
    assert.is_nil(parameter.rows { linear, { name = "n", prior = { "normal", 0, 1 }, axis = linear } })
  end)

  it("carries a code's standard deviation to units", function()
    local _, spread = parameter.from_code(linear, { 0 }, 1, { 0.1 })
    assert.near(0.1 / 2 * 16, spread, 1e-12)
    local v
    v, spread = parameter.from_code(log, { 0 }, 1, { 0.1 }) -- d ln v = 0.05 ln(high / low)
    assert.near(1e3, v, 1e-9)
    assert.near(1e3 * 0.05 * math.log(1e4), spread, 1e-9)
    _, spread = parameter.from_code(angle, { 0, 1 }, 1, { 0.1, 0.1 })
    assert.near(math.deg(0.1), spread, 1e-12)
    _, spread = parameter.from_code(class, { 0.5, 0.5, 0, 0 }, 1)
    assert.near(0.5, spread, 1e-12) -- of 1 and 2, each as likely
  end)

  it("lies within its bounds up to one tolerance, on its scale", function()
    for _, case in ipairs { { linear, 16 }, { log, nil } } do
      local p = case[1]
      local function beyond(share) -- above the upper bound by a share of the range
        return p.scale == "log" and p.high * (p.high / p.low) ^ share or p.high + share * (p.high - p.low)
      end
      local function below(share)
        return p.scale == "log" and p.low * (p.low / p.high) ^ share or p.low - share * (p.high - p.low)
      end
      assert.is_false(parameter.outside(p, p.low))
      assert.is_false(parameter.outside(p, p.high))
      for _, at in ipairs { beyond, below } do
        assert.is_false(parameter.outside(p, at(0.5 * parameter.TOLERANCE)))
        assert.is_true(parameter.outside(p, at(3 * parameter.TOLERANCE)))
        local v, share = parameter.confine(p, at(0.25))
        assert.near(0.25, share, 1e-9)
        assert.equal(at == beyond and p.high or p.low, v)
        assert.equal(0, (select(2, parameter.confine(p, at(0.5 * parameter.TOLERANCE)))))
      end
    end
    assert.is_true(parameter.outside(log, 0))
    assert.is_true(parameter.outside(log, -3))
    assert.is_true(parameter.outside(linear, 0 / 0))
  end)

  it("refuses a prior far below a logarithmic bound that is close to it in units", function()
    local sim = sv.simulator { name = "s", output = { 1 }, simulate = function() end,
      params = { { name = "R", low = 1e-6, high = 1e3, scale = "log" } }, prior = function() return { R = 1e-9 } end }
    raises("the prior drew R = 1e%-09 .*outside its bounds", sim.sample, sim, 1, sv.rng(1))
  end)

  it("is brought to the nearer bound, a period the shorter way round", function()
    assert.equal(12, (parameter.confine(linear, 40)))
    assert.equal(-4, (parameter.confine(linear, -40)))
    assert.equal(3, (parameter.confine(class, 2.6)))
    assert.equal(4, (parameter.confine(class, 9)))
    assert.near(10, (parameter.confine(angle, 730)), 1e-9)
    assert.near(355, (parameter.confine(angle, -5)), 1e-9)
    local v, share = parameter.confine(part, 5) -- 5 degrees are 365
    assert.same({ 365, 0 }, { v, share })
    v, share = parameter.confine(part, 349) -- one degree below
    assert.same({ 350, 1 / 20 }, { v, share })
    v, share = parameter.confine(part, 12) -- two above
    assert.same({ 370, 2 / 20 }, { v, share })
  end)

  it("differs from another value in units, and in ranges", function()
    assert.equal(-6, parameter.difference(linear, -2, 4))
    assert.equal(-20, parameter.difference(angle, 350, 370))
    assert.equal(20, parameter.difference(angle, 10, 350))
    assert.near(6 / 16, parameter.distance(linear, 4, -2), 1e-12)
    assert.near(0.25, parameter.distance(log, 100, 10), 1e-12)
    assert.near(20 / 360, parameter.distance(angle, 10, 350), 1e-12)
    assert.same({ 0, 1 }, { parameter.distance(class, 2.2, 2), parameter.distance(class, 4, 2) })
  end)

  it("says its range, its scale and its value", function()
    assert.equal("x -4 to 12 V", parameter.range_text(linear))
    assert.equal("k 1 to 4", parameter.range_text(class))
    assert.same({ "linear", "log", "period 360", "4 classes" }, { parameter.scale_text(linear),
      parameter.scale_text(log), parameter.scale_text(angle), parameter.scale_text(class) })
    assert.equal("R = 0.333333", parameter.value_text(log, 1 / 3))
  end)

  it("has one scale: a period or classes have no logarithm", function()
    for _, p in ipairs {
      { name = "p", period = 3, low = 1, scale = "log" }, { name = "p", levels = 3, scale = "log" },
    } do
      raises("parameter 'p' has scale = \"log\" and", sv.simulator, { name = "s", output = { 1 }, params = { p },
        simulate = function() end })
    end
  end)
end)
