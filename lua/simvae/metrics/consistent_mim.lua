--- Self-consistent mutual information: does an inverse return the same parameters again?
--
-- Definition: z = E(x) is an estimate, z' = E(S(E(x))) the estimate from its simulated output.
-- The matrix is metrics.mim of z' with z; the score is the mean of its diagonal. A latent whose spread
-- is below a thousandth of its parameter's range counts as constant and scores 0. `spread` is the
-- latent's share of the true parameters' spread: std(z_k) / std(v_k) on the parameter's scale.
--
-- It needs no declared symmetry and no true parameters. Read it with the re-simulation R²:
-- (high, high) a right inverse, by any equivalents; (high, low) consistent but wrong, or collapsed (spread);
-- (low, high) right estimates that jump between equivalents; (low, low) wrong.
--
-- Source: the open task at the end of section 4.3 of the SimVAE paper; the idea is that of the
-- cycle-consistency loss (Zhu, Park, Isola and Efros 2017), used as a measure.
--
-- Known weaknesses:
-- * It does not measure truth: a collapsed encoder can be consistent.
-- * A deterministic, discontinuous choice among equivalents costs little, at its discontinuities; a random choice
--   costs nearly everything.
-- * Estimates clipped at the bounds are consistent.
-- * The sensitivity and bias of mutual information (see metrics.mim).
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local mim = require "simvae.metrics.mim".compute
local noise = require "simvae.simulator.noise"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local parameters = require "simvae.simulator.parameters"

local options = check.declare("metrics.consistent_mim", {
  simulator = { "table", class = "Simulator", required = true, doc = "the simulator, whose parameters are used" },
  bins = { "integer", default = 20, min = 2, max = 1024, doc = "of equal width, for continuous columns" },
  v = { "tensor", doc = "true parameters (N, K), for the spread; default: without it" },
})

local function deviation(column)
  local mean, squares = 0, 0
  for _, x in ipairs(column) do mean = mean + x / #column end
  for _, x in ipairs(column) do squares = squares + (x - mean) ^ 2 / #column end
  return math.sqrt(squares)
end

--- Self-consistent mutual information.
-- @tparam tensor z (N, K): E(x), in units
-- @tparam tensor again (N, K): E(S(E(x))), in units, row by row
-- @tparam table opts options
-- @treturn table score, by[name] (the diagonal), mim (K, K): rows z', columns z; spread[name] where v is given
-- @raise columns that are not finite; too few samples
-- @usage
-- local estimate = model:encode(x)
-- local again = model:encode(ring:run(estimate))
-- print(sv.metrics.consistent_mim(estimate, again, { simulator = ring, bins = 8 }).score)
local function consistent_mim(z, again, opts)
  local o = check.options("consistent_mim", opts, options)
  z, again = matrix.pair("consistent_mim", z, again, { "z", "again" })
  local params = o.simulator.params
  local K = #params
  if z.shape[2] ~= K or again.shape[2] ~= K then
    check.fail(2, "consistent_mim: z and again have a column for each of the %d parameters; got %d and %d", K,
      z.shape[2], again.shape[2])
  end
  local names, levels = parameters.columns(params)
  matrix.check_finite("consistent_mim", "z", z, names)
  matrix.check_finite("consistent_mim", "again", again, names)
  local first, second = parameters.scaled(params, z:totable()), parameters.scaled(params, again:totable())
  local columns = matrix.columns(first)
  local kept, kept_names, kept_levels, spreads = {}, {}, {}, {}
  for k, p in ipairs(params) do
    spreads[k] = deviation(columns[k])
    if spreads[k] > 1e-3 * parameter.range(p) then
      kept[#kept + 1] = k
      kept_names[#kept], kept_levels[#kept] = names[k], levels[k]
    end
  end
  local full = core.zeros(K, K)
  local result = { mim = full, by = {}, score = 0 }
  if #kept > 0 then
    local parts = {}
    for i, k in ipairs(kept) do parts[i] = core.slice(first, 2, k, k) end
    local m = mim(second, #parts == 1 and parts[1] or core.concat(parts, 2), { bins = o.bins, levels = kept_levels,
      z_levels = levels, names = kept_names, z_names = names, constant = "zero" })
    for j, k in ipairs(kept) do
      for i = 1, K do full:set(m:get(i, j), i, k) end
    end
  end
  for k, p in ipairs(params) do
    result.by[p.name] = full:get(k, k)
    result.score = result.score + full:get(k, k) / K
  end
  if o.v then
    local _, v = matrix.pair("consistent_mim", z, o.v)
    result.spread = {}
    for k, column in ipairs(matrix.columns(parameters.scaled(params, v:totable()))) do
      local truth = deviation(column)
      result.spread[names[k]] = truth > 0 and spreads[k] / truth or nil
    end
  end
  return result
end

local reported = { order = 90 }

function reported.start()
  return { first = {}, same = {} }
end

-- Pairs of an estimate and of the estimate from its simulated output.
function reported.add(state, batch, run)
  if not batch.again then return end
  local same = run.model:encode(batch.again, noise.least(run.sim))
  run.check_finite(same, "mean", batch.first)
  for i, row in ipairs(same:totable()) do
    state.same[#state.same + 1] = row
    state.first[#state.first + 1] = batch.mean[batch.number(i)]
  end
end

function reported.measure(run, state, r)
  local bins = run.o.bins
  if #state.first < math.max(1, bins * bins) then return end
  r.consistent = consistent_mim(core.tensor(state.first), core.tensor(state.same), { simulator = run.sim, bins = bins })
end

function reported.numbers(r)
  return { consistent_mim = r.consistent and { score = r.consistent.score, by = r.consistent.by } }
end

function reported.cards(r, add)
  if not r.consistent then return end
  add("Self-consistent MIM", string.format("%.3f", r.consistent.score), page.grade(r.consistent.score, 0.7, 0.4),
    "Mutual information of the encoder's estimates with its estimates from the re-simulated outputs. Read it with the "
    .. "re-simulation R². Good from 0.7 on, fair from 0.4.")
end

function reported.measures(n)
  return { { "consistent", n.consistent_mim and n.consistent_mim.score, title = "self-consistent MIM", digits = 3,
    table = true } }
end

return { compute = consistent_mim, reported = reported }
