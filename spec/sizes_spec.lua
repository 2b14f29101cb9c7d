--- Sizes and numbers at the edges: axes of 0 and 1, strides, paddings and indices up to the largest integers.
local helper = require "spec.helper"
local core = require "simvae.core"
require "simvae.tensor"

local folder = helper.temporary_folder()
local sanitized = (os.getenv "LD_PRELOAD" or ""):find "asan" -- which reserves terabytes of addresses

-- Runs a script in a process of its own, with limits on time and memory.
local function confined(megabytes, ...)
  local limit = sanitized and "" or string.format("ulimit -v %d; ", megabytes * 1024)
  return helper.run(limit .. "timeout 120 env " .. helper.lua_command(...))
end

describe("every op", function()
  it("answers hostile options and sizes with a result or an error that names them", function()
    local progress = folder .. "/walk"
    local said, code = confined(3000, "spec/fuzz/walk.lua", progress)
    local summary = said:match "[^\n]*\n$" or ""
    assert.matches("%d+ ops, %d+ calls, %d+ results, 0 failures", summary,
      code == 0 and said or "ended with " .. code .. " in " .. helper.read(progress):match "[^\n]*")
    assert.is_true(tonumber(summary:match "(%d+) results") > 1000)
  end)
end)

describe("finite and within", function()
  it("find the first number outside, wherever it lies", function()
    for _, n in ipairs { 1, 16384, 16385, 40000 } do
      local t = core.zeros(n)
      assert.is_true(t:finite() and t:within(0, 0))
      for _, at in ipairs { n, n // 2 + 1, 1 } do
        for _, v in ipairs { 0 / 0, math.huge, -math.huge } do
          t:set(v, at)
          assert.same({ false, at }, { t:finite() })
          assert.same({ false, at }, { t:within(-1, 1) })
        end
        t:set(2, at)
        assert.is_true(t:finite())
        assert.same({ false, at }, { t:within(-1, 1) })
      end
    end
  end)
end)

-- Expression of Lua, expression of NumPy (a: 2 x 3 of 0 … 5).
local pairs_of_expressions = {
  { "core.zeros(0, 3):sum(1)", "np.zeros((0, 3)).sum(0)" },
  { "core.zeros(3, 0):sum(2)", "np.zeros((3, 0)).sum(1)" },
  { "core.zeros(3, 0):sum()", "np.zeros((3, 0)).sum()" },
  { "core.zeros(3, 0):sum(1, true)", "np.zeros((3, 0)).sum(0, keepdims=True)" },
  { "core.matmul(core.zeros(2, 0), core.zeros(0, 3))", "np.zeros((2, 0)) @ np.zeros((0, 3))" },
  { "core.matmul(core.zeros(0, 2), core.zeros(2, 3))", "np.zeros((0, 2)) @ np.zeros((2, 3))" },
  { "core.matmul(core.zeros(0, 2, 4), core.zeros(0, 4, 3))", "np.zeros((0, 2, 4)) @ np.zeros((0, 4, 3))" },
  { "core.concat({core.zeros(0, 3), a}, 1)", "np.concatenate([np.zeros((0, 3)), a], 0)" },
  { "core.stack({core.zeros(0), core.zeros(0)}, 2)", "np.stack([np.zeros(0), np.zeros(0)], 1)" },
  { "core.zeros(0, 1099511627776):transpose(1, 2)", "np.zeros((0, 1 << 40)).T" },
  { "core.zeros(0, 1099511627776):reshape(1099511627776, 0)", "np.zeros((0, 1 << 40)).reshape(1 << 40, 0)" },
  { "core.zeros(2, 0, 3):permute(3, 1, 2)", "np.zeros((2, 0, 3)).transpose(2, 0, 1)" },
  { "core.zeros(1, 0):expand(4, 0)", "np.broadcast_to(np.zeros((1, 0)), (4, 0))" },
  { "a:expand(0, 2, 3)", "np.broadcast_to(a, (0, 2, 3))" },
  { "core.zeros(0, 2):pad({1, 0, 0, 2}, 7)", "np.pad(np.zeros((0, 2)), ((1, 0), (0, 2)), constant_values=7)" },
  { "core.zeros(3, 0):sort(2)", "np.sort(np.zeros((3, 0)), 1)" },
  { "core.zeros(0, 3):argmax(2)", "np.argmax(np.zeros((0, 3)), 1)" },
  { "core.zeros(0, 3):max(2)", "np.max(np.zeros((0, 3)), 1)" },
  { "core.zeros(0, 3) + a[1]", "np.zeros((0, 3)) + a[0]" },
  { "core.zeros(2, 1, 0) * core.ones(3, 1)", "np.zeros((2, 1, 0)) * np.ones((3, 1))" },
  { "a:slice(2, 3, 2)", "a[:, 2:2]" },
  { "a:slice(2, 3, 1, -9007199254740992)", "a[:, 2::-(1 << 53)]" },
  { "a:slice(2, 1, 3, 9007199254740992)", "a[:, 0:3:1 << 53]" },
  { "a:slice(2, 3, 1, -2)", "a[:, 2::-2]" },
  { "core.zeros(0, 4, 4):flatten(1)", "np.zeros((0, 4, 4)).reshape(-1)" },
  { "core.zeros(2, 0)[1]", "np.zeros((2, 0))[0]" },
}

describe("empty tensors", function()
  it("give what NumPy gives", function()
    local python, why = helper.python "numpy"
    if not python then return pending(why) end
    local script = { "import numpy as np\na = np.arange(6.).reshape(2, 3)\n" }
    for _, p in ipairs(pairs_of_expressions) do
      script[#script + 1] = "r = np.asarray(" .. p[2] .. ")\nprint(*r.shape, ':', *r.ravel().tolist())\n"
    end
    local path = folder .. "/expressions.py"
    local file <close> = assert(io.open(path, "w"))
    file:write(table.concat(script))
    file:close()
    local lines = (helper.run(python .. " " .. path)):gmatch "[^\n]+"
    local env = { core = core, a = core.arange(0, 5):reshape(2, 3) }
    for _, p in ipairs(pairs_of_expressions) do
      local t = assert(load("return " .. p[1], "=" .. p[1], "t", env))()
      local index = p[1]:find "argmax"
      local values = {}
      for _, v in ipairs(t:reshape(-1):totable()) do
        values[#values + 1] = string.format("%.1f", v - (index and 1 or 0))
      end
      local expected = lines():gsub("%s+", " ")
      local ours = table.concat(t.shape, " ") .. " : " .. table.concat(values, " ")
      assert.equal(expected:gsub("%s", ""), (ours:gsub("%s", "")), p[1])
    end
  end)

  it("pass gradients of the right shapes, zero where nothing depends on an input", function()
    local x, w = core.parameter(core.ones(0, 3)), core.parameter(core.ones(2, 3))
    do
      local tape <close> = core.tape()
      tape:backward(core.linear(x, w):sum())
    end
    assert.same({ 0, 3 }, x.grad.shape)
    assert.same({ { 0, 0, 0 }, { 0, 0, 0 } }, w.grad:totable())
  end)

  it("are refused by convolutions where there is no image, kernel or channel", function()
    local x, w = core.ones(2, 3, 6, 6), core.ones(4, 3, 4, 4)
    assert.same({ 0, 4, 3, 3 }, core.conv2d(core.zeros(0, 3, 6, 6), w).shape)
    helper.raises("conv2d: w must have 1 channel or more", core.conv2d, core.zeros(2, 0, 6, 6), core.zeros(4, 0, 4, 4))
    helper.raises("conv2d: w must have 1 channel or more", core.conv2d, x, core.zeros(0, 3, 4, 4))
    helper.raises("w must have a kernel of 1 x 1 or more", core.conv2d, x, core.zeros(4, 3, 0, 0))
    helper.raises("x must have images of 1 x 1 or more", core.conv2d, core.zeros(2, 3, 0, 6), w, nil, { padding = 4 })
    helper.raises("w must have 1 channel or more", core.conv_transpose2d, core.zeros(2, 3, 3, 3),
      core.zeros(3, 0, 5, 5), nil, { stride = 2, padding = 2 })
  end)
end)

-- y[o][i][j] of one image of one channel: the definition of cross-correlation.
local function correlate(x, w, stride, pad)
  local h, k = x.shape[3], w.shape[3]
  local rows = (h + 2 * pad - k) // stride + 1
  local result = {}
  for i = 0, rows - 1 do
    result[i + 1] = {}
    for j = 0, rows - 1 do
      local sum = 0
      for a = 0, k - 1 do
        for b = 0, k - 1 do
          local r, c = i * stride + a - pad, j * stride + b - pad
          if r >= 0 and r < h and c >= 0 and c < h then
            sum = sum + x:get(1, 1, r + 1, c + 1) * w:get(1, 1, a + 1, b + 1)
          end
        end
      end
      result[i + 1][j + 1] = sum
    end
  end
  return result
end

describe("convolutions", function()
  it("with strides and paddings far beyond the kernel follow the definition, backward too", function()
    local x = core.parameter(core.arange(1, 36):reshape(1, 1, 6, 6))
    local w = core.parameter(core.tensor { { { { 1, 2 }, { 3, 5 } } } })
    for _, c in ipairs { { 5, 0 }, { 3, 7 }, { 1, 9 }, { 100, 200 }, { 1024, 1024 }, { 1024, 65536 } } do
      local tape <close> = core.tape()
      local y = core.conv2d(x, w, nil, { stride = c[1], padding = c[2] })
      local expected = correlate(x, w, c[1], c[2])
      assert.same(expected, y:totable()[1][1])
      x:zero_grad()
      tape:backward((y * y):sum() * 0.5)
      local total, exact = 0, 0 -- the gradient along x itself is twice the loss: sum of y^2
      for i = 1, 6 do
        for j = 1, 6 do total = total + x.grad:get(1, 1, i, j) * x:get(1, 1, i, j) end
      end
      for _, row in ipairs(expected) do
        for _, v in ipairs(row) do exact = exact + v * v end
      end
      assert.near(exact, total, 1e-4 * exact + 1e-6)
    end
    local y = core.conv_transpose2d(core.ones(1, 1, 2, 2), core.ones(1, 1, 1, 1), nil, { stride = 256 })
    assert.same({ 1, 1, 257, 257 }, y.shape)
    assert.equal(4, y:sum():item())
  end)

  it("refuse strides and paddings that no image needs", function()
    local x, w = core.ones(2, 3, 6, 6), core.ones(16, 3, 4, 4)
    helper.raises("conv2d: stride must be 1 to 1024; got 2147483648", core.conv2d, x, w, nil,
      { stride = 1 << 31, padding = 1 << 31 })
    helper.raises("padding must be 0 to 65536; got 1099511627776", core.conv2d, x, w, nil, { padding = 1 << 40 })
    helper.raises("conv2d: padding must be from %-2%^53 to 2%^53; got 9223372036854775807", core.conv2d, x, w, nil,
      { padding = math.maxinteger })
  end)
end)

describe("a shape", function()
  it("is checked before anything is allocated", function()
    local huge = { { 1 << 31, 1 << 31, 4 }, { 0, 1 << 62, 1 << 62 }, { math.maxinteger }, { 1 << 24, 1 << 25 } }
    for _, shape in ipairs(huge) do
      helper.raises("larger than the address space", core.zeros, shape)
      helper.raises("larger than the address space", core.shared, table.unpack(shape))
    end
    helper.raises("%-1", core.zeros, 2, -1)
    helper.raises("1.5", core.zeros, 1.5)
    helper.raises("the result would have more than 2%^48 numbers", core.expand, core.ones(1, 1), 1 << 31, 1 << 31)
    helper.raises("factor must be 1 to 1048576; got 2147483648", core.upsample2d, core.ones(1, 1, 4, 4), 1 << 31)
    helper.raises("more than 2%^48", core.pad, core.ones(1, 1, 4, 4), { 1 << 52, 0, 0, 0 })
    local liar = setmetatable({}, { __len = function() return -5 end })
    helper.raises("at most 8; got a list of %-5", core.zeros, liar)
    helper.raises("list of %-5", core.reshape, core.ones(2), liar)
    helper.raises("list of %-5", core.concat, liar)
    helper.raises("list of %-5", function() return core.ones(2, 2)[liar] end)
    local long = {}
    for i = 1, 5000 do long[i] = 1 end
    helper.raises("list of 5000", function() return core.ones(2, 2)[long] end)
    helper.raises("list of 5000", core.concat, long)
  end)

  it("for which there is no memory is an error that says how much", function()
    local said, code = confined(2000, "-e", [[
      local core = require "simvae.core"
      for _, f in ipairs { function() return core.zeros(1 << 34) end,
        function() return core.expand(core.ones(1, 1), 1 << 17, 1 << 17) end,
        function() return core.rng(1):normal({1 << 34}) end } do
        print(pcall(f))
      end]])
    if sanitized then return end -- its allocator has an error of its own
    assert.equal(0, code, said)
    assert.equal(3, select(2, said:gsub("false[^\n]*not enough memory for a tensor of 64 GiB", "")), said)
  end)
end)

describe("rng:integer", function()
  it("takes any two integers", function()
    local rng = core.rng(3)
    local low, high, negative = math.maxinteger, math.mininteger, 0
    for _ = 1, 2000 do
      local i = rng:integer(math.mininteger, math.maxinteger)
      low, high, negative = math.min(low, i), math.max(high, i), negative + (i < 0 and 1 or 0)
    end
    assert.is_true(low < -9.1e18 and high > 9.1e18)
    assert.is_true(negative > 900 and negative < 1100) -- half of them, within 4.5 standard deviations
    for _ = 1, 1000 do
      assert.is_true(rng:integer(math.mininteger, 2) <= 2)
      local i = rng:integer(math.maxinteger - 1, math.maxinteger)
      assert.is_true(i >= math.maxinteger - 1)
    end
    assert.equal(math.mininteger, rng:integer(math.mininteger, math.mininteger))
    assert.has_error(function() rng:integer(2, 1) end)
  end)
end)
