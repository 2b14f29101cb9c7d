--- simvae train: trains and evaluates a model of a simulator.
local experiment = require "simvae.cli.experiment"
local json = require "simvae.io.json"
local runs = require "simvae.cli.runs"
local source = require "simvae.cli.source"

local function define(command)
  command:argument("simulator", source.text)
  experiment.options(command)
  command:flag("--json", "Prints the numbers of metrics.json in place of the summary.")
end

local function run(a)
  local settings, from = source.settings(a.simulator)
  settings = experiment.check(settings, 2, a.simulator)
  a.out = a.out or "runs/" .. settings.simulator.name:gsub("[^%w._-]", "_")
  local model, r, numbers = experiment.run(settings, a, function()
    runs.record(a.out, settings.simulator, from, a.simulations or settings.simulations)
  end)
  if not r then return end -- an MPI rank that does not write
  if a.json then
    print(json.encode(numbers, true))
    return
  end
  experiment.print(model, r, numbers, a.out)
  print("report: " .. a.out .. "/report.html")
end

return {
  order = 30,
  summary = "Trains a model of a simulator, evaluates it and writes a report.",
  text = "Trains a model of a simulator, evaluates it and writes a report. The folder of the run then holds "
    .. "model.safetensors, checkpoint.safetensors, log.csv, metrics.json, figures and report.html. The same command "
    .. "resumes a run that was interrupted.",
  examples = { "simvae train box", "simvae train ring.lua --posterior flow --steps 4000 --out runs/ring",
    "mpirun -n 4 simvae train ring.lua" },
  define = define,
  run = run,
}
