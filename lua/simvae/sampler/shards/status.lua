--- How far the shards in a folder are.
local check = require "simvae.util.check"
local core = require "simvae.core"
local failures = require "simvae.sampler.failures"
local files = require "simvae.sampler.shards.files"
local record = require "simvae.sampler.shards.record"
local survey = require "simvae.sampler.shards.survey"

local options = check.declare("shards.status", {
  seconds = { "number", min = 0, default = 0,
    doc = "for which the folder is observed to measure the rate; 0: by what the processes recorded" },
})

-- Does a process of this machine's record still run? true where that is unknown.
local function is_there(r)
  return r.host ~= record.host() or core.system.kind "/proc/self" == nil
    or core.system.kind("/proc/" .. r.pid) ~= nil
end

-- What is known of one shard.
local function shard_status(about, list, shard)
  local set = about.set
  local first, last = files.range(set.total, shard, set.of)
  local s = { shard = shard, first = first, last = last, total = last - first + 1, done = 0, state = "not begun" }
  local newest, complete = nil, false
  for _, one in ipairs(list) do
    s.done = s.done + one.count
    local r = record.read(one.path)
    if r then
      complete = complete or r.state == "done"
      if not newest or r.process > newest.process then newest = r end
    end
  end
  s.done = math.min(s.done, s.total)
  if complete then
    s.state = "done"
  elseif newest then
    s.state, s.host, s.pid, s.reason = newest.state, newest.host, newest.pid, newest.reason
    if s.state == "running" and not is_there(newest) then s.state = "killed" end
    s.rate = s.state == "running" and newest.seconds > 0 and newest.drawn / newest.seconds or nil
  elseif #list > 0 then
    s.state = "killed"
  end
  return s
end

-- Sums over shards.
local function sums(shards)
  local done, rate, states = 0, 0, {}
  for _, s in ipairs(shards) do
    done, rate = done + s.done, rate + (s.rate or 0)
    states[s.state] = (states[s.state] or 0) + 1
  end
  return done, rate, states
end

-- The failed draws of all processes, each once, as a log of them.
local function read_failures(about, shards)
  local names = {}
  for i, p in ipairs(about.params) do names[i] = p.name end
  local log = failures.log({ name = about.simulator, params = about.params, names = names }, nil, 1, about.seed)
  for _, list in ipairs(shards) do
    for _, one in ipairs(list) do
      local path = one.path .. ".failures.csv"
      if core.system.kind(path) == "file" then
        local ok, why = log:read(path)
        if not ok then return nil, why end
      end
    end
  end
  return log
end

local function look(folder)
  local about, lists = survey(folder, true)
  if not about then return nil, lists end
  local shards = {}
  for shard, list in ipairs(lists) do shards[shard] = shard_status(about, list, shard) end
  return shards, about, lists
end

--- How far the shards in a folder are, and what failed. No time of a file or of another machine's clock is used.
-- @tparam string folder
-- @tparam ?table t options
-- @treturn table simulator (its name), seed, total, of, version, source; done (samples, by the sizes of the files),
-- rate (samples a second of the running processes), left (seconds at this rate; nil: unknown), states (state -> number
-- of shards), shards: of each shard, first, last, total, done, state ("not begun", "running", "done", "interrupted",
-- "failed", "killed": its process is no longer on this machine), rate, host, pid, reason; failed (draws), failures (a
-- table of the reasons and where in the prior they lie, as text); or nil, message
-- @raise unknown options
-- @usage
-- assert(sv.shards.draw { simulator = ring, total = 10, shard = 1, of = 2, out = "half" })
-- local s = assert(sv.shards.status "half")
-- print(s.done, s.shards[1].state, s.shards[2].state)
return function(folder, t)
  check.value("shards.status", "folder", folder, { "string" })
  local o = check.options("shards.status", t, options)
  local shards, about, lists = look(folder)
  if not shards then return nil, about end
  local observed
  if o.seconds > 0 then
    local started, before = core.system.clock(), sums(shards)
    core.system.sleep(o.seconds)
    shards, about, lists = look(folder)
    if not shards then return nil, about end
    observed = (sums(shards) - before) / (core.system.clock() - started)
  end
  local done, rate, states = sums(shards)
  rate = observed or rate
  local log, why = read_failures(about, lists)
  if not log then return nil, why end
  local set = about.set
  return { simulator = about.simulator, seed = about.seed, total = set.total, of = set.of, version = set.version,
    source = set.source, done = done, rate = rate, left = rate > 0 and (set.total - done) / rate or nil,
    states = states, shards = shards, failed = log.failed, failures = log:table() }
end
