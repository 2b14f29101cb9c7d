--- Batches from a simulator.
--
-- A sampler hands out batch after batch of (z, x). Sample i of a seed is the same
-- for any batch size and any restart: a sampler's whole state is the number of
-- samples it has handed out.
local check = require "simvae.check"
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local sampler = {}
local Sampler = {}
Sampler.__index = Sampler

local options = {
  simulator = { "table", required = true },
  batch = { "integer", default = 64, min = 1 },
  seed = { "integer", default = 1 },
}

--- Makes a sampler.
-- @tparam table t simulator, batch (64), seed (1)
function sampler.new(t)
  local self = check.options("sampler", t, options)
  if not simulator.is(self.simulator) then
    check.fail(2, "sampler: simulator must be made by sv.simulator")
  end
  self.rng = core.rng(self.seed)
  return setmetatable(self, Sampler)
end

--- The next batch.
-- @treturn tensor z (batch, K), in units
-- @treturn tensor x (batch, …output)
function Sampler:next()
  return self.simulator:simulate_batch(self.batch, self.rng)
end

--- Where the sampler is: a table for a checkpoint.
function Sampler:state()
  local _, _, drawn = self.rng:state()
  return { drawn = drawn }
end

--- Goes on from a state.
function Sampler:restore(state)
  self.rng:restore(self.seed, 0, math.tointeger(state.drawn))
end

--- Gives back what the sampler holds.
function Sampler:close() end

--- Draws n samples: z (n, K) in units, x (n, …output).
-- @tparam Simulator sim
-- @tparam integer n
-- @tparam rng rng sv.rng(seed)
function sampler.simulate(sim, n, rng)
  if not simulator.is(sim) then check.fail(2, "simulate: takes a simulator (sv.simulator{…}) first") end
  check.value("simulate", "n", n, { "integer", min = 0 })
  return sim:simulate_batch(n, rng or core.rng(1))
end

return sampler
