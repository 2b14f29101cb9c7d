--- Surprise of fresh simulations: is the model's reference of usual outputs (p.surprise) that of its simulator?
--
-- Definition: the surprise of the first outputs of an evaluation (as many as its option `calibration`) is uniform in
-- [0, 1] where the reference, which the end of a training takes, are simulations like them (Kolmogorov-Smirnov). The
-- share above 0.99 is that of false alarms at this threshold: 1% is right, and more where training met few simulations,
-- which the decoder then reproduces better than others.
local page = require "simvae.report.page"
local posterior_draws = require "simvae.metrics.support.posterior_draws"
local uniformity = require "simvae.metrics.support.uniformity"

local ALARM = 0.99

local reported = { order = 54 }

function reported.start()
  return { values = {} }
end

function reported.add(state, batch, run)
  if not rawget(run.model, "usual") then return end
  local p, n = posterior_draws.of(batch, run, run.o.calibration - #state.values)
  if p then table.move(p.surprise:totable(), 1, n, #state.values + 1, state.values) end
end

function reported.measure(run, state, r)
  local n = #state.values
  if n == 0 then return end
  local alarms, reference = 0, run.model.usual.reference.shape[2]
  for _, u in ipairs(state.values) do alarms = alarms + (u > ALARM and 1 or 0) end
  local d = uniformity.supremum(state.values)
  -- two samples: the reference has as much chance in it
  r.surprise = { samples = n, alarms = alarms / n, d = d, reference = reference,
    p = uniformity.p_value(d, n * reference // (n + reference)) }
end

function reported.numbers(r)
  return { surprise = r.surprise }
end

function reported.cards(r, add)
  local s = r.surprise
  if not s then return end
  add("False alarms of surprise", page.percent(s.alarms), page.grade(s.alarms, 0.02, 0.05), string.format("Share of %d "
    .. "fresh simulations whose surprise (model:posterior(x).surprise) is above 0.99; 1%% is right. Outputs above it "
    .. "are unlike the simulator's own: another noise, something in the way, another unit. Reference: %d simulations.",
    s.samples, s.reference))
end

return { reported = reported }
