--- What the terminal can do: colours, movements of the cursor, its width.
local core = require "simvae.core"

local terminal = {}

local function named()
  local kind = os.getenv "TERM"
  return kind ~= nil and kind ~= "" and kind ~= "dumb"
end

--- Can lines be rewritten? False for files, pipes, and terminals that cannot move their cursor.
-- @tparam ?integer fd 1: standard output; 2: standard error
-- @treturn boolean
function terminal.moves(fd)
  return core.system.isatty(fd or 1) and named()
end

--- Are colours shown, and wanted (https://no-color.org)?
-- @tparam ?integer fd 1: standard output; 2: standard error
-- @treturn boolean
function terminal.colours(fd)
  return terminal.moves(fd) and (os.getenv "NO_COLOR" or "") == ""
end

--- Its width, which changes with its window.
-- @tparam ?integer fd 1: standard output; 2: standard error
-- @treturn integer columns; where it is not known COLUMNS, or 80
function terminal.columns(fd)
  return core.system.columns(fd or 1) or math.tointeger(tonumber(os.getenv "COLUMNS")) or 80
end

return terminal
