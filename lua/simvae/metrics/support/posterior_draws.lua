--- Draws of a model's posterior for the first outputs of an evaluation, beside the true parameters: a state of metrics
-- that compare them (fields start, add and measure of `reported`).
local core = require "simvae.core"
local noise = require "simvae.simulator.noise"

local posterior_draws = {}
local Draws = {}
Draws.__index = Draws

--- @tparam integer maximum outputs
-- @tparam integer each draws of each
-- @tparam rng rng
-- @treturn Draws with count, the outputs so far
function posterior_draws.new(maximum, each, rng)
  return setmetatable({ maximum = maximum, each = each, rng = rng, count = 0, truth = {}, parts = {} }, Draws)
end

--- Posteriors of the first outputs of a batch.
-- @tparam table batch of an evaluation
-- @tparam table run
-- @tparam integer n at most
-- @treturn ?Posterior nil where none is wanted, or the model has none
-- @treturn integer of how many outputs
function posterior_draws.of(batch, run, n)
  n = math.min(n, batch.measured.shape[1])
  if n < 1 or type(run.model.posterior) ~= "function" then return nil, 0 end
  return run.model:posterior(core.slice(batch.measured, 1, 1, n), noise.told(batch.levels, 1, n)), n
end

--- Takes outputs of a batch, until there are enough.
-- @tparam table batch
-- @tparam table run
-- @treturn ?tensor their draws (n, each, K), in units; nil where none are wanted, or the model has no posterior
function Draws:add(batch, run)
  local p, n = posterior_draws.of(batch, run, self.maximum - self.count)
  if not p then return nil end
  local z = p:sample(self.each, self.rng)
  self.parts[#self.parts + 1] = core.buffer(z)
  for i = 1, n do self.truth[self.count + i] = batch.z[i] end
  self.count = self.count + n
  return z
end

--- All of them.
-- @treturn ?tensor draws (N, each, K); nil: there are none
-- @treturn ?tensor true parameters (N, K)
function Draws:all()
  if self.count == 0 then return nil end
  return #self.parts == 1 and self.parts[1] or core.concat(self.parts, 1), core.tensor(self.truth)
end

return posterior_draws
