-- Products of bfloat16: exact for factors that need no rounding, close for all others, and
-- only for convolutions.
local helper = require "spec.helper"
local core = require "simvae.core"
local precision = require "simvae.nn.precision"
local sv = require "simvae"

local nn = sv.nn
local full = core.real == "double" and "fp64" or "fp32"
local offered = core.precisions()[2] == "bf16"

-- Numbers of 8 significant bits, which bfloat16 holds.
local function coarse(rng, shape)
  local list, count = {}, 1
  for _, n in ipairs(shape) do count = count * n end
  for i = 1, count do list[i] = rng:integer(-128, 127) / 64 end
  return core.tensor(list):reshape(shape)
end

local function largest(t)
  return core.max(core.abs(t:reshape(-1))):item()
end

-- y, and the gradients of x and w, of a convolution and its transpose.
local function results(name, x, w, chosen)
  local px, pw = core.parameter(x), core.parameter(w)
  local tape <close> = core.tape()
  local y = tape:keep(core[name](px, pw, nil, { stride = 2, padding = 1, precision = chosen or "full" }))
  tape:backward(core.sum(y * y) / 1000)
  return y, px.grad, pw.grad
end

describe("precision", function()
  it("is one of those that this CPU offers", function()
    assert.same(offered and { full, "bf16" } or { full }, core.precisions())
    local layer = nn.conv2d(1, 1, 3)
    helper.raises("set_precision: precision: this CPU %(kernel " .. core.kernel() .. "%) offers .*; got \"fp16\"",
      layer.set_precision, layer, "fp16")
    helper.raises("conv2d: precision is one of full, bf16; got half", core.conv2d, sv.zeros(1, 1, 4, 4),
      sv.zeros(1, 1, 3, 3), nil, { precision = "half" })
    if offered then return end
    helper.raises("this CPU has no products of bf16", core.conv2d, sv.zeros(1, 1, 4, 4), sv.zeros(1, 1, 3, 3), nil,
      { precision = "bf16" })
    local model = sv.model { simulator = require "simvae.simulators.box", net = "mlp", width = 8, precision = full }
    assert.equal(model, model:set_precision(full))
    helper.raises("set_precision: precision: this CPU", model.set_precision, model, "bf16")
    helper.raises("model: precision: this CPU", sv.model, { simulator = require "simvae.simulators.box",
      precision = "bf16" })
  end)

  it("is refused by train with the same words", function()
    local model = sv.model { simulator = require "simvae.simulators.box", net = "mlp", width = 8 }
    local ok, why = pcall(model.train, model, { precision = "int8", quiet = true })
    assert.is_false(ok)
    assert.is_truthy(why:find("train: precision: this CPU (kernel " .. core.kernel(), 1, true), why)
  end)

  it("belongs to layers: those of other models keep theirs", function()
    local a = nn.sequential { nn.conv2d(1, 1, 3), nn.relu(), nn.sequential { nn.conv2d(1, 1, 3) } }
    local b = nn.conv2d(1, 1, 3)
    a.inner[1].precision = "bf16"
    do
      local _scope <close> = precision.during({ a }, nil)
      assert.is_nil(a.inner[1].precision)
      do
        local scope <close> = precision.during({ a, a }, "bf16")
        assert.equal("bf16", a.inner[3].inner[1].precision)
        assert.is_nil(b.precision)
        assert.is_false(pcall(function()
          local _precision <close> = precision.during({ a }, nil)
          error "interrupted"
        end))
        assert.equal("bf16", a.inner[3].inner[1].precision)
      end
      assert.is_nil(a.inner[3].inner[1].precision)
    end
    assert.equal("bf16", a.inner[1].precision)
    assert.is_nil(a.inner[3].inner[1].precision)
    assert.equal(a, a:set_precision(full))
    assert.is_nil(a.inner[1].precision)
  end)

  it("is the run's alone in train, and the model's in its use", function()
    if not offered then return end
    local box = require "simvae.simulators.box"
    local model = sv.model { simulator = box, net = "conv", width = 4 }
    local half = sv.model { simulator = box, net = "conv", width = 4, precision = "bf16" }
    local seen
    model:train_decoder {
      steps = 1, batch = 2, quiet = true, precision = "bf16",
      on_step = function() seen = model.decoder.precision end,
    }
    assert.are.equal("bf16", seen)
    assert.is_nil(model.decoder.precision)
    assert(half:load_state(model:state()))
    local z = box:sample(4, sv.rng(1))
    local off = largest(half:decode(z) - model:decode(z))
    assert.is_true(off > 0 and off < 0.05, off)
  end)

  it("loses nothing where factors are bfloat16 already", function()
    if not offered then return end
    local rng = core.rng(3)
    local x = coarse(rng, { 2, 17, 10, 10 })
    for name, w in pairs { conv2d = coarse(rng, { 33, 17, 4, 4 }), conv_transpose2d = coarse(rng, { 17, 3, 4, 4 }) } do
      local exact = results(name, x, w)
      local y = results(name, x, w, "bf16")
      assert.is_true(largest(y - exact) <= 1e-5 * largest(exact), name)
    end
  end)

  it("is within a rounding of each factor elsewhere, and is in use", function()
    if not offered then return end
    local rng = core.rng(4)
    local x = rng:normal { 2, 16, 12, 12 }
    for name, w in pairs { conv2d = rng:normal { 20, 16, 4, 4 }, conv_transpose2d = rng:normal { 16, 40, 4, 4 } } do
      local exact = { results(name, x, w) }
      local rounded = { results(name, x, w, "bf16") }
      for k = 1, 3 do -- factors are off by at most 2^-9 each; sums of many are off by less
        local off = largest(rounded[k] - exact[k]) / largest(exact[k])
        assert.is_true(off < 2 ^ -7 and off > 1e-6, string.format("%s, result %d: %g", name, k, off))
      end
    end
  end)

  -- Winograd convolution rounds transformed inputs and weights (csrc/kernels/conv_winograd.h). The reference rounds
  -- inputs and weights themselves: F(2x2) has 1.15 times its error, F(4x2) 1.8 times.
  it("makes at most twice the error of rounded inputs and weights in wide layers", function()
    if not offered then return end
    local function rounded(t)
      local list = t:reshape(-1):totable()
      for i, v in ipairs(list) do
        local bits = string.unpack("<I4", string.pack("<f", v))
        list[i] = string.unpack("<f", string.pack("<I4", bits + 0x7fff + (bits >> 16 & 1) & 0xffff0000))
      end
      return core.tensor(list):reshape(t.shape)
    end
    local function rms(t) return math.sqrt(core.mean(t * t):item()) end
    for _, size in ipairs { { 8, 16, 16, 1.3 }, { 32, 16, 16, 2 } } do
      local batch, channels, side, most = table.unpack(size)
      local rng = core.rng(side)
      local x, w = rng:normal { batch, channels, side, side }, rng:normal { 48, channels, 4, 4 }
      local g = rng:normal { batch, 48, side // 2, side // 2 }
      local function all(from, weight, gradient, precision_of)
        local px, pw = core.parameter(from), core.parameter(weight)
        local tape <close> = core.tape()
        local y = tape:keep(core.conv2d(px, pw, nil, { stride = 2, padding = 1,
          precision = precision_of or "full" }))
        tape:backward(core.sum(y * gradient))
        return { y, px.grad, pw.grad }
      end
      local exact, before = all(x, w, g), all(rounded(x), rounded(w), rounded(g))
      local fast = all(x, w, g, "bf16")
      for k = 1, 3 do
        local ratio = rms(fast[k] - exact[k]) / rms(before[k] - exact[k])
        local text = string.format("batch %d, result %d: %g", batch, k, ratio)
        assert.is_true(ratio > 0.9 and ratio < (k == 3 and 2 or most), text)
      end
    end
  end)

  it("gives the same bits on any number of threads", function()
    if not offered then return end
    local rng = core.rng(6)
    local x, w = rng:normal { 8, 16, 16, 16 }, rng:normal { 32, 16, 4, 4 }
    local one, three = helper.by_threads(function() return { results("conv2d", x, w, "bf16") } end)
    for k = 1, 3 do assert.are.equal(0, largest(one[k] - three[k])) end
  end)
end)
