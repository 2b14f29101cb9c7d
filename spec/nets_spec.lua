-- Nets: convolutions of any image size, by the closed forms of sizes and by ops that pad and crop.
local helper = require "spec.helper"
local pytorch = require "spec.pytorch"
local autograd = require "simvae.tensor.autograd"
local core = require "simvae.core"
local sv = require "simvae"

local close = pytorch.close

local results = helper.value_and_gradients

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
    helper.raises("padding that cuts off 7 leaves nothing of the image", sv.conv_transpose2d, x, w,
      { padding = 1, bottom = 5 })
  end)
end)

-- Against PyTorch in double precision (spec/fixtures/make_series.py): values, and the gradients of every input.
local _, check = pytorch.cases "spec/fixtures/series.npz"

-- A layer with these parameters, in the order of their names.
local function with(layer, names, ...)
  for i, name in ipairs(names) do layer.own[name] = select(i, ...) end
  return layer
end

describe("against PyTorch:", function()
  local nn, both = sv.nn, { "weight", "bias" }
  local cases = {
    conv2d_3x5 = function(x, w, b) return sv.conv2d(x, w, b, { stride = 2, padding = 1 }) end,
    conv2d_dilated = function(x, w, b) return sv.conv2d(x, w, b, { padding = 2, dilation = 3 }) end,
    conv_transpose2d_dilated = function(x, w, b) return sv.conv_transpose2d(x, w, b, { padding = 1, dilation = 2 }) end,
    conv1d = function(x, w, b) return with(nn.conv1d(2, 5, 8, { stride = 4, padding = 2 }), both, w, b)(x) end,
    conv1d_dilated = function(x, w, b)
      return with(nn.conv1d(20, 17, 3, { padding = 4, dilation = 4 }), both, w, b)(x)
    end,
    conv_transpose1d = function(x, w, b)
      return with(nn.conv_transpose1d(5, 2, 8, { stride = 4, padding = 2, output_padding = 1 }), both, w, b)(x)
    end,
    conv_transpose1d_dilated = function(x, w, b)
      return with(nn.conv_transpose1d(5, 3, 4, { padding = 3, dilation = 2 }), both, w, b)(x)
    end,
  }
  local all = { "weight_ih", "weight_hh", "bias_ih", "bias_hh" }
  for _, kind in ipairs { "gru", "lstm" } do
    for _, size in ipairs { { 3, 5 }, { 1, 16 } } do
      local inputs, hidden = table.unpack(size)
      cases[kind .. "_" .. hidden] = function(x, ...) return with(nn[kind](inputs, hidden), all, ...)(x) end
    end
  end
  local projections = { "in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias" }
  function cases.attention(x, ...) return with(nn.attention(12, { heads = 3 }), projections, ...)(x) end
  function cases.transformer(x, ...)
    local block, given = nn.transformer(8, { heads = 2, hidden = 10 }), { ... }
    local attend, each = block.inner[1].inner, block.inner[2].inner
    with(attend[1], both, given[1], given[2])
    with(attend[2], projections, table.unpack(given, 3, 6))
    with(each[1], both, given[7], given[8])
    with(each[2], both, given[9], given[10])
    with(each[4], both, given[11], given[12])
    return block(x)
  end
  function cases.set(x, ...)
    local _, encoder = sv.nets.set { code = 1, heads = 3, output = { 2, 1, 7 }, width = 5 }
    local given, phi, rho = { ... }, table.unpack(encoder.inner)
    rho.inner[1], rho.inner[3] = nn.linear(10, 6), nn.linear(6, 3) -- smaller than the head's
    local linear = { phi.inner[1], phi.inner[3], phi.inner[5], rho.inner[1], rho.inner[3] }
    for i, layer in ipairs(linear) do with(layer, both, given[2 * i - 1], given[2 * i]) end
    return encoder(x)
  end
  for name, training in pairs { residual = true, residual_eval = false } do
    cases[name] = function(x, ...)
      local _, encoder = sv.nets.resnet { code = 1, heads = 2, width = 4, output = { 3, 9, 8 } }
      local block, given = encoder.inner[1], { ... }
      local main, skip = block.inner[1].inner, block.inner[2].inner
      for i, pair in ipairs { { main[1], main[2] }, { main[4], main[5] }, { skip[1], skip[2] } } do
        pair[1].own.weight = given[3 * i - 2]
        with(pair[2], both, given[3 * i - 1], given[3 * i])
      end
      if not training then block:eval() end
      return block(x)
    end
  end
  function cases.pixelcnn(y, ...)
    local q = require("simvae.likelihood.pixelcnn").new { output = { 1, 5, 6 }, code = 1, channels = 3, layers = 2 }
    local first, beside, last, features, one, two = table.unpack(q.net.inner)
    local given, x = { ... }, sv.zeros(2, 30)
    for i, layer in ipairs { first, beside, last, features.inner[1], features.inner[3], one, two } do
      with(layer, both, given[2 * i - 1], given[2 * i])
    end
    for n = 1, 2 do
      for i = 1, 30 do x:set((7 * (n - 1) + 3 * (i - 1)) % 5 < 2 and 1 or 0, n, i) end
    end
    return q:log_prob(y, sv.tensor { { 0.2 }, { -0.7 } }, x)
  end
  for name, f in pairs(cases) do
    it(name, function() check(name, f) end)
  end
end)

