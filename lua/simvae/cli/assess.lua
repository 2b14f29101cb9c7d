--- Shared by the commands that evaluate a run: evaluate, report, figures, doctor.
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local experiment = require "simvae.cli.experiment"
local min_samples = require "simvae.evaluate.options".min_samples
local runs = require "simvae.cli.runs"

local assess = {}

--- Adds their arguments and options.
-- @tparam table command of argparse
-- @tparam ?string text of the argument
function assess.options(command, text)
  command:argument("run", text or "The folder of a run, or the file of a model.")
  runs.option(command)
  command_line.number(command, "--samples", "Samples of the evaluation.", min_samples)
  command:flag("--quiet", "No progress.")
  command_line.number(command, "--threads", "Threads; default: all cores.", 1, command_line.max_threads)
end

--- Loads the model that the command line names, with its simulator.
-- @tparam table a run, simulator, samples, threads
-- @treturn Model
-- @treturn string the folder of the run
-- @treturn table settings of its experiment
-- @treturn table options of sv.evaluate
function assess.load(a)
  if a.threads then core.threads(a.threads) end
  local model, folder, settings = runs.load(a.run, { simulator = a.simulator, runs = true })
  return model, folder, settings, experiment.evaluation(settings, a.samples, runs.simulations(folder))
end

return assess
