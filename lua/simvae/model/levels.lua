--- Noise levels that an encoder is told (simvae.simulator.noise: noise = { low =, high = }).
--
-- An output as the encoder sees it then has the level appended, as one more number of a vector or one more, constant
-- channel of an image: -1 at the lowest level of the range, 1 at the highest, linear in the logarithm. So batches are
-- joined, cut and kept with their levels. Where an output is compared with a decoder's, `plain` takes the level off.
local check = require "simvae.util.check"
local core = require "simvae.core"
local noise = require "simvae.simulator.noise"
local repeat_rows = require "simvae.util.repeat_rows"

local levels = {}

local options = { noise = noise.level_rule }
for _, method in ipairs { "encode", "infer", "posterior", "log_likelihood" } do
  check.declare("model:" .. method, options)
end

--- The levels of outputs from the options of a model's method: { noise = }, a number, or one for each output.
-- @tparam string what the method's name
-- @tparam Model model
-- @tparam ?table t the options, with noise alone
-- @tparam integer n outputs
-- @tparam ?integer level of the caller that is blamed (3: the caller of the method)
-- @treturn ?tensor (n,); nil where the simulator has no range of levels
function levels.read(what, model, t, n, level)
  level = level or 3
  local o = check.options(what, t, options, level + 1)
  local given = noise.levels(what, model.simulator, o.noise, n, level)
  return given
end

--- The levels of some rows.
-- @tparam ?tensor given (N,)
-- @tparam integer from
-- @tparam integer to
function levels.part(given, from, to)
  return given and (from > 1 or to < given.count) and core.slice(given, 1, from, to) or given
end

--- Outputs as an encoder takes them.
-- @tparam Model model
-- @tparam tensor x (N, …output) in the simulator's units
-- @tparam ?tensor given (N,)
-- @treturn tensor
function levels.seen(model, x, given)
  return levels.attach(model.simulator, model.loss:standardise(x), given)
end

--- The shape that a simulator's encoder takes.
-- @tparam Simulator sim
-- @treturn {integer,...}
function levels.input(sim)
  local shape = table.move(sim.output, 1, #sim.output, 1, {})
  if sim.noise_range then shape[1] = shape[1] + 1 end
  return shape
end

-- The axis of a vector's numbers, or of an image's channels.
local function axis_of(sim, x)
  return x.ndim - #sim.output + 1
end

--- Outputs with their levels.
-- @tparam Simulator sim
-- @tparam tensor x (N, …output), standardised, or sets of them (N, M, …output)
-- @tparam ?tensor given (N,) levels; nil where the simulator has no range of them
-- @treturn tensor as encoders take them
function levels.attach(sim, x, given)
  local range = sim.noise_range
  if not range then return x end
  local code = core.log(given / range.low) * (2 / math.log(range.high / range.low)) - 1
  local axis, shape, narrow = axis_of(sim, x), table.move(x.shape, 1, x.ndim, 1, {}), {}
  shape[axis] = 1
  for i = 1, x.ndim do narrow[i] = i == 1 and x.shape[1] or 1 end
  return core.concat({ x, core.expand(core.reshape(code, narrow), shape) }, axis)
end

--- Outputs without their levels.
-- @tparam Simulator sim
-- @tparam tensor x as of attach
-- @treturn tensor
function levels.plain(sim, x)
  if not sim.noise_range then return x end
  return core.slice(x, axis_of(sim, x), 1, sim.output[1])
end

--- Outputs as they are measured, as an encoder takes them: with the noise that the simulator declares, of a range of
-- levels at one of its own for each row of parameters.
-- @tparam Model model
-- @tparam tensor z (N, K) in units
-- @tparam tensor x (N M, …output), M measurements of each, in the units that networks see
-- @tparam rng rng
-- @treturn tensor
function levels.measured(model, z, x, rng)
  local sim, loss = model.simulator, model.loss
  if not sim.noise then return x end
  local M = z.shape[1] > 0 and x.shape[1] // z.shape[1] or 1
  local given = sim.noise_range and repeat_rows(noise.draw_levels(sim, z.shape[1], rng), M)
  local y = noise.add(sim, repeat_rows(z, M), loss:restore(x), rng, given)
  return levels.attach(sim, loss:standardise(y), given)
end

return levels
