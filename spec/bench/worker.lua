-- A worker of the benchmark: a process with the line protocol of peers/protocol.py.
local core = require "simvae.core"

local Worker = {}
Worker.__index = Worker
local worker = {}

local START, ANSWER = 180, 1200 -- seconds; torch.compile takes its time

local function last_words(child)
  local text = child:errors()
  return text:match "([^\n]+)%s*$" or "no reason given"
end

--- Starts one and waits until it is ready.
-- @tparam {string,...} command
-- @tparam table env changes of the environment
-- @tparam ?number answer seconds until it has answered a request (1200)
-- @treturn Worker with versions, a string; or nil and why not
function worker.start(command, env, answer)
  local launch = { env = env, table.unpack(command) }
  local child, why = core.process.spawn(launch)
  if not child then return nil, why end
  local line, ended = child:read_line(START)
  if not line then
    local reason = ended == "timeout" and "not ready after " .. START .. " s" or last_words(child)
    child:close()
    return nil, reason
  end
  local word, rest = line:match "^(%a+)\t?(.*)$"
  if word ~= "ready" then
    child:close()
    return nil, rest or line
  end
  return setmetatable({ child = child, versions = rest, answer = answer or ANSWER }, Worker)
end

--- One request. @treturn string the answer; or nil and why not
function Worker:ask(...)
  if not self.child then return nil, self.gone end
  local sent, why = self.child:write(table.concat({ ... }, "\t") .. "\n", 10)
  local line
  if sent then line, why = self.child:read_line(self.answer) end
  if not line then
    self.gone = why == "closed" and "it ended: " .. last_words(self.child) or why
    self.child:close()
    self.child = nil
    return nil, self.gone
  end
  local word, rest = line:match "^(%a+)\t?(.*)$"
  if word ~= "ok" then return nil, rest or line end
  return rest
end

function Worker:close()
  if self.child then self.child:close() end
  self.child, self.gone = nil, "closed"
end

return worker
