-- Chains of models and simulators, against Bayes' rule by enumeration and by numerical integration.
local core = require "simvae.core"
local sv = require "simvae"

-- Asserts that f raises a message with this text.
local function raises(text, f) assert.error_matches(f, text, 1, true) end

-- A model of a class of `levels` (and a number `s`) whose encoder reads off its logits: x is (levels,).
local function reader(name, levels, t)
  t = t or {}
  local params = { { name = "kind", levels = levels, unit = t.unit }, { name = "s", low = 0, high = 1 } }
  local sim = sv.simulator { name = name, params = params, output = { levels }, prior = t.prior,
    simulate = function(z, out) for k = 1, levels do out[k] = k == z.kind and z.s or 0 end end }
  return sv.model { simulator = sim, posterior = "gaussian", loss = "mse", net = {
    decoder = sv.nn.func(function(code)
      return core.slice(code, 2, 1, levels) * ((core.slice(code, 2, levels + 1) + 1) / 2)
    end),
    encoder = sv.nn.func(function(x)
      local s = core.zeros(x.shape[1], 1)
      return core.concat({ x, s, core.zeros(x.shape[1], levels + 1) }, 2) -- means, then logarithms of spreads
    end),
  } }
end

local function softmax(logits)
  local total, list = 0, {}
  for k, v in ipairs(logits) do
    list[k] = math.exp(v)
    total = total + list[k]
  end
  for k, v in ipairs(list) do list[k] = v / total end
  return list
end

-- a + b as two digits to the base 3, tens 0 where there are none; 3 for a digit 0.
local function add_rule(prior)
  return sv.simulator { name = "add", params = { { name = "a", levels = 3 }, { name = "b", levels = 3 } },
    prior = prior, output = { 2 }, simulate = function(z, out)
      local sum = z.a + z.b
      out[1], out[2] = sum // 3, sum % 3 == 0 and 3 or sum % 3
    end }
end

local first, second = { 0.3, 1.5, -0.4 }, { -1, 0.2, 2 }
local tens, ones = { 2, 0.1, 0 }, { 0.5, 1, -2 }

