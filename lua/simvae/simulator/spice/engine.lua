--- ngspice in a process of its own.
--
-- ngspice leaks memory, has global state, can corrupt its heap after errors, and netlists are untrusted. It therefore
-- runs in a forked process (simvae.util.process_host), which ends with its owner. The process works in an empty
-- private folder, without the user's .spiceinit, and is confined (csrc/sim/confine.c); for a trusted netlist it has
-- neither restriction.
local class = require "simvae.util.class"
local core = require "simvae.core"
local outputs = require "simvae.simulator.spice.outputs"
local parameters = require "simvae.simulator.spice.parameters"

local Engine = {}
Engine.__index = Engine
class.take(Engine, "simvae.util.process_host")

local rows_at_once = 64

-- ---- in ngspice's own process ----------------------------------------------------------

local function open(plan)
  local compatibility = plan.compatibility and { "set ngbehavior=" .. plan.compatibility }
  if plan.trusted then
    local ok, why = core.spice.open()
    if ok and compatibility then ok, why = core.spice.run(compatibility, true) end
    return ok, why
  end
  local folder, why = core.system.temporary_folder()
  if not folder then return nil, why end
  local file
  file, why = io.open(folder .. "/.spiceinit", "w") -- else ngspice reads the user's
  if not file then return nil, why end
  file:write("* simvae\n", compatibility and compatibility[1] .. "\n" or "")
  file:close()
  local ok
  ok, why = core.spice.enter(folder)
  if ok then ok, why = core.spice.open() end
  core.spice.confine()
  return ok, why
end

