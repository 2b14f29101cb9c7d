--- A cache as a data set: epochs over its samples, without the simulator.
local cache = require "simvae.sampler.cache"
local core = require "simvae.core"
local epochs = require "simvae.sampler.epochs"
local streams = require "simvae.util.streams"

local offline = {}
local Offline = {}
Offline.__index = Offline

--- Opens the cache of a sampler's options (simvae.sampler) and splits off the held-out samples. Whether sample i
-- is held out depends on i alone, so that the split is stable while a cache grows.
-- @treturn Sampler with next, peek, held_out_samples, state, restore, counts, close; or nil and why not
function offline.open(self)
  local opened, why = cache.open(self.cache, self.simulator, nil, false)
  if not opened then return nil, why end
  local path, rng = self.cache, streams.held_out()
  local share, wants_held = self.held_out or 0, self.part == "held_out"
  self.opened, self.samples, self.others, self.drawn = opened, {}, {}, 0
  for _, i in ipairs(opened.order) do
    local list = (rng:at(i):uniform() < share) == wants_held and self.samples or self.others
    list[#list + 1] = i
  end
  table.sort(self.samples)
  table.sort(self.others)
  self.held = #(wants_held and self.samples or self.others)
  if #self.samples == 0 then
    opened:close()
    return nil, string.format("%s: holds %d samples, none of them %s", path, opened.count,
      wants_held and "held out" or "for training")
  end
  self.shuffled = epochs(self.seed, #self.samples)
  return setmetatable(self, Offline)
end

-- The sample at position k (from 0) of all epochs. Each has its own order, a function of the seed.
local function sample_at(self, k)
  local epoch, place = k // #self.samples, k % #self.samples + 1
  if self.shuffle == false then return self.samples[place] end
  return self.samples[self.shuffled(epoch, place)]
end

-- n samples; number(s) is the index of the s-th.
local function read(self, n, number)
  local z = core.zeros(n, #self.simulator.params)
  local x = core.zeros { n, table.unpack(self.simulator.output) }
  for s = 1, n do self.opened:read(number(s), z[s], x[s]) end
  return z, x
end

local function read_next(self, n)
  return read(self, n, function(s) return sample_at(self, self.drawn + s - 1) end)
end

--- The next batch; the last one of the last epoch may be smaller; after it, nil.
function Offline:next()
  local n = self.batch
  if self.epochs then n = math.min(n, self.epochs * #self.samples - self.drawn) end
  if n == 0 then return nil end
  local first, own = 0, n
  if self.ranks then first, own = self.ranks.world:block(n) end
  local z, x = read(self, own, function(s) return sample_at(self, self.drawn + first + s - 1) end)
  self.drawn = self.drawn + n
  return z, x
end

--- The first samples that next will return (at most an epoch of them), without consuming them.
function Offline:peek(n)
  return read_next(self, math.min(n, #self.samples))
end

--- The held-out samples of part "training", at most n of them.
function Offline:held_out_samples(n)
  local list = self.others
  return read(self, math.min(n, #list), function(s) return list[s] end)
end

function Offline:counts() return 0, self.drawn end
function Offline:state() return { drawn = self.drawn } end
function Offline:restore(state) self.drawn = math.tointeger(state.drawn) end
function Offline:close() self.opened:close() end
Offline.__close = Offline.close

return offline
