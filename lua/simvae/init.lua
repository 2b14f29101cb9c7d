--- simvae: learns a simulator and its inverse. The public table; the pieces are in
-- their own files.
local core = require "simvae.core"
require "simvae.tensor"
local content = require "simvae.util.content"
local names = require "simvae.util.names"

local sv = {
  version = core.version,
  real = core.real,
  rng = core.rng,
  tensor = core.tensor, zeros = core.zeros, ones = core.ones, full = core.full, arange = core.arange,
  parameter = core.parameter, buffer = core.buffer,
  tape = core.tape, scope = core.scope, no_grad = core.no_grad,
  is_recording = core.is_recording,
  release_memory = core.release_memory,
  threads = core.threads,
}

--- Bytes of tensors.
-- @treturn table live: under open tapes; pooled: in free lists; peak: the most of both
-- @usage print(sv.memory().peak >= 0)
function sv.memory()
  return content(core.memory())
end

for name in pairs(core.ops) do
  sv[name] = core[name]
end

-- Modules and functions that are read when first used: `require "simvae"` stays quick.
local modules = {
  nn = "simvae.nn", nets = "simvae.nn.nets", optim = "simvae.nn.optim", io = "simvae.io", metrics = "simvae.metrics",
  figures = "simvae.figures", recipes = "simvae.train.recipes", sampler = "simvae.sampler",
  shards = "simvae.sampler.shards",
  preprocess = "simvae.model.preprocess", symmetry = "simvae.simulator.symmetry", linalg = "simvae.linalg",
  export = "simvae.export",
}
local functions = {
  seed = { "simvae.tensor.random", "seed" },
  rand = { "simvae.tensor.random", "rand" },
  randn = { "simvae.tensor.random", "randn" },
  one_hot = { "simvae.tensor.one_hot", "one_hot" },
  simulator = { "simvae.simulator", "new" },
  simulate = { "simvae.sampler", "simulate" },
  rank = { "simvae.train.ranks", "rank" },
  chain = { "simvae.chain", "new" },
  replay = { "simvae.sampler", "replay" },
  model = { "simvae.model", "new" },
  load = { "simvae.model", "load" },
  code = { "simvae.model.code", "code" },
  evaluate = { "simvae.evaluate" },
  report = { "simvae.report" },
  diagnose = { "simvae.diagnosis" },
  grad_check = { "simvae.tensor.autograd", "grad_check" },
  help = { "simvae.util.help" },
  spice = { "simvae.simulator.spice" },
  command = { "simvae.simulator.command" },
  dataset = { "simvae.simulator.dataset" },
  draw = { "simvae.simulator.draw" },
  experiment = { "simvae.cli.experiment" },
}

local function load_module(name)
  local module = require(modules[name])
  if not getmetatable(module) then names.module(module, "sv." .. name) end
  return module
end

local function load_function(name)
  local f = functions[name]
  local value = require(f[1])
  if f[2] then return value[f[2]] end
  if type(value) == "table" and rawget(value, name) then return value[name] end
  return value
end

local lazy = {}
for name in pairs(modules) do lazy[#lazy + 1] = name end
for name in pairs(functions) do lazy[#lazy + 1] = name end

names.module(sv, "sv", {
  load = function(name)
    return modules[name] and load_module(name) or functions[name] and load_function(name) or nil
  end,
  more = function() return lazy end,
})

return sv
