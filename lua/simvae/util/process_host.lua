--- Life cycle of a process that runs samples in sequence for a simulator.
--
-- It starts with the first sample, and again after `restart` samples, after its death, and after an interrupted sample,
-- whose reply would be taken for that of the next one. In a forked process it belongs to the parent: the child starts
-- its own.
--
-- A class takes the methods over (simvae.util.class) and has two of its own,
--     begin(self) -> the process, with close and running; or nil and why not
--     finish(self, process, ours, patience): ends it; ours: this process is its owner; patience: seconds that it has
--     to end by itself, or nil
-- and the fields restart (samples, or nil), patience (of a restart, or nil), runs (samples since its start, which the
-- class counts) and waiting (an answer is due, which the class sets).
local core = require "simvae.core"

local Host = {}

-- Whether the process cannot take the next sample, and how long it may take to end.
local function stale(self)
  if self.owner ~= core.system.pid() or self.waiting then return true end
  if self.restart and self.runs >= self.restart then return true, self.patience end
  return not self.process:running()
end

--- Starts the process if necessary.
-- @treturn boolean true, or nil and why not
function Host:ready()
  if self.process then
    local over, patience = stale(self)
    if over then self:stop(patience) end
  end
  if self.process then return true end
  local process, why = self:begin()
  if not process then return nil, why end
  self.process, self.owner, self.runs, self.waiting = process, core.system.pid(), 0, false
  return true
end

--- Ends the process, if there is one.
-- @tparam ?number patience
function Host:stop(patience)
  local process = self.process
  if not process then return end
  self:finish(process, self.owner == core.system.pid(), patience)
  self.process = nil
end

return { methods = Host }
