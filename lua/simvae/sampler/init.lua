--- Batches from a simulator.
--
-- A sampler returns batches of (z, x). Sample i of a seed is the same for any number of workers, batch size and
-- restart: its random numbers come from streams determined by the seed and the index (simvae.simulator.streams); a
-- failed sample is replaced by one of other streams. The state of a sampler is the number of samples it has returned.
--
--     local s = sv.sampler.new { simulator = sim, batch = 64, seed = 1, workers = 2, cache = "samples.bin",
--       failures = "failures.csv" }
--     local z, x = s:next()                          -- (64, K), (64, …output)
--     s:close()
--
-- Workers are processes that prefetch samples while the caller uses the last batch; of a simulator in C, threads that
-- have nothing else to do draw the next batch. Samples in the cache are not run again. A cache is also a data set:
--
--     local s = sv.sampler.new { simulator = sim, cache = "samples.bin", offline = true, held_out = 0.1 }
--
-- For a slow simulator, a fixed number of simulations is used in epochs:
--
--     local s = sv.sampler.new { simulator = sim, workers = 2, simulations = 100000 }
local cache = require "simvae.sampler.cache"
local check = require "simvae.util.check"
local core = require "simvae.core"
local division = require "simvae.sampler.division"
local worker_pool = require "simvae.sampler.workers"
local interrupt = require "simvae.util.interrupt"
local failures = require "simvae.sampler.failures"
local offline = require "simvae.sampler.offline"
local budget = require "simvae.sampler.budget"
local prior = require "simvae.simulator.prior"
local running = require "simvae.simulator.running"
local noise = require "simvae.simulator.noise"
local simulator = require "simvae.simulator"
local ids = require "simvae.util.streams"
local streams = require "simvae.simulator.streams"

local Sampler = {}
local sampler = { replay = failures.replay }
Sampler.__index = Sampler

local FAR = ids.ATTEMPT // 2 -- samples before those that are held out of an unlimited number

--- Options shared by simulate, sampler.new and training.
local shared_options = {
  workers = { "integer", default = 0, min = 0, max = 256,
    doc = "processes that run the simulator beside the caller; they are forked when the sampler is made" },
  cache = { "string",
    doc = "path of a file of samples, which is created where it does not exist; samples in it are not run again" },
  max_failures = { "number", default = 0.2, min = 0, max = 1,
    doc = "share of samples on which the simulator may fail before that is an error" },
  timeout = { "number", above = 0,
    doc = "seconds for a sample, counted while a worker computes or waits; needs workers; default: no limit" },
  prefetch = { "integer", default = 2, min = 1, max = 64, doc = "batches that workers prefetch" },
  restart_after = { "integer", min = 1, doc = "samples after which a worker is replaced; default: never" },
  failures = { "string", doc = "path of a CSV file of failed samples (of model:train: failures.csv in its folder)" },
}
sampler.options = shared_options

local options = check.declare("sampler.new", {
  simulator = { "table", class = "Simulator", required = true, doc = "what is run" },
  batch = { "integer", default = 64, min = 1, doc = "samples that next returns" },
  seed = { "integer", default = 1, doc = "of the samples" },
  total = { "integer", min = 0,
    doc = "how many samples will be requested, where that is known: no more are prefetched" },
  simulations = { "integer", min = 1,
    doc = "how many times the simulator is run in total; after them come epochs over them, from memory; default: no "
      .. "limit" },
  offline = { "boolean", default = false, doc = "reads the cache alone, without the simulator" },
  held_out = { "number", min = 0, max = 1,
    doc = "share of the simulations, or of the cache's samples, that next never returns: held_out_samples does; "
      .. "default 0" },
  part = { "string", one_of = { "training", "held_out" },
    doc = "of a cache offline: which part next returns; default \"training\"" },
  shuffle = { "boolean", doc = "of a cache offline: whether each epoch has an order of its own; default true" },
  epochs = { "integer", min = 1, doc = "of a cache offline: after so many next returns nil; default: no limit" },
})
for name, rule in pairs(shared_options) do options[name] = rule end
options.cache = { "string|table", doc = shared_options.cache.doc .. "; or an object with the methods of one" }

-- ---- making ------------------------------------------------------------------------------------

