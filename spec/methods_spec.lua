-- The methods of examples/methods and their comparison (examples/compare.lua).
package.path = "examples/?.lua;" .. package.path
local helper = require "spec.helper"
local beta_tcvae = require "methods.beta_tcvae"
local dc_ign = require "methods.dc_ign"
local factor_vae = require "methods.factor_vae"
local infogan = require "methods.infogan"
local json = require "dkjson"
local semi_supervised = require "methods.semi_supervised"
local simvae = require "methods.simvae"
local supervised = require "methods.supervised"
local support = require "methods.support"
local sv = require "simvae"
local tables = require "compare.tables"
local vae = require "methods.vae"

-- Two lengths, a class and an angle, of which the output is an invertible function, repeated so that its likelihood
-- outweighs the KL.
local sim = sv.simulator {
  name = "mixed",
  params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 1, high = 100, scale = "log" },
    { name = "kind", levels = 2 }, { name = "angle", period = 2 * math.pi } },
  output = { 60 },
  simulate = function(z, out)
    local u, v = z.a * 2 - 1, math.log(z.b, 10) - 1
    local s = z.kind == 1 and 1 or -1
    for i, w in ipairs { u, v, s, math.cos(z.angle), math.sin(z.angle), u + v, u - v, u * s, v * s, u * v } do
      for k = 0, 50, 10 do out[i + k] = w end
    end
  end,
}
local code = sv.code(sim)

local function run(steps, more)
  local t = { simulator = sim, net = "mlp", width = 16, steps = steps, batch = 32, samples = 320, lr = 3e-3 }
  for k, v in pairs(more or {}) do t[k] = v end
  return support.run(t)
end

-- Draws of a normal distribution of two variables of variance 1.
local function correlated(n, rho, rng)
  local e = rng:normal(0, 1, { n, 2 })
  local a, b = sv.slice(e, 2, 1, 1), sv.slice(e, 2, 2, 2)
  return sv.concat({ a, a * rho + b * math.sqrt(1 - rho ^ 2) }, 2)
end

