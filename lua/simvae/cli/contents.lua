--- What a file or folder holds: for `simvae info`. Files are told apart by their first bytes.
local cache = require "simvae.sampler.cache"
local check = require "simvae.util.check"
local container = require "simvae.io.container"
local core = require "simvae.core"
local csv = require "simvae.io.csv"
local files = require "simvae.io"
local format_of = require "simvae.io.file".format
local json = require "simvae.io.json"
local outcome = require "simvae.cli.outcome"
local parameter = require "simvae.simulator.parameter"
local simulator = require "simvae.simulator"
local stages = require "simvae.train.stages"

local contents = {}

local function shape_of(list) return table.move(list, 1, #list, 1, {}) end

local function parameters_of(sim)
  local list = {}
  for i, p in ipairs(sim.params) do list[i] = parameter.range_text(p) end
  return list
end

-- ---- models and checkpoints -----------------------------------------------------------------------

local function of_model(path)
  local model = outcome.need(require "simvae".load(path))
  local sim = model.simulator
  return { kind = "model", simulator = sim.name, parameters = parameters_of(sim), output = shape_of(sim.output),
    net = model.net, width = model.width, posterior = model.head.name, decoder = model.likelihood.name,
    members = model.members > 1 and model.members or nil, extra = model.extra > 0 and model.extra or nil,
    seed = model.seed, steps = stages.text(model.trained, true),
    weights = model.decoder:count() + model.encoder:count(), recalibrated = model.recalibration and true or nil,
    rounds = model.focus and model.focus.rounds or nil,
    needs_simulator = rawget(sim, "placeholder") or nil }
end

local function of_checkpoint(metadata)
  local run = json.decode(metadata.run or "")
  if type(run) ~= "table" then outcome.fail("the description of the checkpoint cannot be read") end
  local about = type(run.configuration) == "table" and run.configuration or {}
  local stage = type(about[run.stage]) == "table" and about[run.stage] or {}
  return { kind = "checkpoint", simulator = about.simulator, net = about.net, width = about.width,
    posterior = about.posterior, stage = run.stage, step = run.step, of = stage.steps, seconds = run.seconds,
    version = metadata.version }
end

local function of_safetensors(path)
  local tensors, metadata = files.load_safetensors(path)
  if not tensors then outcome.fail("%s", metadata) end
  if metadata.format == "simvae" then return of_model(path) end
  if metadata.format == "simvae checkpoint" then return of_checkpoint(metadata) end
  local shapes = {}
  for name, t in pairs(tensors) do shapes[name] = shape_of(t.shape) end
  return { kind = "safetensors", tensors = shapes, metadata = next(metadata) and metadata or nil }
end

-- The shards in a folder; nil: there are none.
local function shards_in(path)
  local list = require "simvae.sampler.shards.files".list(path)
  if not list or #list == 0 then return nil end
  local s = outcome.need(require "simvae.sampler.shards".status(path))
  return { kind = "shards", simulator = s.simulator, samples = s.total, done = s.done, shards = s.of, seed = s.seed,
    source = s.source }
end

local function of_folder(path)
  local function there(name) return core.system.kind(path .. "/" .. name) == "file" end
  local function read(name)
    local t = there(name) and json.load(path .. "/" .. name)
    return type(t) == "table" and t or {}
  end
  if not (there "model.safetensors" or there "checkpoint.safetensors") then
    local shards = shards_in(path)
    if shards then return shards end
    outcome.fail("%s is not the folder of a run: it has neither model.safetensors nor checkpoint.safetensors", path)
  end
  local about = there "model.safetensors" and of_model(path .. "/model.safetensors")
    or of_safetensors(path .. "/checkpoint.safetensors")
  local numbers = read "metrics.json"
  about.state = there "model.safetensors" and "trained" or "interrupted"
  about.kind, about.source, about.report = "run", read "run.json".source, there "report.html" or nil
  about.mig, about.rmse, about.resimulation_r2 = numbers.mig, numbers.rmse, numbers.resimulation_r2
  return about
end

-- ---- samples and data -----------------------------------------------------------------------------

local function of_cache(path)
  local about = outcome.need(cache.describe(path))
  local sim = simulator.new { name = about.name, params = about.params, output = about.output,
    simulate = function() end }
  local samples = outcome.need(cache.open(path, sim, nil, false))
  local found = { kind = "sample cache", simulator = sim.name, parameters = parameters_of(sim),
    output = shape_of(sim.output), seed = about.seed, samples = samples.count,
    damaged = samples.damaged > 0 and samples.damaged or nil }
  samples:close()
  return found
end

local function of_npy(path)
  local x = outcome.need(files.load_npy(path))
  local finite = x:finite()
  return { kind = "npy array", shape = shape_of(x.shape), finite = finite,
    low = x.count > 0 and finite and core.min(x):item() or nil,
    high = x.count > 0 and finite and core.max(x):item() or nil }
end

local function of_npz(path)
  local shapes, others = require "simvae.io.npz".shapes(path)
  if not shapes then outcome.fail("%s", others) end
  local arrays = {}
  for name, one in pairs(shapes) do arrays[name] = { shape = shape_of(one.shape), type = one.dtype } end
  return { kind = "npz arrays", arrays = arrays, others = next(others) and others or nil }
end

local function of_container(path, format)
  local list = outcome.need((format == "hdf5" and files.list_hdf5 or files.list_mat)(path))
  local arrays, others = {}, {}
  for _, e in ipairs(list) do
    if e.dtype then arrays[e.name] = { shape = shape_of(e.shape), type = e.dtype } else others[e.name] = e.is end
  end
  return { kind = format == "hdf5" and "HDF5 arrays" or "MATLAB arrays", arrays = arrays,
    others = next(others) and others or nil }
end

local function of_png(path)
  local x = outcome.need(files.load_png(path, { alpha = true }))
  return { kind = "PNG picture", channels = x.shape[1], height = x.shape[2], width = x.shape[3] }
end

local of_format = { png = of_png, npy = of_npy, npz = of_npz }

local function of_csv(path)
  local header, rows = csv.read(path)
  if not header then return nil end
  if #header == 1 and not path:lower():find "%.[ct]sv$" then return nil end
  return { kind = "table", columns = shape_of(header), rows = #rows }
end

local function of_simulator(sim)
  return { kind = "simulator", simulator = sim.name, doc = sim.doc, parameters = parameters_of(sim),
    output = shape_of(sim.output), noise = sim.noise ~= nil or nil }
end

--- Describes a file, the folder of a run, or a simulator by name or script.
-- @tparam string path
-- @treturn table kind, and what there is of it
function contents.of(path)
  local kind = core.system.kind(path)
  if kind == "folder" then return of_folder((path:gsub("(.)/+$", "%1"))) end
  if kind ~= "file" or path:find "%.lua$" then
    return of_simulator(require "simvae.cli.source".simulator(path))
  end
  local file <close> = outcome.need(io.open(path, "rb"))
  local start = file:read(4096) or ""
  local format = format_of(start)
  if format then return of_format[format](path) end
  format = container.format(start)
  if format then return of_container(path, format) end
  if cache.is(path) then return of_cache(path) end
  if start:sub(9, 9) == "{" or path:find "%.safetensors$" then return of_safetensors(path) end
  local text = not start:sub(1, 9):find "%c" or start:find "^%g*[\r\n\t]"
  return text and of_csv(path) or outcome.fail("%s is of no kind that simvae reads: models, checkpoints, sample "
    .. "caches, .npy, .npz, HDF5, MATLAB, PNG, CSV", path)
end

--- Its text.
-- @tparam table about
-- @treturn string
function contents.text(about)
  local lines = { about.kind }
  local function value(v)
    if type(v) ~= "table" then
      return math.type(v) == "float" and string.format("%.6g", v) or require "simvae.io.file".printable(tostring(v))
    end
    if #v > 0 then
      for _, one in ipairs(v) do
        if type(one) ~= "number" then return nil end
      end
      return check.shape_text(v)
    end
  end
  local function add(t, indent)
    local keys, width = {}, 0
    for k in pairs(t) do
      if not (indent == "" and k == "kind") then keys[#keys + 1] = k end
      width = math.max(width, #tostring(k))
    end
    table.sort(keys, function(p, q)
      if type(p) == type(q) then return p < q end
      return type(p) == "number"
    end)
    for _, k in ipairs(keys) do
      local name = type(k) == "number" and indent or string.format("%s%-" .. width .. "s  ", indent, k)
      local text = value(t[k])
      lines[#lines + 1] = "  " .. (text and name .. text or name:gsub(" +$", ""))
      if not text then add(t[k], indent .. "  ") end
    end
  end
  add(about, "")
  return table.concat(lines, "\n")
end

return contents
