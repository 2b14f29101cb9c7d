-- Nets: convolutions of any image size, by the closed forms of sizes and by ops that pad and crop.
local helper = require "spec.helper"
local autograd = require "simvae.tensor.autograd"
local core = require "simvae.core"
local sv = require "simvae"

local tolerance = core.real == "double" and 1e-10 or 2e-5

local function close(expected, got, what)
  assert.same(expected.shape, got.shape, what)
  local worst = sv.max(sv.abs(expected - got)):item()
  assert.is_true(worst < tolerance * (1 + sv.max(sv.abs(expected)):item()), what .. " is off by " .. worst)
end

-- The value of f(inputs), and the gradients of all inputs.
local function results(f, given)
  local leaves = {}
  for i, t in ipairs(given) do leaves[i] = sv.parameter(t) end
  local tape <close> = sv.tape()
  local y = f(table.unpack(leaves))
  local out = { tape:keep(y:clone()) }
  tape:backward(sv.sum(y * sv.sin(y)))
  for i, t in ipairs(leaves) do out[i + 1] = t.grad end
  return out
end

local function alike(f, g, given, what)
  local expected, got = results(f, given), results(g, given)
  for i, t in ipairs(expected) do close(t, got[i], string.format("%s, result %d", what, i)) end
end

-- Channels in and out, batch, height, width, rows and columns at the end: every algorithm of csrc/kernels/conv*.c.
local sizes = { { 3, 16, 2, 9, 14, 1, 0 }, { 16, 3, 2, 5, 8, 0, 1 }, { 5, 7, 2, 9, 7, 1, 1 },
  { 16, 32, 8, 17, 23, 1, 1 }, { 32, 16, 32, 12, 9, 0, 1 }, { 16, 16, 3, 1, 31, 1, 1 }, { 2, 17, 1, 6, 6, 5, 3 } }

describe("convolutions that end beyond padding", function()
  for _, size in ipairs(sizes) do
    local from, to, batch, height, width, bottom, right = table.unpack(size)
    local what = string.format("%d -> %d channels, %d x %d, %d and %d", from, to, height, width, bottom, right)
    it("are convolutions of padded images: " .. what, function()
      local rng = sv.rng(height)
      alike(function(x, w, b)
        return sv.conv2d(sv.pad(x, { 0, bottom, 0, right }), w, b, { stride = 2, padding = 1 })
      end, function(x, w, b)
        return sv.conv2d(x, w, b, { stride = 2, padding = 1, bottom = bottom, right = right })
      end, { rng:normal { batch, from, height, width }, rng:normal { to, from, 4, 4 } * 0.1, rng:normal { to } }, what)
    end)

    it("are transposed ones of which the end is cut off: " .. what, function()
      local rng = sv.rng(width)
      alike(function(x, w, b)
        local y = sv.conv_transpose2d(x, w, b, { stride = 2, padding = 1 })
        return sv.slice(sv.slice(y, 3, 1, -1 - bottom), 4, 1, -1 - right)
      end, function(x, w, b)
        return sv.conv_transpose2d(x, w, b, { stride = 2, padding = 1, bottom = bottom, right = right })
      end, { rng:normal { batch, to, height, width }, rng:normal { to, from, 4, 4 } * 0.1, rng:normal { from } }, what)
    end)
  end

  it("are refused outside of what an image has", function()
    local x, w = sv.ones(1, 1, 4, 4), sv.ones(1, 1, 4, 4)
    helper.raises("conv2d: bottom must be 0 to 65536; got %-1", sv.conv2d, x, w, { bottom = -1 })
    helper.raises("conv_transpose2d: right must be 0 to 65536; got 70000", sv.conv_transpose2d, x, w, { right = 70000 })
    helper.raises("padding 1, with what is cut off, leaves nothing", sv.conv_transpose2d, x, w,
      { padding = 1, bottom = 5 })
  end)
end)

-- An image's sides behind a layer, by the formulas of PyTorch's documentation of Conv2d (zeros at the end as padding
-- of their own, ZeroPad2d) and ConvTranspose2d.
local function convolved(side) return (side + 2 * 1 + side % 2 - 4) // 2 + 1 end

