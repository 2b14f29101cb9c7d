local helper = require "spec.helper"
local sv = require "simvae"
local loss = require "simvae.model.loss"

local raises = helper.raises

-- A decaying curve in some unit, with an offset.
local function decay(unit, offset)
  return sv.simulator {
    name = "decay", params = { { name = "a", low = 0, high = 1 } }, output = { 8 },
    simulate = function(z, out)
      for i = 1, 8 do out[i] = unit * (1 + z.a * math.exp(-i / 5)) + (offset or 0) end
    end,
  }
end

-- Discs on a picture, in some unit; `last`: only there.
local function disc(unit, changes)
  local t = {
    name = "disc", output = { 1, 16, 16 },
    params = { { name = "x", low = 5, high = 11 }, { name = "y", low = 5, high = 11 } },
    simulate = function(z, out)
      sv.draw(out):clear(1):circle(z.x, z.y, 3, { fill = 0 })
      return out * unit
    end,
  }
  for k, v in pairs(changes or {}) do t[k] = v end
  return sv.simulator(t)
end

local function trained(sim, steps, more)
  local t = { simulator = sim, width = 8 }
  for k, v in pairs(more or {}) do t[k] = v end
  local model = sv.model(t)
  return model:train { quiet = true, batch = 16, decoder = { steps = steps }, encoder = { steps = steps } }
end

