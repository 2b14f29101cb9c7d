--- Simulations in parts, of which later ones depend on what was learned from earlier ones (simvae.train.rounds,
-- simvae.train.choose). Sample i of a run's seed is the same in any number of parts and workers, given its parameters.
--
-- With `out`, part N has a folder out/NAME_N, with its simulations in samples.bin there, and the training after it is
-- a run of its own in that folder: the same call goes on from where it was interrupted.
local core = require "simvae.core"
local budget = require "simvae.sampler.budget"
local interrupt = require "simvae.util.interrupt"
local progress = require "simvae.train.progress"
local sampler = require "simvae.sampler"

local AT_ONCE = 64 -- simulations between two updates of the progress bar

local Parts = {}
Parts.__index = Parts
local parts = {}

--- @tparam table run options of train, with simulations
-- @tparam string name of a part, in messages and of its folder
-- @tparam {integer,...} counts simulations of each part
-- @tparam ?boolean newest_first the order of the parts' rows
-- @treturn Parts with z (n, K) and x (n, …output), those so far; done, how many parts
function parts.new(run, name, counts, newest_first)
  return setmetatable({ run = run, name = name, counts = counts, newest_first = newest_first, done = 0, before = 0 },
    Parts)
end

--- The number of the next part's first sample.
function Parts:first()
  return self.before + 1
end

local function folder_of(self, part)
  return self.run.out and string.format("%s/%s_%d", self.run.out, self.name, part)
end

local function sampler_of(self, sim, part, count)
  local run, folder = self.run, folder_of(self, part)
  if folder then
    local ok, why = core.system.mkdir(folder)
    if not ok then error("train: out cannot be made: " .. why, 0) end
  end
  local o = { simulator = sim, seed = run.seed, batch = math.min(AT_ONCE, count), total = self.before + count }
  for name in pairs(sampler.options) do o[name] = run[name] end
  if run.cache and part > 1 then o.cache = string.format("%s.%s_%d", run.cache, self.name, part) end
  o.cache = o.cache or folder and folder .. "/samples.bin"
  o.failures = o.failures or folder and folder .. "/failures.csv"
  local made, why = sampler.new(o)
  if not made then error("train: " .. why, 0) end
  made:restore { drawn = self.before }
  return made
end

-- Runs a part: z and x.
local function simulate(self, sim, part, count)
  local source <close> = sampler_of(self, sim, part, count)
  local z = core.buffer(core.zeros(count, #sim.params))
  local x = core.buffer(core.zeros { count, table.unpack(sim.output) })
  local bar <close> = progress.new { title = string.format("%s %d: simulations", self.name, part), total = count,
    quiet = self.run.quiet }
  local done = 0
  while done < count do
    local scope <close> = core.scope()
    source.batch = math.min(source.batch, count - done)
    local some_z, some_x = source:next()
    for s = 1, source.batch do
      z[done + s]:copy(some_z[s])
      x[done + s]:copy(some_x[s])
    end
    done = done + source.batch
    local failed = source:counts()
    bar:update(done, failed > 0 and failed .. " failed" or "")
  end
  bar:finish(string.format("%d simulations", count))
  return z, x
end

local function joined(self, new, old)
  if not old then return new end
  return core.buffer(core.concat(self.newest_first and { new, old } or { old, new }, 1))
end

--- Runs the next part.
-- @tparam Simulator sim with the parameters of the part as its prior
-- @treturn tensor z (n, K) of the part
-- @treturn tensor x (n, …output)
function Parts:simulate(sim)
  local part = self.done + 1
  local count = self.counts[part]
  local z, x = interrupt.during("train: interrupted", simulate, self, sim, part, count)
  self.done, self.before = part, self.before + count
  self.z, self.x = joined(self, z, self.z), joined(self, x, self.x)
  return z, x
end

--- The options of a training on the parts so far: those of the caller but for what parts are made by.
-- @tparam table given
-- @tparam table own names of options that are the caller's alone
-- @treturn table
function Parts:options(given, own)
  local o = {}
  for k, v in pairs(given) do
    if not own[k] and not sampler.options[k] then o[k] = v end
  end
  o.simulations, o.out = nil, folder_of(self, self.done)
  return o
end

--- What such a training is given beside its options: source, a function { seed, batch, held_out, among } -> Sampler of
-- the simulations so far; simulated, of how many of them some are held out; about: what a checkpoint's configuration
-- says of the part.
-- @tparam Simulator sim
-- @tparam table about
-- @tparam integer simulated held-out samples are taken from so many of the first rows
-- @treturn table
function Parts:extras(sim, about, simulated)
  about.part, about.of, about.simulations = self.done, #self.counts, self.run.simulations
  return { simulated = simulated, about = about, source = function(o) return budget.of(sim, self.z, self.x, o) end }
end

return parts