describe("attention", function()
  it("does not depend on the order of elements, and refuses sizes that its heads do not divide", function()
    local block, rng = sv.nn.transformer(8, { rng = sv.rng(1) }), sv.rng(2)
    local x = rng:normal { 3, 5, 8 }
    close(sv.slice(block(x), 2, -1, 1, -1), block(sv.slice(x, 2, -1, 1, -1)), "reversed")
    helper.raises("nn.attention: size is a multiple of heads = 3; got 8", sv.nn.attention, 8, { heads = 3 })
    helper.raises("nn.transformer: size is a multiple of heads = 4; got 6", sv.nn.transformer, 6)
    helper.raises("attention: x must be %(N, T, 8%); got %(3, 8%)", sv.nn.attention(8), sv.ones(3, 8))
  end)
end)

describe("encoders of images with skip connections", function()
  it("take any size, with the gradients of finite differences: resnet, vit", function()
    for _, name in ipairs { "resnet", "vit" } do
      for _, size in ipairs { { 8, 8 }, { 13, 31 }, { 65, 20 } } do
        local decoder, encoder = sv.nets[name] { code = 2, heads = 3, width = 2, output = { 2, table.unpack(size) },
          rng = sv.rng(1) }
        local x = decoder(sv.zeros(2, 2))
        assert.same({ 2, 2, size[1], size[2] }, x.shape)
        assert.same({ 2, 3 }, encoder:eval()(x).shape)
      end
      local _, encoder = sv.nets[name] { code = 2, heads = 3, width = 2, output = { 1, 9, 11 }, rng = sv.rng(4) }
      encoder:eval()
      local ok, why = autograd.grad_check(function(x) return encoder(x) end, { sv.rng(6):normal { 1, 1, 9, 11 } },
        { tolerance = 2e-2 }) -- of ReLU's kinks
      assert.is_true(ok, why)
      helper.raises("net \"" .. name .. "\" takes images", sv.nets[name], { code = 1, heads = 2, output = { 40 } })
    end
  end)

  it("learn a place: resnet, vit", function()
    local disc = sv.simulator { name = "disc", output = { 1, 12, 20 },
      params = { { name = "x", low = 3, high = 17 }, { name = "r", low = 1, high = 5 } },
      simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, 6, z.r, { fill = 0 }) end }
    local z, x = sv.simulate(disc, 100, sv.rng(4))
    for _, net in ipairs { "resnet", "vit" } do
      local model = sv.model { simulator = disc, net = net, width = 4, seed = 3, posterior = "mixture" }
      model:train { quiet = true, recalibrate = false, batch = 32, decoder = { steps = 2 }, encoder = { steps = 150 } }
      assert.is_true(sv.mean(sv.abs(sv.slice((model:encode(x)) - z, 2, 1, 1))):item() < 2.5) -- the prior's: 3.5
    end
  end)
