--- A file of rows that grows while a program runs: log.csv, failures.csv.
--
-- A row is appended completely or not at all. Rows that cannot be written (a full disk) are written with the next one,
-- with one notice on standard error, so that the program continues.
local core = require "simvae.core"

local rows = {}
local Rows = {}
Rows.__index = Rows

--- Makes the object; opens no file yet.
-- @tparam string path
-- @tparam string header the first line, with its end
-- @treturn Rows
function rows.new(path, header)
  return setmetatable({ path = path, header = header, waiting = "" }, Rows)
end

-- Writes pending rows. true, or nil and why not.
local function flush(self)
  local ok, why
  if self.instead then
    ok, why = core.io.write(self.path, { self.header, self.instead, self.waiting })
  elseif self.waiting == "" then
    return true
  else
    local there = core.system.kind(self.path)
    ok, why = core.io.append(self.path, there and self.waiting or self.header .. self.waiting)
  end
  if ok then self.instead, self.waiting = nil, "" end
  return ok, why
end

local function notice(self, why)
  if self.told then return end
  self.told = true
  io.stderr:write(string.format("\n%s: %s (its rows are kept, and written later)\n", self.path, why))
end

--- Replaces all rows atomically.
-- @tparam string text rows, each with its end
function Rows:replace(text)
  self.instead, self.waiting = text, ""
  local ok, why = flush(self)
  if not ok then notice(self, why) end
end

--- Adds a row.
-- @tparam string row with its end
function Rows:add(row)
  self.waiting = self.waiting .. row
  local ok, why = flush(self)
  if not ok then notice(self, why) end
end

--- Writes pending rows, or reports how many are lost.
function Rows:close()
  local ok, why = flush(self)
  if ok then return end
  local _, count = ((self.instead or "") .. self.waiting):gsub("\n", "")
  io.stderr:write(string.format("%s: %s; %d rows are lost\n", self.path, why, count))
  self.instead, self.waiting = nil, ""
end

return rows
