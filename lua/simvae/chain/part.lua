--- A part of a chain: a model, or a simulator that only draws, and those of its parameters that the chain binds.
--
-- An output x of the part says of the bound parameters v, under any other prior than the part's own p(v),
--
--     evidence(x, v) = q(v | x) / p(v),
--
-- which is p(x | v) up to a constant that depends on x alone. Bound are either classes, of which q is an exact sum over
-- the others and p is uniform or counted, or all parameters, of which q is the posterior's density and p the prior's.
local check = require "simvae.util.check"
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local latent = require "simvae.model.latent"
local model = require "simvae.model"
local prior = require "simvae.simulator.prior"
local simulator = require "simvae.simulator"

local part = {}
local Part = {}
Part.__index = Part

local COUNTED = 100000   -- draws of a prior without a density, of which classes are counted
local FEWEST = 1         -- added to each count
local SEED = 1           -- of these draws

local rules = {
  part = { "table", required = true },
  params = { "table" },
}

-- The positions of the parameters that a part binds, and whether these are classes.
local function bound_columns(what, sim, names, level)
  local columns, classes, others = {}, 0, 0
  if not names then
    for i, p in ipairs(sim.params) do
      if p.levels then columns[#columns + 1] = i end
    end
    if #columns > 0 then return columns, true end
    for i in ipairs(sim.params) do columns[i] = i end
    return columns, false
  end
  if #names == 0 then check.fail(level + 1, "%s: params names at least one parameter of '%s'", what, sim.name) end
  local seen = {}
  for k, name in ipairs(names) do
    local i = type(name) == "string" and sim.index[name]
    if not i then
      check.fail(level + 1, "%s: %s is no parameter of '%s', which has %s%s", what, check.describe(name), sim.name,
        table.concat(sim.names, ", "), check.suggestion(name, sim.names))
    end
    if seen[i] then check.fail(level + 1, "%s: '%s' is named twice", what, name) end
    seen[i], columns[k] = true, i
    if sim.params[i].levels then classes = classes + 1 else others = others + 1 end
  end
  if others > 0 and #columns < #sim.params then
    check.fail(level + 1, "%s: '%s' binds %s of %s: a chain binds classes, or all parameters", what, sim.name,
      table.concat(names, ", "), table.concat(sim.names, ", "))
  end
  return columns, others == 0
end

--- Reads a part.
-- @tparam string what its place, for messages: "chain: draw[1]"
-- @param given a Model, a Simulator, or { part =, params = { names } }
-- @tparam boolean read whether it has to be a model
-- @tparam integer level of the caller that is blamed
-- @treturn Part with fields sim, model (nil of a simulator), columns and params (those bound), classes
function part.new(what, given, read, level)
  local names
  if type(given) == "table" and getmetatable(given) == nil then
    given = check.options(what, given, rules, level + 2)
    names, given = given.params, given.part
  end
  local self = { what = what }
  if model.is(given) then
    self.model, self.sim = given, given.simulator
  elseif simulator.is(given) then
    self.sim = given
  else
    check.fail(level + 1, "%s: takes a model%s, or { part =, params = { … } }; got %s", what,
      read and "" or " or a simulator", check.describe(given))
  end
  if read and not self.model then
    check.fail(level + 1, "%s: simulator '%s' cannot read, as it has no inverse; sv.model { simulator = … } learns one",
      what, self.sim.name)
  end
  self.columns, self.classes = bound_columns(what, self.sim, names, level + 1)
  self.params, self.names = {}, {}
  for k, i in ipairs(self.columns) do
    self.params[k] = self.sim.params[i]
    self.names[k] = self.params[k].name
  end
  return setmetatable(self, Part)
end

-- ---- the prior of classes -----------------------------------------------------------------------

-- The number of a combination of classes, from 1, the last one the fastest; 0: a part that is left out; nil: none.
local function number_of(self, row)
  local at, absent = 0, true
  for k, p in ipairs(self.params) do
    local v = row[k]
    absent = absent and v == 0
    if not absent and (v < 1 or v > p.levels or v ~= math.floor(v)) then return nil end
    at = at * p.levels + v - 1
  end
  return absent and 0 or math.tointeger(at + 1)
end

-- The logarithm of the prior probability of each combination of the bound classes.
local function class_prior(self)
  if self.class_log_prior then return self.class_log_prior end
  local count, list = 1, {}
  for _, p in ipairs(self.params) do count = count * p.levels end
  for c = 1, count do list[c] = self.sim.prior and FEWEST or 1 end
  local z = self.sim.prior and self.sim:sample(COUNTED, core.rng(SEED)):totable() or {}
  for _, row in ipairs(z) do
    local own = {}
    for k, i in ipairs(self.columns) do own[k] = row[i] end
    local at = number_of(self, own)
    list[at] = list[at] + 1
  end
  local total = 0
  for c = 1, count do total = total + list[c] end
  for c = 1, count do list[c] = math.log(list[c] / total) end
  self.class_log_prior = list
  return list
end

-- The columns of values (…, k), bound parameters, in the order of all parameters of the simulator.
local function in_order(self, t)
  local columns, same = {}, true
  for k, i in ipairs(self.columns) do
    columns[i], same = cube.column(t, k), same and i == k
  end
  if same then return t end
  return core.concat(columns, t.ndim)
end

--- The logarithm of the part's own prior of its bound parameters.
-- @tparam tensor values (R, k)
-- @treturn {number,...} of each row
function Part:log_prior(values)
  if self.classes then
    local log, list = class_prior(self), {}
    for r, row in ipairs(values:totable()) do list[r] = log[number_of(self, row)] or -math.huge end
    return list
  end
  local log = prior.log_density(self.sim, in_order(self, values))
  if not log then
    error(string.format("%s: the prior of '%s' is a function without a density, by which its posterior is divided: "
      .. "prior = { draw = function(rng) … end, log_density = function(z) … end }", self.what, self.sim.name), 0)
  end
  return log:totable()
end

-- ---- evidence -------------------------------------------------------------------------------------

--- The posterior of outputs.
-- @tparam string what the function's name, for messages
-- @param x (N, …output)
-- @tparam integer level
-- @treturn Posterior
function Part:posterior_of(what, x, level)
  if not self.model then
    check.fail(level + 1, "%s: %s is a simulator, '%s', which has no inverse; sv.model { simulator = … } learns one",
      what, self.what, self.sim.name)
  end
  return self.model:posterior(x)
end

-- Of classes: lists, one an output, of the logarithms of q / p of each combination; [0] is that of a part left out.
local function class_evidence(self, posterior)
  local log_prior = class_prior(self)
  local q = core.reshape(posterior:probabilities(self.names), posterior.count, -1):totable()
  for _, row in ipairs(q) do
    for c, share in ipairs(row) do row[c] = math.log(share) - log_prior[c] end
    row[0] = -math.huge
  end
  return q
end

--- What outputs say of values of the bound parameters.
-- @tparam Posterior|false posterior of N outputs; false: the part was left out
-- @tparam {{{number,...},...},...} values lists of M rows, one list an output
-- @treturn {{number,...},...} logarithms of the evidence, M of each output
function Part:evidence(posterior, values)
  local result = {}
  if not posterior then
    for n, rows in ipairs(values) do
      result[n] = {}
      for m, row in ipairs(rows) do result[n][m] = number_of(self, row) == 0 and 0 or -math.huge end
    end
  elseif self.classes then
    local logs = class_evidence(self, posterior)
    for n, rows in ipairs(values) do
      result[n] = {}
      for m, row in ipairs(rows) do result[n][m] = logs[n][number_of(self, row)] or -math.huge end
    end
  else
    local N, M = #values, #values[1]
    local scope <close> = core.scope()
    local v = core.tensor(values)
    local q = posterior:log_prob(in_order(self, v)):totable()
    local p = self:log_prior(core.reshape(v, N * M, #self.params))
    for n = 1, N do
      result[n] = {}
      for m = 1, M do
        local own = p[(n - 1) * M + m]
        result[n][m] = own > -math.huge and q[n][m] - own or -math.huge
      end
    end
  end
  return result
end

-- ---- drawing --------------------------------------------------------------------------------------

--- Draws outputs: the decoder's, or a simulator's.
-- @tparam tensor values (N, k) of the bound parameters; rows of zeros of classes are left out
-- @tparam ?rng rng draws the other parameters from the prior; nil: they are at the middle of it
-- @treturn tensor (N, …output), zeros where the part is left out
function Part:draw(values, rng)
  local N, K = values.shape[1], #self.sim.params
  local rows
  local bound = values:totable()
  if rng then
    rows = self.sim:sample(N, rng):totable()
  else
    local code = self.model and self.model.latent or latent.new(self.sim.params)
    rows = cube.to_units(code, core.full(0.5, { N, K })):totable()
  end
  local kept, places = {}, {}
  for n = 1, N do
    if not (self.classes and number_of(self, bound[n]) == 0) then
      for k, i in ipairs(self.columns) do rows[n][i] = bound[n][k] end
      kept[#kept + 1], places[#places + 1] = rows[n], n
    end
  end
  local x = core.zeros { N, table.unpack(self.sim.output) }
  if #kept == 0 then return x end
  local z = core.tensor(kept)
  local drawn = self.model and self.model:decode(z) or self.sim:run(z)
  if #kept == N then return drawn end
  for j, n in ipairs(places) do x[n]:copy(drawn[j]) end
  return x
end

return part
