local sv = require "simvae"

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
