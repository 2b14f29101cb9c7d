--- Runs the benchmark sbibm: posteriors of eight tasks against reference posteriors, by C2ST (0.5: equal).
--
--     make sbibm SBIBM=folder                     # folder: the tasks' observations and reference samples
--     lua spec/bench/sbibm/run.lua --data folder --tasks two_moons,slcp --simulations 10000 --markdown SBIBM.md
--
-- The folder holds TASK/K/observation.npy and TASK/K/reference.npy for K = 1, 2, …, as exported from the Python
-- package sbibm, and bernoulli_glm_stimulus.npy. For each task and number of simulations one model learns from
-- simulations of the prior, by the library's defaults, and gives the posterior of each observation; where sbi is
-- installed its NPE learns from the same simulations, by its defaults.
local core = require "simvae.core"
local sv = require "simvae"
local results = dofile "spec/bench/sbibm/results.lua"
local score = dofile "spec/bench/sbibm/score.lua"
local tasks = dofile "spec/bench/sbibm/tasks.lua"
local worker = dofile "spec/bench/worker.lua"

local DRAWS = 10000      -- of each posterior, timed
local ANSWER = 6 * 3600  -- seconds; sbi trains for an hour on 100,000 simulations

-- ---- command line -------------------------------------------------------------------------------

local command_line = require "simvae.cli.command_line"
local number = command_line.number
local parser = require "argparse" ("lua spec/bench/sbibm/run.lua", "Posteriors against those of the benchmark sbibm.")
parser:option("--data", "Folder of observations and reference samples."):count(1)
parser:option("--tasks", "Names with commas between; default: all.", table.concat(tasks.names, ","))
parser:option("--simulations", "Numbers of simulations, with commas between.", "1000,10000,100000")
parser:option("--methods", "simvae and sbi, with commas between; sbi is left out where it is not installed.",
  "simvae,sbi")
parser:option("--python", "Python that has sbi and scikit-learn.", os.getenv "PYTHON" or "python3")
number(parser, "--first", "First observation of each task.", 1, nil, 1)
number(parser, "--observations", "Number of observations of each task, at most.", 1, nil, 10)
number(parser, "--samples", "Samples of each posterior that are compared, at most those of the reference.", 20, DRAWS,
  2000)
number(parser, "--seed", "Of the simulations and the weights.", 0, nil, 1)
number(parser, "--steps", "Steps of each stage of simvae, in place of its defaults.", 1)
number(parser, "--threads", "Of both methods.", 1, command_line.max_threads, 1)
parser:option("--work", "Folder of simulations and results; a run that was interrupted goes on from there.",
  "build/sbibm")
parser:flag("--again", "Measures simvae again, where there are results.")
parser:option("--markdown", "File for the table."):convert(command_line.new_file ".md")
local a = parser:parse(arg)

