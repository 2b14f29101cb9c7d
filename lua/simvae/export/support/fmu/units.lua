--- Units as FMI describes them: exponents of the base units of the SI, a factor and an offset.
local units = {}

--- The base units, in the order in which FMI lists them.
units.base = { "kg", "m", "s", "A", "K", "mol", "cd", "rad" }

-- Exponents and factor; `prefixed`: with the prefixes of the SI.
local known = {}

local function define(names, base, factor, prefixed, offset)
  for name in names:gmatch "%S+" do
    known[name] = { base = base, factor = factor or 1, prefixed = prefixed, offset = offset }
  end
end

define("m", { m = 1 }, 1, true)
define("g", { kg = 1 }, 1e-3, true)
define("s sec", { s = 1 }, 1, true)
define("A", { A = 1 }, 1, true)
define("K", { K = 1 }, 1, true)
define("mol", { mol = 1 }, 1, true)
define("cd", { cd = 1 }, 1, true)
define("rad", { rad = 1 }, 1, true)
define("Hz", { s = -1 }, 1, true)
define("N", { kg = 1, m = 1, s = -2 }, 1, true)
define("Pa", { kg = 1, m = -1, s = -2 }, 1, true)
define("bar", { kg = 1, m = -1, s = -2 }, 1e5, true)
define("J", { kg = 1, m = 2, s = -2 }, 1, true)
define("eV", { kg = 1, m = 2, s = -2 }, 1.602176634e-19, true)
define("W", { kg = 1, m = 2, s = -3 }, 1, true)
define("C", { A = 1, s = 1 }, 1, true)
define("V", { kg = 1, m = 2, s = -3, A = -1 }, 1, true)
define("F", { kg = -1, m = -2, s = 4, A = 2 }, 1, true)
define("ohm Ohm Ω Ω", { kg = 1, m = 2, s = -3, A = -2 }, 1, true)
define("S", { kg = -1, m = -2, s = 3, A = 2 }, 1, true)
define("Wb", { kg = 1, m = 2, s = -2, A = -1 }, 1, true)
define("T", { kg = 1, s = -2, A = -1 }, 1, true)
define("H", { kg = 1, m = 2, s = -2, A = -2 }, 1, true)
define("l L", { m = 3 }, 1e-3, true)
define("min", { s = 1 }, 60)
define("h", { s = 1 }, 3600)
define("d day days", { s = 1 }, 86400)
define("deg °", { rad = 1 }, math.pi / 180)
define("rpm", { rad = 1, s = -1 }, math.pi / 30)
define("degC °C", { K = 1 }, 1, false, 273.15)
define("%", {}, 1e-2)
define("1", {})

local prefixes = { Y = 1e24, Z = 1e21, E = 1e18, P = 1e15, T = 1e12, G = 1e9, M = 1e6, k = 1e3, h = 1e2, da = 1e1,
  d = 1e-1, c = 1e-2, m = 1e-3, u = 1e-6, ["µ"] = 1e-6, ["μ"] = 1e-6, n = 1e-9, p = 1e-12, f = 1e-15, a = 1e-18 }

-- A symbol's unit and the factor of its prefix; nil: unknown.
local function symbol_of(text)
  if known[text] then return known[text], 1 end
  for prefix, factor in pairs(prefixes) do
    if text:sub(1, #prefix) == prefix then
      local unit = known[text:sub(#prefix + 1)]
      if unit and unit.prefixed then return unit, factor end
    end
  end
end

-- Multiplies by a symbol to a power: false where it is unknown.
local function multiply(result, text, sign)
  local name, power = text:match "^(.-)%^?([+-]?%d+)$"
  if not name or name == "" then name, power = text, "1" end
  local unit, factor = symbol_of(name)
  if not unit then return false end
  local exponent = sign * tonumber(power)
  for base, n in pairs(unit.base) do result.base[base] = (result.base[base] or 0) + n * exponent end
  result.factor = result.factor * (unit.factor * factor) ^ exponent
  if unit.offset then result.offset = unit.offset end
  return true
end

--- What a unit is in base units: "mm/s^2", "ohm", "kg*m2".
-- @tparam string text
-- @treturn ?table base: exponents by name; factor; offset; nil: a unit that is not known, such as px
function units.of(text)
  local plain = text:gsub("²", "2"):gsub("³", "3"):gsub("·", "*"):gsub("%s*([*/])%s*", "%1"):gsub("%s+", "*")
  local result, count = { base = {}, factor = 1 }, 0
  for sign, symbol in ("*" .. plain):gmatch "([*/])([^*/]+)" do
    if not multiply(result, symbol, sign == "*" and 1 or -1) then return nil end
    count = count + 1
  end
  if count == 0 or result.offset and count > 1 then return nil end
  return result
end

--- How many seconds a unit of time is; nil: it is none.
function units.seconds(text)
  local unit = units.of(text)
  if not unit then return nil end
  for _, base in ipairs(units.base) do
    if (unit.base[base] or 0) ~= (base == "s" and 1 or 0) then return nil end
  end
  return unit.factor
end

return units
