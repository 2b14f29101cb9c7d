--- simvae: learns a simulator and its inverse. The public table; the pieces are in
-- their own files.
local core = require "simvae.core"
require "simvae.tensor"
require "simvae.display"

local sv = {
  version = core.version,
  real = core.real,
  rng = core.rng,
  tensor = core.tensor, zeros = core.zeros, ones = core.ones, full = core.full, arange = core.arange,
  parameter = core.parameter, buffer = core.buffer,
  tape = core.tape, scope = core.scope, no_grad = core.no_grad,
  memory = core.memory, release_memory = core.release_memory,
  threads = core.threads,
}

for name in pairs(core.ops) do
  sv[name] = core[name]
end

-- Modules and functions that are read when first used: `require "simvae"` stays quick.
local modules = {
  nn = "simvae.nn", nets = "simvae.nets", optim = "simvae.optim", io = "simvae.io", metrics = "simvae.metrics",
  figures = "simvae.figures", recipes = "simvae.train.recipes", sampler = "simvae.sampler",
  preprocess = "simvae.preprocess", symmetry = "simvae.symmetry", linalg = "simvae.linalg",
}
local functions = {
  simulator = { "simvae.simulator", "new" },
  simulate = { "simvae.sampler", "simulate" },
  replay = { "simvae.sampler", "replay" },
  model = { "simvae.model", "new", also = { "simvae.train", "simvae.invert" } },
  load = { "simvae.model", "load", also = { "simvae.train", "simvae.invert" } },
  evaluate = { "simvae.evaluate" },
  report = { "simvae.report" },
  grad_check = { "simvae.autograd", "grad_check" },
  help = { "simvae.help" },
  spice = { "simvae.spice" },
  command = { "simvae.command" },
  dataset = { "simvae.dataset" },
  draw = { "simvae.draw" },
  experiment = { "simvae.experiment" },
}

return setmetatable(sv, {
  __index = function(t, name)
    local value
    if modules[name] then
      value = require(modules[name])
    elseif functions[name] then
      local f = functions[name]
      for _, more in ipairs(f.also or {}) do require(more) end
      value = require(f[1])
      if f[2] then
        value = value[f[2]]
      elseif type(value) == "table" and value[name] then
        value = value[name]
      end
    end
    if value ~= nil then rawset(t, name, value) end
    return value
  end,
})
