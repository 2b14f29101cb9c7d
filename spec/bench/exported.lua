-- Work of the benchmark on exported models: one row through a decoder, 1,000 draws of one posterior.
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

--- @tparam string file of the arrays; beside it lie file.onnx and file.safetensors
-- @tparam string kind "mlp", "conv" or "sample"
-- @tparam string form "file": takes the model from file.safetensors, where it is, instead of making all of these
-- @tparam function save (model, arrays) writes the file
-- @treturn function that calls the direction once
-- @treturn function the same, which returns its result
return function(file, kind, form, save)
  local options, what = kinds[kind]()
  local sim, own = options.simulator, file .. ".safetensors"
  local loads = form == "file" and exists(own)
  local model = loads and assert(sv.load(own, sim)) or sv.model(options)
  local rng = core.rng(2)
  local z, x = sv.simulate(sim, 1, rng)
  local u = rng:uniform(0, 1, { 1, DRAWS, #sim.params })
  if not loads then
    local arrays = arrays_of(model)
    arrays.z, arrays.x, arrays.u = z, x, u
    save(model, arrays)
    assert(model:save(own))
    assert(sv.export.onnx(model, file .. ".onnx", { what = what, overwrite = true }))
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
