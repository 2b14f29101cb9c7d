-- sv.code: parameters as numbers for networks; sv.one_hot.
local helper = require "spec.helper"
local sv = require "simvae"

local sim = sv.simulator {
  name = "mixed",
  params = { { name = "gain", low = 1, high = 100, scale = "log" }, { name = "kind", levels = 3 },
    { name = "angle", period = 2 * math.pi }, { name = "x", low = -2, high = 6 } },
  output = { 1 }, simulate = function(_, out) out[1] = 0 end,
}

describe("sv.code", function()
  local code = sv.code(sim)

  it("gives intervals on their scale, classes as indicators, angles as points on the circle", function()
    local parts = {}
    for i, p in ipairs(code.parts) do parts[i] = { p.name, p.kind, p.first, p.last } end
    assert.same({ { "gain", "interval", 1, 1 }, { "kind", "class", 2, 4 }, { "angle", "circle", 5, 6 },
      { "x", "interval", 7, 7 } }, parts)
    assert.equal(7, code.size)
    local row = code:from_units(sv.tensor { { 10, 2, math.pi / 2, 6 } })[1]:totable()
    for i, v in ipairs { 0, 0, 1, 0, 0, 1, 1 } do assert.near(v, row[i], 1e-6) end
  end)

  it("returns to units, of any pair to an angle and of any scores to a class", function()
    local z = sim:sample(50, sv.rng(1))
    local again = code:to_units(code:from_units(z)):totable()
    for i, row in ipairs(z:totable()) do
      for k, v in ipairs(row) do assert.near(v, again[i][k], 1e-4 * math.max(1, v)) end
    end
    local row = code:to_units(sv.tensor { { 1, 0.2, -3, 0.3, 0, -7, 2 } })[1]:totable()
    assert.near(100, row[1], 1e-3)
    assert.equal(3, row[2])
    assert.near(3 * math.pi / 2, row[3] % (2 * math.pi), 1e-5)
    assert.near(10, row[4], 1e-5)
  end)

  it("refuses what is no simulator, and other numbers of columns", function()
    helper.raises("code: takes a simulator, made by sv.simulator; got an empty table", function() sv.code {} end)
    helper.raises("from_units: z takes a tensor %(N, 4%); got %(2, 3%)", function() code:from_units(sv.zeros(2, 3)) end)
    helper.raises("to_units: code takes a tensor %(N, 7%); got %(7,%)", function() code:to_units(sv.zeros(7)) end)
    helper.raises("did you mean 'from_units'", function() return code.from_unit end)
  end)
end)

describe("sv.one_hot", function()
  it("is 1 at the class alone, for classes of any shape", function()
    assert.same({ { 0, 1, 0 }, { 1, 0, 0 }, { 0, 0, 1 } }, sv.one_hot(sv.tensor { 2, 1, 3 }, 3):totable())
    local classes = sv.tensor { { 1, 5 }, { 4, 2 } }
    local hot = sv.one_hot(classes, 5)
    assert.same({ 2, 2, 5 }, hot.shape)
    assert.same(classes:totable(), sv.argmax(hot, 3):totable())
    assert.same({ 0, 4 }, sv.one_hot(sv.zeros(0), 4).shape)
    assert.is_false(sv.one_hot(sv.parameter { 1, 2 }, 2).needs_grad)
  end)

  it("refuses what is no class", function()
    helper.raises("one_hot: classes takes whole numbers from 1 to 3; these are from 0 to 2",
      function() sv.one_hot(sv.tensor { 0, 2 }, 3) end)
    helper.raises("whole numbers from 1 to 3; these are from 1.5 to 2",
      function() sv.one_hot(sv.tensor { 1.5, 2 }, 3) end)
    helper.raises("one_hot: classes takes a tensor of whole numbers from 1; got a table",
      function() sv.one_hot({ 1 }, 3) end)
    helper.raises("one_hot: levels must be from 1 to 16777216; got 0", function() sv.one_hot(sv.tensor { 1 }, 0) end)
  end)
end)
