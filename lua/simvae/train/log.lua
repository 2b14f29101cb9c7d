--- log.csv: a row of the loss at intervals, with the measure of the held-out samples where it was taken.
--
-- Rows are appended; where a resumed run drops rows, the file is replaced as a whole.
local place = require("simvae.train.options").place
local rows = require "simvae.io.rows"

local log = {}

local HEADER = "step,stage,loss,lr,samples/s,seconds,held_out\n"

-- The rows of a log up to the run's position; an incomplete last line is dropped.
local function rows_until(text, stage, step)
  local kept = {}
  for line in text:gmatch "([^\n]*)\n" do
    local at, of, rest = line:match "^(%d+),(%a+)(,.*)$"
    local whole = rest and select(2, rest:gsub(",", "")) >= 4
    local past = whole and ((place[of] or 0) > place[stage] or of == stage and tonumber(at) > step)
    if whole and not past then kept[#kept + 1] = line .. "\n" end
  end
  return table.concat(kept)
end

--- Opens log.csv for the run; rows of steps that a resumed run repeats are dropped.
-- @tparam table run
-- @tparam boolean resumed false: a new log
function log.open(run, resumed)
  local path = run.out .. "/log.csv"
  local file <close> = io.open(path, "r")
  local old = file and file:read "a" or ""
  local kept = resumed and rows_until(old, run.stage, run.step) or ""
  run.log = rows.new(path, HEADER)
  if HEADER .. kept ~= old then run.log:replace(kept) end
end

--- Adds a row.
-- @tparam table run
-- @tparam string stage
-- @tparam number value the loss
-- @tparam number lr
-- @tparam number rate samples per second
-- @tparam ?number held measure of the held-out samples (simvae.train.early_stopping)
function log.row(run, stage, value, lr, rate, held)
  if not run.log then return end
  run.log:add(string.format("%d,%s,%.8g,%.6g,%.1f,%.2f,%s\n", run.step, stage, value, lr, rate, run.seconds(),
    held and string.format("%.6g", held) or ""))
end

--- Ends the log.
function log.close(run)
  if run.log then run.log:close() end
end

return log
