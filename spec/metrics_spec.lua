local core = require "simvae.core"
local metrics = require "simvae.metrics"

local N = 10000

-- Values of table t at every entry, against a list of rows.
local function near(expected, got, tolerance, what)
  assert.is_true(math.abs(expected - got) <= tolerance,
    string.format("%s: expected %.7g within %g, got %.7g", what or "value", expected, tolerance, got))
end

local function near_matrix(expected, t, tolerance)
  for i, row in ipairs(expected) do
    for j, x in ipairs(row) do near(x, t:get(i, j), tolerance, string.format("(%d, %d)", i, j)) end
  end
end

local function uniform(n, k, seed) return core.rng(seed):uniform { n, k } end

local function box_prior(n, seed)
  local rng, rows = core.rng(seed), {}
  for i = 1, n do
    local w, h = rng:uniform(0, 64), rng:uniform(0, 64)
    rows[i] = { w, h, rng:uniform(0, 64 - w), rng:uniform(0, 64 - h) }
  end
  return core.tensor(rows)
end

-- The nearest number in single precision: what NumPy saw, in the double build too.
local function single(x) return (string.unpack("f", string.pack("f", x))) end

-- x + s * error, column by column
local function noisy(x, s, seed)
  return core.add(x, core.rng(seed):normal(0, s, x.shape))
end

