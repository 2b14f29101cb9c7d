--- The whole terminal for a program: its alternate screen, keys as they are typed, and everything as it was before when
-- it closes, whatever happened. What is written to standard error meanwhile is kept for afterwards.
local core = require "simvae.core"

local screen = {}
local Screen = {}
Screen.__index = Screen

local ENTER = "\27[?1049h\27[?25l\27[?7l" -- alternate screen, no cursor, no wrapping
local LEAVE = "\27[?7h\27[?25h\27[?1049l"

--- Opens it.
-- @treturn ?Screen to be closed
-- @treturn ?string why there is none
function screen.open()
  local mode, why = core.terminal.mode(true, LEAVE)
  if not mode then return nil, why end
  local self = setmetatable({ mode = mode, stderr = io.stderr, messages = {} }, Screen)
  io.stderr = { -- luacheck: ignore 122
    write = function(file, ...)
      for _, text in ipairs { ... } do self.messages[#self.messages + 1] = text end
      return file
    end,
    flush = function() end, setvbuf = function() end, close = function() end,
  }
  io.stdout:write(ENTER, "\27[2J")
  io.stdout:flush()
  return self
end

--- The last line that was written to standard error.
function Screen:message()
  return table.concat(self.messages):match "([^\n]+)\n*$"
end

--- Draws lines in place of those before.
function Screen:draw(lines)
  -- synchronized output (2026): terminals that know it show the frame as a whole
  io.stdout:write("\27[?2026h\27[H", table.concat(lines, "\27[K\r\n"), "\27[K\27[J\27[?2026l")
  io.stdout:flush()
end

function Screen:close()
  if not self.mode then return end
  io.stderr = self.stderr -- luacheck: ignore 122
  io.stdout:flush()
  self.mode:close()
  self.mode = nil
  for _, text in ipairs(self.messages) do io.stderr:write(text) end
end
Screen.__close = Screen.close

return screen
