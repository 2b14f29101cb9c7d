--- What every example does: reads the command line, trains, evaluates, draws the
-- figures and writes the report.
--
--     sv.experiment { simulator = box, width = 32, decoder = { steps = 4000 }, encoder = { steps = 4000 } }
--
-- gives `lua train_box.lua` the options --out --seed --steps --width --threads --help
-- and fills the run directory: model.safetensors, checkpoint.safetensors, log.csv,
-- metrics.json, figures/*.png, report.html.
local check = require "simvae.check"
local core = require "simvae.core"

local experiment = {}

local options = {
  simulator = { "table", required = true },
  net = { "string|function|table" },
  width = { "integer", min = 1 },
  answers = { "integer", min = 1 },
  loss = { "string|function" },
  batch = { "integer", min = 1 },
  decoder = { "table", default = {} },
  sleep = { "table", default = {} },
  encoder = { "table", default = {} },
  recipe = { "string|table" },
  samples = { "integer", default = 10000, min = 100 },
  demo = { "table" },          -- steps and width of a short run: --demo
  workers = { "integer", min = 0 },
  simulations = { "integer", min = 1 },
  cache = { "string" },
  max_failures = { "number", min = 0, max = 1 },
  timeout = { "number", above = 0 },
  doc = { "string" },
  factors = { "table" },       -- parameters that MIG is averaged over
  refine = { "table", default = { steps = 60 } }, -- of model:invert: what the evaluation refines answers by
  base = { "table" },          -- where the other parameters stay in the traversals; default: the middle
  pictures = { "table" },      -- PNGs that the simulator did not draw, to be inferred as well
}

-- ---- command line -----------------------------------------------------------------------

local function parse(t, argv)
  local argparse = require "argparse"
  local name = t.simulator.name
  local parser = argparse("lua train_" .. name .. ".lua", t.doc or ("Learns the simulator '" .. name
    .. "' and its inverse."))
  local function whole(low)
    return function(text)
      local n = math.tointeger(tonumber(text))
      if not n or n < low then return nil, string.format("'%s' is not a whole number of %d or more", text, low) end
      return n
    end
  end
  parser:option("--out", "Folder of the run; an interrupted run goes on from there.", "runs/" .. name)
  parser:option("--seed", "Seed of weights, samples and noise.", "1"):convert(whole(0))
  parser:option("--steps", "Steps of each stage, in place of the recipe's."):convert(whole(1))
  parser:option("--width", "Channels next to the data (dcgan), or of the hidden layers (mlp)."):convert(whole(1))
  parser:option("--threads", "Threads; default: all cores."):convert(whole(1))
  parser:option("--recipe", "How to train: default or paper."):choices { "default", "paper" }
  parser:option("--samples", "Samples of the evaluation."):convert(whole(100))
  parser:option("--workers", "Processes that run the simulator beside the training; 0: none."):convert(whole(0))
  parser:option("--cache", "File that keeps the samples: a run that is started again does not make them again.")
  parser:option("--simulations", "Runs of the simulator in all: both stages go over them in epochs.")
    :convert(whole(1))
  parser:flag("--quiet", "No progress.")
  if t.demo then parser:flag("--demo", "A short run that shows the idea within minutes.") end
  return parser:parse(argv)
end

-- ---- figures ------------------------------------------------------------------------------

--- The figures of a trained model; a figure that cannot be drawn (gnuplot missing) is said and left out.
-- @tparam Model model
-- @tparam table r of sv.evaluate
-- @tparam string out the run directory
-- @tparam ?{string,...} pictures paths of PNGs that the simulator did not draw
-- @tparam ?table base where the other parameters stay in the traversals, as of figures.traversals
-- @treturn {table,...} path and caption of each figure
function experiment.figures(model, r, out, pictures, base)
  local figures = require "simvae.figures"
  local sim = model.simulator
  local folder = out .. "/figures"
  local list = {}
  local function add(caption, path, why)
    if path then
      list[#list + 1] = { path = path, caption = caption }
    else
      io.stderr:write("figure left out: " .. tostring(why) .. "\n")
    end
  end
  local units, log, period = {}, {}, {}
  for i, p in ipairs(sim.params) do units[i], log[i], period[i] = p.unit, p.scale == "log", p.period end
  local ok, refused = core.system.mkdir(folder)
  if not ok then return nil, refused end
  if #sim.output == 3 then
    local z, x = sim:simulate_batch(8, core.rng(2))
    local inferred = model:encode(x)
    add("From top to bottom: the simulator, the decoder on the same parameters, the simulator and the decoder on "
      .. "the encoder's parameters.", figures.grid(folder .. "/samples.png",
      { x, model:decode(z), sim:run(inferred), model:decode(inferred) },
      { labels = { "S(z)", "G(z)", "S(E(x))", "G(E(x))" } }))
    add("The twelve samples that the encoder gets most wrong.",
      figures.worst(folder .. "/worst.png", r.worst.x, r.worst.y))
    if pictures then
      add("Pictures that the simulator did not draw, and what simulator and decoder make of the parameters that the "
        .. "encoder finds in them.", figures.inference(folder .. "/inference.png", model, pictures))
    end
  else
    local z, x = sim:simulate_batch(6, core.rng(2))
    local inferred = model:encode(x)
    add("Six samples, left to right: the simulator, the decoder on the same parameters, the simulator and the decoder "
      .. "on the encoder's parameters.", figures.curves(folder .. "/samples.png",
      { x, model:decode(z), sim:run(inferred), model:decode(inferred) },
      { labels = { "S(z)", "G(z)", "S(E(x))", "G(E(x))" }, series = sim.series }))
  end
  if r.invariants then
    local of, logs = {}, {}
    for i, invariant in ipairs(sim.invariants) do
      of[i], logs[i] = invariant.unit or "", invariant.scale == "log" and not invariant.high
    end
    add(string.format("What the output depends on: of the inferred parameters against that of the true ones, %d "
      .. "samples within the range of comparison.", r.invariants.samples), figures.scatter(folder .. "/invariants.png",
      r.invariants.v, r.invariants.z, r.invariants.names, of, { log = logs }))
  end
  local still, moving = figures.traversals(folder .. "/traversals.png", model, { base = base })
  add("The decoder's output as one parameter moves from its lower to its upper bound, the others "
    .. (base and "staying where they are." or "at the middle."), still, moving)
  if still and moving then add("The same, moving.", moving) end
  add("Mutual information between the encoder's parameters and the true ones; below, of the true ones with "
    .. (sim.symmetry and "random equivalents of theirs" or "themselves") .. ": what a perfect encoder would show.",
    figures.heatmap(folder .. "/mim.png", { r.mim, r.truth.mim }, { labels = sim.names,
      titles = { "encoder", "ground truth" } }))
  add("Inferred against true.", figures.scatter(folder .. "/scatter.png", r.z, r.mean, sim.names, units, { log = log }))
  add("Errors of each parameter.", figures.errors(folder .. "/errors.png", r.z, r.mean, sim.names, units,
    { period = period }))
  add("The losses of all stages.", figures.learning_curves(folder .. "/learning.png", out .. "/log.csv"))
  return list
end

-- ---- the whole of it ---------------------------------------------------------------------

local function write_json(path, value)
  local json = require "dkjson"
  local ok, refused = core.io.write(path, { json.encode(value, { indent = true }), "\n" })
  if not ok then return nil, path .. ": " .. refused end
  return true
end

local function plain_gap(chance)
  return chance and { mig = chance.mig, mig_std = chance.mig_std }
end

--- The numbers of an evaluation, without its tensors: what metrics.json holds.
function experiment.numbers(model, r)
  return {
    simulator = model.simulator.name, seed = model.seed, net = type(model.net) == "string" and model.net or "custom",
    width = model.width, steps = model.trained, version = core.version, threads = core.threads(),
    processor = (core.system.processor()), training_seconds = model.seconds,
    samples = r.samples, failures = r.failures, outside = r.outside, factors = r.options.factors,
    mig = r.mig, gaps = r.gaps, interval = r.interval, chance = plain_gap(r.chance), mim = r.mim:totable(),
    truth = {
      mig = r.truth.mig, mim = r.truth.mim:totable(), interval = r.truth.interval, chance = plain_gap(r.truth.chance),
      plain = { mig = r.truth.plain.mig, mim = r.truth.plain.mim:totable() },
    },
    rmse = r.rmse, rmse_relative = r.rmse_relative, accuracy = r.accuracy, resimulation_r2 = r.resimulation_r2,
    decoder_mse = r.decoder_mse, decoder_r2 = r.decoder_r2, iou = r.iou,
    orbit_mim = { score = r.orbit.score, separation = r.orbit.separation, accuracy = r.orbit.accuracy,
      separations = r.orbit.separations, mim = r.orbit.mim:totable(), chance = r.orbit.chance:totable() },
    consistent_mim = r.consistent and { score = r.consistent.score, by = r.consistent.by },
    invariants = r.invariants and { samples = r.invariants.samples, by = r.invariants.by },
    refined = r.refined and { samples = r.refined.samples, steps = r.refined.steps, starts = r.refined.starts,
      iou = r.refined.iou, resimulation_r2 = r.refined.resimulation_r2, rmse = r.refined.rmse,
      rmse_relative = r.refined.rmse_relative, seconds = r.refined.seconds },
    coverage = r.coverage, notes = r.notes, evaluation_seconds = r.seconds,
  }
end

--- One line that says how good it is.
function experiment.line(model, r)
  local parts = {}
  for _, p in ipairs(model.simulator.params) do
    parts[#parts + 1] = string.format("%s %.3g%s", p.name, r.rmse[p.name], p.unit ~= "" and " " .. p.unit or "")
  end
  local again = r.resimulation_r2 and string.format("%.4f", r.resimulation_r2) or "none"
  if r.iou then again = again .. string.format("  IoU %.3f", r.iou) end
  if r.refined and r.refined.iou then again = again .. string.format(" (refined %.3f)", r.refined.iou) end
  for _, name in ipairs(r.invariants and r.invariants.names or {}) do
    local fit = r.invariants.by[name]
    again = again .. string.format("  %s slope %.4f R2 %.4f", name, fit.slope, fit.r2)
  end
  return string.format("MIG %.3f (truth %.3f)  re-simulation R2 %s  decoder MSE %.5f  RMSE %s", r.mig, r.truth.mig,
    again, r.decoder_mse, table.concat(parts, ", "))
end

--- Runs an experiment.
-- @tparam table t simulator; net, width, answers, loss, batch, decoder, sleep, encoder, recipe (as of sv.model and
-- model:train); samples (10000); factors: names of the parameters that MIG is averaged over (all);
-- refine ({ steps = 60 }): what the evaluation refines a tenth of its samples by, as of model:invert;
-- base: where parameters stay in the traversals while another moves (the middle); pictures: paths of PNGs to be
-- inferred as well; demo = { steps =, width = }: offers --demo; doc: what --help says;
-- workers, simulations, cache, max_failures, timeout: as of model:train
-- @tparam ?{string,...} argv the command line; default: the script's
-- @treturn Model
-- @treturn table of sv.evaluate
function experiment.experiment(t, argv)
  t = check.options("experiment", t, options)
  local sv = require "simvae"
  local a = parse(t, argv or arg or {})
  if a.threads then core.threads(a.threads) end
  local budget = a.demo and t.demo or {}
  local steps, width = a.steps or budget.steps, a.width or budget.width or t.width
  local stages = {}
  for _, stage in ipairs(require "simvae.model".stages) do
    local o = {}
    if a.recipe ~= "paper" then -- whose budget is its own
      for k, v in pairs(t[stage]) do o[k] = v end
    end
    if stage ~= "sleep" or o.steps then o.steps = steps or o.steps end
    stages[stage] = o
  end
  local net, bounded, answers = t.net, nil, t.answers
  if a.recipe == "paper" then -- its architecture and its plain encoder as well
    bounded, answers = false, nil
    if #t.simulator.output == 3 then net, width = "dcgan", a.width or 16 end
  end
  local model = sv.model { simulator = t.simulator, net = net, width = width, loss = t.loss, seed = a.seed,
    bounded = bounded, answers = answers }
  io.stderr:write(tostring(t.simulator), "\n", tostring(model), "\n")
  model:train { out = a.out, batch = t.batch, recipe = a.recipe or t.recipe, decoder = stages.decoder,
    sleep = stages.sleep, encoder = stages.encoder, quiet = a.quiet, workers = a.workers or t.workers,
    cache = a.cache or t.cache, simulations = a.simulations or t.simulations,
    max_failures = t.max_failures, timeout = t.timeout }
  local samples = a.samples or (a.demo and budget.samples) or t.samples
  local refine = { samples = math.max(2, samples // 10) } -- it takes long
  for k, v in pairs(t.refine) do refine[k] = v end
  local r = sv.evaluate(model, { samples = samples, factors = t.factors, refine = refine })
  local written, refused = write_json(a.out .. "/metrics.json", experiment.numbers(model, r))
  if not written then error(refused, 0) end
  local figures = experiment.figures(model, r, a.out, t.pictures, t.base)
  sv.report(a.out, { model = model, results = r, figures = figures, numbers = experiment.numbers(model, r) })
  print(experiment.line(model, r))
  print("report: " .. a.out .. "/report.html")
  return model, r
end

return experiment