local function load_circuit(plan, values)
  local lines = { "simvae" } -- ngspice takes some titles for scripts
  table.move(plan.lines, 1, #plan.lines, 2, lines)
  for _, card in ipairs(parameters.cards(plan.given, values)) do lines[#lines + 1] = card end
  lines[#lines + 1] = ".end"
  local ok, why = core.spice.load(lines)
  if ok and plan.save then ok, why = core.spice.run({ plan.save }, true) end
  return ok, why
end

-- Runs the analysis with these values.
local function run_analysis(plan, state, values)
  local commands = {}
  if plan.random then
    local ok, why = core.spice.run({ string.format("setseed %d", values[plan.numbers]) }, true)
    if not ok then return nil, why end
  end
  if not (plan.alter and state.loaded) then
    local ok, why = load_circuit(plan, values)
    state.loaded, state.said = ok, core.spice.said()
    if not ok then return nil, why end
  end
  for k, a in ipairs(plan.alter or {}) do
    commands[k] = "alter " .. a[1] .. " = " .. string.format("%.17g", values[a[2]])
  end
  commands[#commands + 1] = plan.analysis.in_deck and "run" or plan.analysis.command
  local ok, why = core.spice.run(commands)
  if not ok then return nil, why end
  if not state.vectors then
    local found, names = {}, core.spice.vectors()
    for k, o in ipairs(plan.outputs) do
      if not o.meas then
        found[k], why = outputs.resolve(o, names)
        if not found[k] then return nil, why end
      end
    end
    state.vectors = found
  end
  return true
end

local function measured(k, o)
  for line in core.spice.measured():gmatch "[^\n]+" do
    local number, value = line:match "^sv_meas_(%d+)%s*=%s*(%S+)"
    if tonumber(number) == k then
      value = tonumber(value)
      if value then return value end
    end
  end
  return nil, string.format("ngspice's .meas %s failed", o.meas)
end

local function read_outputs(plan, state, out, row)
  local at = (row - 1) * plan.count
  for k, o in ipairs(plan.outputs) do
    local ok, why
    if o.meas then
      ok, why = measured(k, o)
      if ok then core.spice.write(out, at, ok) end
      at = at + 1
    else
      local first, last
      if plan.grid == "even" then
        first, last = plan.first, plan.last
        if not first then
          ok, first, last = core.spice.extent "time"
          if not ok then return nil, first end
        end
      end
      local v = state.vectors[k]
      ok, why = core.spice.read(o.part, v.to, v.from, out, at, plan.points, first, last)
      at = at + plan.points
    end
    if not ok then return nil, why end
  end
  return true
end

-- The number of points, and the first and last value of the axis, as text; or nil, message.
local function look(plan, state)
  local length, first, last = 1, 0, 0
  for k, o in ipairs(plan.outputs) do
    local v = state.vectors[k]
    if o.meas then
      local ok, why = measured(k, o)
      if not ok then return nil, why end
    else
      local n, why = core.spice.extent(v.to or v.from)
      if not n then return nil, why end
      length = n
    end
  end
  for _, name in ipairs(core.spice.vectors()) do
    if name == "time" or name == "frequency" or name:find "%-sweep$" then
      _, first, last = core.spice.extent(name)
    end
  end
  local said = state.said .. "; " .. core.spice.said()
  return string.pack("jdds4", length, first or 0, last or 0, said)
end

-- Warnings of ngspice about ignored input: parameters of models, initial values of unknown nodes.
local function passed_over(said)
  local list = {}
  for text in said:gmatch "[^;]+" do
    text = text:match "^%s*(.-)%s*$"
    if text:find "ignored" then list[#list + 1] = "ngspice: " .. text end
  end
  return list
end

-- The answer to a message "?" and values: "" and what look found, or "!" and what went wrong.
local function answer_probe(link, plan, ready, why, message)
  local state = {}
  local found
  if ready then
    ready, why = run_analysis(plan, state, { string.unpack(string.rep("d", plan.numbers), message, 2) })
    if ready then found, why = look(plan, state) end
  end
  return link:send(found and "=" .. found or "!" .. why)
end

-- A message in: "=" and the values of some rows; a message out for each row: "" or what went wrong, after "!", or "x"
-- if this process ends with it. Or "?" and values: one run, to see what it gives.
local function serve(link, plan, shared)
  local ok, why = open(plan)
  local state = {}
  local format = string.rep("d", plan.numbers)
  while true do
    local message = link:receive()
    if not message then return end
    if message:find "^%?" then
      if not answer_probe(link, plan, ok, why, message) then return end
      message = ""
    end
    local position, row = 2, 0
    while position <= #message do
      local values = { string.unpack(format, message, position) }
      position, row = values[plan.numbers + 1], row + 1
      local good, reason = ok, why
      if good then good, reason = run_analysis(plan, state, values) end
      if good then good, reason = read_outputs(plan, state, shared, row) end
      local over = core.spice.broken()
      if not link:send(good and "" or (over and "x" or "!") .. reason) then return end
      if over then return end
    end
  end
end

-- ---- in the simulator's process ----------------------------------------------------------

--- An engine that runs a plan.
-- @tparam table plan lines, given (names of parameters), alter, analysis, outputs, points, count (of all numbers),
--   random, numbers (of a row: the parameters and, with random, a seed), grid, first, last, save, trusted,
--   compatibility
-- @tparam number timeout seconds a run
-- @tparam integer restart runs after which ngspice starts afresh
function Engine.new(plan, timeout, restart)
  return setmetatable({ plan = plan, timeout = timeout, restart = restart }, Engine)
end

-- Starts the process.
function Engine:begin()
  self.shared = core.shared(rows_at_once, self.plan.count)
  local worker, why = core.process.fork(serve, self.plan, self.shared)
  if not worker then error(why, 0) end
  return worker
end

-- Ends it.
function Engine:finish(worker) worker:close() end

--- Runs once, to determine the size of the results.
-- @tparam {number,…} values of the parameters
-- @treturn ?integer points of each vector, or nil, message
-- @treturn number the axis' first value
-- @treturn number and its last
-- @treturn {string,…} what ngspice passed over
function Engine:probe(values)
  self:ready()
  self.process:send("?" .. string.pack(string.rep("d", self.plan.numbers), table.unpack(values)), self.timeout)
  local reply, why = self.process:receive(self.timeout)
  why = not reply and self:ending(why) or reply:find "^!" and reply:sub(2)
  self:stop()
  if why then return nil, why end
  local length, first, last, said = string.unpack("jdds4", reply, 2)
  return length, first, last, passed_over(said)
end

--- Runs rows first … last of values into x; returns the row after the last one done.
function Engine:chunk(values, first, last, x, failures)
  self:ready()
  self.waiting = true -- until all rows are back: an interrupted chunk's would be taken for the next one's
  local message = { "=" }
  for r = first, last do
    message[#message + 1] = string.pack(string.rep("d", self.plan.numbers), table.unpack(values[r]))
  end
  if not self.process:send(table.concat(message), self.timeout) then
    self:stop()
    self:ready()
    self.waiting = true
    self.process:send(table.concat(message), self.timeout)
  end
  for r = first, last do
    local reply, why = self.process:receive(self.timeout)
    self.runs = self.runs + 1
    if reply == "" then
      x[r]:copy(self.shared[r - first + 1])
    elseif reply then
      failures[r] = reply:sub(2)
      if reply:byte() == ("x"):byte() then
        self:stop()
        return r + 1
      end
    else
      failures[r] = self:ending(why)
      self:stop()
      return r + 1
    end
  end
  self.waiting = false
  return last + 1
end

--- Why the process did not reply.
function Engine:ending(why)
  if why == "timeout" then return string.format("ngspice took longer than %g s (timeout)", self.timeout) end
  if why ~= "closed" then return why end
  local kind, what = self.process:wait(1)
  return kind == "signal" and "ngspice died by " .. what or "ngspice ended"
end

--- Fills x (N, …) from values, a list of rows of numbers.
-- @treturn {[integer]=string} the rows that failed, and why
function Engine:run(values, x)
  local failures, row = {}, 1
  while row <= #values do
    row = self:chunk(values, row, math.min(row + rows_at_once - 1, #values), x, failures)
  end
  return failures
end

return Engine
