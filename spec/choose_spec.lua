--- The choice of parameters by an ensemble's decoders: where they are, and whether decoders learn more from them than
-- from as many draws of the prior.
local core = require "simvae.core"
local helper = require "spec.helper"
local sv = require "simvae"

local raises = helper.raises

local calls = 0
-- A resonance that fills a twentieth of the square: elsewhere the output is nearly a plane.
local function resonance(options)
  local t = { name = "resonance", output = { 4 },
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = -1, high = 1 } },
    simulate = function(z, out)
      calls = calls + 1
      local peak = math.exp(-((z.a - 0.5) ^ 2 + (z.b + 0.4) ^ 2) / 0.03)
      for i = 1, 4 do out[i] = peak * i / 2 + 0.1 * z.a * i end
    end }
  for k, v in pairs(options or {}) do t[k] = v end
  return sv.simulator(t)
end

local function train(t, seed, members)
  local model = sv.model { simulator = t.simulator or resonance(), members = members or 3, width = 32, seed = seed or 1,
    posterior = "flow", transforms = 1, bins = 4 }
  local o = { quiet = true, simulations = 100, batch = 32, held_out = 0, choose = { batches = 4 },
    decoder = { steps = 12 }, encoder = { steps = 8 } }
  for k, v in pairs(t) do if k ~= "simulator" then o[k] = v or nil end end
  return model:train(o)
end

describe("choosing parameters", function()
  local runs, prior = helper.temporary_folder(), resonance()
  local truth = prior:sample(1000, sv.rng(99))
  local x = prior:run(truth)

  -- The median over seeds of the decoder's root mean square error over the prior.
  local function error_of(t)
    local errors = {}
    for seed = 1, 3 do
      t.seed, t.out = seed, t.choose ~= false and runs .. "/" .. seed or nil
      errors[seed] = core.sqrt(core.mean(core.square(train(t, seed):decode(truth) - x))):item()
    end
    table.sort(errors)
    return errors[2]
  end

  it("has a decoder learn more from as many simulations of a local resonance #long", function()
    local t = { simulations = 120, encoder = { steps = 0 }, decoder = { steps = 1400 } }
    local chosen = error_of(t)
    t.choose, t.decoder = false, { steps = 2100 } -- as many steps in all
    local r = error_of(t)
    assert.is_true(chosen < 0.6 * r)
  end)

  it("simulates the prior first, then at the resonance and at the bounds #long", function()
    local function share(of, n)
      local count = 0
      for _, row in ipairs(of:sample(n, sv.rng(1)):totable()) do
        local edge = math.max(math.abs(row[1]), math.abs(row[2])) > 0.85
        if edge or (row[1] - 0.5) ^ 2 + (row[2] + 0.4) ^ 2 < 0.1 then count = count + 1 / n end
      end
      return count
    end
    local usual, later = share(prior, 4000), 0
    for seed = 1, 3 do
      for part = 1, 5 do
        local made = assert(sv.dataset { path = string.format("%s/%d/choice_%d/samples.bin", runs, seed, part) })
        assert.equal(part == 1 and 30 or part % 2 == 0 and 22 or 23, made.rows)
        if part > 1 then later = later + share(made, 400) / 12 end
      end
    end
    assert.is_true(later > 1.2 * usual)
  end)

  it("uses the number of simulations, is the same with workers, and goes on where it was interrupted", function()
    local folder = helper.temporary_folder()
    calls = 0
    local whole = train {}
    assert.equal(100, calls)
    local function same(other)
      for name, t in pairs(whole:state()) do
        assert.equal(0, core.max(core.abs(t - other:state()[name])):item(), name)
      end
    end
    same(train { workers = 2 })
    local seen = 0
    assert.is_false(pcall(train, { out = folder, on_step = function(stage, at)
      if stage == "decoder" and at == 1 then seen = seen + 1 end
      if seen == 4 then error("interrupted!", 0) end
    end }))
    calls = 0
    same(train { out = folder })
    assert.equal(19, calls) -- of the last part
    same(assert(sv.load(folder .. "/model.safetensors", resonance())))
    for _ = 1, 2 do
      calls = 0
      same(train { cache = folder .. "/cache" })
    end
    assert.equal(0, calls)
  end)

  it("replaces simulations that fail", function()
    local sim = resonance { simulate = function(z, out)
      if z.a > 0.9 then return false, "no" end
      out:fill(z.a + z.b)
    end }
    assert.equal(8, train({ simulator = sim }).trained.encoder)
  end)

  it("names bad input", function()
    local function refused(message, t) raises(message, train, t) end
    raises("choose takes a model of members = 2 or more", function()
      local model = sv.model { simulator = resonance(), width = 4 }
      model:train { choose = true, simulations = 100, quiet = true }
    end)
    refused("choose needs simulations = N", { simulations = false })
    refused("choose takes a first part of 16 simulations or more and one for each of 4 batches; got 15 of 60",
      { simulations = 60 })
    refused("choose and rounds both say what is simulated",
      { rounds = 2, observation = core.zeros(1, 4), simulations = 200 })
    refused("choose simulates parameters that do not follow the prior", { encoder = { steps = 1, labels = 1 } })
    refused("choose needs steps of the decoder", { decoder = { steps = 0 } })
    refused("first must be", { choose = { first = 2 } })
    refused("unknown option 'share'", { choose = { share = 2 } })
    refused("choose runs the simulator at parameters of its own, not a cache offline", { offline = true })
  end)
end)
