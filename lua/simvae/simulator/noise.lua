--- Noise of a measurement over a simulator's outputs: field `noise` of sv.simulator.
--
--     noise = 0.02                      the standard deviation of every element, in units of the output
--     noise = { 0.1, 0.1, 3 }           of each element of a vector, or of each channel of an image
--     noise = sv.full(0.1, { 1, 8, 8 }) a tensor of the output's shape
--     noise = function(x, rng, z)       returns one output x as measured, a tensor of its shape; rng: a generator;
--                                       z: the parameters by name
--     noise = { low = 0.01, high = 0.2 }   a level that differs between measurements and is known of each: the standard
--                                       deviation of every element. With std = a list or a tensor as above, those
--                                       times the level
--
-- It is added where encoders are trained and evaluated, and by sv.simulate. Caches and decoders never see it, so that
-- one set of simulations serves any noise. Of a range of levels each sample has its own, drawn uniformly in its
-- logarithm; encoders are told the level (simvae.model.levels).
local check = require "simvae.util.check"
local core = require "simvae.core"
local streams = require "simvae.util.streams"

local noise = {}

-- The standard deviations of a declaration, of a shape that broadcasts to the output.
local function read_std(what, given, output)
  local std = given
  if type(given) == "number" then
    std = core.full(given, { 1 })
  elseif type(given) == "table" then
    local ok, made = pcall(core.tensor, given)
    if not ok or made.ndim ~= 1 or made.count ~= output[1] then
      check.fail(4, "%s: noise lists %d standard deviations, one for each %s; got %s", what, output[1],
        #output == 3 and "channel" or "element of the output", ok and check.shape_text(made.shape) or tostring(made))
    end
    std = #output == 3 and made:reshape { output[1], 1, 1 } or made
  elseif check.shape_text(given.shape) ~= check.shape_text(output) then
    check.fail(4, "%s: noise has shape %s, the output has %s", what, check.shape_text(given.shape),
      check.shape_text(output))
  end
  if not std:within(0, math.huge) or not std:finite() then
    check.fail(4, "%s: noise takes standard deviations of at least 0; got %g", what, core.min(std):item())
  end
  return core.buffer(std)
end

-- The range of a declaration of levels.
local function read_range(what, given)
  for k in pairs(given) do
    if k ~= "low" and k ~= "high" and k ~= "std" then
      check.fail(4, "%s: noise has an unknown field %s; a range of levels is { low =, high =, std = }", what,
        check.describe(k))
    end
  end
  for _, bound in ipairs { "low", "high" } do
    local v = given[bound]
    if type(v) ~= "number" or not (v > 0 and v < math.huge) then
      check.fail(4, "%s: noise takes levels above 0, { low = 0.01, high = 0.2 }; got %s = %s", what, bound,
        check.describe(v))
    end
  end
  if given.low >= given.high then
    check.fail(4, "%s: noise has low = %g, high = %g; low must be below high (one level is a number)", what, given.low,
      given.high)
  end
  local of = given.std
  if of ~= nil and type(of) ~= "table" and getmetatable(of) ~= core.metatable then
    check.fail(4, "%s: noise takes std as a list or a tensor, which the level multiplies; got %s", what,
      check.describe(of))
  end
  return { low = given.low, high = given.high }
end

--- Checks a declaration.
-- @tparam string what whose it is, for messages
-- @param given as above, or nil
-- @tparam {integer,...} output the simulator's
-- @treturn ?tensor the standard deviations, of a shape that broadcasts to the output; nil where there are none
-- @treturn ?table low and high: the range of levels that they are multiplied by
-- @raise at the caller of sv.simulator
function noise.check(what, given, output)
  if given == nil or type(given) == "function" then return nil end
  local levels = type(given) == "table" and getmetatable(given) ~= core.metatable
    and (given.low ~= nil or given.high ~= nil or given.std ~= nil)
  local range = levels and read_range(what, given) or nil
  local std = read_std(what, levels and (given.std or 1) or given, output)
  return std, range
end

-- ---- in a file --------------------------------------------------------------------------------

noise.LISTED = 16384 -- standard deviations that a description lists at most

--- What a model's file says of a simulator's noise: plain values.
-- @tparam Simulator sim
-- @treturn ?table std: a list of standard deviations, in the order of the output's channels or elements, of a function
-- or too many none; low and high of a range of levels; nil where there is no noise
function noise.description(sim)
  if sim.noise == nil then return nil end
  local range, std = sim.noise_range or {}, sim.noise_std
  return { low = range.low, high = range.high,
    std = std and std.count <= noise.LISTED and core.reshape(std, std.count):totable() or nil }
end

--- The field `noise` of a simulator with such a description.
-- @tparam table d checked
-- @tparam {integer,...} output
-- @tparam string message of the error where noise is added that the description does not hold
function noise.of_description(d, output, message)
  local std = d.std
  if not std then return function() error(message, 0) end end
  if #d.std == 1 and (not d.low or std[1] == 1) then
    std = not d.low and std[1] or nil
  elseif #d.std == check.count(output) and #output == 3 then
    std = core.reshape(core.tensor(std), output)
  end
  return d.low and { low = d.low, high = d.high, std = std } or std
end

--- Whether a simulator's noise is another than that of a description, as far as both are known.
-- @tparam ?table d
-- @tparam Simulator sim
-- @treturn boolean
function noise.differs(d, sim)
  local own = noise.description(sim)
  if not d or not own then return (d ~= nil) ~= (own ~= nil) end
  if not d.std or not own.std then return d.std ~= own.std end
  if #d.std ~= #own.std then return true end
  for i, v in ipairs(d.std) do
    if math.abs(v - own.std[i]) > 1e-6 * math.max(v, own.std[i]) then return true end
  end
  return false
end

-- ---- levels ---------------------------------------------------------------------------------

--- Levels of n measurements, drawn uniformly in their logarithm.
-- @tparam Simulator sim with a range of levels
-- @tparam integer n
-- @tparam rng rng
-- @treturn tensor (n,)
function noise.draw_levels(sim, n, rng)
  local range = sim.noise_range
  return core.clamp(core.exp(rng:uniform(math.log(range.low), math.log(range.high), { n })), range.low, range.high)
end

--- Options of a model's methods for outputs without noise: those of the lowest level; nil where there is no range.
function noise.least(sim)
  return sim.noise_range and { noise = sim.noise_range.low } or nil
end

--- The same for rows of a batch of known levels.
-- @tparam ?tensor levels (N,)
-- @tparam integer from
-- @tparam integer to
function noise.told(levels, from, to)
  return levels and { noise = core.slice(levels, 1, from, to) } or nil
end

--- Rule of the option by which outputs are given with their levels.
noise.level_rule = { "number|table|tensor",
  doc = "the level of the noise of x, a number or one for each output, where the simulator declares a range of "
    .. "levels" }

local ROUNDING = 1e-6 -- relative, of a level in single precision

--- The levels of measurements, as a caller gave them.
-- @tparam string what the function's name
-- @tparam Simulator sim
-- @param given a number, or a list or a tensor of n; nil
-- @tparam integer n
-- @tparam integer level of the caller that is blamed
-- @treturn ?tensor (n,); nil where the simulator has no range of levels
-- @raise levels that are missing, outside the range, or given where there is no range
function noise.levels(what, sim, given, n, level)
  local range = sim.noise_range
  if not range then
    if given == nil then return nil end
    check.fail(level + 1, "%s: noise is told to models of simulators with a range of levels, noise = { low =, high = "
      .. "}; that of simulator '%s' is %s", what, sim.name, sim.noise == nil and "none" or "fixed")
  end
  local text = string.format("%g to %g", range.low, range.high)
  if given == nil then
    check.fail(level + 1, "%s: option 'noise' is missing: the level of the noise of what was measured, %s", what, text)
  end
  local levels = given
  if type(given) == "number" then levels = core.full(given, { n }) end
  if type(given) == "table" and getmetatable(given) == nil then
    local ok, made = pcall(core.tensor, given)
    levels = ok and made or nil
  end
  if not levels or levels.ndim ~= 1 or levels.count ~= n then
    check.fail(level + 1, "%s: noise takes a level, or one for each of %d output%s; got %s", what, n,
      n == 1 and "" or "s", levels and type(given) == "table" and check.shape_text(levels.shape)
        or check.describe(given))
  end
  for i, v in ipairs(levels:totable()) do
    if not (v >= range.low * (1 - ROUNDING) and v <= range.high * (1 + ROUNDING)) then
      check.fail(level + 1, "%s: noise = %g%s is outside the levels of simulator '%s', %s", what, v,
        n > 1 and " of output " .. i or "", sim.name, text)
    end
  end
  return levels
end

-- ---- measurements ---------------------------------------------------------------------------

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

-- Numbers of rows in the shape of outputs that they broadcast to.
local function beside(levels, output)
  local shape = { levels.count }
  for i = 1, #output do shape[i + 1] = 1 end
  return core.reshape(levels, shape)
end

--- Outputs as they are measured.
-- @tparam Simulator sim
-- @tparam tensor z (N, K) their parameters, in units
-- @tparam tensor x (N, …output)
-- @tparam rng rng
-- @tparam ?tensor levels (N,) of a simulator with a range of them (default: drawn)
-- @treturn tensor of x's shape; x itself where the simulator has no noise
-- @treturn ?tensor the levels (N,)
function noise.add(sim, z, x, rng, levels)
  if sim.noise == nil then return x end
  if sim.noise_range then levels = levels or noise.draw_levels(sim, x.shape[1], rng) end
  if x.shape[1] == 0 then return x, levels end
  if sim.noise_std then
    local away = rng:normal(x.shape) * sim.noise_std
    return x + (levels and away * beside(levels, sim.output) or away), levels
  end
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
-- @tparam ?tensor levels (N,)
-- @treturn tensor
-- @treturn ?tensor the levels (N,)
function noise.of_samples(sim, z, x, seed, first, levels)
  if sim.noise == nil then return x end
  local n = x.shape[1]
  local y, own = core.zeros(x.shape), sim.noise_range and core.zeros(n) or nil
  for i = 1, n do
    local scope <close> = core.scope()
    local rng = streams.measurement(seed, first + i - 1)
    local one, level = noise.add(sim, core.slice(z, 1, i, i), core.slice(x, 1, i, i), rng,
      levels and core.slice(levels, 1, i, i))
    y[i]:copy(one:reshape(sim.output))
    if own then own:set(level:item(), i) end
  end
  return y, own
end

return noise
