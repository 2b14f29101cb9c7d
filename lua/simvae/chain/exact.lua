--- The posterior of a chain whose rule has classes alone: the exact sum over all combinations of them.
local check = require "simvae.util.check"
local composed = require "simvae.chain.composed"
local core = require "simvae.core"
local prior = require "simvae.simulator.prior"

local exact = {}

local MOST = 1 << 17 -- combinations of classes

-- All combinations of classes, the last one the fastest.
local function combinations(params)
  local rows = { {} }
  for _, p in ipairs(params) do
    local longer = {}
    for _, row in ipairs(rows) do
      for c = 1, p.levels do
        local more = table.move(row, 1, #row, 1, {})
        more[#more + 1] = c
        longer[#longer + 1] = more
      end
    end
    rows = longer
  end
  return rows
end

local function check_deterministic(sim, z, y, level)
  local again = sim:run(z, core.rng(2))
  if core.max(core.abs(again - y)):item() > 0 then
    check.fail(level + 1, "chain: the rule '%s' is stochastic: it gives other numbers with another rng, and a chain "
      .. "takes a function of the parameters; a random number can be one of its parameters", sim.name)
  end
end

-- Raises for outputs that are no class of the part that draws them, nor 0.
local function check_classes(self, outputs, level)
  for _, one in ipairs(self.draw_parts) do
    if one.classes then
      for c, y in ipairs(outputs) do
        for k, p in ipairs(one.params) do
          local v = y[one.first + k - 1]
          if v ~= math.floor(v) or v < 0 or v > p.levels then
            check.fail(level + 1, "chain: the rule '%s' gives %g at %s, where '%s' of %s takes a class from 1 to %d, "
              .. "or 0 to be left out", self.rule.sim.name, v, self.rule.sim:describe_z(self.combinations[c]), p.name,
              one.what, p.levels)
          end
        end
      end
    end
  end
end

--- The rule at every combination of its parameters.
-- @tparam Chain self whose field `combinations` it sets
-- @tparam integer level of the caller that is blamed
-- @treturn table rows {{number,...},...}, outputs {{number,...},...}, log_prior {number,...}
function exact.table(self, level)
  local sim, count = self.rule.sim, 1
  for _, p in ipairs(sim.params) do count = count * p.levels end
  if count > MOST then
    check.fail(level + 1, "chain: the rule '%s' has %d combinations of classes; exact sums are over %d at most",
      sim.name, count, MOST)
  end
  if not prior.known(sim) then
    check.fail(level + 1, "chain: the prior of the rule '%s' is a function without a density: prior = { draw = "
      .. "function(rng) … end, log_density = function(z) … end }", sim.name)
  end
  local rows = combinations(sim.params)
  local scope <close> = core.scope()
  local z = core.tensor(rows)
  local y = self.rule.model and self:run(z) or sim:run(z, core.rng(1))
  if not self.rule.model then check_deterministic(sim, z, y, level + 1) end
  self.combinations = rows
  local t = { rows = rows, outputs = y:totable(), log_prior = prior.log_density(sim, z):totable() }
  check_classes(self, t.outputs, level + 1)
  return t
end

-- The same part of every row, as one list for each of n observations.
local function values_of(one, rows, n)
  local own, list = {}, {}
  for c, row in ipairs(rows) do own[c] = table.move(row, one.first, one.first + #one.params - 1, 1, {}) end
  for i = 1, n do list[i] = own end
  return list
end

-- Adds the evidence of one part's outputs to logs, N lists.
local function add(one, posterior, rows, logs)
  for n, evidence in ipairs(one:evidence(posterior, values_of(one, rows, #logs))) do
    local log = logs[n]
    for c = 1, #rows do log[c] = log[c] + evidence[c] end
  end
end

--- @tparam Chain self
-- @tparam ?{Posterior,...} read of the parts that read
-- @tparam ?{Posterior|false,...} drawn of those that draw
-- @tparam integer count observations
-- @tparam integer level of the caller that is blamed
-- @treturn Composed
function exact.posterior(self, read, drawn, count, level)
  local t, logs = self.table, {}
  for n = 1, count do logs[n] = table.move(t.log_prior, 1, #t.rows, 1, {}) end
  for j, one in ipairs(read and self.read or {}) do add(one, read[j], t.rows, logs) end
  for j, one in ipairs(drawn and self.draw_parts or {}) do add(one, drawn[j], t.outputs, logs) end
  local weights = {}
  for n, list in ipairs(logs) do
    weights[n] = composed.normalised(list)
    if not weights[n] then
      check.fail(level + 1, "posterior: no parameters of the rule '%s' give observation %d", self.rule.sim.name, n)
    end
  end
  return composed.new { chain = self, count = count, exact = true, rows = t.rows, results = t.outputs,
    weights = weights }
end

return exact