describe("the support of methods", function()
  it("has the KL of normal distributions in closed form", function()
    local mean, std, prior = { { 0.5, -1 }, { 2, 0.1 } }, { { 1.5, 0.2 }, { 0.7, 1 } }, 0.6
    local wanted = 0
    for i = 1, 2 do
      for k = 1, 2 do
        local m, s = mean[i][k], std[i][k]
        wanted = wanted + (math.log(prior / s) + (s ^ 2 + m ^ 2) / (2 * prior ^ 2) - 0.5) / 2
      end
    end
    assert.near(wanted, support.kl(sv.tensor(mean), sv.log(sv.tensor(std)), prior):item(), 1e-4)
  end)

  it("draws with the distribution's mean and deviation, and passes gradients", function()
    local mean, log_std = sv.parameter(sv.full(2, { 4000 })), sv.parameter(sv.full(math.log(0.5), { 4000 }))
    local tape <close> = sv.tape()
    local z = support.sample(mean, log_std, sv.rng(1))
    assert.near(2, sv.mean(z):item(), 0.03)
    assert.near(0.25, sv.var(z):item(), 0.02)
    local seventh = z:get(7)
    tape:backward(sv.sum(z))
    assert.equal(1, mean.grad:get(7))
    assert.near(seventh - 2, log_std.grad:get(7), 1e-5) -- d/ds (m + exp(s) e) = exp(s) e
  end)

  it("decomposes the KL as normal distributions do in closed form", function()
    -- means N(0, R) with a correlation of 0.8, deviations s: q(z) is N(0, R + s^2)
    local rho, s, N, rng = 0.8, 0.5, 1200, sv.rng(2)
    local mean, log_std = correlated(N, rho, rng), sv.full(math.log(s), { N, 2 })
    local z = support.sample(mean, log_std, rng)
    local information, correlation, kl = support.decomposition(z, mean, log_std, N)
    local v, r = 1 + s ^ 2, rho / (1 + s ^ 2)
    assert.near(0.5 * math.log(v ^ 2 * (1 - r ^ 2)) - 2 * math.log(s), information:item(), 0.1)
    assert.near(-0.5 * math.log(1 - r ^ 2), correlation:item(), 0.05)
    assert.near(v - 1 - math.log(v), kl:item(), 0.05)
    assert.near(support.kl(mean, log_std):item(), (information + correlation + kl):item(), 0.05)
  end)

  it("weighs the rows of a batch as shares of one, for a data set of any size", function()
    local mean, log_std, rng = sv.full(0.3, { 8, 3 }), sv.full(-0.5, { 8, 3 }), sv.rng(3)
    for _, count in ipairs { 8, 1000 } do
      local z = support.sample(mean, log_std, rng)
      local information, correlation, kl = support.decomposition(z, mean, log_std, count)
      assert.near(0, information:item(), 1e-4) -- all rows have one posterior: q(z) is that, and factorises
      assert.near(0, correlation:item(), 1e-4)
      assert.is_true(kl:item() > 0)
    end
  end)

  it("permutes every column by itself", function()
    local z = correlated(2000, 0.9, sv.rng(4))
    local p = support.permute(z, sv.rng(5))
    local function sorted(t, k)
      local list = sv.slice(t, 2, k, k):reshape(-1):totable()
      table.sort(list)
      return list
    end
    for k = 1, 2 do assert.same(sorted(z, k), sorted(p, k)) end
    local function covariance(t) return sv.mean(sv.slice(t, 2, 1, 1) * sv.slice(t, 2, 2, 2)):item() end
    assert.near(0.9, covariance(z), 0.1)
    assert.near(0, covariance(p), 0.1)
  end)

  it("estimates the total correlation by a ratio of densities", function()
    local rho, rng = 0.8, sv.rng(6)
    local ratio = support.ratio(2, 32, rng)
    local adam = sv.optim.adam(ratio:parameters(), { lr = sv.optim.cosine(1e-2, 300) })
    for _ = 1, 300 do
      local tape <close> = sv.tape()
      tape:backward(support.ratio_loss(ratio, correlated(256, rho, rng),
        support.permute(correlated(256, rho, rng), rng)))
      adam:step()
    end
    assert.near(-0.5 * math.log(1 - rho ^ 2), sv.mean(ratio(correlated(4000, rho, rng))):item(), 0.1)
  end)

  it("uses every sample of a pool once in an epoch, and its first ones as the labelled", function()
    local pool = support.pool(sim, 10, 1)
    local seen = {}
    for _ = 1, 2 do
      for _, row in ipairs((pool:next(5)):totable()) do seen[row[1]] = (seen[row[1]] or 0) + 1 end
    end
    for _, row in ipairs(pool.rows) do assert.equal(1, seen[row[1]]) end
    local first = { [pool.rows[1][1]] = true, [pool.rows[2][1]] = true }
    for _, row in ipairs((pool:next(20, 2)):totable()) do assert.is_true(first[row[1]]) end
  end)

  it("evaluates an exact inverse as exact, and noise as noise", function()
    local function inverse(x)
      local rows = {}
      for i, o in ipairs(x:totable()) do
        rows[i] = { (o[1] + 1) / 2, 10 ^ (o[2] + 1), o[3] > 0 and 1 or 2, math.atan(o[5], o[4]) % (2 * math.pi) }
      end
      return sv.tensor(rows)
    end
    local exact = { latents = inverse, decode = function(z) return sim:run(z) end, named = true, levels = { [3] = 2 } }
    local o = { samples = 1000, seed = 7, factors = { 1, 2, 4 } }
    local r = support.evaluate(exact, sim, o)
    assert.is_true(r.mig > 0.85 and r.mig_all > 0.85 and r.disentanglement > 0.95)
    assert.near(1, r.reconstruction_r2, 1e-4)
    assert.near(1, r.resimulation_r2, 1e-4)
    assert.near(0, r.reconstruction, 1e-6)
    local rng = sv.rng(8)
    r = support.evaluate({ latents = function(x) return rng:normal(0, 1, { x.shape[1], 3 }) end }, sim, o)
    assert.is_true(r.mig < 0.1 and r.sap < 0.1)
    assert.is_nil(r.reconstruction)
    assert.is_nil(r.resimulation_r2)
  end)
end)

