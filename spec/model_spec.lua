local helper = require "spec.helper"
local sv = require "simvae"
local core = require "simvae.core"
local json = require "dkjson"

-- Two parameters, slope and offset of a straight line.
local function line(noise)
  return sv.simulator {
    name = "line",
    params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 100, high = 300, unit = "mV" } },
    output = { 8 },
    simulate = function(z, out)
      for i = 1, 8 do out[i] = 100 * z.a * (i - 4.5) + z.b + (noise or 0) * i end
    end,
  }
end

local function disc()
  return sv.simulator {
    name = "disc", output = { 1, 16, 16 },
    params = { { name = "x", low = 4, high = 12, unit = "px" }, { name = "y", low = 4, high = 12, unit = "px" } },
    simulate = function(z, out)
      for r = 1, 16 do
        for c = 1, 16 do
          local d = math.sqrt((c - 0.5 - z.x) ^ 2 + (16.5 - r - z.y) ^ 2)
          out:set(math.min(1, math.max(0, 3.5 - d)), 1, r, c)
        end
      end
    end,
  }
end

local function folder()
  return helper.temporary_folder() .. "/run"
end

local read = helper.read

local raises = helper.raises

local short = { decoder = { steps = 20 }, encoder = { steps = 20 }, batch = 8, quiet = true }
local function options(t)
  local o = {}
  for k, v in pairs(short) do o[k] = v end
  for k, v in pairs(t or {}) do o[k] = v end
  return o
end

describe("codes", function()
  local latent = require "simvae.model.latent"
  local params = {
    { name = "u", low = -2, high = 6, scale = "linear" },
    { name = "l", low = 1, high = 100, scale = "log" },
    { name = "p", low = 0, high = 360, period = 360, scale = "linear" },
    { name = "c", low = 1, high = 3, levels = 3, scale = "linear" },
  }
  local code = latent.new(params)

  it("are what the definitions say", function()
    assert.equal(1 + 1 + 2 + 3, code.size)
    local c = code:to_code(sv.tensor { { 6, 10, 90, 2 } })[1]:totable()
    local expected = { 1, 0, 0, 1, 0, 1, 0 }
    for i, v in ipairs(expected) do assert.near(v, c[i], 1e-6) end
  end)

  it("go there and back", function()
    local z = { { -1.5, 2, 350, 3 }, { 5, 99, 10, 1 } }
    local back = code:to_units(code:to_code(sv.tensor(z))):totable()
    for n = 1, 2 do
      for k = 1, 4 do assert.near(z[n][k], back[n][k], 1e-3) end
    end
  end)

  it("squash into the support", function()
    local raw = sv.rng(1):normal(0, 3, { 50, code.size })
    local inside = code:squash(raw):totable()
    for _, row in ipairs(inside) do
      assert.is_true(math.abs(row[1]) <= 1 and math.abs(row[2]) <= 1)
      assert.near(1, row[3] ^ 2 + row[4] ^ 2, 1e-3)
      assert.near(1, row[5] + row[6] + row[7], 1e-5)
    end
    for _, row in ipairs(code:squash(raw, "tanh"):totable()) do
      assert.is_true(math.abs(row[1]) < 1 and math.abs(row[2]) < 1)
    end
  end)

  it("keep a gradient at the edge, and count what lies outside", function()
    local interval = latent.new { params[1] }
    local raw = sv.parameter(sv.tensor { { 3 }, { -1.5 }, { 0.5 } })
    local tape <close> = sv.tape()
    local mean = interval:squash(raw)
    assert.same({ { 1 }, { -1 }, { 0.5 } }, mean:totable())
    local outside = interval:overshoot(raw)
    assert.near((2 * 2 - 1 + 0.5 ^ 2 + 0) / 3, outside:item(), 1e-6)
    tape:backward(sv.sum(mean))
    assert.same({ { 1 }, { 1 }, { 1 } }, raw.grad:totable())
  end)

  it("carry a standard deviation to first order", function()
    local mean = code:to_code(sv.tensor { { 2, 10, 90, 2 } })
    local _, std = code:to_units(mean, sv.full(0.01, { 1, code.size }))
    local s = std[1]:totable()
    assert.near(0.01 * 4, s[1], 1e-5)                       -- half the range
    assert.near(0.01 / 2 * math.log(100) * 10, s[2], 1e-4)  -- d log z = dz / z
    assert.near(0.01 * 180 / math.pi, s[3], 1e-4)           -- degrees on the circle
  end)
end)