end)

describe("recurrent layers", function()
  for _, kind in ipairs { "gru", "lstm" } do
    it("take series of any length, and give the last state, or states of the way back: " .. kind, function()
      local layer = sv.nn[kind](2, 6, { rng = sv.rng(1) })
      local last = sv.nn[kind](2, 6, { last = true })
      local back = sv.nn[kind](2, 6, { reverse = true, bias = false })
      assert(last:load_state(layer:state()))
      local x = sv.rng(2):normal { 3, 11, 2 }
      local states = layer(x)
      for _, T in ipairs { 1, 4, 11 } do
        local part = layer(sv.slice(x, 2, 1, T)) -- what comes later changes nothing before it
        close(sv.slice(states, 2, 1, T), part, "states")
        close(sv.reshape(sv.slice(part, 2, -1, -1), 3, 6), last(sv.slice(x, 2, 1, T)), "last")
      end
      local front = sv.nn[kind](2, 6, { bias = false })
      assert(front:load_state(back:state()))
      close(sv.slice(front(sv.slice(x, 2, -1, 1, -1)), 2, -1, 1, -1), back(x), "reverse")
      helper.raises(kind .. ": x must be %(N, T, 2%) of one element or more; got %(3, 1, 3%)", layer, sv.ones(3, 1, 3))
      helper.raises("nn." .. kind .. ": hidden must be at least 1", sv.nn[kind], 1, 0)
    end)

    it("give the same bits for any number of threads: " .. kind, function()
      local rng, before, found = sv.rng(5), core.threads(), {}
      local gates = kind == "gru" and 3 or 4
      local given = { rng:normal { 9, 12, gates * 8 }, rng:normal { gates * 8, 8 }, rng:normal { gates * 8 } }
      for _, threads in ipairs { 1, 3 } do
        core.threads(threads)
        local list = {}
        for i, t in ipairs(results(sv[kind], given)) do list[i] = t:totable() end
        found[#found + 1] = list
      end
      core.threads(before)
      assert.same(found[1], found[2])
    end)
  end
end)

describe("convolutions of one axis", function()
  it("start and end beyond padding, and give images what they give series", function()
    local rng = sv.rng(3)
    local x, layer = rng:normal { 2, 3, 20 }, sv.nn.conv1d(3, 16, 3, { left = 4, dilation = 2, rng = rng })
    local y = layer(x)
    close(layer(sv.reshape(x, 2, 3, 1, 20)), sv.reshape(y, 2, 16, 1, 20), "image")
    local later = sv.tensor(x) -- causal: later elements do not change earlier ones
    for i = 12, 20 do later:set(9, 1, 2, i) end
    close(sv.slice(y, 3, 1, 11), sv.slice(layer(later), 3, 1, 11), "causal")
  end)

  it("refuse what is no series, dilation with a stride, and names their options", function()
    local layer = sv.nn.conv1d(3, 4, 3)
    helper.raises("conv1d: x must be %(N, C, L%), or %(N, C, 1, L%); got %(2, 3, 4, 5%)", layer, sv.ones(2, 3, 4, 5))
    helper.raises("a dilation above 1 takes stride 1; got dilation 2, stride 4",
      sv.nn.conv1d(1, 4, 3, { stride = 4, dilation = 2 }), sv.ones(2, 1, 40))
    helper.raises("nn.conv1d: kernel must be", sv.nn.conv1d, 1, 2, 0)
    helper.raises("nn.conv2d: kernel%[2%] must be at least 1", sv.nn.conv2d, 1, 2, { 1, 0 })
    helper.raises("nn.conv2d: kernel is a side or { height, width }; got a table of 3", sv.nn.conv2d, 1, 2, { 1, 2, 3 })
    helper.raises("output_padding must be 0 to stride %- 1", sv.nn.conv_transpose1d, 1, 2, 3, { output_padding = 1 })
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
      { "mlp", 1, 8, 513 }, { "mlp", 255 }, { "conv1d", 256 } } do
      assert.equal(case[1], sv.model({ simulator = sim(table.unpack(case, 2)), width = 2 }).net)
    end
    for _, output in ipairs { { 1, 7, 40 }, { 1, 8, 513 }, { 40 } } do
      helper.raises("net \"dcgan\" takes images {C, H, W} of 8 to 512 pixels either way; this simulator's output is "
        .. ".*: use net = \"mlp\"", sv.nets.dcgan, { code = 1, heads = 2, output = output })
    end
  end)
end)

