--- Failed samples: counting, failures.csv, the limit on their share, running them again.
--
-- A row of failures.csv: sample (its number, from 1), attempt (0: the first draw, 1: the draw that
-- replaced it, …), the parameters by name, reason, time (UTC), seed.
local check = require "simvae.util.check"
local core = require "simvae.core"
local csv = require "simvae.io.csv"
local parameter = require "simvae.simulator.parameter"
local row_files = require "simvae.io.rows"
local streams = require "simvae.simulator.streams"

local failures = {}
local Log = {}
Log.__index = Log

local checked_from = 50  -- samples before the share of failures is checked
local max_attempts = 1000

-- ---- the file, one line a row -----------------------------------------------------------

local function header_of(sim)
  local cells = { "sample", "attempt" }
  for _, name in ipairs(sim.names) do cells[#cells + 1] = name end
  cells[#cells + 1] = "reason"
  cells[#cells + 1] = "time"
  cells[#cells + 1] = "seed"
  return csv.line(cells)
end

local number_format = core.real == "double" and "%.17g" or "%.9g"

local function row_of(r)
  local cells = { tostring(r.sample), tostring(r.attempt) }
  for _, v in ipairs(r.z) do cells[#cells + 1] = string.format(number_format, v) end
  cells[#cells + 1] = r.reason
  cells[#cells + 1] = r.time
  cells[#cells + 1] = r.seed and tostring(r.seed)
  return csv.line(cells)
end

-- The rows of a file of this simulator's failures; an incomplete last line is dropped. nil: not such a file.
-- A file of an earlier version has no seeds.
local function read_rows(sim, path)
  local file, why = io.open(path, "r")
  if not file then return nil, why end
  local text = file:read "a"
  file:close()
  if not text:find("\n", 1, true) and header_of(sim):find(text, 1, true) == 1 then return {} end -- cut off
  local lines = text:gmatch "(.-)\n"
  local header = lines()
  if header ~= header_of(sim) and header ~= header_of(sim):gsub(",seed$", "") then
    return nil, string.format("%s: its first line is not %s", path, header_of(sim))
  end
  local rows, K = {}, #sim.params
  for line in lines do
    local cells = csv.cells(line)
    local r = cells and (#cells == K + 4 or #cells == K + 5)
      and { sample = math.tointeger(cells[1]), attempt = math.tointeger(cells[2]), z = {}, reason = cells[K + 3],
        time = cells[K + 4], seed = math.tointeger(cells[K + 5]) }
    for i = 1, r and K or 0 do r.z[i] = tonumber(cells[i + 2]) end
    if not (r and r.sample and r.attempt and #r.z == K) then
      return nil, string.format("%s: line %d is not a row of it: %s", path, #rows + 2, line)
    end
    rows[#rows + 1] = r
  end
  return rows
end

-- ---- the log ------------------------------------------------------------------------------

--- A log of failures.
-- @tparam Simulator sim
-- @tparam ?string path failures.csv
-- @tparam number limit the share of the samples that may fail
-- @tparam integer seed of the samples
function failures.log(sim, path, limit, seed)
  return setmetatable({
    seed = seed, sim = sim, path = path, limit = limit, failed = 0, done = 0, known = {}, reasons = {}, low = {},
    high = {},
  }, Log)
end

local function id_of(r) return r.sample .. ":" .. r.attempt end

local function count(self, r)
  self.known[id_of(r)] = true
  self.failed = self.failed + 1
  local kind = r.reason:gsub("%d[%d.e+-]*", "#") -- reasons that differ only in numbers are one
  local known = self.reasons[kind]
  if not known then
    known = { text = r.reason, count = 0 }
    self.reasons[kind] = known
    self.reasons[#self.reasons + 1] = known
  end
  known.count = known.count + 1
  for i, v in ipairs(r.z) do
    self.low[i] = math.min(self.low[i] or v, v)
    self.high[i] = math.max(self.high[i] or v, v)
  end
end

--- Reads the file of an interrupted run and continues it: rows of samples that will be run again are dropped.
-- @tparam function keep (sample index) -> whether it will not be run again
-- @tparam integer done samples of the run so far
function Log:continue(keep, done)
  self.done = done
  if not self.path or core.system.kind(self.path) ~= "file" then return end
  local rows, why = read_rows(self.sim, self.path)
  if not rows then error(why .. "; give another file, or delete this one", 0) end
  local lines = {}
  for _, r in ipairs(rows) do
    if keep(r.sample) and not self.known[id_of(r)] then
      count(self, r)
      r.seed = r.seed or self.seed
      lines[#lines + 1] = row_of(r) .. "\n"
    end
  end
  if #lines == 0 and os.remove(self.path) then return end
  self:file():replace(table.concat(lines))
end

--- Adds the failures in a file, which it does not write.
-- @tparam string path
-- @treturn boolean true; or nil, message
function Log:read(path)
  local rows, why = read_rows(self.sim, path)
  if not rows then return nil, why end
  for _, r in ipairs(rows) do
    if not self.known[id_of(r)] then count(self, r) end
  end
  return true
end

--- The file of its rows.
function Log:file()
  self.rows = self.rows or row_files.new(self.path, header_of(self.sim) .. "\n")
  return self.rows
end

--- Writes rows that a full disk has refused, or reports the loss.
function Log:close()
  if self.rows then self.rows:close() end
end

--- Adds a failure, unless it is in the log.
-- @raise too many failures; a file that cannot be written is not an error
function Log:add(sample, attempt, z, reason)
  local r = { sample = sample, attempt = attempt, z = z, reason = reason, seed = self.seed,
    time = os.date "!%Y-%m-%dT%H:%M:%SZ" }
  if self.known[id_of(r)] then return end
  count(self, r)
  if self.path then self:file():add(row_of(r) .. "\n") end
  self:judge(sample, attempt)
end

-- A tolerance of two standard deviations, since the share of few samples varies.
function Log:judge(sample, attempt)
  local tried, p = self.done + self.failed, self.limit
  local too_many = p == 0
    or tried >= checked_from and self.failed > p * tried + 2 * math.sqrt(p * (1 - p) * tried)
  if too_many then
    error(string.format("simulator '%s': %d of %d samples failed (%.0f%%); max_failures allows %g%%\n%s",
      self.sim.name, self.failed, tried, 100 * self.failed / tried, 100 * p, self:table()), 0)
  end
  if attempt >= max_attempts then
    error(string.format("simulator '%s': sample %d and the %d draws in place of it failed\n%s", self.sim.name, sample,
      attempt, self:table()), 0)
  end
end

local function aligned(rows)
  local width = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do width[i] = math.max(width[i] or 0, utf8.len(cell) or #cell) end
  end
  local lines = {}
  for k, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = cell .. (" "):rep(width[i] - (utf8.len(cell) or #cell)) end
    lines[k] = "  " .. table.concat(cells, "   "):gsub(" +$", "")
  end
  return table.concat(lines, "\n")
end

local function shortened(text)
  return #text > 160 and text:sub(1, 160) .. "…" or text
end

--- Reasons of failures and their region of the prior: a table, as text.
-- @treturn string
function Log:table()
  if self.failed == 0 then return "  no sample failed" end
  table.sort(self.reasons, function(a, b) return a.count > b.count end)
  local why, where = { { "times", "reason" } }, { { "parameter", "fails within", "prior" } }
  for i, r in ipairs(self.reasons) do
    if i > 10 then
      why[#why + 1] = { "", string.format("and %d other reasons", #self.reasons - 10) }
      break
    end
    why[#why + 1] = { tostring(r.count), shortened(r.text) }
  end
  for i, p in ipairs(self.sim.params) do
    local unit = parameter.unit_text(p)
    where[#where + 1] = { p.name, string.format("%.4g to %.4g%s", self.low[i], self.high[i], unit),
      parameter.bounds_text(p) .. unit }
  end
  return aligned(why) .. "\n" .. aligned(where)
    .. (self.path and string.format("\n  sv.replay(simulator, %q) runs them again", self.path) or "")
end

-- ---- again ----------------------------------------------------------------------------------

local replay_options = check.declare("replay", {
  sample = { "integer", min = 1, doc = "index of one sample, instead of all" },
  quiet = { "boolean", default = false, doc = "prints nothing" },
  seed = { "integer", default = 1, doc = "of a file of an earlier version, which does not hold it" },
})

--- Runs the samples of a failures.csv again, in this process, with their random numbers, and prints the
-- results. A crash or a hang can be examined in a debugger.
-- @tparam Simulator sim
-- @tparam string path failures.csv
-- @tparam ?table options options
-- @treturn {table,...} of each: sample, attempt, z (a list), reason (then), now (the reason, or nil), x (the output);
-- or nil and why the file cannot be read
-- @raise a value that is not a simulator
-- @usage
-- local shy = sv.simulator {
--   name = "shy", params = { { name = "a", low = 0, high = 1 } }, output = { 1 },
--   simulate = function(v, out) if v.a > 0.9 then return false, "too large" end out[1] = v.a end,
-- }
-- local s = assert(sv.sampler.new { simulator = shy, batch = 64, failures = "failures.csv" })
-- s:next()
-- s:close()
-- local rows = assert(sv.replay(shy, "failures.csv", { quiet = true }))
-- print(#rows > 0, rows[1].now)
function failures.replay(sim, path, options)
  if not require "simvae.simulator".is(sim) then check.fail(2, "replay: takes a simulator (sv.simulator{…}) first") end
  check.value("replay", "path", path, { "string" })
  local o = check.options("replay", options, replay_options)
  local function say(...)
    if o.quiet then return end
    io.stdout:write(string.format(...))
    io.stdout:flush() -- the simulator may end this process
  end
  local rows, why = read_rows(sim, path)
  if not rows then return nil, why end
  local list = {}
  for _, r in ipairs(rows) do
    if not o.sample or r.sample == o.sample then
      say("sample %d%s: %s\n  then: %s\n", r.sample, r.attempt > 0 and ", draw " .. r.attempt + 1 or "",
        sim:describe_z(r.z), r.reason)
      r.x = core.zeros { 1, table.unpack(sim.output) }
      r.now = sim:try(core.tensor { r.z }, r.x, streams.simulation(r.seed or o.seed, r.sample, r.attempt))[1]
      say("  now: %s\n", r.now or "no failure")
      list[#list + 1] = r
    end
  end
  return list
end

return failures
