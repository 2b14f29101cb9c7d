--- Intervals of the posterior that hold the truth less often than they state, or more often (metrics.calibration).
local text = require "simvae.diagnosis.support.text"

local ONE, TWO = 0.68, 0.95
local LEAST_ONE, LEAST_TWO = 0.04, 0.02 -- what matters
local WIDE = 0.06                       -- beyond which too wide intervals are a finding
local SURE = 3                          -- standard deviations of a share
local SIMULATIONS = 1000                -- of a recalibration that is proposed,
local MORE = 4                          -- and times those of one before

local reported = { order = 90 }

-- How far a share is beyond chance and what matters: -1 too narrow, 1 too wide, 0 neither.
local function verdict(share, stated, least, n)
  local off = share - stated
  if math.abs(off) <= math.max(least, SURE * math.sqrt(stated * (1 - stated) / n)) then return 0 end
  return off < 0 and -1 or 1
end

local function say(d, list, narrow, add)
  if #list == 0 then return end
  local parts, names = {}, {}
  for i, one in ipairs(list) do
    names[i] = one.name
    parts[i] = string.format("'%s': %s in 68%% intervals, %s in 95%% intervals", one.name, text.percent(one.by.one),
      text.percent(one.by.two))
  end
  local before = rawget(d.model, "recalibration")
  local n = before and math.max(SIMULATIONS, MORE * before.simulations) or SIMULATIONS
  add { kind = narrow and "overconfident" or "underconfident", parameters = narrow and names or nil,
    text = string.format("The posterior is too %s; of the truths lie, of %s (%d samples).",
      narrow and "narrow" or "wide", table.concat(parts, "; "), d.r.calibration.samples),
    try = string.format("model:recalibrate { simulations = %d } corrects stated intervals%s; in a script of `simvae "
      .. "train`: recalibrate = %d. ", n, before and string.format(" (%d before)", before.simulations) or "", n)
      .. (not narrow and "More steps make the posterior itself narrower." or "More simulations, or members = 5, make "
        .. "the posterior itself better" .. (d.model.head.likelihood and "." or "; posterior = \"flow\" is trained by "
        .. "likelihood.")) }
end

function reported.find(d, add)
  local c = d.r and d.r.calibration
  if not c then return end
  local narrow, wide = {}, {}
  for _, p in ipairs(d.params) do
    local by = c.coverage.by[p.name]
    local one, two = verdict(by.one, ONE, LEAST_ONE, c.samples), verdict(by.two, TWO, LEAST_TWO, c.samples)
    if one < 0 or two < 0 then
      narrow[#narrow + 1] = { name = p.name, by = by }
    elseif one > 0 and by.one > ONE + WIDE then
      wide[#wide + 1] = { name = p.name, by = by }
    end
  end
  say(d, narrow, true, add)
  say(d, wide, false, add)
end

return { reported = reported }
