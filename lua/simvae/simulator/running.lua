--- Running a simulator on given parameters. Failures of a sample are distinguished from errors of its use.
local check = require "simvae.util.check"
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local point = require "simvae.simulator.point"
local streams = require "simvae.simulator.streams"

local running = {}

local lend, take_numbers, is_finite = core.lend, core.take, core.methods.finite -- a sample takes microseconds
local check_signals = core.signals.check

-- An error of the simulator is a failure of the sample; an interruption is not.
local function raised(message)
  if interrupt.is(message) then error(message, 0) end
  local meta = type(message) == "table" and getmetatable(message)
  if type(message) == "table" and not (meta and meta.__tostring) then message = "a table without __tostring" end
  local ok, text = pcall(tostring, message)
  return "raised: " .. (ok and text or "a table whose __tostring raises")
end

-- ---- one sample -----------------------------------------------------------------

-- Copies an output that simulate returned (numbers in its shape, or a flat list) to out. Returns true, or nil and why
-- not.
local function take(self, out, result)
  local function unfit(format, ...)
    return nil, string.format("its result does not fit the output %s: " .. format, check.shape_text(self.output), ...)
  end
  local t = result
  if type(t) == "table" then
    local ok, made = pcall(core.tensor, t)
    if not ok then return unfit("%s", made) end
    t = made
  elseif getmetatable(t) ~= core.metatable then
    return unfit("it returned %s; return a table of numbers, or fill `out`", check.describe(t))
  elseif not t.alive then
    return unfit("it returned a tensor that was released")
  end
  if not check.fits(t.shape, self.output) then
    return unfit("it has shape %s", check.shape_text(t.shape))
  end
  out:copy(t)
  return true
end

local function judge(self, z, values, out, result, reason)
  if result == false or result == nil and reason ~= nil then return nil, tostring(reason or "failed") end
  local changed = point.changed(z, values)
  if changed then
    return nil, string.format("changed z[%d] (%s); z is read-only: a local variable can hold another value", changed,
      self.names[changed])
  end
  if result == nil then
    if not self.fills then
      return nil, "returned nothing: return the numbers, or take a second argument `out` and fill it"
    end
  elseif result ~= out then
    local ok, why = take(self, out, result)
    if not ok then return nil, why end
  end
  local ok, at = is_finite(out)
  if not ok then return nil, string.format("wrote a number that is not finite, at element %d of its output", at) end
  return true
end

-- The arguments of simulate, made once; others while simulate runs its own simulator.
local function take_frame(self)
  local frame = self.frame
  self.frame = nil
  return frame or { point = point.maker(self), scratch = core.buffer(core.zeros { 1, table.unpack(self.output) }) }
end

--- Runs one sample.
-- @tparam Simulator self
-- @tparam {number,...} values parameters in order, in units
-- @tparam tensor x (N, …output)
-- @tparam integer row of x that takes the output
-- @tparam rng rng its generator
-- @treturn boolean true, or nil and what went wrong (no exception but Ctrl-C leaves this function)
function running.row(self, values, x, row, rng)
  local frame = take_frame(self)
  local scratch, z = frame.scratch, frame.point.open(values)
  local out = lend(scratch)
  local ok, result, reason = rng:call(self.simulate, z, out, rng)
  frame.point.close(z)
  local why
  if ok then ok, why = judge(self, z, values, out, result, reason) else why = raised(result) end
  take_numbers(x, row, scratch) -- later writes to an `out` that was kept raise
  self.frame = frame
  return ok or nil, why
end

--- Runs one sample by itself.
-- @tparam Simulator self
-- @tparam {number,...} values parameters in order, in units
-- @tparam tensor x of the output's shape; takes the output
-- @tparam ?rng rng its generator (that of sample 1 of seed 0)
-- @treturn boolean true, or nil and what went wrong
-- @usage
-- local out = sv.zeros(ring.output)
-- print(ring:run_one({ 16, 16, 5 }, out))
function running.one(self, values, x, rng)
  return running.row(self, values, x:reshape { 1, table.unpack(self.output) }, 1,
    rng or streams.simulation(0, 1):rng(1))
