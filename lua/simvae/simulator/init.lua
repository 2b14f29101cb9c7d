--- The simulator contract: named parameters with bounds and units, a prior, an
-- output shape, and a function from parameters to output.
--
--     local ring = sv.simulator {
--       name   = "ring",
--       params = { { name = "x", low = 8, high = 24, unit = "px" },
--                  { name = "k", prior = { "lognormal", 0, 0.5 } }, … },  -- simvae.simulator.marginal
--       output = { 1, 32, 32 },                    -- or { n } for a vector
--       simulate = function(z, out, rng) … end,    -- z.x in units; out: zeros, to fill; rng: this sample's own
--     }
--     local z = ring:sample(64, sv.rng(1))         -- (64, K) draws of the prior, in units
--     local x = ring:run(z)                        -- (64, 1, 32, 32); a stochastic one: run(z, rng)
--
-- Random numbers of a sample come from rng, or from math.random, which is seeded for each sample: they depend on the
-- seed and the sample's index alone (simvae.simulator.streams). A generator made outside simulate raises.
--
-- A simulator knows nothing of networks.
local check = require "simvae.util.check"
local content = require "simvae.util.content"
local core = require "simvae.core"
local noise = require "simvae.simulator.noise"
local parameter = require "simvae.simulator.parameter"
local prior = require "simvae.simulator.prior"
local running = require "simvae.simulator.running"
local streams = require "simvae.simulator.streams"

local simulator = {}
local Simulator = {}
Simulator.__index = Simulator
simulator.class = Simulator

local fields = check.declare("simulator", {
  name = { "string", required = true, doc = "of files, figures and messages" },
  params = { "table", required = true, each = parameter.rules,
    doc = "named parameters with bounds and units, in the order of the columns of z" },
  output = { "table", required = true,
    doc = "{ channels, height, width } of images with values in [0, 1], 1 = white; or { n } of vectors" },
  simulate = { "function",
    doc = "one sample: function (z, out, rng), z by name or position; fills out, which is zeroed, or returns the "
      .. "output; rng is the sample's own; false, reason: it failed" },
  batch = { "function",
    doc = "in place of simulate, many: function (z (N, K), out (N, …), rngs) fills out; returns nil, or { [i] = "
      .. "reason } of the samples that failed" },
  prior = { "function|table",
    doc = "function (rng) that returns parameters by name or in order, or { draw =, log_density = }; default: "
      .. "independent, by their own priors" },
  loss = { "string|function",
    doc = "how outputs are compared: \"bce\", \"mse\", \"l1\", \"gaussian\", or a function; default: by the output" },
  symmetry = { "table",
    doc = "maps that leave the output unchanged, { { name =, map = function(z) -> z }, … }; with free = { low =, "
      .. "high =, scale = } a family map(z, s); default: none" },
  invariants = { "table",
    doc = "what the output depends on: { { name =, unit =, scale =, low =, high =, value = function(z) -> number }, "
      .. "… }; default: none" },
  series = { "table",
    doc = "a vector as curves of equal length, for figures: { { name =, unit = }, …, axis = { name =, unit =, low "
      .. "=, high =, scale = } }" },
  noise = { "number|table|tensor|function",
    doc = "of a measurement, in units of the output: a standard deviation, one for each element or channel, a "
      .. "function (x, rng, z), or a range of levels { low =, high = }; default: none" },
  doc = { "string", doc = "a sentence about the simulator" },
  correlated = { "boolean", doc = "whether the parameters of the prior depend on each other; default false" },
  close = { "function", doc = "function () that releases the simulator's resources" },
})

-- Fields of a simulator that are public.
local public_fields = {
  { "name", "string", "of files, figures and messages" },
  { "params", "{table,...}", "the parameters in the order of the columns of z: name, low, high, unit, scale, …" },
  { "names", "{string,...}", "names of the parameters" },
  { "index", "{[string]=integer}", "the column of each parameter" },
  { "output", "{integer,...}", "shape of an output" },
  { "doc", "?string", "a sentence about it" },
  { "series", "?table", "a vector output as curves, for figures" },
  { "symmetry", "?table", "maps that leave the output unchanged" },
  { "invariants", "?table", "what the output depends on" },
  { "rows", "?integer", "of a data set: how many" },
  { "close", "function", "ends its processes and closes its files, where it has some" },
}

-- What sv.spice, sv.command and sv.dataset find out or make themselves.
local made_by_wrappers = { name = true, params = true, output = true, simulate = true, batch = true, close = true }

