--- The program of every example and of `simvae train`: reads the command line, trains, evaluates, draws the
-- figures and writes the report.
--
--     sv.experiment { simulator = box, width = 32, decoder = { steps = 4000 }, encoder = { steps = 4000 } }
--
-- gives `lua train_box.lua` the options --out --seed --steps --width --threads --help
-- and fills the run directory: model.safetensors, checkpoint.safetensors, log.csv,
-- metrics.json, figures/*.png, report.html.
local catalogue = require "simvae.util.catalogue"
local check = require "simvae.util.check"
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local evaluation = require "simvae.evaluate.options"
local interrupt = require "simvae.util.interrupt"
local json = require "simvae.io.json"
local nets = require "simvae.nn.build"
local noise = require "simvae.simulator.noise"
local novelty = require "simvae.model.novelty"
local parameter = require "simvae.simulator.parameter"
local posterior = require "simvae.posterior"
local progress = require "simvae.train.progress"
local ranks = require "simvae.train.ranks"
local sampler = require "simvae.sampler"
local shell = require "simvae.util.shell"
local simulator = require "simvae.simulator"

local experiment = {}

local min_samples = evaluation.min_samples
local SAMPLES = 10000    -- of an evaluation, by default
local CALIBRATION = 2000 -- samples of an evaluation that the posterior's calibration is measured on

local options = check.declare("experiment", {
  simulator = { "table", class = "Simulator", required = true, doc = "what is learned" },
  net = { "string|function|table", doc = "as of sv.model" },
  width = { "integer", min = 1, doc = "as of sv.model" },
  posterior = { "string", doc = "as of sv.model" },
  loss = { "string|function", doc = "as of sv.model" },
  batch = { "integer", min = 1, doc = "as of model:train" },
  decoder = { "table", default = {}, doc = "as of model:train" },
  sleep = { "table", default = {}, doc = "as of model:train" },
  encoder = { "table", default = {}, doc = "as of model:train" },
  recipe = { "string|table", doc = "as of model:train" },
  samples = { "integer", min = min_samples, doc = "of the evaluation, which runs the simulator on each and on the "
    .. "answer to it; default: 10,000, with `simulations` at most half of these" },
  demo = { "table", doc = "{ steps =, width = } of a short run: offers --demo; default: it is not offered" },
  workers = { "integer", min = 0, doc = "as of model:train; default 0" },
  simulations = { "integer", min = 1, doc = "as of model:train" },
  cache = { "string", doc = "as of model:train" },
  microbatches = { "integer", min = 2, doc = "as of model:train" },
  reduce = { "string", doc = "as of model:train" },
  mixed_ranks = { "boolean", doc = "as of model:train" },
  max_failures = { "number", min = 0, max = 1, doc = "as of model:train" },
  timeout = { "number", above = 0, doc = "as of model:train" },
  doc = { "string", doc = "what --help says" },
  factors = { "table", doc = "names of the parameters that MIG is averaged over; default: all" },
  recalibrate = { "integer", min = 100,
    doc = "new simulations that the trained posterior is corrected on, in proportion fewer where fewer samples are "
      .. "evaluated than the experiment's; default: none" },
  refine = { "table", default = { steps = 60 },
    doc = "what the evaluation refines a tenth of its samples by, or `samples` of them, as of model:invert" },
  base = { "table",
    doc = "where parameters stay in traversals while another moves, { name = value }; default: the middle" },
  pictures = { "table", doc = "paths of PNGs to be inferred as well" },
})

for name, rule in pairs(posterior.options()) do options[name] = rule end

-- ---- command line -----------------------------------------------------------------------

--- Adds the options of every program that trains and evaluates.
-- @tparam table parser of argparse
-- @tparam ?string out the default folder
function experiment.options(parser, out)
  local number = command_line.number
  command_line.training(parser, out)
  parser:option("--net", "Network; default: by the output."):choices(nets.names)
  number(parser, "--width", "Channels next to the data (images), or of the hidden layers (mlp).", 1, 4096)
  number(parser, "--steps", "Steps of each stage, instead of the recipe's.", 1)
  parser:option("--posterior", "Family of the posterior."):choices(posterior.names)
  number(parser, "--batch", "Samples of a step.", 1)
  parser:option("--recipe", "How to train."):choices { "default", "paper" }
  number(parser, "--samples", "Samples of the evaluation; default: 10000, with a number of simulations half of it at "
    .. "most.", min_samples)
  number(parser, "--workers", "Processes that run the simulator beside the training; 0: none.", 0,
    sampler.options.workers.max)
  parser:option("--cache", "Sample cache: a run that is started again reads it instead of running the simulator.")
    :argname "<file>"
  number(parser, "--simulations", "Number of simulations of the training: both stages use them in epochs. What follows "
    .. "runs the simulator as well: the evaluation (--samples, twice each), and a script's recalibrate.", 1)
  number(parser, "--microbatches", "Parts of a batch whose gradients are added by a tree, a power of 2: with the same "
    .. "number, 1, 2, 4, … ranks give the same weights. Default under mpirun: the ranks, at least 4.", 2)
  parser:option("--reduce", "Precision of the gradients that MPI ranks send."):choices { "fp32", "bf16" }
  parser:flag("--mixed-ranks", "Lets MPI ranks of different builds or CPU levels train together.")
end

local function parse(t, argv)
  local name = t.simulator.name
  local parser = require "argparse"("lua train_" .. name .. ".lua", t.doc or ("Learns the simulator '" .. name
    .. "' and its inverse."))
  experiment.options(parser, "runs/" .. name)
  if t.demo then parser:flag("--demo", "A short run of a few minutes.") end
  return parser:parse(argv)
end

-- ---- figures ------------------------------------------------------------------------------

--- The figures of a trained model: those of simvae/figures that have a field `reported`. A figure that cannot be drawn
-- (gnuplot missing) is reported on stderr and skipped.
-- @tparam Model model
-- @tparam table r of sv.evaluate
-- @tparam string out the run directory
-- @tparam ?{string,...} pictures paths of PNGs from elsewhere
-- @tparam ?table base where the other parameters stay in the traversals, as of figures.traversals
-- @tparam ?string from the folder of the training's log.csv; default: out
-- @treturn {table,...} path and caption of each figure
function experiment.figures(model, r, out, pictures, base, from)
  local sim = model.simulator
  local c = { model = model, sim = sim, r = r, out = from or out, pictures = pictures, base = base, units = {},
    log = {}, period = {} }
  for i, p in ipairs(sim.params) do c.units[i], c.log[i], c.period[i] = p.unit, p.scale == "log", p.period end
  function c.examples(n)
    local z, x = sim:simulate_batch(n, core.rng(2))
    return z, x, (model:encode(x, noise.least(sim)))
  end
  local _scope <close> = not pictures and novelty.silenced(model) or nil
  local folder, list = out .. "/figures", {}
  local ok, refused = core.system.mkdir(folder)
  if not ok then return nil, refused end
  for _, figure in ipairs(catalogue.reported "simvae.figures") do
    for _, drawn in ipairs(figure.figures(folder, c)) do
      if drawn.path then
        list[#list + 1] = { path = drawn.path, caption = drawn.caption }
      else
        io.stderr:write("figure skipped: " .. tostring(drawn.why) .. "\n")
      end
    end
  end
  return list
end

-- ---- the experiment ---------------------------------------------------------------------

--- The numbers of an evaluation, without its tensors: what metrics.json holds.
-- @tparam Model model
-- @tparam table r of sv.evaluate
-- @tparam ?number|string labels share of the simulator's pairs in the training of stage 2, as of model:train
-- @treturn table
function experiment.numbers(model, r, labels)
  local all = {
    simulator = model.simulator.name, seed = model.seed, net = type(model.net) == "string" and model.net or "custom",
    width = model.width, posterior = model.head.name, labels = labels, steps = model.trained, version = core.version,
    threads = core.threads(), processor = (core.system.processor()), training_seconds = model.seconds,
    samples = r.samples, failures = r.failures, outside = r.outside, factors = r.options.factors,
    notes = r.notes, warnings = r.warnings, evaluation_seconds = r.seconds,
  }
  for _, m in ipairs(catalogue.reported "simvae.metrics") do
    for name, value in pairs(m.numbers and m.numbers(r) or {}) do all[name] = value end
  end
  return all
end

--- The summary line.
function experiment.line(model, r)
  local parts, errors = {}, {}
  for _, m in ipairs(catalogue.reported "simvae.metrics") do
    parts[#parts + 1] = m.line and m.line(r) or nil
  end
  for i, p in ipairs(model.simulator.params) do
    errors[i] = string.format("%s %.3g%s", p.name, r.rmse[p.name], parameter.unit_text(p))
  end
  parts[#parts + 1] = "RMSE " .. table.concat(errors, ", ")
  return table.concat(parts, "  ")
end

-- The posterior of the experiment and its options; another one of the command line has its own defaults.
local function head_of(t, a)
  if a.recipe == "paper" then return { posterior = a.posterior or "gaussian" } end
  if not a.posterior or a.posterior == (t.posterior or posterior.default) then return t end
  return { posterior = a.posterior }
end

-- The options of stages, from the experiment's and the command line's.
local function stages_of(t, a, head, steps)
  local stages = {}
  for _, stage in ipairs(require "simvae.train.stages".names) do
    local o = {}
    if a.recipe ~= "paper" then -- whose budget is its own
      for k, v in pairs(t[stage]) do o[k] = v end
    end
    if stage ~= "sleep" or o.steps then o.steps = steps or o.steps end
    if steps and o.supervised then o.supervised = math.min(o.supervised, steps // 2) end -- its own are for its steps
    o.batch = a.batch or o.batch
    if head ~= t then o.labels, o.variational, o.supervised = nil, nil, nil end -- options of some posteriors
    stages[stage] = o
  end
  return stages
end

-- Samples of an evaluation of which nothing else is said: it runs the simulator twice for each, together no more often
-- than a training that is limited to some simulations.
local function usual_samples(t, simulations)
  return t.samples or simulations and math.max(min_samples, math.min(SAMPLES, simulations // 2)) or SAMPLES
end

--- Options of sv.evaluate for an experiment.
-- @tparam table t its settings
-- @tparam ?integer samples
-- @tparam ?integer simulations to which the training is limited; default: that of the settings
-- @treturn table
function experiment.evaluation(t, samples, simulations)
  local usual = usual_samples(t, simulations or t.simulations)
  samples = samples or usual
  local refine = {}
  for k, v in pairs(t.refine) do refine[k] = v end
  if not refine.samples or samples < usual then refine.samples = math.max(2, samples // 10) end -- it takes long
  return { samples = samples, factors = t.factors, refine = refine, calibration = CALIBRATION }
end

-- The options of the stages, of a model and of its evaluation, from those of the experiment and the command line.
local function settings(t, a)
  local budget = a.demo and t.demo or {}
  local head = head_of(t, a)
  local width, net, bounded = a.width or budget.width or not a.net and t.width or nil, a.net or t.net, nil
  if a.recipe == "paper" then -- its architecture and its plain encoder as well
    bounded = false
    if #t.simulator.output == 3 then net, width = a.net or "dcgan", a.width or 16 end
  end
  local about = { simulator = t.simulator, net = net, width = width, loss = t.loss, seed = a.seed, bounded = bounded,
    posterior = head.posterior }
  for option in pairs(posterior.options()) do about[option] = head[option] end
  return stages_of(t, a, head, a.steps or budget.steps), about,
    experiment.evaluation(t, a.samples or (a.demo and budget.samples), a.simulations)
end

-- Checks the inputs of the figures before the training.
local function check_pictures(t, level)
  for _, path in ipairs(t.pictures or {}) do
    if core.system.kind(path) ~= "file" then
      check.fail(level, "experiment: pictures names '%s', which is not a file", tostring(path))
    end
  end
  for name in pairs(t.base or {}) do
    if not t.simulator.index[name] then
      check.fail(level, "experiment: base names '%s', which is no parameter of '%s'%s", tostring(name),
        t.simulator.name, check.suggestion(name, t.simulator.names))
    end
  end
end

local function saved(ok, refused)
  if not ok then error(refused, 0) end
end

local SOON = 2 -- seconds before an evaluation shows its progress

--- Evaluates and diagnoses a model, with a bar of progress where it takes longer than two seconds.
-- @tparam Model model
-- @tparam table t settings of its experiment: encoder (labels)
-- @tparam table asked options of sv.evaluate
-- @tparam ?table known simulations: their number, where the training was limited to some; quiet: no progress
-- @treturn table of sv.evaluate
-- @treturn table its numbers, as metrics.json has them
-- @treturn table of sv.diagnose
function experiment.measure(model, t, asked, known)
  known = known or {}
  local sv, given = require "simvae", {}
  for name, value in pairs(asked) do given[name] = value end
  local bar <close> = progress.new { title = "evaluate", total = asked.samples, quiet = known.quiet }
  function given.watch(done)
    if core.system.clock() - bar.started > SOON then bar:update(done, "samples") end
  end
  local r = sv.evaluate(model, given)
  local numbers = experiment.numbers(model, r, (t.encoder or {}).labels)
  local diagnosis = sv.diagnose(model, { results = r, simulations = known.simulations })
  numbers.diagnosis = { findings = json.list { table.unpack(diagnosis.findings) },
    learned = json.list { table.unpack(diagnosis.learned) } }
  return r, numbers, diagnosis
end

--- Evaluates a model, and writes metrics.json, figures and report of a run's folder.
-- @tparam Model model
-- @tparam table t settings of its experiment: encoder (labels), pictures, base
-- @tparam table asked options of sv.evaluate
-- @tparam string out the folder
-- @tparam ?table known log: the folder of the training's log.csv (out); simulations and quiet, as of `measure`
-- @treturn table of sv.evaluate
-- @treturn table its numbers
function experiment.assess(model, t, asked, out, known)
  known = known or {}
  local r, numbers, diagnosis = experiment.measure(model, t, asked, known)
  saved(json.save(out .. "/metrics.json", numbers))
  local figures, refused = experiment.figures(model, r, out, t.pictures, t.base, known.log)
  saved(figures, refused)
  saved(require "simvae".report(out, { model = model, results = r, figures = figures, numbers = numbers,
    diagnosis = diagnosis }))
  return r, numbers
end

-- On MPI ranks but the first, the training is all.
local function train(t, a, model, stages, asked)
  if not a.quiet and ranks.rank() == 0 then io.stderr:write(tostring(t.simulator), "\n", tostring(model), "\n") end
  model:train { out = a.out, batch = a.batch or t.batch, recipe = a.recipe or t.recipe, decoder = stages.decoder,
    sleep = stages.sleep, encoder = stages.encoder, quiet = a.quiet, workers = a.workers or t.workers,
    cache = a.cache or t.cache, simulations = a.simulations or t.simulations,
    max_failures = t.max_failures, timeout = t.timeout, microbatches = a.microbatches or t.microbatches,
    reduce = a.reduce or t.reduce, mixed_ranks = a.mixed_ranks or t.mixed_ranks }
  ranks.finish()
  if ranks.rank() > 0 then return model end
  if t.recalibrate and a.recipe ~= "paper" then
    local share = math.min(1, asked.samples / usual_samples(t, a.simulations or t.simulations))
    model:recalibrate { simulations = math.max(100, math.floor(t.recalibrate * share)), seed = model.seed }
    saved(model:save(a.out .. "/model.safetensors"))
  end
  return model, experiment.assess(model, { encoder = stages.encoder, pictures = t.pictures, base = t.base }, asked,
    a.out, { simulations = a.simulations or t.simulations, quiet = a.quiet })
end

--- Checks the settings of an experiment.
-- @tparam table t
-- @tparam ?integer level of the caller that is blamed (2: the caller of this function)
-- @tparam ?string what they are of, for messages; default: experiment
-- @treturn table a copy, defaults filled in
-- @raise unknown settings, a value that is not a simulator, pictures that are not there
function experiment.check(t, level, what)
  level = level or 2
  t = check.options(what or "experiment", t, options, level + 1)
  if not simulator.is(t.simulator) then
    check.fail(level, "experiment: simulator must be made by sv.simulator; got %s", check.describe(t.simulator))
  end
  check_pictures(t, level + 1)
  return t
end

--- Trains and evaluates.
-- @tparam table t settings that `check` gave
-- @tparam table a what the command line says: out, seed, threads, quiet, net, width, steps, posterior, batch, recipe,
-- samples, workers, cache, simulations, demo, microbatches, reduce, mixed_ranks
-- @tparam ?function before () called when all is checked, before the training
-- @treturn Model
-- @treturn ?table of sv.evaluate; nil on MPI ranks but the first
-- @treturn ?table its numbers, as metrics.json has them
function experiment.run(t, a, before)
  if a.threads then core.threads(a.threads) end
  local stages, about, asked = settings(t, a)
  local model = require "simvae".model(about)
  evaluation.check(model, asked)
  if before and ranks.rank() == 0 then before() end
  return interrupt.during("interrupted; the same command goes on from there", train, t, a, model, stages, asked)
end

--- Prints the summary of an evaluation.
-- @tparam Model model
-- @tparam table r of sv.evaluate
-- @tparam ?table numbers with the findings of a diagnosis, which are named
-- @tparam ?string from the run's folder or the model's file, which `simvae doctor` is to be called with
function experiment.print(model, r, numbers, from)
  print(experiment.line(model, r))
  local findings = numbers and numbers.diagnosis.findings or {}
  for _, f in ipairs(findings) do
    print("found: " .. f.kind .. (f.parameters and " " .. table.concat(f.parameters, ", ") or ""))
  end
  if from and #findings > 0 then
    print(string.format("simvae doctor %s tells why, and what to try", shell.word(from)))
  end
  for _, warning in ipairs(r.warnings) do print("WARNING: " .. warning) end
end

--- Runs an experiment.
-- @tparam table t options
-- @tparam ?{string,...} argv the command line; default: the script's
-- @treturn Model
-- @treturn table of sv.evaluate
-- @raise unknown options, a value that is not a simulator
-- @usage
-- local trained, r = sv.experiment({ simulator = ring, width = 8, samples = 400 },
--   { "--out", "runs/ring", "--steps", "20", "--seed", "1" })
-- print(trained, r.mig)
function experiment.experiment(t, argv)
  t = experiment.check(t, 3)
  local a = parse(t, argv or arg or {})
  local model, r = experiment.run(t, a)
  if not r then return model end
  experiment.print(model, r)
  print("report: " .. a.out .. "/report.html")
  return model, r
end

return experiment
