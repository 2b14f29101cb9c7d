--- Progress of anything long: one line that is rewritten on a terminal, and a plain
-- line now and then elsewhere. It goes to standard error, so that standard output
-- holds results alone.
local core = require "simvae.core"

local progress = {}
local Progress = {}
Progress.__index = Progress

local function duration(s)
  if s >= 3600 then return string.format("%d:%02d:%02d h", s // 3600, s % 3600 // 60, s % 60 // 1) end
  if s < 60 then return string.format("%d s", math.floor(s + 0.5)) end
  return string.format("%d:%02d min", s // 60, s % 60 // 1)
end
progress.duration = duration

--- Starts.
-- @tparam table t title, total (steps), done (0: steps already taken), quiet (false), every (10: seconds
-- between plain lines)
function progress.new(t)
  local self = setmetatable({
    title = t.title, total = t.total, first = t.done or 0, quiet = t.quiet, every = t.every or 10,
    terminal = core.system.isatty(2), started = core.system.clock(), shown = 0,
  }, Progress)
  return self
end

--- Says where the work is. Cheap: writes at most ten times a second.
-- @tparam integer done steps in all
-- @tparam string text rate, loss and the like
function Progress:update(done, text)
  if self.quiet then return end
  local now = core.system.clock()
  local last = done >= self.total
  if not last and now - self.shown < (self.terminal and 0.1 or self.every) then return end
  self.shown = now
  local elapsed = now - self.started
  local left = (self.total - done) * elapsed / math.max(done - self.first, 1)
  local line
  if self.terminal then
    local width = 20
    local filled = math.floor(width * done / math.max(self.total, 1))
    line = string.format("\r%s %s%s %d/%d  %s  %s left\27[K", self.title, ("█"):rep(filled), ("░"):rep(width - filled),
      done, self.total, text, duration(left))
  else
    line = string.format("%s %d/%d  %s  %s left\n", self.title, done, self.total, text, duration(left))
  end
  io.stderr:write(line)
end

--- Ends the line.
function Progress:finish(text)
  if self.quiet then return end
  if self.terminal then io.stderr:write("\r\27[K") end
  io.stderr:write(string.format("%s %s in %s\n", self.title, text or "done",
    duration(core.system.clock() - self.started)))
end

return progress
