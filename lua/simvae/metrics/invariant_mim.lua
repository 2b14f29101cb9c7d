--- Accuracy of the invariants, the quantities that determine the output.
--
-- Definition: a simulator declares invariants, functions of its parameters that have the same value for
-- all parameters of the same output (rlc: f0 and Q). Each is computed from the answers z and from the
-- true v; MIM is that of the values (metrics.mim; logarithms of log-scaled ones); slope, intercept and
-- R² are those of the least squares line of z's over v's, in the invariant's unit, R² the squared
-- correlation; `exact` is 1 - sum (a - b)² / sum (b - mean b)²: their agreement without a fit.
-- Where an invariant has `low` or `high`, only samples whose true invariants all lie within take part
-- (rlc, as in the paper's figure 3: f0 < 10 kHz, Q < 4).
--
-- Source: figure 3 of the SimVAE paper.
--
-- Known weaknesses: it does not measure the parameters themselves, and the invariants must be known; the
-- regression's R² ignores a wrong slope, the slope ignores scatter (`exact` measures both); linear fits are dominated
-- by large values; with too few samples within the limits there is no MIM.
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local mim = require "simvae.metrics.mim".compute
local parameter = require "simvae.simulator.parameter"
local page = require "simvae.report.page"
local point = require "simvae.simulator.point"
local regression = require "simvae.metrics.support.regression"

local options = check.declare("metrics.invariant_mim", {
  simulator = { "table", class = "Simulator", required = true,
    doc = "the simulator, whose parameters and invariants are used" },
  bins = { "integer", default = 20, min = 2, max = 1024, doc = "of equal width, for continuous columns" },
})

local function value_of(sim, invariant, row)
  local value = invariant.value(point.new(sim, row))
  if type(value) ~= "number" then
    error(string.format("simulator '%s': invariant '%s' gave %s; it returns a number", sim.name, invariant.name,
      check.describe(value)), 0)
  end
  return value
end

local function allowed(invariants, values)
  for i, invariant in ipairs(invariants) do
    local a = values[i]
    if a ~= a or a < (invariant.low or -math.huge) or a > (invariant.high or math.huge) then return false end
  end
  return true
end

-- (N, M) of the invariants' values on their scales.
local function scaled(invariants, rows)
  local result = {}
  for n, row in ipairs(rows) do
    result[n] = {}
    for i, invariant in ipairs(invariants) do
      result[n][i] = parameter.to_scale(invariant, invariant.scale == "log"
        and math.max(row[i], 1e-300) or row[i])
    end
  end
  return core.tensor(result)
end

--- Compares declared invariants of answers and of true parameters.
-- @tparam tensor z (N, K): answers, in units
-- @tparam tensor v (N, K): true parameters, in units
-- @tparam table opts options
-- @treturn table|nil by[name] = { mi, slope, intercept, r2, exact }, names, z, v (n, M): their values,
--   samples: those that took part, mim (M, M) (nil with too few samples for the bins);
--   nil where the simulator declares none, or fewer than three samples lie within the limits
-- @raise a value that is not a simulator, columns that are not finite
-- @usage
-- local truth = needle:sample(500, sv.rng(1))
-- print(sv.metrics.invariant_mim(truth, truth, { simulator = needle }).by.direction.r2)
local function invariant_mim(z, v, opts)
  local o = check.options("invariant_mim", opts, options)
  z, v = matrix.pair("invariant_mim", z, v)
  local sim = o.simulator
  local invariants = sim.invariants or {}
  if #invariants == 0 then return nil end
  local answers, known, a, b = z:totable(), v:totable(), {}, {}
  for n = 1, #known do
    local row, truth = {}, {}
    for i, invariant in ipairs(invariants) do
      row[i], truth[i] = value_of(sim, invariant, answers[n]), value_of(sim, invariant, known[n])
    end
    if allowed(invariants, truth) and allowed({ {} }, row) then a[#a + 1], b[#b + 1] = row, truth end
  end
  if #b < 3 then return nil end
  local result = { by = {}, names = {}, z = core.tensor(a), v = core.tensor(b), samples = #b }
  local za, vb = matrix.columns(result.z), matrix.columns(result.v)
  for i, invariant in ipairs(invariants) do
    result.names[i] = invariant.name
    result.by[invariant.name] = regression(vb[i], za[i])
  end
  if #b >= o.bins * o.bins then
    result.mim = mim(scaled(invariants, a), scaled(invariants, b), { bins = o.bins, names = result.names,
      constant = "zero" })
    for i, name in ipairs(result.names) do result.by[name].mi = result.mim:get(i, i) end
  end
  return result
end

local reported = { order = 100 }

function reported.measure(run, _, r)
  r.invariants = invariant_mim(core.tensor(run.positive), core.tensor(run.z), { simulator = run.sim,
    bins = run.o.bins })
end

function reported.numbers(r)
  return { invariants = r.invariants and { samples = r.invariants.samples, by = r.invariants.by } }
end

function reported.cards(r, add)
  for _, name in ipairs(r.invariants and r.invariants.names or {}) do
    local fit = r.invariants.by[name]
    add(name .. " of the answer over the true one", string.format("R² %.4f", fit.r2), page.grade(fit.r2, 0.995, 0.95),
      string.format("What the output depends on; slope %.4f, over %d samples. Good from 0.995 on, fair from 0.95.",
        fit.slope, r.invariants.samples))
  end
end

function reported.measures(n)
  local list, names = {}, {}
  for name in pairs(n.invariants and n.invariants.by or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local fit = n.invariants.by[name]
    list[#list + 1] = { name .. "_slope", fit.slope, title = name .. " slope", digits = 4 }
    list[#list + 1] = { name .. "_r2", fit.r2, title = name .. " R²", digits = 4 }
    list[#list + 1] = { name .. "_slope_error", math.abs(fit.slope - 1), title = name .. " slope, distance from 1",
      digits = 4, smaller_is_better = true }
  end
  return list
end

function reported.line(r)
  local parts = {}
  for i, name in ipairs(r.invariants and r.invariants.names or {}) do
    local fit = r.invariants.by[name]
    parts[i] = string.format("%s slope %.4f R2 %.4f", name, fit.slope, fit.r2)
  end
  return #parts > 0 and table.concat(parts, "  ")
end

return { compute = invariant_mim, reported = reported }