local function start_workers(self)
  self.worker_pool = worker_pool.new {
    sim = self.simulator, seed = self.seed, workers = self.workers, timeout = self.timeout,
    restart_after = self.restart_after, slots = math.max((self.prefetch + 1) * self.batch, 4 * self.workers),
    taken = function(count) self.ahead = self.ahead + count end,
    number = function(place) return (division.number(self, place)) end,
    finished = function(sample, attempt, slot)
      local ring = self.worker_pool.ring
      self.log.done = self.log.done + 1
      self.ready[sample] = slot
      if self.cache then self.cache:add(sample, attempt, ring.z[slot], ring.x[slot]) end
    end,
    failed = function(sample, attempt, _, reason)
      -- a worker that died early may not have written its parameters
      local scope <close> = core.scope()
      local number = division.number(self, sample)
      local z = prior.draw(self.simulator, 1, self.seed, number, attempt)
      self.log:add(number, attempt, z[1]:totable(), reason)
      self.worker_pool:repeat_sample(sample, attempt + 1)
    end,
  }
end

-- A cache of another prior may have the same header: compares the first sample.
local function check_prior(self)
  local first = self.cache.order[1]
  if not first then return true end
  local scope <close> = core.scope()
  local z, x = core.zeros(#self.simulator.params), core.zeros(self.simulator.output)
  local attempt = self.cache:read(first, z, x)
  local now = prior.draw(self.simulator, 1, self.seed, first, attempt)[1]:totable()
  for i, v in ipairs(z:totable()) do
    if v ~= now[i] then
      return nil, string.format("%s: holds other samples: %s of sample %d was %g, and the prior draws %g now",
        self.cache.path, self.simulator.names[i], first, v, now[i])
    end
  end
  return true
end

local function open(self)
  if self.offline then return offline.open(self) end
  self.drawn, self.ahead, self.ready = 0, 0, {}
  self.log = failures.log(self.simulator, self.failures, self.max_failures, self.seed)
  if self.cache then
    local opened, why = self.cache, nil
    if type(opened) == "string" then opened, why = cache.open(self.cache, self.simulator, self.seed, true) end
    if not opened then return nil, why end
    self.cache = opened
    local same, differs = check_prior(self)
    if not same then
      opened:close()
      return nil, differs
    end
  end
  local held = self.simulations and math.floor((self.held_out or 0) * self.simulations + 0.5)
  if held then self.total = math.min(self.total or self.simulations, self.simulations - held) end
  if self.workers > 0 then start_workers(self) end
  return self.simulations and budget.new(self, self.simulations - held, held) or self
end

--- Raises for options that exclude each other.
-- @tparam string what the public function's name
-- @tparam table self as of sampler.new
-- @tparam ?integer level of its caller (3: called by the public function)
-- @raise options that exclude each other
-- @usage sv.sampler.check("train", { simulator = ring, workers = 0 })
function sampler.check(what, self, level)
  level = level or 3
  if type(self) ~= "table" then
    check.fail(level, "%s: takes a table of options; got %s", what, check.describe(self))
  end
  if not simulator.is(self.simulator) then
    check.fail(level, "%s: simulator must be made by sv.simulator", what)
  end
  self.simulator:check_precision(level + 1)
  if self.timeout and self.workers == 0 then
    check.fail(level, "%s: timeout needs workers = 1 or more: only another process can be stopped", what)
  end
  if self.offline and not self.cache then check.fail(level, "%s: offline needs cache = \"file\"", what) end
  if self.offline and self.simulations then
    check.fail(level, "%s: simulations has no use with offline: the simulator is not run", what)
  end
  for _, name in ipairs { "part", "shuffle", "epochs" } do
    if self[name] ~= nil and not self.offline then check.fail(level, "%s: %s needs offline = true", what, name) end
  end
  if self.held_out and not (self.offline or self.simulations) then
    check.fail(level, "%s: held_out needs offline = true or simulations", what)
  end
  if self.simulations and math.floor((self.held_out or 0) * self.simulations + 0.5) == self.simulations then
    check.fail(level, "%s: held_out = %g leaves none of the %d simulations for training", what, self.held_out,
      self.simulations)
  end
end

--- Makes a sampler.
-- @tparam table t options
-- @treturn Sampler, or nil and why the cache cannot be used (in use, of another simulator, prior or seed; damaged)
-- @raise unknown options, options that exclude each other
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, batch = 8, cache = "samples.bin" })
-- local zs, xs = s:next()
-- s:close()
-- print(zs.shape, xs.shape)
function sampler.new(t)
  local self = check.options("sampler", t, options)
  sampler.check("sampler", self)
  return open(setmetatable(self, Sampler))
end

-- ---- in this process ---------------------------------------------------------------------------

