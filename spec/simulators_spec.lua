-- The built-in simulators, against Matplotlib's images, the published dSprites frames and areas.
local helper = require "spec.helper"
local core = require "simvae.core"
local files = require "simvae.io"
local prior = require "simvae.simulator.prior"
local names = { "box", "polygon", "fourier", "dsprites", "digits", "scene", "rlc" }

local sims = {}
for _, name in ipairs(names) do sims[name] = require("simvae.simulators." .. name) end
sims.rlc = sims.rlc { engine = "analytic" }

local function apply(map, row, sim)
  local z = {}
  for i, p in ipairs(sim.params) do z[i], z[p.name] = row[i], row[i] end
  local moved, list = map(z), {}
  for i, p in ipairs(sim.params) do list[i] = moved[p.name] end
  return list
end

describe("a built-in simulator", function()
  for _, name in ipairs(names) do
    it("is whole: " .. name, function()
      local sim = sims[name]
      assert.equal(name, sim.name)
      assert.is_string(sim.doc)
      local z = sim:sample(16, core.rng(3))
      local x = sim:run(z)
      assert.is_true(x:finite())
      assert.same({ 16, table.unpack(sim.output) }, x.shape)
      if #sim.output == 3 then
        assert.is_true(x:min():item() >= 0 and x:max():item() <= 1)
        assert.is_true(x:max():item() - x:min():item() > (name == "scene" and 0.8 or 0.9)) -- nothing is white there
      end
      -- a sample depends on its z alone
      assert.same(x[5]:totable(), sim:run { z[5]:totable() }[1]:totable())
      for _, p in ipairs(sim.params) do assert.is_true(p.low < p.high) end
    end)

    it("draws the same within its symmetry: " .. name, function()
      local sim = sims[name]
      if not sim.symmetry then return end
      local z = sim:sample(12, core.rng(4)):totable()
      for _, s in ipairs(sim.symmetry) do
        if not s.free then
          local moved, changed = {}, 0
          for i, row in ipairs(z) do
            moved[i] = apply(s.map, row, sim)
            for k = 1, #row do
              if math.abs(moved[i][k] - row[k]) > 1e-3 then changed = changed + 1 end
            end
          end
          local difference = (sim:run(z) - sim:run(moved)):abs():mean():item()
          assert.is_true(difference < 1e-3, s.name .. ": " .. difference)
          assert.is_true(changed > 0)
        end
      end
    end)
  end

  it("has a prior of dependent parameters, one draw or many: box", function()
    local box, rng, n = sims.box, core.rng(7), 40
    local z = prior.draw(box, n, 7, 100):totable()
    for s = 1, n do
      rng:rewind(99 + s)
      local w, h = rng:uniform(0, 64), rng:uniform(0, 64)
      local row = core.tensor { w, h, rng:uniform(0, 64 - w), rng:uniform(0, 64 - h) }:totable()
      assert.same(row, z[s])
      assert.same(row, core.tensor(box.prior(rng:rewind(99 + s))):totable())
    end
  end)

  it("has no options unless it is said so", function()
    assert.error_matches(function() sims.box { engine = 1 } end, "simulator 'box' has no options", 1, true)
    assert.error_matches(function() sims.dsprites { pth = "x" } end, "did you mean 'path'", 1, true)
  end)
end)

describe("pictures", function()
  for _, name in ipairs { "box", "polygon", "fourier" } do
    it("agree with Matplotlib's: " .. name, function()
      local z = assert(files.load_npy("spec/fixtures/render_" .. name .. "_z.npy"))
      local expected = assert(files.load_npy("spec/fixtures/render_" .. name .. ".npy")) * (1 / 255)
      local x = sims[name]:run(z)
      for i = 1, z.shape[1] do
        local difference = (x[i] - expected[i]):abs():mean():item()
        assert.is_true(difference < 0.01, i .. ": " .. difference)
      end
    end)
  end

  it("cover the area of a quadrilateral, crossed or not", function()
    local convex = { 10, 10, 50, 12, 45, 50, 8, 40 }
    local crossed = { 10, 10, 50, 10, 10, 40, 50, 40 } -- two triangles that meet in the middle
    local black = (1 - sims.polygon:run { convex, crossed })
    assert.near(0.5 * math.abs((45 - 10) * (40 - 12) - (8 - 50) * (50 - 10)), black[1]:sum():item(), 0.01)
    assert.near(2 * 0.5 * 40 * 15, black[2]:sum():item(), 0.01)
  end)

  it("cover the area of a stroke", function()
    local flat = core.zeros(1, 11)
    assert.near(1.5 * 64, (1 - sims.fourier:run(flat)):sum():item(), 0.01)
  end)

  it("of a rectangle cover its area and have a blue cross", function()
    local x = sims.box:run { { 20.5, 30.25, 10.25, 5.5 } }
    assert.near(64 * 64 - 20.5 * 30.25, x[1][1]:sum():item(), 0.01) -- red and green: white less the rectangle
    assert.is_true(x[1][3]:sum():item() > x[1][1]:sum():item() + 5)
  end)
end)

