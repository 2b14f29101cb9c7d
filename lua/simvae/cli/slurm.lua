--- Batch scripts for Slurm: an array whose tasks draw one shard each, and a job that merges the shards and trains.
local shell = require "simvae.util.shell"

local word = shell.word

local slurm = {}

local NOTICE = 60 -- seconds before the time limit at which a task closes its shard
local MOST_RESTARTS = 100 -- of a task by itself, in case no sample takes less than the time limit

local function command(words)
  local list = {}
  for i, one in ipairs(words) do list[i] = word(one) end
  return table.concat(list, " ")
end

local function directives(list)
  local lines = {}
  for _, one in ipairs(list) do lines[#lines + 1] = "#SBATCH " .. one end
  return table.concat(lines, "\n")
end

-- Directives that both scripts share.
local function common(o, name, time, cpus, log)
  local list = { "--job-name=" .. word(name), "--time=" .. time, "--cpus-per-task=" .. cpus,
    "--chdir=" .. word(o.folder), "--output=" .. word(o.out .. "/" .. log), "--open-mode=append", "--requeue" }
  for _, option in ipairs { "partition", "account", "mem" } do
    if o[option] then list[#list + 1] = string.format("--%s=%s", option, word(o[option])) end
  end
  return table.move(o.sbatch, 1, #o.sbatch, #list + 1, list)
end

local HEAD = [[
set -u
command -v simvae > /dev/null || { echo "$(hostname): simvae is not on the PATH" >&2; exit 127; }
]]

local ARRAY = [[
#!/bin/bash
# Draws @n@ samples of @simulator@ in @tasks@ shards, one a task. Written by simvae slurm.
#
#     sbatch @script@
#     sbatch --array=3,17-20 @script@    # some of them again: only what is missing is drawn
#     simvae status @out@
#
@directives@

@head@
srun --cpus-per-task=@cpus@ @simulate@
code=$?

# SIGTERM closes the shard. It comes to simvae alone @notice@ s before the time limit: the task goes back to the queue.
# With scancel it comes to this script as well, which ends there. Slurm itself requeues tasks that it preempts.
if [ "$code" = 143 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt @restarts@ ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
[ "$code" = 0 ] || echo "$(hostname): shard $SLURM_ARRAY_TASK_ID ended with code $code" >&2
exit "$code"
]]

local NEXT = [[
#!/bin/bash
# Runs when all tasks of the array have ended: merges the shards@and_trains@. Written by simvae slurm.
# A sample that is missing ends it; then, sbatch the tasks that simvae status names, and this script once more.
#
@directives@

@head@set -e
[ -f @samples@ ] || @merge@
]]

local function filled(template, values)
  return (template:gsub("@([%l_]+)@", values))
end

--- The script of the array.
-- @tparam table o simulator (as the tasks name it), name, number, seed, tasks, time, array_limit, cpus, out, folder
-- (where the tasks run), partition, account, mem, sbatch (other options), changed
-- @tparam string path of the script, for its comments
-- @treturn string
function slurm.array(o, path)
  local list = common(o, "simvae-" .. o.name, o.time, o.cpus, "slurm-%A_%a.log")
  table.insert(list, 2, string.format("--array=1-%d%s", o.tasks, o.array_limit and "%" .. o.array_limit or ""))
  list[#list + 1] = string.format("--signal=TERM@%d", NOTICE)
  local words = { "simvae", "simulate", o.simulator, "-n", o.number, "--seed", o.seed, "--out", o.out .. "/",
    "--quiet" }
  if o.cpus > 1 then table.move({ "--workers", o.cpus }, 1, 2, #words + 1, words) end
  return filled(ARRAY, { n = o.number, simulator = o.simulator, tasks = o.tasks, script = word(path),
    out = word(o.out), directives = directives(list), head = HEAD, notice = NOTICE, cpus = o.cpus,
    restarts = MOST_RESTARTS,
    simulate = command(words) .. string.format(' --shard "$SLURM_ARRAY_TASK_ID/%d"', o.tasks) })
end

--- The script of the job that depends on the array.
-- @tparam table o as of array; also train (options of simvae train, or nil: it merges alone), train_time, train_cpus
-- @treturn string
function slurm.next(o)
  local samples = o.out .. "/data.samples"
  local list = common(o, "simvae-" .. o.name .. "-next", o.train_time or o.time, o.train_cpus or o.cpus,
    "next-%j.log")
  local text = filled(NEXT, { and_trains = o.train and " and trains on them" or "", head = HEAD,
    samples = word(samples), directives = directives(list),
    merge = command { "simvae", "merge", o.out, "-o", samples, "--quiet" } })
  if not o.train then return text end
  local words = { "simvae", "train", o.simulator, "--cache", samples, "--simulations", o.number, "--seed", o.seed }
  table.move(o.train, 1, #o.train, #words + 1, words)
  return text .. "exec " .. command(words) .. "\n"
end

--- The command lines that submit both. The second job waits for the end of all tasks, not for their success: Slurm
-- (22.05) counts an array as failed for good where a task failed and was requeued, and merging verifies that all is
-- there.
-- @tparam string array path of its script
-- @tparam string following path of the other script
-- @tparam ?string job its number; nil: to be read from the first command's output
-- @treturn string
-- @treturn string
function slurm.submission(array, following, job)
  return "sbatch --parsable " .. word(array), string.format(
    "sbatch --parsable --dependency=afterany:%s %s", job or "JOB", word(following))
end

return slurm
