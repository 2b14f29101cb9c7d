local helper = require "spec.helper"
local sv = require "simvae"
local core = require "simvae.core"
local box = require "simvae.simulators.box"

-- A simulator of two parameters that most specs can share.
local function line(change)
  local t = {
    name = "line",
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10, unit = "V" } },
    output = { 3 },
    simulate = function(z, out)
      for i = 1, 3 do out[i] = z.a * i + z.b end
    end,
  }
  for k, v in pairs(change or {}) do t[k] = v end
  return t
end

local raises = helper.raises

describe("the simulator contract", function()
  it("runs a Lua function on given parameters", function()
    local s = sv.simulator(line())
    assert.same({ { 3, 4, 5 }, { 6.5, 6, 5.5 } }, s:run(sv.tensor { { 1, 2 }, { -0.5, 7 } }):totable())
  end)

  it("takes a returned table or tensor as the output", function()
    local s = sv.simulator(line { simulate = function(z) return { z.a, z.b, 0 } end })
    assert.same({ { 0.5, 2, 0 } }, s:run(sv.tensor { { 0.5, 2 } }):totable())
  end)

  it("draws an independent uniform prior within the bounds", function()
    local z = sv.simulator(line()):sample(4000, sv.rng(1))
    local mean = sv.mean(z, 1):totable()
    local var = sv.var(z, 1):totable()
    assert.near(0, mean[1], 0.05)
    assert.near(5, mean[2], 0.25)
    assert.near(4 / 12, var[1], 0.02)     -- (high - low)^2 / 12
    assert.near(100 / 12, var[2], 0.5)
    assert.is_true(sv.min(z):item() >= -1)
  end)

  it("draws log-uniformly on a log scale and whole numbers for categories", function()
    local s = sv.simulator {
      name = "s", output = { 1 }, simulate = function(_, out) out[1] = 0 end,
      params = { { name = "r", low = 1, high = 10000, scale = "log" }, { name = "c", levels = 3 } },
    }
    local rows = s:sample(3000, sv.rng(2)):totable()
    local below, seen = 0, { 0, 0, 0 }
    for _, row in ipairs(rows) do
      if row[1] < 100 then below = below + 1 end
      seen[row[2]] = seen[row[2]] + 1
    end
    assert.near(0.5, below / 3000, 0.03)
    for c = 1, 3 do assert.near(1 / 3, seen[c] / 3000, 0.03) end
  end)

  it("gives sample i of a seed whatever the size of the batches", function()
    local a, b = sv.rng(5), sv.rng(5)
    local whole = box:sample(10, a):totable()
    local parts = box:sample(3, b):totable()
    for _, row in ipairs(box:sample(7, b):totable()) do parts[#parts + 1] = row end
    assert.same(whole, parts)
  end)

  it("names what is wrong in a declaration", function()
    raises("unknown option 'paramz'; did you mean 'params'", sv.simulator, { name = "x", paramz = {} })
    raises("low = 3, high = 2; low must be below high", sv.simulator,
      line { params = { { name = "a", low = 3, high = 2 } } })
    raises("finite high; got inf", sv.simulator, line { params = { { name = "a", low = 0, high = 1 / 0 } } })
    raises("finite low; got nan", sv.simulator, line { params = { { name = "a", low = -(0 / 0), high = 1 } } })
    raises("two parameters are named 'a'", sv.simulator,
      line { params = { { name = "a", low = 0, high = 1 }, { name = "a", low = 0, high = 1 } } })
    raises("log scale needs low > 0", sv.simulator,
      line { params = { { name = "a", low = 0, high = 1, scale = "log" } } })
    raises("output is {channels, height, width} or {n}", sv.simulator, line { output = { 3, 4 } })
    raises("unknown field 'hihg'; did you mean 'high'", sv.simulator,
      line { params = { { name = "a", low = 0, hihg = 1 } } })
  end)

  it("names the parameter that a prior draws outside its bounds", function()
    local s = sv.simulator(line { prior = function() return { a = 2, b = 1 } end })
    raises("the prior drew a = 2 %(draw 1%), outside its bounds %-1 to 1", s.sample, s, 3, sv.rng(1))
    s = sv.simulator(line { prior = function() return { a = 0 } end })
    raises("gave no number for 'b'", s.sample, s, 3, sv.rng(1))
  end)

  it("says which sample went wrong and with which parameters", function()
    local z = sv.tensor { { 0, 1 }, { 0.5, 2 } }
    local function run(f)
      local s = sv.simulator(line { simulate = f })
      return s.run, s, z
    end
    raises("sample 2 %(a = 0.5, b = 2%) raised: .*too steep", run(function(p, out)
      if p.a > 0 then error "too steep" end
      out[1] = 0
    end))
    raises("sample 1 .* returned nothing", run(function(_) end))
    raises("does not fit the output %(3,%)", run(function() return { 1, 2 } end))
    raises("sample 1 .* not finite, at element 3", run(function(_, out) out[3] = 0 / 0 end))
    raises("takes z of shape %(N, 2%): a, b", function() sv.simulator(line()):run(sv.zeros(4, 3)) end)
  end)
end)

describe("the box plotter", function()
  it("draws w h black pixels, whatever the place", function()
    -- away from the cross: coverage sums to the area by construction of the picture
    local x = box:run(sv.tensor { { 20, 10, 5, 8 }, { 20.5, 10.25, 30.1, 40.7 } })
    for n, area in ipairs { 200, 20.5 * 10.25 } do
      local red = x[n][1]  -- the cross is (0, 0, 1): black in red, over black
      assert.near(64 * 64 - area, sv.sum(red):item(), 1e-2)
    end
  end)

  it("has its origin at the lower left", function()
    local x = box:run(sv.tensor { { 10, 6, 0, 0 } })
    assert.equal(0, x:get(1, 1, 64, 1))   -- lowest row, first column
    assert.equal(0, x:get(1, 1, 59, 10))
    assert.equal(1, x:get(1, 1, 58, 10))
    assert.equal(1, x:get(1, 1, 64, 11))
  end)

  it("has a blue cross at its centre", function()
    local x = box:run(sv.tensor { { 20, 20, 20, 20 } })
    assert.is_true(x:get(1, 3, 64 - 30, 31) > 0.5)  -- blue
    assert.equal(0, x:get(1, 1, 64 - 30, 31))
    assert.equal(0, x:get(1, 3, 64 - 21, 22))       -- the rectangle's corner is black
  end)

  it("stays within the picture", function()
    for _, z in ipairs(box:sample(500, sv.rng(3)):totable()) do
      assert.is_true(z[1] + z[3] <= 64.0001 and z[2] + z[4] <= 64.0001)
    end
  end)

  it("is the same for any number of threads", function()
    local z = box:sample(50, sv.rng(4))
    local before = core.threads()
    core.threads(1)
    local a = box:run(z)
    core.threads(3)
    local b = box:run(z)
    core.threads(before)
    assert.equal(0, sv.sum(sv.abs(a - b)):item())
  end)
end)