describe("the scale of outputs", function()
  it("makes a model the same in every unit: bit for bit where units are powers of two", function()
    local reference = trained(decay(1), 30)
    local z = sv.tensor { { 0.1 }, { 0.5 }, { 0.9 } }
    local mean, std = reference:encode(decay(1):run(z))
    for _, power in ipairs { -100, -36, 36, 100 } do
      local unit = 2.0 ^ power
      local model = trained(decay(unit), 30)
      local m, s = model:encode(decay(unit):run(z))
      assert.same(mean:totable(), m:totable())
      assert.same(std:totable(), s:totable())
      assert.same(reference:decode(z):totable(), (model:decode(z) * (1 / unit)):totable())
    end
  end)

  it("makes models of pictures the same in every unit, for each loss that does not ask for [0, 1]", function()
    for _, name in ipairs { "mse", "l1", "gaussian" } do
      local z = sv.tensor { { 6, 10 } }
      local x = disc(1):run(z)
      local one, other = trained(disc(1), 8, { loss = name }), trained(disc(2.0 ^ -40), 8, { loss = name })
      assert.same(one:encode(x):totable(), other:encode(x * 2.0 ^ -40):totable(), name)
      assert.same(one:decode(z):totable(), (other:decode(z) * 2.0 ^ 40):totable(), name)
    end
  end)

  it("is the mean and standard deviation, from 1e-38 to 1e38", function()
    for _, unit in ipairs { 1e-36, 1e-11, 1, 1e30, 1e37 } do
      local fitted = loss.new("mse", { 2 })
      fitted:fit(sv.tensor { { 1 * unit, -4 * unit }, { 2 * unit, 0 }, { 6 * unit, 1 * unit } })
      local mean, std = fitted.mean:totable(), fitted.std:totable()
      for i, v in ipairs { 3, -1 } do assert.near(v, mean[i] / unit, 1e-6) end
      for i, v in ipairs { math.sqrt(7), math.sqrt(7) } do assert.near(v, std[i] / unit, 1e-6) end
    end
  end)

  it("sees small changes beside a large mean, as far as single precision has them", function()
    -- 2^20 + k / 8: exact in single precision
    local rows = {}
    for k = 0, 7 do rows[k + 1] = { 2 ^ 20 + k / 8 } end
    local fitted = loss.new("mse", { 1 })
    local constant, coarse = fitted:fit(sv.tensor(rows))
    assert.same({}, constant)
    assert.same({ 1 }, coarse) -- 0.3 of a million: two digits of the seven
    assert.near(math.sqrt(42 / 7) / 8, fitted.std:item(), 1e-6) -- sum of squares about the mean: 42 steps
    constant, coarse = loss.new("mse", { 1 }):fit(sv.tensor { { 1000 }, { 1001 }, { 1002 } })
    assert.same({ {}, {} }, { constant, coarse })
  end)

  it("names elements whose scale is that of a few outliers", function()
    -- of n values, k equal outliers lie sqrt(n / k - 1) standard deviations off: 3 of 1024 18, 10 of 1024 10
    local rows = {}
    for n = 1, 1024 do rows[n] = { n % 3, n <= 3 and 1e9 or n % 3, n <= 10 and -1e9 or n % 3 } end
    local constant, coarse, stretched = loss.new("mse", { 3 }):fit(sv.tensor(rows))
    assert.same({ {}, {}, { 2 } }, { constant, coarse, stretched })
    local sim = sv.simulator { name = "poles", params = { { name = "a", low = 0, high = 1 } }, output = { 2 },
      simulate = function(z) return { z.a, 1 / math.max(1e-9, z.a - 0.999) } end }
    local text = helper.stderr_of(trained, sim, 5)
    assert.matches("element 2 of the output %(1 of 2%) has outliers over 1024 draws", text)
  end)

  it("names elements that are constant, once, and decodes them as they are", function()
    local sim = sv.simulator { name = "flat", params = { { name = "a", low = 0, high = 1 } }, output = { 4 },
      simulate = function(z) return { 1e-11 * z.a, 3e-11, 1e-11 * (1 - z.a), 0 } end }
    local text, model = helper.stderr_of(trained, sim, 60)
    assert.matches("elements 2 and 4 of the output %(2 of 4%) are constant over 1024 draws", text)
    assert.equal("", (helper.stderr_of(model.train_encoder, model, { steps = 2, quiet = true })))
    local y = model:decode(sv.tensor { { 0.5 } })[1]:totable()
    assert.near(3e-11, y[2], 1e-11)
    assert.near(0, y[4], 1e-11)
    local other = helper.stderr_of(trained, sv.simulator { name = "all", params = { { name = "a", low = 0, high = 1 } },
      output = { 20 }, simulate = function(_, out) out:fill(5) end }, 1)
    assert.matches("elements 1, 2, 3, 4, 5, 6, 7, 8 and 12 more of the output %(20 of 20%)", other)
  end)

  it("is taken once: later stages and a loaded model keep it", function()
    local model = trained(decay(1), 5)
    local mean, std = model.loss.mean:totable(), model.loss.std:totable()
    local function same(m)
      assert.same(mean, m.loss.mean:totable())
      assert.same(std, m.loss.std:totable())
    end
    model:train_decoder { steps = 2, quiet = true, seed = 7 }
    model:train_encoder { steps = 2, quiet = true, seed = 8 }
    same(model)
    local path = helper.temporary_folder() .. "/model.safetensors"
    assert(model:save(path))
    local again = assert(sv.load(path, decay(1)))
    again:train_decoder { steps = 2, quiet = true, seed = 9 }
    same(again)
    again:train_decoder { steps = 2, quiet = true, seed = 9, refit = true }
    assert.is_false(pcall(same, again))
    -- an untrained model's file has none yet
    assert(sv.model { simulator = decay(1), width = 8 }:save(path))
    local fresh = assert(sv.load(path, decay(1)))
    fresh:train { quiet = true, batch = 16, decoder = { steps = 5 }, encoder = { steps = 5 } }
    same(fresh)
  end)
end)