describe("DC-IGN", function()
  it("clamps inactive latents to their means, and replaces their gradients by the differences", function()
    local z = sv.parameter { { 1, 10, 5 }, { 3, 20, 7 }, { 2, 4, 6 }, { 8, 8, 8 } }
    local tape <close> = sv.tape()
    local clamped, invariance = dc_ign.clamp(z, { 1, 3 })
    assert.same({ { 1, 15, 6 }, { 3, 15, 6 }, { 5, 6, 6 }, { 5, 6, 8 } }, clamped:totable())
    tape:backward(sv.sum(clamped * 7) + invariance)
    assert.same({ { 7, -5, -1 }, { 7, 5, 1 }, { -3, -2, 7 }, { 3, 2, 7 } }, z.grad:totable())
  end)

  it("makes mini-batches in which one parameter varies", function()
    local pool = support.pool(sim, 34, 2)
    local list = dc_ign.minibatches(pool, 8)
    assert.equal(4, #list)
    for g, one in ipairs(list) do
      assert.equal(g, one.active)
      for i, row in ipairs(one.rows) do
        for k, v in ipairs(row) do
          assert.equal(pool.rows[(g - 1) * 8 + (k == one.active and i or 1)][k], v)
        end
      end
    end
  end)
end)

describe("the semi-supervised VAE", function()
  it("has the KL of classes in closed form, and draws that are shares", function()
    local raw = sv.zeros(2, code.size)
    raw[1][3], raw[2][3] = math.log(3), math.log(3) -- of the class: logits log 3 and 0
    local log_std = sv.zeros(2, code.size)
    local drawn, kl = semi_supervised.draw(code, raw, log_std, sv.rng(1))
    local function normal(prior) return math.log(prior) + 1 / (2 * prior ^ 2) - 0.5 end
    local class = 0.75 * math.log(0.75 * 2) + 0.25 * math.log(0.25 * 2)
    assert.near(2 * normal(1 / math.sqrt(3)) + 2 * normal(1 / math.sqrt(2)) + class, kl:item(), 1e-4)
    for i = 1, 2 do assert.near(1, drawn:get(i, 3) + drawn:get(i, 4), 1e-5) end
  end)

  it("has the log-density of labels in closed form", function()
    local target = code:from_units(sv.tensor { { 1, 10, 2, 0 } }) -- (1, 0, (0, 1), (1, 0))
    local value = semi_supervised.surprise(code, sv.zeros(1, code.size), sv.zeros(1, code.size), target):item()
    assert.near(2 * math.log(2 * math.pi) + (1 + 0 + 1 + 0) / 2 + math.log(2), value, 1e-4)
  end)
end)

describe("InfoGAN", function()
  it("draws codes, infers them, and takes latents for codes", function()
    local codes = infogan.codes(code, 50, sv.rng(1))
    assert.is_true(codes:within(-1, 1))
    local latents, levels = infogan.latents(code, codes)
    assert.same({ 50, 5 }, latents.shape)
    assert.same({ [3] = 2 }, levels)
    assert.same(codes:totable(), infogan.of_latents(code, latents):totable())
    local counts = { 0, 0 }
    for _, row in ipairs(latents:totable()) do counts[row[3]] = counts[row[3]] + 1 end
    assert.is_true(counts[1] > 10 and counts[2] > 10)
  end)

  it("has the negative log-likelihood of codes", function()
    local drawn = sv.tensor { { 0.5, 0, 0, 1, -1, 0 } }
    local q = sv.tensor { { 1.5, 0, math.log(3), 0, 0, 0 } }
    assert.near(0.5 * (1 + 1) + math.log(4), infogan.surprise(code, q, drawn):item(), 1e-5)
  end)
end)

describe("every method", function()
  local function mean(curves, from, to, column)
    local sum = 0
    for i = from, to do sum = sum + curves[i][column] end
    return sum / (to - from + 1)
  end
  -- { method, options, whether latents are parameters, whether it has a decoder }
  for name, m in pairs {
    supervised = { supervised, nil, true, false }, VAE = { vae, { beta = 2 }, false, true },
    ["beta-TCVAE"] = { beta_tcvae, { beta = 1 }, false, true }, FactorVAE = { factor_vae, { gamma = 2, width = 16 },
      false, true }, InfoGAN = { infogan, nil, false, true }, ["DC-IGN"] = { dc_ign, nil, false, true },
    ["semi-supervised VAE"] = { semi_supervised, { labels = 0.1 }, true, true },
    SimVAE = { simvae, { paper = true }, true, true },
  } do
    it("lowers its own loss on a small problem, and answers: " .. name, function()
      local r = run(400)
      local answer = m[1].train(r, m[2])
      assert.is_true(mean(r.curves, 381, 400, 2) < 0.95 * mean(r.curves, 1, 5, 2))
      local _, x = sv.simulate(sim, 6, sv.rng(9))
      local v = answer.latents(x)
      assert.equal(6, v.shape[1])
      assert.is_true((v:finite()))
      assert.equal(m[3], answer.named or false)
      assert.equal(m[4], answer.decode ~= nil)
      if m[4] then assert.same(x.shape, answer.decode(v).shape) end
    end)
  end

  it("of images has outputs of images, and the same nets", function()
    local images = require "simvae.simulators.box"
    local r = run(1, { simulator = images, net = "dcgan", width = 2, batch = 4, samples = 16 })
    local answer = infogan.train(r)
    local _, x = sv.simulate(images, 2, sv.rng(1))
    local y = answer.decode(answer.latents(x))
    assert.same(x.shape, y.shape)
    assert.is_true(y:within(0, 1))
  end)

  it("FactorVAE's classifier learns, without a share in the autoencoder's step", function()
    local r = run(2)
    factor_vae.train(r, { width = 8 })
    assert.equal(3, #r.curves[1])
    assert.near(math.log(2), r.curves[1][3], 0.1) -- it begins without knowledge
  end)
end)

describe("SimVAE's pool", function()
  it("is the prior", function()
    local pool = support.pool(sim, 5, 3)
    local pooled = simvae.pooled(pool)
    local known = {}
    for _, row in ipairs(pool.rows) do known[string.format("%.4f", row[1])] = true end
    local z, x = sv.simulate(pooled, 20, sv.rng(1))
    for _, row in ipairs(z:totable()) do assert.is_true(known[string.format("%.4f", row[1])]) end
    assert.same(sim:run(z):totable(), x:totable())
  end)
end)

describe("methods refuse", function()
  it("what they cannot work with", function()
    helper.raises("pool: count must be at least 1", function() support.pool(sim, 0, 1) end)
    helper.raises("unknown option 'widht'; did you mean 'width'", function() run(1, { widht = 2 }) end)
    helper.raises("steps must be at least 1", function() run(0) end)
    helper.raises("split: takes means and as many log standard deviations; got 3 columns",
      function() support.split(sv.zeros(2, 3)) end)
    helper.raises("decomposition: takes a batch of 2 or more of a data set that is no smaller; got 4 of 3",
      function() support.decomposition(sv.zeros(4, 1), sv.zeros(4, 1), sv.zeros(4, 1), 3) end)
    helper.raises("clamp: 5 rows are not 2 mini%-batches of 2 or more",
      function() dc_ign.clamp(sv.zeros(5, 2), { 1, 2 }) end)
    helper.raises("active%[1%]", function() dc_ign.clamp(sv.zeros(4, 2), { 3 }) end)
    helper.raises("a pool of 5 samples is less than a mini%-batch of 8",
      function() dc_ign.minibatches(support.pool(sim, 5, 1), 8) end)
    helper.raises("labels must be from 0 to 1; got 2", function() semi_supervised.train(run(1), { labels = 2 }) end)
    helper.raises("a share of 0.001 of 320 samples is none",
      function() semi_supervised.train(run(1), { labels = 0.001 }) end)
    helper.raises("surprise: takes 6 columns; got 5 and 6",
      function() infogan.surprise(code, sv.zeros(1, 5), sv.zeros(1, 6)) end)
    helper.raises("latent 2 is not finite", function()
      support.evaluate({ latents = function(x) return sv.concat({ sv.zeros(x.shape[1], 1),
        sv.full(0 / 0, { x.shape[1], 1 }) }, 2) end }, sim, { samples = 400, seed = 1, factors = { 1 } })
    end)
  end)
end)

describe("the comparison", function()
  local folder = helper.temporary_folder()
  local function compare(...)
    return helper.run(helper.lua_command("examples/compare.lua", "--only", "rlc,vae,supervised", "--steps", "2",
      "--budget", "200", "--samples", "400", "--width", "8", "--threads", "1", "--out", folder .. "/out", ...))
  end

  it("averages over seeds", function()
    assert.equal("0.200 ± 0.141", tables.cell({ { mig = 0.1 }, { mig = 0.3 }, {} }, "mig", 3))
    assert.equal("0.10", tables.cell({ { mig = 0.1 } }, "mig", 2))
    assert.equal("–", tables.cell({ {} }, "mig", 2))
    local rows = tables.published { dsprites = { vae = { { mig_all = 0.1 } }, ["beta-tcvae"] = { { mig_all = 0.5 } } } }
    assert.same({ { "VAE", "0.0 to 0.4", "0.100", "yes" }, { "β-TCVAE, β = 6", "0.0 to 0.4", "0.500", "no" } }, rows)
    assert.is_nil(tables.published { rlc = {} })
    local heads, all = tables.overview({ rlc = { vae = { { mig = 0.5 } }, simvae = { {} } }, box = {} }, "mig", 1)
    assert.same({ "method", "rlc", "box" }, heads)
    assert.same({ { "VAE", "0.5", "–" } }, all)
  end)

  it("trains, writes tables and figures, and goes on where it stopped", function()
    local said, code_ = compare("--seeds", "2", "--commit", folder .. "/results")
    assert.equal(0, code_, said)
    local t = assert(json.decode(helper.read(folder .. "/out/table.json")))
    assert.equal(4, #t.runs)
    local row = helper.read(folder .. "/results/table.md"):match "\n(| VAE | none | [^\n]+)"
    local sum = 0
    for _, r in ipairs(t.runs) do
      assert.equal(16, r.given.steps) -- the circuit's share
      if r.method == "vae" then sum = sum + r.mig / 2 end
    end
    assert.near(sum, tonumber(row:match "none | (%S+) ±"), 6e-4)
    said, code_ = compare("--seeds", "2", "--quiet")
    assert.equal(0, code_, said)
    assert.is_nil(said:find("MIG 0", 1, true)) -- nothing was trained
    assert.equal(4, #assert(json.decode(helper.read(folder .. "/out/table.json"))).runs)
    local before = helper.read(folder .. "/out/rlc-vae-1.json")
    said = compare("--seeds", "1", "--only", "rlc,vae", "--steps", "1")
    assert.is_truthy(said:find("rlc, VAE, seed 1: MIG", 1, true)) -- other settings
    assert.are_not.equal(before, helper.read(folder .. "/out/rlc-vae-1.json"))
  end)

  it("has a page whose training loop runs, and whose tables are those of the results", function()
    local page, results = helper.read "notebooks/methods.md", helper.read "examples/results/methods/table.md"
    local function printed(section)
      helper.write(folder .. "/block.lua", page:match("\n## " .. section .. "\n.-```lua\n(.-)```"))
      local said, status = helper.run(helper.lua_command(folder .. "/block.lua"))
      assert.equal(0, status, said)
      return said
    end
    assert.equal("10\t10\n", printed "How many labels")
    local mig = tonumber(printed("A method of your own"):match "^MIG\t([%d.]+)\n$")
    assert.is_true(mig >= 0 and mig < 1)
    local rows = 0
    for row in page:match("^(.-)\n## A method"):gmatch "\n(| [^\n]+ | [%d.–-][^\n]* |)" do
      assert.is_truthy(results:find(row, 1, true), row)
      rows = rows + 1
    end
    assert.is_true(rows > 40)
  end)

  it("says what it does not know, and where it cannot write", function()
    local said, code_ = helper.run(helper.lua_command("examples/compare.lua", "--only", "gan"))
    assert.is_true(code_ ~= 0)
    assert.is_truthy(said:find("there is no experiment or method 'gan'; experiments are dsprites, rlc", 1, true))
    said, code_ = helper.run(helper.lua_command("examples/compare.lua", "--only", "rlc", "--out", "/dev/null/out"))
    assert.equal(1, code_)
    assert.is_truthy(said:find("/dev/null", 1, true))
  end)
end)
