--- Ensembles: the mixture's density, samples and moments against those of the members, and what is trained and saved.
local core = require "simvae.core"
local helper = require "spec.helper"
local posteriors = require "simvae.model.posterior"
local sv = require "simvae"

local raises = helper.raises

local sim = sv.simulator {
  name = "line", output = { 2 },
  params = { { name = "a", low = -3, high = 3 }, { name = "turn", low = 0, high = 360, period = 360 },
    { name = "kind", levels = 3 } },
  simulate = function(z, out, rng)
    out[1], out[2] = z.a + 0.4 * rng:normal(), z.kind + math.cos(math.rad(z.turn)) + 0.3 * rng:normal()
  end,
}

local function trained(posterior, members, options)
  local model = sv.model { simulator = sim, posterior = posterior, members = members, width = 8,
    transforms = posterior == "flow" and 2 or nil, bins = posterior == "flow" and 4 or nil }
  local t = { quiet = true, batch = 16, decoder = { steps = 10 }, sleep = { steps = 10 }, encoder = { steps = 10 } }
  for k, v in pairs(options or {}) do t[k] = v end
  return model:train(t)
end

-- The posteriors of the members.
local function members_of(model, x)
  local list = {}
  for i, head in ipairs(model.head.members) do
    local h = core.no_grad(function() return model.encoder.members[i](model.loss:standardise(x)) end)
    list[i] = posteriors.new({ head = head, latent = model.latent, simulator = model.simulator }, h)
  end
  return list
end