describe("outputs under cross-entropy", function()
  it("are in [0, 1]: others are refused before they train anything, with the remedy", function()
    for unit, remedy in pairs { [255] = "divide by 255, or give loss = \"mse\"", [65535] = "divide by 65535",
      [-1] = "scale them to %[0, 1%]", [1e6] = "scale them to %[0, 1%]" } do
      local model = sv.model { simulator = disc(unit), width = 4 }
      raises("simulator 'disc': loss \"bce\" takes outputs in %[0, 1%]; got .*: " .. remedy, model.train, model,
        { quiet = true, decoder = { steps = 3 }, encoder = { steps = 3 } })
      assert.equal(0, model.trained.decoder)
    end
    local model = trained(disc(255), 2, { loss = "mse" })
    assert.is_true((model:encode(disc(255):run(sv.tensor { { 6, 10 } })):finite()))
  end)

  it("are looked at in every batch", function()
    local count = 0
    local sim = disc(1, { simulate = function(_, out)
      count = count + 1
      out:fill(count == 100 and 2 or 0.5)
    end })
    local model = sv.model { posterior = "gaussian", simulator = sim, width = 4 }
    raises("got 0.5 to 2", model.train, model, { quiet = true, batch = 8, decoder = { steps = 30 } })
    assert.equal(12, model.trained.decoder) -- sample 100 is in batch 13 of 8
  end)

  it("are refused by encode, infer and invert; rounding is not", function()
    local model = sv.model { posterior = "gaussian", simulator = disc(1), width = 4 }
    local x = disc(1):run(sv.tensor { { 6, 10 } })
    for _, method in ipairs { "encode", "infer", "invert" } do
      raises(method .. ": loss \"bce\" takes outputs in %[0, 1%]; got 0 to 255: divide by 255", model[method], model,
        x * 255)
    end
    assert.is_true((model:encode(x * 1.0001):finite()))
  end)

  it("may be vectors: probabilities, as they are", function()
    local sim = sv.simulator { name = "bits", params = { { name = "a", low = 0, high = 1 } }, output = { 6 },
      loss = "bce", simulate = function(z, out) for i = 1, 6 do out[i] = z.a > i / 7 and 1 or 0 end end }
    local model = trained(sim, 300)
    local y = model:decode(sv.tensor { { 0.5 } })[1]:totable()
    assert.is_true(y[1] > 0.9 and y[6] < 0.1)
    raises("loss \"bce\" takes outputs in %[0, 1%]", model.encode, model, sv.full(3, { 1, 6 }))
  end)
end)