describe("dsprites", function()
  it("agrees with the published frames", function()
    local folder, none = helper.shared_data()
    if not folder then return pending(none) end
    local file <close> = assert(io.open(folder .. "/dsprites_frames.u8", "rb"))
    local frames = file:read "a"
    local place = { square = 1, ellipse = 2, heart = 3 }
    local z, of = {}, {}
    for line in io.lines(folder .. "/dsprites_frames.csv") do
      local shape, scale, turn, x, y = line:match "^%d+,(%a+),([%d.]+),(%d+),(%d+),(%d+)"
      if shape then
        of[#of + 1] = shape
        z[#z + 1] = { place[shape], tonumber(scale), turn * 2 * math.pi / 39, x / 31, y / 31 }
      end
    end
    assert.equal(160, #z)
    local x = sims.dsprites:run(z)
    local wrong, total = { square = 0, ellipse = 0, heart = 0 }, { square = 0, ellipse = 0, heart = 0 }
    for i = 1, #z do
      local picture = x[i][1]:totable()
      for r = 1, 64 do
        for c = 1, 64 do
          local true_value = frames:byte((i - 1) * 4096 + (r - 1) * 64 + c)
          if picture[r][c] ~= true_value then wrong[of[i]] = wrong[of[i]] + 1 end
        end
      end
      total[of[i]] = total[of[i]] + 4096
    end
    for shape, n in pairs(total) do assert.is_true(n > 0, shape) end
    assert.equal(0, wrong.square)
    assert.is_true(wrong.ellipse / total.ellipse < 0.002, wrong.ellipse .. " of " .. total.ellipse)
    assert.is_true(wrong.heart / total.heart < 0.002, wrong.heart .. " of " .. total.heart)
  end)

  it("draws its prior from the factor grid", function()
    local seen, off = {}, 0
    for _, row in ipairs(sims.dsprites:sample(2000, core.rng(5)):totable()) do
      for k, steps in ipairs { 0, 10, 39 / (2 * math.pi), 31, 31 } do
        if k > 1 then
          local place = (row[k] - sims.dsprites.params[k].low) * steps
          off = math.max(off, math.abs(math.floor(place + 0.5) - place))
        end
        seen[k] = seen[k] or {}
        seen[k][string.format("%.4f", row[k])] = true
      end
    end
    assert.is_true(off < 1e-4)
    for k, n in ipairs { 3, 6, 40, 32, 32 } do
      local count = 0
      for _ in pairs(seen[k]) do count = count + 1 end
      assert.equal(n, count)
    end
  end)

  it("is the data set where its file is given", function()
    local python, none = helper.python "numpy"
    if not python then return pending(none) end
    local folder = helper.temporary_folder()
    -- a data set of the published form: six columns of factors, pickled metadata, the last factor fastest
    local script = [[
import sys, numpy as np, itertools
grid = np.array(list(itertools.product([1.], [1., 2., 3.], [.5, 1.], [0., 2., 4.], [0., 1.], [0., .5, 1.])))
images = np.zeros((len(grid), 64, 64), np.uint8)
images[np.arange(len(grid)), np.arange(len(grid)) // 64, np.arange(len(grid)) % 64] = 1
np.savez_compressed(sys.argv[1], imgs=images, latents_values=grid, latents_classes=grid.astype(int),
                    metadata=np.array({"a": [1]}, dtype=object))]]
    assert.equal("", (helper.run(helper.quote(python) .. " -c " .. helper.quote(script) .. " " .. folder .. "/d.npz")))
    local data = assert(sims.dsprites { path = folder .. "/d.npz" })
    assert.equal(108, data.rows)
    assert.same({ 1, 64, 64 }, data.output)
    assert.same({ 1, 2, 3 }, data.grid[1])
    local x = data:run { { 2, 1, 2, 1, 0.5 }, { 2.1, 0.9, 2.2, 0.8, 0.6 } }
    local place = ((((1 * 2 + 1) * 3 + 1) * 2 + 1) * 3 + 1) -- from 0
    assert.equal(1, x:get(1, 1, place // 64 + 1, place % 64 + 1))
    assert.equal(1, x[1]:sum():item())
    assert.same(x[1]:totable(), x[2]:totable())
    local z = data:sample(50, core.rng(1))
    assert.equal(50, data:run(z):sum():item())
    local none_there, message = sims.dsprites { path = folder .. "/missing.npz" }
    assert.is_nil(none_there)
    assert.matches("missing.npz: no such file", message, 1, true)
  end)
end)
