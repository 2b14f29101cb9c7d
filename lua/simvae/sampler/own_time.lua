--- How long a worker has been at a sample, by the worker's own time.
--
-- Time counts while it computes (its processor time) and while it waits for something, such as a sleep, a file or a
-- program. It does not count while it is stopped (SIGSTOP), while it waits for a processor that others use, or while
-- its owner, which observes it, was suspended. Where the system does not tell what a process does (no /proc), the
-- time between observations counts.
local core = require "simvae.core"

local own_time = {}

--- Starts at zero.
-- @tparam userdata process the worker
-- @treturn table seconds: of its own time; stopped: for how long it has been seen stopped
function own_time.start(process)
  local state, cpu = process:activity()
  return { process = process, seconds = 0, stopped = 0, last = core.system.clock(), cpu = cpu, state = state }
end

--- Adds the time since the last observation.
-- @tparam table t of start
-- @tparam number most seconds that one observation can add beyond its processor time: about those until the next one
function own_time.observe(t, most)
  local now = core.system.clock()
  local state, cpu = t.process:activity()
  local passed = now - t.last
  local used = cpu and t.cpu and math.min(cpu - t.cpu, passed) or 0
  local stopped = state == "T" or state == "t"
  local waited = not stopped and state ~= "R" and t.state ~= "T" and t.state ~= "t"
  t.seconds = t.seconds + (waited and math.max(used, math.min(passed, most)) or used)
  -- by a debugger it may be stopped for as long as a person needs
  t.stopped = state == "T" and t.state == "T" and t.stopped + math.min(passed, most) or 0
  t.last, t.cpu, t.state = now, cpu, state
end

return own_time