describe("what a model is given", function()
  local model

  setup(function() model = trained(decay(1), 150, { width = 16 }) end)

  it("is finite: the sample and its element are named", function()
    for _, bad in ipairs { 0 / 0, math.huge, -math.huge } do
      local x = decay(1):run(sv.full(0.5, { 3, 1 }))
      x:set(bad, 2, 7)
      for _, method in ipairs { "encode", "infer", "invert" } do
        raises(method .. ": takes finite numbers; sample 2, element 7 is %-?[ni][an][nf]", model[method], model, x)
      end
      raises("decode: takes finite numbers; sample 1, 'a' is", model.decode, model, sv.tensor { { bad } })
    end
    local picture = sv.model { posterior = "gaussian", simulator = disc(1), width = 4 }
    local x = sv.zeros(2, 1, 16, 16)
    x:set(0 / 0, 2, 1, 5, 9)
    raises("sample 2, element %(1, 5, 9%) is", picture.encode, picture, x)
  end)

  it("is the model itself, then a batch of the right shape", function()
    local x = sv.zeros(1, 8)
    for _, method in ipairs { "encode", "infer", "invert", "decode", "save", "state" } do
      raises(method .. ": is a method, model:" .. method .. "%(…%) with a colon", model[method], x)
    end
    raises("with a colon", model.encode)
    raises("encode: takes a tensor %(N, 8%); got nil", model.encode, model)
    raises("encode: takes %(N, 8%); got %(2, 7%)", model.encode, model, sv.zeros(2, 7))
    raises("decode: takes %(N, a%); got", model.decode, model, sv.zeros(2, 7))
    assert.same({ 0, 1 }, model:encode(sv.zeros(0, 8)).shape)
  end)

  it("gives a notice, once, where it is far from the training's outputs, and how far", function()
    local _, x = sv.simulate(decay(1), 400, sv.rng(99))
    assert.equal("", (helper.stderr_of(model.encode, model, x)))
    local far = x:clone()
    far:set(50, 300, 6)
    local text = helper.stderr_of(model.encode, model, far)
    assert.matches("^simvae: encode: sample 300 is far from every output seen in training: element 6 is [%d.e+]+ "
      .. "standard deviations from its mean %(16 outputs of the training: at most [%d.]+%)\n$", text)
    assert.equal("", (helper.stderr_of(model.encode, model, far)))
    -- within the range of every element, and no curve of the simulator's
    local path = helper.temporary_folder() .. "/model.safetensors"
    assert(model:save(path))
    local again = assert(sv.load(path, decay(1)))
    local zigzag = decay(1):run(sv.tensor { { 0.5 } })
    for i = 1, 8 do zigzag:set(1 + (i % 2) * math.exp(-i / 5), 1, i) end
    text = helper.stderr_of(again.invert, again, zigzag, { steps = 1 })
    assert.matches("^simvae: invert: sample 1 is unlike every output seen in training: .* [%d.]+ times as far", text)
  end)

  it("gives no notice of the simulator's own outputs while a model is evaluated", function()
    local short = trained(decay(1), 20)
    short.seen.distance = 1e-6
    assert.equal("", (helper.stderr_of(sv.evaluate, short, { samples = 400, calibration = 50, interval = 0 })))
    local _, x = sv.simulate(decay(1), 1, sv.rng(99))
    assert.matches("sample 1 is far from every output", (helper.stderr_of(short.encode, short, x)))
  end)

  it("gives a notice where pictures are of another kind", function()
    local pictures = trained(disc(1), 300, { posterior = "gaussian" })
    local _, x = sv.simulate(disc(1), 300, sv.rng(98))
    assert.equal("", (helper.stderr_of(pictures.encode, pictures, x)))
    local noise = sv.rng(1):uniform(0, 1, { 1, 1, 16, 16 })
    assert.matches("sample 1 is unlike every output", (helper.stderr_of(pictures.infer, pictures, noise)))
  end)

  it("is within the prior's bounds for decode, or a notice, or an error where no network can take it", function()
    assert.matches("decode: sample 2 has a = 3, bounds 0 to 1: 2 of the range beyond",
      (helper.stderr_of(model.decode, model, sv.tensor { { 0.5 }, { 3 } })))
    assert.equal("", (helper.stderr_of(model.decode, model, sv.tensor { { 4 } })))
    local sim = sv.simulator { name = "kinds", output = { 2 }, simulate = function(z) return { z.l, z.c } end,
      params = { { name = "l", low = 1, high = 100, scale = "log" }, { name = "c", levels = 3 },
        { name = "p", period = 1 } } }
    local kinds = sv.model { posterior = "gaussian", simulator = sim, width = 4 }
    raises("sample 1, 'l' is 0; on a log scale it is above 0", kinds.decode, kinds, sv.tensor { { 0, 1, 0 } })
    raises("sample 1, 'c' is 4; its classes count from 1 to 3", kinds.decode, kinds, sv.tensor { { 1, 4, 0 } })
    raises("'c' is 0", kinds.decode, kinds, sv.tensor { { 1, 0, 0 } })
    assert.equal("", (helper.stderr_of(kinds.decode, kinds, sv.tensor { { 50, 2, 17.5 } })))
  end)
end)

