--- Files that a reproduction writes, and how its program ends.
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"

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

--- Copies the tables of a folder, and pictures that are small, to another.
-- @tparam string out
-- @tparam {string,...} pictures their paths; those that there are not are left out
-- @tparam integer most bytes of a picture
-- @tparam string to
function files.commit(out, pictures, most, to)
  assert(core.system.mkdir(to))
  for _, name in ipairs { "table.json", "table.md" } do assert(files.copy(out .. "/" .. name, to .. "/" .. name)) end
  for _, path in ipairs(pictures) do
    local file <close> = io.open(path, "rb")
    if file and file:seek "end" <= most then assert(files.copy(path, to .. "/" .. path:match "[^/]+$")) end
  end
  print("copied: " .. to)
end

--- Runs the main function of a program that goes on where it was interrupted, and ends the program where it fails.
-- @tparam function main () -> how many runs failed
function files.program(main)
  local ok, result = pcall(main)
  if ok and result == 0 then return end
  local stopped = not ok and interrupt.is(result)
  io.stderr:write(ok and result .. " runs failed" or stopped and "interrupted; the same command goes on from there"
    or tostring(result), "\n")
  os.exit(stopped and 130 or 1, true)
end

return files