-- Replaces a failed sample: row s of z and x becomes the first draw that succeeds. Returns its attempt.
local function replace_row(self, sample, z, x, s, reason)
  local attempt = 0
  local shape = { 1, table.unpack(self.simulator.output) }
  while reason do
    self.log:add(sample, attempt, z[s]:totable(), reason)
    attempt = attempt + 1
    z[s]:copy(prior.draw(self.simulator, 1, self.seed, sample, attempt))
    local again = core.zeros(shape)
    reason = self.simulator:try(z[s]:reshape(1, #self.simulator.params), again,
      streams.simulation(self.seed, sample, attempt))[1]
    core.signals.check()
    x[s]:copy(again)
  end
  return attempt
end

-- Whether take draws here, in this process, and remembers nothing but the count.
local function is_plain(self)
  return not self.ranks and not self.worker_pool and not self.watch and not (self.cache and self.cache.count > 0)
end

-- Starts the batch after those drawn, where the simulator can be started, for the next call of next.
local function start_next(self)
  local sim, first, count = self.simulator, self.drawn + 1, self.batch
  local start = running.starter(sim)
  if not start or self.total and self.drawn + count > self.total or self.cache or not is_plain(self)
    or not prior.is_compiled(sim) then
    return
  end
  local drawing = start(prior.draw(sim, count, self.seed, first), count, table.unpack(sim.output))
  self.started = { drawing = drawing, first = first, count = count }
end

-- The samples that were started, if they are those wanted.
local function finish_started(self, first, count)
  local started = self.started
  if not started then return nil end
  self.started = nil
  local z, x = started.drawing:finish()
  if started.first ~= first or started.count ~= count or not x:finite() then return nil end
  self.log.done = self.log.done + count
  return z, x
end

-- Consecutive samples from `first` on.
local function run_here(self, first, count)
  local z = prior.draw(self.simulator, count, self.seed, first)
  local x = core.zeros { count, table.unpack(self.simulator.output) }
  local attempts, rows = {}, {}
  local failed = self.simulator:try(z, x, streams.simulation(self.seed, first))
  core.signals.check() -- the output of an interrupted simulator is not a sample
  for s in pairs(failed) do rows[#rows + 1] = s end
  table.sort(rows)
  self.log.done = self.log.done + count - #rows
  for _, s in ipairs(rows) do
    attempts[s] = replace_row(self, first + s - 1, z, x, s, failed[s])
    self.log.done = self.log.done + 1
  end
  if self.cache then
    for s = 1, count do self.cache:add(first + s - 1, attempts[s] or 0, z[s], x[s]) end
  end
  return z, x
end

-- ---- from the cache and from workers ---------------------------------------------------------------

local function in_cache(self, sample)
  return self.cache and not self.ready[sample] and self.cache:has(sample)
end

-- Number of consecutive samples from `first` to `last` that are not in the cache.
local function lacking(self, first, last)
  local n = 0
  if self.ranks then last = math.min(last, first + select(2, division.number(self, first)) - 1) end
  while first + n <= last and not in_cache(self, first + n) do n = n + 1 end
  return n
end

-- The next samples for workers, within the ring of slots that starts at the oldest sample not yet returned.
local function next_task(self, oldest)
  local last = oldest + self.worker_pool.slots - 1
  if self.total then last = math.min(last, math.max(division.place(self, self.total), self.wanted)) end
  return function(maximum)
    while self.ahead < last and self.cache and self.cache:has(self.ahead + 1) do self.ahead = self.ahead + 1 end
    local n = lacking(self, self.ahead + 1, math.min(last, self.ahead + maximum))
    if n > 0 then return self.ahead + 1, n end
  end
end

-- Fills z and x, whose first row is sample first, from the cache and from workers.
local function gather(self, first, z, x)
  local n = z.shape[1]
  local row = 1
  while row <= n do
    local sample = first + row - 1
    local slot = self.ready[sample]
    if slot then
      z[row]:copy(self.worker_pool.ring.z[slot])
      x[row]:copy(self.worker_pool.ring.x[slot])
      self.ready[sample] = nil
      row = row + 1
    elseif in_cache(self, sample) then
      self.cache:read(sample, z[row], x[row])
      row = row + 1
    elseif self.worker_pool then
      self.worker_pool:hand_out(next_task(self, sample))
      self.worker_pool:collect(1)
      if self.watch then self.watch(row - 1) end
    else
      local count = lacking(self, sample, self.watch and math.min(sample + 63, first + n - 1) or first + n - 1)
      local some_z, some_x = run_here(self, division.number(self, sample), count)
      for s = 1, count do
        z[row + s - 1]:copy(some_z[s])
        x[row + s - 1]:copy(some_x[s])
      end
      row = row + count
      if self.watch then self.watch(row - 1) end
    end
  end
  if self.worker_pool then
    self.worker_pool:collect(0)
    self.worker_pool:hand_out(next_task(self, first + n))
  end
end

-- Continues the log of failures of an interrupted run.
local function open_log(self)
  if self.log.opened then return end
  self.log.opened = true
  if self.cache and self.cache.continue then return self.cache:continue(self.log) end
  self.log:continue(function(i) return i <= self.drawn or self.cache and self.cache:has(i) end,
    math.max(self.drawn, self.cache and self.cache.count or 0))
end

local function take(self, count)
  open_log(self)
  local before = self.ranks and self.ranks.taken or self.drawn
  local first = before + 1
  self.wanted = before + count
  if is_plain(self) then
    local z, x = finish_started(self, first, count)
    if z then return z, x end
    return run_here(self, first, count)
  end
  local z = core.zeros(count, #self.simulator.params)
  local x = core.zeros { count, table.unpack(self.simulator.output) }
  self.ahead = math.max(self.ahead, before)
  gather(self, first, z, x)
  return z, x
end

-- Discards prefetched samples.
local function forget_ahead(self)
  if self.worker_pool and self.worker_pool:busy() then
    if self.ranks then -- MPI runs, and new workers would be forked beside it
      while self.worker_pool:busy() do self.worker_pool:collect(1) end
    else
      self.worker_pool:close()
      start_workers(self)
    end
  end
  self.ahead, self.ready = self.ranks and 0 or self.drawn, {}
  if self.ranks then self.ranks.batch = nil end
end

-- Divides the next samples, in batches, among MPI ranks.
local function divide(self, batch)
  local ranks = self.ranks
  if ranks.batch == batch then return end
  forget_ahead(self)
  division.start(ranks, self.drawn, batch)
end

-- n samples of all ranks, of which this one draws its part.
local function take_all(self, n)
  if not self.ranks then return take(self, n) end
  divide(self, n)
  local z, x = take(self, self.ranks.own)
  return self.ranks.world:rows(z, n), self.ranks.world:rows(x, n)
end

-- ---- methods -----------------------------------------------------------------------------------------

--- The next batch. Under a tape or scope it is released with it.
-- @treturn tensor z (batch, K), in units
-- @treturn tensor x (batch, …output)
-- @raise more failures of samples than max_failures allows: a table of reasons, and where in the prior they lie
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, batch = 8, seed = 1 })
-- local zs, xs = s:next()
-- print(zs.shape, xs.shape)
function Sampler:next()
  local ranks = self.ranks
  if ranks then divide(self, self.batch) end
  local z, x = take(self, ranks and ranks.own or self.batch)
  self.drawn = self.drawn + self.batch
  if ranks then ranks.taken = ranks.taken + ranks.own end
  start_next(self)
  return z, x
end

--- The first samples that next will return, without consuming them.
-- @tparam integer n
-- @tparam ?function watch called with the number of finished samples, at intervals
-- @treturn tensor z (n, K)
-- @treturn tensor x (n, …output)
-- @raise a number of samples below 0, a watch that is not a function
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, batch = 8 })
-- print(s:peek(2))
function Sampler:peek(n, watch)
  check.value("peek", "n", n, { "integer", min = 0 })
  if watch ~= nil then check.value("peek", "watch", watch, { "function" }) end
  local total = self.total
  self.total, self.watch = 0, watch -- prefetches nothing beyond them
  local z, x = take_all(self, n)
  self.total, self.watch = total, nil
  forget_ahead(self)
  return z, x
