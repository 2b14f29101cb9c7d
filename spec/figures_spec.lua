local core = require "simvae.core"
require "simvae.tensor"
local figures = require "simvae.figures"
local io_of = require "simvae.io"
local palette = require "simvae.figures.support.palette"

local folder

setup(function()
  folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -p '" .. folder .. "'"))
end)

teardown(function() os.execute("rm -rf '" .. folder .. "'") end)

local function path(name) return folder .. "/" .. name .. ".png" end

local function slurp(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local has_gnuplot = os.execute "command -v gnuplot >/dev/null 2>&1" == true

-- What a chart returns: its path, or, without gnuplot, what to install.
local function drawn(name, ok, message)
  if not has_gnuplot then
    assert.are.equal("gnuplot is missing: apt-get install gnuplot-nox", message)
    return
  end
  assert.are.equal(path(name), ok, message)
  local picture = assert(io_of.load_png(path(name)))
  assert.is_true(picture.shape[2] > 100 and picture:mean():item() < 0.999) -- not blank
  return picture
end

local rng = core.rng(1)
local v = rng:uniform(0, 10, { 600, 3 })
local z = core.add(core.mul(v, 0.5), rng:normal(0, 0.1, { 600, 3 }))
local names, units = { "w", "it's_h", "x" }, { "px", "", "ohm" }

describe("pictures", function()
  it("a grid holds its images, enlarged, where they belong", function()
    local a, b = core.zeros(2, 1, 4, 4), core.full(0.5, 2, 3, 4, 4)
    assert.are.equal(path "grid", figures.grid(path "grid", { a, b }, { scale = 2 }))
    local p = assert(io_of.load_png(path "grid"))
    assert.are.same({ 3, 2 * (8 + 2) + 2 + 20, 2 * (8 + 2) + 2 + 20 }, p.shape)
    for r = 0, 7 do
      assert.are.equal(0, p:get(1, 13 + r, 13)) -- margin 10, line 2
      assert.are.equal(0, p:get(3, 13 + r, 13 + 10))
      assert.is_true(math.abs(p:get(2, 23 + r, 13) - 0.5) < 0.01)
    end
    assert.is_true(math.abs(p:get(1, 11, 11) - 0.8) < 0.01)
    assert.are.equal(1, p:get(1, 1, 1))
  end)

  it("labels take room on the left and leave ink", function()
    local a = core.ones(3, 1, 16, 16)
    assert(figures.grid(path "labels", { a, a }, { scale = 2, labels = { "S(z)", "G(E(x))" } }))
    local p = assert(io_of.load_png(path "labels"))
    local without = 3 * (32 + 2) + 2 + 20
    assert.is_true(p.shape[3] > without + 40)
    assert.is_true(core.slice(p, 3, 1, p.shape[3] - without):mean():item() < 0.99)
  end)

  it("the worst samples come first", function()
    local x, y = core.zeros(5, 1, 8, 8), core.zeros(5, 1, 8, 8)
    y[4], y[2] = 1, 0.5
    local ok, order = figures.worst(path "worst", x, y, { count = 2 })
    assert.are.equal(path "worst", ok)
    assert.are.same({ 4, 2 }, order)
  end)

  it("a traversal moves one parameter, and an animation comes beside it", function()
    local seen = {}
    local model = {
      simulator = { params = { { name = "a", low = 0, high = 4, unit = "px" },
        { name = "b", low = 1, high = 100, scale = "log" }, { name = "k", levels = 3 }, { name = "p", low = 0, high = 6,
          period = 6 } } },
      decode = function(_, t)
        for _, row in ipairs(t:totable()) do seen[#seen + 1] = row end
        return core.ones(t.shape[1], 1, 8, 8)
      end,
    }
    local ok, moving = figures.traversals(path "traversals", model, { steps = 3, frames = 4 })
    assert.are.equal(path "traversals", ok)
    assert.are.equal(folder .. "/traversals.anim.png", moving)
    assert.is_truthy(slurp(moving):find("acTL", 1, true))
    assert.are.same({ { 0, 10, 2, 3 }, { 2, 10, 2, 3 }, { 4, 10, 2, 3 } }, { seen[2], seen[3], seen[4] })
    local function round(row) for i, x in ipairs(row) do row[i] = math.floor(x + 0.5) end return row end
    assert.are.same({ { 2, 1, 2, 3 }, { 2, 10, 2, 3 }, { 2, 100, 2, 3 } }, { round(seen[5]), round(seen[6]),
      round(seen[7]) })
    assert.are.same({ { 2, 10, 1, 3 }, { 2, 10, 2, 3 }, { 2, 10, 3, 3 } }, { seen[8], seen[9], seen[10] })
    assert.are.same({ { 2, 10, 2, 0 }, { 2, 10, 2, 2 }, { 2, 10, 2, 4 } }, { seen[11], seen[12], seen[13] })
  end)

  it("cannot be written where there is no directory", function()
    local ok, message = figures.grid(folder .. "/none/grid.png", { core.ones(1, 1, 8, 8) })
    assert.is_nil(ok)
    assert.is_truthy(message:find("none", 1, true))
  end)

  it("refuse rows that do not fit", function()
    assert.has_error(function() figures.grid(path "x", { core.ones(2, 1, 8, 8), core.ones(3, 1, 8, 8) }) end)
    assert.has_error(function() figures.grid(path "x", {}) end)
    assert.has_error(function() figures.worst(path "x", core.ones(2, 3), core.ones(2, 3)) end)
  end)
end)

describe("charts", function()
  it("heat maps hold their values", function()
    local m = core.tensor { { 0.9, 0.1 }, { 0, 1 } }
    drawn("mim", figures.heatmap(path "mim", { m, m }, { labels = { "w", "h" }, titles = { "model", "truth" } }))
    local data = slurp(folder .. "/mim.dat")
    assert.is_truthy(data:find("# model", 1, true))
    assert.is_truthy(data:find("\n2 1 0.100000 ", 1, true)) -- factor 2, latent 1
    drawn("many", figures.heatmap(path "many", { { m, m }, { core.ones(3, 1) } }, { labels = { { "a", "b" }, { "c" } },
      titles = { "one", "two" }, rows = { "model", "truth" } }))
  end)

  it("the scatter's fit is the regression's", function()
    local x = core.tensor { { 0 }, { 1 }, { 2 }, { 3 } }
    local y = core.tensor { { 1 }, { 3 }, { 4 }, { 8 } }
    local ok, fit = figures.scatter(path "scatter", x, y, { "w" }, { "px" })
    drawn("scatter", ok, fit)
    local said = slurp(folder .. "/scatter.dat") -- by hand: slope 11/5, R² = 11² / (5 * 26)
    assert.is_truthy(said:find("slope 2.2, intercept 0.7, R2 0.930769", 1, true))
    ok, fit = figures.scatter(path "log", core.exp(x), core.exp(core.mul(x, 2)), { "R" }, {}, { log = { R = true } })
    drawn("log", ok, fit)
    assert.is_truthy(slurp(folder .. "/log.dat"):find("slope 2, ", 1, true))
  end)

  it("errors are histograms whose sums are the samples", function()
    drawn("errors", figures.errors(path "errors", v, z, names, units, { period = { 10 } }))
    local sum, panels = 0, 0
    for line in io.lines(folder .. "/errors.dat") do
      if line:find "RMSE" then panels = panels + 1 end
      if panels == 1 then sum = sum + tonumber(line:match "^%S+ (%S+)$" or "0") end
    end
    assert.are.equal(3, panels)
    assert.is_true(sum > 98 and sum <= 100.001)
  end)

  it("learning curves are read from a log", function()
    local log = assert(io.open(folder .. "/log.csv", "w"))
    log:write "step,stage,loss,lr,samples/s,seconds\n"
    for _, stage in ipairs { "decoder", "encoder" } do
      for i = 1, 100 do log:write(string.format("%d,%s,%g,0.001,100,%d\n", i, stage, 1 / i, i)) end
    end
    log:write "101,encoder,nan,0.001,100,1\n"
    log:close()
    drawn("curves", figures.learning_curves(path "curves", folder .. "/log.csv"))
    local _, rows = slurp(folder .. "/curves.dat"):gsub("\n[%d.]+ [%d.e-]+ [%d.e-]+", "")
    assert.are.equal(200, rows)
    drawn("single", figures.learning_curves(path "single", { { step = 40, loss = 0.5, stage = "decoder" } }))
    drawn("negative", figures.learning_curves(path "negative", { { step = 1, loss = -1 }, { step = 2, loss = -2 } }))
    assert.is_nil((figures.learning_curves(path "none", {})))
    assert.is_nil((figures.learning_curves(path "none", folder .. "/nowhere.csv")))
  end)

  it("vector outputs are traversed as curves", function()
    local model = { simulator = { params = { { name = "a", low = 0, high = 1 } } },
      decode = function(_, t) return core.add(core.arange(1, 5), t) end }
    drawn("vector", figures.traversals(path "vector", model, { steps = 3 }))
    assert.is_truthy(slurp(folder .. "/vector.dat"):find("# a = 0.5\n# output value\n1 1.5\n2 2.5", 1, true))
  end)

  it("leave their data where gnuplot is missing", function()
    -- another process, whose PATH has a shell and nothing else
    local script = folder .. "/missing.lua"
    local file = assert(io.open(script, "w"))
    file:write(string.format([[
      package.path, package.cpath = %q, %q
      local core = require "simvae.core"
      print(require "simvae.figures".heatmap(%q, { core.ones(2, 2) }))]], package.path, package.cpath, path "missing"))
    file:close()
    local lua = assert(io.popen "command -v lua5.4 lua54 lua"):read "l"
    os.execute(string.format("mkdir -p '%s/bin' && ln -sf \"$(command -v sh)\" '%s/bin/sh'", folder, folder))
    local pipe = assert(io.popen(string.format("PATH='%s/bin' '%s' '%s' 2>&1", folder, lua, script)))
    local said = pipe:read "a"
    pipe:close()
    assert.is_truthy(said:find("gnuplot is missing: apt-get install gnuplot-nox", 1, true), said)
    assert.is_truthy(slurp(folder .. "/missing.dat"):find("1 1 1.000000", 1, true))
    assert.is_nil(io.open(path "missing"))
  end)

  it("refuse what does not belong together", function()
    assert.has_error(function() figures.scatter(path "x", v, core.ones(600, 2)) end)
    assert.has_error(function() figures.heatmap(path "x", {}) end)
    assert.has_error(function() figures.heatmap(path "x", { core.ones(2, 2) }, { label = {} }) end,
      "heatmap: unknown option 'label'; did you mean 'labels'?")
    assert.has_error(function() return figures.heatmaps end)
  end)
end)

describe("the palette", function()
  it("grows darker in equal steps", function()
    local function lightness(c) -- CIELAB's L of an sRGB colour, here by hand from IEC 61966-2-1
      local y = 0
      for i, weight in ipairs { 0.2126, 0.7152, 0.0722 } do
        local s = (c >> (8 * (3 - i)) & 255) / 255
        y = y + weight * (s <= 0.04045 and s / 12.92 or ((s + 0.055) / 1.055) ^ 2.4)
      end
      return 116 * y ^ (1 / 3) - 16
    end
    for i = 1, 20 do
      local step = lightness(palette.ramp((i - 1) / 20)) - lightness(palette.ramp(i / 20))
      assert.is_true(math.abs(step - 3.5) < 1.6, string.format("step %d: %.2f", i, step))
    end
  end)
end)