describe("nets \"conv\" and \"dcgan\"", function()
  local image_sizes = { { 8, 8 }, { 9, 8 }, { 13, 31 }, { 33, 20 }, { 64, 64 }, { 75, 100 }, { 8, 512 }, { 300, 17 } }

  it("halve sides rounding up until both are below 8, and lead back to the size exactly", function()
    for _, name in ipairs { "conv", "dcgan" } do
      for _, size in ipairs(image_sizes) do
        local decoder, encoder = sv.nets[name] { code = 2, heads = 3, width = 2, output = { 2, table.unpack(size) },
          rng = sv.rng(1) }
        local x, h, w = decoder(sv.zeros(2, 2)), table.unpack(size)
        assert.same({ 2, 2, size[1], size[2] }, x.shape)
        assert.same({ 2, 3 }, encoder(x).shape)
        for _, layer in ipairs(encoder.inner) do
          x = layer(x)
          if layer.label:find "^conv2d" then
            h, w = convolved(h), convolved(w)
            assert.same({ h, w }, { x.shape[3], x.shape[4] })
          elseif layer.label:find "^reshape" then
            assert.is_true(math.max(h, w) >= 4 and math.max(h, w) < 8)
          end
        end
      end
    end
  end)

  it("are the nets of earlier versions where sides halve down to 4 to 7", function()
    local shapes = {
      conv = { [24] = { { 256, 3 }, { 256, 256 }, { 256, 256 }, { 288, 256 }, { 8, 4, 4, 4 }, { 4, 1, 4, 4 } },
        [128] = { { 256, 3 }, { 256, 256 }, { 256, 256 }, { 1024, 256 }, { 64, 32, 4, 4 }, { 32, 16, 4, 4 },
          { 16, 8, 4, 4 }, { 8, 4, 4, 4 }, { 4, 1, 4, 4 } } },
      dcgan = { [24] = { { 288, 3 }, { 8 }, { 8, 4, 4, 4 }, { 4 }, { 4, 1, 4, 4 } },
        [28] = { { 392, 3 }, { 8 }, { 8, 4, 4, 4 }, { 4 }, { 4, 1, 4, 4 } } },
    }
    for name, sides in pairs(shapes) do
      for side, expected in pairs(sides) do
        local decoder = sv.nets[name] { code = 3, heads = 2, width = 4, output = { 1, side, side } }
        local got = {}
        for _, layer in ipairs(decoder.inner) do
          if layer.own.weight then got[#got + 1] = layer.own.weight.shape end
        end
        assert.same(expected, got)
      end
    end
  end)

  it("have the gradients of finite differences at odd sizes", function()
    for _, name in ipairs { "conv", "dcgan" } do
      local decoder, encoder = sv.nets[name] { code = 2, heads = 3, width = 2, output = { 1, 9, 11 }, rng = sv.rng(4) }
      for _, net in ipairs { decoder, encoder } do net:eval() end
      local ok, why = autograd.grad_check(function(z) return decoder(z) end, { sv.rng(5):normal { 2, 2 } })
      assert.is_true(ok, why)
      ok, why = autograd.grad_check(function(x) return encoder(x) end, { sv.rng(6):normal { 1, 1, 9, 11 } })
      assert.is_true(ok, why)
    end
  end)

  it("train both ways at odd sizes, with estimates that are refined through the decoder", function()
    local bar = sv.simulator { name = "bar", output = { 1, 13, 18 }, params = { { name = "x", low = 0, high = 18 } },
      simulate = function(z, out)
        for c = 1, 18 do
          for r = 1, 13 do out:set(math.min(1, math.max(0, z.x - c + 1)), 1, r, c) end
        end
      end }
    local model = sv.model { simulator = bar, posterior = "gaussian", width = 4, seed = 2 }
    model:train { quiet = true, batch = 16, recalibrate = false, decoder = { steps = 100 },
      encoder = { steps = 100 } }
    local z, x = sv.simulate(bar, 20, sv.rng(3))
    local function error(mean) return sv.mean(sv.abs(mean - z)):item() end
    assert.is_true(error((model:encode(x))) < 2) -- of a mean of 9: 4.5
    assert.is_true(error((model:invert(x, { starts = 2 }))) < 1.5)
  end)

  it("take images of 8 to 512 pixels, and are the default of these", function()
    local function sim(...)
      return sv.simulator { name = "dark", output = { ... }, params = { { name = "a", low = 0, high = 1 } },
        simulate = function() end }
    end
    for _, case in ipairs { { "conv", 1, 20, 33 }, { "conv", 3, 100, 100 }, { "mlp", 1, 7, 40 },
      { "mlp", 1, 8, 513 }, { "mlp", 30 } } do
      assert.equal(case[1], sv.model({ simulator = sim(table.unpack(case, 2)), width = 2 }).net)
    end
    for _, output in ipairs { { 1, 7, 40 }, { 1, 8, 513 }, { 40 } } do
      helper.raises("net \"dcgan\" takes images {C, H, W} of 8 to 512 pixels either way; this simulator's output is "
        .. ".*: use net = \"mlp\"", sv.nets.dcgan, { code = 1, heads = 2, output = output })
    end
    helper.raises("net \"coordconv\" needs square images .*: use net = \"conv\"", sv.nets.coordconv,
      { code = 1, heads = 2, output = { 1, 20, 32 } })
    helper.raises("use net = \"conv\" or another resolution", sv.nets.coordconv,
      { code = 1, heads = 2, output = { 1, 100, 100 } })
  end)
end)
