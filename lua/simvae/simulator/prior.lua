--- A simulator's prior: field `prior` of sv.simulator. Without it the parameters are independent, each with its own
-- prior (simvae.simulator.marginal).
--
--     prior = function(rng) return { x = …, y = … } end       draws, by name or in order
--     prior = { draw = function(rng) … end,
--               log_density = function(z) … end }             and the logarithm of their density at z (by name or
--                                                             position), per unit of each parameter; a constant may be
--                                                             left out
--
-- Draws lie within the bounds of the parameters. The priors of parameters then say which values are usual, for codes
-- and axes, and parameters without bounds need one.
local agreement = require "simvae.simulator.agreement"
local check = require "simvae.util.check"
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"
local point = require "simvae.simulator.point"
local streams = require "simvae.simulator.streams"

local prior = {}

local FORMS = "a function(rng), or { draw = function(rng), log_density = function(z) }"

--- Reads the field `prior`: afterwards self.prior is the function that draws, or nil, and self.log_density that of the
-- density, or nil.
-- @tparam string what whose it is, for messages
-- @tparam Simulator self
-- @tparam ?integer level of the caller that is blamed (3: that of sv.simulator)
function prior.read(what, self, level)
  local given = self.prior
  if type(given) ~= "table" then return end
  local draw, log_density = given.draw, given.log_density
  for k in pairs(given) do
    if k ~= "draw" and k ~= "log_density" then
      check.fail(level or 3, "%s: prior has an unknown field %s; it is %s; the prior of one parameter stands in params",
        what, check.describe(k), FORMS)
    end
  end
  if type(draw) ~= "function" or log_density ~= nil and type(log_density) ~= "function" then
    check.fail(level or 3, "%s: prior is %s; got draw = %s, log_density = %s", what, FORMS, check.describe(draw),
      check.describe(log_density))
  end
  self.prior, self.log_density = draw, log_density
end

-- The log density that the user's function gives; -inf is one.
local function own_density(self, z)
  local ok, value = pcall(self.log_density, z)
  if not ok then error(value, 0) end
  if type(value) ~= "number" or value ~= value or value == math.huge then
    error(string.format("simulator '%s': the prior's log_density is %s at %s; it returns a number, or -math.huge "
      .. "outside the support", self.name, check.describe(value), tostring(z)), 0)
  end
  return value
end

-- One draw by the user's prior.
local function draw_own(self, rng, number)
  local ok, result = rng:call(self.prior, rng)
  if not ok then error(result, 0) end
  local values = point.values(self, "the prior", result)
  for i, p in ipairs(self.params) do
    local v = values[i]
    if v ~= v or math.abs(v) == math.huge then
      error(string.format("simulator '%s': the prior drew %s = %g (draw %d)", self.name, p.name, v, number), 0)
    end
    if parameter.outside(p, v) then
      error(string.format("simulator '%s': the prior drew %s = %g (draw %d), outside its bounds %g to %g",
        self.name, p.name, v, number, p.low, p.high), 0)
    end
    if p.levels and v ~= math.floor(v) then
      error(string.format("simulator '%s': the prior drew %s = %g (draw %d); a class is a whole number",
        self.name, p.name, v, number), 0)
    end
  end
  return values
end

-- Priors in C: the function of one draw -> that of many rows (csrc/sim/builtin.c).
local compiled = {}
for _, b in pairs(core.builtin) do
  if b.prior then compiled[b.prior] = b.draw_prior end
end

--- Whether a prior's draws are made in C, without errors.
-- @tparam Simulator self
function prior.is_compiled(self)
  return not self.draws and (compiled[self.prior] or not self.prior and parameter.rows(self.params)) and true or false
end

local AGAIN = 7919 -- rows between the draws of a sample's attempts

--- A copy of a simulator, to be given another prior.
-- @tparam Simulator sim
-- @treturn Simulator
function prior.copy(sim)
  local copy = {}
  for k, v in pairs(sim) do copy[k] = v end
  copy.frame = nil
  return setmetatable(copy, getmetatable(sim))
end

--- A simulator whose prior's draws are given: sample i is row i - first + 1, and after the last one the first again.
-- @tparam Simulator sim
-- @tparam tensor z (n, K), in units
-- @tparam ?integer first (1)
-- @treturn Simulator a copy of sim
function prior.fixed(sim, z, first)
  local copy = prior.copy(sim)
  copy.draws, copy.first_draw = core.buffer(z), first or 1
  return copy
end

-- Rows of given draws.
local function rows_of(self, n, sample, attempt)
  local draws, count = self.draws, self.draws.shape[1]
  local first = (sample - self.first_draw + attempt * AGAIN) % count
  if first + n <= count then return core.slice(draws, 1, first + 1, first + n) * 1 end
  local index = {}
  for s = 1, n do index[s] = (first + s - 1) % count + 1 end
  local K = draws.shape[2]
  return core.gather(draws, core.expand(core.reshape(core.tensor(index), n, 1), n, K), 1)
end

--- Draws consecutive samples, in double precision, rounded once.
-- @tparam Simulator self
-- @tparam integer n
-- @tparam integer seed
-- @tparam integer sample the first one's number, from 1
-- @tparam ?integer attempt (0)
-- @treturn tensor (n, K)
function prior.draw(self, n, seed, sample, attempt)
  if self.draws then return rows_of(self, n, sample, attempt or 0) end
  local K, params = #self.params, self.params
  local before = streams.prior(sample, attempt or 0) - 1
  if compiled[self.prior] then return compiled[self.prior](seed, before, n) end
  local rows = not self.prior and parameter.rows(params)
  if rows then return rows:draw(seed, before, n) end
  local z, set = core.zeros(n, K), core.methods.set
  local rng, draw = core.rng(seed), parameter.draw
  for s = 1, n do
    rng:rewind(before + s)
    local values = self.prior and draw_own(self, rng, sample + s - 1)
    for i = 1, K do set(z, values and values[i] or draw(params[i], rng), s, i) end
  end
  return z
end

--- Raises where the draws of a prior with a log density do not follow it (simvae.simulator.agreement).
-- @tparam Simulator self
function prior.check_density(self)
  if not self.log_density then return end
  local why = agreement.fault(self.params, function(rng, number) return draw_own(self, rng, number) end,
    function(row) return own_density(self, point.new(self, row)) end)
  if why then error(string.format("simulator '%s': %s", self.name, why), 0) end
end

--- Whether the density of a simulator's prior is known.
function prior.known(self)
  self = self.fresh and self.fresh() or self
  return not self.prior or self.log_density ~= nil
end

--- The logarithm of the prior's density, per unit of each parameter (of a class: of its probability); -inf outside the
-- support. A constant is missing where the user's log_density leaves it out.
-- @tparam Simulator self
-- @tparam tensor z (N, K), in units
-- @treturn ?tensor (N,); nil where the prior is a function without a density
function prior.log_density(self, z)
  self = self.fresh and self.fresh() or self -- of a data set, its prior beyond the rows
  if self.prior and not self.log_density then return nil end
  local values = {}
  for n, row in ipairs(z:totable()) do
    local total = 0
    for i, p in ipairs(self.params) do
      local u = parameter.share(p, row[i])
      if not u then
        total = -math.huge
      elseif not self.log_density then
        total = total + (p.levels and -math.log(p.levels) or parameter.log_share_slope(p, row[i]))
      end
    end
    values[n] = total > -math.huge and self.log_density and own_density(self, point.new(self, row)) or total
  end
  if #values == 0 then return core.zeros(0) end
  return core.tensor(values)
end

return prior
