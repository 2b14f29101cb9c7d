--- Calibration of a model's posterior: do its intervals hold the truth as often as they state?
--
-- Definition: 199 draws of model:posterior(x) for each of the first samples of an evaluation (as many as its option
-- `calibration`). From the ranks of the true parameters among them: simulation-based calibration (metrics.sbc), the
-- shares of true parameters within the central 68% and 95% intervals of each marginal, and expected coverage of all
-- parameters at once (metrics.tarp).
--
-- Known weaknesses: as of sbc and tarp. 500 samples tell a share of 68% to 2.1 points (one standard deviation).
local core = require "simvae.core"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local posterior_draws = require "simvae.metrics.support.posterior_draws"
local sbc = require "simvae.metrics.sbc".compute
local streams = require "simvae.util.streams"
local tarp = require "simvae.metrics.tarp".compute

local DRAWS = 199 -- the truth has 200 possible ranks, of which 136 are in the central 68%, 190 in the central 95%
local ONE, TWO = 0.68, 0.95

local reported = { order = 52 }

function reported.start(run)
  return posterior_draws.new(run.o.calibration, DRAWS, streams.calibration(run.o.seed))
end

-- Values of a grid (parameter.grid) as their numbers, so that equal ones are ties: rows of z (…, K).
local function numbered(params, z)
  local rows = core.reshape(z, -1, #params):totable()
  for k, p in ipairs(params) do
    for _, row in ipairs(p.grid and rows or {}) do row[k] = parameter.grid_number(p, row[k]) end
  end
  return core.reshape(core.tensor(rows), z.shape)
end

function reported.add(state, batch, run)
  state:add(batch, run)
end

-- Shares of ranks within the central intervals of 68% and 95%.
local function shares(ranks)
  local one, two = 0, 0
  for _, rank in ipairs(ranks) do
    local off = math.abs((rank + 0.5) / (DRAWS + 1) - 0.5)
    if off <= ONE / 2 then one = one + 1 end
    if off <= TWO / 2 then two = two + 1 end
  end
  return one / #ranks, two / #ranks
end

-- A share of n samples is off where chance alone explains it badly, and it matters.
local function is_off(share, stated, least, n)
  return math.abs(share - stated) > math.max(least, 3 * math.sqrt(stated * (1 - stated) / n))
end

-- What is wrong with the intervals, with the numbers, and what helps; nil: nothing.
local function warning(c, params, model)
  local found, narrow, wide, correctable = {}, false, false, false
  for _, p in ipairs(params) do
    local name = p.name
    local by = c.coverage.by[name]
    local one = is_off(by.one, ONE, 0.04, c.samples)
    if one or is_off(by.two, TWO, 0.02, c.samples) then
      found[#found + 1] = string.format("of '%s' %s of the truths in 68%% intervals, %s in 95%% intervals", name,
        page.percent(by.one), page.percent(by.two))
      local below = one and by.one < ONE or not one and by.two < TWO
      narrow, wide, correctable = narrow or below, wide or not below, correctable or not p.levels
    end
  end
  if #found == 0 then return nil end
  local head = rawget(model, "head")
  local more = { "more training steps or simulations" }
  if head and not head.likelihood then more[2] = "posterior = \"flow\"" end
  local corrected = rawget(model, "recalibration") and " (this model was corrected, on other simulations)" or ""
  return string.format("The posterior's stated intervals do not hold (%s): %s, over %d samples. %s%s improve the "
    .. "posterior itself.", narrow and wide and "too narrow and too wide" or narrow and "too narrow" or "too wide",
    table.concat(found, "; "), c.samples, correctable and "model:recalibrate { simulations = 1000 } corrects stated "
    .. "intervals" .. corrected .. "; " or "", table.concat(more, ", "))
end

function reported.measure(run, state, r)
  local draws, truth = state:all()
  if not draws then return end
  run.draws = draws
  local by, one, two = {}, 0, 0
  for _, p in ipairs(run.params) do
    if p.grid then
      draws, truth = numbered(run.params, draws), numbered(run.params, truth)
      break
    end
  end
  local ranks = sbc(draws, truth, { names = run.names, seed = run.o.seed })
  for i, name in ipairs(run.names) do
    local a, b = shares(ranks[i].ranks)
    by[name], one, two = { one = a, two = b }, one + a, two + b
  end
  r.calibration = { samples = state.count, draws = DRAWS, sbc = ranks,
    tarp = tarp(draws, truth, { seed = run.o.seed }),
    coverage = { one = one / #run.names, two = two / #run.names, by = by },
    recalibrated = (rawget(run.model, "recalibration") or {}).simulations }
  r.warnings[#r.warnings + 1] = warning(r.calibration, run.params, run.model)
end

function reported.numbers(r)
  local c = r.calibration
  if not c then return {} end
  local by = {}
  for i, name in ipairs(r.names) do
    local s = c.sbc[i]
    by[name] = { p = s.p, uniform = s.uniform, one = c.coverage.by[name].one, two = c.coverage.by[name].two }
  end
  return { calibration = { samples = c.samples, draws = c.draws, one = c.coverage.one, two = c.coverage.two, by = by,
    tarp = { atc = c.tarp.atc, p = c.tarp.p }, recalibrated = c.recalibrated } }
end

function reported.line(r)
  local c = r.calibration
  if not c then return nil end
  local least, most = 1, 0
  for _, by in pairs(c.coverage.by) do least, most = math.min(least, by.one), math.max(most, by.one) end
  local low, high = page.percent(least), page.percent(most)
  return string.format("truths within 68%% intervals %s", low == high and low or low .. " to " .. high)
end

function reported.cards(r, add)
  local c = r.calibration
  if not c then return end
  local off = {}
  for i, name in ipairs(r.names) do
    if not c.sbc[i].uniform then off[#off + 1] = name end
  end
  local corrected = c.recalibrated and string.format(" The posterior is recalibrated on %d simulations.",
    c.recalibrated) or ""
  add("Calibration", page.percent(c.coverage.one), page.grade(math.abs(c.coverage.one - ONE), 0.04, 0.1),
    string.format("Share of true parameters within the posterior's central 68%% intervals, over %d samples; within "
      .. "95%% intervals: %s. Ranks of the truth are %s. Good within 4 points of 68%%, fair within 10. Lower: the "
      .. "posterior is too narrow; higher: too wide.", c.samples, page.percent(c.coverage.two),
      #off == 0 and "uniform (simulation-based calibration)" or "not uniform for " .. table.concat(off, ", "))
      .. corrected)
end

reported.parameter = {
  titles = { "within the 68% interval" },
  cells = function(r, p)
    local by = r.calibration and r.calibration.coverage.by[p.name]
    return { page.percent(by and by.one) }
  end,
}

-- The largest distance of a parameter's share from what the interval states.
local function farthest(by, name, stated)
  local worst
  for _, shares_of in pairs(by or {}) do worst = math.max(worst or 0, math.abs(shares_of[name] - stated)) end
  return worst
end

function reported.measures(n)
  local c = n.calibration or {}
  return { { "calibration", c.one, title = "within the 68% interval", digits = 3 },
    { "calibration_two", c.two, title = "within the 95% interval", digits = 3 },
    { "calibration_off", farthest(c.by, "one", ONE), title = "largest distance of a parameter's share from 68%",
      digits = 3, smaller_is_better = true },
    { "calibration_two_off", farthest(c.by, "two", TWO), title = "largest distance of a parameter's share from 95%",
      digits = 3, smaller_is_better = true } }
end

return { reported = reported }
