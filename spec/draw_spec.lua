-- Drawing, against areas.
require "spec.helper"
local core = require "simvae.core"
local draw = require "simvae.simulator.draw".draw

local function canvas(channels)
  local out = core.zeros(channels or 1, 32, 48)
  return draw(out), out
end

-- The drawn area in white on black, in pixels.
local function area(paint)
  local c, out = canvas()
  paint(c)
  return out:sum():item()
end

describe("a canvas", function()
  it("covers the areas of its shapes", function()
    assert.near(7.5 * 4.25, area(function(c) c:rect(3.25, 5.5, 7.5, 4.25) end), 1e-3)
    assert.near(math.pi * 49, area(function(c) c:circle(20.3, 15.7, 7) end), 0.02)
    assert.near(math.pi * 40, area(function(c) c:ellipse(20.3, 15.7, 10, 4, 0.7) end), 0.02)
    assert.near(0.5 * 20 * 10, area(function(c) c:polygon { 5, 5, 25, 5, 15, 15 } end), 1e-3)
    assert.near(2 * 10, area(function(c) c:line(5, 5, 15, 5, { width = 2 }) end), 1e-3)
    assert.near(10 * math.sqrt(2), area(function(c) c:line(5, 5, 15, 15) end), 1e-2)
    assert.near(20 + math.pi, area(function(c) c:line(5, 5, 15, 5, { width = 2, caps = "round" }) end), 1e-2)
    assert.near(2 * math.pi * 10 * 3, area(function(c) c:circle(20, 15, 10, { stroke = 1, width = 3 }) end), 0.05)
    -- outer corner: a quarter of a disc; inner corner: the strokes overlap in a square
    assert.near(2 * 20 - 1 + math.pi / 4, area(function(c)
      c:polyline({ 5, 5, 15, 5, 15, 15 }, { width = 2 })
    end), 1e-2)
    assert.near(2 * 20 - 1 + 0.5, area(function(c)
      c:polyline({ { 5, 5 }, { 15, 5 }, { 15, 15 } }, { width = 2, joins = "bevel" })
    end), 1e-2)
  end)

  it("fills by either rule", function()
    local star = {}
    for i = 0, 4 do
      star[2 * i + 1], star[2 * i + 2] = 24 + 14 * math.cos(i * 0.8 * math.pi), 16 + 14 * math.sin(i * 0.8 * math.pi)
    end
    local whole = area(function(c) c:polygon(star) end)
    local holed = area(function(c) c:polygon(star, { rule = "evenodd" }) end)
    local inner = 14 * math.cos(0.4 * math.pi) / math.cos(0.2 * math.pi) -- circumradius of the pentagon inside
    assert.near(2.5 * inner * inner * math.sin(0.4 * math.pi), whole - holed, 0.05)
  end)

  it("draws curves through their points", function()
    local c, out = canvas()
    c:curve({ 2, 16, 12, 24, 24, 10, 40, 20 }, { width = 3 })
    for _, p in ipairs { { 3, 16 }, { 12, 24 }, { 24, 10 }, { 39, 19 } } do
      assert.is_true(out:get(1, 32 - p[2], p[1] + 1) > 0.6)
    end
  end)

  it("has the origin at the lower left, and the ink that shows", function()
    local c, out = canvas()
    c:rect(0, 0, 2, 1)
    assert.equal(1, out:get(1, 32, 1))
    assert.equal(1, out:get(1, 32, 2))
    assert.equal(2, out:sum():item())
    c:clear(1):rect(0, 0, 2, 1)
    assert.equal(0, out:get(1, 32, 2))
    assert.equal(32 * 48 - 2, out:sum():item())
    c:clear(0.25):line(0, 0.5, 4, 0.5)
    assert.equal(1, out:get(1, 32, 4))
  end)

  it("knows colours and opacity", function()
    local c, out = canvas(3)
    local function pixel() return { out:get(1, 1, 1), out:get(2, 1, 1), out:get(3, 1, 1) } end
    c:clear { 0, 0.5, 1 }
    assert.same({ 0, 0.5, 1 }, pixel())
    c:rect(0, 0, 48, 32, { fill = "red" })
    assert.same({ 1, 0, 0 }, pixel())
    c:rect(0, 0, 48, 32, { fill = "#0000ff", opacity = 0.25 })
    assert.same({ 0.75, 0, 0.25 }, pixel())
    c:rect(0, 0, 48, 32, { colour = 0.5 })
    assert.same({ 0.5, 0.5, 0.5 }, pixel())
    local grey, one = canvas()
    grey:clear "white"
    assert.near(1, one:get(1, 1, 1), 1e-6)
  end)

  it("fills first, then strokes", function()
    local c, out = canvas()
    c:rect(10, 10, 10, 10, { fill = 0.5, stroke = 1, width = 2 })
    assert.equal(0.5, out:get(1, 32 - 15, 16))
    assert.equal(1, out:get(1, 32 - 10, 16))
    assert.equal(1, out:get(1, 32 - 9, 16))
    assert.equal(0, out:get(1, 32 - 8, 16))
  end)

  it("moves continuously and draws nothing for what is not finite", function()
    local function at(x)
      local c, out = canvas()
      c:circle(x, 16, 5)
      return out
    end
    assert.is_true((at(20) - at(20.001)):abs():max():item() < 0.005)
    for _, v in ipairs { 0 / 0, math.huge, -math.huge } do
      assert.equal(0, area(function(c) c:circle(v, 16, 5):rect(0, 0, v, 3):line(1, 1, v, 2) end))
    end
    assert.equal(0, area(function(c) c:circle(-50, 16, 5) end))
  end)

  it("checks what it is given", function()
    local c = canvas(3)
    local function fails(message, f) assert.error_matches(f, message, 1, true) end
    fails("did you mean 'fill'", function() c:circle(1, 2, 3, { fil = 1 }) return c end)
    fails("did you mean 'navy'", function() c:circle(1, 2, 3, { fill = "nayv" }) return c end)
    fails("a colour has 3 numbers here; got 2", function() c:circle(1, 2, 3, { fill = { 1, 2 } }) return c end)
    fails("caps is one of butt, round", function() c:line(1, 2, 3, 4, { caps = "flat" }) return c end)
    fails("circle: takes 3 numbers; got 2", function() c:circle(1, 2) return c end)
    fails("polygon: takes points as x, y pairs", function() c:polygon { 1, 2, 3 } return c end)
    fails("polygon: point 2 is not { x, y }", function() c:polygon { { 1, 2 }, { 3 } } return c end)
    fails("polyline: 20000 points are more", function()
      local many = {}
      for i = 1, 40000 do many[i] = i % 40 end
      c:polyline(many)
      return c
    end)
    fails("draw: takes a tensor of (channels, height, width); got (32, 48)", function() draw(core.zeros(32, 48)) end)
    local _, where = pcall(function() c:circle(1, 2) return c end)
    assert.matches("draw_spec.lua:%d+:", where)
  end)

  it("makes a simulator of five lines", function()
    local simulator = require "simvae.simulator"
    local ring = simulator.new {
      name = "ring", output = { 1, 32, 32 },
      params = {
        { name = "x", low = 8, high = 24 }, { name = "y", low = 8, high = 24 }, { name = "r", low = 2, high = 8 },
      },
      simulate = function(z, out) draw(out):clear(1):circle(z.x, z.y, z.r, { stroke = 0, width = 2 }) end,
    }
    local x = ring:run { { 16, 16, 5 }, { 12, 20, 3 } }
    for i, r in ipairs { 5, 3 } do
      assert.near(2 * math.pi * r * 2, 32 * 32 - x[i]:sum():item(), 0.05)
    end
  end)
end)
