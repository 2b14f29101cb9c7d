--- Time that a worker has spent on a sample, excluding time in which it could not run.
--
-- Processor time counts, and time in which it sleeps (a sleep, a file, a program). Time in which it is stopped
-- (SIGSTOP), runnable but without a processor, or its owner, which observes it, was suspended, does not count. Without
-- /proc, the time between observations counts.
local core = require "simvae.core"

local own_time = {}

--- Starts at zero.
-- @tparam userdata process the worker
-- @treturn table seconds: counted time; stopped: time for which it has been stopped
function own_time.start(process)
  local state, cpu = process:activity()
  return { process = process, seconds = 0, stopped = 0, last = core.system.clock(), cpu = cpu, state = state }
end

--- Adds the time since the last observation.
-- @tparam table t of start
-- @tparam number max seconds that one observation may add beyond processor time: about the interval of observations
function own_time.observe(t, max)
  local now = core.system.clock()
  local state, cpu = t.process:activity()
  local passed = now - t.last
  local used = cpu and t.cpu and math.min(cpu - t.cpu, passed) or 0
  local stopped = state == "T" or state == "t"
  local waited = not stopped and state ~= "R" and t.state ~= "T" and t.state ~= "t"
  t.seconds = t.seconds + (waited and math.max(used, math.min(passed, max)) or used)
  -- a debugger may stop it for any time
  t.stopped = state == "T" and t.state == "T" and t.stopped + math.min(passed, max) or 0
  t.last, t.cpu, t.state = now, cpu, state
end

return own_time