describe("the net \"coordconv\"", function()
  it("takes images of any size, of more than 128 pixels with maps of an eighth", function()
    for _, size in ipairs { { 8, 8 }, { 9, 14 }, { 13, 31 }, { 33, 20 }, { 75, 100 }, { 8, 300 }, { 129, 130 } } do
      local decoder, encoder = sv.nets.coordconv { code = 2, heads = 7, locations = { count = 1, size = 3 }, width = 2,
        output = { 2, table.unpack(size) }, rng = sv.rng(1) }
      local x = decoder(sv.zeros(2, 2))
      assert.same({ 2, 2, size[1], size[2] }, x.shape)
      assert.same({ 2, 7 }, encoder(x).shape)
      local cell = math.max(table.unpack(size)) > 128 and 8 or 4
      local maps
      for _, layer in ipairs(decoder.inner) do
        if layer.label:find "^expansion" then maps = layer(sv.zeros(1, 12 * 10)).shape end
      end
      assert.same({ 1, 12, math.ceil(size[1] / cell), math.ceil(size[2] / cell) }, maps)
    end
  end)

  it("has the gradients of finite differences at odd sizes", function()
    local decoder, encoder = sv.nets.coordconv { code = 2, heads = 4, width = 2, output = { 1, 9, 11 },
      rng = sv.rng(4) }
    local ok, why = autograd.grad_check(function(z) return decoder(z) end, { sv.rng(5):normal { 2, 2 } })
    assert.is_true(ok, why)
    ok, why = autograd.grad_check(function(x) return encoder(x) end, { sv.rng(6):normal { 1, 1, 9, 11 } })
    assert.is_true(ok, why)
  end)

  it("gives coordinates of the image's pixels, also where cells reach beyond it", function()
    -- with all weight on a cell, a point is its centre, in [-1, 1] over the image
    for _, size in ipairs { { 16, 16 }, { 18, 29 }, { 150, 131 } } do
      local H, W = table.unpack(size)
      local _, encoder = sv.nets.coordconv { code = 2, heads = 4, width = 1, output = { 1, H, W } }
      local found, cell = encoder.inner[4], math.max(H, W) > 128 and 8 or 4
      local rows, columns = math.ceil(H / cell), math.ceil(W / cell)
      for _, place in ipairs { { 1, 1 }, { rows, columns }, { 2, 3 } } do
        local maps = sv.zeros(1, 3, rows, columns)
        maps:set(1000, 1, 1, place[1], place[2])
        maps:set(0.5, 1, 2, place[1], place[2]) -- a cell further to the right
        local at = found(maps)
        assert.near((place[2] + 0.5) * cell / (W / 2) - 1, at:get(1, 1), 1e-5)
        assert.near((place[1] - 0.5) * cell / (H / 2) - 1, at:get(1, 2), 1e-5)
      end
    end
  end)

  it("learns a place in images that are not square", function()
    local disc = sv.simulator { name = "disc", output = { 1, 13, 22 },
      params = { { name = "x", low = 3, high = 19 }, { name = "r", low = 1, high = 5 } },
      simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, 6, z.r, { fill = 0 }) end }
    local z, x = sv.simulate(disc, 100, sv.rng(4))
    local model = sv.model { simulator = disc, net = "coordconv", width = 2, seed = 3, posterior = "mixture" }
    model:train { quiet = true, recalibrate = false, batch = 32, decoder = { steps = 2 }, encoder = { steps = 150 } }
    assert.is_true(sv.mean(sv.abs(sv.slice((model:encode(x)) - z, 2, 1, 1))):item() < 2.5) -- the prior's: 4
  end)
