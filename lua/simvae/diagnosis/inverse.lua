--- An encoder that is worse than the outputs and the decoder would let it be.
--
-- With noise of a known standard deviation: the simulator's outputs at the encoder's estimates differ from the measured
-- ones by more than the noise. Without: they reproduce little of the outputs' variance, or parameters have large errors
-- that their posterior does not state. Nothing is said where several values explain an output, as their mean may
-- explain none.
local enumeration = require "simvae.util.enumeration"
local short = require "simvae.diagnosis.decoder".short
local text = require "simvae.diagnosis.support.text"

local GOOD = 0.97   -- R² of re-simulation
local MISFIT = 1.25 -- standard deviations of the noise, root mean square; of a perfect estimate at most 1
local POOR = 0.08   -- of the range: the error of a parameter
local NARROW = 0.35 -- of the prior's spread

local ambiguous = { ["several values"] = true, ["undeclared symmetry"] = true, ["wrong modes"] = true }

local reported = { order = 70 }

-- Parameters of large errors that a narrow posterior does not state, in words.
local function large_errors(d)
  local list, spread = {}, d.r.ambiguity and d.r.ambiguity.spread or {}
  for _, p in ipairs(d.params) do
    local share = d.r.rmse_relative[p.name] or 0
    if share > POOR and not d.named[p.name] and (spread[p.name] or 0) <= NARROW then
      list[#list + 1] = string.format("'%s' (%s of its range)", p.name, text.percent(share))
    end
  end
  return list
end

-- What is wrong, in words; nil: nothing.
local function fault(d)
  if d.misfit then
    return d.misfit > MISFIT and string.format("At the inferred parameters the simulator misses the measured outputs "
      .. "by %.2g standard deviations of their noise (root mean square; 1 is what the noise explains)", d.misfit) or nil
  end
  local list = large_errors(d)
  if #list > 0 then return "Errors of " .. enumeration.of(list) .. " are large, and posteriors do not state them" end
  local r2 = d.r.resimulation_r2
  return r2 and r2 < GOOD and string.format("The simulator at the inferred parameters reproduces %s of the outputs' "
    .. "variance (R² %.3f)", text.percent(math.max(0, r2)), r2) or nil
end

function reported.find(d, add)
  if not d.r then return end
  for _, kind in pairs(d.named) do
    if ambiguous[kind] then return end
  end
  local what = fault(d)
  if not what then return end
  local few = short(d, "encoder")
  add { kind = few and "undertrained encoder" or "weak encoder",
    text = what .. (few and ". The encoder was trained for " .. few or "") .. ".",
    try = few and "Train it for longer: encoder = { steps = … }." or "Give it a wider network (width) or another one "
      .. "(net), more steps or more simulations; model:invert refines single outputs." }
end

return { reported = reported }
