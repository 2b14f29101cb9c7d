-- exp, log, tanh, sigmoid, softplus, sin, cos and atan2 against libm (through Lua's math, in double).
local helper = require "spec.helper" -- luacheck: ignore 211
local core = require "simvae.core"

-- The distance of float neighbours at v.
local function ulp(v)
  local exponent = math.floor(math.log(math.max(math.abs(v), 2 ^ -126), 2))
  return 2.0 ^ (math.max(exponent, -126) - (core.real == "double" and 52 or 23))
end

local function worst(name, x, f)
  local y, xs = core[name](x):totable(), x:totable()
  local most, at = 0, 0
  for i, v in ipairs(xs) do
    local want = f(v)
    local off = math.abs(y[i] - want) / ulp(want)
    if off > most or off ~= off then most, at = off, v end
  end
  return most, at
end

local function between(low, high, n)
  return core.arange(0, n) * ((high - low) / n) + low
end

local function log1p(u)
  local w = 1 + u
  return w == 1 and u or math.log(w) * u / (w - 1)
end

local functions = {
  exp = { math.exp, 2, between(-87, 88.7, 30000), between(-1, 1, 10000), between(-103, -87, 3000) },
  log = { math.log, 2, between(1e-3, 4, 30000), between(0.9, 1.1, 10000), core.exp(between(-87, 88, 10000)) },
  tanh = { function(v)
    local e = math.exp(-2 * math.abs(v))
    local big = (1 - e) / (1 + e)
    if math.abs(v) < 0.1 then
      local z = v * v
      return v * (1 - z / 3 * (1 - 2 * z / 5 * (1 - 17 * z / 42 * (1 - 62 * z / 153 * (1 - 1382 * z / 3410)))))
    end
    return v < 0 and -big or big
  end, 2.5, between(-10, 10, 30000), between(-1, 1, 10000) },
  sigmoid = { function(v) return 1 / (1 + math.exp(-v)) end, 3, between(-80, 80, 30000) },
  softplus = { function(v) return math.max(v, 0) + log1p(math.exp(-math.abs(v))) end, 3, between(-80, 80, 30000),
    between(-2, 2, 10000) },
  sin = { math.sin, 2.5, between(-12800, 12800, 30000), between(-4, 4, 10000), core.exp(between(9, 87, 3000)) },
  cos = { math.cos, 2.5, between(-12800, 12800, 30000), between(-4, 4, 10000), core.exp(between(9, 87, 3000)) },
}

describe("vectorised", function()
  for name, case in pairs(functions) do
    it(name .. " is as near to libm as it says", function()
      for i = 3, #case do
        local off, at = worst(name, case[i], case[1])
        local allowed = core.real == "double" and 64 or case[2]
        assert.is_true(off <= allowed, string.format("%s(%.9g) is %.2f ulp off", name, at, off))
      end
    end)
  end

  it("atan2 is as near to libm as it says, and has its signs and special values", function()
    local rng = core.rng(3)
    local size, angle = core.exp(rng:uniform(-80, 80, { 20000 })), rng:uniform(-4, 4, { 20000 })
    local special = { 0, -0.0, 1, -1, math.huge, -math.huge, 0 / 0 }
    local ys, xs = (size * core.sin(angle)):totable(), (size * core.cos(angle)):totable()
    for _, y in ipairs(special) do
      for _, x in ipairs(special) do ys[#ys + 1], xs[#xs + 1] = y, x end
    end
    for i, got in ipairs(core.atan2(core.tensor(ys), core.tensor(xs)):totable()) do
      local want = math.atan(ys[i], xs[i])
      local off = want == 0 and (1 / got == 1 / want and 0 or 99) or math.abs(got - want) / ulp(want)
      if want ~= want then off = got == got and 99 or 0 end
      assert.is_true(off <= 2.6, string.format("atan2(%.9g, %.9g) = %.9g is %.2f ulp off", ys[i], xs[i], got, off))
    end
  end)

  it("functions treat infinities and NaN as libm does", function()
    local inf, nan = math.huge, 0 / 0
    -- 19 numbers: the vector loop and its remainder both see the special ones
    local function at(name, v)
      local y = core[name](core.full(v, 19)):totable()
      for i = 2, 19 do assert.is_true(y[i] == y[1] or (y[i] ~= y[i] and y[1] ~= y[1])) end
      return y[1]
    end
    for name, want in pairs {
      exp = { inf, 0 }, log = { inf, nan }, tanh = { 1, -1 }, sigmoid = { 1, 0 }, softplus = { inf, 0 },
      sin = { nan, nan }, cos = { nan, nan },
    } do
      local high = at(name, inf)
      assert.is_true(high == want[1] or (high ~= high and want[1] ~= want[1]), name)
      local low = at(name, -inf)
      assert.is_true(low == want[2] or (low ~= low and want[2] ~= want[2]), name)
      assert.is_true(at(name, nan) ~= at(name, nan), name)
    end
    assert.are.equal(-inf, at("log", 0))
    assert.is_true(at("log", -1) ~= at("log", -1))
    assert.are.equal(1, at("exp", 0))
    assert.are.equal(0, at("log", 1))
    assert.are.equal(core.real == "double" and math.exp(89) or inf, at("exp", 89))
    if core.real == "float" then assert.are.equal(0, at("exp", -104)) end
  end)
end)