describe("mutual information", function()
  it("of a variable with itself is 1", function()
    for _, bins in ipairs { 2, 7, 20, 64 } do
      local v = uniform(N, 3, 1)
      local m = metrics.mim(v, v, { bins = bins })
      for k = 1, 3 do near(1, m:get(k, k), 1e-6, "diagonal") end
    end
  end)

  it("of independent uniforms is its bias, about 19² / (2 N ln 20)", function()
    local v = uniform(N, 4, 2)
    local m = metrics.mim(v, v)
    local expected = 19 * 19 / (2 * N * math.log(20))
    for i = 1, 4 do
      for j = 1, 4 do
        if i ~= j then near(expected, m:get(i, j), 0.0012, "off the diagonal") end
      end
    end
    near(1 - expected, metrics.mig(m), 0.001, "MIG of (V, V)")
  end)

  it("gives the entropy of v: ln 20 for a uniform", function()
    local v = uniform(N, 1, 3)
    near(math.log(20), metrics.entropy(v)[1], 0.003)
  end)

  it("does not change when z is stretched, moved or turned round", function()
    local v = core.tensor { { 0 }, { 1 }, { 2 }, { 3 }, { 4 }, { 5 }, { 6 }, { 7 }, { 7 }, { 0 }, { 3 }, { 3 },
      { 1 }, { 2 }, { 6 }, { 5 } }
    local m = metrics.mim(v, v, { bins = 4 })
    assert.are.equal(m:item(), metrics.mim(core.add(core.mul(v, -8), 16), v, { bins = 4 }):item())
  end)

  it("of two dependent coins is what a hand computes", function()
    -- p(1, 1) = p(2, 2) = 3/8, else 1/8: ln 2 + 3/4 ln 3/8 + 1/4 ln 1/8 + ln 2, over ln 2
    local rows = {}
    for _, c in ipairs { { 1, 1, 3 }, { 2, 2, 3 }, { 1, 2, 1 }, { 2, 1, 1 } } do
      for _ = 1, c[3] do rows[#rows + 1] = { c[1], c[2] } end
    end
    local z, v = {}, {}
    for i, r in ipairs(rows) do z[i], v[i] = { r[1] }, { r[2] } end
    local expected = (2 * math.log(2) + 0.75 * math.log(3 / 8) + 0.25 * math.log(1 / 8)) / math.log(2)
    near(expected, metrics.mim(z, v, { bins = 2 }):item(), 1e-6)
    near(expected, metrics.mim(z, v, { levels = { 2 }, z_levels = { 2 } }):item(), 1e-6)
  end)

  it("of a uniform factor known with an error is what the error allows", function()
    local v = uniform(N, 1, 4)
    near(0.72, metrics.mim(noisy(v, 0.02, 5), v):item(), 0.01, "2% of the range")
    near(0.53, metrics.mim(noisy(v, 0.05, 6), v):item(), 0.01, "5% of the range")
  end)

  it("agrees with numpy.histogram2d", function()
    local expected = dofile "spec/fixtures/metrics.lua"
    local u = {}
    for _, p in ipairs { 2, 3, 5, 7, 11, 13 } do
      u[p] = {}
      for i = 1, expected.samples do
        local x = i * math.sqrt(p)
        u[p][i] = x - math.floor(x)
      end
    end
    local z, v = {}, {}
    for i = 1, expected.samples do
      v[i] = { u[2][i], 10 * u[3][i] - 4, math.floor(3 * u[5][i]) + 1 }
      z[i] = { u[2][i] + 0.1 * u[7][i], u[3][i] * u[3][i] + 0.5 * u[2][i], 100 * u[5][i] + 20 * u[11][i], u[13][i] }
      for k, x in ipairs(z[i]) do z[i][k] = single(x) end
      for k, x in ipairs(v[i]) do v[i][k] = single(x) end
    end
    for _, bins in ipairs { 20, 7 } do
      local m = metrics.mim(z, v, { bins = bins, levels = { [3] = 3 } })
      local entropy = metrics.entropy(v, { bins = bins, levels = { [3] = 3 } })
      near_matrix(expected[bins].mim, m, 1e-6)
      for j, h in ipairs(expected[bins].entropy) do near(h, entropy[j], 1e-6) end
      near(expected[bins].mig, metrics.mig(m), 1e-6)
    end
  end)

  it("is the same for any number of threads", function()
    local before = core.threads()
    local v = uniform(N, 5, 7)
    local z = noisy(v, 0.1, 8)
    local a = metrics.mim(z, v):totable()
    core.threads(before == 1 and 2 or 1)
    local b = metrics.mim(z, v):totable()
    core.threads(before)
    assert.are.same(a, b)
  end)

  it("counts a constant column of z as no information when asked", function()
    local v = uniform(1000, 2, 9)
    local z = core.zeros(1000, 2)
    local m = metrics.mim(z, v, { constant = "zero" })
    assert.are.same({ { 0, 0 }, { 0, 0 } }, m:totable())
    assert.are.equal(0, (metrics.mig(m)))
  end)

  it("is never negative nor above 1", function()
    local v = core.rng(10):normal { 400, 6 }
    for _, row in ipairs(metrics.mim(core.rng(11):normal { 400, 6 }, v):totable()) do
      for _, x in ipairs(row) do assert.is_true(x >= 0 and x <= 1) end
    end
  end)
end)

describe("mutual information gap", function()
  it("is the mean over columns of the gap between the two largest", function()
    local gap, each = metrics.mig { { 0.9, 0.1, 0 }, { 0.2, 0.5, 0 }, { 0, 0.4, 0.25 } }
    near(0.7, each[1], 1e-6)
    near(0.1, each[2], 1e-6)
    near(0.25, each[3], 1e-6)
    near(0.35, gap, 1e-6)
    near(0, (metrics.mig { { 0.5 }, { 0.5 } }), 1e-6)
    near(0.5, (metrics.mig { { 0.5 } }), 1e-6)
  end)

  it("of the box's parameters themselves is 0.824", function()
    local v = box_prior(N, 12)
    local m = metrics.mim(v, v)
    near(0.824, metrics.mig(m), 0.005)
    assert.is_true(m:get(1, 3) > 0.1 and m:get(1, 4) < 0.01) -- w tells of x, not of y
  end)

  it("refuses what is no such matrix", function()
    assert.has_error(function() metrics.mig { { 3, 4 } } end,
      "mig: takes a mutual information matrix with entries in [0, 1]; (1, 1) is 3")
  end)
end)

describe("chance and interval", function()
  local v = uniform(2000, 2, 20)
  local z = noisy(v, 0.05, 21)

  it("shuffling leaves the bias", function()
    local c = metrics.chance(z, v, { repeats = 5 })
    near(19 * 19 / (2 * 2000 * math.log(20)), c.mim:get(1, 1), 0.006)
    assert.is_true(c.mig < 0.01 and c.mig_std < 0.01)
    assert.are.same(c.mim:totable(), metrics.chance(z, v, { repeats = 5 }).mim:totable())
  end)

  it("the interval holds the estimate and narrows with N", function()
    local m = metrics.mim(z, v)
    local r = metrics.interval(z, v, { repeats = 50 })
    assert.is_true(r.mig[1] < metrics.mig(m) and metrics.mig(m) < r.mig[2])
    assert.is_true(r.low:get(1, 1) < m:get(1, 1) and m:get(1, 1) < r.high:get(1, 1))
    local w = uniform(8000, 2, 22)
    local four = metrics.interval(noisy(w, 0.05, 23), w, { repeats = 50 })
    near(0.5, (four.mig[2] - four.mig[1]) / (r.mig[2] - r.mig[1]), 0.2, "ratio of the widths")
  end)
end)

describe("rmse", function()
  it("is in units, and as a share of the range", function()
    local a, r = metrics.rmse({ { 1, 10 }, { 4, 30 } }, { { 0, 10 }, { 5, 20 } }, { low = { 0, 0 }, high = { 10, 50 } })
    near(1, a[1], 1e-6)
    near(math.sqrt(50), a[2], 1e-6)
    near(0.1, r[1], 1e-6)
    near(math.sqrt(50) / 50, r[2], 1e-6)
  end)

  it("goes the shorter way round", function()
    local a = metrics.rmse({ { 0.1 }, { 6.2 } }, { { 6.2 }, { 0.1 } }, { period = { 2 * math.pi } })
    near(2 * math.pi - 6.1, a[1], 1e-6)
  end)

  it("of a log scale is a share of the decades", function()
    local _, r = metrics.rmse({ { 10 }, { 1000 } }, { { 100 }, { 100 } }, { names = { "R" }, log = { R = true },
      low = { R = 10 }, high = { R = 1000 } })
    near(0.5, r[1], 1e-6)
  end)
end)

describe("resimulation", function()
  it("is 1 for the outputs themselves and 0 for their mean", function()
    local x = core.tensor { { 0, 1 }, { 2, 3 }, { 4, 8 } }
    near(1, metrics.resimulation(x, x), 1e-6)
    near(0, metrics.resimulation(x, core.tensor { { 2, 4 }, { 2, 4 }, { 2, 4 } }), 1e-6)
    near(1 - 3 / 34, metrics.resimulation(x, core.tensor { { 1, 1 }, { 2, 4 }, { 4, 7 } }), 1e-6)
  end)

  it("adds up over batches", function()
    local residual = require "simvae.metrics.support.residual"
    local x, y = core.rng(30):normal(0.9, 0.3, { 60, 1, 8, 8 }), core.rng(31):normal(0.9, 0.3, { 60, 1, 8, 8 })
    local r = residual.new()
    local xs, ys = x:totable(), y:totable()
    for from = 1, 60, 20 do
      r:add(core.tensor { table.unpack(xs, from, from + 19) }, core.tensor { table.unpack(ys, from, from + 19) })
    end
    near(metrics.resimulation(x, y), r:r2(), 1e-5)
  end)

  it("has no value where all outputs are the same", function()
    assert.is_nil(metrics.resimulation(core.ones(4, 3), core.zeros(4, 3)))
  end)
end)

describe("bad input", function()
  local v = uniform(500, 2, 40)

  local function raises(pattern, f, ...)
    local ok, message = pcall(f, ...)
    assert.is_false(ok)
    assert.is_truthy(message:find(pattern, 1, true), message)
  end

  local function with(value, i, j)
    local t = v:clone()
    t:set(value, i, j)
    return t
  end

  it("names the column", function()
    local names = { "w", "h" }
    raises("column 2 ('h') of v is not finite at sample 7", metrics.mim, v, with(0 / 0, 7, 2), { names = names })
    raises("column 1 ('w') of z is not finite at sample 3", metrics.mim, with(math.huge, 3, 1), v, { names = names })
    raises("column 1 ('w') of v is constant", metrics.mim, v, core.zeros(500, 2), { names = names })
    raises("column 1 of z is constant", metrics.mim, core.zeros(500, 2), v)
    raises("column 2 ('h') of v has more different values than its 3 classes", metrics.mim, v, v,
      { names = names, levels = { h = 3 } })
    raises("column 2 ('h') of v is categorical and needs its number of classes", metrics.mim, v, v,
      { names = names, levels = { h = true } })
    raises("did you mean 'h'", metrics.mim, v, v, { names = names, levels = { hh = 3 } })
    raises("column 2 ('h') of z is not finite at sample 9", metrics.rmse, with(0 / 0, 9, 2), v, { names = names })
    raises("column 1 of v has no range", metrics.rmse, v, core.zeros(500, 2))
  end)

  it("says what would do", function()
    raises("399 samples are too few for the 400 cells of 20 bins", metrics.mim, uniform(399, 1, 1), uniform(399, 1, 2))
    raises("bins = 19", metrics.mim, uniform(399, 1, 1), uniform(399, 1, 2))
    raises("z has 500 samples, v has 499", metrics.mim, v, uniform(499, 2, 1))
    raises("did you mean 'bins'", metrics.mim, v, v, { bin = 3 })
    raises("z takes a tensor of shape (samples, columns); got 3", metrics.mim, 3, v)
    raises("v takes a tensor of shape (samples, columns); got (2, 2, 2)", metrics.mim, v, core.zeros(2, 2, 2))
    raises("z has 2 columns, v has 1", metrics.rmse, v, uniform(500, 1, 1))
    raises("sv.metrics.mii: there is no such metric; did you mean 'mig'", function() return metrics.mii end)
  end)
end)
