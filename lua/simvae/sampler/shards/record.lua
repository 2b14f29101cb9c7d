--- What a process that draws a shard tells of its progress: a JSON file beside its log, for `simvae status`.
--
-- Times are seconds on the clock of the process itself, so that clocks of nodes need not agree. Nothing but the display
-- depends on a record.
local core = require "simvae.core"
local json = require "simvae.io.json"

local record = {}
local Record = {}
Record.__index = Record

local LEAST, MOST = 1, 10 -- seconds between two updates: a quarter of the time so far, within these

local host

--- The name of this machine.
function record.host()
  if host then return host end
  local file <close> = io.open "/proc/sys/kernel/hostname"
  host = file and file:read "l"
  if not host then
    local pipe <close> = io.popen "hostname"
    host = pipe and pipe:read "l" or "unknown"
  end
  return host
end

local STATES = { running = true, done = true, interrupted = true, failed = true }

--- Reads the record of a log.
-- @tparam string path of the log without suffix
-- @treturn ?table state ("running", "done", "interrupted", "failed"), reason, host, pid, process (how many processes
-- have drawn the shard, with this one), seconds, drawn (samples), failed (draws); nil: there is none, or it is damaged
function record.read(path)
  local t = core.system.kind(path .. ".json") == "file" and json.load(path .. ".json")
  if type(t) ~= "table" or not STATES[t.state] or type(t.host) ~= "string" then return nil end
  for _, field in ipairs { "pid", "process", "drawn", "failed" } do
    if math.type(t[field]) ~= "integer" then return nil end
  end
  if type(t.seconds) ~= "number" or t.reason ~= nil and type(t.reason) ~= "string" then return nil end
  return t
end

--- Begins a record.
-- @tparam string path of the log without suffix
-- @tparam integer process
-- @treturn Record
function record.new(path, process)
  local self = setmetatable({ path = path, started = core.system.clock(), written = -math.huge,
    about = { state = "running", host = record.host(), pid = core.system.pid(), process = process, seconds = 0,
      drawn = 0, failed = 0 } }, Record)
  self:update(0, 0)
  return self
end

--- Writes it, at intervals. A record that cannot be written is left as it is.
-- @tparam integer drawn
-- @tparam integer failed
-- @tparam ?string state the last one; nil: running
-- @tparam ?string reason of that state
function Record:update(drawn, failed, state, reason)
  local now = core.system.clock()
  local pause = math.max(LEAST, math.min(MOST, (now - self.started) / 4))
  if not state and now - self.written < pause then return end
  local t = self.about
  t.seconds, t.drawn, t.failed, t.state, t.reason = now - self.started, drawn, failed, state or t.state, reason
  json.save(self.path .. ".json", t)
  self.written = now
end

return record
