--- Programs in any language as simulators.
--
--     local spring = sv.command {
--       name = "spring",
--       cmd = { "python3", "spring.py" },
--       params = { { name = "k", low = 1, high = 10 }, { name = "m", low = 1, high = 5 } },
--       output = { 50 },
--     }
--
-- Protocol "line": the program runs on. For every sample it reads a line from its standard
-- input, a JSON array of the parameters in their order, [4.2, 1.5], and writes a line to its
-- standard output, a JSON array of all numbers of the output, row-major, [0.1, 0.2, …]; nested
-- arrays are fine. A NaN (or null) among them says that the sample failed. It has to flush its
-- output after each line, and should end when its input does.
--
-- Protocol "npy": the same, but the answer is a .npy file's bytes: np.save(sys.stdout.buffer, x).
--
-- Protocol "file": the program runs once a sample. In its arguments {z} is the path of a file
-- with the JSON array of the parameters, {x} that of the file to write (.npy, .png, or numbers
-- as text: JSON, CSV or blanks; `files` names them), and {NAME} the value of a parameter.
-- Without an {x}, what it prints are the numbers.
--
-- What it writes on its standard error is kept for the message of a failure.
local check = require "simvae.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local npy = require "simvae.io.npy"
local simulator = require "simvae.simulator"

local command = {}

local fields = {
  name = { "string", default = "command" },
  cmd = { "table", required = true },
  params = { "table", required = true },
  output = { "table", required = true },
  protocol = { "string", default = "line", one_of = { "line", "npy", "file" } },
  timeout = { "number", default = 60, above = 0 },  -- seconds for a sample
  restart = { "integer", min = 1 },                 -- samples after which it is started afresh
  cwd = { "string" },
  env = { "table" },
  files = { "table" },
}
local passed_on = { "prior", "loss", "symmetry", "invariants", "series", "doc", "correlated" }
for _, name in ipairs(passed_on) do
  fields[name] = { "function|table|string|boolean" } -- sv.simulator knows better
end

-- ---- numbers as text ---------------------------------------------------------------

local function format_number(v)
  local short = string.format("%.9g", v)
  return tonumber(short) == v and short or string.format("%.17g", v)
end

local function format_list(values, K)
  local parts = {}
  for i = 1, K do parts[i] = format_number(values[i]) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local words = {
  nan = 0 / 0, ["-nan"] = 0 / 0, null = 0 / 0, none = 0 / 0,
  inf = math.huge, infinity = math.huge, ["-inf"] = -math.huge, ["-infinity"] = -math.huge,
}

local function shorten(text, n)
  text = text:gsub("%s+$", "")
  return #text > n and text:sub(1, n) .. "…" or text
end

-- The numbers of a text, or nil and what is wrong with it.
local function parse_numbers(text, expected)
  local list, n = {}, 0
  for word in text:gmatch "[^%s,;%[%]]+" do
    local v = tonumber(word) or words[word:lower()]
    if not v then return nil, string.format("answered %q, where numbers were expected", shorten(text, 80)) end
    if v ~= v then return nil, "reported a failure (NaN)" end
    n = n + 1
    list[n] = v
  end
  if n ~= expected then return nil, string.format("answered %d numbers where %d were expected", n, expected) end
  return list
end

-- ---- a program that runs on ------------------------------------------------------------

local Program = {}
Program.__index = Program

function Program:start()
  local child, why = core.process.spawn(self.launch)
  if not child then return nil, "could not be started: " .. why end
  self.child, self.owner, self.samples, self.waiting = child, core.system.pid(), 0, false
  return true
end

-- Time to end by itself, then none.
function Program:stop(patience)
  local child = self.child
  if not child then return end
  if patience and self.owner == core.system.pid() then
    child:end_input()
    child:wait(patience)
  end
  child:close()
  self.child = nil
end

