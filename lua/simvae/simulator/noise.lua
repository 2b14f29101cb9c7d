--- Noise of a measurement over a simulator's outputs: field `noise` of sv.simulator.
--
--     noise = 0.02                      the standard deviation of every element, in units of the output
--     noise = { 0.1, 0.1, 3 }           of each element of a vector, or of each channel of an image
--     noise = sv.full(0.1, { 1, 8, 8 }) a tensor of the output's shape
--     noise = function(x, rng, z)       returns one output x as measured, a tensor of its shape; rng: a generator;
--                                       z: the parameters by name
--
-- It is added where encoders are trained and evaluated, and by sv.simulate. Caches and decoders never see it, so that
-- one set of simulations serves any noise.
local check = require "simvae.util.check"
local core = require "simvae.core"
local streams = require "simvae.util.streams"

local noise = {}

--- Checks a declaration.
-- @tparam string what whose it is, for messages
-- @param given as above, or nil
-- @tparam {integer,...} output the simulator's
-- @treturn ?tensor the standard deviations, of a shape that broadcasts to the output; nil where there are none
-- @raise at the caller of sv.simulator
function noise.check(what, given, output)
  if given == nil or type(given) == "function" then return nil end
  local std = given
  if type(given) == "number" then
    std = core.full(given, { 1 })
  elseif type(given) == "table" then
    local ok, made = pcall(core.tensor, given)
    if not ok or made.ndim ~= 1 or made.count ~= output[1] then
      check.fail(3, "%s: noise lists %d standard deviations, one for each %s; got %s", what, output[1],
        #output == 3 and "channel" or "element of the output", ok and check.shape_text(made.shape) or tostring(made))
    end
    std = #output == 3 and made:reshape { output[1], 1, 1 } or made
  elseif check.shape_text(given.shape) ~= check.shape_text(output) then
    check.fail(3, "%s: noise has shape %s, the output has %s", what, check.shape_text(given.shape),
      check.shape_text(output))
  end
  if not std:within(0, math.huge) or not std:finite() then
    check.fail(3, "%s: noise takes standard deviations of at least 0; got %g", what, core.min(std):item())
  end
  return core.buffer(std)
end

-- One output as a function of the caller's measures it.
local function measured(sim, x, rng, row)
  local z = {}
  for i, name in ipairs(sim.names) do z[name] = row[i] end
  local y = sim.noise(x:clone(), rng, z)
  if getmetatable(y) ~= core.metatable or check.shape_text(y.shape) ~= check.shape_text(sim.output) then
    error(string.format("simulator '%s': its noise returns the output as measured, a tensor %s; got %s", sim.name,
      check.shape_text(sim.output), check.describe(y)), 0)
  end
  if not y:finite() then
    error(string.format("simulator '%s': its noise is not finite at %s", sim.name, sim:describe_z(row)), 0)
  end
  return y
end

--- Outputs as they are measured.
-- @tparam Simulator sim
-- @tparam tensor z (N, K) their parameters, in units
-- @tparam tensor x (N, …output)
-- @tparam rng rng
-- @treturn tensor of x's shape; x itself where the simulator has no noise
function noise.add(sim, z, x, rng)
  if sim.noise == nil or x.shape[1] == 0 then return x end
  if sim.noise_std then return x + rng:normal(x.shape) * sim.noise_std end
  local y = core.zeros(x.shape)
  for i, row in ipairs(z:totable()) do y[i]:copy(measured(sim, x[i], rng, row)) end
  return y
end

--- The same of consecutive samples of a seed: the noise of a sample depends on the seed and its number alone.
-- @tparam Simulator sim
-- @tparam tensor z (N, K)
-- @tparam tensor x (N, …output)
-- @tparam integer seed
-- @tparam integer first number of the first sample, from 1
-- @treturn tensor
function noise.of_samples(sim, z, x, seed, first)
  if sim.noise == nil or x.shape[1] == 0 then return x end
  local y = core.zeros(x.shape)
  for i = 1, x.shape[1] do
    local scope <close> = core.scope()
    local rng = streams.measurement(seed, first + i - 1)
    y[i]:copy(noise.add(sim, core.slice(z, 1, i, i), core.slice(x, 1, i, i), rng):reshape(sim.output))
  end
  return y
end

return noise
