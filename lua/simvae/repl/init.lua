--- The interactive session: Lua with line editing, history, completion, help and results that print what they hold.
--
--     > z, x = sv.simulate(box, 4, sv.rng(1))
--     > z
--     > _:mean()                      -- _ is the last result
--     > ?sv.figures.pairs
--
-- Global variables are those of the script that starts it; `sv` is simvae. Where input is no terminal, its lines run in
-- the same way without prompts.
local check = require "simvae.util.check"
local chunk = require "simvae.repl.chunk"
local complete = require "simvae.repl.complete"
local core = require "simvae.core"
local evaluate = require "simvae.repl.evaluate"
local history = require "simvae.repl.history"
local interrupt = require "simvae.util.interrupt"
local question = require "simvae.repl.help"
local reader = require "simvae.repl.reader"
local style = require "simvae.repl.style"
local terminal = require "simvae.util.terminal"
local value = require "simvae.repl.value"

local repl = {}

local PROMPT, MORE = "> ", ">> "

local options = {
  banner = { "boolean", default = true },
  plain = { "boolean", default = false },
  history = { "string|boolean", default = true },
}

-- ---- output --------------------------------------------------------------------------------------

local function show_results(self, results)
  for i = 1, results.n do
    print(value.text(results[i], self.paint, terminal.columns(1)))
  end
  if results.n > 0 then rawset(self.env, "_", results[1]) end
end

local function show_failure(self, failure)
  io.stdout:flush()
  local paint = style.painter(terminal.colours(2))
  if failure.text == "interrupted" and terminal.moves(2) then io.stderr:write "\n" end -- behind the terminal's ^C
  io.stderr:write(paint(failure.interrupted and "faint" or "error", failure.text), "\n")
  if failure.traceback and failure.traceback ~= "" then io.stderr:write(paint("faint", failure.traceback), "\n") end
  self.failed = not failure.interrupted or self.failed
end

local function greet(self)
  if not self.greets then return end
  print(string.format("simvae %s, %s. ?name for help, Tab completes, Ctrl-D leaves.", core.version, _VERSION))
end

-- ---- one input -------------------------------------------------------------------------------------

-- exit and quit, unless they are variables of the user.
local function leaves(self, text)
  local word = text:match "^%s*(%a+)%s*$" or text:match "^%s*(%a+)%s*%(%s*%)%s*$"
  return (word == "exit" or word == "quit") and rawget(self.env, word) == nil
end

-- Compiles text, and runs it where it is complete. Returns false where it goes on on the next line.
local function take(self, text)
  local f, what = question.compile(question.name(text), text, self.env, chunk.compile)
  if not f and what == "incomplete" then return false end
  self:remember(text)
  if not f then
    show_failure(self, { text = (what:gsub("^input:1: ", "")) })
    return true
  end
  self.watch:reset()
  local failure = evaluate.show(f, what and function(results) show_results(self, results) end)
  if failure then show_failure(self, failure) end
  io.stdout:flush()
  return true
end

-- Reads lines until they make up something that can be run. Returns false at the end of the input.
local function step(self)
  local text
  while true do
    local line = self.reader:read(text and MORE or PROMPT)
    if not line then
      if text then
        self:remember(text)
        show_failure(self, { text = select(2, load(text, "=input")):gsub("^input:1: ", "") })
      end
      return false
    end
    text = text and text .. "\n" .. line or line
    if not text:find "%S" then return true end
    if leaves(self, text) then return false end
    if take(self, text) then return true end
  end
end

local function remember(self, entry)
  if entry == self.last or not self.interactive then return end
  self.last = entry
  self.reader:add(entry)
  history.add(self.path, entry)
end

-- Ctrl-C at the prompt begins a new line; other signals end the session.
local function interrupted(self)
  local signal = self.watch:caught()
  if signal ~= "INT" then return signal end
  self.watch:reset()
  self.reader:drop()
end

local function loop(self)
  while true do
    local ok, going = pcall(step, self)
    local signal
    if not ok and not interrupt.is(going) then error(going, 0) end
    if not ok then signal = interrupted(self) end
    signal = signal or self.watch:caught() ~= "INT" and self.watch:caught()
    if signal or ok and not going then return signal end
  end
end

-- ---- the session -------------------------------------------------------------------------------------

--- Starts the session; returns when it is left.
-- @tparam ?table t banner (true): greets; plain (false): without readline; history (true): the path of the file, true:
-- the usual one (simvae.repl.history), false: none
-- @treturn integer exit code: 1 where input is no terminal and a line of it raised, else 0
function repl.start(t)
  local o = check.options("repl", t, options)
  local interactive = core.system.isatty(0)
  local path = o.history
  if path == true then path = history.path() end
  local self = { env = _G, paint = style.painter(), interactive = interactive, path = path or nil,
    greets = interactive and o.banner, remember = remember, failed = false }
  rawset(self.env, "sv", rawget(self.env, "sv") or require "simvae")
  local signal
  do
    local watch <close> = interrupt.watch(true)
    self.watch = watch
    self.reader = reader.open {
      watch = watch, prompts = interactive, plain = o.plain, colours = terminal.colours(1), moves = terminal.moves(1),
      entries = interactive and history.load(path) or {},
      complete = function(line, from, to) return complete.line(line, from, to, self.env) end,
    }
    greet(self)
    local ok, result = pcall(loop, self)
    watch:finish()
    self.reader:close()
    if not ok then error(result, 0) end
    signal = result
    if interactive and not signal then io.stdout:write "\n" end
  end
  io.stdout:flush()
  if signal then core.signals.die(signal) end
  return self.failed and not interactive and 1 or 0
end

return repl