end

--- n samples after a number of others, without consuming them.
-- @tparam integer before
-- @tparam integer n
-- @tparam ?function watch as of peek
-- @treturn tensor z (n, K)
-- @treturn tensor x (n, …output)
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, batch = 8 })
-- local zs = s:after(100, 4)
-- print(zs.shape)
function Sampler:after(before, n, watch)
  open_log(self)
  local drawn = self.drawn
  self:restore { drawn = before }
  local z, x = self:peek(n, watch)
  self:restore { drawn = drawn }
  return z, x
end

--- Held-out samples: n that `next` does not reach.
-- @tparam integer n
-- @tparam ?function watch as of peek
-- @treturn tensor z (n, K)
-- @treturn tensor x (n, …output)
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, simulations = 100, held_out = 0.2 })
-- print(s:held_out_samples(20).shape)
function Sampler:held_out_samples(n, watch)
  return self:after(FAR, n, watch)
end

--- How many samples failed so far, and how many were tried.
-- @treturn integer failed
-- @treturn integer tried
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, batch = 8 })
-- s:next()
-- print(s:counts())
function Sampler:counts()
  return self.log.failed, self.log.done + self.log.failed
end

--- State for a checkpoint.
-- @treturn table what restore takes
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, batch = 8 })
-- s:next()
-- print(s:state())
function Sampler:state()
  return { drawn = self.drawn }
