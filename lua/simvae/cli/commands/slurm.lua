--- simvae slurm: batch scripts that draw shards on a cluster, and train on them.
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local outcome = require "simvae.cli.outcome"
local sampler = require "simvae.sampler"
local shards = require "simvae.cli.shards"
local slurm = require "simvae.cli.slurm"
local source = require "simvae.cli.source"

local LEAST_TIME = 300 -- seconds: tasks close their shard one to two minutes before the limit

-- Seconds of a time as sbatch takes it: minutes[:seconds], hours:minutes:seconds, days-hours[:minutes[:seconds]].
local function seconds_of(text)
  local days, rest = text:match "^(%d+)%-(.+)$"
  local parts = {}
  for part in (rest or text):gmatch "[^:]+" do parts[#parts + 1] = part:find "^%d+$" and tonumber(part) or 0 / 0 end
  if (rest or text):find "^:" or text:find ":$" or text:find "::" or #parts == 0 or #parts > 3 then return nil end
  local units = days and { 3600, 60, 1 } or #parts == 3 and { 3600, 60, 1 } or { 60, 1 }
  local sum = (tonumber(days) or 0) * 86400
  for i, part in ipairs(parts) do sum = sum + part * units[i] end
  return sum == sum and sum or nil
end

local function time(text)
  local seconds = seconds_of(text)
  if not seconds then
    return nil, string.format("a time is minutes, hours:minutes:seconds or days-hours; got '%s'", text)
  elseif seconds < LEAST_TIME then
    return nil, string.format("a time is at least five minutes: shards are closed a minute or two before its end; "
      .. "got '%s'", text)
  end
  return text
end

local function line(text)
  if text:find "^%-%-%a[^\n]*$" then return text end
  return nil, string.format("--sbatch takes an option of sbatch as --sbatch=--constraint=avx512; got '%s'", text)
end

local function define(command)
  local number = command_line.number
  command:argument("simulator", source.text)
  number(command, "-n --number", "Samples of all tasks together.", 1, nil, 1000)
  number(command, "--seed", "Seed of the samples, and of the training.", 0, nil, 1)
  number(command, "--tasks", "Tasks of the array; each draws one shard.", 1, nil, 16)
  command:option("--time", "Time limit of a task, as of sbatch. A task that reaches it goes back to the queue and goes "
    .. "on.", "1:00:00"):argname "<time>":convert(time)
  number(command, "--array-limit", "Tasks that run at once, at most.", 1)
  number(command, "--cpus", "CPUs of a task: more than one run the simulator in as many workers.", 1,
    sampler.options.workers.max, 1)
  for _, option in ipairs { { "--partition", "Partition." }, { "--account", "Account." },
    { "--mem", "Memory of a task, such as 2G." } } do
    command:option(option[1], option[2]):argname "<text>"
  end
  command:option("--sbatch", "Another option of sbatch, as --sbatch=--constraint=avx512; may be repeated.")
    :argname "<option>":count "*":convert(line)
  command:option("-o --out", "Folder of the shards and scripts, on a file system that all nodes share; default: the "
    .. "simulator's name with -shards."):argname "<folder>":convert(shards.folder)
  command:option("--train", "Options of simvae train in the job after the array, as --train=\"--steps 8000\".")
    :argname "<options>"
  command:flag("--no-train", "The job after the array merges the shards alone.")
  command:option("--train-time", "Time limit of that job; default: that of a task."):argname "<time>":convert(time)
  number(command, "--train-cpus", "CPUs of that job; default: those of a task.", 1)
  command:flag("--submit", "Submits both.")
end

-- The words of --train, which have to be options of simvae train.
local function training(a, parser, refuse)
  if a.no_train then return nil end
  local words = {}
  for one in (a.train or ""):gmatch "%S+" do words[#words + 1] = one end
  local ok, read = parser:pparse { "train", a.simulator, table.unpack(words) }
  if not ok then refuse("--train: %s", read) end
  for _, own in ipairs { "cache", "simulations", "seed" } do
    for _, one in ipairs(words) do
      if one:match "^[^=]+" == "--" .. own then refuse("--train: --%s is that of the shards", own) end
    end
  end
  return words
end

local function submit(command)
  local pipe <close> = outcome.need(io.popen(command))
  local text = pipe:read "a"
  local ok = pipe:close()
  local job = text:match "^(%d+)"
  if not ok or not job then outcome.fail("'%s' failed; nothing that comes after it was submitted", command) end
  return job
end

local function write(path, text)
  local ok, why = core.io.write(path, { text })
  outcome.need(ok, path .. ": " .. tostring(why))
end

local function run(a, parser, command)
  local function refuse(...) parser.error(command.parser, string.format(...)) end
  if a.tasks > a.number then refuse("--tasks: there are %d samples (-n), fewer than tasks", a.number) end
  if a.no_train and a.train then refuse "--train and --no-train exclude each other" end
  local settings = shards.settings(a.simulator)
  local name = settings.simulator.name:gsub("[^%w._-]", "_")
  local o = { simulator = a.simulator, name = name, number = a.number, seed = a.seed, tasks = a.tasks, time = a.time,
    array_limit = a.array_limit, cpus = a.cpus, partition = a.partition, account = a.account, mem = a.mem,
    sbatch = a.sbatch, out = a.out or name .. "-shards", folder = core.system.cwd(),
    train = training(a, parser, refuse), train_time = a.train_time, train_cpus = a.train_cpus }
  if a.submit and not os.execute "command -v sbatch > /dev/null 2>&1" then
    outcome.fail "sbatch is not on the PATH: --submit needs a machine from which jobs are submitted to Slurm"
  end
  outcome.need(core.system.mkdir(o.out))
  local array, following = o.out .. "/array.sh", o.out .. "/next.sh"
  write(array, slurm.array(o, array))
  write(following, slurm.next(o))
  if a.submit then
    local job = submit((slurm.submission(array, following)))
    local after = submit((select(2, slurm.submission(array, following, job))))
    print(job .. "\n" .. after)
    io.stderr:write(string.format("job %s draws %d shards, job %s follows; simvae status %s tells how far they are\n",
      job, o.tasks, after, o.out))
  else
    print(array .. "\n" .. following)
    io.stderr:write("to submit them, --submit, or:\n    ", table.concat({ slurm.submission(array, following,
      "JOB") }, "\n    "), "\n")
  end
end

return {
  order = 103,
  summary = "Writes batch scripts for Slurm: an array that draws shards, a job that trains on them.",
  text = "Writes two batch scripts for Slurm to the folder of --out, and submits them with --submit: array.sh, whose "
    .. "tasks draw one shard each (simvae simulate --shard), and next.sh, which runs when all have succeeded, merges "
    .. "the shards to data.samples and trains on them (simvae train --cache). Tasks may be requeued, preempted and "
    .. "killed at any time: only what is missing is drawn again, and the data are those of one process, byte for byte.",
  examples = { "simvae slurm ring.lua -n 1000000 --tasks 64 --time 1:00:00 --array-limit 16 --partition short --submit",
    "simvae slurm ring.lua -n 1000000 --tasks 64 --train=\"--steps 8000 --samples 1000\" --train-cpus 16" },
  define = define,
  run = run,
}
