local helper = require "spec.helper"
local core = require "simvae.core"

local levels = {} -- of SV_CPU_LEVELS (csrc/kernels/cpu.h), those of this CPU
for level in select(2, core.kernel()):gmatch "[^, ]+" do levels[#levels + 1] = level end

-- What a script prints in a process of its own under a CPU level, and its exit code.
local function under(level, script)
  return helper.run("SV_KERNEL=" .. helper.quote(level) .. " " .. helper.lua_command("-e", script))
end

local print_level = 'print(require("simvae.core").kernel())'

-- The levels of this CPU, each of which a process starts with.
local function usable_levels()
  local list = {}
  for _, level in ipairs(levels) do
    local output, code = under(level, print_level)
    assert.equal(0, code, output)
    assert.equal(level, output:match "%S+")
    list[#list + 1] = level
  end
  return list
end

describe("SV_THREADS", function()
  local script = 'print(require("simvae.core").threads())'
  local function with(value) return helper.run("SV_THREADS=" .. value .. " " .. helper.lua_command("-e", script)) end

  it("is the number of threads, or an error that says what would do", function()
    assert.equal("3\n", (with "3"))
    for _, value in ipairs { "abc", "0", "-1", "65", "2x", "1.5" } do
      local output, code = with(value)
      assert.not_equal(0, code)
      assert.is_truthy(output:find("SV_THREADS=" .. value .. " is not a number of threads; set it to 1 to 64", 1, true),
        output)
    end
    assert.equal(0, select(2, with ""))
  end)
end)

describe("SV_KERNEL", function()
  it("is an error that names the levels of this CPU where it is not one of them", function()
    local usable = table.concat(usable_levels(), ", ")
    for _, level in ipairs { "avx1024", "AVX2", "portable " } do
      local output, code = under(level, print_level)
      assert.not_equal(0, code)
      assert.is_truthy(output:find("SV_KERNEL=" .. level .. " is not a CPU level", 1, true), output)
      assert.is_truthy(output:find("one of: " .. usable .. ";", 1, true), output)
    end
  end)

  it("takes the best level where it is not set, or empty", function()
    local usable = usable_levels()
    local unset = helper.run("unset SV_KERNEL; " .. helper.lua_command("-e", print_level))
    assert.equal(usable[#usable], unset:match "%S+")
    assert.equal(usable[#usable], under("", print_level):match "%S+")
  end)

  -- exp as csrc/kernels/vmath.h computes it, every operation rounded to float by string.pack: the result of a level
  -- without fused multiply-adds on any machine.
  it("governs plain loops: without fused multiply-adds at the portable level", function()
    if core.real == "double" or #usable_levels() == 1 then return end -- libm's exp; or a CPU that contracts portable C
    local function f(x) return (string.unpack("<f", string.pack("<f", x))) end
    local function bits(u) return (string.unpack("<f", string.pack("<I4", u & 0xffffffff))) end
    local function exp(x)
      local shift = 12582912.0
      local t = f(f(x * f(1.44269504088896341)) + shift)
      local k = f(t - shift)
      local r = f(f(x - f(k * f(0.693359375))) + f(k * f(2.12194440e-4)))
      local p = f(1.9875691500e-4)
      for _, c in ipairs { 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1 } do
        p = f(f(p * r) + f(c))
      end
      local y = f(f(f(f(r * r) * p) + r) + 1)
      local n = math.tointeger(k) + 512
      local half = n >> 1
      return f(f(y * bits((half - 129) << 23)) * bits((n - half - 129) << 23))
    end
    local script = [[
      local core = require "simvae.core"
      local x = {}
      for i = 1, 200 do x[i] = (i - 100) / 7 end
      for _, y in ipairs(core.exp(core.tensor(x)):totable()) do print(string.format("%.9g", y)) end]]
    local printed = under("portable", script)
    local i = 0
    for line in printed:gmatch "%S+" do
      i = i + 1
      assert.equal(exp(f((i - 100) / 7)), f(tonumber(line)), "exp of " .. (i - 100) / 7)
    end
    assert.equal(200, i)
  end)

  it("gives the same numbers but for rounding at every level", function()
    local script = [[
      local core = require "simvae.core"
      require "simvae"
      local function numbers(...)
        local n, t = 1, {}
        for _, s in ipairs { ... } do n = n * s end
        for i = 1, n do t[i] = math.sin(i * 0.7) end
        return core.tensor(t):reshape(...)
      end
      local function show(t) print(string.format("%.6f", (t * t):sum():item())) end
      show(core.conv2d(numbers(4, 16, 16, 16), numbers(32, 16, 4, 4), nil, 2, 1))           -- Winograd
      show(core.conv2d(numbers(2, 32, 15, 16), numbers(16, 32, 3, 3), nil, 1, 1))           -- Winograd, 3x3
      show(core.conv_transpose2d(numbers(2, 32, 8, 8), numbers(32, 3, 4, 4), nil, 2, 1))    -- small channels
      show(core.conv2d(numbers(2, 5, 9, 9), numbers(7, 5, 3, 3), nil, 1, 1))                -- implicit GEMM
      show(core.linear(numbers(40, 70), numbers(33, 70), nil, "gelu"))
      show(core.batch_norm(numbers(40, 20), numbers(20), numbers(20)))
      show(core.softmax(numbers(40, 33)))
      show(core.logsumexp(numbers(40, 33), 2))
      show(core.bce_with_logits(numbers(40, 33), numbers(40, 33):abs()))]]
    local first
    for _, level in ipairs(usable_levels()) do
      local results = {}
      for line in under(level, script):gmatch "%S+" do results[#results + 1] = tonumber(line) or line end
      first = first or results
      assert.equal(9, #results)
      for i, v in ipairs(results) do assert.near(first[i], v, 1e-4 * (1 + math.abs(first[i])), level) end
    end
  end)
end)

describe("the C modules", function()
  it("export their luaopen functions alone", function()
    if not helper.have "nm" then return end
    for _, module in ipairs { "core", "blas" } do
      local path = helper.quote(helper.build .. "/lib/lua/5.4/simvae/" .. module .. ".so")
      local names = {}
      for kind, name in helper.run("test -e " .. path .. " && nm -D --defined-only " .. path):gmatch "(%a) (%S+)\n" do
        if not name:find "^__" and kind ~= "A" then names[#names + 1] = name end -- a sanitizer's own
      end
      if module == "core" or #names > 0 then assert.same({ "luaopen_simvae_" .. module }, names) end
    end
  end)

  it("has kernels that do not see Lua", function()
    assert.equal("", (helper.run "grep -rlE 'lua(xlib)?\\.h|lua_State' csrc/kernels"))
  end)
end)
