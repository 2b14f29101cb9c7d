--- The random streams of a sample: functions of the seed and the sample's index, in any process and order.
--
-- Each sample, and each attempt (a later one replaces one that failed), has a stream for its parameters and
-- one for its output (simvae.util.streams).
-- math.random within prior and simulate has its own sequence for each stream (csrc/engine/rng_call.c).
local core = require "simvae.core"
local ids = require "simvae.util.streams"

local streams = {}
local Streams = {}
Streams.__index = Streams

--- The stream that the parameters of a sample are drawn from.
-- @tparam integer sample from 1
-- @tparam integer attempt from 0
function streams.prior(sample, attempt)
  return sample + attempt * ids.ATTEMPT
end

--- The streams that consecutive samples are simulated with; `first` is that of row 1, and the next rows' follow it.
-- @tparam integer seed
-- @tparam integer sample the first one's number, from 1
-- @tparam ?integer attempt (0)
function streams.simulation(seed, sample, attempt)
  return setmetatable({ seed = seed, first = ids.SIMULATION + streams.prior(sample, attempt or 0) }, Streams)
end

--- A generator at the start of row s.
-- @tparam integer s from 1
function Streams:rng(s)
  return core.rng(self.seed, self.first + s - 1)
end

--- The streams from row s on.
function Streams:from(s)
  return setmetatable({ seed = self.seed, first = self.first + s - 1 }, Streams)
end

--- What a batch function gets: a list of n generators, each made when it is asked for.
function Streams:list(n)
  return setmetatable({}, {
    __len = function() return n end,
    __index = function(list, s)
      if math.type(s) ~= "integer" or s < 1 or s > n + 1 then
        error(string.format("there are generators 1 to %d, one for each row of z; got %s", n, tostring(s)), 2)
      end
      if s > n then return nil end -- ends ipairs
      local rng = self:rng(s)
      rawset(list, s, rng)
      return rng
    end,
  })
end

return streams
