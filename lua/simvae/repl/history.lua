--- Lines that were typed in earlier sessions: $XDG_STATE_HOME/simvae/history, by default
-- ~/.local/state/simvae/history. One entry a line; line breaks within one are written \n, and \ as \\.
--
-- A history that cannot be read or written is none: nothing is reported.
local core = require "simvae.core"

local history = {}

local KEPT = 1000 -- entries, of up to twice as many in the file

--- Where it is.
-- @treturn ?string path; nil where there is no home
function history.path()
  local state, home = os.getenv "XDG_STATE_HOME", os.getenv "HOME"
  if not state or state:sub(1, 1) ~= "/" then -- relative ones are to be ignored (XDG Base Directory Specification)
    if not home or home == "" then return nil end
    state = home .. "/.local/state"
  end
  return state .. "/simvae/history"
end

local function encode(entry) return (entry:gsub("\\", "\\\\"):gsub("\n", "\\n")) end

local function decode(line)
  return (line:gsub("\\(.)", function(c) return c == "n" and "\n" or c end))
end

-- Writes the last entries in place of all.
local function shorten(path, entries)
  local lines = {}
  for i, entry in ipairs(entries) do lines[i] = encode(entry) .. "\n" end
  local other = string.format("%s.%d", path, core.system.pid())
  if core.system.create_file(other, table.concat(lines)) then os.rename(other, path) end
end

--- Reads it.
-- @tparam ?string path
-- @treturn {string,...} entries, the oldest first
function history.load(path)
  local file = path and io.open(path, "r")
  if not file then return {} end
  local entries = {}
  for line in file:lines() do
    if line ~= "" and utf8.len(line) then entries[#entries + 1] = decode(line) end
  end
  file:close()
  if #entries > 2 * KEPT then
    entries = table.move(entries, #entries - KEPT + 1, #entries, 1, {})
    shorten(path, entries)
  end
  return entries
end

--- Appends an entry. The file is for its owner's eyes alone.
-- @tparam ?string path
-- @tparam string entry
function history.add(path, entry)
  if not path then return end
  if not core.system.kind(path) then
    core.system.mkdir(path:match "^(.*)/[^/]*$")
    core.system.create_file(path, "")
  end
  local file = io.open(path, "a")
  if not file then return end
  file:write(encode(entry), "\n")
  file:close()
end

return history
