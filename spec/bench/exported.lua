-- Work of the benchmark on exported models: one row through a decoder, 1,000 draws of one posterior, as it was trained
-- and recalibrated.
local core = require "simvae.core"
local sv = require "simvae"

local kinds = {}

-- A decoder of a vector, 3-128-128-128-122, with logarithms and standardisation around it.
function kinds.mlp()
  return { simulator = require "simvae.simulators.rlc" { engine = "analytic" }, net = "mlp", width = 128, seed = 1 },
    "decode"
end

-- A decoder of a picture.
function kinds.conv()
  return { simulator = require "simvae.simulators.box", net = "conv", width = 32, seed = 1 }, "decode"
end

function kinds.sample() return (kinds.mlp()), "sample" end

function kinds.corrected()
  return (kinds.mlp()), "sample", function(model)
    model:train { decoder = { steps = 100 }, encoder = { steps = 100 }, quiet = true }
    model:recalibrate { simulations = 500 }
  end
end

local DRAWS = 1000

-- The bounds of the parameters, and the standardisation of outputs.
local function arrays_of(model)
  local low, high = {}, {}
  for k, p in ipairs(model.simulator.params) do low[k], high[k] = p.low, p.high end
  return { low = core.tensor(low), high = core.tensor(high), mean = model.loss.mean, std = model.loss.std }
end

local function exists(path)
  local f <close> = io.open(path, "rb")
  return f ~= nil
end

-- Inputs as bare floats, for those that read no .npz.
local function write_inputs(path, inputs)
  local bytes = {}
  for _, t in ipairs(inputs) do
    for _, v in ipairs(core.reshape(t, -1):totable()) do bytes[#bytes + 1] = string.pack("<f", v) end
  end
  assert(core.io.write(path, { table.concat(bytes) }))
end

-- All files of a model, and the inputs of its direction.
local function write_files(model, file, what, inputs)
  assert(model:save(file .. ".safetensors"))
  local o = { what = what, overwrite = true }
  assert(sv.export.onnx(model, file .. ".onnx", o))
  assert(sv.export.c(model, file .. ".c", { what = what, overwrite = true, prefix = "m" }))
  assert(sv.export.web(model, file .. ".html", o))
  if what == "decode" then assert(sv.export.fmu(model, file .. ".fmu", o)) end
  write_inputs(file .. ".inputs", inputs)
end

--- @tparam string file of the arrays; beside it lie the exported ones, and file.inputs
-- @tparam string kind "mlp", "conv", "sample" or "corrected"
-- @tparam string form "file": takes the model from file.safetensors, where it is, instead of making all of these
-- @tparam function save (model, arrays) writes the file
-- @treturn function that calls the direction once
-- @treturn function the same, which returns its result
return function(file, kind, form, save)
  local options, what, prepare = kinds[kind]()
  local sim, own = options.simulator, file .. ".safetensors"
  local loads = form == "file" and exists(own)
  local model = loads and assert(sv.load(own, sim)) or sv.model(options)
  if prepare and not loads then prepare(model) end
  local rng = core.rng(2)
  local z, x = sv.simulate(sim, 1, rng)
  local u = rng:uniform(0, 1, { 1, DRAWS, #sim.params })
  if not loads then
    local arrays = arrays_of(model)
    arrays.z, arrays.x, arrays.u = z, x, u
    save(model, arrays)
    write_files(model, file, what, what == "decode" and { z } or { x, u })
  end
  local function call()
    if what == "decode" then return model:decode(z) end
    return model:posterior(x):sample(DRAWS, core.rng(3))
  end
  return function()
    local scope <close> = core.scope()
    call()
  end, function()
    return what == "sample" and sv.export.graph(model, { what = what })[1]:run({ x, u })[1] or call()
  end
end
