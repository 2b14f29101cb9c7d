-- Dense products (matmul, linear) through each of their backends: csrc/kernels/gemm_dense.c.
local helper = require "spec.helper"
local core = require "simvae.core"
local sv = require "simvae"

local double = core.real == "double"
local found = core.use_blas() ~= nil
local usual = core.products()

-- What f returns with a backend; the usual one is in use again afterwards.
local function with(backend, f)
  core.products(backend)
  local results = table.pack(pcall(f))
  core.products(usual)
  assert(results[1], results[2])
  return table.unpack(results, 2, results.n)
end

-- The largest difference over the largest number of the second.
local function apart(a, b)
  assert.same(b.shape, a.shape)
  if b.count == 0 then return 0 end
  local size = core.max(core.abs(b)):item()
  return core.max(core.abs(a - b)):item() / math.max(size, 1e-30)
end

local function agree(a, b)
  local d = apart(a, b)
  assert.is_true(d <= (double and 1e-12 or 1e-5), "apart by " .. d)
end

local function same_bits(a, b)
  assert.same(b.shape, a.shape)
  if b.count > 0 then assert.equal(0, core.max(core.abs(a - b)):item()) end
end

local function numbers(seed, shape) return core.rng(seed):normal(shape) end

-- A product of two matrices of Lua numbers, which are doubles.
local function reference(a, b, ta, tb)
  local x, y = a:totable(), b:totable()
  local m, k = a.shape[ta and 2 or 1], a.shape[ta and 1 or 2]
  local n = b.shape[tb and 1 or 2]
  local flat = {}
  for i = 1, m do
    for j = 1, n do
      local sum = 0
      for l = 1, k do sum = sum + (ta and x[l][i] or x[i][l]) * (tb and y[j][l] or y[l][j]) end
      flat[#flat + 1] = sum
    end
  end
  return core.tensor(flat):reshape(m, n)
end

local function stored(transposed, rows, cols) return transposed and { cols, rows } or { rows, cols } end

local booleans = { false, true }

describe("SV_BLAS", function()
  local function under(value, script)
    return helper.run("SV_BLAS=" .. helper.quote(value) .. " " .. helper.lua_command("-e", script))
  end

  it("is an error that names the backends where it is not one of them", function()
    for _, name in ipairs { "mkl", "OpenBLAS", "ours ", "auto" } do
      local output, code = under(name, 'require "simvae"')
      assert.not_equal(0, code)
      assert.is_truthy(output:find("SV_BLAS=" .. name .. " is not a backend of products; set it to ours or openblas",
        1, true), output)
    end
    helper.raises("products: takes ours, openblas or auto; got mkl", core.products, "mkl")
  end)

  it("names the backend of all products", function()
    for value, name in pairs { ours = "ours", openblas = "openblas", [""] = "auto" } do
      assert.equal(name, under(value, 'print((require("simvae.core").products()))'):match "%S+")
    end
  end)

  it("says what to install where OpenBLAS is asked for and missing", function()
    local script = [[
      package.preload["simvae.blas"] = function() error "module 'simvae.blas' not found" end
      local core = require "simvae.core"
      print(core.products())
      for _ = 1, 2 do print(pcall(core.matmul, core.ones(3, 3), core.ones(3, 3))) end
      print(core.exp(core.zeros(1)):item())]]
    local output = under("openblas", script)
    local _, times = output:gsub("SV_BLAS=openblas: OpenBLAS is missing from this build; install it", "")
    assert.equal(2, times, output)
    assert.is_truthy(output:find("\n1.0", 1, true), output)
  end)

  it("passes an interruption on that comes while OpenBLAS is loaded", function()
    local script = [[
      local asked = 0
      package.preload["simvae.blas"] = function()
        asked = asked + 1
        error(asked == 1 and "interrupted!" or "module 'simvae.blas' not found", 0)
      end
      local core = require "simvae.core"
      require "simvae"
      print(pcall(core.matmul, core.ones(3, 3), core.ones(3, 3)))
      print(core.sum(core.matmul(core.ones(3, 3), core.ones(3, 3))):item())]]
    assert.equal("false\tinterrupted!\n27.0\n", (helper.run("unset SV_BLAS; SV_KERNEL=portable "
      .. helper.lua_command("-e", script))))
  end)

  it("is not needed where OpenBLAS is missing: ours computes all products", function()
    local script = [[
      local asked = 0
      package.preload["simvae.blas"] = function() asked = asked + 1 error "module 'simvae.blas' not found" end
      local core = require "simvae.core"
      require "simvae"
      local a = core.ones(300, 400, 1):reshape(300, 400)
      for _ = 1, 3 do
        print(core.max(core.matmul(a, a, false, true)):item(), core.linear(core.ones(2, 8), core.ones(9, 8)):get(2, 9))
      end
      print("asked", asked <= 1, core.products())]]
    local output = helper.run("unset SV_BLAS; SV_KERNEL=portable " .. helper.lua_command("-e", script))
    assert.equal("400.0\t8.0\n400.0\t8.0\n400.0\t8.0\nasked\ttrue\tauto\tfalse\n", output)
  end)
end)

describe("OpenBLAS", function()
  it("is loaded by the first product that wants it, not by require", function()
    local script = [[
      local core = require "simvae.core"
      require "simvae"
      local function loaded() return select(2, core.products()) and package.loaded["simvae.blas"] ~= nil end
      io.write(tostring(loaded()), " ")
      core.exp(core.ones(64, 64))
      io.write(tostring(loaded()), " ")
      core.matmul(core.ones(2, 2), core.ones(2, 2))
      io.write(tostring(loaded()))]]
    local run = helper.lua_command("-e", script)
    assert.equal("false false false", (helper.run("SV_BLAS=ours SV_KERNEL=portable " .. run)))
    if not found then return end
    assert.equal("false false true", (helper.run("SV_BLAS=openblas " .. run)))
    assert.equal("false false true", (helper.run("unset SV_BLAS; SV_KERNEL=portable " .. run)))
  end)

  it("starts no threads, and leaves the environment as it was", function()
    if not found or not helper.read "/proc/self/status" then return end
    local script = [[
      local core = require "simvae.core"
      local function threads() return io.open("/proc/self/status"):read("a"):match("Threads:%s*(%d+)") end
      local before = threads() -- an emulator has threads of its own
      core.use_blas()
      print(threads() - before, os.getenv "OPENBLAS_NUM_THREADS")]]
    local run = helper.lua_command("-e", script)
    assert.equal("0\tnil\n", (helper.run("unset OPENBLAS_NUM_THREADS; " .. run)))
    assert.equal("0\t5\n", (helper.run("OPENBLAS_NUM_THREADS=5 " .. run)))
  end)
end)

for _, backend in ipairs { "ours", found and "openblas" or nil } do
  describe("products by " .. backend, function()
    it("agree with sums of doubles, transposed or not", function()
      for _, size in ipairs { { 1, 1, 1 }, { 5, 1, 7 }, { 1, 6, 3 }, { 2, 3, 1 }, { 9, 17, 33 }, { 33, 4, 65 },
        { 40, 70, 50 } } do
        for _, ta in ipairs(booleans) do
          for _, tb in ipairs(booleans) do
            local m, n, k = table.unpack(size)
            local a, b = numbers(1, stored(ta, m, k)), numbers(2, stored(tb, k, n))
            agree(with(backend, function() return core.matmul(a, b, ta, tb) end), reference(a, b, ta, tb))
          end
        end
      end
    end)

    it("are empty, or zero, where a side has no entries", function()
      for _, ta in ipairs(booleans) do
        for _, tb in ipairs(booleans) do
          for _, size in ipairs { { 0, 3, 2 }, { 3, 0, 2 }, { 3, 2, 0 }, { 0, 0, 0 } } do
            local m, n, k = table.unpack(size)
            local a, b = core.zeros(stored(ta, m, k)), core.zeros(stored(tb, k, n))
            local c = with(backend, function() return core.matmul(a, b, ta, tb) end)
            same_bits(c, core.zeros(m, n))
          end
        end
      end
    end)

    it("pass NaN and infinity on", function()
      local a, b = core.ones(40, 40), core.ones(40, 40)
      a:set(0 / 0, 2, 3)
      a:set(1 / 0, 5, 1)
      local c = with(backend, function() return core.matmul(a, b) end)
      assert.is_true(c:get(2, 7) ~= c:get(2, 7))
      assert.equal(1 / 0, c:get(5, 40))
      assert.equal(40, c:get(1, 1))
    end)

    it("are the same bit for bit for any number of threads", function()
      local threads = core.threads()
      local cases = {
        function() return core.matmul(numbers(1, { 700, 300 }), numbers(2, { 300, 610 })) end,
        function() return core.matmul(numbers(1, { 300, 70 }), numbers(2, { 300, 1100 }), true) end,
        function() return core.matmul(numbers(1, { 3, 200, 150 }), numbers(2, { 3, 170, 150 }), false, true) end,
        function() return core.matmul(numbers(1, { 20, 60, 50 }), numbers(2, { 20, 50, 40 })) end,
        function()
          return core.linear(numbers(1, { 300, 600 }), numbers(2, { 700, 600 }), numbers(3, { 700 }), "gelu")
        end,
      }
      for _, case in ipairs(cases) do
        core.threads(1)
        local first = with(backend, case)
        for _, n in ipairs { 2, 3, 7 } do
          core.threads(n)
          local again = with(backend, case)
          core.threads(threads)
          same_bits(again, first)
        end
      end
    end)
  end)
end

describe("ours and OpenBLAS", function()
  if not found then
    it("agree", function() pending "this build is without OpenBLAS (WITHOUT_BLAS=1)" end)
    return
  end

  it("agree on blocks, transposed or not, of odd sizes and of batches", function()
    for _, size in ipairs { { 257, 301, 263 }, { 1000, 33, 129 }, { 31, 900, 257 }, { 64, 64, 2000 }, { 300, 1, 300 },
      { 1, 300, 300 } } do
      for _, ta in ipairs(booleans) do
        for _, tb in ipairs(booleans) do
          local m, n, k = table.unpack(size)
          local a, b = numbers(1, stored(ta, m, k)), numbers(2, stored(tb, k, n))
          local function product() return core.matmul(a, b, ta, tb) end
          agree(with("openblas", product), with("ours", product))
        end
      end
    end
    for _, shapes in ipairs { { { 2, 30, 40 }, { 2, 40, 50 } }, { { 30, 40 }, { 5, 40, 50 } },
      { { 17, 30, 40 }, { 17, 40, 50 } }, { { 2, 3, 9, 40 }, { 40, 50 } }, { { 0, 9, 4 }, { 0, 4, 5 } } } do
      local a, b = numbers(1, shapes[1]), numbers(2, shapes[2])
      local function product() return core.matmul(a, b) end
      agree(with("openblas", product), with("ours", product))
    end
  end)

  -- The gradients of a function that weighs every entry differently.
  local function gradients(inputs, f)
    local leaves = {}
    for i, t in ipairs(inputs) do
      leaves[i] = t:clone():requires_grad()
    end
    do
      local tape <close> = sv.tape()
      local y = f(table.unpack(leaves))
      tape:backward(core.sum(y * numbers(9, y.shape)))
    end
    local list = {}
    for i, t in ipairs(leaves) do list[i] = t.grad end
    return list
  end

  it("agree on the gradients of matmul", function()
    for _, ta in ipairs(booleans) do
      for _, tb in ipairs(booleans) do
        for _, batch in ipairs { {}, { 3 } } do
          local shape_a, shape_b = stored(ta, 90, 130), stored(tb, 130, 70)
          if batch[1] then table.insert(shape_a, 1, batch[1]) end
          local inputs = { numbers(1, shape_a), numbers(2, shape_b) }
          local function f(a, b) return core.matmul(a, b, ta, tb) end
          local ours = with("ours", function() return gradients(inputs, f) end)
          local blas = with("openblas", function() return gradients(inputs, f) end)
          for i = 1, 2 do agree(blas[i], ours[i]) end
        end
      end
    end
  end)

  it("agree on linear layers, their activations and their gradients", function()
    for _, size in ipairs { { 1, 30, 40 }, { 70, 20, 3 }, { 70, 130, 90 }, { 40, 700, 600 } } do
      local rows, from, to = table.unpack(size)
      local inputs = { numbers(1, { rows, from }), numbers(2, { to, from }), numbers(3, { to }) }
      for _, activation in ipairs { "none", "gelu" } do
        local function f(x, w, b) return core.linear(x, w, b, activation) end
        agree(with("openblas", function() return f(table.unpack(inputs)) end),
          with("ours", function() return f(table.unpack(inputs)) end))
        local ours = with("ours", function() return gradients(inputs, f) end)
        local blas = with("openblas", function() return gradients(inputs, f) end)
        for i = 1, 3 do agree(blas[i], ours[i]) end
      end
    end
  end)

  it("may change between a product and its gradient", function()
    local inputs = { numbers(1, { 70, 130 }), numbers(2, { 90, 130 }), numbers(3, { 90 }) }
    local function layer(x, w, b) return core.linear(x, w, b, "tanh") end
    local expected = with("ours", function() return gradients(inputs, layer) end)
    for _, order in ipairs { { "ours", "openblas" }, { "openblas", "ours" } } do
      local mixed = with(order[1], function()
        return gradients(inputs, function(x, w, b)
          local y = layer(x, w, b)
          core.products(order[2])
          return y
        end)
      end)
      for i = 1, 3 do agree(mixed[i], expected[i]) end
    end
  end)
end)

describe("layers with kernels of ours", function()
  it("learn the same weights with and without OpenBLAS", function()
    if core.kernel() == "portable" or double then return end
    local script = [[
      local sv, core = require "simvae", require "simvae.core"
      local rng = sv.rng(1)
      local net = sv.nn.sequential { sv.nn.linear(300, 600, { rng = rng }), sv.nn.gelu(),
        sv.nn.linear(600, 520, { rng = rng }) }
      local x = rng:normal({ 64, 300 })
      local tape <close> = sv.tape()
      tape:backward(core.mean(core.square(net(x))))
      for _, p in ipairs(net:parameters()) do io.write(string.format("%a ", core.sum(core.square(p.grad)):item())) end]]
    local run = helper.lua_command("-e", script)
    local alone = helper.run("SV_BLAS=ours " .. run)
    assert.is_truthy(alone:find("0x", 1, true), alone)
    assert.equal(alone, (helper.run("unset SV_BLAS; " .. run)))
  end)
end)
