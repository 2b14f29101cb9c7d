--- The simulator contract: named parameters with bounds and units, a prior, an
-- output shape, and a function from parameters to output.
--
--     local ring = sv.simulator {
--       name   = "ring",
--       params = { { name = "x", low = 8, high = 24, unit = "px" }, … },
--       output = { 1, 32, 32 },                    -- or { n } for a vector
--       simulate = function(z, out) … end,         -- z.x in units; out: zeros, to fill
--     }
--     local z = ring:sample(64, sv.rng(1))         -- (64, K) draws of the prior, in units
--     local x = ring:run(z)                        -- (64, 1, 32, 32)
--
-- A simulator knows nothing of networks.
local core = require "simvae.core"
local check = require "simvae.check"

local simulator = {}
local Simulator = {}
Simulator.__index = Simulator
simulator.class = Simulator

local fields = {
  name = { "string", required = true },
  params = { "table", required = true },
  output = { "table", required = true },
  simulate = { "function" },          -- one sample: (z, out), z a table by name; false, reason: it failed
  batch = { "function" },             -- many at once: (z (N, K), out (N, …)); fills out, returns nil or
                                      -- { [i] = reason } of the samples that failed
  prior = { "function" },             -- (rng) -> table by name, or a list in order
  loss = { "string|function" },       -- how outputs are compared; default: by the output
  -- Maps that leave the output unchanged: { { name =, map = function(z) -> z' }, … }, z and z' by name.
  -- With free = { low =, high =, scale = }, a family: map(z, s), s any number of that range (simvae.symmetry).
  symmetry = { "table" },
  -- What the output depends on: { { name =, unit =, scale =, value = function(z) -> number }, … }; with low or
  -- high, metrics compare it within these (simvae.metrics.invariant_mim).
  invariants = { "table" },
  -- A vector output as curves of equal length, one after the other, for figures: { { name =, unit = }, …,
  -- axis = { name =, unit =, low =, high =, scale = } }, axis: what they are drawn over.
  series = { "table" },
  doc = { "string" },
  correlated = { "boolean" },         -- the prior's parameters depend on each other
  close = { "function" },             -- gives back what the simulator holds (processes, files)
}

local function check_param(what, p, i)
  if type(p) ~= "table" or type(p.name) ~= "string" or p.name == "" then
    check.fail(4, "%s: params[%d] needs a name: { name = \"x\", low = 0, high = 1 }", what, i)
  end
  local known = { name = 1, low = 1, high = 1, unit = 1, scale = 1, period = 1, levels = 1, doc = 1 }
  for k in pairs(p) do
    if not known[k] then
      local near = core.nearest(tostring(k), { "name", "low", "high", "unit", "scale", "period", "levels", "doc" })
      check.fail(4, "%s: parameter '%s' has an unknown field '%s'%s", what, p.name, tostring(k),
        near and string.format("; did you mean '%s'?", near) or "")
    end
  end
  local q = {}
  for k, v in pairs(p) do q[k] = v end
  if q.levels then
    check.value(what, p.name .. ".levels", q.levels, { "integer", min = 2 }, 5)
    q.low, q.high = q.low or 1, q.high or q.levels
    if q.low ~= 1 or q.high ~= q.levels then
      check.fail(4, "%s: a categorical parameter '%s' counts 1 to levels; leave low and high out", what, p.name)
    end
  end
  if q.period then
    check.value(what, p.name .. ".period", q.period, { "number", above = 0 }, 5)
    q.low = q.low or 0
    q.high = q.high or q.low + q.period
  end
  for _, bound in ipairs { "low", "high" } do
    local v = q[bound]
    if type(v) ~= "number" or v ~= v or v == math.huge or v == -math.huge then
      check.fail(4, "%s: parameter '%s' needs a finite %s; got %s", what, p.name, bound, check.describe(v))
    end
  end
  if q.low >= q.high then
    check.fail(4, "%s: parameter '%s' has low = %g, high = %g; low must be below high", what, p.name, q.low, q.high)
  end
  q.scale = q.scale or "linear"
  if q.scale ~= "linear" and q.scale ~= "log" then
    check.fail(4, "%s: parameter '%s' has scale = %s; it is \"linear\" or \"log\"", what, p.name,
      check.describe(q.scale))
  end
  if q.scale == "log" and q.low <= 0 then
    check.fail(4, "%s: parameter '%s' on a log scale needs low > 0; got %g", what, p.name, q.low)
  end
  q.unit = q.unit or ""
  return q
end

local function check_output(what, output)
  if #output ~= 1 and #output ~= 3 then
    check.fail(4, "%s: output is {channels, height, width} or {n}; got %s", what, check.shape_text(output))
  end
  for _, n in ipairs(output) do
    if math.type(n) ~= "integer" or n < 1 then
      check.fail(4, "%s: output has whole numbers >= 1; got %s", what, check.shape_text(output))
    end
  end
end

-- Lists of named functions of z: symmetry and invariants.
local function check_maps(what, field, list, f)
  for i, element in ipairs(list or {}) do
    if type(element) ~= "table" or type(element.name) ~= "string" or type(element[f]) ~= "function" then
      check.fail(4, "%s: %s[%d] takes { name = \"…\", %s = function(z) … end }", what, field, i, f)
    end
    local free = element.free
    if free ~= nil and (type(free) ~= "table" or type(free.low) ~= "number" or type(free.high) ~= "number"
      or free.low >= free.high or free.scale == "log" and free.low < 0) then
      check.fail(4, "%s: %s '%s' takes free = { low =, high =, scale = }, low below high", what, field, element.name)
    end
  end
end

--- Makes a simulator.
-- @tparam table t name, params, output and simulate (or batch); optional prior, loss, symmetry, invariants, doc
-- @treturn Simulator
function simulator.new(t)
  local what = "simulator"
  if type(t) == "table" and type(t.name) == "string" then what = "simulator '" .. t.name .. "'" end
  local self = check.options(what, t, fields)
  if #self.params == 0 then check.fail(2, "%s: params is empty; name at least one parameter", what) end
  if not self.simulate and not self.batch then
    check.fail(2, "%s: simulate is missing: a function (z, out) that fills out", what)
  end
  local params, seen = {}, {}
  for i, p in ipairs(self.params) do
    params[i] = check_param(what, p, i)
    if seen[p.name] then check.fail(2, "%s: two parameters are named '%s'", what, p.name) end
    seen[p.name] = i
  end
  self.params, self.index = params, seen
  self.names = {}
  for i, p in ipairs(params) do self.names[i] = p.name end
  check_output(what, self.output)
  check_maps(what, "symmetry", self.symmetry, "map")
  check_maps(what, "invariants", self.invariants, "value")
  local series = self.series
  if series and (#self.output ~= 1 or #series == 0 or self.output[1] % #series ~= 0) then
    check.fail(2, "%s: series names the curves that make up a vector output, all of one length; %d do not make up %s",
      what, #series, check.shape_text(self.output))
  end
  if self.simulate then self.arity = debug.getinfo(self.simulate, "u").nparams end
  return setmetatable(self, Simulator)
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
    parts[i] = string.format("%s %g…%g%s", p.name, p.low, p.high, p.unit ~= "" and " " .. p.unit or "")
  end
  return string.format("simulator %s: (%s) -> %s", self.name, table.concat(parts, ", "),
    check.shape_text(self.output))
end

-- ---- the prior ----------------------------------------------------------------

local function draw_uniform(p, rng)
  if p.levels then return rng:integer(1, p.levels) end
  if p.scale == "log" then return math.exp(rng:uniform(math.log(p.low), math.log(p.high))) end
  return rng:uniform(p.low, p.high)
end

-- Bounds are met up to rounding in single precision.
local function outside(p, v)
  local slack = 1e-6 * math.max(math.abs(p.low), math.abs(p.high))
  return not (v >= p.low - slack and v <= p.high + slack)
end

local function check_draw(self, z, i, number)
  local p = self.params[i]
  local v = z[p.name]
  if v == nil then v = z[i] end
  if type(v) ~= "number" then
    error(string.format("simulator '%s': the prior gave no number for '%s' (draw %d); it returns a table such as "
      .. "{ %s = %g, … }", self.name, p.name, number, p.name, p.low), 0)
  end
  if outside(p, v) then
    error(string.format("simulator '%s': the prior drew %s = %g (draw %d), outside its bounds %g to %g",
      self.name, p.name, v, number, p.low, p.high), 0)
  end
  return v
end

--- Draws the prior. Draw i of a seed is the same whoever asks for it.
-- @tparam integer n how many
-- @tparam rng rng sv.rng(seed); n draws of it are used up
-- @treturn tensor (n, K), in units, columns in the order of params
function Simulator:sample(n, rng)
  local first = rng:take(n)
  local K = #self.params
  local z = core.zeros(n, K)
  local own = rng:at(0)
  for s = 1, n do
    own:rewind(first + s)
    if self.prior then
      local draw = self.prior(own)
      if type(draw) ~= "table" then
        error(string.format("simulator '%s': the prior returned %s; it returns a table by parameter name",
          self.name, check.describe(draw)), 0)
      end
      for i = 1, K do z:set(check_draw(self, draw, i, first + s), s, i) end
    else
      for i = 1, K do z:set(draw_uniform(self.params[i], own), s, i) end
    end
  end
  return z
end

-- ---- running --------------------------------------------------------------------

local function describe_z(self, values)
  local parts = {}
  for i, p in ipairs(self.params) do parts[i] = string.format("%s = %.6g", p.name, values[i]) end
  return table.concat(parts, ", ")
end
Simulator.describe_z = describe_z

-- What a simulator raised is a failure of the sample; Ctrl-C is not.
local function raised(message)
  if type(message) == "string" and message:find "interrupted!$" then error(message, 0) end
  return "raised: " .. tostring(message)
end

--- Runs one sample.
-- @tparam {number,...} values parameters in order, in units
-- @tparam tensor out zeros of the output's shape
-- @treturn boolean true, or nil and what went wrong (no exception but Ctrl-C leaves this function)
function Simulator:run_one(values, out)
  local z = {}
  for i, p in ipairs(self.params) do z[i], z[p.name] = values[i], values[i] end
  local ok, result, reason = pcall(self.simulate, z, out)
  if not ok then return nil, raised(result) end
  if result == false then return nil, tostring(reason or "failed") end
  if result ~= nil and result ~= out then
    local good, message = pcall(function()
      local t = type(result) == "table" and core.tensor(result) or result
      if getmetatable(t) ~= core.metatable then error("it returned a " .. type(t), 0) end
      out:copy(t)
    end)
    if not good then
      return nil, string.format("its result does not fit the output %s: %s", check.shape_text(self.output), message)
    end
  elseif result == nil and self.arity < 2 then
    return nil, "returned nothing: return the numbers, or take a second argument `out` and fill it"
  end
  local finite, at = out:finite()
  if not finite then return nil, string.format("wrote a number that is not finite, at element %d of its output", at) end
  return true
end

-- Many at once, by the simulator's own loop. Returns { [row] = reason } of the rows that failed.
local function try_batch(self, z, x)
  local n = z.shape[1]
  local ok, failures = pcall(self.batch, z, x)
  if not ok then
    local why = raised(failures)
    if n == 1 then return { why } end
    failures = {} -- which of them it was shows when each runs alone
    local shape = { 1, table.unpack(self.output) }
    for s = 1, n do
      failures[s] = try_batch(self, z[s]:reshape(1, #self.params), x[s]:reshape(shape))[1]
    end
    return failures
  end
  if type(failures) ~= "table" then failures = {} end -- the built-ins return x
  if not x:finite() then
    for s = 1, n do
      local finite, at = x[s]:finite()
      if not finite and not failures[s] then
        failures[s] = string.format("wrote a number that is not finite, at element %d of its output", at)
      end
    end
  end
  return failures
end

--- Runs the simulator on parameters that may fail.
-- @tparam tensor z (N, K), in units
-- @tparam tensor x zeros (N, …output), to be filled
-- @tparam ?boolean first stops at the first that fails
-- @treturn {[integer]=string} the rows that failed, and why
function Simulator:try(z, x, first)
  if self.batch then return try_batch(self, z, x) end
  local failures, rows = {}, z:totable()
  for s = 1, #rows do
    local ok, why = self:run_one(rows[s], x[s])
    if not ok then failures[s] = why end
    if first and not ok then break end
  end
  return failures
end

--- Runs the simulator.
-- @tparam tensor z (N, K), in units
-- @treturn tensor (N, …output)
-- @raise which sample failed, its parameters and why
function Simulator:run(z)
  local K = #self.params
  if type(z) == "table" then z = core.tensor(z) end
  if getmetatable(z) ~= core.metatable or z.ndim ~= 2 or z.shape[2] ~= K then
    check.fail(2, "simulator '%s': run takes z of shape (N, %d): %s", self.name, K, table.concat(self.names, ", "))
  end
  local x = core.zeros { z.shape[1], table.unpack(self.output) }
  local first
  local failures = self:try(z, x, true)
  for s in pairs(failures) do first = math.min(first or s, s) end
  if first then
    error(string.format("simulator '%s': sample %d (%s) %s", self.name, first,
      describe_z(self, z[first]:totable()), failures[first]), 2)
  end
  return x
end

--- Draws n samples of the prior and runs the simulator on them.
-- @treturn tensor z (n, K)
-- @treturn tensor x (n, …output)
function Simulator:simulate_batch(n, rng)
  local z = self:sample(n, rng)
  return z, self:run(z)
end

local members = { "index", "names", "arity", "variant" }
for name in pairs(fields) do members[#members + 1] = name end
require("simvae.names").class(Simulator, "simulator", members)

return simulator
