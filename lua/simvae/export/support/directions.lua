--- The directions of a model as graphs, in the simulator's units:
--
--     decode      z (N, K) -> x (N, …output): model:decode(z), without the distribution about it
--     encode      x (N, …output) [, noise (N,)] -> mean (N, K), std (N, K)
--     sample      x (N, …output) [, noise (N,)], u (N, M, D) -> z (N, M, K): draws of the posterior, from uniform
--                 numbers
--     log_prob    x (N, …output) [, noise (N,)], z (N, M, K) -> log_prob (N, M): its log density
--     posterior   both of these
--
-- encode is model:encode where that has one estimate. Where it compares several by the decoder, which is no function of
-- one output, it is an estimate of the posterior alone: of "mixture" the most probable component of model:infer, of
-- "flow" the mean and the standard deviation of the same 128 draws, of members the mean and the standard deviation of
-- their mixture.
local check = require "simvae.util.check"
local core = require "simvae.core"
local cube = require "simvae.posterior.support.cube"
local dim = require "simvae.export.support.dim"
local graph = require "simvae.export.support.graph"
local levels = require "simvae.model.levels"
local recalibration = require "simvae.model.recalibration"
local refuse = require "simvae.export.support.refuse"
local units = require "simvae.export.support.units"

local directions = { names = { "decode", "encode", "posterior", "sample", "log_prob" } }

local BATCH, DRAWS = dim.of "batch", dim.of "draws"
local SEED = 0x6578706f -- "expo": of the inputs of traces

--- Rules of the options that all formats have.
directions.rules = {
  what = { "string|table", default = "decode",
    doc = "the direction, or a list of several: \"decode\", the decoder's output without the distribution about it, "
      .. "\"encode\", \"sample\" and \"log_prob\", or both of these as \"posterior\"" },
  measurements = { "integer", min = 1,
    doc = "of a model of sets: how many an observation has in the exported encoder; default: 1 where the model takes "
      .. "one" },
  recalibrated = { "boolean", default = true,
    doc = "false: exports the posterior without the correction of model:recalibrate, which takes 512 draws of each "
      .. "output" },
  resample = { "boolean", default = false, doc = "refused: only draws of the posterior itself can leave" },
}

-- ---- inputs and outputs ------------------------------------------------------------------------------

local function parameter_labels(sim)
  local list = {}
  for i, p in ipairs(sim.params) do
    list[i] = { name = p.name, unit = p.unit, low = p.low, high = p.high, levels = p.levels, period = p.period,
      scale = p.scale, grid = p.grid }
  end
  return list
end

local function stream(number) return core.rng(SEED, number) end

-- Inputs of parameters: a row for each of the batch, or several.
local function parameters(model, several)
  local sim = model.simulator
  local K = #sim.params
  return { name = "z", shape = several and { BATCH, DRAWS, K } or { BATCH, K }, labels = parameter_labels(sim),
    text = "parameters, in their units",
    make = function(sizes, number)
      local z = sim:sample(sizes.batch * (several and sizes.draws or 1), stream(number))
      return several and core.reshape(z, sizes.batch, sizes.draws, K) or z
    end }
end

-- Outputs of the decoder at draws of the prior, with a little noise: what encoders see resembles it.
local function observed(model, n, number)
  local rng = stream(1000 + number)
  return core.no_grad(function()
    local x = model.loss:to_output(model.decoder(model.latent:to_code(model.simulator:sample(n, rng))))
    return x + rng:normal(0, 1, x.shape) * (core.mean(core.abs(x)):item() * 0.01)
  end)
end

-- Inputs of outputs: (N, …output), or (N, M, …output) of a model of sets.
local function observations(model, o)
  local output, set = model.simulator.output, model.set
  local M = o.measurements or set and set.low == 1 and 1 or nil
  if o.measurements and not set then
    refuse.because "measurements is of a model of sets (sv.model { set = … })"
  elseif set and not M then
    refuse.because("the model is of sets of %d to %d measurements: measurements = n says how many the encoder takes",
      set.low, set.high)
  elseif set and (M < set.low or M > set.high) then
    refuse.because("measurements = %d, and the model is of sets of %d to %d", M, set.low, set.high)
  end
  local shape = { BATCH, table.unpack(output) }
  if set then table.insert(shape, 2, M) end
  return { name = "x", shape = shape, text = "output of the simulator, as it is measured",
    make = function(sizes, number)
      local x = observed(model, sizes.batch * (M or 1), number)
      return set and core.reshape(x, sizes.batch, M, table.unpack(output)) or x
    end }
end

-- x and, where the simulator declares a range of noise levels, noise.
local function encoder_inputs(model, o)
  local range, list = model.simulator.noise_range, { observations(model, o) }
  if range then
    list[2] = { name = "noise", shape = { BATCH }, low = range.low, high = range.high,
      text = "level of the measurement's noise",
      make = function(sizes, number)
        return stream(2000 + number):uniform(range.low, range.high, { sizes.batch })
      end }
  end
  return list
end

