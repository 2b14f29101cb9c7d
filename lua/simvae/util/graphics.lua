--- Whether the terminal shows pictures, by its own account.
--
-- It is asked for a picture in kitty's protocol and for its device attributes, of which 4 stands for sixels. Every
-- terminal answers the second question, so that nobody waits for an answer to the first one.
local core = require "simvae.core"
local terminal = require "simvae.util.terminal"

local graphics = {}

local KITTY = "\27_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\27\\"
local ATTRIBUTES = "\27[c"
local PATIENCE = 1 -- seconds

-- Is there somebody to ask, whose answer is not mixed with what is typed?
local function can_ask()
  return terminal.colours(1) and core.system.isatty(0) and os.getenv "TERM" ~= "linux" and not core.terminal.wait(0)
end

local function ask()
  local mode <close> = core.terminal.mode(true)
  if not mode then return "" end
  -- tmux takes kitty's question for a title
  io.stdout:write((os.getenv "TMUX" or "") == "" and KITTY or "", ATTRIBUTES)
  io.stdout:flush()
  local answer, ends = "", core.system.clock() + PATIENCE
  while not answer:find "\27%[%?[%d;]*c" do
    local left = ends - core.system.clock()
    local bytes = left > 0 and core.terminal.read(left)
    if not bytes or bytes == "" then return "" end
    answer = answer .. bytes
  end
  return answer
end

local known

--- The protocol of the terminal on standard output; it is asked once.
-- @treturn ?string "kitty", "sixel", or nil: none
function graphics.protocol()
  if known == nil then
    if not can_ask() then return nil end
    local answer = ask()
    known = answer:find("\27_Gi=31;OK", 1, true) and "kitty"
      or answer:match("\27%[%?([%d;]*)c") and (";" .. answer:match("\27%[%?([%d;]*)c") .. ";"):find(";4;", 1, true)
      and "sixel" or false
  end
  return known or nil
end

local CELL = { 10, 20 } -- pixels, where the terminal does not tell

--- The size of a letter.
-- @treturn number width in pixels
-- @treturn number height in pixels
function graphics.cell()
  local columns, rows, width, height = core.terminal.size(1)
  if not columns or width == 0 or height == 0 then return CELL[1], CELL[2] end
  return width / columns, height / rows
end

return graphics
