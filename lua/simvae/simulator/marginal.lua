--- The prior of one parameter: field `prior` of its declaration.
--
--     "uniform"                        between low and high, on the parameter's scale (default)
--     { "normal", mean, std }          in the parameter's unit
--     { "lognormal", m, s }            m and s: mean and standard deviation of the natural logarithm
--     { "gamma", shape, scale }        scale in the parameter's unit; the mean is shape * scale
--     { "beta", a, b }                 of the share of the range from low to high, on the parameter's scale
--
-- low and high truncate all but beta, and may be left out: then a normal has no bounds, a lognormal and a gamma lie
-- above 0, and beta from 0 to 1.
--
-- A value has a share u, the prior's distribution function at it, and a score, the standard normal quantile of u; the
-- score of a normal prior is (value - mean) / std, and that of a lognormal the same of the logarithm. Scores are the
-- codes of networks, and u the coordinate of the cube on which posteriors are defined, where the prior is uniform.
--
-- Distributions are those of core.distribution, over a variable t: (v - mean) / std, the same of log v, log(v / scale),
-- or the logit of the share of the range.
local check = require "simvae.util.check"
local core = require "simvae.core"

local marginal = {}

--- Scores are kept within plus and minus this: beyond, shares have no digits left in single precision. Draws lie
-- outside with a probability of 1.5e-7, and have the code of the limit.
marginal.LIMIT = 5.25

local KNOTS = 1025          -- of a tabulated quantile function: errors of cubics below 1e-9
local AXIS = 1e-3           -- quantile at which an axis ends
local NEAR = 0.25           -- the last value ends it instead where it is nearer to that quantile, in widths of the axis
local LEAST_MASS = 1e-6     -- of the distribution within the bounds
local LARGEST_SHAPE = 1e6

local distribution = core.distribution
local huge = math.huge

local Marginal = {}
Marginal.__index = Marginal

