-- Products, convolutions and normalisation against PyTorch in double precision
-- (spec/fixtures/make_layers.py): values, and the gradients of every input.
local sv = require "simvae"
local core = require "simvae.core"

local fixture = assert(sv.io.load_npz("spec/fixtures/layers.npz"))
local tolerance = core.real == "double" and 1e-10 or 2e-5

local function close(expected, got, what)
  assert.same(expected.shape, got.shape, what)
  local worst = sv.max(sv.abs(expected - got)):item()
  assert.is_true(worst < tolerance * (1 + sv.max(sv.abs(expected)):item()), what .. " is off by " .. worst)
end

local function check(name, f)
  local inputs = {}
  while fixture[name .. ".in" .. #inputs] do
    inputs[#inputs + 1] = sv.parameter(fixture[name .. ".in" .. #inputs])
  end
  assert.is_true(#inputs > 0, name)
  local tape <close> = sv.tape()
  local out = f(table.unpack(inputs))
  close(fixture[name .. ".out"], out, name .. " value")
  tape:backward(sv.sum(out * fixture[name .. ".g"]))
  for i, t in ipairs(inputs) do
    close(fixture[name .. ".d" .. i - 1], t.grad, name .. " gradient " .. i)
  end
end

describe("against PyTorch:", function()
  local cases = {
    matmul = sv.matmul,
    matmul_batched = function(x, y) return sv.matmul(x, y, { transpose_x = true, transpose_y = true }) end,
    matmul_shared = sv.matmul,
    linear = sv.linear,
    conv2d_4x4 = function(x, w, b) return sv.conv2d(x, w, b, { stride = 2, padding = 1 }) end,
    conv2d_5x5 = function(x, w, b) return sv.conv2d(x, w, b, 2, 2) end,
    conv2d_3x3 = sv.conv2d,
    conv_transpose2d_4x4 = function(x, w, b) return sv.conv_transpose2d(x, w, b, { stride = 2, padding = 1 }) end,
    conv_transpose2d_5x5 = function(x, w, b) return sv.conv_transpose2d(x, w, b, 2, 2, 1) end,
    conv_transpose2d_stride3 = function(x, w) return sv.conv_transpose2d(x, w, { stride = 3 }) end,
    layer_norm = sv.layer_norm,
  }
  for name, f in pairs(cases) do
    it(name, function() check(name, f) end)
  end
  for _, mode in ipairs { "train", "eval" } do
    for _, activation in ipairs { "none", "relu", "leaky_relu" } do
      local name = "batch_norm_" .. mode .. "_" .. activation
      it(name, function()
        local mean, var = sv.tensor { 0.3, -0.2 }, sv.tensor { 1.5, 0.7 }
        check(name, function(x, s, b)
          return sv.batch_norm(x, s, b, mean, var, { training = mode == "train", activation = activation, slope = 0.2 })
        end)
        close(fixture[name .. ".mean"], mean, name .. " running mean")
        close(fixture[name .. ".var"], var, name .. " running variance")
      end)
    end
  end

  it("the same bits for any number of threads", function()
    local rng = sv.rng(3)
    local x, w = rng:normal { 8, 5, 16, 16 }, rng:normal { 7, 5, 4, 4 }
    local function all()
      local p = sv.parameter(w)
      local tape <close> = sv.tape()
      local y = sv.conv2d(x, p, { stride = 2, padding = 1 })
      local loss = sv.sum(sv.batch_norm(y, sv.ones(7), sv.zeros(7)) * y)
      local value = loss:item()
      tape:backward(loss)
      return { value, p.grad:totable() }
    end
    local before = core.threads()
    core.threads(1)
    local one = all()
    core.threads(3)
    local three = all()
    core.threads(before)
    assert.same(one, three)
  end)
end)

describe("wrong shapes", function()
  local function message(f, ...)
    local ok, text = pcall(f, ...)
    assert.is_false(ok)
    return text
  end
  it("are named with the op and all shapes", function()
    assert.matches("matmul: the inner lengths 3 and 4 differ %[%(2, 3%), %(4, 5%)%]",
      message(sv.matmul, sv.zeros(2, 3), sv.zeros(4, 5)))
    assert.matches("conv2d: x has 3 channels, w takes 2 %[%(1, 3, 8, 8%), %(4, 2, 4, 4%), none%]",
      message(sv.conv2d, sv.zeros(1, 3, 8, 8), sv.zeros(4, 2, 4, 4)))
    assert.matches("conv2d: the kernel of 4 does not fit",
      message(sv.conv2d, sv.zeros(1, 2, 3, 3), sv.zeros(4, 2, 4, 4)))
    assert.matches("batch_norm: scale must be %(3,%)",
      message(sv.batch_norm, sv.zeros(4, 3), sv.zeros(2), sv.zeros(3)))
    assert.matches("unknown option 'strid'; did you mean 'stride'",
      message(sv.conv2d, sv.zeros(1, 2, 8, 8), sv.zeros(4, 2, 4, 4), { strid = 2 }))
  end)
end)
