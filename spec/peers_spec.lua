-- Metrics of other papers: closed cases, and agreement with NumPy and scikit-learn.
local core = require "simvae.core"
require "simvae.tensor"
local metrics = require "simvae.metrics"
local expected = dofile "spec/fixtures/peers.lua"

local function near(wanted, got, tolerance, what)
  assert.is_true(math.abs(wanted - got) <= tolerance,
    string.format("%s: expected %.7g within %g, got %.7g", what or "value", wanted, tolerance, got))
end

local function weyl(p)
  local u = {}
  for i = 1, expected.samples do
    local x = i * math.sqrt(p)
    u[i] = x - math.floor(x)
  end
  return u
end

-- The matrices of spec/fixtures/make_peers.py.
local function fixture()
  local u, z, v = {}, {}, {}
  for _, p in ipairs { 2, 3, 5, 7, 11, 13 } do u[p] = weyl(p) end
  for i = 1, expected.samples do
    v[i] = { u[2][i], u[3][i], u[5][i] }
    z[i] = { u[2][i] + 0.2 * u[7][i], u[3][i] + 0.6 * u[5][i], u[5][i] ^ 2 + 0.3 * u[11][i], u[13][i] }
  end
  for i = 1, expected.samples do -- as NumPy saw them, in the double build too
    for _, row in ipairs { z[i], v[i] } do
      for k, x in ipairs(row) do row[k] = string.unpack("f", string.pack("f", x)) end
    end
  end
  return core.tensor(z), core.tensor(v)
end

local quick = { train = 1000, test = 1000 }

describe("peers' metrics", function()
  local v = core.rng(1):uniform { 3000, 3 }
  local noise = core.rng(2):uniform { 3000, 3 }
  local turned = core.concat({ core.slice(v, 2, 3, 3), core.slice(v, 2, 1, 2) }, 2) -- a permutation of the factors

  it("give the factors themselves, in any order and scale, 1", function()
    for _, z in ipairs { turned, core.add(core.mul(v, -3), 1) } do
      near(1, (metrics.sap(z, v)), 0.01, "SAP")
      near(1, metrics.dci(z, v).disentanglement, 1e-3, "D")
      near(1, metrics.dci(z, v).completeness, 1e-3, "C")
      near(1, metrics.dci(z, v).informativeness, 2e-3, "I")
      near(1, (metrics.modularity(z, v)), 0.001, "modularity")
      near(1, (metrics.explicitness(z, v)), 1e-5, "explicitness")
      near(1, (metrics.factor_vae(z, v, quick)), 0, "FactorVAE")
      near(1, metrics.beta_vae(z, v, quick), 0.002, "beta-VAE")
    end
  end)

  it("give noise its chance level", function()
    near(0, (metrics.sap(noise, v)), 0.01, "SAP")
    near(0, metrics.dci(noise, v).informativeness, 0.1, "I")
    assert.is_true(metrics.dci(noise, v).disentanglement < 0.1)
    near(0, (metrics.explicitness(noise, v)), 0.01, "explicitness")
    near(1 / 3, (metrics.factor_vae(noise, v, quick)), 0.05, "FactorVAE")
    near(1 / 3, metrics.beta_vae(noise, v, quick), 0.06, "beta-VAE")
  end)

  it("give a collapsed encoder nothing", function()
    local z = core.zeros(3000, 3)
    assert.are.equal(0, (metrics.sap(z, v)))
    assert.are.equal(0, metrics.dci(z, v).disentanglement)
    assert.are.equal(0, (metrics.modularity(z, v, { constant = "zero" })))
    assert.are.equal(0, (metrics.explicitness(z, v)))
    assert.are.equal(0, (metrics.factor_vae(z, v, quick)))
  end)

  it("agree with NumPy and scikit-learn", function()
    local z, w = fixture()
    near(expected.sap, (metrics.sap(z, w)), 1e-6, "SAP")
    near(expected.modularity, (metrics.modularity(z, w)), 1e-6, "modularity")
    near(expected.explicitness, (metrics.explicitness(z, w)), 1e-6, "explicitness")
    local d, c = metrics.dci.of(expected.matrix)
    near(expected.matrix_disentanglement, d, 1e-6, "D of a matrix")
    near(expected.matrix_completeness, c, 1e-6, "C of a matrix")
    local r = metrics.dci(z, w) -- its trees look for splits among 255 edges, scikit-learn's among all
    near(expected.trees.disentanglement, r.disentanglement, 0.01, "D")
    near(expected.trees.completeness, r.completeness, 0.01, "C")
    near(expected.trees.informativeness, r.informativeness, 0.005, "I")
  end)

  it("agree with scores from freshly drawn samples with a factor exactly fixed", function()
    local rng, rows, codes = core.rng(3), {}, {}
    for i = 1, 10000 do
      local a, b, c = rng:uniform(), rng:uniform(), rng:uniform()
      rows[i] = { a, b, c }
      local n = rng:uniform()
      codes[i] = { a + 2 * rng:uniform(), b + 0.8 * c + rng:uniform(), c - 0.7 * b + 1.5 * n, n }
    end
    near(expected.factor_vae, (metrics.factor_vae(codes, rows)), 0.03, "FactorVAE")
    near(expected.beta_vae, metrics.beta_vae(codes, rows), 0.03, "beta-VAE")
  end)

  it("take categorical factors by their classes", function()
    local rng, rows, codes = core.rng(4), {}, {}
    for i = 1, 2000 do
      local class = rng:integer(1, 3)
      rows[i] = { class, rng:uniform() }
      codes[i] = { class + rng:uniform(-0.3, 0.3), rows[i][2] }
    end
    local o = { levels = { kind = 3 }, names = { "kind", "size" } }
    local score, single = metrics.sap(codes, rows, o)
    near(1, single:get(1, 1), 0.001, "accuracy")
    near(1 / 3, single:get(2, 1), 0.05, "accuracy by chance")
    near((2 / 3 + 1) / 2, score, 0.05)
    local r = metrics.dci(codes, rows, o)
    near(1, r.each[1], 0.005, "accuracy")
    near(1, r.disentanglement, 0.01)
  end)

  it("are the same for any number of threads", function()
    local before = core.threads()
    local a = metrics.dci(noise, v).importance:totable()
    core.threads(before == 1 and 2 or 1)
    local b = metrics.dci(noise, v).importance:totable()
    core.threads(before)
    assert.are.same(a, b)
  end)

  it("name what is wrong", function()
    local function raises(pattern, f, ...)
      local ok, message = pcall(f, ...)
      assert.is_false(ok)
      assert.is_truthy(message:find(pattern, 1, true), message)
    end
    local constant = core.concat({ core.slice(v, 2, 1, 1), core.ones(3000, 1) }, 2)
    for _, name in ipairs { "sap", "dci", "explicitness", "factor_vae", "beta_vae" } do
      raises(name .. ": column 2 ('h') of v is constant", metrics[name], v, constant, { names = { "w", "h" } })
      raises(name .. ": z has 3000 samples, v has 10", metrics[name], v, core.ones(10, 2))
      raises(name .. ": column 1 of z is not finite", metrics[name], core.full(0 / 0, 3000, 1), v)
    end
    raises("modularity: column 2 of v is constant", metrics.modularity, v, constant)
    raises("modularity: needs at least two factors", metrics.modularity, v, core.slice(v, 2, 1, 1))
    raises("factor_vae: 100 samples are too few", metrics.factor_vae, noise:slice(1, 1, 100), v:slice(1, 1, 100))
    raises("did you mean 'trees'", metrics.dci, v, v, { tree = 3 })
  end)
end)