end)

describe("nets of series", function()
  it("learn, and are saved whole: gru, lstm", function()
    local wave = sv.simulator { name = "wave", output = { 40 }, noise = 0.05,
      params = { { name = "f", low = 0.2, high = 1 } },
      simulate = function(z, out) for i = 1, 40 do out[i] = math.sin(z.f * i) end end }
    for _, net in ipairs { "gru", "lstm" } do
      local model = sv.model { simulator = wave, net = net, width = 4, seed = 3, posterior = "mixture" }
      model:train { quiet = true, recalibrate = false, batch = 32, decoder = { steps = 2 }, encoder = { steps = 120 } }
      local z, x = sv.simulate(wave, 100, sv.rng(4))
      assert.is_true(sv.mean(sv.abs((model:encode(x)) - z)):item() < 0.1) -- the prior's: 0.2
      local path = helper.temporary_folder() .. "/" .. net .. ".safetensors"
      assert(model:save(path))
      assert.same((model:encode(x)):totable(), (assert(sv.load(path, wave)):encode(x)):totable())
    end
  end)

  it("take 16 elements or more; recurrent ones make 256 steps at most", function()
    for _, net in ipairs { "gru", "lstm" } do
      for _, n in ipairs { 16, 1024, 1025 } do
        local decoder, encoder = sv.nets[net] { code = 2, heads = 3, width = 2, output = { n } }
        assert.same({ 1, 3 }, encoder(decoder(sv.zeros(1, 2))).shape)
        local x, steps = sv.zeros(1, n), nil
        for _, layer in ipairs(encoder.inner[1].inner) do
          x = layer(x)
          if layer.label:find("^" .. net) then steps = x.shape[2] end
        end
        assert.equal(n == 16 and 4 or n == 1024 and 256 or 65, steps)
      end
      helper.raises("net \"" .. net .. "\" takes series {n} of 16 elements or more", sv.nets[net],
        { code = 2, heads = 3, output = { 15 } })
    end
  end)
end)