function Program:last_words()
  local text = self.child:errors():gsub("%s+$", "")
  if text == "" then return "" end
  local kept = text:sub(-400)
  return "; it wrote: " .. (#text > 400 and "…" or "") .. kept
end

-- Why there was no answer; the program is gone after that.
function Program:ending(why)
  local result
  if why == "timeout" then
    result = string.format("took longer than %g s (timeout)", self.timeout) .. self:last_words()
  elseif why == "closed" then
    local kind, what = self.child:wait(1)
    if kind == "signal" then
      result = "died by " .. what .. self:last_words()
    elseif kind == "exit" then
      result = string.format("ended with exit code %d, without an answer%s", what, self:last_words())
    else
      result = "closed its output without an answer" .. self:last_words()
    end
  else
    result = "gave no answer: " .. why .. self:last_words()
  end
  self:stop()
  return nil, result
end

-- In a forked copy of its owner, the program is the owner's: the copy starts one of its own.
function Program:ready()
  if self.child and (self.owner ~= core.system.pid() or self.waiting) then self:stop() end
  if self.child and self.restart and self.samples >= self.restart then self:stop(1) end
  if self.child and not self.child:running() then self:stop() end
  if not self.child then return self:start() end
  return true
end

local function read_line_answer(self, out)
  local line, why = self.child:read_line(self.timeout)
  if not line then return self:ending(why) end
  if not line:find "^%s*%[" then
    return nil, string.format("answered %q, where a line [x1, x2, …] was expected", shorten(line, 80))
  end
  local list
  list, why = parse_numbers(line, out.count)
  if not list then return nil, why end
  out:copy(core.tensor(list))
  return true
end

local function read_npy_answer(self, out)
  local gone
  local ok, header = pcall(npy.read_header, function(n)
    local bytes, why = self.child:read(n, self.timeout)
    if not bytes then
      gone = why
      file.refuse("%s", why)
    end
    return bytes
  end)
  if gone then return self:ending(gone) end
  if not ok then return nil, "answered with bytes that are no .npy array: " .. tostring(header.reason or header) end
  if header.unsupported then return nil, "answered with " .. header.unsupported end
  if header.count ~= out.count or header.fortran and #header.shape > 1 then
    return nil, string.format("answered an array of shape %s%s where %d numbers were expected",
      check.shape_text(header.shape), header.fortran and " in Fortran order" or "", out.count)
  end
  local done, why = self.child:read_numbers(header.kind, header.swapped, out, self.timeout)
  if not done then return self:ending(why) end
  if not out:finite() then return nil, "reported a failure (NaN)" end
  return true
end

local readers = { line = read_line_answer, npy = read_npy_answer }

-- An answer out of step would be taken for the next sample's: after a bad one, or one that was not
-- waited for (Ctrl-C), the program starts afresh.
function Program:run(values, out)
  local ok, why = self:ready()
  if not ok then return nil, why end
  self.waiting = true
  ok, why = self.child:write(format_list(values, self.K) .. "\n", self.timeout)
  if not ok then return self:ending(why) end
  self.samples = self.samples + 1
  ok, why = self.read(self, out)
  self.waiting = false
  if not ok then
    if why ~= "reported a failure (NaN)" then self:stop() end
    return nil, why
  end
  return true
end

-- ---- a program a sample -------------------------------------------------------------------

local Runs = {}
Runs.__index = Runs

function Runs:stop()
  if not self.folder then return end
  if self.owner == core.system.pid() then
    for _, name in ipairs(core.system.list(self.folder) or {}) do os.remove(self.folder .. "/" .. name) end
    os.remove(self.folder)
  end
  self.folder = nil
end

function Runs:ready()
  if self.folder and self.owner == core.system.pid() then return true end
  local name = os.tmpname()
  os.remove(name)
  local ok, why = core.system.mkdir(name)
  if not ok then return nil, "has no folder for its files: " .. why end
  self.folder, self.owner = name, core.system.pid()
  return true
end

local function write_text(path, text)
  local f, why = io.open(path, "w")
  if not f then return nil, why end
  f:write(text)
  return f:close()
end

local loaders = {
  npy = function(path) return npy.load(path) end,
  png = function(path) return require "simvae.io".load_png(path) end,
}

function Runs:read(path, out)
  local load = loaders[self.files.x:match "%.(%w+)$" or ""]
  if load then
    local t, why = load(path)
    if not t then return nil, "left no readable output: " .. why end
    if t.count ~= out.count then
      return nil, string.format("wrote an array of shape %s where %d numbers were expected", check.shape_text(t.shape),
        out.count)
    end
    out:copy(t)
    if not out:finite() then return nil, "reported a failure (NaN)" end
    return true
  end
  local f, why = io.open(path, "r")
  if not f then return nil, "left no output: " .. why end
  local text = f:read "a"
  f:close()
  return self:take(text, out)
end

function Runs:take(text, out)
  local list, why = parse_numbers(text, out.count)
  if not list then return nil, why end
  out:copy(core.tensor(list))
  return true
end

function Runs:run(values, out)
  local ok, why = self:ready()
  if not ok then return nil, why end
  local text = format_list(values, self.K)
  local places = { z = self.folder .. "/" .. self.files.z, x = self.folder .. "/" .. self.files.x }
  for i, name in ipairs(self.names) do places[name] = format_number(values[i]) end
  os.remove(places.x)
  ok, why = write_text(places.z, text .. "\n")
  if not ok then return nil, why end
  local launch = { cwd = self.launch.cwd, env = self.launch.env }
  for i, argument in ipairs(self.launch) do launch[i] = argument:gsub("{([%w_]+)}", places) end
  self.child, why = core.process.spawn(launch)
  if not self.child then return nil, "could not be started: " .. why end
  local child <close> = self.child
  local printed
  local deadline = core.system.clock() + self.timeout
  ok, why = child:write(text .. "\n", self.timeout)
  child:end_input()
  if ok or why == "closed" then -- a program that does not read its input may have closed it
    printed, why = child:read_all(self.timeout)
  end
  if not printed then return self:ending(why) end
  local kind, what = child:wait(math.max(0, deadline - core.system.clock()))
  if not kind then return self:ending(what) end
  if kind == "signal" then return nil, "died by " .. what .. self:last_words() end
  if what ~= 0 then return nil, string.format("ended with exit code %d%s", what, self:last_words()) end
  if self.to_file then
    ok, why = self:read(places.x, out)
  else
    ok, why = self:take(printed, out)
  end
  if not ok then return nil, why .. self:last_words() end
  return true
end

Runs.last_words = Program.last_words
Runs.__gc = Runs.stop

function Runs:ending(why)
  if why == "timeout" then
    return nil, string.format("took longer than %g s (timeout)", self.timeout) .. self:last_words()
  end
  return nil, "gave no answer: " .. why .. self:last_words()
end

-- ---- the simulator ----------------------------------------------------------------------------

local function check_cmd(what, cmd)
  if #cmd == 0 then check.fail(3, "%s: cmd names a program and its arguments: { \"python3\", \"sim.py\" }", what) end
  for i, v in ipairs(cmd) do
    if type(v) ~= "string" then check.fail(3, "%s: cmd[%d] takes a string; got %s", what, i, check.describe(v)) end
  end
end

local function check_places(what, cmd, names)
  local known = { "z", "x", table.unpack(names) }
  for _, argument in ipairs(cmd) do
    for name in argument:gmatch "{([%a_][%w_]*)}" do
      local found = false
      for _, k in ipairs(known) do found = found or k == name end
      if not found then
        check.fail(3, "%s: {%s} in cmd is neither {z}, {x} nor a parameter", what, name)
      end
    end
  end
end

local function file_names(what, files)
  files = check.options(what .. ": files", files, {
    z = { "string", default = "z.json" }, x = { "string", default = "x.json" },
  })
  for _, name in pairs(files) do
    if name:find "/" then check.fail(3, "%s: files are names without folders; got %q", what, name) end
  end
  return files
end

--- A program as a simulator.
-- @tparam table t `cmd`: the program and its arguments, found in PATH, without a shell; `params` and `output` as
-- of sv.simulator; `protocol`: "line" (default), "npy" or "file", see above; `timeout` (60 s a sample);
-- `restart`: samples after which it is started afresh (never); `cwd`, `env` ({ NAME = "value", OTHER = false });
-- `files` = { z = "z.json", x = "x.json" } of protocol "file"; `name` and what else sv.simulator takes: prior,
-- loss, symmetry, invariants, doc
-- @treturn Simulator whose failures say what the program did: too few numbers, its exit code or signal, a timeout,
-- and what it wrote on its standard error
function command.command(t)
  local what = type(t) == "table" and type(t.name) == "string" and "command '" .. t.name .. "'" or "command"
  local given = check.options(what, t, fields)
  check_cmd(what, given.cmd)
  local launch = { cwd = given.cwd, env = given.env, table.unpack(given.cmd) }
  local runner
  local all = {
    name = given.name, params = given.params, output = given.output,
    simulate = function(z, out)
      local ok, why = runner:run(z, out)
      if not ok then return false, given.cmd[1] .. " " .. why end
      return out
    end,
    close = function() runner:stop(1) end,
  }
  for _, name in ipairs(passed_on) do all[name] = given[name] end
  local made = simulator.new(all)
  runner = {
    launch = launch, timeout = given.timeout, restart = given.restart, K = #made.params, names = made.names,
    read = readers[given.protocol],
  }
  if given.protocol == "file" then
    check_places(what, given.cmd, made.names)
    runner.files = file_names(what, given.files)
    runner.to_file = table.concat(given.cmd, " "):find("{x}", 1, true) ~= nil
    setmetatable(runner, Runs)
  else
    if given.files then check.fail(2, "%s: files is an option of protocol \"file\"", what) end
    setmetatable(runner, Program)
  end
  return made
end

return command