-- Probabilities of all pairs: weights(a, b), normalised, as [3 (a - 1) + b].
local function enumerated(weight)
  local list, total = {}, 0
  for a = 1, 3 do
    for b = 1, 3 do
      list[#list + 1] = weight(a, b)
      total = total + list[#list]
    end
  end
  for i, w in ipairs(list) do list[i] = w / total end
  return list
end

local function assert_pairs(expected, p, n)
  local q = p:probabilities()
  for i, v in ipairs(expected) do assert.near(v, q:get(n or 1, (i - 1) // 3 + 1, (i - 1) % 3 + 1), 1e-5) end
end

describe("a chain of classes", function()
  local glyph = reader("glyph", 3)
  local chain = sv.chain { glyph, glyph, add_rule(), draw = { glyph, glyph } }

  it("reads: the product of the parts' probabilities, and sums over equal results", function()
    local p = chain:posterior { read = { { first }, { second } } }
    local qa, qb = softmax(first), softmax(second)
    local expected = enumerated(function(a, b) return qa[a] * qb[b] end)
    assert.is_true(p.exact)
    assert_pairs(expected, p)
    local sums = {}
    for i, v in ipairs(expected) do
      local sum = (i - 1) // 3 + (i - 1) % 3 + 2
      sums[sum] = (sums[sum] or 0) + v
    end
    local results = p:outputs(1, 0)
    assert.equal(5, #results)
    local last = math.huge
    for _, r in ipairs(results) do
      local sum = r[1] * 3 + (r[2] == 3 and 0 or r[2])
      assert.near(sums[math.tointeger(sum)], r.probability, 1e-6)
      assert.is_true(r.probability <= last)
      last = r.probability
    end
    local pictures, values, probability = chain:apply({ { first }, { second } })
    assert.same({ results[1][1], results[1][2] }, values:totable()[1])
    assert.near(results[1].probability, probability:get(1), 1e-6)
    -- the other latent is at its middle
    for j = 1, 2 do
      for k = 1, 3 do assert.near(k == results[1][j] and 0.5 or 0, pictures[j]:get(1, k), 1e-6) end
    end
  end)

  it("inverts what is drawn: a posterior over all pairs, that of a part left out among them", function()
    local qt, qo = softmax(tens), softmax(ones)
    local function drawn(with_tens)
      return enumerated(function(a, b)
        local t, o = (a + b) // 3, (a + b) % 3 == 0 and 3 or (a + b) % 3
        if not with_tens then return t == 0 and qo[o] or 0 end
        return t > 0 and qt[t] * qo[o] or 0
      end)
    end
    assert_pairs(drawn(true), chain:posterior { draw = { { tens }, { ones } } })
    assert_pairs(drawn(false), chain:posterior { draw = { false, { ones } } })
    local p = chain:posterior { draw = { { tens }, { ones } } }
    local list = p:list(1, 0)
    assert.equal(9, #list)
    assert.same({ a = list[1].a, b = list[1].b, probability = list[1].probability }, list[1])
    assert.equal(0, list[9].probability) -- 1 + 1 has no tens
    -- mode, marginals, moments and draws
    local expected = drawn(true)
    local best = 1
    for i, v in ipairs(expected) do if v > expected[best] + 1e-9 then best = i end end
    assert.same({ { (best - 1) // 3 + 1, (best - 1) % 3 + 1 } }, p:mode():totable())
    local mean, square = 0, 0
    for a = 1, 3 do
      local share = expected[3 * a - 2] + expected[3 * a - 1] + expected[3 * a]
      assert.near(share, p:probabilities("a"):get(1, a), 1e-5)
      mean, square = mean + a * share, square + a * a * share
    end
    assert.near(mean, p:mean():get(1, 1), 1e-5)
    assert.near(math.sqrt(square - mean ^ 2), p:std():get(1, 1), 1e-4)
    local ba = p:probabilities { "b", "a" }
    assert.near(expected[2], ba:get(1, 2, 1), 1e-5)
    local counts = {}
    for _, row in ipairs(p:sample(4000, sv.rng(1)):totable()[1]) do
      local i = math.tointeger(3 * (row[1] - 1) + row[2])
      counts[i] = (counts[i] or 0) + 1 / 4000
    end
    for i, v in ipairs(expected) do assert.near(v, counts[i] or 0, 1e-3) end -- of systematic draws
  end)

  it("takes both at once, several observations, and the rule's own prior", function()
    local prior = { draw = function(rng)
      local a = rng:uniform() < 0.5 and 1 or rng:integer(2, 3)
      return { a, rng:integer(1, 3) }
    end, log_density = function(z) return math.log(z.a == 1 and 0.5 / 3 or 0.25 / 3) end }
    local weighed = sv.chain { glyph, glyph, add_rule(prior), draw = { glyph, glyph } }
    local p = weighed:posterior { read = { { first, second }, { second, first } },
      draw = { { tens, ones }, { ones, tens } } }
    assert.equal(2, p.count)
    for n = 1, 2 do
      local qa, qb = softmax(n == 1 and first or second), softmax(n == 1 and second or first)
      local qt, qo = softmax(n == 1 and tens or ones), softmax(n == 1 and ones or tens)
      assert_pairs(enumerated(function(a, b)
        local t, o = (a + b) // 3, (a + b) % 3 == 0 and 3 or (a + b) % 3
        return t > 0 and (a == 1 and 0.5 or 0.25) * qa[a] * qb[b] * qt[t] * qo[o] or 0
      end), p, n)
    end
  end)

  it("divides by the prior that a part was trained with", function()
    -- kind 3 half of the time, which its posterior knows
    local skewed = reader("skewed", 3, { prior = function(rng)
      return { rng:uniform() < 0.5 and 3 or rng:integer(1, 2), rng:uniform(0, 1) }
    end })
    local p = sv.chain { skewed, glyph, add_rule() }:posterior { read = { { first }, { second } } }
    local qa, qb, own = softmax(first), softmax(second), { 0.25, 0.25, 0.5 }
    local expected = enumerated(function(a, b) return qa[a] / own[a] * qb[b] end)
    local q = p:probabilities()
    for i, v in ipairs(expected) do assert.near(v, q:get(1, (i - 1) // 3 + 1, (i - 1) % 3 + 1), 0.01) end -- counted
  end)

  it("draws with a simulator, leaves parts out and moves other latents where rng is given", function()
    local plain = sv.chain { add_rule(), draw = { glyph.simulator, glyph } }
    local pictures = plain:draw({ { 0, 2 }, { 1, 3 } }, { rng = sv.rng(4) })
    assert.equal(0, core.sum(core.abs(pictures[1][1])):item())
    assert.is_true(pictures[1]:get(2, 1) > 0 and pictures[2]:get(1, 2) > 0 and pictures[2]:get(2, 3) > 0)
    assert.is_true(pictures[2]:get(1, 2) ~= pictures[2]:get(2, 3))
    raises("posterior: chain: draw[1] is a simulator, 'glyph', which has no inverse",
      function() plain:posterior { draw = { { tens }, { ones } } } end)
  end)

  it("swaps a part everywhere and leaves the others", function()
    local other = reader("other", 3)
    local swapped = chain:swap(glyph, other)
    assert.equal("chain: other (kind), other (kind) -> add (a, b) -> other (kind), other (kind)", tostring(swapped))
    assert.equal("chain: glyph (kind), glyph (kind) -> add (a, b) -> glyph (kind), glyph (kind)", tostring(chain))
    local subtract = sv.simulator { name = "subtract", output = { 2 },
      params = { { name = "a", levels = 3 }, { name = "b", levels = 3 } },
      simulate = function(z, out) out[1], out[2] = 0, math.abs(z.a - z.b) end }
    local p = chain:swap(chain.rule.sim, subtract):posterior { draw = { false, { ones } } }
    local qo = softmax(ones)
    assert_pairs(enumerated(function(a, b) return a == b and 0 or qo[math.abs(a - b)] end), p)
    raises("swap: a table is no part of the chain", function() chain:swap(other, glyph) end)
    raises("part 1: 'a' of the rule is a class of 3 and 'kind' of the part is a class of 4",
      function() chain:swap(glyph, reader("four", 4)) end)
  end)
end)

-- ---- numbers ------------------------------------------------------------------------------------

-- A model of v in [0, 1] seen with normal noise of a standard deviation in x (1,), whose posterior is exact but for the
-- truncation at the bounds.
local function gauge(std, bound)
  local sim = sv.simulator { name = "gauge", params = { { name = "v", low = bound and bound[1] or 0,
    high = bound and bound[2] or 1, unit = "V" } }, output = { 1 },
    simulate = function(z, out) out[1] = z.v end }
  local half = sim.params[1].high - (sim.params[1].high + sim.params[1].low) / 2
  local middle = (sim.params[1].high + sim.params[1].low) / 2
  return sv.model { simulator = sim, posterior = "gaussian", loss = "mse", bounded = false, net = {
    decoder = sv.nn.func(function(code) return code * half + middle end),
    encoder = sv.nn.func(function(x) -- the mean in code space, and the logarithm of its spread
      return core.concat({ (x - middle) / half, core.full(math.log(std / half) + 1, { x.shape[1], 1 }) }, 2)
    end),
  } }
end

-- The mean and the standard deviation of a density over a grid of two parameters.
local function moments(density, low, high)
  local n, total, sums, squares = 300, 0, { 0, 0 }, { 0, 0 }
  for i = 1, n do
    for j = 1, n do
      local z = { low + (i - 0.5) / n * (high - low), low + (j - 0.5) / n * (high - low) }
      local w = density(z[1], z[2])
      total = total + w
      for k = 1, 2 do sums[k], squares[k] = sums[k] + w * z[k], squares[k] + w * z[k] ^ 2 end
    end
  end
  local means, stds = {}, {}
  for k = 1, 2 do
    means[k] = sums[k] / total
    stds[k] = math.sqrt(squares[k] / total - means[k] ^ 2)
  end
  return means, stds
end

local function normal(x, mean, std) return math.exp(-0.5 * ((x - mean) / std) ^ 2) end

local function assert_moments(p, means, stds, tolerance)
  local mean, std = p:mean(), p:std()
  for k = 1, 2 do
    assert.near(means[k], mean:get(1, k), tolerance)
    assert.near(stds[k], std:get(1, k), tolerance)
  end
end

describe("a chain of numbers", function()
  local sharp, wide = gauge(0.1), gauge(0.15, { 0, 2 })
  local sum = sv.simulator { name = "sum", params = { { name = "a", low = 0, high = 1, unit = "V" },
    { name = "b", low = 0, high = 1, unit = "V" } }, output = { 1 }, series = { { name = "sum", unit = "V" } },
    simulate = function(z, out) out[1] = z.a + z.b end }
  local chain = sv.chain { sharp, sharp, sum, draw = { wide } }

  it("draws from what is read, from the prior, and from both", function()
    local t = { samples = 20000, rng = sv.rng(3) }
    t.read = { { { 0.3 } }, { { 0.5 } } }
    local p = chain:posterior(t)
    local means, stds = moments(function(a, b) return normal(a, 0.3, 0.1) * normal(b, 0.5, 0.1) end, 0, 1)
    assert_moments(p, means, stds, 4e-3)
    assert.is_false(p.exact)
    assert.near(20000, p.size:get(1), 1) -- its proposals are the posterior
    t.read, t.draw = nil, { { { 1.4 } } }
    means, stds = moments(function(a, b) return normal(a + b, 1.4, 0.15) end, 0, 1)
    p = chain:posterior(t)
    assert_moments(p, means, stds, 0.01)
    assert.is_true(p.size:get(1) < 19000)
    t.read = { { { 0.3 } }, { { 0.5 } } }
    means, stds = moments(function(a, b)
      return normal(a, 0.3, 0.1) * normal(b, 0.5, 0.1) * normal(a + b, 1.4, 0.15)
    end, 0, 1)
    assert_moments(chain:posterior(t), means, stds, 0.01)
    local draws = chain:posterior(t):sample(2000, sv.rng(1))
    assert.same({ 1, 2000, 2 }, draws.shape)
    assert.near(means[1], core.mean(core.slice(draws, 3, 1, 1)):item(), 0.01)
  end)

  it("reads through the rule", function()
    local _, values, none = chain:apply { { { 0.3 } }, { { 0.5 } } }
    assert.near(0.8, values:get(1, 1), 0.01)
    assert.is_nil(none)
  end)

  it("inverts two trained models in a row", function()
    -- (a, b) -> (a + b, a - b), learned, then each of these seen with noise
    local source = sv.simulator { name = "source", params = sum.params, output = { 2 }, noise = 0.05,
      simulate = function(z, out) out[1], out[2] = z.a + z.b, z.a - z.b end }
    local pair = sv.simulator { name = "pair", params = { { name = "s", low = -0.5, high = 2.5 },
      { name = "d", low = -1.5, high = 1.5 } }, output = { 2 }, noise = 0.2,
      simulate = function(z, out) out[1], out[2] = z.s, z.d end }
    local models = {}
    for i, sim in ipairs { source, pair } do
      models[i] = sv.model { simulator = sim, width = 32, posterior = "mixture", components = 1, seed = 1 }
      models[i]:train { decoder = { steps = 400 }, encoder = { steps = 500, labels = 1 }, quiet = true }
    end
    local two = sv.chain { models[1], draw = { models[2] } }
    local p = two:posterior { draw = { { { 0.9, 0.2 } } }, samples = 8000 }
    local std = math.sqrt(0.05 ^ 2 + 0.2 ^ 2)
    local means, stds = moments(function(a, b) return normal(a + b, 0.9, std) * normal(a - b, 0.2, std) end, 0, 1)
    assert_moments(p, means, stds, 0.03) -- of trainings of seconds
    assert.is_true(p.size:get(1) > 500, p.size:get(1))
  end)
end)

describe("a chain names", function()
  local glyph = reader("glyph", 3)
  local chain = sv.chain { glyph, glyph, add_rule(), draw = { glyph, glyph } }
  local function sim(t)
    t.name = t.name or "rule"
    return sv.simulator(t)
  end
  local function zeros(_, out) out:fill(0) end

  it("parts that do not fit", function()
    raises("chain: takes parts, of which the last is the rule", function() sv.chain {} end)
    raises("chain: the last part is the rule, a simulator or a model; got 3", function() sv.chain { glyph, 3 } end)
    raises("chain: unknown option 'drew'; did you mean 'draw'", function() sv.chain { add_rule(), drew = {} } end)
    raises("chain: part 1: simulator 'glyph' cannot read",
      function() sv.chain { glyph.simulator, glyph, add_rule() } end)
    raises("the parts before the rule read 1 parameters, and the rule 'add' takes 2: a, b",
      function() sv.chain { glyph, add_rule() } end)
    raises("chain: draw takes 1 numbers, and the rule 'add' gives 2",
      function() sv.chain { add_rule(), draw = { glyph } } end)
    raises("chain: draw[1]: \"knd\" is no parameter of 'glyph', which has kind, s; did you mean 'kind'",
      function() sv.chain { add_rule(), draw = { { part = glyph, params = { "knd" } }, glyph } } end)
    raises("chain: draw[2]: 'glyph' binds s of kind, s: a chain binds classes, or all parameters",
      function() sv.chain { add_rule(), draw = { glyph, { part = glyph, params = { "s" } } } } end)
    raises("the rule 'rule' gives pictures (1, 8, 8)", function()
      sv.chain { sim { params = { { name = "a", levels = 2 } }, output = { 1, 8, 8 }, simulate = zeros } }
    end)
    raises("'a' of the rule is in A and 'v' of the part in V", function()
      sv.chain { gauge(1), sim { params = { { name = "a", low = 0, high = 1, unit = "A" } }, output = { 1 },
        simulate = zeros } }
    end)
    raises("the rule 'rule' is stochastic", function()
      sv.chain { sim { params = { { name = "a", levels = 2 } }, output = { 1 },
        simulate = function(_, out, rng) out[1] = rng:uniform() end } }
    end)
    raises("the rule 'rule' gives 2.5 at a = 2, where 'kind' of chain: draw[1] takes a class from 1 to 3", function()
      sv.chain { sim { params = { { name = "a", levels = 2 } }, output = { 1 },
        simulate = function(z, out) out[1] = z.a == 2 and 2.5 or 1 end }, draw = { glyph } }
    end)
    raises("the prior of the rule 'rule' is a function without a density", function()
      sv.chain { sim { params = { { name = "a", levels = 2 } }, output = { 1 }, simulate = zeros,
        prior = function() return { 1 } end } }
    end)
  end)

  it("observations that do not fit", function()
    raises("posterior: takes observations, read = { … } or draw = { … }", function() chain:posterior {} end)
    raises("posterior: read takes a list of 2 outputs, one of each part; got a list of 1",
      function() chain:posterior { read = { { first } } } end)
    raises("posterior: read[1] cannot be left out", function() chain:posterior { read = { false, { first } } } end)
    raises("posterior: draw[2] has 2 outputs, others 1",
      function() chain:posterior { draw = { { tens }, { ones, ones } } } end)
    raises("posterior: no parameters of the rule 'add' give observation 1",
      function() chain:posterior { draw = { { tens }, false } } end)
    raises("draw: takes outputs of the rule 'add', (N, 2)", function() chain:draw { { 1 } } end)
    raises("draw: the chain has no parts that draw", function() sv.chain { add_rule() }:draw { { 1, 1 } } end)
    local p = chain:posterior { draw = { { tens }, { ones } } }
    raises("probabilities: takes different names of the rule's parameters, a, b; got \"c\"",
      function() p:probabilities "c" end)
    raises("list: n must be from 1 to 1; got 2", function() p:list(2) end)
    local one = gauge(0.1)
    local number = sv.chain { one, sim { params = { { name = "a", low = 0, high = 1 } }, output = { 1 },
      simulate = function(z, out) out[1] = z.a end } }
    raises("mode: the rule 'rule' has parameters that are no classes",
      function() number:posterior { read = { { { 0.5 } } } }:mode() end)
  end)
end)
