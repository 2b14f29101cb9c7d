--- Interruption of long functions by SIGINT, SIGTERM and SIGHUP.
--
-- Lua's interpreter raises "interrupted!" for Ctrl-C, and prints it with a traceback. Long functions turn it into an
-- error of one sentence: what was interrupted, and what was saved.
local core = require "simvae.core"
local progress = require "simvae.train.progress"

local interrupt = {}

local Interruption = { __name = "interruption" }
Interruption.__tostring = function(self) return self.text end

--- Is an error an interruption: Lua's own, or one that a function here raised?
function interrupt.is(e)
  return getmetatable(e) == Interruption or type(e) == "string" and e:find "interrupted!$" ~= nil
end

--- pcall(f, …) for simulators and user functions, which re-raises interruptions.
function interrupt.pcall(f, ...)
  local result = table.pack(pcall(f, ...))
  if not result[1] and interrupt.is(result[2]) then error(result[2], 0) end
  return table.unpack(result, 1, result.n)
end

--- Catches Ctrl-C until it is closed; `all`: SIGTERM, SIGHUP and SIGPIPE as well. They raise "interrupted!" then.
-- @tparam ?boolean all
-- @treturn userdata with shield(): from then on they are only counted; caught(): "INT", "TERM", "HUP", "PIPE" or nil
interrupt.watch = core.signals.watch

--- Raises the interruption as a message for the user. Signals other than SIGINT end the process, as they do without a
-- watch. The watch stays: until its function is left, Ctrl-C comes too late to interrupt anything.
-- @tparam userdata watch
-- @tparam string text
function interrupt.raise(watch, text)
  local signal = watch:caught()
  watch:finish()
  progress.clear()
  if signal and signal ~= "INT" then
    watch:close()
    if signal ~= "PIPE" then io.stderr:write(text, "\n") end
    io.stdout:flush()
    core.signals.die(signal)
  end
  error(setmetatable({ text = text }, Interruption), 0)
end

local function run(all, text, f, ...)
  local watch <close> = interrupt.watch(all)
  local result = table.pack(pcall(f, ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  if type(result[2]) == "string" and interrupt.is(result[2]) then interrupt.raise(watch, text) end
  error(result[2], 0)
end

--- Runs f(…); raises an interruption as this text.
-- @tparam string text "evaluate: interrupted"
-- @tparam function f
-- @return what f returns
function interrupt.during(text, f, ...) return run(false, text, f, ...) end

--- The same for f that has to clean up: SIGTERM, SIGHUP and SIGPIPE are caught as well, and end the process after it.
-- @tparam string text
-- @tparam function f
-- @return what f returns
function interrupt.during_all(text, f, ...) return run(true, text, f, ...) end

return interrupt