describe("the net \"conv1d\"", function()
  it("shortens series to a quarter, rounded up, until they are 4 to 15 long, and leads back to the length", function()
    for _, n in ipairs { 16, 17, 61, 100, 250, 1000 } do
      local decoder, encoder = sv.nets.conv1d { code = 2, heads = 3, width = 2, output = { n }, rng = sv.rng(1) }
      local x, length = decoder(sv.zeros(2, 2)), n
      assert.same({ 2, n }, x.shape)
      assert.same({ 2, 3 }, encoder(x).shape)
      for _, layer in ipairs(encoder.inner[1].inner) do
        x = layer(x)
        if layer.label:find "^conv1d" then
          length = (length + 2 * 2 + -length % 4 - 8) // 4 + 1 -- PyTorch's formula for Conv1d, behind zeros at the end
          assert.equal(length, x.shape[4])
        elseif length < n then
          assert.is_true(length >= 4 and (x.ndim == 4 or length < 16))
        end
      end
    end
  end)

  it("has the gradients of finite differences", function()
    local decoder, encoder = sv.nets.conv1d { code = 2, heads = 3, width = 2, output = { 18 }, rng = sv.rng(4) }
    local ok, why = autograd.grad_check(function(z) return decoder(z) end, { sv.rng(5):normal { 2, 2 } })
    assert.is_true(ok, why)
    ok, why = autograd.grad_check(function(x) return encoder(x) end, { sv.rng(6):normal { 2, 18 } })
    assert.is_true(ok, why)
  end)

  it("takes series of 16 elements or more, with the level of their noise", function()
    local function sim(noise, ...)
      return sv.simulator { name = "line", output = { ... }, noise = noise,
        params = { { name = "a", low = 0, high = 1 } }, simulate = function(z, out) out:fill(z.a) end }
    end
    for _, output in ipairs { { 15 }, { 1, 16, 16 } } do
      helper.raises("net \"conv1d\" takes series {n} of 16 elements or more; this simulator's output is .*: use net = "
        .. "\"" .. (#output == 3 and "conv" or "mlp"), sv.model,
        { simulator = sim(nil, table.unpack(output)), net = "conv1d" })
    end
    local lines = sim({ low = 0.01, high = 0.5 }, 30)
    local model = sv.model { simulator = lines, net = "conv1d", width = 4 }
    model:train { quiet = true, recalibrate = false, batch = 16, decoder = { steps = 5 }, encoder = { steps = 5 } }
    local x = lines:run(sv.tensor { { 0.5 } })
    local low, high = model:encode(x, { noise = 0.01 }), model:encode(x, { noise = 0.5 })
    assert.is_true(low:item() ~= high:item())
  end)
end)

describe("the net \"set\"", function()
  -- Elements in another order.
  local function shuffled(x, rng)
    local axis, parts = x.ndim, {}
    for i = 1, x.shape[axis] do parts[i] = core.slice(x, axis, i, i) end
    for i = #parts, 2, -1 do
      local j = rng:integer(1, i)
      parts[i], parts[j] = parts[j], parts[i]
    end
    return core.concat(parts, axis)
  end

  local function draws(output, more)
    local t = { name = "draws", output = output, params = { { name = "a", low = -1, high = 1 },
      { name = "s", low = 0.2, high = 2, scale = "log" } },
      simulate = function(z, out, rng)
        for i = 1, output[#output] do
          local v = math.min(math.exp(z.a + z.s * rng:normal()), 20) -- far from normal: by normal scores
          if #output == 1 then
            out[i] = v
          else
            out:set(v, 1, 1, i)
            out:set(rng:normal(z.a, 1), 2, 1, i)
          end
        end
      end }
    for k, v in pairs(more or {}) do t[k] = v end
    return sv.simulator(t)
  end

  it("does not depend on the order of elements, nor on a scale of each", function()
    for _, output in ipairs { { 9 }, { 2, 1, 9 } } do
      for _, posterior in ipairs { "flow", "mixture" } do
        local sim = draws(output, { loss = "mse" })
        local model = sv.model { simulator = sim, net = "set", width = 8, seed = 3, posterior = posterior }
        model:train { quiet = true, batch = 32, decoder = { steps = 20 }, encoder = { steps = 40 } }
        local _, x = sv.simulate(sim, 50, sv.rng(4))
        local mean, std = model:encode(x)
        local other_mean, other_std = model:encode(shuffled(x, sv.rng(5)))
        assert.is_true(sv.max(sv.abs(mean - sv.mean(mean, 1, true))):item() > 0.05)
        close(mean, other_mean, "means")
        close(std, other_std, "standard deviations")
        local y = model:decode(sim:sample(3, sv.rng(6)))
        for i = 2, 9 do close(core.slice(y, y.ndim, 1, 1), core.slice(y, y.ndim, i, i), "decoded") end
        local path = helper.temporary_folder() .. "/set.safetensors"
        assert(model:save(path))
        assert.same(mean:totable(), (assert(sv.load(path, sim)):encode(x)):totable())
      end
    end
  end)

  it("takes levels of noise, extra latents, ensembles, sets of sets and decoders of other nets", function()
    local function plain(z, out) for i = 1, 6 do out[i] = z.a end end
    local level, nets = { low = 0.01, high = 0.5 }, sv.nets
    local cases = { { { simulate = plain, noise = level }, {} }, { {}, { extra = 2 } }, { {}, { members = 2 } },
      { { simulate = plain, noise = 0.1 }, { set = { low = 2, high = 3 } } }, { {}, { net = function(t)
        local _, encoder = nets.set(t)
        return nets.mlp(t), encoder
      end } } }
    for i, case in ipairs(cases) do
      local sim = draws({ 6 }, case[1])
      local o = { simulator = sim, net = "set", width = 8 }
      for k, v in pairs(case[2]) do o[k] = v end
      local model = sv.model(o)
      model:train { quiet = true, batch = 16, decoder = { steps = 5 }, encoder = { steps = 5 } }
      local _, x = sv.simulate(sim, 4, sv.rng(4))
      if i == 4 then x = sv.stack({ x, x }, 2) end
      local options = i == 1 and { noise = 0.1 } or nil
      close((model:encode(x, options)), (model:encode(shuffled(x, sv.rng(5)), options)), "case " .. i)
    end
    local _, encoder = nets.set { code = 2, heads = 3, output = { 2, 1, 6 }, input = { 3, 1, 6 } } -- with a level
    assert.same({ 5, 3 }, encoder(sv.ones(5, 3, 1, 6)).shape)
  end)

  it("has the gradients of finite differences", function()
    for _, output in ipairs { { 5 }, { 3, 1, 4 } } do
      local decoder, encoder = sv.nets.set { code = 2, heads = 3, width = 4, output = output, rng = sv.rng(4) }
      local ok, why = autograd.grad_check(function(z) return decoder(z) end, { sv.rng(5):normal { 2, 2 } })
      assert.is_true(ok, why)
      ok, why = autograd.grad_check(function(x) return encoder(x) end, { sv.rng(6):normal { 2, table.unpack(output) } })
      assert.is_true(ok, why)
    end
  end)

  it("standardises all numbers of a vector alike, and tells of constant ones", function()
    local constant = draws({ 9 }, { simulate = function(_, out) out:fill(3) end })
    local model = sv.model { simulator = constant, net = "set", width = 4 }
    local noticed = helper.stderr_of(model.train, model, { quiet = true, batch = 16, decoder = { steps = 1 },
      encoder = { steps = 1 } })
    assert.truthy(noticed:find("(9 of 9) are constant", 1, true), noticed)
    local x = core.tensor { { 0, 1 }, { 1, 6 } }
    local loss = require "simvae.model.loss".new("mse", { 2 })
    loss.alike = true
    loss:fit(x)
    assert.same({ 2, 2 }, loss.mean:totable())
    assert.near(math.sqrt((4 + 1 + 1 + 16) / 3), loss.std:get(1), 1e-6)
    assert.equal(loss.std:get(1), loss.std:get(2))
  end)

  it("has the posterior of a normal mean #long", function()
    local N, std = 16, 1
    local sim = sv.simulator { name = "normal", output = { N }, params = { { name = "m", low = -3, high = 3 } },
      simulate = function(z, out, rng) for i = 1, N do out[i] = rng:normal(z.m, std) end end }
    local model = sv.model { simulator = sim, net = "set", width = 16, seed = 2, transforms = 2 }
    model:train { quiet = true, recalibrate = false, decoder = { steps = 0 },
      encoder = { steps = 1200, lr = { peak = 3e-3, warmup = 50 } } }
    local z, x = sv.simulate(sim, 500, sv.rng(4))
    local exact, log_prob, below, count = sv.mean(x, 2), model:posterior(x):log_prob(z), 0, 0
    for i, m in ipairs(sv.reshape(z, -1):totable()) do
      if math.abs(m) < 2 then -- the prior's ends are far
        local away = (m - exact:get(i)) * math.sqrt(N) / std
        local density = -(away ^ 2 + math.log(2 * math.pi * std ^ 2 / N)) / 2
        below, count = below + density - log_prob:get(i), count + 1
      end
    end
    assert.near(0, below / count, 0.05)
  end)
end)
