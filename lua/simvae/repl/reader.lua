--- Lines of input: through readline on a terminal, where Lua's binding of it is installed (Debian: lua-readline;
-- LuaRocks: readline), else plain.
--
-- read(prompt) returns a line, or nil at the end of the input, and raises "interrupted!" for Ctrl-C.
local core = require "simvae.core"
local style = require "simvae.repl.style"

local reader = {}

-- The binding, or nil. While it loads it looks for a history of its own in HOME, and complains where there is none.
local function load_readline()
  local getenv = os.getenv
  if not getenv "HOME" then
    os.getenv = function(name) return name == "HOME" and "/nonexistent" or getenv(name) end -- luacheck: ignore 122
  end
  local ok, RL = pcall(require, "readline")
  os.getenv = getenv -- luacheck: ignore 122
  return ok and type(RL) == "table" and RL.handler_install and RL or nil
end

-- ---- plain input -------------------------------------------------------------------------------

local Plain = {}
Plain.__index = Plain

function Plain:read(prompt)
  if self.prompts then
    io.stdout:write(self.paint("prompt", prompt))
    io.stdout:flush()
  end
  while true do
    local line, rest = self.text:match "^([^\n]*)\n(.*)$"
    if line then
      self.text = rest
      return line
    end
    local bytes = core.terminal.read(60)
    if bytes == "" then
      line, self.text = self.text, ""
      return line ~= "" and line or nil
    end
    self.text = self.text .. (bytes or "")
  end
end

--- Drops what was typed of a line, and goes to the next one.
function Plain:drop()
  self.text = ""
  io.stdout:write "\n"
end

function Plain:add() return self end
function Plain:close() return self end

local function plain(o)
  return setmetatable({ text = "", prompts = o.prompts, paint = style.painter(o.colours) }, Plain)
end

-- ---- readline ----------------------------------------------------------------------------------

local Edited = {}
Edited.__index = Edited

local LEAVE_PASTE_MODE = "\27[?2004l\r"

-- Signals are held but while the line waits for a key: no error passes through readline.
--
-- After an interruption the line is begun anew: the binding's handler_remove closes its stream before readline has
-- restored the terminal, and is safe only once a line is complete.
function Edited:read(prompt)
  local RL, watch, line, done = self.RL, self.watch, nil, false
  watch:hold()
  RL.handler_install(style.prompt(prompt, self.colours), function(text)
    line, done = text, true
    RL.handler_remove()
  end)
  repeat
    watch:allow()
    local ready = core.terminal.wait(60)
    watch:hold()
    if ready then RL.read_char() end
  until done
  watch:allow()
  return line
end

function Edited:drop()
  if self.RL.sigcleanup then self.RL.sigcleanup() end
  io.stdout:write "^C\n" -- which the terminal does not echo now
end

function Edited:add(entry) self.RL.add_history(entry) end

function Edited:close()
  if self.mode then self.mode:close() end
end

local function edited(RL, o)
  RL.set_options { histfile = "", auto_add = false, completion = true }
  RL.set_readline_name "simvae"
  RL.set_complete_function(function(line, from, to)
    RL.set_completion_append_character ""
    local ok, list = pcall(o.complete, line, from, to)
    return ok and list or {}
  end)
  for _, entry in ipairs(o.entries) do RL.add_history(entry) end
  local mode = core.terminal.mode(false, o.moves and LEAVE_PASTE_MODE or "")
  return setmetatable({ RL = RL, watch = o.watch, colours = o.colours, mode = mode }, Edited)
end

--- Opens the input.
-- @tparam table o watch: of signals; prompts: whether they are written, as on a terminal; plain: without readline;
-- colours, moves: of the terminal; entries: of the history; complete: function (line, from, to) -> candidates
-- @treturn table with read(prompt), add(entry of the history), drop(), close()
function reader.open(o)
  local RL = o.prompts and not o.plain and load_readline()
  if RL then return edited(RL, o) end
  return plain(o)
end

return reader
