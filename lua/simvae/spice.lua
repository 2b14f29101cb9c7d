--- Circuits as simulators, through ngspice.
--
--     local rc = sv.spice {
--       name = "rc",
--       netlist = [[
--         RC low-pass filter
--         V1 in 0 dc 0 ac 1
--         R1 in out {R}
--         C1 out 0 {C}
--       ]],
--       params = { { name = "R", low = 100, high = 10e3, unit = "ohm", scale = "log" }, … },
--       analysis = ".ac dec 10 100 100k",
--       output = { "vdb(out)", "vp(out)" },
--     }
--
-- A parameter is a placeholder {R}, a .param of the netlist, or both; its value takes the
-- place of the one given there. The first line of a netlist is its title, as SPICE has it.
--
-- ngspice keeps memory and global state, and some errors leave it beyond repair. It therefore
-- runs in a process of its own, started with the first sample, again after `restart` runs, and
-- again whenever it died; it ends with the simulator's owner.
local check = require "simvae.check"
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local spice = {}

local rows_at_once = 64

local fields = {
  name = { "string", default = "circuit" },
  netlist = { "string", required = true },
  params = { "table", required = true },
  analysis = { "string" },
  output = { "table", required = true },
  points = { "integer", min = 1 },
  timeout = { "number", default = 60, above = 0 },       -- seconds a run may take
  restart = { "integer", default = 20000, min = 1 },     -- runs after which ngspice starts afresh
}
local passed_on = { "prior", "loss", "symmetry", "invariants", "series", "doc", "correlated" }
for _, name in ipairs(passed_on) do
  fields[name] = { "function|table|string|boolean" } -- sv.simulator knows better
end

-- ---- numbers, as SPICE writes them ------------------------------------------------

local scales = {
  t = 1e12, g = 1e9, meg = 1e6, k = 1e3, m = 1e-3, mil = 25.4e-6, u = 1e-6, n = 1e-9, p = 1e-12, f = 1e-15,
}

local function number_of(text)
  local digits, rest = text:lower():match "^([+-]?%d*%.?%d*)(.*)$"
  local exponent, after = rest:match "^(e[+-]?%d+)(.*)$"
  if exponent then digits, rest = digits .. exponent, after end
  local value = tonumber(digits)
  if not value then return nil end
  local scale = scales[rest:sub(1, 3)] or scales[rest:sub(1, 1)] or 1
  return value * scale
end

-- ---- the analysis --------------------------------------------------------------------

