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
end)
