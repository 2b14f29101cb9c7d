--- simvae report: metrics, figures and the report of a run.
local assess = require "simvae.cli.assess"
local experiment = require "simvae.cli.experiment"
local runs = require "simvae.cli.runs"

local function define(command)
  assess.options(command)
  command:option("--out", "Folder that the files are written to; default: the run's.")
end

local function run(a)
  local model, folder, settings, asked = assess.load(a)
  local out = runs.folder(a.out or folder)
  local r, numbers = experiment.assess(model, settings, asked, out, { log = folder,
    simulations = runs.simulations(folder), quiet = a.quiet })
  experiment.print(model, r, numbers, a.run)
  print("report: " .. out .. "/report.html")
end

return {
  order = 50,
  summary = "Evaluates a model and writes its report, an HTML page, with figures.",
  text = "Evaluates a model, and writes metrics.json, figures and report.html into the folder of the run.",
  examples = { "simvae report runs/box" },
  define = define,
  run = run,
}
