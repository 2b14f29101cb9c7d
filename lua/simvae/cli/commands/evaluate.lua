--- simvae evaluate: evaluates the model of a run on fresh samples of its simulator.
local assess = require "simvae.cli.assess"
local core = require "simvae.core"
local experiment = require "simvae.cli.experiment"
local json = require "simvae.io.json"
local outcome = require "simvae.cli.outcome"
local runs = require "simvae.cli.runs"

local function define(command)
  assess.options(command)
  command:flag("--json", "Prints the numbers of metrics.json.")
end

local function run(a)
  local model, folder, settings, asked = assess.load(a)
  local r, numbers = experiment.measure(model, settings, asked, { simulations = runs.simulations(folder),
    quiet = a.quiet })
  if core.system.kind(a.run) == "folder" then
    local path = folder .. "/metrics.json"
    local before = core.system.kind(path) and json.load(path) -- written by the training, which knows how long it took
    numbers.training_seconds = numbers.training_seconds or type(before) == "table" and before.training_seconds or nil
    outcome.need(json.save(path, numbers))
  end
  if a.json then print(json.encode(numbers, true)) else experiment.print(model, r, numbers, a.run) end
end

return {
  order = 40,
  summary = "Evaluates a model on fresh samples of its simulator.",
  text = "Evaluates a model on fresh samples of its simulator, prints a summary and writes metrics.json into the "
    .. "folder of the run.",
  examples = { "simvae evaluate runs/box", "simvae evaluate model.safetensors --simulator ring.lua --json" },
  define = define,
  run = run,
}