-- The posterior's numbers of outputs; f's other arguments come behind.
local function encoded(model, x, ...)
  local noise, rest = nil, table.pack(...)
  if model.simulator.noise_range then noise = table.remove(rest, 1) end
  return model:encoder_outputs(levels.seen(model, x, noise)), rest[1]
end

-- ---- the directions ------------------------------------------------------------------------------------

local makers = {}

function makers.decode(model)
  local sim = model.simulator
  return { {
    name = "decode", text = "Predicts the output of the simulator '" .. sim.name .. "'.",
    inputs = { parameters(model) }, outputs = { { name = "x", text = "output of the simulator" } },
    f = function(z) return model.loss:to_output(model.decoder(units.to_code(model.latent, z))) end,
  } }
end

local function estimate(model, h)
  if not model.head.estimate then
    refuse.because("the posterior \"%s\" has no estimate(h), an estimate by ops alone", model.head.name)
  end
  return model.head:estimate(h)
end

function makers.encode(model, o)
  local labels = parameter_labels(model.simulator)
  return { {
    name = "encode", text = "Infers the parameters of outputs of the simulator '" .. model.simulator.name .. "'.",
    inputs = encoder_inputs(model, o),
    outputs = { { name = "mean", text = "parameters, in their units", labels = labels },
      { name = "std", text = "their standard deviations, in the same units", labels = labels } },
    f = function(x, noise)
      local code, spread = estimate(model, (encoded(model, x, noise)))
      local mean, std = units.from_code(model.latent, code, spread)
      return mean, recalibration.spread(model, std)
    end,
  } }
end

local function check_posterior(model, o)
  if o.resample then
    refuse.because("draws of the posterior leave as they are: importance resampling takes the decoder's likelihood, so "
      .. "leave resample out, export \"decode\" too and weigh the draws where they are used")
  end
  if not model.head.transport then
    refuse.because("the posterior \"%s\" has no transport(h, v), draws by ops alone", model.head.name)
  end
end

-- The head of the posterior, and its numbers of outputs.
local function head_of(model, o, h)
  if o.recalibrated then return recalibration.head(model, h) end
  return model.head, h
end

-- Inputs of the encoder and one more.
local function with(model, o, last)
  local list = encoder_inputs(model, o)
  list[#list + 1] = last
  return list
end

local function of_posterior(what, model)
  return string.format("%s of the posterior of outputs of the simulator '%s'.", what, model.simulator.name)
end

function makers.sample(model, o)
  check_posterior(model, o)
  local latent, numbers = model.latent, model.head:uniforms()
  local uniform = { name = "u", shape = { BATCH, DRAWS, numbers }, low = 0, high = 1,
    text = "independent uniform random numbers in (0, 1)",
    make = function(sizes, number)
      return stream(3000 + number):uniform(0, 1, { sizes.batch, sizes.draws, numbers })
    end }
  return { {
    name = "sample", text = of_posterior("Draws", model), inputs = with(model, o, uniform),
    outputs = { { name = "z", text = "parameters, in their units", labels = parameter_labels(model.simulator) } },
    f = function(x, ...)
      local h, v = encoded(model, x, ...)
      local head, own = head_of(model, o, h)
      return cube.to_units(latent, head:transport(own, v))
    end,
  } }
end

function makers.log_prob(model, o)
  check_posterior(model, o)
  local latent = model.latent
  return { {
    name = "log_prob", text = of_posterior("Log density", model), inputs = with(model, o, parameters(model, true)),
    outputs = { { name = "log_prob", text = "logarithm of the density, per unit of each parameter" } },
    f = function(x, ...)
      local h, z = encoded(model, x, ...)
      local head, own = head_of(model, o, h)
      local u, slopes = units.points(latent, z)
      return head:log_prob(own, u) + slopes
    end,
  } }
end

function makers.posterior(model, o)
  return { makers.sample(model, o)[1], makers.log_prob(model, o)[1] }
end

-- ---- use -------------------------------------------------------------------------------------------------

local function wanted(what)
  local list, known = type(what) == "table" and what or { what }, {}
  for _, name in ipairs(directions.names) do known[name] = true end
  if #list == 0 then refuse.because "what takes a direction or a list of them; it is empty" end
  for _, name in ipairs(list) do
    if not known[name] then
      refuse.because("what is one of %s, or a list of these; got %s%s", table.concat(directions.names, ", "),
        check.describe(name), check.suggestion(name, directions.names))
    end
  end
  return list
end

--- The graphs of directions of a model, in evaluation mode.
-- @tparam Model model
-- @tparam table o what, measurements, recalibrated, resample (directions.rules)
-- @treturn {Graph,...} of decode, encode, sample and log_prob those that are wanted
function directions.of(model, o)
  model.decoder:eval()
  model.encoder:eval()
  if model.head.net then model.head.net:eval() end
  local list, seen = {}, {}
  for _, name in ipairs(wanted(o.what)) do
    for _, t in ipairs(makers[name](model, o)) do
      if not seen[t.name] then
        seen[t.name], list[#list + 1] = true, graph.of(t)
        list[#list].direction = name
      end
    end
  end
  return list
end

return directions
