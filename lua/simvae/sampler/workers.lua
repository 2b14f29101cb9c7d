--- Worker pool: forked processes that run the simulator in the background.
--
-- Samples lie in shared memory, a ring of slots: sample n in slot n modulo the ring's size. The owner
-- sends tasks (ranges of samples); a worker fills their slots and replies once per task. Before each sample it writes
-- the sample's index to shared memory, so that the owner knows the sample at which a worker died or exceeded the time
-- limit (own_time.lua).
--
-- If a worker crashes or exits, its sample has failed. If it is killed or stopped from outside, its sample is run again
-- with the same random numbers, up to 3 times, since a sample that exhausts memory is killed each time.
--
-- Workers have one thread, ignore SIGINT, and end with their owner.
local core = require "simvae.core"

local own_time = require "simvae.sampler.own_time"
local prior = require "simvae.simulator.prior"
local running = require "simvae.simulator.running"
local streams = require "simvae.simulator.streams"

local worker_pool = {}
local WorkerPool = {}
WorkerPool.__index = WorkerPool

local task_seconds = 2e-3 -- intended duration of a task, far longer than a message takes
local max_tasks = 64      -- sent to a worker and not answered
local max_deaths = 20     -- consecutive, without a sample between
local max_kills = 3       -- of workers at the same sample
local stopped_seconds = 2 -- a worker that is stopped for longer is replaced
local poll_seconds = 0.5  -- maximum interval between checks of the workers
local task_format = "<i8i8i4i4"

-- ---- in a worker ----------------------------------------------------------------------------

