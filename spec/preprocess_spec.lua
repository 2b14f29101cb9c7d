local core = require "simvae.core"
require "simvae.tensor"
local preprocess = require "simvae.model.preprocess"
local helper = require "spec.helper"

local function near(expected, value, tolerance, what)
  assert.is_true(math.abs(expected - value) <= tolerance, string.format("%s%g is not within %g of %g",
    what and what .. ": " or "", value, tolerance, expected))
end

-- White with a vertical bar of ink from column a to column b (of w).
local function bar(h, w, a, b, ink, ground)
  local t = core.full(ground or 1, 1, h, w)
  for r = 1, h do
    for c = a, b do t:set(ink or 0, 1, r, c) end
  end
  return t
end

describe("preprocess", function()
  it("refuses one outside [0, 1], with the remedy", function()
    helper.raises("takes an image in %[0, 1%]; got 0 to 255: divide by its largest value", preprocess.picture,
      core.zeros(1, 8, 8) + core.tensor { 0, 255, 0, 0, 0, 0, 0, 0 }, { 1, 8, 8 })
  end)

  it("averages areas, whatever the factor", function()
    local x = core.arange(1, 36):reshape(1, 6, 6)
    near(x[1]:mean():item(), preprocess.resize(x, 1, 1):item(), 1e-4)
    -- 6 -> 4: each new pixel covers one and a half old ones
    local y = preprocess.resize(x, 4, 4)
    near((1 + 0.5 * 2) / 1.5 + (0 + 0.5 * 6) / 1.5, y:get(1, 1, 1), 1e-4)
    near(x:mean():item(), y:mean():item(), 1e-4)
    near(x:get(1, 2, 3), preprocess.resize(x, 12, 12):get(1, 4, 6), 1e-5) -- enlarged
  end)

  it("does not stretch what is not square", function()
    local y = preprocess.picture(bar(30, 60, 31, 32), { 1, 60, 60 })
    assert.are.same({ 1, 60, 60 }, y.shape)
    near(1, y:get(1, 10, 31), 0)  -- padding
    near(0, y:get(1, 30, 31), 0)
    near(1, y:get(1, 30, 33), 0)
  end)

  it("turns dark grounds, stretches contrast, weighs colours", function()
    local y = preprocess.picture(bar(8, 8, 4, 5, 0.9, 0.1), { 1, 8, 8 })
    near(1, y:get(1, 4, 1), 1e-6)
    near(0, y:get(1, 4, 4), 1e-6)
    y = preprocess.picture(bar(8, 8, 4, 5, 0.3, 0.8), { 1, 8, 8 }, { stretch = false })
    near(0.3, y:get(1, 4, 4), 1e-6)
    near(0.8, y:get(1, 4, 1), 1e-6)
    y = preprocess.picture(bar(8, 8, 4, 5), { 1, 8, 8 }, { ground = "dark" })
    near(0, y:get(1, 4, 1), 1e-6)
    near(1, y:get(1, 4, 4), 1e-6)
    local green = core.zeros(3, 8, 8)
    green[2] = core.ones(8, 8)
    near(0.7152, preprocess.picture(green, { 1, 8, 8 }, { stretch = false }):get(1, 1, 1), 1e-5)
    assert.are.same({ 3, 8, 8 }, preprocess.picture(bar(8, 8, 4, 5), { 3, 8, 8 }).shape)
    near(0.7, preprocess.picture(core.full(0.7, 1, 8, 8), { 1, 8, 8 }):get(1, 1, 1), 1e-6) -- nothing drawn
  end)

  it("reads every picture of examples/curves: white ground, black ink, something drawn", function()
    local n = 0
    for _, name in ipairs(core.system.list "examples/curves") do
      if name:find "%.png$" then
        n = n + 1
        local x = assert(preprocess.load("examples/curves/" .. name, { 1, 64, 64 }))
        local mean = x:mean():item()
        assert.is_true(mean > 0.8 and mean < 0.99, name .. " has mean " .. mean)
        near(0, core.min(x):item(), 1e-6, name)
        near(1, core.max(x):item(), 1e-6, name)
      end
    end
    assert.is_true(n >= 6)
  end)

  it("says what is wrong", function()
    local t, why = preprocess.load("examples/curves/none.png", { 1, 64, 64 })
    assert.is_nil(t)
    assert.is_truthy(why:find("none.png", 1, true))
    assert.has_error(function() preprocess.picture(core.zeros(4, 4), { 1, 8, 8 }) end,
      "preprocess: takes an image (C, H, W)")
    assert.has_error(function() preprocess.picture(core.zeros(1, 4, 4), { 8 }) end,
      "preprocess: shape is {channels, height, width}, as a simulator's output; got (8,)")
  end)
end)

