--- Corner plots, and the densities on grids that they are drawn from, against closed forms.
local core = require "simvae.core"
local density = require "simvae.figures.support.density"
local helper = require "spec.helper"
local pair_axis = require "simvae.figures.support.pair_axis"
local sv = require "simvae"

local raises = helper.raises
local folder

setup(function() folder = helper.temporary_folder() end)

local function columns(n, K, f)
  local rng, list = sv.rng(4), {}
  for k = 1, K do list[k] = {} end
  for i = 1, n do
    for k, v in ipairs { f(rng) } do list[k][i] = v end
  end
  return list
end

local params = {
  { name = "width", low = -10, high = 10, unit = "px" }, { name = "R", low = 1, high = 1000, scale = "log" },
  { name = "angle", low = 0, high = 360, period = 360, unit = "deg" }, { name = "kind", levels = 3 },
}
local sim = sv.simulator { name = "s", params = params, output = { 2 }, simulate = function() end }

local function samples(n)
  local rng, rows = sv.rng(2), {}
  for i = 1, n do
    rows[i] = { rng:normal(), math.exp(rng:normal(3, 0.4)), (355 + rng:normal(0, 10)) % 360, rng:integer(1, 2) }
  end
  return sv.tensor(rows)
end

describe("densities on a grid", function()
  local axis = { low = -5, high = 5, cells = 60, smooth = 2 }
  local xy = columns(40000, 2, function(rng) return rng:normal(), rng:normal() end)
  local rows = density.grid(xy[1], xy[2], axis, axis)

  it("sum to 1, smoothed or not", function()
    local total = 0
    for _, row in ipairs(rows) do
      for _, v in ipairs(row) do total = total + v end
    end
    assert.near(1, total, 1e-6)
    total = 0
    for _, v in ipairs(density.histogram(xy[1], -5, 5, 30)) do total = total + v end
    assert.near(1, total, 1e-6)
  end)

  it("have the circles that hold 68% and 95% of a standard normal distribution as contours", function()
    for i, level in ipairs((density.levels(rows, { 0.68, 0.95 }))) do
      local radius, n = 0, 0
      for _, s in ipairs(density.contour(rows, level, axis, axis)) do
        radius, n = radius + math.sqrt(s[1] ^ 2 + s[2] ^ 2), n + 1
      end
      -- 1 - exp(-r² / 2) is the share within r; the smoothing adds to the variance a cell's width squared
      assert.near(math.sqrt(-2 * math.log(1 - ({ 0.68, 0.95 })[i])), radius / n, 0.08)
    end
  end)
end)

describe("an axis of a corner plot", function()
  it("is logarithmic for a log scale, with whole powers of ten", function()
    local axis = pair_axis.new(params[2], { { 2, 20, 900 } }, nil, 2)
    assert.near(math.log(20, 10), axis.coordinate(20), 1e-12)
    assert.near(20, axis.value(axis.coordinate(20)), 1e-9)
    assert.is_true(axis.low >= 0 and axis.high <= 3)
    local tics = pair_axis.tics(axis, 4, true)
    assert.matches("'10' 1", tics, 1, true)
    assert.matches("'100' 2", tics, 1, true)
  end)

  it("does not cut a circle at its seam, and writes values within the period", function()
    local axis = pair_axis.new(params[3], { { 350, 355, 0, 5, 10 } }, nil, 2)
    assert.is_true(axis.high - axis.low < 30)
    assert.near(10, axis.coordinate(10) - axis.coordinate(0), 1e-9)
    assert.near(15, axis.coordinate(5) - axis.coordinate(350), 1e-9)
    assert.matches("'0' ", pair_axis.tics(axis, 4, true), 1, true)
  end)

  it("has a cell for each class", function()
    local axis = pair_axis.new(params[4], { { 1, 2, 2 } }, nil, 2)
    assert.same({ 3, 0, 0.5, 3.5 }, { axis.cells, axis.smooth, axis.low, axis.high })
  end)

  it("ends at the prior's bounds, and holds the truth", function()
    local axis = pair_axis.new(params[1], { { 9.5, 9.9, 10 } }, 4, 2)
    assert.equal(10, axis.high)
    assert.is_true(axis.low <= 4)
  end)
end)

describe("a corner plot", function()
  local function drawn(ok, why)
    if not helper.have "gnuplot" then return assert.matches("gnuplot is missing", why) end
    local picture = assert(sv.io.load_png((assert(ok, why))))
    assert.is_true(picture:mean():item() < 0.99)
    return picture
  end

  it("holds every pair below the diagonal, the truth and a reference", function()
    local path = folder .. "/four.png"
    local picture = drawn(sv.figures.pairs(samples(3000), path, { simulator = sim, reference = samples(500),
      truth = { width = 0.5, R = 20, angle = 2, kind = 1 } }))
    if picture then assert.same({ 3, 900, 900 }, picture.shape) end
    local data = helper.read(folder .. "/four.dat")
    assert.matches("\n0.5 1.30103", data, 1, true) -- the truth of width and log10 R
  end)

  it("is drawn of a model's posterior, and of one parameter", function()
    local model = sv.model { simulator = sim, width = 4 }
    model.trained.encoder = 1
    local p = model:posterior(core.zeros(2, 2))
    drawn(sv.figures.pairs(p, folder .. "/model.png", { number = 2, samples = 500, truth = sv.tensor { 0, 2, 3, 1 } }))
    drawn(sv.figures.pairs(samples(200):slice(2, 1, 1), folder .. "/one.png", { names = { "a" } }))
  end)

  it("names bad input", function()
    local path = folder .. "/bad.png"
    raises("takes a posterior .* got nil", sv.figures.pairs, nil, path)
    raises("p has 4 columns, the simulator 1 parameters", sv.figures.pairs, samples(200), path,
      { simulator = sv.simulator { name = "t", params = { params[1] }, output = { 1 }, simulate = function() end } })
    raises("truth takes a number for each of the 4 parameters", sv.figures.pairs, samples(200), path, { truth = { 1 } })
    raises("truth of R takes a number; got nil", sv.figures.pairs, samples(200), path,
      { simulator = sim, truth = { width = 1, kind = 2, angle = 3 } })
    raises("reference has 2 columns, p has 4", sv.figures.pairs, samples(200), path, { reference = core.zeros(9, 2) })
    raises("not finite", sv.figures.pairs, samples(200) * (0 / 0), path)
    raises("unknown option 'true'", sv.figures.pairs, samples(200), path, { ["true"] = {} })
  end)
end)
