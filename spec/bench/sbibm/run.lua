--- Runs the benchmark sbibm: posteriors of eight tasks against reference posteriors, by C2ST (0.5: equal).
--
--     make sbibm SBIBM=folder                     # folder: the tasks' observations and reference samples
--     lua spec/bench/sbibm/run.lua --data folder --tasks two_moons,slcp --simulations 10000 --markdown SBIBM.md
--
-- The folder holds TASK/K/observation.npy and TASK/K/reference.npy for K = 1, 2, …, as exported from the Python
-- package sbibm, and bernoulli_glm_stimulus.npy. For each task and number of simulations one model learns from
-- simulations of the prior, and is asked for each observation.
local core = require "simvae.core"
local sv = require "simvae"

-- Published C2ST at 1,000, 10,000 and 100,000 simulations, 10,000 samples each: NPE of Lueckmann et al. (AISTATS 2021),
-- main_paper.csv of sbi-benchmark/results; and of 2025, summary.csv of mackelab/npe-pfn.
local published = {
  two_moons = { ".73 .61 .54", ".70 .55 .53" }, slcp = { ".98 .90 .83", ".97 .87 .72" },
  gaussian_linear = { ".69 .55 .51", ".75 .60 .53" }, gaussian_linear_uniform = { ".70 .55 .51", ".75 .61 .54" },
  gaussian_mixture = { ".72 .62 .55", ".67 .54 .52" }, bernoulli_glm = { ".86 .68 .56", ".88 .69 .60" },
  sir = { ".82 .68 .58", ".70 .56 .52" }, lotka_volterra = { "1.00 1.00 .98", "1.00 .97 .88" },
}
local names = { "two_moons", "slcp", "gaussian_linear", "gaussian_linear_uniform", "gaussian_mixture", "bernoulli_glm",
  "sir", "lotka_volterra" }

-- ---- command line -------------------------------------------------------------------------------

local parser = require "argparse" ("lua spec/bench/sbibm/run.lua", "Posteriors against those of the benchmark sbibm.")
parser:option("--data", "Folder of observations and reference samples."):count(1)
parser:option("--tasks", "Names with commas between; default: all.", table.concat(names, ","))
parser:option("--simulations", "Numbers of simulations, with commas between.", "1000,10000")
parser:option("--steps", "Steps of the encoder."):convert(tonumber)
parser:option("--decoder", "Steps of the decoder.", "4000"):convert(tonumber)
parser:option("--observations", "Observations of each task.", "5"):convert(tonumber)
parser:option("--samples", "Samples of each posterior, at most those of the reference.", "2000"):convert(tonumber)
parser:option("--seed", "Of the simulations and the weights.", "1"):convert(tonumber)
parser:option("--markdown", "File for the table.")
local a = parser:parse(arg)

local function list(text, convert)
  local result = {}
  for word in text:gmatch "[^,%s]+" do result[#result + 1] = convert and convert(word) or word end
  return result
end

local function array(name) return assert(sv.io.load_npy(a.data .. "/" .. name)) end

local function task(name)
  local t = dofile("spec/bench/sbibm/" .. name .. ".lua")
  return type(t) == "function" and t(array "bernoulli_glm_stimulus.npy") or t
end

-- ---- one task --------------------------------------------------------------------------------------

-- Sixty passes over the simulations, within limits.
local function steps_for(simulations, batch)
  return math.min(60000, math.max(3000, 60 * simulations // batch))
end

local function train(name, simulations)
  local batch = math.min(256, simulations // 10)
  local steps = a.steps or steps_for(simulations, batch)
  local model = sv.model { simulator = task(name), net = "mlp", width = 128, posterior = "flow", seed = a.seed }
  local started, cpu = core.system.clock(), os.clock()
  model:train { simulations = simulations, batch = batch, quiet = true, seed = a.seed,
    decoder = { steps = a.decoder }, encoder = { steps = steps, labels = 1,
      lr = { peak = 1e-3, warmup = 100 } } }
  return model, core.system.clock() - started, os.clock() - cpu
end

-- The mean over the parameters of a sample's standard deviation over the reference's.
local function width(samples, reference)
  local ours, theirs = core.var(samples, 1):totable(), core.var(reference, 1):totable()
  local sum = 0
  for k, v in ipairs(ours) do sum = sum + math.sqrt(v / theirs[k]) / #ours end
  return sum
end

local function measure(name, model)
  local total, worst, widths, seconds, n = 0, 0, 0, 0, 0
  for k = 1, a.observations do
    local found, x = pcall(array, name .. "/" .. k .. "/observation.npy")
    if not found then break end
    local reference = array(name .. "/" .. k .. "/reference.npy")
    local count = math.min(a.samples, reference.shape[1])
    local started = core.system.clock()
    local samples = model:posterior(x:reshape(1, x.count)):sample(count, sv.rng(a.seed + k))
    seconds = seconds + core.system.clock() - started
    samples = samples:reshape(count, reference.shape[2])
    local score = sv.metrics.c2st(reference:slice(1, 1, count), samples)
    total, worst, n = total + score, math.max(worst, score), n + 1
    widths = widths + width(samples, reference)
  end
  if n == 0 then error(string.format("no observations of %s in %s", name, a.data), 0) end
  return { mean = total / n, worst = worst, width = widths / n, sampling = seconds / n, observations = n }
end

-- ---- all of them ------------------------------------------------------------------------------------------

local head = { "task", "simulations", "C2ST, mean", "worst", "std / reference's", "training, s", "processor, s",
  "sampling, ms", "published NPE 2021", "2025" }
local lines = { "| " .. table.concat(head, " | ") .. " |", "|" .. (" --- |"):rep(#head) }
for _, name in ipairs(list(a.tasks)) do
  for _, simulations in ipairs(list(a.simulations, math.tointeger)) do
    local model, seconds, cpu = train(name, simulations)
    local r = measure(name, model)
    lines[#lines + 1] = string.format("| %s | %d | %.3f | %.3f | %.2f | %.0f | %.0f | %.0f | %s | %s |", name,
      simulations, r.mean, r.worst, r.width, seconds, cpu, 1000 * r.sampling, published[name][1], published[name][2])
    print(lines[#lines])
    io.stdout:flush()
  end
end

if a.markdown then
  local about = string.format("# sbibm\n\n`make sbibm`; simvae %s, %s, %d threads, seed %d, %d observations, "
    .. "%d samples. C2ST as `sv.metrics.c2st`; published values are of 10,000 samples and ten observations.\n\n",
    core.version, (core.system.processor()), core.threads(), a.seed, a.observations, a.samples)
  local ok, why = core.io.write(a.markdown, { about, table.concat(lines, "\n"), "\n" })
  if not ok then error(why, 0) end
end
