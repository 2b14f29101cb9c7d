-- The digits' strokes, against closed forms and distances computed pixel by pixel.
local helper = require "spec.helper"
local core = require "simvae.core"
local digits = require "simvae.simulators.digits"

local side = 32

-- A row of z; digit 1 at style -1 is one vertical stroke, digit 0 at style -0.6 an ellipse.
local plain = { digit = 1, x = 16, y = 16, size = 20, width = 1, slant = 0, thickness = 3, edge = 2, style = -1,
  form = 0, bend = 0, balance = 0, taper = 0 }
local ellipse_style = -0.6

local function row(changes)
  local z = {}
  for i, p in ipairs(digits.params) do
    z[i] = changes[p.name] == nil and plain[p.name] or changes[p.name]
  end
  return z
end

local function draw(...)
  local rows = {}
  for i, changes in ipairs { ... } do rows[i] = row(changes) end
  return digits:run(core.tensor(rows))
end

-- The pen's profile: a bar of the thickness, convolved with a box as wide as the edge.
local function ink(d, thickness, edge)
  local overlap = math.min(d + edge / 2, thickness / 2) - math.max(d - edge / 2, -thickness / 2)
  return math.max(0, overlap) / edge
end

local function each_pixel(picture, f)
  local worst = 0
  for r, line in ipairs(picture:totable()) do
    for c, value in ipairs(line) do worst = math.max(worst, math.abs(value - f(c - 0.5, side - r + 0.5))) end
  end
  return worst
end

describe("a digit", function()
  it("of a straight stroke carries the ink of a bar and of two blurred half discs", function()
    for _, pen in ipairs { { 3, 1 }, { 4, 2 }, { 2, 3 }, { 5, 4 } } do
      local thickness, edge = pen[1], pen[2]
      local r = thickness / 2
      local caps
      if r >= edge / 2 then
        caps = math.pi * (r ^ 2 + edge ^ 2 / 12)
      else
        caps = math.pi / (3 * edge) * ((r + edge / 2) ^ 3 - (edge / 2 - r) ^ 3)
      end
      local total = draw({ thickness = thickness, edge = edge, size = 18 }):sum():item()
      assert.near(18 * thickness + caps, total, 0.1)
    end
  end)

  it("has the pen's profile at every pixel's distance from a slanted stroke", function()
    for _, case in ipairs { { slant = 0.4 }, { slant = -0.2, thickness = 1.5, edge = 4, x = 14.3, y = 17.1 } } do
      local z = {}
      for name, value in pairs(plain) do z[name] = case[name] or value end
      local ax, ay = z.x - z.slant * z.size / 2, z.y - z.size / 2
      local bx, by = z.x + z.slant * z.size / 2, z.y + z.size / 2
      local worst = each_pixel(draw(case)[1][1], function(px, py)
        local along = ((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / ((bx - ax) ^ 2 + (by - ay) ^ 2)
        along = math.max(0, math.min(1, along))
        local d = math.sqrt((px - ax - along * (bx - ax)) ^ 2 + (py - ay - along * (by - ay)) ^ 2)
        return ink(d, z.thickness, z.edge)
      end)
      assert.is_true(worst < 1e-5, worst)
    end
  end)

  it("0 of width 1 is a circle", function()
    local picture = draw({ digit = 10, style = ellipse_style })[1][1]
    local worst = each_pixel(picture, function(px, py)
      return ink(math.abs(math.sqrt((px - 16) ^ 2 + (py - 16) ^ 2) - 10), 3, 2)
    end)
    assert.is_true(worst < 0.03, worst) -- of a polygon of 32 corners: 10 (1 - cos(pi / 32)) = 0.048 px off
  end)

  it("moves with its place, grows with its size and shears with its slant", function()
    for class = 1, 10 do
      local z = { digit = class, size = 14, width = 0.7, style = 0.5, form = 0.4, bend = 0.3, balance = -0.4,
        taper = 0.5 }
      local function with(changes)
        local all = setmetatable({}, { __index = z })
        for name, value in pairs(changes) do all[name] = value end
        return all
      end
      local x = draw(z, with { x = 19, y = 14 }, with { size = 7, thickness = 1.5, edge = 1 })
      local here, moved = core.slice(x[1][1], 1, 3, 28), core.slice(x[2][1], 1, 5, 30)
      local difference = core.slice(here, 2, 3, 26) - core.slice(moved, 2, 6, 29)
      assert.is_true(difference:abs():max():item() < 1e-5)
      -- half the size and half the pen: a quarter of the ink, but for the sampling of a thin pen
      local ink_here, small = x[1]:sum():item(), x[3]:sum():item()
      assert.is_true(math.abs(small / ink_here - 0.25) < 0.02, class .. ": " .. small / ink_here)
    end
  end)

  it("differs from every other one, and changes with each parameter", function()
    local list = {}
    for class = 1, 10 do list[class] = { digit = class, width = 0.6, style = 0 } end
    local x = draw(table.unpack(list))
    for a = 1, 10 do
      for b = 1, a - 1 do assert.is_true((x[a] - x[b]):abs():sum():item() > 20, a .. " and " .. b) end
      for _, p in ipairs(digits.params) do
        local low, high = { digit = a, width = 0.6, form = 0 }, { digit = a, width = 0.6, form = 0 }
        low[p.name], high[p.name] = p.low, p.high
        -- a straight stroke has only some of them
        local none = a == 1 and (p.name == "width" or p.name == "balance" or p.name == "taper")
        assert.equal(not none, (draw(low) - draw(high)):abs():sum():item() > 1, a .. " " .. p.name)
      end
    end
  end)

  it("is the same for any number of threads, and for other samples beside it", function()
    local z = digits:sample(40, core.rng(2))
    local one, three = helper.by_threads(function() return digits:run(z):totable() end)
    assert.same(one, three)
    assert.same(one[17], digits:run(core.slice(z, 1, 17, 17)):totable()[1])
  end)

  it("is not drawn where a number is not finite, too large, or the pen has no thickness", function()
    local x = draw({ x = 0 / 0 }, { size = 1 / 0 }, { slant = 1e5 }, { thickness = 0 }, { thickness = -2 })
    assert.equal(0, x:abs():sum():item())
    local far = draw({ x = 9000, y = -9000 }, { size = 9000 },
      { style = 1e3, form = -1e3, bend = 1e3, balance = 1e3, taper = 1e3 }, { digit = -7 },
      { digit = 99, style = ellipse_style })
    assert.is_true(far:finite())
    assert.equal(0, far[1]:sum():item())
    assert.same(draw({})[1]:totable(), far[4]:totable())
    assert.same(draw({ digit = 10, style = ellipse_style })[1]:totable(), far[5]:totable())
  end)
end)