describe("measures of outputs", function()
  local metrics = require "simvae.metrics"

  it("do not depend on the outputs' unit or offset", function()
    local rng = sv.rng(3)
    local x = rng:normal { 200, 5 }
    local y = x + rng:normal { 200, 5 } * 0.1
    -- 1 - sum of squared differences / sum of squared distances from the mean, in double
    local a, b, above, below = x:totable(), y:totable(), 0, 0
    for k = 1, 5 do
      local mean = 0
      for i = 1, 200 do mean = mean + a[i][k] / 200 end
      for i = 1, 200 do above, below = above + (a[i][k] - b[i][k]) ^ 2, below + (a[i][k] - mean) ^ 2 end
    end
    local r2 = 1 - above / below
    for _, unit in ipairs { 1, 1e-30, 1e-11, 1e10, 1e30 } do
      assert.near(r2, metrics.resimulation(x * unit, y * unit), 1e-5)
    end
    assert.near(r2, metrics.resimulation(x + 1000, y + 1000), 1e-3) -- seven digits of 1000
    local residual = require "simvae.metrics.support.residual"
    assert.near(above / 1000 * 1e60, residual.new():add(x * 1e30, y * 1e30):mse(), 1e55)
  end)

  it("are those of the same model in every unit", function()
    local function marks(unit)
      local r = sv.evaluate(trained(decay(unit), 30), { samples = 200, bins = 5, interval = 0, chance = 0 })
      return { r.resimulation_r2, r.decoder_r2, r.mig, r.rmse.a, r.decoder_mse / unit ^ 2, r.errors[1] / unit ^ 2 }
    end
    local one = marks(1)
    for _, unit in ipairs { 2.0 ^ -80, 2.0 ^ 100 } do
      for i, v in ipairs(marks(unit)) do assert.near(one[i], v, 1e-5 * math.abs(one[i])) end
    end
  end)

  it("of latents and factors do not depend on their unit", function()
    local rng = sv.rng(4)
    local v = rng:uniform(0, 1, { 2000, 2 })
    local z = v + rng:normal { 2000, 2 } * 0.05
    for _, name in ipairs { "sap", "beta_vae", "factor_vae", "explicitness" } do
      local options = (name == "beta_vae" or name == "factor_vae") and { train = 500, test = 300 } or nil
      local one = metrics[name](z, v, options)
      for _, unit in ipairs { 2.0 ^ -90, 2.0 ^ 90 } do
        assert.near(one, metrics[name](z * unit, v * unit, options), 1e-5, name)
      end
    end
  end)

  it("names constant outputs in an evaluation", function()
    local sim = sv.simulator { name = "half", params = { { name = "a", low = 0, high = 1 } }, output = { 2 },
      simulate = function(z) return { z.a, 7 } end }
    local _, model = helper.stderr_of(trained, sim, 5)
    local r = sv.evaluate(model, { samples = 100, bins = 3, interval = 0, chance = 0 })
    assert.matches("element 2 of the output %(1 of 2%) is constant", table.concat(r.notes, "\n"))
  end)
end)

describe("a net of one's own", function()
  local sim = decay(1)
  local nn = sv.nn

  it("is two layers that take and give the right shapes, or an error that says which", function()
    local good = { decoder = nn.linear(1, 8), encoder = nn.linear(8, 2) }
    local function with(net) return function() sv.model { posterior = "gaussian", simulator = sim, net = net } end end
    with(good)()
    with(function() return good.decoder, good.encoder end)()
    with(function() return function(z) return z * sv.ones(1, 8) end, good.encoder end)()
    raises("net: the decoder must be a layer .*; got nil; a builder returns decoder, encoder", with(function() end))
    raises("net: the encoder must be a layer .*; got nil", with(function() return good.decoder end))
    raises("net: the decoder must be a layer .*; got 3", with { decoder = 3, encoder = good.encoder })
    raises("net: the decoder takes %(2, 1%) and gives %(2, 8%); this one gives %(2, 7%)",
      with { decoder = nn.linear(1, 7), encoder = good.encoder })
    raises("net: the encoder takes %(2, 8%) and gives %(2, 2%); this one gives %(2, 1%)",
      with { decoder = good.decoder, encoder = nn.linear(8, 1) })
    raises("net: the encoder takes %(2, 8%) and gives %(2, 2%); it failed:",
      with { decoder = good.decoder, encoder = nn.linear(5, 2) })
    raises("net: the decoder .* this one gives nil", with { decoder = function() end, encoder = good.encoder })
    raises("width must be at least 1", function() sv.model { simulator = sim, width = 0 } end)
  end)

  it("leaves a model that says whether it is trained", function()
    assert.matches("^model of decay: .*; untrained$", tostring(sv.model { simulator = sim, width = 4 }))
    assert.matches("; trained for 3 %+ 3 steps$", tostring(trained(sim, 3)))
  end)
end)