-- Runs a task; returns its answer: seconds, then row and reason of each sample that failed.
local function run_task(ring, w, message)
  local scope <close> = core.scope()
  local sim, started = ring.sim, core.system.clock()
  local sample, attempt, slot, count = string.unpack(task_format, message)
  local answer = {}
  ring.at:set(1, w)
  local z = prior.draw(sim, count, ring.seed, sample, attempt)
  local source = streams.simulation(ring.seed, sample, attempt)
  for s = 1, count do ring.z[slot + s - 1]:copy(z[s]) end
  if sim.simulate then
    local rows = z:totable()
    for s = 1, count do
      ring.at:set(s, w)
      local ok, why = running.row(sim, rows[s], ring.x, slot + s - 1, source:rng(s))
      if not ok then answer[#answer + 1] = string.pack("<i4s4", s, why) end
    end
  else
    local x = core.zeros { count, table.unpack(sim.output) }
    for s, why in pairs(sim:try(z, x, source)) do answer[#answer + 1] = string.pack("<i4s4", s, why) end
    for s = 1, count do ring.x[slot + s - 1]:copy(x[s]) end
  end
  ring.at:set(0, w)
  return string.pack("<d", core.system.clock() - started) .. table.concat(answer)
end

local function serve(link, ring, w)
  core.threads(1)
  while true do
    local message = link:receive()
    if not message or not link:send(run_task(ring, w, message)) then return end
  end
end

-- ---- its owner ----------------------------------------------------------------------------------

--- Forks the workers.
-- @tparam table t number: function (sample) -> its number among those that are drawn; sim, seed, workers, slots,
-- timeout (seconds a sample, or nil), restart_after (samples, or nil); finished: called with (sample, attempt, slot) of
-- each that went well, failed: with (sample, attempt, slot, reason)
function worker_pool.new(t)
  local self = setmetatable(t, WorkerPool)
  self.ring = {
    sim = t.sim, seed = t.seed, x = core.shared { t.slots, table.unpack(t.sim.output) },
    z = core.shared(t.slots, #t.sim.params), at = core.shared(t.workers),
  }
  self.again, self.deaths, self.kills, self.mean = {}, 0, {}, task_seconds
  self.look = math.min(poll_seconds, t.timeout and t.timeout / 10 or poll_seconds)
  self.looked = core.system.clock()
  self.worker = {}
  for w = 1, t.workers do
    self.worker[w] = { number = w, first = 1, last = 0, tasks = {}, waiting = 0 }
    self:start(self.worker[w])
  end
  return self
end

function WorkerPool:start(worker)
  self.ring.at:set(0, worker.number)
  local process, why = core.process.fork(serve, self.ring, worker.number)
  if not process then error(why, 0) end
  worker.process, worker.runs, worker.time = process, 0, nil
end

--- The slot of a sample.
function WorkerPool:slot(sample)
  return (sample - 1) % self.slots + 1
end

function WorkerPool:send(worker, task)
  worker.last = worker.last + 1
  worker.tasks[worker.last] = task
  worker.waiting = worker.waiting + task.count
  -- a dead worker is detected when its replies are awaited
  worker.process:send(string.pack(task_format, self.number(task.sample), task.attempt, self:slot(task.sample),
    task.count))
end

function WorkerPool:idlest()
  local best
  for _, worker in ipairs(self.worker) do
    local free = worker.last - worker.first + 1 < max_tasks
      and not (self.restart_after and worker.runs + worker.waiting >= self.restart_after)
    if free and (not best or worker.waiting < best.waiting) then best = worker end
  end
  return best
end

--- Sends tasks: failed samples first, then new ones.
-- @tparam function new (max) -> the next sample and the number of consecutive ones from it on, up to max; or nil
function WorkerPool:hand_out(new)
  local longest = math.max(1, math.min(math.floor(task_seconds / self.mean), self.slots // (4 * self.workers)))
  while true do
    local worker = self:idlest()
    if not worker then return end
    local task = table.remove(self.again)
    if not task then
      local sample, count = new(math.min(longest, self.restart_after or longest))
      if not sample then return end
      count = math.min(count, self.slots - self:slot(sample) + 1)
      self.taken(count)
      task = { sample = sample, attempt = 0, count = count }
    end
    self:send(worker, task)
  end
end

--- Runs a sample once more: another attempt.
function WorkerPool:repeat_sample(sample, attempt)
  table.insert(self.again, { sample = sample, attempt = attempt, count = 1 })
end

local function take_first(worker)
  local task = worker.tasks[worker.first]
  worker.tasks[worker.first] = nil
  worker.first = worker.first + 1
  worker.waiting = worker.waiting - task.count
  return task
end

function WorkerPool:answered(worker, answer)
  local task = take_first(worker)
  local seconds, position = string.unpack("<d", answer)
  self.deaths = 0
  if next(self.kills) then
    for s = 1, task.count do self.kills[task.sample + s - 1] = nil end
  end
  worker.runs = worker.runs + task.count
  self.mean = self.mean + 0.2 * (seconds / task.count - self.mean)
  local bad = {}
  while position <= #answer do
    local s, why
    s, why, position = string.unpack("<i4s4", answer, position)
    bad[s] = why
  end
  for s = 1, task.count do
    local sample = task.sample + s - 1
    if not bad[s] then self.finished(sample, task.attempt, self:slot(sample)) end
  end
  for s = 1, task.count do
    local sample = task.sample + s - 1
    if bad[s] then self.failed(sample, task.attempt, self:slot(sample), bad[s]) end
  end
  if self.restart_after and worker.runs >= self.restart_after and worker.waiting == 0 then
    worker.process:close()
    self:start(worker)
  end
end

-- Was a sample's worker killed from outside too often for chance?
function WorkerPool:killed(sample)
  local count = (self.kills[sample] or 0) + 1
  self.kills[sample] = count < max_kills and count or nil
  return count >= max_kills
end

-- Replaces a worker that has died or must end: its current sample failed for the reason given, or is run again if the
-- cause was outside; its other samples are run again.
function WorkerPool:replace(worker, reason, machine)
  local at = math.tointeger(self.ring.at:get(worker.number))
  worker.process:close()
  local blamed = at > 0 and worker.first <= worker.last and take_first(worker)
  while worker.last >= worker.first do -- in reverse order, since they are taken from the end of the list
    local task = worker.tasks[worker.last]
    worker.tasks[worker.last] = nil
    worker.last, worker.waiting = worker.last - 1, worker.waiting - task.count
    for s = task.count, 1, -1 do self:repeat_sample(task.sample + s - 1, task.attempt) end
  end
  self.deaths = self.deaths + 1
  if self.deaths > max_deaths then
    error(string.format("simulator '%s': workers end before they have run a sample: %s", self.sim.name, reason), 0)
  end
  self:start(worker)
  if not blamed then return end
  local one = self.sim.simulate or blamed.count == 1 -- else the sample is unknown
  local sample = blamed.sample + at - 1
  local failed = one
  if one and machine then
    failed = self:killed(sample)
    reason = string.format("%s, %d times at this sample (out of memory?)", reason, max_kills)
  end
  for s = blamed.count, 1, -1 do
    if not (failed and s == at) then self:repeat_sample(blamed.sample + s - 1, blamed.attempt) end
  end
  if one then self.deaths = 0 end
  if failed then self.failed(sample, blamed.attempt, self:slot(sample), reason) end
end

-- Signals caused by the process itself; others come from outside.
local own_signals = {}
for name in ("SEGV BUS FPE ILL ABRT TRAP SYS PIPE ALRM"):gmatch "%a+" do own_signals["SIG" .. name] = true end

-- Why a worker ended, and whether the cause was outside.
local function ending(worker)
  local kind, what = worker.process:wait(1)
  if kind == "signal" then return "its worker died by " .. what, not own_signals[what] end
  return kind and string.format("its worker ended (exit code %d)", what) or "its worker closed its connection"
end

-- Is a worker stopped, or at the same sample for too long?
function WorkerPool:watch(worker)
  if worker.first > worker.last then
    worker.time = nil
    return
  end
  local at, time = self.ring.at:get(worker.number), worker.time
  if not time or worker.seen ~= worker.first or worker.seen_at ~= at then
    local stopped = time and time.stopped or 0
    worker.seen, worker.seen_at, worker.time = worker.first, at, own_time.start(worker.process)
    worker.time.stopped = stopped
    return
  end
  own_time.observe(time, 2 * self.look)
  if time.stopped >= stopped_seconds then
    return self:replace(worker, "its worker was stopped by SIGSTOP", true)
  end
  if not self.timeout then return end
  local allowed = self.timeout * (self.sim.simulate and 1 or worker.tasks[worker.first].count)
  if at > 0 and time.seconds > allowed then
    self:replace(worker, string.format("took longer than %g s (timeout)", self.timeout))
  end
end

--- Receives replies.
-- @tparam number seconds waits for the first one at most so long
function WorkerPool:collect(seconds)
  local list = {}
  for w, worker in ipairs(self.worker) do list[w] = worker.process end
  local ready = core.process.poll(list, math.min(seconds, self.look))
  for _, w in ipairs(ready) do
    local worker = self.worker[w]
    while true do
      local answer, why = worker.process:receive(0)
      if answer then
        self:answered(worker, answer)
      elseif why == "timeout" or why == "interrupted" then
        break
      elseif why == "closed" then
        self:replace(worker, ending(worker))
        break
      else
        error(why, 0) -- the prior raised, which no other draw can avoid
      end
    end
  end
  if core.system.clock() - self.looked >= self.look / 2 then
    for _, worker in ipairs(self.worker) do self:watch(worker) end
    self.looked = core.system.clock()
  end
end

--- Are any tasks pending?
function WorkerPool:busy()
  if #self.again > 0 then return true end
  for _, worker in ipairs(self.worker) do
    if worker.waiting > 0 then return true end
  end
  return false
end

--- Ends the workers.
function WorkerPool:close()
  for _, worker in ipairs(self.worker) do worker.process:close() end
end

return worker_pool
