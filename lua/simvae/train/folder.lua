--- The folder of a run, which one training at a time may use.
--
-- Whoever trains there holds a lock on train.lock (simvae.core.io.lock), which ends with its process however that ends.
local check = require "simvae.util.check"
local core = require "simvae.core"

local folder = {}

local none = setmetatable({}, { __close = function() end })

-- Removes what a killed process was writing (csrc/io/write.c names it .PID-COUNT.tmp), where its process is gone.
local function sweep(out)
  if not core.system.kind "/proc/self" then return end
  for _, name in ipairs(core.system.list(out) or {}) do
    local pid = name:match "^%.(%d+)%-%d+%.tmp$"
    if pid and not core.system.kind("/proc/" .. pid) then os.remove(out .. "/" .. name) end
  end
end

--- Makes the folder if there is none, and takes its lock. Where that is refused, nothing is changed.
-- @tparam ?string out
-- @return what gives the lock up when it is closed
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