local function list(option, text, convert)
  local words = {}
  for word in text:gmatch "[^,%s]+" do
    local value, why = convert(word)
    if value == nil then parser:error(string.format("--%s: %s", option, why)) end
    words[#words + 1] = value
  end
  if #words == 0 then parser:error(string.format("--%s names none", option)) end
  return words
end

-- A converter that takes certain words.
local function one_of(words)
  return function(word)
    for _, w in ipairs(words) do
      if w == word then return w end
    end
    return nil, string.format("'%s' is none of %s", word, table.concat(words, ", "))
  end
end

local wanted = list("tasks", a.tasks, one_of(tasks.names))
local budgets = list("simulations", a.simulations, function(word)
  local n = math.tointeger(tonumber(word))
  if n and n >= 100 then return n end
  return nil, string.format("takes whole numbers of 100 or more; got '%s'", word)
end)
local methods = list("methods", a.methods, one_of { "simvae", "sbi" })
if core.system.kind(a.data) ~= "folder" then parser:error(string.format("--data: there is no folder '%s'", a.data)) end
local made, why_not = core.system.mkdir(a.work)
if not made then parser:error("--work: " .. tostring(why_not)) end
core.threads(a.threads)

-- ---- methods: train(sim, name, count) -> seconds of training, function(observations) -> samples, seconds -----

local threads = tostring(a.threads)
local env = { BENCH_THREADS = threads, BENCH_CLOCK = "cpu", BENCH_SEED = tostring(a.seed), OMP_NUM_THREADS = threads,
  MKL_NUM_THREADS = threads, OPENBLAS_NUM_THREADS = threads }

local function start(script)
  local w, why = worker.start({ a.python, "spec/bench/sbibm/" .. script }, env, ANSWER)
  if not w then io.stderr:write(string.format("without %s: %s\n", script, why)) end
  return w
end

local trees = start "trees.py"
local train = {}
local versions = { simvae = "simvae " .. core.version }

function train.simvae(sim, _, count)
  local _, _, cache = tasks.simulations(sim, count, a.seed, a.work)
  local started = os.clock()
  local model = sv.model { simulator = sim, posterior = "flow", seed = a.seed }
  local stage = { steps = a.steps }
  model:train { simulations = count, cache = cache, seed = a.seed, quiet = not core.system.isatty(2), decoder = stage,
    encoder = stage }
  return os.clock() - started, function(observations)
    local samples, seconds = {}, 0
    for i, o in ipairs(observations) do
      local before = os.clock()
      samples[i] = model:posterior(o.x:reshape(1, o.x.count)):sample(DRAWS, sv.rng(a.seed + o.number))
      seconds = seconds + os.clock() - before
      samples[i] = samples[i]:reshape(DRAWS, #sim.params)
    end
    return samples, seconds / #observations
  end
end

local sbi

function train.sbi(sim, name, count)
  local z, x = tasks.simulations(sim, count, a.seed, a.work)
  local path = a.work .. "/peer"
  assert(sv.io.save_npz(path .. ".npz", { z = z, x = x }))
  assert(sbi:ask("load", name, "nsf", path .. ".npz"))
  local seconds = assert(tonumber(assert(sbi:ask("run", name, "nsf", "1"))))
  return seconds, function(observations)
    local rows = {}
    for i, o in ipairs(observations) do rows[i] = o.x:reshape(1, o.x.count) end
    assert(sv.io.save_npy(path .. ".npy", sv.concat(rows, 1)))
    assert(sbi:ask("infer", name, "nsf", path .. ".npy", path .. ".samples.npy"))
    local drawn, samples = assert(sv.io.load_npy(path .. ".samples.npy")), {}
    local each = assert(tonumber(assert(sbi:ask("check", name, "nsf"))))
    sbi:ask "drop"
    for i = 1, #observations do samples[i] = drawn[i] end
    for _, suffix in ipairs { ".npz", ".npy", ".samples.npy" } do os.remove(path .. suffix) end
    return samples, each
  end
end

-- ---- all of them ------------------------------------------------------------------------------------------

local found = results.open(a.work .. "/results.json")

local function measure(key)
  local observations = tasks.observations(key.task, a.data, a.first, a.first + a.observations - 1)
  local scope <close> = core.scope()
  local training, draw = train[key.method](tasks.simulator(key.task, a.data), key.task, key.simulations)
  local samples, sampling = draw(observations)
  local r = score.compare(observations, function(_, i) return samples[i] end, a.samples, trees, a.work)
  for k, v in pairs(key) do r[k] = v end
  r.training, r.sampling, r.versions, r.samples = training, sampling, versions[key.method], a.samples
  found:add(r)
end

if table.concat(methods, ","):find "sbi" then
  sbi = start "peer.py"
  versions.sbi = sbi and sbi.versions
end
print(results.head())
for _, simulations in ipairs(budgets) do
  for _, name in ipairs(wanted) do
    local key
    for _, method in ipairs(methods) do
      key = { task = name, simulations = simulations, seed = a.seed, method = method }
      local known = found:find(key) and not (a.again and method == "simvae")
      if not known and (method ~= "sbi" or sbi) then measure(key) end
    end
    print(found:row(key))
    io.stdout:flush()
  end
end
for _, w in pairs { sbi, trees } do w:close() end

if a.markdown then
  local about = string.format("%s, %d thread%s; seed %d, observations %d to %d, %d samples.",
    (core.system.processor()), a.threads, a.threads == 1 and "" or "s", a.seed, a.first, a.first + a.observations - 1,
    a.samples)
  local ok, why = found:write(a.markdown, a.seed, about)
  if not ok then error(why, 0) end
end
