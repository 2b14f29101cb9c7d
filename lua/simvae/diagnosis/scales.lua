--- Parameters that are positive and cover decades on a linear scale: nearly all draws lie in the last one.
local text = require "simvae.diagnosis.support.text"

local RATIO = 100 -- of high and low

local reported = { order = 30 }

function reported.find(d, add)
  for _, p in ipairs(d.rows_of and {} or d.params) do
    if p.scale ~= "log" and not p.prior and not p.levels and not p.period and not rawget(d.sim, "correlated")
      and p.low > 0 and p.high >= RATIO * p.low then
      local middle = math.sqrt(p.low * p.high)
      add { kind = "parameter scale", parameters = { p.name },
        text = string.format("'%s' covers %.1f decades (%s) on a linear scale: only %s of its draws are below %s.",
          p.name, math.log(p.high / p.low, 10), text.bounds(p), text.percent((middle - p.low) / (p.high - p.low)),
          text.value(p, middle)),
        try = string.format("Declare scale = \"log\" of '%s', where small values matter as much as large ones.",
          p.name) }
    end
  end
end

return { reported = reported }
