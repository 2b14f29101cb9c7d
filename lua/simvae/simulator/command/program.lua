--- A program that keeps running: protocols "line" and "npy" of sv.command.
local answer = require "simvae.simulator.command.answer"
local check = require "simvae.util.check"
local class = require "simvae.util.class"
local core = require "simvae.core"
local file = require "simvae.io.file"
local launch = require "simvae.simulator.command.launch"
local npy = require "simvae.io.npy"

local Program = {}
Program.__index = Program

local max_wait = 0.1 -- seconds to wait for an additional reply

class.take(Program, "simvae.util.process_host")
Program.patience = 1 -- seconds

-- Starts the program in a folder of its own.
function Program:begin()
  local folder, why = launch.folder()
  if not folder then return nil, why end
  local process
  process, why = launch.start(self.launch, folder, {})
  if not process then
    core.system.remove_tree(folder)
    return nil, why
  end
  self.folder, self.look_at = folder, 1
  return process
end

-- Time to end by itself, then none. Additional output means that replies were out of step.
function Program:finish(process, ours, patience)
  if patience and ours then
    process:end_input()
    process:wait(patience)
    local more = not self.waiting and core.number.trim(process:peek(0)) or ""
    if more ~= "" then
      io.stderr:write(string.format("%s: the program wrote more than it was asked for: %s; its answers may belong "
        .. "to other samples\n", self.what, answer.quoted(more)))
    end
  end
  process:close()
  if ours then core.system.remove_tree(self.folder) end
end

-- Why there was no reply; ends the program. self.left: it had replied before, and ended without an error.
function Program:ending(why, count)
  local process = self.process
  local result
  local part = why ~= "too long" and process:peek(0) or ""
  part = part ~= "" and ", after the unfinished line " .. answer.quoted(part) or ""
  if self.protocol == "npy" then part = "" end
  if why == "timeout" then
    result = string.format("took longer than %g s (timeout)%s", self.timeout, part)
  elseif why == "too long" then
    result = answer.too_long(count)
  elseif why == "closed" then
    local kind, what = process:wait(1)
    if kind == "signal" then
      result = "died by " .. what .. part
    elseif kind == "exit" then
      result = string.format("ended with exit code %d, without an answer%s", what, part)
      self.left = what == 0 and part == "" and self.runs > 1
    else
      result = "closed its output without an answer" .. part
    end
  else
    result = "gave no answer: " .. why
  end
  result = result .. answer.last_words(process)
  self:stop()
  return nil, result
end

-- Remaining seconds of the sample.
local function time_left(self)
  return math.max(0, self.started + self.timeout - core.system.clock())
end

-- A line that is not blank.
local function read_line(self, limit)
  while true do
    local line, why = self.process:read_line(time_left(self), limit)
    if not line or line:find "%S" then return line, why end
  end
end

local readers = {}

function readers.line(self, out)
  local line, why = read_line(self, answer.limit(out.count))
  if not line then return self:ending(why, out.count) end
  if not line:find "^%s*%[" then
    return nil, string.format("answered %s, where a line [x1, x2, …] was expected", answer.quoted(line))
  end
  return answer.read(line, out)
end

function readers.npy(self, out)
  local gone
  local ok, header = pcall(npy.read_header, function(n)
    local bytes, why = self.process:read(n, time_left(self))
    if not bytes then
      gone = why
      file.refuse("%s", why)
    end
    return bytes
  end)
  if gone then return self:ending(gone, out.count) end
  if not ok then return nil, "answered with bytes that are no .npy array: " .. tostring(header.reason or header) end
  if header.unsupported then return nil, "answered with " .. header.unsupported end
  if not check.fits(header.shape, out.shape) or header.fortran and #header.shape > 1 then
    return nil, string.format("answered an array of shape %s%s where the output is %s",
      check.shape_text(header.shape), header.fortran and " in Fortran order" or "", check.shape_text(out.shape))
  end
  local done, why = self.process:read_numbers(header.kind, header.swapped, out, time_left(self))
  if not done then return self:ending(why, out.count) end
  if not out:finite() then return nil, answer.failed end
  return true
end

-- Has it written an additional reply, at once or within some seconds? It would be taken for the next sample's.
local function out_of_step(self, seconds, when)
  local more = self.process:peek(seconds)
  if self.protocol == "line" and not more:find "%S" and #more < 200 then return end
  if more == "" then return end
  if self.runs == 0 then return "wrote " .. answer.quoted(more) .. " before it was asked for anything" end
  return string.format("wrote more than one answer %s: %s follows; its answers may belong to other samples", when,
    answer.quoted(more))
end

-- A late additional reply would be taken for the next one. It is detected by waiting: after the 1st, 2nd, 4th, 8th …
-- sample, for as long as that sample took.
local function look(self, seconds)
  if self.runs < self.look_at then return 0 end
  self.look_at = 2 * self.look_at
  return math.min(seconds, max_wait)
end

-- After an invalid reply or an interruption the program is restarted.
function Program:run(values, out)
  local ok, why = self:ready()
  if not ok then return nil, why end
  why = out_of_step(self, 0, "to the sample before")
  if why then
    self:stop()
    return nil, why
  end
  self.started, self.waiting = core.system.clock(), true
  self.runs, self.left = self.runs + 1, false
  ok, why = self.process:write(answer.format_list(values, self.K) .. "\n", time_left(self))
  if ok then
    ok, why = readers[self.protocol](self, out)
  else
    ok, why = self:ending(why, out.count)
  end
  if self.left then return self:run(values, out) end -- it ends after some samples: starts another one
  if (ok or why == answer.failed) and self.process then
    local more = out_of_step(self, look(self, core.system.clock() - self.started), "to this sample")
    if more then ok, why = nil, more end
  end
  self.waiting = false
  if not ok then
    if why ~= answer.failed then self:stop() end
    return nil, why
  end
  return true
end

return Program
