-- Products of bfloat16: exact for factors that need no rounding, close for all others, and
-- only for convolutions.
local core = require "simvae.core"
local sv = require "simvae"

local full = core.real == "double" and "fp64" or "fp32"
local offered = pcall(core.precision, "bf16")
core.precision(full)

local function with(precision, f)
  local before = core.precision()
  core.precision(precision)
  local results = table.pack(f())
  core.precision(before)
  return table.unpack(results, 1, results.n)
end

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
local function results(name, x, w)
  local px, pw = core.parameter(x), core.parameter(w)
  local tape <close> = core.tape()
  local y = tape:keep(core[name](px, pw, nil, { stride = 2, padding = 1 }))
  tape:backward(core.sum(y * y) / 1000)
  return y, px.grad, pw.grad
end

describe("precision", function()
  it("names the one in use", function()
    assert.are.equal(full, core.precision())
    if offered then assert.are.equal("bf16", with("bf16", core.precision)) end
  end)

  it("says what this CPU offers when asked for another", function()
    assert.has_error(function() core.precision "fp16" end, string.format(
      "precision: this CPU (kernel %s) offers %s; got fp16", core.kernel(), offered and "fp32 and bf16" or full))
    assert.are.equal(full, core.precision())
  end)

  it("is refused by train with the same words", function()
    local model = sv.model { simulator = require "simvae.simulators.box", net = "mlp", width = 8 }
    local ok, why = pcall(model.train, model, { precision = "int8", quiet = true })
    assert.is_false(ok)
    assert.is_truthy(why:find("train: precision: this CPU (kernel " .. core.kernel(), 1, true), why)
  end)

  it("is the run's alone in train", function()
    if not offered then return end
    local model = sv.model { simulator = require "simvae.simulators.box", net = "conv", width = 4 }
    local seen
    model:train_decoder {
      steps = 1, batch = 2, quiet = true, precision = "bf16",
      on_step = function() seen = core.precision() end,
    }
    assert.are.equal("bf16", seen)
    assert.are.equal(full, core.precision())
  end)

  it("loses nothing where factors are bfloat16 already", function()
    if not offered then return end
    local rng = core.rng(3)
    local x = coarse(rng, { 2, 17, 10, 10 })
    for name, w in pairs { conv2d = coarse(rng, { 33, 17, 4, 4 }), conv_transpose2d = coarse(rng, { 17, 3, 4, 4 }) } do
      local exact = results(name, x, w)
      local y = with("bf16", function() return (results(name, x, w)) end)
      assert.is_true(largest(y - exact) <= 1e-5 * largest(exact), name)
    end
  end)

  it("is within a rounding of each factor elsewhere, and is in use", function()
    if not offered then return end
    local rng = core.rng(4)
    local x = rng:normal { 2, 16, 12, 12 }
    for name, w in pairs { conv2d = rng:normal { 20, 16, 4, 4 }, conv_transpose2d = rng:normal { 16, 40, 4, 4 } } do
      local exact = { results(name, x, w) }
      local rounded = { with("bf16", function() return results(name, x, w) end) }
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
      local function all(from, weight, gradient)
        local px, pw = core.parameter(from), core.parameter(weight)
        local tape <close> = core.tape()
        local y = tape:keep(core.conv2d(px, pw, nil, { stride = 2, padding = 1 }))
        tape:backward(core.sum(y * gradient))
        return { y, px.grad, pw.grad }
      end
      local exact, before = all(x, w, g), all(rounded(x), rounded(w), rounded(g))
      local fast = with("bf16", function() return all(x, w, g) end)
      for k = 1, 3 do
        local ratio = rms(fast[k] - exact[k]) / rms(before[k] - exact[k])
        local text = string.format("batch %d, result %d: %g", batch, k, ratio)
        assert.is_true(ratio > 0.9 and ratio < (k == 3 and 2 or most), text)
      end
    end
  end)

  it("leaves other products alone", function()
    if not offered then return end
    local rng = core.rng(5)
    local a, b = rng:normal { 20, 30 }, rng:normal { 30, 40 }
    local before = core.matmul(a, b)
    local after = with("bf16", function() return core.matmul(a, b) end)
    assert.are.equal(0, largest(after - before))
  end)

  it("gives the same bits on any number of threads", function()
    if not offered then return end
    local rng = core.rng(6)
    local x, w = rng:normal { 8, 16, 16, 16 }, rng:normal { 32, 16, 4, 4 }
    local threads = core.threads()
    local one, three = nil, nil
    with("bf16", function()
      core.threads(1)
      one = { results("conv2d", x, w) }
      core.threads(3)
      three = { results("conv2d", x, w) }
    end)
    core.threads(threads)
    for k = 1, 3 do assert.are.equal(0, largest(one[k] - three[k])) end
  end)
end)