-- ---- kinds ---------------------------------------------------------------------------------
--
-- fields: names of the numbers; positive: which of them are above 0; support; of (the core's name); to_t, from_t and
-- log_slope (of t by v) of single values, tensor (t -> v) of tensors; all read a = the prior's numbers and p, the
-- parameter.

local kinds = {}

kinds.normal = {
  fields = { "mean", "std" }, positive = { false, true }, low = -huge, high = huge, of = "normal", straight = true,
  to_t = function(a, v) return (v - a[1]) / a[2] end,
  from_t = function(a, t) return a[1] + a[2] * t end,
  log_slope = function(a) return -math.log(a[2]) end,
  tensor = function(a, t) return t * a[2] + a[1] end,
}

kinds.lognormal = {
  fields = { "m", "s" }, positive = { false, true }, low = 0, high = huge, of = "normal", straight = true,
  scale = "log",
  to_t = function(a, v) return v > 0 and (math.log(v) - a[1]) / a[2] or -huge end,
  from_t = function(a, t) return math.exp(a[1] + a[2] * t) end,
  log_slope = function(a, v) return -math.log(a[2] * v) end,
  tensor = function(a, t) return core.exp(t * a[2] + a[1]) end,
}

kinds.gamma = {
  fields = { "shape", "scale" }, positive = { true, true }, low = 0, high = huge, of = "gamma", shapes = 1,
  to_t = function(a, v) return v > 0 and math.log(v / a[2]) or -huge end,
  from_t = function(a, t) return a[2] * math.exp(t) end,
  log_slope = function(_, v) return -math.log(v) end,
  tensor = function(a, t) return core.exp(t) * a[2] end,
}

local function is_log(p) return p.scale == "log" end

kinds.beta = {
  fields = { "a", "b" }, positive = { true, true }, low = 0, high = 1, of = "beta", shapes = 2, whole = true,
  to_t = function(_, v, p)
    local below, above = v - p.low, p.high - v
    if is_log(p) then below, above = math.log(v / p.low), math.log(p.high / v) end
    return below <= 0 and -huge or above <= 0 and huge or math.log(below / above)
  end,
  from_t = function(_, t, p)
    if is_log(p) then return p.low * (p.high / p.low) ^ (1 / (1 + math.exp(-t))) end
    if t > 0 then return p.high - (p.high - p.low) / (1 + math.exp(t)) end
    return p.low + (p.high - p.low) / (1 + math.exp(-t))
  end,
  log_slope = function(_, v, p)
    local below, above, by = v - p.low, p.high - v, 1
    if is_log(p) then below, above, by = math.log(v / p.low), math.log(p.high / v), 1 / v end
    return math.log((below + above) * by / (below * above))
  end,
  tensor = function(_, t, p)
    local share = core.sigmoid(t)
    if is_log(p) then return core.exp(share * math.log(p.high / p.low)) * p.low end
    return share * (p.high - p.low) + p.low
  end,
}

local names = { "uniform", "normal", "lognormal", "gamma", "beta" }
local forms = "\"uniform\", { \"normal\", mean, std }, { \"lognormal\", m, s }, { \"gamma\", shape, scale } or "
  .. "{ \"beta\", a, b }"

-- ---- declarations ----------------------------------------------------------------------------

local function is_uniform(prior)
  return prior == nil or prior == "uniform" or type(prior) == "table" and #prior == 1 and prior[1] == "uniform"
end

-- Why a list is no prior, or nil.
local function fault(prior)
  if type(prior) == "string" and prior ~= "uniform" and kinds[prior] then
    return string.format("has prior = %q, which needs numbers: { %q, %s }", prior, prior,
      table.concat(kinds[prior].fields, ", "))
  end
  local name = type(prior) == "table" and prior[1]
  if type(prior) ~= "table" or getmetatable(prior) ~= nil and prior[1] == nil then
    local near = type(prior) == "string" and check.suggestion(prior, names) or ""
    return string.format("has prior = %s%s; it is %s", check.describe(prior), near, forms)
  end
  local kind = kinds[name]
  if not kind then
    return string.format("has a prior %s%s; it is %s", check.describe(name),
      type(name) == "string" and check.suggestion(name, names) or "", forms)
  end
  for k in pairs(prior) do
    if math.type(k) ~= "integer" or k < 1 or k > #kind.fields + 1 then
      return string.format("has a prior %q with an entry %s too many; it is { %q, %s }", name, check.describe(k), name,
        table.concat(kind.fields, ", "))
    end
  end
  for i, field in ipairs(kind.fields) do
    local v = prior[i + 1]
    local finite = type(v) == "number" and v == v and math.abs(v) < huge
    if not finite or kind.positive[i] and v <= 0 then
      return string.format("has a prior %q whose %s is %s; it takes a finite number%s", name, field, check.describe(v),
        kind.positive[i] and " above 0" or "")
    end
    if i <= (kind.shapes or 0) and v > LARGEST_SHAPE then
      return string.format("has a prior %q whose %s is %g; from %g on take { \"normal\", mean, std }", name, field, v,
        LARGEST_SHAPE)
    end
  end
end

-- Why bounds do not fit the distribution, or nil.
local function bounds_fault(q, kind)
  local name = q.prior[1]
  if q.scale == "log" and not kind.scale and not kind.whole then
    return string.format("has scale = \"log\" and a prior %q, which is of the value itself; { \"lognormal\", m, s } is "
      .. "of its logarithm", name)
  end
  if not kind.whole and q.low < kind.low then
    return string.format("has low = %g and a prior %q, which lies above %g", q.low, name, kind.low)
  end
  if q.low >= q.high then
    return string.format("has low = %g, high = %g; low must be below high", q.low, q.high)
  end
  if q.scale == "log" and kind.whole and q.low <= 0 then
    return string.format("on a log scale needs low > 0; got %g", q.low)
  end
  local m = marginal.of(q)
  if m.mass < LEAST_MASS then
    return string.format("has a prior %q of which low = %g and high = %g hold %.2g; declare bounds that hold more",
      name, q.low, q.high, m.mass)
  end
end

-- Where an axis ends: the quantile, or the end of what scores tell apart where that is near.
local function axis_of(q, m)
  local low, high = m:quantile(AXIS, 1 - AXIS), m:quantile(1 - AXIS, AXIS)
  local to = q.scale == "log" and math.log or function(v) return v end
  local width = NEAR * (to(high) - to(low))
  local within = m.within
  if to(low) - to(within.low) < width then low = within.low end
  if to(within.high) - to(high) < width then high = within.high end
  return { low = low, high = high, scale = q.scale }
end

--- Reads the prior of a declaration, and fills in what follows from it: bounds (infinite where there are none), scale,
-- and axis = { low, high, scale }, the finite range that figures and errors use. A uniform prior is removed.
-- @tparam table q the declaration, to be changed: prior (without fault), low, high, scale
-- @treturn ?string what is wrong with it
function marginal.read(q)
  local prior = q.prior
  if is_uniform(prior) then
    q.prior = nil
    return nil
  end
  if q.levels or q.period then
    return string.format("has %s and a prior %q; its prior is uniform, and a prior of the whole simulator, prior = "
      .. "function(rng), can draw it otherwise", q.levels and "levels" or "a period", prior[1])
  end
  local kind = kinds[prior[1]]
  q.prior = { table.unpack(prior) }
  q.low, q.high, q.scale = q.low or kind.low, q.high or kind.high, q.scale or kind.scale or "linear"
  local why = bounds_fault(q, kind)
  if why then return why end
  q.axis = axis_of(q, marginal.of(q))
end

--- What is wrong with the field `prior` by itself, or nil.
function marginal.fault(prior)
  return not is_uniform(prior) and fault(prior) or nil
end

--- Whether bounds may be left out under a prior without fault.
function marginal.free(prior)
  return not is_uniform(prior)
end

--- The bounds of a declaration, checked or not, nil where there is none, and the scale.
-- @treturn ?number low
-- @treturn ?number high
-- @treturn ?string scale
function marginal.declared(q)
  local kind = not is_uniform(q.prior) and kinds[q.prior[1]]
  if not kind then return q.low, q.high, q.scale end
  local low, high = q.low or kind.low, q.high or kind.high
  return low > -huge and low or nil, high < huge and high or nil, q.scale or kind.scale
end

--- The bounds that truncate a parameter's prior, and those of beta; nil where there is none.
function marginal.truncation(p)
  local kind = kinds[p.prior[1]]
  if kind.whole then return p.low, p.high end
  return p.low > kind.low and p.low or nil, p.high < kind.high and p.high or nil
end

--- A prior as text: "normal(0, 1)".
-- @tparam table prior
-- @tparam[opt="%.6g"] string format of its numbers
function marginal.text(prior, format)
  if type(prior) == "string" then return prior end
  local parts = {}
  for i = 2, #prior do parts[i - 1] = string.format(format or "%.6g", prior[i]) end
  return string.format("%s(%s)", prior[1], table.concat(parts, ", "))
end

-- ---- values and shares -----------------------------------------------------------------------

local made = setmetatable({}, { __mode = "k" })

--- The distribution of a parameter that has a prior; its field within = { low, high, … } is the range of the scores
-- within the limit.
-- @tparam table p as checked, with p.prior
-- @treturn Marginal
function marginal.of(p)
  local m = made[p]
  if m then return m end
  local kind, a = kinds[p.prior[1]], { table.unpack(p.prior, 2) }
  m = setmetatable({ p = p, numbers = a, of = kind.of, kind = kind, from_t = kind.from_t, mass = 1,
    below = 0, above = 0 }, Marginal)
  if not kind.whole and (p.low > kind.low or p.high < kind.high) then
    local low, low_above = m:cdf(p.low > -huge and kind.to_t(a, p.low, p) or -huge)
    local high, high_above = m:cdf(p.high < huge and kind.to_t(a, p.high, p) or huge)
    m.below, m.above, m.cut = low, high_above, true
    m.mass = low < 0.5 and high - low or low_above - high_above
  end
  made[p] = m
  local limit = marginal.LIMIT
  m.within = setmetatable({ low = m:value(-limit), high = m:value(limit) },
    { __index = function(_, key) return p[key] end })
  return m
end

-- P(T <= t), P(T > t) without the bounds.
function Marginal:cdf(t)
  if t == -huge then return 0, 1 elseif t == huge then return 1, 0 end
  return distribution.cdf(self.of, t, self.numbers[1], self.numbers[2])
end

-- t of shares below and above.
function Marginal:quantile_t(below, above)
  if self.cut then below, above = self.below + below * self.mass, self.above + above * self.mass end
  return distribution.quantile(self.of, below, above, self.numbers[1], self.numbers[2])
end

--- The shares of the prior below and above a value within the bounds, each with its own relative precision.
function Marginal:shares(v)
  local p = self.p
  local below, above = self:cdf(self.kind.to_t(self.numbers, v, p))
  if self.cut then
    below, above = (below - self.below) / self.mass, (above - self.above) / self.mass
    if below < 0.5 then above = 1 - below else below = 1 - above end
  end
  return math.max(0, math.min(1, below)), math.max(0, math.min(1, above))
end

--- The value at shares of the prior, within the bounds.
-- @tparam number below
-- @tparam ?number above (1 - below)
function Marginal:quantile(below, above)
  local p = self.p
  local v = self.from_t(self.numbers, self:quantile_t(below, above or 1 - below), p)
  return math.max(p.low, math.min(p.high, v))
end

--- The score of a value, within the limit.
function Marginal:score(v)
  local score
  if self.kind.straight and not self.cut then
    score = self.kind.to_t(self.numbers, v, self.p)
  else
    score = distribution.quantile("normal", self:shares(v))
  end
  return math.max(-marginal.LIMIT, math.min(marginal.LIMIT, score))
end

--- The value of a score.
function Marginal:value(score)
  score = math.max(-marginal.LIMIT, math.min(marginal.LIMIT, score))
  if self.kind.straight and not self.cut then return self.from_t(self.numbers, score, self.p) end
  return self:quantile(distribution.cdf("normal", score))
end

--- The logarithm of the prior's density at a value within the bounds, per unit of the parameter.
function Marginal:log_density(v)
  local t = self.kind.to_t(self.numbers, v, self.p)
  if t == huge or t == -huge then -- at a bound, where a density may be infinite: next to it
    if self.kind.straight then return -huge end
    t = t < 0 and -700 or 700
    v = self.from_t(self.numbers, t, self.p)
  end
  return distribution.log_density(self.of, t, self.numbers[1], self.numbers[2])
    + self.kind.log_slope(self.numbers, v, self.p) - math.log(self.mass)
end

--- How fast the value changes with its score, in units.
function Marginal:slope(v)
  if self.kind.straight and not self.cut then return math.exp(-self.kind.log_slope(self.numbers, v, self.p)) end
  return math.exp(distribution.log_density("normal", self:score(v)) - self:log_density(v))
end

--- The scores of values within the bounds, by tensor ops; nil where there are none for this distribution.
-- @tparam tensor v of any shape
-- @treturn ?tensor of the same shape
function Marginal:scores(v)
  if not self.kind.straight or self.cut then return nil end
  if self.kind.scale == "log" then v = core.log(v) end
  return (v - self.numbers[1]) / self.numbers[2]
end

-- t at equidistant scores, and its slopes.
local function tabulate(self)
  local limit, values, slopes = marginal.LIMIT, {}, {}
  for k = 1, KNOTS do
    local score = -limit + 2 * limit * (k - 1) / (KNOTS - 1)
    local t = self:quantile_t(distribution.cdf("normal", score))
    values[k] = t
    slopes[k] = self.mass * math.exp(distribution.log_density("normal", score)
      - distribution.log_density(self.of, t, self.numbers[1], self.numbers[2]))
  end
  return core.buffer(core.tensor(values)), core.buffer(core.tensor(slopes))
end

--- The values of scores, by tensor ops.
-- @tparam tensor scores of any shape
-- @treturn tensor of the same shape, within the bounds
function Marginal:values(scores)
  local limit, p = marginal.LIMIT, self.p
  local t
  if self.kind.straight and not self.cut then
    t = core.clamp(scores, -limit, limit)
  else
    if not self.knots then self.knots, self.slopes = tabulate(self) end
    t = core.cubic_hermite(scores, self.knots, self.slopes, -limit, limit)
  end
  local v = self.kind.tensor(self.numbers, t, p)
  if p.low == -huge and p.high == huge then return v end
  return core.clamp(v, p.low, p.high)
end

return marginal