local function words_of(text)
  local words = {}
  for word in text:gmatch "%S+" do words[#words + 1] = word end
  return words
end

local function steps(from, to, step)
  return math.floor(math.abs((to - from) / step) * (1 + 1e-9) + 1e-9)
end

local sweeps = {
  dec = function(n, from, to) return math.floor(math.abs(math.log(to / from, 10)) * n) + 1 end,
  oct = function(n, from, to) return math.floor(math.abs(math.log(to / from, 2)) * n) + 1 end,
  lin = function(n) return math.floor(n) end,
}

-- How many points an analysis gives; for .tran also its first and last time.
local kinds = {
  op = function() return 1 end,
  ac = function(w)
    local count = sweeps[(w[2] or ""):lower()]
    local n, from, to = number_of(w[3] or ""), number_of(w[4] or ""), number_of(w[5] or "")
    return count and n and from and to and from > 0 and to >= from and count(n, from, to)
  end,
  dc = function(w)
    local points = 1
    for i = 2, #w, 4 do
      local from, to, step = number_of(w[i + 1] or ""), number_of(w[i + 2] or ""), number_of(w[i + 3] or "")
      if not (from and to and step) or step == 0 then return nil end
      points = points * (steps(from, to, step) + 1)
    end
    return #w > 1 and points
  end,
  tran = function(w)
    local step, last, first = number_of(w[2] or ""), number_of(w[3] or ""), number_of(w[4] or "0") or 0
    if not (step and last) or step <= 0 or last <= first then return nil end
    return steps(first, last, step) + 1, first, last
  end,
}

local function parse_analysis(what, text)
  local words = words_of(text)
  local kind = (words[1] or ""):lower():match "^%.?(%a+)$"
  if not kinds[kind] then
    check.fail(4, "%s: analysis is \".ac …\", \".tran …\", \".dc …\" or \".op\"; got %q", what, text)
  end
  words[1] = kind
  local points, first, last = kinds[kind](words)
  if not points then
    check.fail(4, "%s: analysis %q is not complete; for example \".ac dec 20 100 100k\", \".tran 1u 1m\", "
      .. "\".dc v1 0 5 0.1\"", what, text)
  end
  return { kind = kind, command = table.concat(words, " "), points = points, first = first, last = last }
end

-- ---- outputs ----------------------------------------------------------------------------

local parts = { [""] = "value", db = "db", p = "phase", m = "magnitude", r = "real", i = "imaginary" }

-- "vdb(out)", "v(a,b)", "i(v1)", "idb(v1)", or a vector by its own name.
local function parse_output(what, text)
  if type(text) ~= "string" then
    check.fail(4, "%s: output is a list such as { \"vdb(out)\", \"vp(out)\" }; got %s", what, check.describe(text))
  end
  local clean = text:lower():gsub("%s", "")
  local letter, part, inside = clean:match "^([vi])(%a*)%(([^()]+)%)$"
  if not letter then
    if clean:find "[()]" or clean == "" then
      check.fail(4, "%s: output %q is not known; for example \"vdb(out)\", \"vp(out)\", \"v(a,b)\", \"i(v1)\"", what,
        text)
    end
    return { part = "value", to = clean, text = text }
  end
  if not parts[part] then
    check.fail(4, "%s: output %q: '%s%s' is not known; there are v, vdb, vp, vm, vr, vi and i, idb, ip, im, ir, ii",
      what, text, letter, part)
  end
  local to, from = inside:match "^([^,]+),?([^,]*)$"
  if not to then check.fail(4, "%s: output %q takes one or two nodes", what, text) end
  if letter == "i" then to = to .. "#branch" end
  return { part = parts[part], to = to, from = from ~= "" and from ~= "0" and from or nil, text = text }
end

-- ---- the netlist --------------------------------------------------------------------------

local function read_netlist(what, given)
  if given:find "\n" then return given end
  local file, why = io.open(given, "r")
  if not file then return nil, string.format("%s: netlist %s", what, why) end
  local text = file:read "a"
  file:close()
  return text, given:match "^(.*/)" or ""
end

-- Lines without comments, continuation lines joined, title first.
local function split_lines(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    if #lines == 0 then
      if line:find "%S" then lines[1] = line:match "^%s*(.-)%s*$" end
    elseif line:match "^%s*%+" and #lines > 1 then
      lines[#lines] = lines[#lines] .. " " .. line:match "^%s*%+(.*)$"
    elseif line:match "^%s*%.end%s*$" then
      break
    elseif line:find "%S" and not line:match "^%s*%*" then
      lines[#lines + 1] = line:match "^%s*(.-)%s*$"
    end
  end
  return lines
end

local function looks_like_element(line)
  local words = words_of(line)
  return line:match "^%." or (#words >= 4 and words[1]:match "^[RLCVIrlcvi]%w+$"
    and (number_of(words[4]) or words[4]:match "^[{']" or words[4]:lower():match "^[ad]c$")) and true or false
end

local function absolute_include(line, folder)
  local head, quote, path, tail = line:match "^(%.%a+%s+)([\"']?)([^\"'%s]+)[\"']?(.*)$"
  if not head or not (head:lower():match "^%.inc" or head:lower():match "^%.lib%s") or path:match "^/" then
    return line
  end
  if core.system.kind(folder .. path) ~= "file" then return line end
  return head .. quote .. folder .. path .. quote .. tail
end

-- The parameters' places by name, lower-case: SPICE ignores case.
local function index_of(what, params)
  local index = {}
  for i, p in ipairs(params) do
    if type(p) ~= "table" or type(p.name) ~= "string" then
      check.fail(5, "%s: params[%d] needs a name", what, i)
    end
    local lower = p.name:lower()
    if index[lower] then
      check.fail(5, "%s: parameters '%s' and '%s' are the same to SPICE, which ignores case", what,
        params[index[lower]].name, p.name)
    end
    index[lower] = i
  end
  return index
end

-- Marks the values of a .param line that are parameters'; adds all names that it defines to defined.
local function mark_definitions(line, index, defined, mark_of)
  for _, value in ipairs { "({[^}]*})", "([^%s{\1]+)" } do
    line = line:gsub("([%a_][%w_]*)(%s*=%s*)" .. value, function(name, equals, old)
      defined[name:lower()] = true
      local i = index[name:lower()]
      return name .. equals .. (i and mark_of(i) or old)
    end)
  end
  return line
end

-- Marks the placeholders of a line; what stands in expressions goes to in_expressions.
local function mark_placeholders(line, index, mark_of, in_expressions, unknown)
  local function note(expression)
    for word in expression:gmatch "[%a_][%w_]*" do
      local i = index[word:lower()]
      if i then in_expressions[i] = true end
    end
  end
  line = line:gsub("{([^}]*)}", function(inside)
    local name = inside:match "^%s*([%a_][%w_]*)%s*$"
    if name and index[name:lower()] then return mark_of(index[name:lower()]) end
    if name then unknown(name) else note(inside) end
    return nil
  end)
  for inside in line:gmatch "'([^']*)'" do note(inside) end
  return line
end

-- Puts a mark where each value goes: "\1i\1", i the parameter's place. Values of .param lines
-- that are parameters are marked as well, and a parameter that only expressions use gets a
-- .param line of its own. Returns the lines, and which parameters have a place.
local function mark(what, lines, params)
  local index, used, defined, in_expressions, names = index_of(what, params), {}, {}, {}, {}
  for i, p in ipairs(params) do names[i] = p.name end
  local function mark_of(i)
    used[i] = true
    return "\1" .. i .. "\1"
  end
  local marked = {}
  for k = 2, #lines do
    local is_definition = lines[k]:lower():match "^%.param%s"
    marked[k] = is_definition and mark_definitions(lines[k], index, defined, mark_of) or lines[k]
  end
  local depth = 0
  for k = 2, #lines do
    local lower = lines[k]:lower()
    if lower:match "^%.subckt" then depth = depth + 1 end
    marked[k] = mark_placeholders(marked[k], index, mark_of, in_expressions, function(name)
      if defined[name:lower()] or depth > 0 then return end -- a subcircuit has parameters of its own
      local near = core.nearest(name, names)
      check.fail(7, "%s: the netlist's placeholder {%s} has no parameter%s: %s", what, name,
        near and string.format("; did you mean {%s}", near) or "", lines[k])
    end)
    if lower:match "^%.ends" then depth = depth - 1 end
  end
  local result = { lines[1] }
  for i, p in ipairs(params) do
    if in_expressions[i] and not defined[p.name:lower()] then
      result[#result + 1] = ".param " .. p.name .. "=" .. mark_of(i)
    end
  end
  table.move(marked, 2, #lines, #result + 1, result)
  result[#result + 1] = ".end"
  return result, used
end

-- A resistance, capacitance or inductance of the top level can be altered in place; if all
-- marks are such values, the circuit is parsed once. Returns the commands, or nil.
local function alterations(lines)
  local commands, depth = {}, 0
  for _, line in ipairs(lines) do
    local lower = line:lower()
    if lower:match "^%.subckt" then depth = depth + 1 end
    if lower:match "^%.ends" then depth = depth - 1 end
    if line:find "\1" then
      local element, i, rest = line:match "^([RLCrlc]%w*)%s+%S+%s+%S+%s+\1(%d+)\1(.*)$"
      if not element or rest:find "\1" or depth > 0 then return nil end
      commands[#commands + 1] = { "alter " .. element:lower() .. " = ", tonumber(i) }
    end
  end
  return commands
end

local function fill(text, values)
  return (text:gsub("\1(%d+)\1", function(i) return string.format("%.17g", values[tonumber(i)]) end))
end

-- ---- in ngspice's own process ------------------------------------------------------------------

local function load_circuit(plan, values)
  local lines = {}
  for k, line in ipairs(plan.lines) do lines[k] = fill(line, values) end
  return core.spice.load(lines)
end

local function run_one(plan, state, values, out, row)
  local commands = {}
  if not (plan.alter and state.loaded) then
    local ok, why = load_circuit(plan, values)
    state.loaded = ok
    if not ok then return nil, why end
  else
    for k, c in ipairs(plan.alter) do commands[k] = c[1] .. string.format("%.17g", values[c[2]]) end
  end
  commands[#commands + 1] = plan.analysis.command
  local ok, why = core.spice.run(commands)
  if not ok then return nil, why end
  local n = plan.points
  for k, o in ipairs(plan.outputs) do
    ok, why = core.spice.read(o.part, o.to, o.from, out, ((row - 1) * #plan.outputs + k - 1) * n, n,
      plan.analysis.first, plan.analysis.last)
    if not ok then return nil, why end
  end
  return true
end

-- A message in: the values of some rows; a message out for each row: "" or what went wrong, after
-- "!", or "x" if this process ends with it.
local function serve(link, plan, shared)
  local ok, why = core.spice.open()
  local state = {}
  local format = string.rep("d", plan.K)
  while true do
    local message = link:receive()
    if not message then return end
    local position, row = 1, 0
    while position <= #message do
      local values = { string.unpack(format, message, position) }
      position, row = values[plan.K + 1], row + 1
      local good, reason = ok, why
      if good then good, reason = run_one(plan, state, values, shared, row) end
      local over = core.spice.broken()
      if not link:send(good and "" or (over and "x" or "!") .. reason) then return end
      if over then return end
    end
  end
end

-- ---- in the simulator's process ------------------------------------------------------------------

local Engine = {}
Engine.__index = Engine

function Engine:start()
  self.owner = core.system.pid()
  self.shared = core.shared(rows_at_once, self.plan.points * #self.plan.outputs)
  local worker, why = core.process.fork(serve, self.plan, self.shared)
  if not worker then error(why, 0) end
  self.worker, self.runs, self.waiting = worker, 0, false
end

-- In a forked copy of its owner, the engine is the owner's: the copy starts one of its own.
function Engine:stop()
  if self.worker then self.worker:close() end
  self.worker = nil
end

function Engine:ready()
  local stale = self.owner ~= core.system.pid() or self.waiting or self.runs >= self.restart
  if self.worker and stale then self:stop() end
  if not self.worker then self:start() end
end

-- Runs rows first … last of values into x; returns the row after the last one done.
function Engine:chunk(values, first, last, x, failures)
  self:ready()
  self.waiting = true -- until all rows are back: an interrupted chunk's would be taken for the next one's
  local message = {}
  for r = first, last do message[#message + 1] = string.pack(string.rep("d", self.plan.K), table.unpack(values[r])) end
  if not self.worker:send(table.concat(message), self.timeout) then
    self:stop()
    self:ready()
    self.waiting = true
    self.worker:send(table.concat(message), self.timeout)
  end
  for r = first, last do
    local reply, why = self.worker:receive(self.timeout)
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

function Engine:ending(why)
  if why == "timeout" then return string.format("ngspice took longer than %g s (timeout)", self.timeout) end
  if why ~= "closed" then return why end
  local kind, what = self.worker:wait(1)
  return kind == "signal" and "ngspice died by " .. what or "ngspice ended"
end

-- Fills x (N, …) from values, a list of rows of numbers. Returns { [row] = reason } of those that failed.
function Engine:run(values, x)
  local failures, row = {}, 1
  while row <= #values do
    row = self:chunk(values, row, math.min(row + rows_at_once - 1, #values), x, failures)
  end
  return failures
end

--- A circuit as a simulator.
-- @tparam table t `netlist`: a file's path, or text of several lines, with {NAME} placeholders or .param
-- names for the parameters; `params` as of sv.simulator; `analysis`: ".ac …", ".tran …", ".dc …" or ".op"
-- (default: the netlist's own); `output`: a list of vectors: v(node), v(a,b), i(source) and, of .ac, vdb (dB),
-- vp (radians, without jumps along the sweep), vm, vr, vi, and the same with i; `points`: how many of each
-- (default: as the analysis says; .tran is read off at even steps of time from its start to its end); `timeout`
-- (60 s a run), `restart` (20000 runs); `name` and what else sv.simulator takes: prior, loss, symmetry, …
-- @treturn Simulator its output is {#output * points}, vector after vector; or nil, message where a file is missing
-- @raise a placeholder without a parameter, a parameter without a place, an analysis or output that is none
function spice.spice(t)
  local what = type(t) == "table" and type(t.name) == "string" and "spice '" .. t.name .. "'" or "spice"
  local given = check.options(what, t, fields)
  local text, folder = read_netlist(what, given.netlist)
  if not text then return nil, folder end
  local lines = split_lines(text)
  if #lines < 2 then check.fail(2, "%s: the netlist has no elements", what) end
  if looks_like_element(lines[1]) then
    check.fail(2, "%s: a netlist's first line is its title, and this looks like an element: %s", what, lines[1])
  end
  local analysis = given.analysis
  for k = #lines, 2, -1 do
    local kind = lines[k]:lower():match "^%.(%a+)"
    if kinds[kind] then
      analysis = analysis or lines[k]
      table.remove(lines, k)
    elseif folder then
      lines[k] = absolute_include(lines[k], folder)
    end
  end
  if not analysis then check.fail(2, "%s: analysis is missing, here and in the netlist", what) end
  local plan = { K = #given.params, outputs = {} }
  local used
  plan.lines, used = mark(what, lines, given.params)
  for i, p in ipairs(given.params) do
    if not used[i] then
      check.fail(2, "%s: parameter '%s' has no place in the netlist: {%s}, or .param %s=…", what, p.name, p.name,
        p.name)
    end
  end
  plan.alter = alterations(plan.lines)
  plan.analysis = parse_analysis(what, analysis)
  plan.points = given.points or plan.analysis.points
  if plan.points ~= plan.analysis.points and not plan.analysis.first then
    check.fail(2, "%s: points is %d, but %q has %d", what, plan.points, analysis, plan.analysis.points)
  end
  for k, o in ipairs(given.output) do plan.outputs[k] = parse_output(what, o) end
  if #plan.outputs == 0 then check.fail(2, "%s: output names no vector", what) end

  local engine = setmetatable({ plan = plan, timeout = given.timeout, restart = given.restart }, Engine)
  local all = {
    name = given.name,
    params = given.params,
    output = { #plan.outputs * plan.points },
    simulate = function(z, out)
      local failures = engine:run({ z }, out:reshape(1, out.count))
      if failures[1] then return false, failures[1] end
      return out
    end,
    batch = function(z, x) return engine:run(z:totable(), x) end,
    close = function() engine:stop() end,
  }
  for _, name in ipairs(passed_on) do all[name] = given[name] end
  return simulator.new(all)
end

return spice
