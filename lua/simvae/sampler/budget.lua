--- A simulation budget: a fixed number of simulations, used in epochs, for simulators that are slower than a training
-- step.
--
-- The first epoch returns the samples of another sampler in its order and keeps them in memory; each later epoch is a
-- permutation of them, a function of the seed and the epoch. The last ones may be held out: they are in no epoch.
local core = require "simvae.core"
local epochs = require "simvae.sampler.epochs"

local SHORT = 256   -- numbers of a row that `gather` copies faster than a call a row does
local EXACT = 1 << 24 -- row numbers that single precision holds

local pool = {}
local Pool = {}
Pool.__index = Pool

--- Wraps a sampler.
-- @tparam Sampler source at its start; closed with the budget
-- @tparam integer simulations how many of its samples are used in epochs
-- @tparam integer held how many samples after these are held out
-- @treturn Sampler with next, peek, held_out_samples, state, restore, counts, close
function pool.new(source, simulations, held)
  local sim = source.simulator
  local shuffled, order_of = epochs(source.seed, simulations)
  return setmetatable({
    shuffled = shuffled, order_of = order_of,
    source = source, batch = source.batch, simulations = simulations, held = held, drawn = 0, kept = 0,
    z = core.buffer(core.zeros(simulations, #sim.params)),
    x = core.buffer(core.zeros { simulations, table.unpack(sim.output) }),
  }, Pool)
end

-- Has the first `count` samples made.
local function fill(self, count, watch)
  while self.kept < count do
    local scope <close> = core.scope()
    self.source.batch = math.min(self.batch, self.simulations - self.kept)
    local z, x = self.source:next()
    local world, n = self.ranks and self.ranks.world, self.source.batch
    if world then z, x = world:rows(z, n), world:rows(x, n) end
    for s = 1, self.source.batch do
      self.z[self.kept + s]:copy(z[s])
      self.x[self.kept + s]:copy(x[s])
    end
    self.kept = self.kept + self.source.batch
    if watch then watch(self.kept) end
  end
end

-- The row of the sample at position k (from 0) of all epochs.
local function row_at(self, k)
  local epoch, place = k // self.simulations, k % self.simulations + 1
  if epoch == 0 then return place end
  return self.shuffled(epoch, place)
end

-- Copies of some rows of t.
local function rows_of(t, rows)
  local n, each = #rows, t.count // math.max(t.shape[1], 1)
  local shape = table.move(t.shape, 2, t.ndim, 2, { n })
  if each <= SHORT and t.shape[1] <= EXACT then
    local index = core.expand(core.reshape(core.tensor(rows), n, 1), n, each)
    return core.reshape(core.gather(core.reshape(t, t.shape[1], each), index, 1), shape)
  end
  local picked = core.zeros(shape)
  for s, row in ipairs(rows) do picked[s]:copy(t[row]) end
  return picked
end

--- Samples that are there already, in epochs, each of which is a permutation of them.
-- @tparam Simulator sim
-- @tparam tensor z (N, K), in units
-- @tparam tensor x (N, …output)
-- @tparam table o seed of the order, batch; held_out: how many of the first `among` are held out, at equal distances
-- @treturn Sampler as of new; peek returns the first rows
function pool.of(sim, z, x, o)
  local n, rows, held = z.shape[1], {}, {}
  for i = 1, n do
    local list = i <= o.among and i * o.held_out // o.among > (i - 1) * o.held_out // o.among and held or rows
    list[#list + 1] = i
  end
  local function part(list) return core.buffer(rows_of(z, list)), core.buffer(rows_of(x, list)) end
  local own_z, own_x = z, x
  if #held > 0 then own_z, own_x = part(rows) end
  local source = { simulator = sim, close = function() end, counts = function() return 0, n end,
    after = function(_, _, count) return part(table.move(held, 1, count, 1, {})) end }
  local shuffled, order_of = epochs(o.seed, #rows)
  return setmetatable({ source = source, batch = o.batch, simulations = #rows, held = #held, drawn = #rows,
    kept = #rows, shuffled = shuffled, order_of = order_of, z = own_z, x = own_x }, Pool)
end

--- The next batch.
-- @treturn tensor z (batch, K), in units
-- @treturn tensor x (batch, …output)
function Pool:next()
  local rows, first, n = {}, 0, self.batch
  fill(self, math.min(self.drawn + n, self.simulations))
  if self.ranks then first, n = self.ranks.world:block(n) end
  first = self.drawn + first
  self.drawn = self.drawn + self.batch
  local epoch, place = first // self.simulations, first % self.simulations + 1
  if epoch > 0 and place + n - 1 <= self.simulations then -- within one epoch
    local order = self.order_of(epoch)
    return core.pick(self.z, order, place, n), core.pick(self.x, order, place, n)
  end
  for s = 1, n do rows[s] = row_at(self, first + s - 1) end
  return rows_of(self.z, rows), rows_of(self.x, rows)
end

--- The first samples (at most all of them), without consuming them. They are kept: each is simulated once.
function Pool:peek(n, watch)
  n = math.min(n, self.simulations)
  local total = self.source.total
  self.source.total = n -- workers prefetch nothing beyond them
  fill(self, n, watch)
  self.source.total = total
  return core.slice(self.z, 1, 1, n), core.slice(self.x, 1, 1, n)
end

--- The held-out samples, at most n of them.
-- @tparam integer n
-- @tparam ?function watch as of peek
-- @treturn tensor z
-- @treturn tensor x
function Pool:held_out_samples(n, watch)
  return self.source:after(self.simulations, math.min(n, self.held), watch)
end

function Pool:counts() return self.source:counts() end
function Pool:state() return { drawn = self.drawn } end

--- Restores a state: earlier samples are made again, or come from the source's cache.
function Pool:restore(state) self.drawn = math.tointeger(state.drawn) end

function Pool:close() self.source:close() end
Pool.__close = Pool.close

return pool
