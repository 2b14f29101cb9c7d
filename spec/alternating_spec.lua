-- Alternating training on a stream of labelled and unlabelled outputs.
local core = require "simvae.core"
local sv = require "simvae"

describe("a stream of batches", function()
  -- A linear map of two parameters to six numbers: the least-squares inverse is exact.
  local rows = sv.rng(5):normal { 2, 6 }
  local line = sv.simulator {
    name = "line", output = { 6 }, params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 2, high = 6 } },
    simulate = function(z, out)
      for i = 1, 6 do out[i] = z.a * rows:get(1, i) + z.b * rows:get(2, i) end
    end,
  }
  local function model_of(seed)
    return sv.model { simulator = line, posterior = "gaussian", width = 32, seed = seed or 1 }
  end
  local function snapshot(net)
    local list = {}
    for i, p in ipairs(net:parameters()) do list[i] = p:totable() end
    return list
  end

  it("trains the decoder on pairs and the encoder on outputs, in the stream's order", function()
    local model, rng, order = model_of(), sv.rng(2), {}
    local at, kinds = 0, { "pairs", "pairs", "outputs", "pairs", "outputs" }
    local states = {}
    model:train {
      stream = function()
        states[#states + 1] = { decoder = snapshot(model.decoder), encoder = snapshot(model.encoder) }
        at = at + 1
        if not kinds[at] then return nil end
        local z, x = sv.simulate(line, 32, rng)
        return kinds[at] == "pairs" and { z = z, x = x } or { x = x }
      end,
      on_step = function(stage, step) order[#order + 1] = stage .. step end,
    }
    assert.same({ "decoder1", "decoder2", "encoder1", "decoder3", "encoder2" }, order)
    assert.same({ decoder = 3, encoder = 2 }, model.trained)
    for i, kind in ipairs(kinds) do
      local moved, kept = "decoder", "encoder"
      if kind == "outputs" then moved, kept = kept, moved end
      assert.same(states[i][kept], states[i + 1][kept])
      assert.is_not.same(states[i][moved], states[i + 1][moved])
    end
    for _, p in ipairs(model.decoder:parameters()) do assert.is_true(p.needs_grad) end
  end)

  it("finds the inverse from few pairs and outputs without parameters", function()
    local model, rng, at = model_of(), sv.rng(3), 0
    local z, x = sv.simulate(line, 16, rng)
    model:train { encoder = { lr = 2e-3 }, decoder = { lr = 2e-3 }, seed = 1, stream = function()
      at = at + 1
      if at > 1600 then return nil end
      if at % 2 == 1 then return { z = z, x = x } end
      local _, own = sv.simulate(line, 64, rng)
      return { x = own }
    end }
    local known, seen = sv.simulate(line, 200, sv.rng(9))
    local off = core.sqrt(core.mean(core.square((model:encode(seen)) - known), 1)):totable()
    assert.is_true(off[1] < 0.1 and off[2] < 0.2, off[1] .. " " .. off[2])
  end)

  it("is reproducible, and ends where on_step says so", function()
    local function trained()
      local model, rng = model_of(4), sv.rng(2)
      model:train { seed = 7, on_step = function(_, step) return step < 5 end, stream = function()
        local z, x = sv.simulate(line, 16, rng)
        return model.trained.decoder > 0 and { x = x } or { z = z, x = x }
      end }
      return model
    end
    local a, b = trained(), trained()
    assert.same({ decoder = 1, encoder = 5 }, a.trained)
    assert.same(snapshot(a.encoder), snapshot(b.encoder))
  end)

  it("trains extra latents with the decoder, and ends a correction that was of other weights", function()
    local model = sv.model { simulator = line, posterior = "gaussian", width = 32, seed = 1, extra = 2 }
    model:train { decoder = { steps = 5 }, encoder = { steps = 5 }, quiet = true }
    model:recalibrate { simulations = 100 }
    local before, at = snapshot(model.decoder.inner[2]), 0
    local z, x = sv.simulate(line, 32, sv.rng(2))
    model:train { stream = function()
      at = at + 1
      return at == 1 and { z = z, x = x } or nil
    end }
    assert.is_not.same(before, snapshot(model.decoder.inner[2]))
    assert.is_false(model.recalibration)
  end)

  it("refuses what it cannot train on, and says what would do", function()
    local function fails(what, t, model)
      local ok, why = pcall(function() return (model or model_of()):train(t) end)
      assert.is_false(ok)
      assert.matches(what, why, 1, true)
    end
    local z, x = sv.simulate(line, 20, sv.rng(1))
    local function of(batch) return function() return batch end end
    fails("stream takes a function; got 3", { stream = 3 })
    fails("stream returns { z =, x = }, { x = } or nil; got 3", { stream = of(3) })
    fails("stream returns { z =, x = }, { x = } or nil", { stream = of { z = z } })
    fails("z and x of a batch have as many rows; got 20 and 18",
      { stream = of { z = z, x = core.slice(x, 1, 1, 18) } })
    fails("the first batch, which gives the scale of outputs, takes 16 rows or more; got 4",
      { stream = of { x = core.slice(x, 1, 1, 4) } })
    fails("train: stream: takes (N, 6); got (20, 2)", { stream = of { x = z } })
    fails("leave out simulations", { stream = of(nil), simulations = 100 })
    fails("leave out out", { stream = of(nil), out = "runs/nowhere" })
    fails("lr of the encoder is a number or a function", { stream = of(nil), encoder = { lr = { peak = 1e-3 } } })
    fails("leave out steps of the decoder", { stream = of(nil), decoder = { steps = 5 } })
    fails("posterior = \"gaussian\"", { stream = of(nil) }, sv.model { simulator = line, posterior = "flow" })
    fails("the loss of the decoder became", { decoder = { lr = 1e30 }, stream = of { z = z, x = x } })
  end)
end)
