--- Parameters: declaration, scale, bounds, comparison, code and text.
--
-- Rows of z are kept in single precision (core.real); draws and codes are computed in double precision and
-- rounded once. A range that single precision resolves too coarsely is refused.
local check = require "simvae.util.check"
local core = require "simvae.core"
local marginal = require "simvae.simulator.marginal"

local parameter = {}

--- What a parameter is declared by.
parameter.rules = {
  name = { "string", required = true, doc = "by which simulate, files and figures know it" },
  low = { "number", doc = "lower bound, in units; with some priors it may be left out" },
  high = { "number", doc = "upper bound, in units; with some priors it may be left out" },
  unit = { "string", doc = "for tables and figures, such as \"px\"; default: none" },
  scale = { "string", one_of = { "linear", "log" }, doc = "log: uniform in the logarithm; default \"linear\"" },
  period = { "number", above = 0, doc = "of a phase or an angle: values a period apart are the same" },
  levels = { "integer", min = 2, doc = "of a class, which counts 1 to levels" },
  grid = { "integer", min = 2, max = 4096,
    doc = "number of equidistant values, low and high among them, that it takes" },
  prior = { "table", doc = "{ \"normal\", mean, std }, { \"lognormal\", mean, std }, { \"gamma\", … } or { \"beta\", … "
    .. "}, within low and high; default: uniform" },
  doc = { "string", doc = "a sentence about it" },
}
local fields = {}
for name in pairs(parameter.rules) do fields[#fields + 1] = name end
table.sort(fields)
local known = {}
for _, name in ipairs(fields) do known[name] = true end

local double = core.real == "double"
local real_name = double and "double" or "single"
local largest = double and 0x1.fffffffffffffp1023 or 0x1.fffffep127
local smallest = double and 0x1p-1022 or 0x1p-126 -- normal
local exact_integers = double and 2^53 or 2^24    -- largest exactly represented range of integers
local fewest_values = 2^15

-- Numbers of core.real in order, as whole numbers: neighbours differ by 1.
local function ordinal(v)
  local i
  if double then i = string.unpack("<i8", string.pack("<d", v)) else i = string.unpack("<i4", string.pack("<f", v)) end
  if i >= 0 then return i end
  return -(i & (double and math.maxinteger or 0x7fffffff))
end

--- How many values of core.real lie between two numbers, at most math.maxinteger: doubles on both sides of 0 are more.
function parameter.resolution(low, high)
  local n = ordinal(high) - ordinal(low)
  return low < high and n < 0 and math.maxinteger or n
end

--- Why single precision cannot represent a parameter, and what to do; nil: it can.
-- @tparam table q as checked
-- @treturn ?string
function parameter.refusal(q)
  local function say(format, ...) return string.format("parameter '%s' " .. format, q.name, ...) end
  if q.levels then return nil end
  local ends = q.axis or q
  for _, bound in ipairs { "low", "high" } do
    local v = ends[bound]
    if math.abs(v) > largest or v ~= 0 and math.abs(v) < smallest then
      return say("has %s = %g, and %s precision, in which parameters are kept, goes from %.3g to %.3g; choose another "
        .. "unit", bound, v, real_name, smallest, largest)
    end
  end
  local low, high = ends.low, ends.high
  local values = parameter.resolution(low, high)
  if values < fewest_values then
    local remedy = q.scale == "log" and "the logarithm of its ratio to an offset, on a linear scale"
      or string.format("its distance from an offset (low = 0, high = %.6g)", high - low)
    return say("goes from %.17g to %.17g, where %s precision, in which parameters are kept, has %d different values; "
      .. "declare %s, and let simulate apply the offset %.17g", low, high, real_name, values, remedy, low)
  end
  values = q.period and parameter.resolution(q.high - q.period, q.high)
  if values and values < fewest_values then
    return say("has period = %g, of which %s precision has %d different values near %g; let low and high be one period "
      .. "apart", q.period, real_name, values, q.high)
  end
end

--- Checks a declaration.
-- @tparam string what whose it is, for messages
-- @tparam table p name, low, high; optional unit, scale, period, levels, doc, prior (simvae.simulator.marginal), of
-- which most need no low and high, and grid: the number of equidistant values, low and high among them, that it takes
-- @tparam integer i its place
-- @treturn table a copy with what was left out filled in
-- @raise at the caller of the public function
function parameter.check(what, p, i)
  if type(p) ~= "table" or type(p.name) ~= "string" or p.name == "" then
    check.fail(3, "%s: params[%d] needs a name: { name = \"x\", low = 0, high = 1 }", what, i)
  end
  local function fail(format, ...) check.fail(4, "%s: parameter '%s' " .. format, what, p.name, ...) end
  for _, field in ipairs { "name", "unit" } do
    local v = p[field] or ""
    local why = type(v) ~= "string" and "is no text" or check.name_fault(v)
    if why then fail("has a %s that %s: %s", field, why, check.describe(v)) end
  end
  local q = {}
  for k, v in pairs(p) do
    if not known[k] then
      fail("has an unknown field '%s'%s", tostring(k), check.suggestion(k, fields))
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
  local why = marginal.fault(q.prior)
  if why then fail("%s", why) end
  for _, bound in ipairs { "low", "high" } do
    local v = q[bound]
    if v == nil and marginal.free(q.prior) then goto next end
    if type(v) ~= "number" or v ~= v or v == math.huge or v == -math.huge then
      fail("needs a finite %s; got %s%s", bound, check.describe(v), marginal.free(q.prior) and "; leave it out where "
        .. "there is no bound" or "")
    end
    ::next::
  end
  if q.scale ~= nil and q.scale ~= "linear" and q.scale ~= "log" then
    fail("has scale = %s; it is \"linear\" or \"log\"", check.describe(q.scale))
  end
  why = marginal.read(q)
  if why then fail("%s", why) end
  if q.low >= q.high then fail("has low = %g, high = %g; low must be below high", q.low, q.high) end
  q.scale = q.scale or "linear"
  if q.scale == "log" and q.low <= 0 and not q.prior then fail("on a log scale needs low > 0; got %g", q.low) end
  if q.scale == "log" and (q.period or q.levels) then
    fail("has scale = \"log\" and %s, which is on a linear scale", q.period and "a period" or "levels")
  end
  if q.grid then
    check.value(what, q.name .. ".grid", q.grid, { "integer", min = 2, max = 4096 }, 4)
    if q.levels or q.prior or q.scale == "log" then
      fail("has a grid, whose values are equally likely and equidistant; leave levels, prior and scale out")
    end
    q.grid = math.tointeger(q.grid)
  end
  q.unit = q.unit or ""
  return q
end

-- ---- the scale --------------------------------------------------------------------------
--
-- These four need low, high and scale alone, and so serve other ranges too: the axis of a curve, the free number of a
-- symmetry, an invariant. The range of a parameter with a prior is its axis.

--- A value on its scale: the logarithm of one on a log scale.
function parameter.to_scale(p, v)
  return p.scale == "log" and math.log(v) or v
end

--- The inverse of `to_scale`.
function parameter.from_scale(p, u)
  return p.scale == "log" and math.exp(u) or u
end

--- The share of the range, on its scale, at which a value lies: 0 at low, 1 at high.
function parameter.to_unit(p, v)
  p = p.axis or p
  if p.scale == "log" then return math.log(v / p.low) / math.log(p.high / p.low) end
  return (v - p.low) / (p.high - p.low)
end

--- The value at a share of the range; of a class the nearest one.
function parameter.from_unit(p, u)
  p = p.axis or p
  if p.levels then return 1 + math.floor(u * (p.levels - 1) + 0.5) end
  if p.scale == "log" then return p.low * (p.high / p.low) ^ u end
  return p.low + u * (p.high - p.low)
end

--- The width of the range on its scale.
function parameter.range(p)
  p = p.axis or p
  return p.scale == "log" and math.log(p.high / p.low) or p.high - p.low
end

-- ---- the prior --------------------------------------------------------------------------

--- Draws one value of the parameter's prior.
function parameter.draw(p, rng)
  if p.prior then return marginal.of(p):quantile(rng:uniform()) end
  if p.levels then return rng:integer(1, p.levels) end
  if p.grid then return p.low + (p.high - p.low) * rng:integer(0, p.grid - 1) / (p.grid - 1) end
  if p.scale == "log" then return math.exp(rng:uniform(math.log(p.low), math.log(p.high))) end
  return rng:uniform(p.low, p.high)
end

-- How draws and codes of one parameter are computed in C; nil: it has a prior of its own.
local function compiled(p)
  if p.prior or p.axis then return nil end
  return { low = p.low, high = p.high, period = p.period, count = p.levels or p.grid or 0, code = parameter.kind(p),
    scale = p.levels and "class" or p.grid and "grid" or p.scale }
end

local tables = setmetatable({}, { __mode = "k" })

--- Draws and codes of many rows of parameters at once, with the bits of draw and to_code (csrc/sim/parameters.c).
-- @tparam {table,...} params
-- @treturn ?userdata with draw(seed, before, n) and codes(z); nil where one of them has a prior of its own
function parameter.rows(params)
  local made = tables[params]
  if made == nil then
    made = {}
    for i, p in ipairs(params) do
      made[i] = compiled(p)
      if not made[i] then break end
    end
    made = #made == #params and core.parameters(made) or false
    tables[params] = made
  end
  return made or nil
end

-- ---- shares of the prior ----------------------------------------------------------------
--
-- The share u of a value is in [0, 1], and uniform under the parameter's prior: the distribution function at it; of a
-- circle the phase in turns from low, of class c of n (c - 1/2) / n. A value of a grid has a cell of shares, and its
-- share is the middle of that; on a circle its phase.

local WHOLE = 1 - 1e-6 -- a range of at least this share of its period is a circle

--- The kind of a parameter's share: "class", "circle", or "interval", so that of a range less than its period.
function parameter.share_kind(p)
  if p.levels then return "class" end
  return p.period and p.high - p.low >= WHOLE * p.period and "circle" or "interval"
end

--- The distance of a share of 1 from low, of a uniform prior.
function parameter.share_range(p)
  return parameter.share_kind(p) == "circle" and p.period or p.high - p.low
end

--- How many cells the shares of a grid have: on a circle low and high are one value.
function parameter.cells(p)
  return parameter.share_kind(p) == "circle" and p.grid - 1 or p.grid
end

--- The number of the grid's value that is nearest to v, from 0; on a circle high is low.
function parameter.grid_number(p, v)
  local index = math.floor((v - p.low) / (p.high - p.low) * (p.grid - 1) + 0.5)
  if parameter.share_kind(p) == "circle" then return index % (p.grid - 1) end
  return math.max(0, math.min(p.grid - 1, index))
end

-- The share of the grid's value nearest to v.
local function grid_share(p, v)
  local cells = parameter.cells(p)
  return (parameter.grid_number(p, v) + (cells < p.grid and 0 or 0.5)) / cells
end

--- The share of a value; nil outside the prior's support.
function parameter.share(p, v)
  if v ~= v or math.abs(v) == math.huge then return nil end
  if p.levels then return v % 1 == 0 and v >= 1 and v <= p.levels and (v - 0.5) / p.levels or nil end
  v = parameter.wrap(p, v)
  if p.grid and not parameter.outside(p, v) then return grid_share(p, v) end
  if parameter.share_kind(p) == "circle" then return (v - p.low) / p.period end
  if parameter.outside(p, v) then return nil end
  v = math.max(p.low, math.min(p.high, v))
  if p.prior then return (marginal.of(p):shares(v)) end
  return parameter.to_unit(p, v)
end

--- The value of a share.
function parameter.from_share(p, u)
  if p.prior then return marginal.of(p):quantile(u) end
  if p.levels then return math.min(p.levels, 1 + math.floor(u * p.levels)) end
  if p.grid then
    local cells = parameter.cells(p)
    if cells < p.grid then return p.low + p.period * (math.floor(u * cells + 0.5) % cells) / cells end
    return p.low + (p.high - p.low) * math.min(cells - 1, math.floor(u * cells)) / (cells - 1)
  end
  if parameter.share_kind(p) == "circle" then return p.low + u * p.period end
  return parameter.from_unit(p, u)
end

--- log du/dv at a value within the support: the log density of the prior, per unit; of a class 0, of a value of a grid
-- the logarithm of its cell, so that the density becomes a probability.
function parameter.log_share_slope(p, v)
  if p.levels then return 0 end
  if p.grid then return -math.log(parameter.cells(p)) end
  if p.prior then return marginal.of(p):log_density(math.max(p.low, math.min(p.high, v))) end
  if p.scale == "log" then return -math.log(math.max(v, p.low) * parameter.range(p)) end
  return -math.log(parameter.share_range(p))
end

-- ---- bounds -----------------------------------------------------------------------------

--- How far beyond its bounds a value may lie and still count as within them, as a share of the range on its scale:
-- what computing in single precision adds. The rounding of the value itself comes on top.
parameter.TOLERANCE = 1e-6

local ROUNDING = 2^-23 -- of a number in single precision, relative

local LOG_FLOOR = 1e-3 -- of the lower bound: what a value of a log scale is at least, where its logarithm is taken

--- A periodic value, wrapped into the period that starts at low; other values are unchanged.
function parameter.wrap(p, v)
  return p.period and p.low + (v - p.low) % p.period or v
end

-- How far v is above high and below low on the scale; the larger is negative within the bounds.
local function gaps(p, v)
  if p.scale == "log" then
    if v <= 0 then return -math.huge, math.huge end
    return math.log(v / p.high), math.log(p.low / v)
  end
  return v - p.high, p.low - v
end

local function tolerance(p)
  local ends = p.axis or p
  local rounding = p.scale == "log" and 1 or math.max(math.abs(ends.low), math.abs(ends.high))
  return parameter.TOLERANCE * parameter.range(p) + ROUNDING * rounding
end

--- Does a value lie outside the bounds, by more than the tolerance? A period is taken as it stands: `wrap` comes first.
function parameter.outside(p, v)
  if v >= p.low and v <= p.high then return false end
  local within = math.max(gaps(p, v)) <= tolerance(p) -- false for NaN
  return not within
end

--- A value as the simulator takes it: whole for a class, a period wrapped, and within the bounds, at the nearer one;
-- with a prior other than uniform, within what the limit of scores leaves of them.
-- @tparam table p
-- @tparam number v
-- @treturn number
-- @treturn number how far v was beyond the bounds, as a share of the range on its scale; 0 within the tolerance
function parameter.confine(p, v)
  if p.levels then v = math.floor(v + 0.5) end
  v = parameter.wrap(p, v)
  if p.prior then p = marginal.of(p).within end
  if v >= p.low and v <= p.high then return v, 0 end
  local above, below = gaps(p, v)
  if p.period then below = p.low + p.period - v end -- the lower bound of the next turn
  local gap = p.period and math.min(above, below) or math.max(above, below)
  return above == gap and p.high or p.low, gap > tolerance(p) and gap / parameter.range(p) or 0
end

-- ---- comparison -------------------------------------------------------------------------

--- The mean direction of values on a circle.
-- @tparam table p with a period
-- @tparam {number,...} list
-- @treturn number from low to low + period
function parameter.direction(p, list)
  local c, s = 0, 0
  for _, v in ipairs(list) do
    local phase = 2 * math.pi * (v - p.low) / p.period
    c, s = c + math.cos(phase), s + math.sin(phase)
  end
  return p.low + math.atan(s, c) / (2 * math.pi) % 1 * p.period
end

--- The difference a - b in units; modulo the period, of minimum size.
-- @tparam table p of which period is read alone
function parameter.difference(p, a, b)
  local d = a - b
  return p.period and d - p.period * math.floor(d / p.period + 0.5) or d
end

--- A value that has a logarithm where its scale needs one: at least a thousandth of the range's lower end.
function parameter.positive(p, v)
  return p.scale == "log" and math.max(v, (p.axis or p).low * LOG_FLOOR) or v
end

--- A value on the scale that its errors are judged on: the logarithm of a log-scaled parameter (of `positive`), the
-- nearest class of a categorical one.
function parameter.scaled(p, v)
  if p.levels then return math.max(1, math.min(p.levels, math.floor(v + 0.5))) end
  return parameter.to_scale(p, parameter.positive(p, v))
end

--- The difference a - b in standardised coordinates, in which the range is 1 wide: on a log scale that of the
-- logarithms, of a period the shorter way round, of two classes 1.
function parameter.distance(p, a, b)
  if p.levels then return math.floor(a + 0.5) == math.floor(b + 0.5) and 0 or 1 end
  if p.period then return parameter.difference(p, a, b) / (p.high - p.low) end
  return (parameter.scaled(p, a) - parameter.scaled(p, b)) / parameter.range(p)
end

-- ---- code -------------------------------------------------------------------------------
--
-- What networks see of a parameter (simvae.model.latent):
--
--   interval   one number in [-1, 1]: linear between the bounds, or in the logarithm; with a prior other than uniform,
--              the score, of which a limit of simvae.simulator.marginal is the bound
--   circle     (period = …) two: cosine and sine of the phase, so that there is no seam
--   class      (levels = n) n: a one-hot vector; an encoder's probabilities are one as well

local coding = { interval = {}, circle = {}, class = {} }

--- The kind of a parameter's code: "interval", "circle" or "class".
function parameter.kind(p)
  return p.levels and "class" or p.period and "circle" or "interval"
end

--- The bound of an interval's code: it lies from minus to plus this.
function parameter.code_limit(p)
  return p.prior and marginal.LIMIT or 1
end

--- How many numbers a parameter's code has.
function parameter.code_size(p)
  return p.levels or p.period and 2 or 1
end

--- Writes a value's code to code[at] and behind.
function parameter.to_code(p, v, code, at)
  coding[parameter.kind(p)].write(p, v, code, at)
end

--- The value of the code at code[at] and behind, and its standard deviation, carried to first order; of a log-scaled
-- parameter that is the logarithm's, times the value.
-- @tparam table p
-- @tparam {number,...} code
-- @tparam integer at
-- @tparam ?{number,...} std the code's standard deviations
-- @treturn number
-- @treturn number
function parameter.from_code(p, code, at, std)
  return coding[parameter.kind(p)].read(p, code, at, std)
end

function coding.interval.write(p, v, code, at)
  if p.prior then
    code[at] = marginal.of(p):score(v)
    return
  end
  code[at] = 2 * parameter.to_unit(p, v) - 1
end

function coding.interval.read(p, code, at, std)
  if p.prior then
    local m = marginal.of(p)
    local v = m:value(code[at])
    return v, std and std[at] * m:slope(v) or 0
  end
  local v, d = parameter.from_unit(p, (code[at] + 1) / 2), std and std[at] or 0
  return v, d / 2 * (p.scale == "log" and v * parameter.range(p) or parameter.range(p))
end

function coding.circle.write(p, v, code, at)
  local phase = 2 * math.pi * (v - p.low) / p.period
  code[at], code[at + 1] = math.cos(phase), math.sin(phase)
end

function coding.circle.read(p, code, at, std)
  local turn = math.atan(code[at + 1], code[at]) / (2 * math.pi) % 1
  local d = std and math.sqrt((std[at] ^ 2 + std[at + 1] ^ 2) / 2) or 0
  return p.low + turn * p.period, d / (2 * math.pi) * p.period
end

function coding.class.write(p, v, code, at)
  local class = math.floor(v + 0.5)
  for c = 1, p.levels do code[at + c - 1] = c == class and 1 or 0 end
end

-- The spread is that of the probabilities themselves.
function coding.class.read(p, code, at)
  local best, total, square = 1, 0, 0
  for c = 1, p.levels do
    local q = code[at + c - 1]
    if q > code[at + best - 1] then best = c end
    total, square = total + q * c, square + q * c * c
  end
  return best, math.sqrt(math.max(0, square - total * total))
end

-- ---- text -------------------------------------------------------------------------------

--- A value with its name: "x = 6.34".
function parameter.value_text(p, v)
  return string.format("%s = %.6g", p.name, v)
end

--- The bounds, and a prior other than uniform: "8 to 24", "0 to 1, beta(2, 5)", "normal(0, 1)".
function parameter.bounds_text(p)
  if not p.prior then return string.format("%.4g to %.4g", p.low, p.high) end
  local low, high = marginal.truncation(p)
  local bounds = low and high and string.format("%.4g to %.4g, ", low, high)
    or low and string.format("from %.4g, ", low) or high and string.format("to %.4g, ", high) or ""
  return bounds .. marginal.text(p.prior)
end

--- The unit as it follows a number: " px", or "" where there is none.
-- @tparam table p a parameter, or anything else with a unit
-- @treturn string
function parameter.unit_text(p)
  return p.unit and p.unit ~= "" and " " .. p.unit or ""
end

--- A name and its range: "x 8 to 24 px".
function parameter.range_text(p)
  if p.levels then return string.format("%s 1 to %d", p.name, p.levels) end
  return string.format("%s %s%s", p.name, parameter.bounds_text(p), parameter.unit_text(p))
end

--- What kind of scale it has: "4 classes", "period 360", "log" or "linear".
function parameter.scale_text(p)
  return p.levels and string.format("%d classes", p.levels) or p.period and string.format("period %.6g", p.period)
    or p.scale
end

-- ---- declarations of one parameter in two places ----------------------------------------

--- What of a declaration tells a parameter's values: plain values, for a file.
-- @tparam table p
-- @treturn table name, low, high, unit, scale, period, levels, grid, prior; low and high where they are no infinity
function parameter.declaration(p)
  local low, high = p.low, p.high
  if p.prior then low, high = marginal.declared(p) end
  return { name = p.name, low = low, high = high, unit = p.unit, scale = p.scale, period = p.period,
    levels = p.levels, grid = p.grid, prior = p.prior and { table.unpack(p.prior) } or nil }
end

-- Numbers that a text of 14 digits cannot tell apart are the same: earlier versions wrote such texts.
local function same_number(a, b, range)
  return math.abs(a - b) <= 1e-9 * range + 1e-13 * math.max(math.abs(a), math.abs(b))
end

local function said(v)
  if v == nil then return "none" end
  return type(v) == "number" and string.format("%.10g", v) or string.format("%q", v)
end

--- The first field in which two declarations differ.
-- @tparam table a a declaration; low, high, unit and scale may be left out as in sv.simulator; checked where it is of a
-- file
-- @tparam table b
-- @tparam ?boolean units whether the unit's text counts
-- @treturn ?string the field; nil: none
-- @treturn ?string its value in a, as text
-- @treturn ?string its value in b
function parameter.mismatch(a, b, units)
  local function values(q)
    local low, high, scale = marginal.declared(q)
    return { scale = scale or "linear", levels = q.levels, low = low or q.levels and 1, high = high or q.levels,
      unit = q.unit or "", period = q.period, prior = q.prior and marginal.text(q.prior, "%.14g") }
  end
  local old, new = values(a), values(b)
  local ends = b.axis or new
  for _, field in ipairs { "scale", "levels", "prior", "low", "high", "unit", "period" } do
    local v, w = old[field], new[field]
    local same = v == w or field == "unit" and not units
    if not same and type(v) == "number" and type(w) == "number" and field ~= "levels" then
      same = same_number(v, w, math.abs(ends.high - ends.low))
    end
    if not same then return field, said(v), said(w) end
  end
end

return parameter
