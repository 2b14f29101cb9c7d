-- Products, convolutions and normalisation against PyTorch in double precision
-- (spec/fixtures/make_layers.py): values, and the gradients of every input.
local core = require "simvae.core"
local helper = require "spec.helper"
local pytorch = require "spec.pytorch"
local sv = require "simvae"

local close = pytorch.close
local fixture, check = pytorch.cases "spec/fixtures/layers.npz"

describe("against PyTorch:", function()
  local cases = {
    matmul = sv.matmul,
    matmul_batched = function(x, y) return sv.matmul(x, y, { transpose_x = true, transpose_y = true }) end,
    matmul_shared = sv.matmul,
    linear = sv.linear,
    conv2d_4x4 = function(x, w, b) return sv.conv2d(x, w, b, { stride = 2, padding = 1 }) end,
    conv2d_5x5 = function(x, w, b) return sv.conv2d(x, w, b, 2, 2) end,
    conv2d_3x3 = sv.conv2d,
    conv2d_3x3_wide = function(x, w, b) return sv.conv2d(x, w, b, { padding = 2 }) end,
    conv_transpose2d_4x4 = function(x, w, b) return sv.conv_transpose2d(x, w, b, { stride = 2, padding = 1 }) end,
    conv_transpose2d_5x5 = function(x, w, b) return sv.conv_transpose2d(x, w, b, 2, 2, 1) end,
    conv_transpose2d_3x3_wide = function(x, w) return sv.conv_transpose2d(x, w, { padding = 1 }) end,
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

  -- Winograd convolution of 3x3 kernels rounds transformed factors: 4.8 times the error of a plain sum of rounded
  -- products at most (csrc/kernels/conv_winograd.h), whose sums run over a ninth of the numbers.
  it("3x3 kernels with stride 1 to 1e-6 of the numbers, and the largest error to 2e-6 of the largest", function()
    local most = core.real == "double" and { 2e-15, 4e-15 } or { 1e-6, 2e-6 }
    local function rms(t) return math.sqrt(sv.mean(t * t):item()) end
    local function largest(t) return sv.max(sv.abs(t)):item() end
    for name, f in pairs { conv2d_3x3_wide = cases.conv2d_3x3_wide,
      conv_transpose2d_3x3_wide = cases.conv_transpose2d_3x3_wide } do
      local x, w = sv.parameter(fixture[name .. ".in0"]), sv.parameter(fixture[name .. ".in1"])
      local tape <close> = sv.tape()
      local y = tape:keep(f(x, w, fixture[name .. ".in2"]))
      tape:backward(sv.sum(y * fixture[name .. ".g"]))
      for suffix, got in pairs { out = y, d0 = x.grad, d1 = w.grad } do
        local expected = fixture[name .. "." .. suffix]
        local off = got - expected
        assert.is_true(rms(off) <= most[1] * rms(expected), name .. "." .. suffix .. rms(off) / rms(expected))
        assert.is_true(largest(off) <= most[2] * largest(expected), name .. "." .. suffix)
      end
    end
  end)

  for _, case in ipairs {
    { x = { 8, 5, 16, 16 }, w = { 7, 5, 4, 4 }, stride = 2 },
    { x = { 8, 32, 16, 15 }, w = { 48, 32, 3, 3 }, stride = 1 },
    { x = { 16, 16, 6, 5 }, w = { 16, 16, 3, 3 }, stride = 1 },
    { x = { 1, 160, 16, 16 }, w = { 144, 160, 3, 3 }, stride = 1 },
  } do
    local title = string.format("the same bits for any number of threads: %d channels, kernel %d", case.x[2], case.w[3])
    it(title, function()
      local rng = sv.rng(3)
      local x, w = rng:normal(case.x), rng:normal(case.w)
      local function all()
        local p, q = sv.parameter(w), sv.parameter(x)
        local tape <close> = sv.tape()
        local y = sv.conv2d(q, p, { stride = case.stride, padding = 1 })
        local channels = case.w[1]
        local loss = sv.sum(sv.batch_norm(y, sv.ones(channels), sv.zeros(channels)) * y)
        local value = loss:item()
        tape:backward(loss)
        return { value, p.grad:totable(), q.grad:totable() }
      end
      assert.same(helper.by_threads(all))
    end)
  end
end)

-- Wide layers use Winograd convolution (csrc/kernels/conv_winograd.c): single numbers against the definition.
describe("by the definition:", function()
  local function tap(x, n, c, i, j)
    if i < 1 or j < 1 or i > x.shape[3] or j > x.shape[4] then return 0 end
    return x:get(n, c, i, j)
  end
  -- sum over c and the kernel of w[o][c] x[c]
  local function conv(case, x, w, n, o, i, j)
    local sum, stride, pad = 0, case.stride, case.pad
    for c = 1, x.shape[2] do
      for a = 1, case.kernel do
        for b = 1, case.kernel do
          sum = sum + w:get(o, c, a, b) * tap(x, n, c, (i - 1) * stride - pad + a, (j - 1) * stride - pad + b)
        end
      end
    end
    return sum
  end
  -- its transpose: every x[c] spread over the kernel w[c][o]
  local function spread(case, x, w, n, o, i, j)
    local sum, stride, pad = 0, case.stride, case.pad
    for c = 1, x.shape[2] do
      for a = 1, case.kernel do
        for b = 1, case.kernel do
          local p, q = i + pad - a, j + pad - b
          if p % stride == 0 and q % stride == 0 then
            sum = sum + w:get(c, o, a, b) * tap(x, n, c, p // stride + 1, q // stride + 1)
          end
        end
      end
    end
    return sum
  end

  -- its gradient by w[o][c][a][b], for y's gradient g: how often that weight was met, and with what
  local function meet(case, x, g, o, c, a, b)
    local sum, stride, pad = 0, case.stride, case.pad
    for n = 1, x.shape[1] do
      for i = 1, g.shape[3] do
        for j = 1, g.shape[4] do
          sum = sum + g:get(n, o, i, j) * tap(x, n, c, (i - 1) * stride - pad + a, (j - 1) * stride - pad + b)
        end
      end
    end
    return sum
  end

  for _, case in ipairs {
    { 3, 16, 32, 16, 16, kernel = 4, stride = 2, pad = 1 },
    { 8, 32, 16, 32, 32, kernel = 4, stride = 2, pad = 1 },
    { 2, 48, 32, 22, 22, kernel = 4, stride = 2, pad = 1 },
    { 1, 32, 16, 17, 18, kernel = 3, stride = 1, pad = 0 },
    { 3, 16, 48, 16, 12, kernel = 3, stride = 1, pad = 1 },
    { 2, 48, 32, 15, 9, kernel = 3, stride = 1, pad = 2 },
    { 4, 16, 32, 6, 5, kernel = 3, stride = 1, pad = 1 }, -- tiles of 2x2
    { 40, 32, 16, 3, 3, kernel = 3, stride = 1, pad = 1 },
    { 40, 16, 32, 1, 1, kernel = 3, stride = 1, pad = 2 },
    { 2, 144, 272, 8, 8, kernel = 3, stride = 1, pad = 1 }, -- more than a task's channels either way
  } do
    local batch, from, to, height, width = table.unpack(case)
    local title = "%d -> %d channels, %d x %d pixels, batch %d, kernel %d, padding %d"
    it(title:format(from, to, height, width, batch, case.kernel, case.pad), function()
      local rng = sv.rng(height)
      local options = { stride = case.stride, padding = case.pad }
      local x = sv.parameter(rng:normal { batch, from, height, width })
      local w = sv.parameter(rng:normal { to, from, case.kernel, case.kernel })
      local tape <close> = sv.tape()
      local y = sv.conv2d(x, w, options)
      local g = rng:normal(y.shape)
      local up = sv.conv_transpose2d(g, w, options)
      tape:keep(y, up)
      tape:backward(sv.sum(y * g))
      local down, across = y.shape[3], y.shape[4]
      -- Sums of n products of about 1 grow to the root of n, and each of n additions is off by up to 2^-24 of
      -- that: n 2^-24 at random. Winograd makes it up to 4.8 times larger (csrc/kernels/conv_winograd.h), the largest
      -- of a hundred is 3 times the usual.
      local function close_to(products) return products * (core.real == "double" and 2 ^ -48 or 2 ^ -21) end
      local per_pixel = math.max(4, case.kernel ^ 2 // case.stride ^ 2)
      for _ = 1, 25 do
        local n, o, c = rng:integer(1, batch), rng:integer(1, to), rng:integer(1, from)
        local i, j = rng:integer(1, down), rng:integer(1, across)
        assert.near(conv(case, x, w, n, o, i, j), y:get(n, o, i, j), close_to(case.kernel ^ 2 * from))
        local p, q = rng:integer(1, height), rng:integer(1, width)
        local expected = spread(case, g, w, n, c, p, q)
        assert.near(expected, up:get(n, c, p, q), close_to(per_pixel * to))
        assert.near(expected, x.grad:get(n, c, p, q), close_to(per_pixel * to))
        local a, b = rng:integer(1, case.kernel), rng:integer(1, case.kernel)
        assert.near(meet(case, x, g, o, c, a, b), w.grad:get(o, c, a, b), close_to(math.max(16, batch * down * across)))
      end
    end)
  end
end)

-- Images have few channels, for which there are kernels of their own (csrc/kernels/conv_small_channels.c).
describe("from few channels, by the definition:", function()
  for _, case in ipairs {
    { from = 3, to = 16, kernel = 4, stride = 2, pad = 1, n = 9, h = 64, w = 64 },
    { from = 1, to = 48, kernel = 5, stride = 1, pad = 2, n = 3, h = 13, w = 9 },
    { from = 4, to = 32, kernel = 3, stride = 3, pad = 0, n = 5, h = 20, w = 17 },
    { from = 2, to = 16, kernel = 4, stride = 2, pad = 5, n = 1, h = 6, w = 3 },
    { from = 3, to = 24, kernel = 4, stride = 2, pad = 1, n = 2, h = 8, w = 10 },
    { from = 2, to = 16, kernel = 1, stride = 300, pad = 0, n = 2, h = 301, w = 1 },
    { from = 1, to = 16, kernel = 2, stride = 3, pad = 0, n = 1, h = 4, w = 5000 },
  } do
    local K, stride, pad = case.kernel, case.stride, case.pad
    local title = string.format("%d -> %d channels, kernel %d, stride %d, pad %d", case.from, case.to, K, stride, pad)
    it(title, function()
      local rng = sv.rng(case.to)
      local x = sv.parameter(rng:normal { case.n, case.from, case.h, case.w })
      local w, bias = sv.parameter(rng:normal { case.to, case.from, K, K }), sv.parameter(rng:normal { case.to })
      local tape <close> = sv.tape()
      local y = sv.conv2d(x, w, bias, { stride = stride, padding = pad })
      local g = rng:normal(y.shape)
      tape:keep(y)
      tape:backward(sv.sum(y * g))
      local down, across = y.shape[3], y.shape[4]
      -- Calls f(x's place, y's place, weight's place) for all that a weight joins, and sums what it gives.
      local function sum(first, last, f)
        local total = 0
        for n = first.n or 1, last.n or case.n do
          for i = first.i or 1, last.i or down do
            for j = first.j or 1, last.j or across do
              for a = first.a or 1, last.a or K do
                for b = first.b or 1, last.b or K do
                  local p, q = (i - 1) * stride - pad + a, (j - 1) * stride - pad + b
                  if p >= 1 and q >= 1 and p <= case.h and q <= case.w then total = total + f(n, i, j, a, b, p, q) end
                end
              end
            end
          end
        end
        return total
      end
      local function close_to(products) return products * (core.real == "double" and 2 ^ -48 or 2 ^ -21) end
      for _ = 1, 20 do
        local n, o, c = rng:integer(1, case.n), rng:integer(1, case.to), rng:integer(1, case.from)
        local i, j, a, b = rng:integer(1, down), rng:integer(1, across), rng:integer(1, K), rng:integer(1, K)
        local at, expected = { n = n, i = i, j = j }, bias:get(o)
        for channel = 1, case.from do
          expected = expected + sum(at, at, function(_, _, _, k, l, p, q)
            return w:get(o, channel, k, l) * x:get(n, channel, p, q)
          end)
        end
        assert.near(expected, y:get(n, o, i, j), close_to(K * K * case.from))
        at = { a = a, b = b }
        expected = sum(at, at, function(m, t, u, _, _, p, q) return g:get(m, o, t, u) * x:get(m, c, p, q) end)
        assert.near(expected, w.grad:get(o, c, a, b), close_to(case.n * down * across))
      end
    end)
  end

  it("the same bits for any number of threads", function()
    local rng = sv.rng(8)
    local x, w = rng:normal { 7, 3, 32, 32 }, sv.parameter(rng:normal { 16, 3, 4, 4 })
    local before, results = core.threads(), {}
    for k, threads in ipairs { 1, 3 } do
      core.threads(threads)
      local tape <close> = sv.tape()
      local y = sv.conv2d(x, w, { stride = 2, padding = 1 })
      results[k] = { y:totable() }
      w:zero_grad()
      tape:backward(sv.sum(y * y))
      results[k][2] = w.grad:totable()
    end
    core.threads(before)
    assert.same(results[1], results[2])
  end)
end)

local results = helper.value_and_gradients

describe("linear with an activation", function()
  local nn, autograd = sv.nn, require "simvae.tensor.autograd"
  local names = { "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "silu", "gelu" }

  local function act(name, x, slope)
    if name == "leaky_relu" then return sv.leaky_relu(x, slope) end
    return sv[name](x)
  end

  for _, name in ipairs(names) do
    it("gives what the two ops give, and its gradient: " .. name, function()
      local function both(x, w, b) return sv.linear(x, w, b, { activation = name, slope = 0.3 }) end
      local function apart(x, w, b) return act(name, sv.linear(x, w, b), 0.3) end
      -- one row, few, and many, which are summed in parts and shared out; few outputs; too many for that way
      for _, size in ipairs { { 1, 40, 70 }, { 5, 3, 7 }, { 300, 33, 20 }, { 1300, 9, 37 }, { 130, 64, 3 },
        { 20, 520, 6 } } do
        local rows, from, to = table.unpack(size)
        local rng = sv.rng(rows)
        local given = { rng:normal { rows, from }, rng:normal { to, from } * 0.2, rng:normal { to } }
        local got = results(both, given)
        for i, expected in ipairs(results(apart, given)) do
          close(expected, got[i], string.format("%s, result %d of %d rows", name, i, rows))
        end
      end
      local rng = sv.rng(9)
      local ok, report = autograd.grad_check(both, { rng:normal { 4, 3 }, rng:normal { 2, 3 }, rng:normal { 2 } })
      assert.is_true(ok, report)
    end)
  end

  it("has the same gradients where only some are wanted", function()
    local rng = sv.rng(8)
    local x, w, b = rng:normal { 300, 20 }, rng:normal { 40, 20 }, rng:normal { 40 }
    local function gradients(wanted)
      local leaves = { sv.tensor(x), sv.tensor(w), sv.tensor(b) }
      for i, t in ipairs(leaves) do
        if wanted[i] then leaves[i] = sv.parameter(t) end
      end
      local tape <close> = sv.tape()
      tape:backward(sv.sum(sv.square(sv.linear(leaves[1], leaves[2], leaves[3], "tanh"))))
      for i, t in ipairs(leaves) do leaves[i] = wanted[i] and t.grad:totable() end
      return leaves
    end
    local all = gradients { true, true, true }
    for i = 1, 3 do assert.same(all[i], gradients({ i == 1, i == 2, i == 3 })[i]) end
  end)

  it("is what nn.sequential makes of a linear layer and the activation behind it", function()
    local rng = sv.rng(4)
    local first, last = nn.linear(3, 8, { rng = rng }), nn.linear(8, 2, { bias = false, rng = rng })
    local x = rng:normal { 6, 3 }
    for _, name in ipairs(names) do
      local tape <close> = sv.tape()
      local y = nn.sequential { first, nn[name](), last, nn[name]() }(x)
      assert.matches("^tape: 2 ops", tostring(tape))
      close(act(name, last(act(name, first(x), 0.2)), 0.2), y, name)
    end
  end)

  it("gives the same bits for any number of threads", function()
    local rng = sv.rng(5)
    local before = core.threads()
    for _, rows in ipairs { 50, 300, 1500 } do
      local given = { rng:normal { rows, 40 }, rng:normal { 70, 40 }, rng:normal { 70 } }
      local function all(threads)
        core.threads(threads)
        local tables = {}
        for i, t in ipairs(results(function(x, w, b) return sv.linear(x, w, b, "gelu") end, given)) do
          tables[i] = t:totable()
        end
        return tables
      end
      local one, two, five = all(1), all(2), all(5)
      core.threads(before)
      assert.same(one, two)
      assert.same(one, five)
    end
  end)
end)

describe("convolutions with what follows them", function()
  local nn = sv.nn
  local options = {
    conv2d = { stride = 2, padding = 1 }, conv_transpose2d = { stride = 2, padding = 1, output_padding = 0 },
  }
  -- Channels in and out, batch, side: few channels on either side, one, the plain form, the fast ones, from many
  -- channels, which are summed in slabs.
  local sizes = {
    { 3, 16, 5, 16 }, { 16, 3, 5, 16 }, { 4, 1, 2, 9 }, { 5, 7, 2, 9 }, { 16, 32, 4, 12 }, { 16, 32, 32, 16 },
    { 272, 16, 16, 18 }, { 96, 160, 3, 14 },
  }

  local function with(o, more)
    local t = {}
    for _, from in ipairs { o, more or {} } do
      for k, v in pairs(from) do t[k] = v end
    end
    return t
  end

  local function random(op, size, rng)
    local from, to, batch, side = table.unpack(size)
    local shape = op == "conv2d" and { to, from, 4, 4 } or { from, to, 4, 4 }
    local norm = { rng:uniform(-1, 1.5, { to }), rng:normal { to }, rng:normal { to }, rng:uniform(0.5, 2, { to }) }
    return { rng:normal { batch, from, side, side }, rng:normal(shape) * (0.5 / from ^ 0.5), rng:normal { to } }, norm
  end

  for op, o in pairs(options) do
    for _, name in ipairs { "none", "relu", "leaky_relu" } do
      local act = with(o, { activation = name, slope = 0.3 })
      it(string.format("give what the ops give one by one: %s, %s", op, name), function()
        for i, size in ipairs(sizes) do
          local given, norm = random(op, size, sv.rng(i))
          local scale, shift, mean, var = table.unpack(norm)
          local function activated(y)
            return name == "relu" and sv.relu(y) or name == "leaky_relu" and sv.leaky_relu(y, 0.3) or y
          end
          local function alike(both, apart)
            local got = results(both, given)
            for k, expected in ipairs(results(apart, given)) do
              close(expected, got[k], string.format("size %d, result %d", i, k))
            end
          end
          alike(function(x, w, b) return sv[op](x, w, b, act) end,
            function(x, w, b) return activated(sv[op](x, w, b, o)) end)
          alike(function(x, w, b) return sv[op .. "_norm"](x, w, b, scale, shift, mean, var, act) end,
            function(x, w, b)
              return activated(sv.batch_norm(sv[op](x, w, b, o), scale, shift, mean, var, { training = false }))
            end)
        end
      end)
    end

    it("give the same bits for any number of threads: " .. op, function()
      local given, norm = random(op, sizes[6], sv.rng(7))
      local scale, shift, mean, var = table.unpack(norm)
      local function all(threads)
        core.threads(threads)
        local tables = {}
        for i, t in ipairs(results(function(x, w, b)
          return sv[op .. "_norm"](x, w, b, scale, shift, mean, var, with(o, { activation = "relu" }))
        end, given)) do
          tables[i] = t:totable()
        end
        return tables
      end
      local before = core.threads()
      local one, three = all(1), all(3)
      core.threads(before)
      assert.same(one, three)
    end)

    it("want a norm that is a constant, and no slope below 0: " .. op, function()
      local given, norm = random(op, { 3, 2, 2, 8 }, sv.rng(8))
      local x, w, b = table.unpack(given)
      norm[2] = sv.parameter(norm[2])
      assert.has_error(function() sv[op .. "_norm"](x, w, b, table.unpack(norm)) end, nil, "shift is a constant here")
      assert.has_error(function() sv[op](x, w, b, { activation = "leaky_relu", slope = -1 }) end, nil, "0 or more")
    end)
  end

  it("are what nn.sequential makes of them", function()
    local rng = sv.rng(3)
    local x = rng:normal { 4, 3, 16, 16 }
    local function layers(slope)
      return {
        nn.conv2d(3, 16, 4, { stride = 2, padding = 1, rng = rng }), nn.leaky_relu(slope),
        nn.conv2d(16, 32, 4, { stride = 2, padding = 1, bias = false, rng = rng }),
        nn.batch_norm(32, { std = 0.3, rng = rng }), nn.leaky_relu(slope),
        nn.conv_transpose2d(32, 16, 4, { stride = 2, padding = 1, rng = rng }), nn.batch_norm(16), nn.relu(),
        nn.conv_transpose2d(16, 3, 4, { stride = 2, padding = 1, rng = rng }), nn.batch_norm(3),
      }
    end
    local function count(net, wanted)
      local z = sv.parameter(x)
      local tape <close> = sv.tape()
      local y = tape:keep(net(z))
      assert.matches("^tape: " .. wanted .. " ops", tostring(tape))
      return y
    end
    local net = nn.sequential(layers(0.2))
    for _ = 1, 3 do count(net, 8) end -- to channels-last first, each norm on its own
    net:eval()
    local expected = count(net, 8)
    net:freeze()
    close(expected, count(net, 5), "frozen")
    net:train()
    count(net, 8)
    count(nn.sequential(layers(-0.2)):eval():freeze(), 7)
  end)
end)

-- Of weights that stay as they are, convolutions keep what they made where it is dear (csrc/engine/call.c): a clone,
-- which no call has met, shows what they should give.
describe("convolutions with weights that were met before", function()
  local rng = sv.rng(6)
  local ops = {
    conv2d = function(x, w, stride) return sv.conv2d(x, w, { stride = stride, padding = 1 }) end,
    conv_transpose2d = function(x, w, stride) return sv.conv_transpose2d(x, w, { stride = stride, padding = 1 }) end,
  }
  local changes = {
    { "set", function(w) w:set(3, 1, 1, 1, 1) end },
    { "copy", function(w) w:copy(w * 2) end },
    { "a view's fill", function(w) w:reshape(-1):fill(0.5) end },
    { "an index", function(w) w[2] = 7 end },
    { "adam", function(w)
      local adam = sv.optim.adam({ w }, { lr = 0.1 })
      local tape <close> = sv.tape()
      tape:backward(sv.sum(w * w))
      adam:step()
    end },
    { "load_state", function(w)
      assert(sv.nn.layer { own = { w = w }, forward = print }:load_state { w = rng:normal(w.shape) })
    end },
    { "one that no change of weights is", function() end },
  }
  for name, op in pairs(ops) do
    for _, size in ipairs { { 24, 2, 8 }, { 32, 3, 16 } } do -- the plain form, the fast one
      local channels, batch, side = table.unpack(size)
      it(string.format("follow every change of them: %s, %d channels", name, channels), function()
        local w = sv.parameter(rng:normal { channels, channels, 4, 4 })
        local x = rng:normal { batch, channels, side, side }
        for _, change in ipairs(changes) do
          for _, stride in ipairs { 2, 2, 2, 1, 1, 1, 3, 2, 2 } do
            assert.same(op(x, w:clone(), stride):totable(), op(x, w, stride):totable(), change[1])
          end
          change[2](w)
          assert.same(op(x, w:clone(), 2):totable(), op(x, w, 2):totable(), "after " .. change[1])
        end
      end)
    end
    it("follow the form that the batch asks for: " .. name, function()
      local w = rng:normal { 16, 16, 4, 4 }
      for _, batch in ipairs { 3, 3, 3, 40, 40, 40, 3, 3 } do
        local x = rng:normal { batch, 16, 16, 16 }
        assert.same(op(x, w:clone(), 2):totable(), op(x, w, 2):totable())
      end
    end)
  end

  -- y, and the gradient of x through frozen weights.
  local function both_ways(op, x, w, stride)
    local z = sv.parameter(x)
    local tape <close> = sv.tape()
    local y = op(z, w, stride)
    local value = y:totable()
    tape:backward(sv.sum(y * y))
    return { value, z.grad:totable() }
  end
  for name, op in pairs(ops) do
    for _, size in ipairs { { 24, 2, 8 }, { 32, 3, 16 } } do
      local channels, batch, side = table.unpack(size)
      it(string.format("give the gradient that new ones give: %s, %d channels", name, channels), function()
        local w, x = rng:normal { channels, channels, 4, 4 }, rng:normal { batch, channels, side, side }
        for _, change in ipairs(changes) do
          if change[1] ~= "adam" then
            for _, stride in ipairs { 2, 2, 2, 1, 1, 1, 2, 2 } do
              assert.same(both_ways(op, x, w:clone(), stride), both_ways(op, x, w, stride), change[1])
            end
            change[2](w)
          end
        end
      end)
    end
    it("give it under a tape that asks for several forms: " .. name, function()
      local w = rng:normal { 16, 16, 4, 4 }
      local few, many = rng:normal { 3, 16, 16, 16 }, rng:normal { 40, 16, 16, 16 }
      for _ = 1, 3 do
        local a, b = sv.parameter(few), sv.parameter(many)
        local tape <close> = sv.tape()
        local y, z = op(a, w, 2), op(b, w, 2)
        tape:backward(sv.sum(y * y) + sv.sum(z * z))
        assert.same(both_ways(op, few, w:clone(), 2)[2], a.grad:totable())
        assert.same(both_ways(op, many, w:clone(), 2)[2], b.grad:totable())
      end
    end)
  end

  it("do not notice whether a tape is open, or whether they are frozen", function()
    local w, x = sv.parameter(rng:normal { 24, 24, 4, 4 }), rng:normal { 2, 24, 8, 8 }
    local y = ops.conv2d(x, w, 2):totable()
    for _, frozen in ipairs { false, true, false } do
      w:requires_grad(not frozen)
      for _ = 1, 3 do
        local z = sv.parameter(x)
        local tape <close> = sv.tape()
        local out = ops.conv2d(z, w, 2)
        assert.same(y, out:totable())
        tape:backward(sv.sum(out))
      end
      for _ = 1, 3 do assert.same(y, ops.conv2d(x, w, 2):totable()) end
    end
  end)
end)

describe("a constant that several convolutions meet", function()
  local rng = sv.rng(8)
  local w = rng:normal { 4, 3, 4, 4 }
  local function conv(x) return sv.conv2d(x, w, { stride = 2, padding = 1 }):totable() end
  it("is what it is, whatever was written since and whichever tape is open", function()
    local x = rng:normal { 2, 3, 8, 8 }
    local writes = { function() x:set(5, 1, 2, 3, 4) end, function() x:reshape(-1):fill(0.5) end,
      function() x:copy(rng:normal(x.shape)) end, function() end }
    for _, open in ipairs { sv.scope, sv.tape } do
      for _, write in ipairs(writes) do
        local tape <close> = open()
        assert.same(conv(x:clone()), conv(x))
        do
          local scope <close> = open()
          assert.same(conv(x:clone()), conv(x))
          write()
          assert.same(conv(x:clone()), conv(x))
        end
        assert.same(conv(x:clone()), conv(x))
        write()
        assert.same(conv(x:clone()), conv(x))
      end
      assert.same(conv(x:clone()), conv(x))
    end
  end)
  it("is turned to channels last once under a tape", function()
    local x, z = rng:normal { 2, 3, 8, 8 }, sv.parameter(rng:normal { 2, 3, 8, 8 })
    local tape <close> = sv.tape()
    local before = sv.memory().live
    sv.conv2d(x, w)
    local first = sv.memory().live - before
    sv.conv2d(x, w)
    local second = sv.memory().live - before - first
    assert.is_true(second <= first - 4 * x.count, string.format("%d and %d bytes", first, second))
    sv.conv2d(z, w) -- a parameter's gradient goes through the turn
    tape:backward(sv.sum(sv.conv2d(z, w)))
    assert.equal(z.count, z.grad.count)
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