describe("the posterior of an ensemble", function()
  it("is the mixture of its members' with equal weights", function()
    for _, posterior in ipairs { "gaussian", "mixture", "flow" } do
      local model = trained(posterior, 3)
      local x = core.tensor { { 1, 2 }, { -2, 0.5 } }
      local whole, parts = model:posterior(x), members_of(model, x)
      local z = whole:sample(400, sv.rng(1))
      assert.same({ 2, 400, 3 }, z.shape)
      local log = whole:log_prob(z)
      local logs = {}
      for i, p in ipairs(parts) do logs[i] = p:log_prob(z):totable() end
      for n, row in ipairs(log:totable()) do
        for m, v in ipairs(row) do
          local sum = 0
          for i = 1, 3 do sum = sum + math.exp(logs[i][n][m]) / 3 end
          assert.near(math.log(sum), v, 1e-3)
        end
      end
      -- the mean of a mixture is the mean of its members' means
      local mean, total = whole:mean(), 0
      for _, p in ipairs(parts) do total = total + p:mean() end
      for n = 1, 2 do assert.near(total:get(n, 1) / 3, mean:get(n, 1), 4 * 1.7 / math.sqrt(2048)) end
    end
  end)

  it("draws each member as often, in any order", function()
    local heads = {}
    for i = 1, 4 do
      heads[i] = { outputs = 1, sample = function(_, h, n) return core.zeros(h.shape[1], n, 1) + i end }
    end
    local ensemble = require("simvae.posterior.support.ensemble").new(heads)
    local u = ensemble:sample(core.zeros(2, 4), 4000, sv.rng(3))
    for _, row in ipairs(u:totable()) do
      local counts, changes = { 0, 0, 0, 0 }, 0
      for k, v in ipairs(row) do
        counts[v[1] // 1] = counts[v[1] // 1] + 1
        if k > 1 and v[1] ~= row[k - 1][1] then changes = changes + 1 end
      end
      for i = 1, 4 do assert.near(1000, counts[i], 5 * math.sqrt(750)) end
      assert.near(3000, changes, 5 * math.sqrt(750)) -- of independent draws three of four pairs differ
    end
    local first = {}
    for _, row in ipairs(ensemble:sample(core.zeros(400, 4), 1, sv.rng(4)):totable()) do
      first[row[1][1]] = (first[row[1][1]] or 0) + 1
    end
    for i = 1, 4 do assert.near(100, first[i], 5 * math.sqrt(75)) end
  end)

  it("has the mean and spread of the mixture in encode, on intervals, circles and classes", function()
    local model = trained("flow", 3)
    local x = core.tensor { { 1, 2 } }
    local z, std = model:encode(x)
    local draws = model:posterior(x):sample(20000, sv.rng(2))[1]:totable()
    local sum, square, c, s = 0, 0, 0, 0
    for _, row in ipairs(draws) do
      sum, square = sum + row[1], square + row[1] ^ 2
      c, s = c + math.cos(math.rad(row[2])), s + math.sin(math.rad(row[2]))
    end
    local n = #draws
    assert.near(sum / n, z:get(1, 1), 0.4) -- 128 draws of each member
    assert.near(math.sqrt(square / n - (sum / n) ^ 2), std:get(1, 1), 0.3)
    local R = math.sqrt(c * c + s * s) / n
    assert.near(R, math.exp(-math.rad(std:get(1, 2)) ^ 2 / 2), 0.15) -- of a phase that is almost uniform R is near 0
  end)
end)

describe("an ensemble", function()
  it("differs in its members' initial weights, and each is trained", function()
    local model = trained("flow", 2)
    local fresh = sv.model { simulator = sim, posterior = "flow", members = 2, width = 8, transforms = 2, bins = 4 }
    local now, before = model:state(), fresh:state()
    for _, name in ipairs { "encoder.%d.1.weight", "decoder.%d.1.weight", "posterior.%d.1.1.weight" } do
      local one, two = name:format(1), name:format(2)
      assert.is_true(core.max(core.abs(now[one] - now[two])):item() > 0.01, name)
      for _, own in ipairs { one, two } do
        assert.is_true(core.max(core.abs(now[own] - before[own])):item() > 0, own)
      end
    end
    assert.truthy(tostring(model):find("2 members", 1, true))
  end)

  it("decodes the mean of its decoders", function()
    local model = trained("gaussian", 2)
    local z = sim:sample(5, sv.rng(1))
    local code = model.latent:to_code(z)
    local mean = core.no_grad(function()
      return (model.decoder.members[1](code) + model.decoder.members[2](code)) / 2
    end)
    assert.near(0, core.max(core.abs(model:decode(z) - model.loss:to_output(mean))):item(), 1e-5)
  end)

  it("is saved in one file, loaded, and resumed as if it had not been interrupted", function()
    local folder = helper.temporary_folder()
    for _, posterior in ipairs { "gaussian", "flow" } do
      local whole = trained(posterior, 2)
      local out = folder .. "/" .. posterior
      assert.is_false(pcall(trained, posterior, 2, { out = out, on_step = function(stage, at)
        if stage == "encoder" and at == 5 then error("interrupted!", 0) end
      end }))
      local again = trained(posterior, 2, { out = out })
      for name, t in pairs(whole:state()) do
        assert.equal(0, core.max(core.abs(t - again:state()[name])):item(), name)
      end
      local path = folder .. "/model.safetensors"
      assert(whole:save(path))
      local loaded = assert(sv.load(path, sim))
      assert.equal(2, loaded.members)
      local x = core.tensor { { 1, 2 } }
      assert.same(whole:posterior(x):sample(20, sv.rng(1)):totable(),
        loaded:posterior(x):sample(20, sv.rng(1)):totable())
      assert.same(whole:encode(x):totable(), loaded:encode(x):totable())
      assert.same(whole:invert(x, { starts = 3, steps = 3 }):totable(),
        loaded:invert(x, { starts = 3, steps = 3 }):totable())
    end
  end)

  it("takes builders of networks, and names bad input", function()
    local model = sv.model { simulator = sim, members = 2, width = 8, net = function(t) return sv.nets.mlp(t) end }
    assert.equal(2, #model.encoder.members)
    raises("members must be from 1 to 64; got 0", sv.model, { simulator = sim, members = 0 })
    raises("members takes a whole number; got 1.5", sv.model, { simulator = sim, members = 1.5 })
    raises("members = 2 takes a net by name or a builder function", sv.model,
      { simulator = sim, members = 2, net = { decoder = model.decoder, encoder = model.encoder } })
  end)
end)