end

-- ---- batches -----------------------------------------------------------------------

-- The result of a batch function, as { [row] = reason }.
local function read_failures(self, x, n, result, reason)
  if result == nil and reason == nil or result == x then return {} end
  if not result then return nil, tostring(reason or "failed") end
  local function fail(format, ...)
    error(string.format("simulator '%s': batch fills its second argument and returns nothing, or { [row] = reason } of "
      .. "rows that failed; it returned " .. format, self.name, ...), 0)
  end
  if type(result) ~= "table" then fail("%s", check.describe(result)) end
  for row, why in pairs(result) do
    if math.type(row) ~= "integer" or row < 1 or row > n then fail("[%s] of %d rows", tostring(row), n) end
    if type(why) ~= "string" then fail("%s for row %d", check.describe(why), row) end
  end
  return result
end

-- Row by row, so that errors name the row and math.random is seeded for each.
local function one_by_one(self, z, x, source)
  local failures, shape = {}, { 1, table.unpack(self.output) }
  x:fill(0)
  for s = 1, z.shape[1] do
    failures[s] = running.batch(self, z[s]:reshape(1, #self.params), x[s]:reshape(shape), source:from(s))[1]
  end
  return failures
end

--- Runs a simulator with `batch` on several samples.
-- @tparam Simulator self
-- @tparam tensor z (N, K), in units
-- @tparam tensor x zeros (N, …output), to be filled
-- @tparam table source the samples' random numbers (simvae.simulator.streams)
-- @treturn {[integer]=string} the rows that failed, and why
function running.batch(self, z, x, source)
  local n = z.shape[1]
  if n == 0 then return {} end
  local rng = source:rng(1)
  local ok, result, reason = rng:call(self.batch, z:clone(), x, source:list(n))
  if n > 1 and core.sample_drew() then return one_by_one(self, z, x, source) end
  local failures, why
  if ok then failures, why = read_failures(self, x, n, result, reason) else why = raised(result) end
  if why then
    if n == 1 then return { why } end
    return one_by_one(self, z, x, source)
  end
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

-- Batch functions in C: they draw no random numbers and raise no errors. Each with what starts it beside other work.
local compiled = {}
for _, b in pairs(core.builtin) do compiled[b.draw] = b.start end

--- What starts a simulator in C on parameters, by threads that have nothing else to do.
-- @tparam Simulator self
-- @treturn ?function (z (N, K), in units; N and the output's sizes) -> an object whose method finish returns z and x
-- (N, …output); nil of another simulator and of a single thread
function running.starter(self)
  return core.threads() > 1 and compiled[self.batch] or nil
end

--- Runs the simulator on parameters that may fail.
-- @tparam Simulator self
-- @tparam tensor z (N, K), in units
-- @tparam tensor x zeros (N, …output), to be filled
-- @tparam ?Streams source of its random numbers (simvae.simulator.streams; default: samples 1 … N of seed 0)
-- @tparam ?boolean first stops at the first that fails
-- @treturn {[integer]=string} the rows that failed, and why
-- @usage
-- local zs = ring:sample(4, sv.rng(1))
-- local failed = ring:try(zs, sv.zeros(4, 1, 32, 32))
-- print(next(failed))
function running.try(self, z, x, source, first)
  source = source or streams.simulation(0, 1)
  if compiled[self.batch] then
    self.batch(z, x)
    if x:finite() then return {} end
  end
  if self.batch then return running.batch(self, z, x, source) end
  local failures, rows = {}, z:totable()
  local rng, row, before = source:rng(1), running.row, source.first - 1
  for s = 1, #rows do
    local ok, why = row(self, rows[s], x, s, rng:rewind(before + s))
    check_signals() -- a pcall within simulate may have caught its error
    if not ok then
      failures[s] = why
      if first then break end
    end
  end
  return failures
end

return running
