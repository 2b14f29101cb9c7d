--- simvae figures: the figures of a run.
local assess = require "simvae.cli.assess"
local experiment = require "simvae.cli.experiment"
local outcome = require "simvae.cli.outcome"
local runs = require "simvae.cli.runs"

local function define(command)
  assess.options(command)
  command:option("--out", "Folder in which figures is made; default: the run's.")
end

local function run(a)
  local model, folder, settings, asked = assess.load(a)
  local out = runs.folder(a.out or folder)
  local r = require "simvae".evaluate(model, asked)
  local list = outcome.need(experiment.figures(model, r, out, settings.pictures, settings.base, folder))
  for _, figure in ipairs(list) do print(figure.path) end
end

return {
  order = 60,
  summary = "Draws the figures of a model.",
  text = "Evaluates a model and draws its figures into the folder figures of the run. Charts need gnuplot; without it "
    .. "their data are written.",
  examples = { "simvae figures runs/box", "simvae figures runs/box --out paper" },
  define = define,
  run = run,
}
