--- Mutual information gap.
--
-- Definition (Chen, Li, Grosse and Duvenaud, "Isolating sources of disentanglement
-- in variational autoencoders", 2018, eq. 6): for each factor the gap between the two
-- largest entries of its column of the mutual information matrix, averaged over the
-- factors. 1: one latent determines each factor and no other has information about it.
--
-- Known weaknesses: it mixes accuracy and separation; dependent factors cannot
-- reach 1 (box: 0.82 for the truth itself); a swap of two parameters is not detected; a
-- one-to-many inverse scores 0 even if right; the bias of the two largest
-- entries cancels only in part.
local check = require "simvae.util.check"
local gap_of = require "simvae.metrics.support.gap"
local matrix = require "simvae.metrics.support.matrix"
local metrics = require "simvae.metrics"
local page = require "simvae.report.page"
local palette = require "simvae.figures.support.palette"
local parameters = require "simvae.simulator.parameters"
local symmetry = require "simvae.simulator.symmetry"

--- Mutual information gap of a mutual information matrix.
-- @tparam tensor|table mim (K, M) from metrics.mim: a row a latent, a column a factor
-- @treturn number the mean gap, in [0, 1]
-- @treturn table the gap of each factor; with a single latent, its entry itself
-- @raise a tensor that is not a matrix
-- @usage print(sv.metrics.mig(sv.tensor { { 0.9, 0.1 }, { 0.2, 0.8 } }))
local function mig(mim)
  mim = matrix.check("mig", "mim", mim)
  matrix.check_finite("mig", "mim", mim)
  local gaps, sum = {}, 0
  for j, column in ipairs(matrix.columns(mim)) do
    local first, second = -math.huge, 0
    for i, m in ipairs(column) do
      if m < -1e-6 or m > 1 + 1e-6 then
        check.fail(2, "mig: takes a mutual information matrix with entries in [0, 1]; (%d, %d) is %g", i, j, m)
      end
      if m > first then
        first, second = m, i > 1 and first or 0
      elseif m > second then
        second = m
      end
    end
    gaps[j] = first - second
    sum = sum + gaps[j]
  end
  return sum / #gaps, gaps
end

local reported = { order = 10 }

-- The truth with itself, and with a random equivalent where the simulator declares a symmetry.
local function truth_of(run)
  local v = run.v
  local result = { plain = { mim = metrics.mim(v, v, run.settings),
    mig = gap_of(run, v, v).mig } }
  local bar = v
  if symmetry.declared(run.sim) then
    bar = parameters.scaled(run.params, symmetry.equivalents(run.sim, run.z, run.rng(1)))
  end
  local gap = gap_of(run, bar, v, run.o)
  result.mim = bar == v and result.plain.mim or metrics.mim(bar, v, run.settings)
  result.mig, result.interval, result.chance = gap.mig, gap.interval, gap.chance
  return result
end

function reported.measure(run, _, r)
  local gap = gap_of(run, run.answers, run.v, run.o)
  r.mig, r.gaps, r.chance, r.interval = gap.mig, {}, gap.chance, gap.interval
  for j, k in ipairs(run.factors) do r.gaps[run.names[k]] = gap.gaps[j] end
  r.mim, r.truth = metrics.mim(run.answers, run.v, run.settings), truth_of(run)
end

local function plain_gap(level)
  return level and { mig = level.mig, mig_std = level.mig_std }
end

function reported.numbers(r)
  local truth = r.truth
  return {
    mig = r.mig, gaps = r.gaps, interval = r.interval, chance = plain_gap(r.chance), mim = r.mim:totable(),
    truth = { mig = truth.mig, mim = truth.mim:totable(), interval = truth.interval, chance = plain_gap(truth.chance),
      plain = { mig = truth.plain.mig, mim = truth.plain.mim:totable() } },
  }
end

function reported.cards(r, add)
  local truth, grade = r.truth and r.truth.mig, "none"
  local text
  if truth and truth >= 0.1 then
    local share = r.mig / truth
    grade = page.grade(share, 0.85, 0.6)
    text = string.format("Does one latent, and no other, tell each parameter? %s of the %.3f that the true parameters "
      .. "themselves reach. Good from 85%% on, fair from 60%%. It falls steeply with small errors: 2%% of the range "
      .. "costs a quarter; read the errors beside it.", page.percent(share), truth)
  else
    text = "Does one latent, and no other, tell each parameter? "
      .. (truth and "The true parameters themselves score next to nothing here, so this number says little."
        or "There is no ground truth to compare with.")
  end
  if r.chance then text = text .. string.format(" Chance: %.3f.", r.chance.mig) end
  if r.interval then text = text .. string.format(" 95%% of resamples: %.3f to %.3f.", r.interval[1], r.interval[2]) end
  add("Mutual information gap (MIG)", string.format("%.3f", r.mig), grade, text)
end

reported.parameter = {
  titles = { "MI gap" },
  cells = function(r, p)
    return { r.gaps and r.gaps[p.name] and string.format("%.3f", r.gaps[p.name]) or "–" }
  end,
}

local function mim_table(title, m, names)
  local head, rows = { "" }, {}
  for _, n in ipairs(names) do head[#head + 1] = page.escape(n) end
  for i, row in ipairs(m:totable()) do
    local cells = { page.escape(m.shape[1] == #names and names[i] or "z" .. i) }
    for _, x in ipairs(row) do
      cells[#cells + 1] = { string.format("%.3f", x), style = string.format("background:%s;color:%s",
        palette.hex(palette.ramp(x)), palette.hex(palette.ink(x))) }
    end
    rows[i] = cells
  end
  return "<div><h3>" .. title .. "</h3>" .. page.table("mim", head, rows) .. "</div>"
end

function reported.section(r, names, sim)
  if not matrix.is_tensor(r.mim) then return "" end
  local out = { "<h2>Mutual information</h2><p>Row: the encoder's answer; column: the true parameter. 1: the answer "
    .. "tells in which of the bins the parameter lies; 0: it tells nothing. A strong diagonal beside an empty rest is "
    .. "what one hopes for; the lower matrix shows what the parameters' own ties leave possible.</p>"
    .. "<div class=\"two\">", mim_table("MIM(Z, V): the model", r.mim, names) }
  if r.truth and matrix.is_tensor(r.truth.mim) then
    out[#out + 1] = mim_table(sim and sim.symmetry and "MIM(V, V̄): the truth, V̄ a random equivalent of V"
      or "MIM(V, V): the truth", r.truth.mim, names)
  end
  return table.concat(out) .. "</div>"
end

function reported.measures(n)
  return { { "mig", n.mig, title = "MIG", digits = 3 },
    { "truth", n.truth and n.truth.mig, title = "ground truth MIG", digits = 3 } }
end

function reported.line(r)
  return string.format("MIG %.3f (truth %.3f)", r.mig, r.truth.mig)
end

return { compute = mig, reported = reported }
