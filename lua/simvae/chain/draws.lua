--- The posterior of a chain whose rule has parameters that are no classes: self-normalised importance sampling.
--
-- Proposals z, and the logarithms of their weights, with evidence(x, v) = q(v | x) / p(v) of a part:
--
--   observations are read            z ~ q_i(v_i | x_i) of every part that reads    p(z) / product of p_i(v_i)
--   the rule is a model, and what    y ~ q_j(v_j | x_j) of every part that draws,   p(z) p(y | z) / (q(z | y) times
--   is drawn is observed             then z ~ q(z | y) of the rule's own posterior  the product of p_j(v_j))
--   else                             z ~ p(z)                                       1
--
-- p(y | z) is the decoder's; each but the second times the evidence of what is drawn, at the rule's outputs. The
-- effective sample size (sum w)^2 / sum w^2 (Kong 1992) says how many independent draws the proposals are worth.
local check = require "simvae.util.check"
local composed = require "simvae.chain.composed"
local core = require "simvae.core"
local novelty = require "simvae.model.novelty"
local prior = require "simvae.simulator.prior"

local draws = {}

-- The logarithm of the rule's prior, as a list.
local function log_prior_of(self, z)
  local log = prior.log_density(self.rule.sim, z)
  if not log then
    error(string.format("chain: the prior of the rule '%s' is a function without a density: prior = { draw = "
      .. "function(rng) … end, log_density = function(z) … end }", self.rule.sim.name), 0)
  end
  return log:totable()
end

-- Bound values of a part, drawn from its posterior: (N, M, k).
local function sampled(one, posterior, M, rng)
  local z = posterior:sample(M, rng)
  local columns = {}
  for k, i in ipairs(one.columns) do columns[k] = core.slice(z, 3, i, i) end
  return #columns == 1 and columns[1] or core.concat(columns, 3)
end

-- Subtracts the part's own prior of values (N, M, k) from logs, a list of N M.
local function subtract_prior(one, values, logs)
  local N, M, k = table.unpack(values.shape)
  local own = one:log_prior(core.reshape(values, N * M, k))
  for i = 1, N * M do logs[i] = logs[i] - own[i] end
end

-- Adds the evidence of the parts that draw at outputs (N M, n).
local function add_drawn(self, drawn, y, N, logs)
  local M = y.shape[1] // N
  local rows = y:totable()
  for j, one in ipairs(self.draw_parts) do
    local values = {}
    for n = 1, N do
      values[n] = {}
      for m = 1, M do
        values[n][m] = table.move(rows[(n - 1) * M + m], one.first, one.first + #one.params - 1, 1, {})
      end
    end
    for n, list in ipairs(one:evidence(drawn[j], values)) do
      for m, log in ipairs(list) do logs[(n - 1) * M + m] = logs[(n - 1) * M + m] + log end
    end
  end
end

-- Proposals by what was read.
local function by_reading(self, read, N, M, rng)
  local columns = {}
  for j, one in ipairs(self.read) do columns[j] = sampled(one, read[j], M, rng) end
  local z = core.reshape(#columns == 1 and columns[1] or core.concat(columns, 3), N * M, -1)
  local logs = log_prior_of(self, z)
  for j, one in ipairs(self.read) do subtract_prior(one, columns[j], logs) end
  return z, logs
end

-- Proposals by the posteriors of what was drawn and of the rule.
local function by_inverse(self, drawn, N, M, rng)
  local columns, rule = {}, self.rule.model
  local _scope <close> = novelty.silenced(rule) -- outputs that its prior does not give have small weights
  for j, one in ipairs(self.draw_parts) do columns[j] = sampled(one, drawn[j], M, rng) end
  local y = core.reshape(#columns == 1 and columns[1] or core.concat(columns, 3), N * M, -1)
  local q = rule:posterior(y)
  local z = core.reshape(q:sample(1, rng), N * M, -1)
  local logs = log_prior_of(self, z)
  local likelihood, proposed = rule:log_likelihood(y, z):totable(), q:log_prob(z):totable()
  for i = 1, N * M do logs[i] = logs[i] + likelihood[i] - proposed[i] end
  for j, one in ipairs(self.draw_parts) do subtract_prior(one, columns[j], logs) end
  return z, logs
end

-- Proposals from the rule's prior.
local function by_prior(self, N, M, rng)
  local z, logs = self.rule.sim:sample(N * M, rng), {}
  for i = 1, N * M do logs[i] = 0 end
  return z, logs
end

--- @tparam Chain self
-- @tparam ?{Posterior,...} read of the parts that read
-- @tparam ?{Posterior|false,...} drawn of those that draw
-- @tparam integer N observations
-- @tparam integer M proposals of each
-- @tparam rng rng
-- @tparam integer level of the caller that is blamed
-- @treturn Composed
function draws.posterior(self, read, drawn, N, M, rng, level)
  local scope <close> = core.scope()
  local z, logs
  if read then
    z, logs = by_reading(self, read, N, M, rng)
  elseif self.rule.model then
    z, logs = by_inverse(self, drawn, N, M, rng)
  else
    z, logs = by_prior(self, N, M, rng)
  end
  if drawn and (read or not self.rule.model) then add_drawn(self, drawn, self:run(z), N, logs) end
  local weights, rows, sizes = {}, {}, {}
  local all = z:totable()
  for n = 1, N do
    local list = table.move(logs, (n - 1) * M + 1, n * M, 1, {})
    rows[n] = table.move(all, (n - 1) * M + 1, n * M, 1, {})
    weights[n], sizes[n] = composed.normalised(list)
    if not weights[n] then
      check.fail(level + 1, "posterior: none of %d draws of the rule's parameters gives observation %d; samples = %d "
        .. "may have one", M, n, 10 * M)
    end
  end
  return composed.new { chain = self, count = N, exact = false, rows = rows, weights = weights,
    size = scope:keep(core.tensor(sizes)) }
end

return draws