end

--- Restores a state.
-- @tparam table state what state() of a sampler of the same options gave
-- @raise a state of another kind
-- @usage
-- local s = assert(sv.sampler.new { simulator = ring, batch = 8 })
-- s:restore(s:state())
function Sampler:restore(state)
  if type(state) ~= "table" or not math.tointeger(state.drawn) then
    check.fail(2, "restore: takes what state() gave; got %s", check.describe(state))
  end
  self.drawn = math.tointeger(state.drawn)
  forget_ahead(self)
end

--- Ends the workers, closes the cache.
-- @usage sv.sampler.new({ simulator = ring }):close()
function Sampler:close()
  if self.started then self.started.drawing:finish() end
  self.started = nil
  if self.worker_pool then self.worker_pool:close() end
  self.worker_pool, self.workers = nil, 0
  if self.cache then self.cache:close() end
  self.log:close()
end
Sampler.__close = Sampler.close

local function draw_all(self, n, rng, measured, given, watch)
  local first
  self.seed, first = rng:samples(n)
  local made <close>, why = open(setmetatable(self, Sampler))
  if not made then return nil, why end
  made.total, made.drawn, made.watch = 0, first, watch
  local z, x = take(made, n)
  local levels
  if measured then x, levels = noise.of_samples(made.simulator, z, x, self.seed, first + 1, given) end
  return z, x, made.log.failed, levels
end

local simulate_options = check.declare("simulate", {
  noise = { "boolean|number|table|tensor", default = true,
    doc = "adds the simulator's noise of a measurement; of a simulator with a range of levels also the level, a number "
      .. "or one for each sample" },
  watch = { "function", doc = "called with the number of finished samples, at intervals" },
})
for name, rule in pairs(shared_options) do simulate_options[name] = rule end

--- Draws n samples, in the order of rng's: z (n, K) in units, x (n, …output) as measured, with the simulator's noise.
-- @tparam Simulator sim
-- @tparam integer n
-- @tparam ?rng rng sv.rng(seed); n samples of it are consumed (default: sv.rng(1); within another simulator's simulate,
-- that sample's own)
-- @tparam ?table t options
-- @treturn tensor z
-- @treturn tensor x
-- @treturn integer how many draws failed and were replaced; or nil and why the cache cannot be used
-- @treturn ?tensor the levels of the noise (n,), of a simulator with a range of them
-- @raise more failures than max_failures allows
-- @raise a value that is not a simulator, a number of samples below 0
-- @usage
-- local parameters, images = sv.simulate(ring, 4, sv.rng(7))
-- print(parameters)
-- print(images.shape)
function sampler.simulate(sim, n, rng, t)
  if not simulator.is(sim) then check.fail(2, "simulate: takes a simulator (sv.simulator{…}) first") end
  check.value("simulate", "n", n, { "integer", min = 0 })
  n = math.tointeger(n)
  local self = check.options("simulate", t, simulate_options)
  local measured, given = self.noise ~= false, nil
  if measured and self.noise ~= true then given = noise.levels("simulate", sim, self.noise, n, 2) end
  local watch = self.watch
  self.noise, self.watch, self.simulator = nil, nil, sim
  sampler.check("simulate", self)
  if rng ~= nil then check.value("simulate", "rng", rng, { "rng" }) end
  rng = rng or core.sample_rng() or core.rng(1)
  self.batch = math.max(n, 1)
  if self.workers > 0 then self.batch = math.min(self.batch, 64) end -- limits the ring's memory
  return interrupt.during("simulate: interrupted", draw_all, self, n, rng, measured, given, watch)
end

function Sampler:__tostring()
  return string.format("sampler of %s: %d samples a batch, %d drawn", self.simulator.name, self.batch, self.drawn)
end

local members = { "ranks", "worker_pool", "log", "rng", "drawn", "ahead", "ready", "wanted", "watch", "started" }
for name in pairs(options) do members[#members + 1] = name end
require("simvae.util.names").class(Sampler, "sampler", members)

return sampler
