local sv = require "simvae"
local helper = require "spec.helper"

describe("random numbers", function()
  it("are Philox4x32-10", function()
    -- the known answer of Random123 (Salmon et al. 2011) for counter 0 and key 0
    local words = { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 }
    local rng = sv.rng(0)
    for i = 1, 3, 2 do
      local expected = (((words[i] << 21) | (words[i + 1] >> 11)) + 0.5) * 2.0 ^ -53
      assert.equal(expected, rng:uniform())
    end
  end)

  it("have the moments of their distributions", function()
    local rng = sv.rng(11)
    local u, n = rng:uniform { 200000 }, rng:normal(2, 3, { 200000 })
    assert.near(0.5, sv.mean(u):item(), 0.003)
    assert.near(1 / 12, sv.var(u):item(), 0.001)
    assert.near(2, sv.mean(n):item(), 0.03)
    assert.near(9, sv.var(n):item(), 0.1)
    local z = (n - 2) / 3
    assert.near(0, sv.mean(z * z * z):item(), 0.05) -- no skew
    assert.near(3, sv.mean(z * z * z * z):item(), 0.1) -- a normal's kurtosis
  end)

  it("are the same one by one and many at once, for any number of threads", function()
    local a, b = sv.rng(5), sv.rng(5)
    local list = {}
    for i = 1, 100 do list[i] = a:uniform(3, 4) end
    local before = sv.threads()
    sv.threads(3)
    local many = b:uniform(3, 4, { 100 })
    sv.threads(before)
    assert.near(0, sv.max(sv.abs(many - sv.tensor(list))):item(), 1e-6)
  end)

  it("differ between streams and seeds, and go on from a state", function()
    assert.not_equal(sv.rng(1):at(1):uniform(), sv.rng(1):at(2):uniform())
    assert.not_equal(sv.rng(1):uniform(), sv.rng(2):uniform())
    local rng = sv.rng(9)
    rng:normal { 7 }
    local seed, stream, next_draw = rng:state()
    local expected = rng:uniform()
    assert.equal(expected, sv.rng(0):restore(seed, stream, next_draw):uniform())
  end)

  it("permute, choose and count", function()
    local p = sv.rng(1):permutation(50):totable()
    table.sort(p)
    for i = 1, 50 do assert.equal(i, p[i]) end
    local seen = {}
    local rng = sv.rng(2)
    for _ = 1, 200 do seen[rng:integer(1, 3)] = true end
    assert.same({ true, true, true }, seen)
    assert.equal("b", sv.rng(1):choice { "b" })
  end)

  it("of the session's stream are those of a generator, go on from call to call and start again by sv.seed", function()
    sv.seed(5)
    local u, n, one = sv.rand(2, 3), sv.randn { 4 }, sv.rand()
    local rng = sv.rng(5)
    assert.same(rng:uniform({ 2, 3 }):totable(), u:totable())
    assert.same(rng:normal({ 4 }):totable(), n:totable())
    assert.equal(rng:uniform(), one)
    sv.seed(5)
    assert.same(u:totable(), sv.rand(2, 3):totable())
    assert.same({ 0, 3 }, { sv.rand(0, 3).shape[1], sv.randn(0, 3).shape[2] })
  end)

  it("of the session's stream are neither drawn by the library nor by the function of a simulator", function()
    local sim = sv.simulator { name = "dot", output = { 1 }, params = { { name = "a", low = 0, high = 1 } },
      simulate = function(z, out) out[1] = z.a end }
    sv.seed(2)
    local first = sv.rand(3)
    sv.seed(2)
    sv.simulate(sim, 8, sv.rng(1))
    assert.same(first:totable(), sv.rand(3):totable())
    local drawing = sv.simulator { name = "drawing", output = { 1 }, params = { { name = "a", low = 0, high = 1 } },
      simulate = function(_, out) out[1] = sv.rand() end }
    assert.has_error(function() sv.simulate(drawing, 8, sv.rng(1)) end)
  end)

  it("of the session's stream take whole numbers alone", function()
    for text, f in pairs {
      ["rand: shape must be at least 0; got %-1"] = function() sv.rand(2, -1) end,
      ["rand: shape takes a whole number; got 2.5"] = function() sv.rand { 2.5 } end,
      ["randn: shape takes a whole number; got nil"] = function() sv.randn(nil) end,
      ["seed: n takes a whole number; got \"1\""] = function() sv.seed "1" end,
    } do
      local ok, message = pcall(f)
      assert.is_false(ok)
      assert.matches(text, message)
    end
  end)
end)

describe("many random numbers", function()
  -- Box and Muller by libm.
  local function normal(u, v) return math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v) end

  it("are normal as by libm", function()
    local uniform, rng, worst = sv.rng(8), sv.rng(8), 0
    for _ = 1, 20000 do
      local expected = normal(uniform:uniform(), uniform:uniform())
      worst = math.max(worst, math.abs(rng:normal() - expected) / math.max(1, math.abs(expected)))
    end
    assert.is_true(worst < 4e-15, tostring(worst))
  end)

  it("are those drawn one by one, from any place on", function()
    for _, before in ipairs { 0, 1, 6 } do
      for _, n in ipairs { 1, 2, 63, 64, 129, 5001 } do
        for _, kind in ipairs { "uniform", "normal" } do
          local one, many, expected = sv.rng(3), sv.rng(3), {}
          for _ = 1, before do assert.equal(one:uniform(), many:uniform()) end
          for i = 1, n do expected[i] = one[kind](one, -1, 2) end
          assert.same(sv.tensor(expected):totable(), many[kind](many, -1, 2, { n }):totable())
          assert.equal(one:uniform(), many:uniform())
        end
      end
    end
  end)

  it("have the same bits at every CPU level", function()
    local script = [[local sv = require "simvae"
      local r = sv.rng(7)
      io.write(require "simvae.core".kernel(), "\n")
      for _, t in ipairs { r:uniform { 999 }, r:normal { 999 }, sv.dropout(r:normal { 999 }, 0.3, 5) } do
        for _, v in ipairs(t:totable()) do io.write(string.format("%a ", v)) end
      end]]
    local digits, levels = {}, 0
    for _, level in ipairs { "portable", "avx2", "avx512" } do
      local out, code = helper.run("SV_KERNEL=" .. level .. " " .. helper.lua_command("-e", script))
      if code == 0 then -- a level of this CPU
        local name, rest = out:match "^(%w+)\n(.*)$"
        assert.equal(level, name)
        levels, digits[#digits + 1] = levels + 1, rest
        assert.equal(digits[1], rest, level)
      end
    end
    assert.is_true(levels >= 1)
  end)

  it("drop a share of the numbers, by words of one stream", function()
    local x = sv.ones(100000)
    local y = sv.dropout(x, 0.3, 5, 2)
    assert.near(0.7, 0.7 * sv.mean(y):item(), 0.005)
    assert.same(sv.slice(y, 1, 1, 1001):totable(), sv.dropout(sv.ones(1001), 0.3, 5, 2):totable())
  end)
end)