--- Adds the options of sv.simulator to those of what makes a simulator of something else, which hands them on.
-- @tparam table options of check.options; to be added to
-- @tparam ?{[string]=boolean} without names that it has no use for
-- @treturn {string,...} the names that it has to hand on
function simulator.share_options(options, without)
  local shared = {}
  for name in pairs(fields) do
    if not (made_by_wrappers[name] or without and without[name]) then
      shared[#shared + 1] = name
      options[name] = fields[name]
    end
  end
  return shared
end

local function check_output(what, output)
  if #output ~= 1 and #output ~= 3 then
    check.fail(3, "%s: output is {channels, height, width} or {n}; got %s", what, check.shape_text(output))
  end
  for _, n in ipairs(output) do
    if math.type(n) ~= "integer" or n < 1 then
      check.fail(3, "%s: output has whole numbers >= 1; got %s", what, check.shape_text(output))
    end
  end
end

-- Lists of named functions of z: symmetry and invariants.
local function check_maps(what, field, list, f)
  for i, element in ipairs(list or {}) do
    if type(element) ~= "table" or type(element.name) ~= "string" or type(element[f]) ~= "function" then
      check.fail(3, "%s: %s[%d] takes { name = \"…\", %s = function(z) … end }", what, field, i, f)
    end
    local free = element.free
    if free ~= nil and (type(free) ~= "table" or type(free.low) ~= "number" or type(free.high) ~= "number"
      or free.low >= free.high or free.scale == "log" and free.low < 0) then
      check.fail(3, "%s: %s '%s' takes free = { low =, high =, scale = }, low below high", what, field, element.name)
    end
  end
end

--- Makes a simulator.
-- @tparam table t options
-- @treturn Simulator
-- @raise unknown options, an invalid name, parameter or output
-- @usage
-- local wave = sv.simulator {
--   name = "wave",
--   params = { { name = "frequency", low = 1, high = 4, unit = "Hz" },
--              { name = "phase", period = 2 * math.pi, unit = "rad" } },
--   output = { 64 },
--   simulate = function(v, out)
--     for i = 1, 64 do out[i] = math.sin(2 * math.pi * v.frequency * i / 64 + v.phase) end
--   end,
-- }
-- wave:run(sv.tensor { { 2, 0 } })[1]:show()
function simulator.new(t)
  local what = "simulator"
  if type(t) == "table" and type(t.name) == "string" then what = "simulator '" .. t.name .. "'" end
  local self = check.options(what, t, fields)
  local fault = self.name == "" and "is empty" or check.name_fault(self.name)
  if fault then check.fail(2, "simulator: its name %s: %s", fault, check.describe(self.name)) end
  if #self.params == 0 then check.fail(2, "%s: params is empty; name at least one parameter", what) end
  if not self.simulate and not self.batch then
    check.fail(2, "%s: simulate is missing: a function (z, out) that fills out", what)
  end
  local params, seen = {}, {}
  for i, p in ipairs(self.params) do
    params[i] = parameter.check(what, p, i)
    if seen[p.name] then check.fail(2, "%s: two parameters are named '%s'", what, p.name) end
    seen[p.name] = i
    self.refused = self.refused or parameter.refusal(params[i])
  end
  self.index = seen
  self.names = {}
  for i, p in ipairs(params) do self.names[i] = p.name end
  check_output(what, self.output)
  self.params, self.output = content(params), setmetatable(table.move(self.output, 1, #self.output, 1, {}), core.shape)
  prior.read(what, self)
  self.noise_std, self.noise_range = noise.check(what, self.noise, self.output)
  check_maps(what, "symmetry", self.symmetry, "map")
  check_maps(what, "invariants", self.invariants, "value")
  local series = self.series
  if series and (#self.output ~= 1 or #series == 0 or self.output[1] % #series ~= 0) then
    check.fail(2, "%s: series names the curves that make up a vector output, all of one length; %d do not make up %s",
      what, #series, check.shape_text(self.output))
  end
  if self.simulate then
    local info = debug.getinfo(self.simulate, "u")
    self.fills = info.isvararg or info.nparams >= 2
  end
  setmetatable(self, Simulator)
  local ok, why = pcall(prior.check_density, self)
  if not ok then error(why, type(why) == "string" and 2 or 0) end
  return self
end

--- Is this a simulator?
function simulator.is(v)
  return getmetatable(v) == Simulator
end

--- A variant of a built-in simulator that has options: rlc { engine = "analytic" }.
function Simulator:__call(options)
  if not self.variant then check.fail(2, "simulator '%s' has no options", self.name) end
  return self.variant(options)
end

function Simulator:__tostring()
  local parts = {}
  for i, p in ipairs(self.params) do
    parts[i] = parameter.range_text(p)
  end
  return string.format("simulator %s: (%s) -> %s", self.name, table.concat(parts, ", "),
    check.shape_text(self.output))
end


--- Raises if a parameter cannot be represented in single precision.
-- @tparam integer level of its caller (2: its line)
-- @raise a parameter that cannot be represented
-- @usage ring:check_precision(1)
function Simulator:check_precision(level)
  if self.refused then check.fail(level, "simulator '%s': %s", self.name, self.refused) end
end

--- Samples the prior. Draw i of a seed is a function of the seed and i.
-- @tparam integer n how many
-- @tparam rng rng sv.rng(seed); n draws of it are used up
-- @treturn tensor (n, K), in units, columns in the order of params
-- @raise a number of samples below 0, an rng of another type
-- @usage print(ring:sample(3, sv.rng(1)))
function Simulator:sample(n, rng)
  self:check_precision(3)
  check.value("sample", "n", n, { "integer", min = 0 })
  check.value("sample", "rng", rng, { "rng" })
  local seed, first = rng:samples(n)
  return prior.draw(self, n, seed, first + 1)
end

--- The logarithm of the prior's density at parameters, per unit of each (of a class: of its probability); -inf outside
-- the prior's support. A constant is missing where the log_density of the simulator's prior leaves it out.
-- @tparam tensor z (N, K), in units
-- @treturn ?tensor (N,); nil where the prior is a function without a density
-- @raise z of another number of columns
-- @usage print(ring:log_prior(z)[1])
function Simulator:log_prior(z)
  if type(z) == "table" and getmetatable(z) == nil then z = core.tensor(z) end
  if getmetatable(z) ~= core.metatable or z.ndim ~= 2 or z.shape[2] ~= #self.params then
    check.fail(2, "log_prior: takes z of shape (N, %d): %s; got %s", #self.params, table.concat(self.names, ", "),
      check.describe(z))
  end
  return prior.log_density(self, z)
end

--- The parameters of a row as text: "a = 1, b = 2".
-- @tparam {number,...} values in the order of params, in units
-- @treturn string
-- @usage print(ring:describe_z { 16, 16, 5 })
function Simulator:describe_z(values)
  local parts = {}
  for i, p in ipairs(self.params) do parts[i] = parameter.value_text(p, values[i]) end
  return table.concat(parts, ", ")
end

Simulator.run_one, Simulator.try = running.one, running.try

local function run_all(self, z, source)
  local x = core.zeros { z.shape[1], table.unpack(self.output) }
  local first
  local failures = self:try(z, x, source, true)
  for s in pairs(failures) do first = math.min(first or s, s) end
  if first then
    error(string.format("simulator '%s': sample %d (%s) %s", self.name, first,
      self:describe_z(z[first]:totable()), failures[first]), 3)
  end
  return x
end

--- Runs the simulator, without the noise of a measurement.
-- @tparam tensor z (N, K), in units
-- @tparam ?rng rng of a stochastic simulator; N samples of it are used up. Without one row i is sample i of sv.rng(0);
-- within another simulator's simulate, of that sample's own generator
-- @treturn tensor (N, …output)
-- @raise a sample that fails, with its parameters and the reason
-- @usage ring:run(sv.tensor { { 16, 16, 5 } })[1]:show { width = 32, colour = false }
function Simulator:run(z, rng)
  self:check_precision(3)
  local K = #self.params
  if type(z) == "table" then z = core.tensor(z) end
  if getmetatable(z) ~= core.metatable or z.ndim ~= 2 or z.shape[2] ~= K then
    check.fail(2, "simulator '%s': run takes z of shape (N, %d): %s", self.name, K, table.concat(self.names, ", "))
  end
  if rng ~= nil then check.value("run", "rng", rng, { "rng" }) end
  rng = rng or core.sample_rng() or core.rng(0)
  local seed, first = rng:samples(z.shape[1])
  return run_all(self, z, streams.simulation(seed, first + 1))
end

--- Draws n samples of the prior and runs the simulator on them, without the noise of a measurement.
-- @tparam integer n
-- @tparam rng rng n samples of it are used up
-- @treturn tensor z (n, K)
-- @treturn tensor x (n, …output)
-- @raise a sample that fails, with its parameters and the reason
-- @usage
-- local zs, xs = ring:simulate_batch(4, sv.rng(1))
-- print(zs.shape, xs.shape)
function Simulator:simulate_batch(n, rng)
  self:check_precision(3)
  check.value("simulate_batch", "n", n, { "integer", min = 0 })
  check.value("simulate_batch", "rng", rng, { "rng" })
  local seed, first = rng:samples(n)
  local z = prior.draw(self, n, seed, first + 1)
  return z, run_all(self, z, streams.simulation(seed, first + 1))
end

local members = { "fresh", "noise_std", "noise_range", "log_density", "index", "names", "fills", "variant", "refused",
  "frame", "point_metatable", "draws", "first_draw", "rows", "grid", "placeholder" }
for name in pairs(fields) do members[#members + 1] = name end
table.move(public_fields, 1, #public_fields, #members + 1, members)
require("simvae.util.names").class(Simulator, "simulator", members)

return simulator
