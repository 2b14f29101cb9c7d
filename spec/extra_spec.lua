-- Latents beside the parameters: sv.model { extra = n }.
local helper = require "spec.helper"
local sv = require "simvae"

local folder = helper.temporary_folder()

-- A parameter a, and a height u that the parameters do not tell: x = a * shape + u * bump, both of eight numbers.
local shape, bump = { 1, 2, 3, 4, 3, 2, 1, 0 }, { 0, 1, 0, -1, 0, 1, 0, -1 }
local sim = sv.simulator {
  name = "bumped", params = { { name = "a", low = -1, high = 1 } }, output = { 8 },
  simulate = function(z, out, rng)
    local u = rng:normal()
    for i = 1, 8 do out[i] = z.a * shape[i] + u * bump[i] end
  end,
}
local function heights(z, x) -- of bump, which is orthogonal to itself alone: least squares given a
  local list = {}
  for i, row in ipairs(x:totable()) do
    local a, sum = z:get(i, 1), 0
    for k, v in ipairs(row) do sum = sum + (v - a * shape[k]) * bump[k] / 4 end
    list[i] = sum
  end
  return list
end

local function model(more)
  local t = { simulator = sim, width = 32, extra = 1, seed = 1 }
  for k, v in pairs(more or {}) do t[k] = v end
  return sv.model(t)
end

local function correlation(a, b)
  local n, ma, mb, sab, saa, sbb = #a, 0, 0, 0, 0, 0
  for i = 1, n do ma, mb = ma + a[i] / n, mb + b[i] / n end
  for i = 1, n do
    sab, saa, sbb = sab + (a[i] - ma) * (b[i] - mb), saa + (a[i] - ma) ^ 2, sbb + (b[i] - mb) ^ 2
  end
  return sab / math.sqrt(saa * sbb)
end

local function train(m)
  return m:train { quiet = true, decoder = { steps = 1000 }, encoder = { steps = 400 } }
end

describe("extra latents", function()
  local m = train(model())
  local z, x = sv.simulate(sim, 400, sv.rng(5))
  local mean, std = m:encode_extra(x)
  local told = m:encode_extra(x, { z = z })

  it("hold what the parameters do not explain, and nothing of these", function()
    local e = mean:reshape(-1):totable()
    assert.is_true(math.abs(correlation(e, heights(z, x))) > 0.97)
    assert.is_true(math.abs(correlation(e, z:reshape(-1):totable())) < 0.2)
    assert.near(1, sv.var(mean):item(), 0.3) -- the aggregate posterior is near the prior
    assert.is_true(sv.max(std):item() < 0.5)
    assert.is_true((told - mean):within(-0.2, 0.2))
  end)

  it("let the decoder give the output itself; without them it gives the mean output", function()
    local function error_of(y) return sv.mse_loss(y, x):item() end
    -- the variance of u bump is 4 / 8 a number
    assert.near(0.5, error_of(m:decode(z)), 0.1)
    assert.is_true(error_of(m:decode(z, { extra = mean })) < 0.05)
    local wanted = {}
    for i, row in ipairs(z:totable()) do
      wanted[i] = {}
      for k = 1, 8 do wanted[i][k] = row[1] * shape[k] end
    end
    assert.is_true(sv.mse_loss(m:decode(z), sv.tensor(wanted)):item() < 0.03)
  end)

  it("generate outputs as the simulator does", function()
    local at = sv.full(0.5, { 500, 1 })
    local y = m:decode(at, { extra = sv.rng(6):normal { 500, 1 } })
    assert.near(1, sv.sqrt(sv.var(sv.slice(y, 2, 4, 4))):item(), 0.2) -- u times -1
    assert.near(2, sv.mean(sv.slice(y, 2, 4, 4)):item(), 0.25)
  end)

  it("leave the estimates of the parameters as they are without", function()
    local function rmse(of) return math.sqrt(sv.mse_loss((of:encode(x)), z):item()) end
    local plain = train(model { extra = 0 })
    assert.is_true(rmse(m) < 1.3 * rmse(plain) + 0.01)
    assert.is_true(rmse(m) < 0.06)
  end)

  it("are saved and exported with the model", function()
    assert(m:save(folder .. "/m.safetensors"))
    local again = assert(sv.load(folder .. "/m.safetensors", sim))
    assert.equal(1, again.extra)
    assert.equal(1, require("simvae.cli.contents").of(folder .. "/m.safetensors").extra)
    assert.same(mean:totable(), (again:encode_extra(x)):totable())
    assert.same(m:decode(z, { extra = mean }):totable(), again:decode(z, { extra = mean }):totable())
    assert.is_truthy(sv.export.c(m, folder .. "/m.c"))
    local graph = sv.export.graph(m, { what = "decode" })
    assert.is_truthy(graph)
  end)

  it("are of images too, in microbatches as at once", function()
    local box = require "simvae.simulators.box"
    for _, net in ipairs { "conv", "dcgan" } do
      local images = sv.model { simulator = box, net = net, width = 2, extra = 2, posterior = "gaussian" }
      assert.equal(2e-3, sv.recipes.get("default", images).decoder.lr.peak)
      images:train { quiet = true, batch = 8, microbatches = 2, decoder = { steps = 2 }, encoder = { steps = 1 } }
      local boxes, pictures = sv.simulate(box, 3, sv.rng(1))
      local e = images:encode_extra(pictures)
      assert.same({ 3, 2 }, e.shape)
      local y = images:decode(boxes, { extra = e })
      assert.same(pictures.shape, y.shape)
      assert.is_true(y:within(0, 1))
      local one = images:decode(boxes[2]:reshape(1, 4), { extra = e[2]:reshape(1, 2) })[1]
      assert.is_true((y[2] - one):within(-1e-5, 1e-5)) -- rows are their own
    end
  end)

  it("refuse what they do not suit", function()
    helper.raises("extra takes one network; the model has 2 members", function() model { members = 2 } end)
    helper.raises("extra takes single outputs; the model is of sets", function() model { set = true } end)
    helper.raises("extra must be from 0 to 64; got 65", function() model { extra = 65 } end)
    helper.raises("extra takes a net by name or a builder function", function()
      model { net = { decoder = sv.nn.linear(3, 8), encoder = sv.nn.linear(8, 2) } }
    end)
    local plain = model { extra = 0 }
    helper.raises("encode_extra: z takes a row for each output; got 2 for 400",
      function() m:encode_extra(x, { z = sv.zeros(2, 1) }) end)
    helper.raises("encode_extra: the model has no extra latents", function() plain:encode_extra(x) end)
    helper.raises("'extra' is of models with extra latents", function() plain:decode(z, { extra = mean }) end)
    helper.raises("'extra' takes a tensor %(400, 1%), a row for each of z; got %(400, 2%)",
      function() m:decode(z, { extra = sv.zeros(400, 2) }) end)
    helper.raises("takes samples or extra; got both", function() m:decode(z, { extra = mean, samples = 2 }) end)
  end)
end)
