--- Sets of measurements of the same parameters: sv.model { set = { low = 1, high = 20 } }.
--
-- An observation is then a set of `low` to `high` outputs, independent given the parameters, (N, M, …output);
-- (N, …output) are sets of one. Training makes M measurements of each simulation, M the same throughout a batch.
local check = require "simvae.util.check"
local core = require "simvae.core"
local streams = require "simvae.simulator.streams"
local repeat_rows = require "simvae.util.repeat_rows"

local sets = {}

local HIGH = 16 -- measurements at most, where set = true

local rules = {
  low = { "integer", default = 1, min = 1, doc = "fewest measurements" },
  high = { "integer", default = HIGH, min = 1, doc = "most measurements" },
}

--- Rules of { low =, high = }.
sets.rules = rules

--- The option `set` of sv.model.
-- @param given true, { low =, high = }, false or nil
-- @tparam integer level of the caller of sv.model
-- @treturn ?table low and high; nil: no sets
function sets.check(given, level)
  if not given then return nil end
  local o = check.options("model: set", given ~= true and given or nil, rules, level + 1)
  if o.low > o.high then
    check.fail(level + 1, "model: set goes from low = %d to high = %d measurements; low is at most high", o.low, o.high)
  end
  return { low = math.tointeger(o.low), high = math.tointeger(o.high) }
end

--- Whether a batch is of sets.
-- @tparam Model model
-- @tparam tensor x
function sets.is(model, x)
  return model.set ~= nil and getmetatable(x) == core.metatable and x.ndim == #model.simulator.output + 2
end

--- Draws the number of measurements of a training step, the smaller the more often: uniform in its logarithm.
-- @tparam Model model
-- @tparam rng rng
function sets.draw_size(model, rng)
  local set = model.set
  if not set then return end
  local M = math.exp(rng:uniform(math.log(set.low), math.log(set.high + 1)))
  set.size = math.max(set.low, math.min(set.high, math.floor(M)))
end

--- The number of measurements of a simulation: of the training's step, or the middle one; of a simulator that draws
-- random numbers 1. Without sets 1.
-- @tparam Model model
-- @treturn integer
function sets.size(model)
  local set = model.set
  return set and (set.size or set.one and 1 or math.floor(math.sqrt(set.low * set.high) + 0.5)) or 1
end

--- Raises for simulators of which a set cannot be made: those that draw random numbers give one output for each
-- parameters, and a set takes several; then posteriors learn from the decoder's distribution alone.
-- @tparam Model model
-- @tparam table run options of train: labels of the encoder become 0 there, and held_out where sets of one cannot be
-- measured
-- @tparam boolean first false: a later training of the same call, of which the simulator is known
-- @tparam integer level of train's caller
function sets.check_training(model, run, first, level)
  if not model.set or run.encoder.steps + run.sleep.steps == 0 then return end
  if first then model.set.one = sets.is_random(model.simulator) end
  if not model.set.one then return end
  local o = run.encoder
  if not model.head.likelihood then
    check.fail(level + 1, "train: a set of measurements of '%s', which draws random numbers, takes a posterior that is "
      .. "trained by likelihood, such as \"flow\"; or declare what is random as noise = function(x, rng, z) … end",
      model.simulator.name)
  elseif type(o.labels) == "number" and o.labels > 0 then
    check.fail(level + 1, "train: labels takes one output for each row of parameters, and a set of '%s', which draws "
      .. "random numbers, takes several: labels = 0, or declare what is random as noise = function(x, rng, z) … end",
      model.simulator.name)
  end
  o.labels = 0
  if model.set.low > 1 then run.held_out = run.held_out or 0 end
end

local TRIED = 4 -- parameters at which a simulator is run twice

--- Whether a simulator draws random numbers: whether its outputs at the same parameters differ.
-- @tparam Simulator sim
-- @treturn boolean
function sets.is_random(sim)
  local scope <close> = core.scope()
  local z = sim:sample(TRIED, core.rng(1))
  local outputs = {}
  for run = 1, 2 do
    local x = core.zeros { TRIED, table.unpack(sim.output) }
    local failures = sim:try(z, x, streams.simulation(run, 1))
    for s in pairs(failures) do x[s]:fill(0) end
    outputs[run] = x
  end
  return core.max(core.abs(outputs[1] - outputs[2])):item() > 0
end

--- Rows as sets of M.
-- @tparam tensor t (N M, …)
-- @tparam integer M
-- @treturn tensor (N, M, …)
function sets.grouped(t, M)
  return core.reshape(t, t.shape[1] // M, M, table.unpack(table.move(t.shape, 2, t.ndim, 1, {})))
end

--- A decoder's outputs beside those that they are compared with: repeated for each of a set.
-- @tparam tensor raw (N, …output)
-- @tparam tensor x (N, …output) or (N, M, …output)
-- @treturn tensor raw and x, both (R, …output)
-- @treturn tensor
-- @treturn integer M
function sets.beside(raw, x)
  if x.ndim == raw.ndim then return raw, x, 1 end
  local M = x.shape[2]
  return repeat_rows(raw, M), core.reshape(x, x.shape[1] * M, table.unpack(table.move(x.shape, 3, x.ndim, 1, {}))), M
end

--- Squared differences of observations and the decoder's outputs, as networks see outputs.
-- @tparam Model model
-- @tparam tensor x (N, …output) or (N, M, …output), standardised
-- @tparam tensor code (N, size)
-- @treturn tensor (N M, …output)
-- @treturn integer M
function sets.squares(model, x, code)
  local y, own, M = sets.beside(model.decoder(code), x)
  if not model.loss.mean then y = core.sigmoid(y) end
  return core.square(y - own), M
end

--- The misfit of decoder outputs and observations (Loss:misfit), of sets the mean over the measurements.
-- @tparam Loss loss
-- @tparam tensor raw (N, …output)
-- @tparam tensor x (N, …output) or (N, M, …output), standardised
-- @treturn tensor (N,)
function sets.misfit(loss, raw, x)
  local y, flat, M = sets.beside(raw, x)
  return sets.mean(loss:misfit(y, flat), M)
end

--- The mean over the measurements of sets of numbers, one a measurement.
-- @tparam tensor values (N M,)
-- @tparam integer M
-- @treturn tensor (N,)
function sets.mean(values, M)
  return M == 1 and values or core.mean(core.reshape(values, -1, M), 2)
end

return sets
