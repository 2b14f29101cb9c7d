--- Time of drawing shards by one and by two tasks of a Slurm cluster on this machine, for a simulator of 1 ms.
--
--     lua5.4 spec/bench/slurm.lua [--samples 200000] [--waits]
--
-- --waits: the simulator sleeps, as one that waits for a program elsewhere; otherwise it computes. Times are those from
-- the first task's start to the last one's end. Needs the packages slurm-wlm and munge, and two cores.
package.path = "./?.lua;" .. package.path
local helper = require "spec.helper"
local core = require "simvae.core"
local simvae = require "spec.fixtures.simvae"
local slurm = require "spec.fixtures.slurm"

local samples, waits = 200000, false
for i = 1, #arg do
  if arg[i] == "--samples" then samples = assert(math.tointeger(tonumber(arg[i + 1])), "--samples takes a number") end
  if arg[i] == "--waits" then waits = true end
end

local SIMULATOR = [[
local sv = require "simvae"
local core = require "simvae.core"
local waits = %s
return sv.simulator {
  name = "slow", output = { 100 },
  params = { { name = "a", low = -1, high = 1 }, { name = "b", low = 0, high = 10 } },
  simulate = function(z, out)
    local stop = os.clock() + 1e-3
    if waits then core.system.sleep(1e-3) else repeat until os.clock() >= stop end
    for i = 1, 100 do out[i] = z.a * i + z.b end
  end,
}
]]

local missing = slurm.missing()
if missing then
  io.stderr:write("spec/bench/slurm.lua: ", missing, "\n")
  os.exit(1)
end

local function load_average()
  local file <close> = io.open "/proc/loadavg"
  return file and file:read "l":match "^%S+ %S+" or "unknown"
end

-- Seconds of an array of so many tasks.
local function seconds(cluster, env, tasks)
  local function run(command)
    local out, code = cluster:run(env .. command)
    assert(code == 0, out)
    return out
  end
  local folder = "by-" .. tasks
  run(string.format("simvae slurm slow.lua -n %d --tasks %d --out %s --no-train --time 10:00:00", samples, tasks,
    folder))
  local started = core.system.clock()
  local job = run("sbatch --parsable " .. folder .. "/array.sh"):match "%d+"
  local first
  while true do
    local states = cluster:run("scontrol -o show job " .. job)
    first = first or states:find "JobState=RUNNING" and core.system.clock()
    assert(not states:find "JobState=FAILED", states)
    if not states:find "JobState=[PRC]%u*ING" then break end
    core.system.sleep(0.05)
  end
  local stopped = core.system.clock()
  run("simvae merge " .. folder .. " -o " .. folder .. ".samples --quiet")
  return stopped - (first or started), stopped - started
end

local cluster <close> = slurm.start(2)
local env = simvae.on_path()
simvae.write("slow.lua", SIMULATOR:format(waits))
local before = load_average()
local one, one_queued = seconds(cluster, env, 1)
local two, two_queued = seconds(cluster, env, 2)
local same = helper.read(simvae.folder .. "/by-1.samples") == helper.read(simvae.folder .. "/by-2.samples")
print(string.format("%d samples of 1 ms, which %s; load average %s before, %s after", samples,
  waits and "wait" or "compute", before, load_average()))
print(string.format("one task   %8.1f s (%.1f s from its submission)", one, one_queued))
print(string.format("two tasks  %8.1f s (%.1f s from their submission)", two, two_queued))
print(string.format("ratio      %8.3f; the data sets are %s", two / one, same and "the same bytes" or "DIFFERENT"))
cluster:stop()
helper.remove_temporary_folders()
