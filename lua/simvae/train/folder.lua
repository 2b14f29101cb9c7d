--- The folder of a run, used by one training at a time: a lock on train.lock (core.io.lock), which ends with its
-- process.
local check = require "simvae.util.check"
local core = require "simvae.core"

local folder = {}

local none = setmetatable({}, { __close = function() end })

-- Removes incomplete files of killed processes (.PID-COUNT.tmp, csrc/io/write.c).
local function sweep(out)
  if not core.system.kind "/proc/self" then return end
  for _, name in ipairs(core.system.list(out) or {}) do
    local pid = name:match "^%.(%d+)%-%d+%.tmp$"
    if pid and not core.system.kind("/proc/" .. pid) then os.remove(out .. "/" .. name) end
  end
end

--- Creates the folder if it does not exist, and locks it. Without the lock nothing is changed.
-- @tparam ?string out
-- @return the lock, released when closed
-- @raise at the caller of train: the folder cannot be made or written, or another training uses it
function folder.open(out)
  if not out then return none end
  local ok, why = core.system.mkdir(out)
  if not ok then check.fail(3, "train: out cannot be made: %s", why) end
  local lock, reason, kind = core.io.lock(out .. "/train.lock")
  if lock then
    sweep(out)
    return lock
  end
  if kind == "held" then
    check.fail(3, "train: %s is in use by %s, which trains there; wait for it, or give another `out`", out, reason)
  elseif kind == "system" then
    check.fail(3, "train: out cannot be written: %s: %s", out, reason)
  end
  io.stderr:write(string.format("%s: no locks on this file system (%s): see to it that no other training uses it\n",
    out, reason))
  return none
end

return folder