describe("figures of inference and of curves", function()
  local figures = require "simvae.figures"
  local folder = helper.temporary_folder()

  -- A model that answers the middle of the bounds, and decodes through its simulator.
  local function model(sim)
    return {
      simulator = sim, decode = function(_, z) return sim:run(z) end,
      encode = function(_, x)
        local rows = {}
        for i = 1, x.shape[1] do
          rows[i] = {}
          for k, p in ipairs(sim.params) do rows[i][k] = (p.low + p.high) / 2 end
        end
        return core.tensor(rows), core.tensor(rows)
      end,
    }
  end

  it("infers pictures that were not drawn by the simulator", function()
    local fourier = require "simvae.simulators.fourier"
    local path, z, x = assert(figures.inference(folder .. "/i.png", model(fourier), { "examples/curves/large.png",
      core.ones(1, 20, 30) }))
    assert.are.equal(folder .. "/i.png", path)
    assert.are.same({ 2, 11 }, z.shape)
    assert.are.same({ 2, 1, 64, 64 }, x.shape)
    local picture = assert(require "simvae.io".load_png(path))
    assert.is_true(picture.shape[2] > 3 * 64 and picture.shape[3] > 2 * 64)
    local none, why = figures.inference(folder .. "/i.png", model(fourier), { "none.png" })
    assert.is_nil(none)
    assert.is_truthy(why:find("none.png", 1, true))
  end)

  it("draws curves, with the numbers beside them", function()
    local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
    local _, x = rlc:simulate_batch(3, core.rng(1))
    local path = folder .. "/c.png"
    local ok, why = figures.curves(path, { x, x * 0.5 }, { labels = { "S(z)", "G(z)" }, series = rlc.series })
    if helper.have "gnuplot" then
      assert.are.equal(path, ok)
      assert.are.same({ 3, 500, 580 }, assert(require "simvae.io".load_png(path)).shape)
    else
      assert.is_truthy(why:find("gnuplot", 1, true))
    end
    local data = assert(io.open(folder .. "/c.dat")):read "a"
    local _, blocks = data:gsub("# [SG]%(z%), ", "")
    assert.are.equal(2 * 2 * 3, blocks)
    assert.is_truthy(data:find("# S(z), phase, sample 2", 1, true))
    assert.is_truthy(data:find("\n100 ", 1, true))
    assert.is_truthy(data:find("\n100000 ", 1, true))
    local one, many = figures.curves(path, { core.slice(x, 1, 1, 1), x })
    assert.is_true(one == path or tostring(many):find "gnuplot" ~= nil)
    assert.equal(1 + x.shape[1], select(2, helper.read((path:gsub("png$", "dat"))):gsub("sample %d", "")))
    assert.has_error(function() figures.curves(path, { x, core.zeros(3, 5) }) end,
      "curves: panels[2] has curves of 5 numbers, panels[1] of 122; they must agree")
    assert.has_error(function() figures.curves(path, { x }, { series = { {}, {}, {} } }) end,
      "curves: 3 series do not make up 122 numbers")
  end)
end)
