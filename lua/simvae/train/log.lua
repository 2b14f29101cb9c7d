--- log.csv: a row of the loss now and then.
local place = require("simvae.train.options").place

local log = {}

local HEADER = "step,stage,loss,lr,samples/s,seconds\n"

--- Opens log.csv for the run; rows of steps that a resumed run takes again are dropped.
function log.open(run, resumed)
  local path = run.out .. "/log.csv"
  local kept = {}
  if resumed then
    local old = io.open(path, "r")
    if old then
      for line in old:lines() do
        local at, stage = line:match "^(%d+),(%a+),"
        local past = at and ((place[stage] or 0) > place[run.stage]
          or stage == run.stage and tonumber(at) > run.step)
        if at and not past then kept[#kept + 1] = line .. "\n" end
      end
      old:close()
    end
  end
  local file, why = io.open(path, "w")
  if not file then error(why, 0) end
  file:write(HEADER, table.concat(kept))
  file:flush()
  run.log = file
end

--- Adds a row.
function log.row(run, stage, value, lr, rate)
  if not run.log then return end
  run.log:write(string.format("%d,%s,%.8g,%.6g,%.1f,%.2f\n", run.step, stage, value, lr, rate, run.seconds()))
  run.log:flush()
end

return log
