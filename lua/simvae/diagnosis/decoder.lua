--- A decoder that is too weak or was trained for too few steps: its error, against that of the inverse.
local recipes = require "simvae.train.recipes"
local text = require "simvae.diagnosis.support.text"

local GOOD = 0.97          -- R²
local PART = 0.5           -- of the recipe's steps: fewer are too few
local LIMITS, LEAST = 5, 0.01 -- times the inverse's share of unexplained variance; at least this share

local reported = { order = 60 }

-- Steps of a stage of the default recipe.
local function usual(d, stage)
  return recipes.get(nil, d.model, d.simulations)[stage].steps
end

--- Whether a stage had too few steps, with the numbers in words.
-- @tparam table d of simvae.diagnosis
-- @tparam string stage "decoder", "encoder"
-- @treturn ?string "30 steps, where the recipe has 4000"
local function short(d, stage)
  local steps, of = d.steps[stage] or 0, usual(d, stage)
  return steps < PART * of and string.format("%d steps, where the recipe has %d", steps, of) or nil
end

function reported.find(d, add)
  local r = d.r
  if not r or not r.decoder_r2 then return end
  local lost, inverse = 1 - r.decoder_r2, r.resimulation_r2 and 1 - r.resimulation_r2
  local limits = inverse and lost > LEAST and lost > LIMITS * inverse
  if r.decoder_r2 >= GOOD and not limits then return end
  local few = short(d, "decoder")
  add { kind = few and "undertrained decoder" or "weak decoder",
    text = string.format("The decoder reproduces %s of the outputs' variance (R² %.3f)%s%s.",
      text.percent(math.max(0, r.decoder_r2)), r.decoder_r2, inverse and string.format("; of the simulator at the "
        .. "inferred parameters it is %s (%.3f)", text.percent(math.max(0, 1 - inverse)), 1 - inverse) or "",
      few and ". It was trained for " .. few or ""),
    try = (few and "Train it for longer: decoder = { steps = … }. " or "Give it a wider network (width) or another one "
      .. "(net), or more steps. ") .. "decode, invert and estimates among several candidates are no better than the "
      .. "decoder." }
end

return { reported = reported, short = short }
