--- A parameter's declaration: what it may be, and draws of it.
--
-- Rows of z are kept in single precision (core.real); draws and what networks see of them are computed in double
-- and rounded once. A range that single precision resolves too coarsely is refused.
local check = require "simvae.util.check"
local core = require "simvae.core"

local parameter = {}

local fields = { "name", "low", "high", "unit", "scale", "period", "levels", "doc" }
local known = {}
for _, name in ipairs(fields) do known[name] = true end

local double = core.real == "double"
local real_name = double and "double" or "single"
local largest = double and 0x1.fffffffffffffp1023 or 0x1.fffffep127
local smallest = double and 0x1p-1022 or 0x1p-126 -- normal
local exact_integers = double and 2^53 or 2^24    -- up to here every whole number can be told from the next
local fewest_values = 2^15

-- Numbers of core.real in order, as whole numbers: neighbours differ by 1.
local function ordinal(v)
  local i
  if double then i = string.unpack("<i8", string.pack("<d", v)) else i = string.unpack("<i4", string.pack("<f", v)) end
  if i >= 0 then return i end
  return -(i & (double and math.maxinteger or 0x7fffffff))
end

--- How many values of core.real lie between two numbers.
function parameter.resolution(low, high)
  return ordinal(high) - ordinal(low)
end

--- Why single precision cannot hold a parameter, and what to do; nil: it can.
-- @tparam table q as checked
-- @treturn ?string
function parameter.refusal(q)
  local function say(format, ...) return string.format("parameter '%s' " .. format, q.name, ...) end
  if q.levels then return nil end
  for _, bound in ipairs { "low", "high" } do
    local v = q[bound]
    if math.abs(v) > largest or v ~= 0 and math.abs(v) < smallest then
      return say("has %s = %g, and %s precision, in which parameters are kept, goes from %.3g to %.3g; choose another "
        .. "unit", bound, v, real_name, smallest, largest)
    end
  end
  local values = parameter.resolution(q.low, q.high)
  if values < fewest_values then
    local remedy = q.scale == "log" and "the logarithm of its ratio to an offset, on a linear scale"
      or string.format("its distance from an offset (low = 0, high = %.6g)", q.high - q.low)
    return say("goes from %.17g to %.17g, where %s precision, in which parameters are kept, has %d different values; "
      .. "declare %s, and let simulate apply the offset %.17g", q.low, q.high, real_name, values, remedy, q.low)
  end
  values = q.period and parameter.resolution(q.high - q.period, q.high)
  if values and values < fewest_values then
    return say("has period = %g, of which %s precision has %d different values near %g; let low and high be one period "
      .. "apart", q.period, real_name, values, q.high)
  end
end

--- Checks a declaration.
-- @tparam string what whose it is, for messages
-- @tparam table p name, low, high; optional unit, scale, period, levels, doc
-- @tparam integer i its place
-- @treturn table a copy with what was left out filled in
-- @raise at the caller of the public function
function parameter.check(what, p, i)
  if type(p) ~= "table" or type(p.name) ~= "string" or p.name == "" then
    check.fail(3, "%s: params[%d] needs a name: { name = \"x\", low = 0, high = 1 }", what, i)
  end
  local function fail(format, ...) check.fail(4, "%s: parameter '%s' " .. format, what, p.name, ...) end
  local q = {}
  for k, v in pairs(p) do
    if not known[k] then
      local near = core.nearest(tostring(k), fields)
      fail("has an unknown field '%s'%s", tostring(k), near and string.format("; did you mean '%s'?", near) or "")
    end
    q[k] = v
  end
  if q.levels then
    check.value(what, q.name .. ".levels", q.levels, { "integer", min = 2 }, 4)
    if q.levels > exact_integers then
      fail("has %.0f levels; %s precision counts to %.0f", q.levels, real_name, exact_integers)
    end
    q.levels = math.tointeger(q.levels)
    q.low, q.high = q.low or 1, q.high or q.levels
    if q.low ~= 1 or q.high ~= q.levels then
      fail("is categorical and counts 1 to levels; leave low and high out")
    end
  end
  if q.period then
    check.value(what, p.name .. ".period", q.period, { "number", above = 0 }, 4)
    q.low = q.low or 0
    q.high = q.high or q.low + q.period
  end
  for _, bound in ipairs { "low", "high" } do
    local v = q[bound]
    if type(v) ~= "number" or v ~= v or v == math.huge or v == -math.huge then
      fail("needs a finite %s; got %s", bound, check.describe(v))
    end
  end
  if q.low >= q.high then fail("has low = %g, high = %g; low must be below high", q.low, q.high) end
  q.scale = q.scale or "linear"
  if q.scale ~= "linear" and q.scale ~= "log" then
    fail("has scale = %s; it is \"linear\" or \"log\"", check.describe(q.scale))
  end
  if q.scale == "log" and q.low <= 0 then fail("on a log scale needs low > 0; got %g", q.low) end
  q.unit = q.unit or ""
  return q
end

--- Draws one value, uniformly on its scale.
function parameter.draw(p, rng)
  if p.levels then return rng:integer(1, p.levels) end
  if p.scale == "log" then return math.exp(rng:uniform(math.log(p.low), math.log(p.high))) end
  return rng:uniform(p.low, p.high)
end

--- Does a value lie outside the bounds by more than rounding in single precision?
function parameter.outside(p, v)
  if v >= p.low and v <= p.high then return false end
  local slack = 1e-6 * (p.high - p.low) + 2^-23 * math.max(math.abs(p.low), math.abs(p.high))
  return not (v >= p.low - slack and v <= p.high + slack)
end

return parameter
