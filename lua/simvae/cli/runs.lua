--- The folder of a run and the models in it: what the commands that take RUN or MODEL are given.
--
-- run.json says where the simulator comes from: { "simulator": its name, "source": a built-in name or the path of a
-- script, "version", "series" and "axis": the curves that make up its output (sv.simulator), which a model's file does
-- not hold, "simulations": their number, where the training was limited to some }.
local check = require "simvae.util.check"
local core = require "simvae.core"
local experiment = require "simvae.cli.experiment"
local json = require "simvae.io.json"
local outcome = require "simvae.cli.outcome"
local source = require "simvae.cli.source"

local runs = {}

local function is_file(path) return core.system.kind(path) == "file" end

-- The record of a run's folder; nil where there is none.
local function record_of(folder)
  local record = is_file(folder .. "/run.json") and json.load(folder .. "/run.json")
  return type(record) == "table" and type(record.source) == "string" and record or nil
end

--- Writes run.json; a folder of another simulator's run is refused.
-- @tparam string folder created where it does not exist
-- @tparam Simulator sim
-- @tparam string from what source.settings gave
-- @tparam ?integer simulations their number, where it is limited
function runs.record(folder, sim, from, simulations)
  local before = record_of(folder)
  if before and before.simulator ~= sim.name and is_file(folder .. "/checkpoint.safetensors") then
    outcome.fail("%s is a run of the simulator '%s', not of '%s': give another --out, or delete the folder", folder,
      tostring(before.simulator), sim.name)
  end
  outcome.need(core.system.mkdir(folder))
  outcome.need(json.save(folder .. "/run.json", { simulator = sim.name, source = from, version = core.version,
    series = sim.series, axis = sim.series and sim.series.axis, simulations = simulations }))
end

--- The number of simulations that a run's training was limited to.
-- @tparam string folder
-- @treturn ?integer
function runs.simulations(folder)
  local n = math.tointeger((record_of(folder) or {}).simulations)
  return n and n > 0 and n or nil
end

-- Gives the placeholder of a simulator the series of the run's record.
local function take_series(sim, folder)
  local record = rawget(sim, "placeholder") and record_of(folder)
  local series = record and record.series
  if type(series) ~= "table" or #series == 0 or #sim.output ~= 1 or sim.output[1] % #series ~= 0 then return end
  for _, one in ipairs(series) do
    if type(one) ~= "table" or type(one.name) ~= "string" then return end
  end
  series.axis = type(record.axis) == "table" and record.axis or nil
  rawset(sim, "series", series)
end

-- How a training of a folder is resumed, as a command line.
local function resume_text(folder)
  local record = record_of(folder)
  return string.format("simvae train %s --out %s", record and record.source or "SIMULATOR", folder)
end

-- The process that trains in a folder, as text; nil: none does.
local function trainer_of(folder)
  local path = folder .. "/train.lock"
  if not is_file(path) then return nil end
  local lock <close>, reason, kind = core.io.lock(path) -- luacheck: ignore lock
  return kind == "held" and reason or nil
end

-- The model's file of a path, and the run's folder.
local function locate(path)
  local kind = core.system.kind(path)
  if kind == "file" then
    local folder = path:match "^(.*)/[^/]*$" or "."
    if path:find "checkpoint[%w.]*%.safetensors$" and is_file(folder .. "/model.safetensors") then
      outcome.fail("%s is a checkpoint; the model is %s/model.safetensors", path, folder)
    end
    return path, folder
  end
  if kind ~= "folder" then outcome.fail("%s: there is no such file or folder", path) end
  path = path:gsub("(.)/+$", "%1")
  local model = path .. "/model.safetensors"
  if is_file(model) then return model, path end
  local trainer = trainer_of(path)
  if trainer then
    outcome.fail("%s holds no model yet: %s trains there; the model is there when that has ended", path, trainer)
  end
  if is_file(path .. "/checkpoint.safetensors") or is_file(path .. "/log.csv") or is_file(path .. "/run.json") then
    outcome.fail("%s holds no model yet: its training has not ended; `%s`, with the options of then, resumes it", path,
      resume_text(path))
  end
  outcome.fail("%s is not the folder of a run: it has no model.safetensors", path)
end

-- Settings of the simulator of a run: given, or those of its record; nil: neither.
local function settings_of(folder, given)
  if given then return source.settings(given) end
  local record = record_of(folder)
  if not record then return nil end
  if record.source:find "/" and not is_file(record.source) then
    outcome.fail("%s was trained on the simulator of %s, which is not there any more: give --simulator FILE.lua",
      folder, record.source)
  end
  return source.settings(record.source)
end

--- A folder that files are written to, created where it does not exist.
-- @tparam string path
-- @treturn string without a slash at its end
function runs.folder(path)
  outcome.need(core.system.mkdir(path))
  return (path:gsub("(.)/+$", "%1"))
end

--- Adds the option of commands that run a model's simulator.
-- @tparam table command of argparse
function runs.option(command)
  command:option("--simulator", "The model's simulator, where the run does not know it: a script or a built-in name.")
    :argname "<file>"
end

--- Loads the model of a run or a file.
-- @tparam string path the folder of a run, or a model's file
-- @tparam ?table o simulator: as --simulator gives it; runs: whether the simulator has to run (false)
-- @treturn Model
-- @treturn string the folder
-- @treturn table settings of its experiment, checked; of a model without its simulator { simulator = … }
function runs.load(path, o)
  o = o or {}
  local file, folder = locate(path)
  local settings
  if o.runs or o.simulator then settings = settings_of(folder, o.simulator) end
  if settings then settings = experiment.check(settings) end
  local model = outcome.need(require "simvae".load(file, settings and settings.simulator,
    settings and { net = type(settings.net) ~= "string" and settings.net or nil,
      loss = type(settings.loss) == "function" and settings.loss or nil } or nil))
  if o.runs and not settings then
    if rawget(model.simulator, "placeholder") then
      outcome.fail("%s: the model does not hold its simulator '%s': give --simulator FILE.lua, the script that returns "
        .. "it", file, model.simulator.name)
    end
    settings = experiment.check(source.settings(model.simulator.name))
    settings.simulator = model.simulator
  end
  take_series(model.simulator, folder)
  return model, folder, settings or experiment.check { simulator = model.simulator }
end

--- The names of a model's parameters, as an error about one of them says them.
-- @tparam Model model
-- @tparam string name that is none of them
-- @treturn string
function runs.suggestion(model, name)
  local names = model.simulator.names
  return check.suggestion(name, names, "; its parameters are " .. table.concat(names, ", "))
end

return runs
