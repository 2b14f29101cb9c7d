--- A simulation budget: a fixed number of simulations, used in epochs, for simulators that are slower than a training
-- step.
--
-- The first epoch returns the samples of another sampler in its order and keeps them in memory; each later epoch is a
-- permutation of them, a function of the seed and the epoch.
local core = require "simvae.core"
local epochs = require "simvae.sampler.epochs"

local pool = {}
local Pool = {}
Pool.__index = Pool

--- Wraps a sampler.
-- @tparam Sampler source at its start; closed with the budget
-- @tparam integer simulations how many of its samples are used
-- @treturn Sampler with next, peek, state, restore, counts, close
function pool.new(source, simulations)
  local sim = source.simulator
  return setmetatable({
    source = source, batch = source.batch, simulations = simulations, drawn = 0, kept = 0,
    shuffled = epochs(source.seed, simulations),
    z = core.buffer(core.zeros(simulations, #sim.params)),
    x = core.buffer(core.zeros { simulations, table.unpack(sim.output) }),
  }, Pool)
end

--- Samples that are there already, in epochs, each of which is a permutation of them.
-- @tparam Simulator sim
-- @tparam tensor z (N, K), in units
-- @tparam tensor x (N, …output)
-- @tparam integer seed of the order
-- @tparam integer batch
-- @treturn Sampler as of new; peek returns the first rows
function pool.of(sim, z, x, seed, batch)
  local n = z.shape[1]
  local source = { simulator = sim, close = function() end, counts = function() return 0, n end,
    peek = function(_, count) return core.slice(z, 1, 1, count), core.slice(x, 1, 1, count) end }
  return setmetatable({ source = source, batch = batch, simulations = n, drawn = n, kept = n,
    shuffled = epochs(seed, n), z = z, x = x }, Pool)
end

-- Has the first `count` samples made.
local function fill(self, count)
  while self.kept < count do
    local scope <close> = core.scope()
    self.source.batch = math.min(self.batch, self.simulations - self.kept)
    local z, x = self.source:next()
    for s = 1, self.source.batch do
      self.z[self.kept + s]:copy(z[s])
      self.x[self.kept + s]:copy(x[s])
    end
    self.kept = self.kept + self.source.batch
  end
end

-- The row of the sample at position k (from 0) of all epochs.
local function row_at(self, k)
  local epoch, place = k // self.simulations, k % self.simulations + 1
  if epoch == 0 then return place end
  return self.shuffled(epoch, place)
end

--- The next batch.
-- @treturn tensor z (batch, K), in units
-- @treturn tensor x (batch, …output)
function Pool:next()
  local n = self.batch
  fill(self, math.min(self.drawn + n, self.simulations))
  local z = core.zeros(n, #self.source.simulator.params)
  local x = core.zeros { n, table.unpack(self.source.simulator.output) }
  for s = 1, n do
    local row = row_at(self, self.drawn + s - 1)
    z[s]:copy(self.z[row])
    x[s]:copy(self.x[row])
  end
  self.drawn = self.drawn + n
  return z, x
end

--- The first samples that next will return (at most all of them), without consuming them.
function Pool:peek(n, watch)
  return self.source:peek(math.min(n, self.simulations), watch)
end

function Pool:counts() return self.source:counts() end
function Pool:state() return { drawn = self.drawn } end

--- Restores a state: earlier samples are made again, or come from the source's cache.
function Pool:restore(state) self.drawn = math.tointeger(state.drawn) end

function Pool:close() self.source:close() end
Pool.__close = Pool.close

return pool
