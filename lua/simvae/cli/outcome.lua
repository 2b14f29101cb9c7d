--- How a command ends: failures that the user reads, and exit codes.
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"

local outcome = {}

--- Exit codes.
outcome.codes = { success = 0, failure = 1, usage = 2, findings = 3, interrupted = 130 }

--- What they mean, for the man page and the help: { code, text }, …
outcome.meanings = {
  { 0, "success" },
  { 1, "failure: a file, a simulator, a training; the reason is on standard error" },
  { 2, "wrong command line: an unknown command or option, a value that it does not take" },
  { 3, "simvae doctor: it found something" },
  { 130, "interrupted (Ctrl-C)" },
}

local Failure = {}
Failure.__index = Failure
Failure.__tostring = function(self) return self.text end

--- Ends the command with a message and the exit code of a failure.
-- @tparam string format of string.format
function outcome.fail(format, ...)
  error(setmetatable({ text = string.format(format, ...), code = outcome.codes.failure }, Failure), 0)
end

--- Ends the command as one that was not called correctly.
-- @tparam string format of string.format
function outcome.misuse(format, ...)
  error(setmetatable({ text = string.format(format, ...), code = outcome.codes.usage }, Failure), 0)
end

--- A value, or a failure for the message after it.
-- @param value
-- @tparam ?string why
-- @return value
function outcome.need(value, why)
  if value == nil or value == false then outcome.fail("%s", why) end
  return value
end

-- The folder of simvae's own modules: errors raised at lines of theirs are about what the user gave.
local own = assert(package.searchpath("simvae.cli.outcome", package.path)):match "^(.*/)cli/outcome%.lua$"

local program = arg and arg[0] or "" -- the launcher, lua/bin/simvae

--- Is a file, as Lua names it in messages (the end of a long path after "..."), one of simvae's own sources?
-- @tparam string path
-- @treturn boolean
function outcome.is_own(path)
  local tail = path:match "^%.%.%.(.*)$"
  local function is(whole) return whole == path or tail ~= nil and whole:sub(-#tail) == tail end
  local name = path:match "simvae/([%w_/]+%.lua)$"
  return is(program) or name ~= nil and core.system.kind(own .. name) == "file" and is(own .. name)
end

--- A message without its place where that is in our own sources.
-- @tparam string message
-- @treturn string
-- @treturn boolean whether it is of a fault of ours, and not of what the user gave
function outcome.read(message)
  local path, rest = message:match "^([^:\n]+):%d+: (.*)$"
  if not path or not outcome.is_own(path) then return message, false end
  local ours = rest:find "^attempt to " or rest:find "^bad argument #" or rest:find "^stack overflow"
    or rest:find "^assertion failed"
  return ours and message or rest, ours ~= nil
end

-- What is printed, and the exit code, of an error and the stack where it was raised.
local function describe(e, trace)
  if getmetatable(e) == Failure then return e.text, e.code end
  if interrupt.is(e) then
    local text = tostring(e)
    return text:find "interrupted!$" and "interrupted" or text, outcome.codes.interrupted
  end
  local message, ours = outcome.read(tostring(e))
  if ours then message = message .. "\n" .. trace .. "\nThis is a fault of simvae." end
  return message, outcome.codes.failure
end

--- Calls f(…), and prints the message of a failure on standard error.
-- @tparam function f returns an exit code (nil: success)
-- @treturn integer exit code
function outcome.of(f, ...)
  local trace
  local result = table.pack(xpcall(f, function(e)
    trace = debug.traceback("", 2):gsub("^\n", "")
    return e
  end, ...))
  if result[1] then return result[2] or outcome.codes.success end
  local text, code = describe(result[2], trace)
  io.stdout:flush()
  io.stderr:write(core.system.isatty(2) and "\r\27[J" or "", "simvae: ", text, "\n")
  return code
end

return outcome
