--- A terminal for the specs: tmux, its keys and what it shows.
--
--     local screen <close> = screen.open { width = 80, height = 24, command = "…", environment = { NO_COLOR = "1" } }
--     screen:type "1 + 1\n"
--     assert.matches("2", screen:wait "> 1 %+ 1\n2\n")
local core = require "simvae.core"
local helper = require "spec.helper"

local screen = {}
local Screen = {}
Screen.__index = Screen

local PATIENCE = 30 -- seconds

--- Opens one; nil where there is no tmux.
-- @tparam table t width (80), height (24), command: of sh, environment: name -> value, false: unset
function screen.open(t)
  if not helper.have "tmux" then return nil end
  local self = setmetatable({ folder = helper.temporary_folder() }, Screen)
  self.tmux = "tmux -f /dev/null -S " .. self.folder .. "/socket "
  local words = { "env" }
  for name, value in pairs(t.environment or {}) do
    if value == false then table.insert(words, 2, "-u " .. name) end
  end
  for name, value in pairs(t.environment or {}) do
    if value then words[#words + 1] = name .. "=" .. helper.quote(value) end
  end
  words[#words + 1] = "sh -c " .. helper.quote("trap : INT\n" .. t.command .. "\necho left with $?; exec cat")
  helper.run(string.format("%snew-session -d -x %d -y %d %s", self.tmux, t.width or 80, t.height or 24,
    helper.quote(table.concat(words, " "))))
  return self
end

--- What it shows, without blanks at the end; `colours`: with escape sequences.
function Screen:text(colours)
  return (helper.run(self.tmux .. "capture-pane -p " .. (colours and "-e" or "")):gsub("[ \n]+$", ""))
end

--- Waits until the text matches a pattern. Returns the text.
function Screen:wait(pattern, colours)
  local ends = core.system.clock() + PATIENCE
  while core.system.clock() < ends do
    local text = self:text(colours)
    if text:find(pattern) then return text end
    if self.over then break end
    self.over = text:find "\nleft with %d+$" ~= nil -- nothing comes any more
    core.system.sleep(0.02)
  end
  error(string.format("no %q on the screen:\n%s", pattern, self:text(colours)), 2)
end

--- Types text; "\n" is Enter.
function Screen:type(text)
  for part, enter in text:gmatch "([^\n]*)(\n?)" do
    if part ~= "" then helper.run(self.tmux .. "send-keys -l " .. helper.quote(part)) end
    if enter ~= "" then helper.run(self.tmux .. "send-keys Enter") end
  end
end

--- Presses keys by tmux's names: "Tab", "C-c", "Up".
function Screen:press(...)
  helper.run(self.tmux .. "send-keys " .. table.concat({ ... }, " "))
end

--- Resizes it.
function Screen:resize(width, height)
  helper.run(string.format("%sresize-window -x %d -y %d", self.tmux, width, height))
end

--- The process that runs in it, or the first one that it has started.
function Screen:pid(program)
  return helper.run(string.format("ps -o pid=,args= --ppid $(%sdisplay-message -p '#{pane_pid}')", self.tmux))
    :match("(%d+)[^\n]*" .. (program or ""))
end

function Screen:close()
  helper.run(self.tmux .. "kill-server")
end
Screen.__close = Screen.close

return screen