describe("a model", function()
  it("learns a simulator and its inverse from outputs alone #long", function()
    local sim = line()
    local model = sv.model { simulator = sim, width = 32, seed = 1 }
    model:train { batch = 64, quiet = true, decoder = { steps = 400, lr = 3e-3 }, encoder = { steps = 400, lr = 3e-3 } }
    local r = sv.evaluate(model, { samples = 1000 })
    assert.is_true(r.resimulation_r2 > 0.98, "R2 " .. r.resimulation_r2)
    assert.is_true(r.rmse_relative.a < 0.05, "a " .. r.rmse_relative.a)
    assert.is_true(r.rmse_relative.b < 0.1, "b " .. r.rmse_relative.b)
  end)

  it("trains on images and reaches a stated R2 #long", function()
    local model = sv.model { simulator = disc(), width = 8, seed = 1 }
    model:train { batch = 32, quiet = true, decoder = { steps = 250 }, encoder = { steps = 250 } }
    local r = sv.evaluate(model, { samples = 400 })
    assert.is_true(r.resimulation_r2 > 0.8, "R2 " .. r.resimulation_r2)
  end)

  it("never shows z to the encoder", function()
    local sim = line()
    local model = sv.model { simulator = sim, seed = 1, width = 16 }
    model:train_decoder { steps = 30, batch = 8, quiet = true }
    local saved = model:state()
    local a, b = {}, {}
    for name, t in pairs(saved) do a[name] = t:clone() end
    model:train_encoder { steps = 10, batch = 8, quiet = true }
    for name, t in pairs(model:state()) do b[name] = t:clone() end
    -- the same outputs under wrong labels: the same encoder
    local blind = sv.model { simulator = sim, seed = 1, width = 16 }
    blind:load_state(a)
    local real = sim.simulate_batch
    sim.simulate_batch = function(self, n, rng)
      local z, x = real(self, n, rng)
      return z * 0, x
    end
    blind:train_encoder { steps = 10, batch = 8, quiet = true }
    sim.simulate_batch = nil
    for name, t in pairs(blind:state()) do
      assert.equal(0, sv.sum(sv.abs(t - b[name])):item(), name)
    end
  end)

  it("freezes the decoder in stage 2", function()
    local model = sv.model { simulator = disc(), seed = 1, width = 4 }
    model:train_decoder { steps = 5, batch = 8, quiet = true }
    local before = {}
    for name, t in pairs(model.decoder:state()) do before[name] = t:clone() end
    model:train_encoder { steps = 5, batch = 8, quiet = true }
    for name, t in pairs(model.decoder:state()) do
      assert.equal(0, sv.sum(sv.abs(t - before[name])):item(), name)
    end
  end)

  it("encodes one sample, a batch, and more than a chunk alike", function()
    local model = sv.model { simulator = disc(), seed = 1, width = 4 }
    local z, x = sv.simulate(disc(), 300, sv.rng(1))
    local mean, std = model:encode(x)
    assert.same({ 300, 2 }, mean.shape)
    assert.same({ 300, 2 }, std.shape)
    local one = model:encode(x[7])
    assert.near(0, sv.max(sv.abs(one - mean[7])):item(), 1e-4)
    assert.same({ 300, 1, 16, 16 }, model:decode(z).shape)
  end)

  it("inverts more closely than it encodes #long", function()
    local sim = line()
    local model = sv.model { simulator = sim, width = 16, seed = 1 }
    model:train { batch = 32, quiet = true, decoder = { steps = 200, lr = 3e-3 }, encoder = { steps = 30, lr = 1e-3 } }
    local _, x = sv.simulate(sim, 20, sv.rng(9))
    local function misfit(z) return sv.mse_loss(model:decode(z), x):item() end
    assert.is_true(misfit(model:invert(x, { steps = 100 })) < 0.5 * misfit((model:encode(x))))
  end)

  it("accepts a net of one's own: layers, or plain functions over parameters", function()
    local sim = line()
    local w = sv.parameter(sv.rng(1):normal(0, 0.1, { 8, 2 }))
    local model = sv.model { simulator = sim, posterior = "gaussian", net = {
      decoder = sv.nn.func(function(z, p) return sv.linear(z, p.w) end, { w = w }),
      encoder = sv.nn.sequential { sv.nn.linear(8, 16), sv.nn.tanh(), sv.nn.linear(16, 4) },
    } }
    model:train(options { decoder = { steps = 300, lr = 0.02 } })
    local z, x = sv.simulate(sim, 64, sv.rng(2))
    assert.is_true(sv.mse_loss(model:decode(z), x):item() < 0.02 * sv.var(x):item()) -- a line is linear in z
  end)

  it("takes every loss, and a function #long", function()
    for _, loss in ipairs { "mse", "l1", "gaussian", "bce", function(y, x) return sv.mean(sv.abs(y - x)) end } do
      local model = sv.model { simulator = disc(), width = 4, loss = loss }
      model:train(options())
      assert.is_true((model:encode(sv.zeros(1, 1, 16, 16)):finite()))
    end
  end)

  it("keeps memory flat over 2,000 steps #long", function()
    local model = sv.model { simulator = line(), width = 16 }
    local at = {}
    model:train { batch = 16, quiet = true, decoder = { steps = 2000 }, encoder = { steps = 0 },
      on_step = function(_, step)
        if step == 200 or step == 2000 then
          collectgarbage()
          at[#at + 1] = collectgarbage "count" + core.memory().live / 1024
        end
      end }
    assert.near(at[1], at[2], 200) -- KB
  end)
end)

describe("a run directory", function()
  it("holds the log, a checkpoint and the model", function()
    local out = folder()
    local model = sv.model { simulator = disc(), width = 4 }
    model:train(options { out = out, log_every = 10 })
    local rows = {}
    for row in read(out .. "/log.csv"):gmatch "[^\n]+" do rows[#rows + 1] = row end
    assert.equal("step,stage,loss,lr,samples/s,seconds,held_out", rows[1])
    assert.matches("^10,decoder,", rows[2])
    assert.matches("^20,encoder,", rows[5])
    assert.equal(5, #rows)
    local again = assert(sv.load(out .. "/model.safetensors", disc()))
    local _, x = sv.simulate(disc(), 4, sv.rng(1))
    assert.same(model:encode(x):totable(), again:encode(x):totable())
  end)

  it("goes on from an interruption to the same result", function()
    local function final(interrupt)
      local out = folder()
      local function go(on_step)
        local model = sv.model { simulator = disc(), width = 4, seed = 3 }
        return pcall(model.train, model, options { out = out, checkpoint_every = 1e-9, on_step = on_step }), model
      end
      if interrupt then
        local ok = go(function(stage, step)
          if stage == interrupt.stage and step == interrupt.step then error("interrupted!", 0) end
        end)
        assert.is_false(ok)
      end
      local ok, model = go()
      assert.is_true(ok)
      local state = {}
      for name, t in pairs(model:state()) do state[name] = t:totable() end
      return state
    end
    local whole = final()
    assert.same(whole, final { stage = "decoder", step = 11 })
    assert.same(whole, final { stage = "encoder", step = 13 })
  end)

  it("is left alone when it is of another configuration", function()
    local out = folder()
    sv.model { simulator = disc(), width = 4 }:train(options { out = out })
    local before = read(out .. "/checkpoint.safetensors")
    local other = sv.model { simulator = disc(), width = 8 }
    raises("another configuration: width was 4 and is now 8", other.train, other, options { out = out })
    assert.equal(before, read(out .. "/checkpoint.safetensors"))
  end)

  it("is refused before training when it cannot be written", function()
    local model = sv.model { simulator = disc(), width = 4 }
    raises("out cannot be made: /dev/null", model.train, model, options { out = "/dev/null/x" })
    assert.equal(0, model.trained.decoder)
  end)

  it("keeps the last good checkpoint when the loss turns NaN", function()
    local out = folder()
    local bad = false
    local model = sv.model { simulator = disc(), posterior = "gaussian", width = 4, loss = function(y, x)
      local d = sv.mse_loss(y, x)
      return bad and d * (0 / 0) or d
    end }
    raises("loss of the decoder became %-?nan at step 8", model.train, model, options {
      out = out, checkpoint_every = 1e-9,
      on_step = function(_, step) bad = step >= 7 end,
    })
    local _, metadata = sv.io.load_safetensors(out .. "/checkpoint.safetensors")
    assert.equal(7, json.decode(metadata.run).step)
  end)
end)

describe("the default recipe of pictures", function()
  local recipes = require "simvae.train.recipes"

  it("weighs a picture's absolute errors by its ink, and coarse squared errors", function()
    -- 0 where there is no figure, as a logit; 64 of 256 pixels lit, half of them found, nothing beside
    local x, raw = sv.zeros(2, 1, 16, 16), sv.full(-40, { 2, 1, 16, 16 })
    for i = 1, 8 do
      for j = 1, 8 do
        for n = 1, 2 do x:set(1, n, 1, i, j) end
        if j <= 4 then raw:set(40, 1, 1, i, j) end
        raw:set(40, 2, 1, i, j)
      end
    end
    local model = sv.model { simulator = disc(), width = 4 }
    local recipe = recipes.get(nil, model)
    local run = { step = 10, total = 10, encoder = { prior = 3 } }
    -- 32 pixels apart, 32 + 64 of ink, 4 of grace; blocks of 2 and 4 pixels are wrong as a whole or not at
    -- all, one of the four blocks of 8 is half wrong, an eighth of the one of 16
    local jaccard = (2 * 32 / (96 + 32 + 4) + 0) / 2
    local coarse = (32 / 256 + 32 / 256 + (0.5 ^ 2) / 4 + (32 / 256) ^ 2) / 2
    assert.near(jaccard + 4 * coarse, recipe.encoder_loss(model, raw, x, run, sv.zeros(2, 2)):item(), 1e-5)
    run.encoder.errors = "absolute"
    assert.near(5 * 32 / 512 + 4 * coarse, recipe.encoder_loss(model, raw, x, run, sv.zeros(2, 2)):item(), 1e-5)
    run.encoder.errors = "relative"
    -- dark on light is the same
    assert.near(jaccard + 4 * coarse, recipe.encoder_loss(model, -raw, 1 - x, run, sv.zeros(2, 2)):item(), 1e-5)
  end)

  it("shows a loss of one's own the whole batch, once a step", function()
    local seen = {}
    local model = sv.model { simulator = disc(), posterior = "gaussian", width = 4, loss = function(y, x)
      seen[#seen + 1] = x.shape[1]
      return sv.mean(sv.square(y - x))
    end }
    model:train { batch = 4, quiet = true, decoder = { steps = 0 }, encoder = { steps = 3 } }
    assert.same({ 4, 4, 4 }, seen)
  end)

  it("lends a recipe of one's own what its stages leave out", function()
    local model = sv.model { simulator = disc(), width = 4 }
    local own = recipes.get({ encoder = { steps = 2 } }, model)
    assert.same({ steps = 2, prior = 3 }, { steps = own.encoder.steps, prior = own.encoder.prior })
    assert.equal(8000, recipes.default.encoder.steps)
    model:train { recipe = { encoder = { steps = 2 } }, decoder = { steps = 1 }, batch = 4, quiet = true }
    assert.equal(2, model.trained.encoder)
  end)

  it("draws codes to the prior's distribution in the first half, unless told not to", function()
    local model = sv.model { simulator = disc(), width = 4 }
    local recipe = recipes.get(nil, model)
    local x = sv.zeros(8, 1, 16, 16)
    local function loss(mean, prior, step)
      local run = { step = step, total = 10, encoder = { prior = prior }, rng = sv.rng(1),
        prior = { codes = function(_, _, n) return sv.full(0.5, { n, 2 }) end } }
      return recipe.encoder_loss(model, sv.full(-40, { 8, 1, 16, 16 }), x, run, mean):item()
    end
    local near, far = sv.full(0.5, { 8, 2 }), sv.full(-0.5, { 8, 2 })
    assert.near(0, loss(near, 3, 1), 1e-6)
    assert.is_true(loss(far, 3, 1) > 1)
    assert.near(0, loss(far, 0, 1), 1e-6)
    assert.near(0, loss(far, 3, 5), 1e-6)
  end)
end)

describe("the net \"coordconv\"", function()
  it("learns a picture with edges, and takes sides of 16 pixels and more #long", function()
    local model = sv.model { simulator = disc(), net = "coordconv", width = 4, seed = 3 }
    assert.same({ 3, 1, 16, 16 }, model:decode(sv.full(8, { 3, 2 })).shape)
    local function mse()
      local z, x = disc():simulate_batch(64, sv.rng(5))
      return sv.mean(sv.square(model:decode(z) - x)):item()
    end
    model:train_decoder { steps = 20, batch = 16, lr = 3e-3, quiet = true }
    local before = mse()
    model:train_decoder { steps = 200, batch = 16, lr = { peak = 5e-3, warmup = 10 }, quiet = true }
    assert.is_true(mse() < before / 2)
    raises("net \"coordconv\" takes images", sv.model, { simulator = line(), net = "coordconv" })
  end)
end)

describe("bad input to a model", function()
  it("is named", function()
    raises("unknown option 'widht'; did you mean 'width'", sv.model, { simulator = disc(), widht = 3 })
    raises("simulator must be made by sv.simulator", sv.model, { simulator = {} })
    raises("net is \"conv\", \"conv1d\", .*\"vit\", a function", sv.model,
      { simulator = disc(), net = "unet" })
    raises("loss is one of bce", sv.model, { simulator = disc(), loss = "huber" })
    raises("net \"dcgan\" takes images", sv.model, { simulator = line(), net = "dcgan" })
    local model = sv.model { simulator = disc(), width = 4 }
    raises("encode: takes %(N, 1, 16, 16%); got %(2, 3, 16, 16%)", model.encode, model, sv.zeros(2, 3, 16, 16))
    raises("decode: takes %(N, x, y%); got %(2, 3%)", model.decode, model, sv.zeros(2, 3))
    raises("unknown option 'stpes'; did you mean 'steps'", model.train, model, { decoder = { stpes = 3 } })
    raises("recipe is", model.train, model, { recipe = "best" })
    raises("train: decoder: lr: option 'peak' is missing", model.train, model, { decoder = { lr = { warmup = 3 } } })
    raises("train: decoder: lr: peak must be above 0", model.train, model, { decoder = { lr = { peak = 0 } } })
  end)

  it("in files is refused", function()
    local path = folder()
    local model = sv.model { simulator = line(), width = 4 }
    assert(model:save(path))
    local got, why = sv.load(path, disc())
    assert.is_nil(got)
    assert.matches("a model of 'line', .*: parameter 1 is 'a', the simulator's 'x'", why)
    local whole = read(path)
    local f = assert(io.open(path, "wb"))
    f:write(whole:sub(1, #whole // 2))
    f:close()
    got, why = sv.load(path, line())
    assert.is_nil(got)
    assert.matches(path, why, 1, true)
    assert.is_nil((sv.load(path .. ".none")))
  end)
end)
