--- Files that a reproduction writes.
local core = require "simvae.core"

local files = {}

--- Writes a file atomically.
-- @treturn boolean true, or nil and why not
function files.write(path, text)
  local ok, why = core.io.write(path, { text })
  if not ok then return nil, path .. ": " .. why end
  return true
end

--- Copies a file; nil where there is none.
function files.copy(from, to)
  local source <close> = io.open(from, "rb")
  if not source then return nil end
  return files.write(to, source:read "a")
end

return files
