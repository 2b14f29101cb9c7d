--- Orbit-aligned mutual information: accuracy and separation of an inverse that may return any of several
-- equivalent parameter vectors.
--
-- Definition: every estimate z is first replaced by its equivalent nearest to the true v under
-- the simulator's declared symmetry (simvae.simulator.symmetry), in standardised coordinates; M is the
-- mutual information matrix (metrics.mim) of that with v. Choosing the nearest adds information
-- about v to any estimate, so the same is computed with the rows of v shuffled against z: C, the chance level of the
-- alignment, including the estimator's bias.
--
--   accuracy_k   = (M_kk - C_kk) / (1 - C_kk): 1 for an exact inverse, 0 for estimates that are
--                  independent of v; the score is the mean over parameters
--   separation_j = D_j / (D_j + E_j), D_j = max(0, M_jj - C_jj), E_j the sum over i (not j) of the information
--                  of v_j in another latent beyond chance and beyond the dependence of the true parameters,
--                  max(0, (M_ij - C_ij) - max(0, T_ij - U_ij)), T = MIM(V, V) and U its shuffled level:
--                  1 where nothing is mixed, however noisy; undefined where D_j + E_j is below 0.05; the
--                  score is sum of D / sum of (D + E), undefined where these are below 0.05 a parameter
--
-- Source: the open task at the end of section 4.3 of the SimVAE paper; ground truth up to an
-- invariance transformation is that of its section 4.2. Rescaling by chance is that of the adjusted
-- Rand index and of adjusted mutual information (Vinh, Epps and Bailey 2010).
--
-- Known weaknesses:
-- * The complete symmetry must be declared: an undeclared one appears as error.
-- * With a large orbit C is near 1, and small sampling errors are amplified.
-- * An error of one latent is spread over all that the symmetry exchanges with it: with the polygon's first
--   corner mixed, separation falls by a quarter of its fall without the symmetry.
-- * Samples are aligned separately, so that jumps between equivalents are not detected (metrics.consistent_mim
--   detects them).
-- * Accuracy is as sensitive to small errors as mutual information (2% of the range: 0.7).
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local mim = require "simvae.metrics.mim".compute
local page = require "simvae.report.page"
local parameters = require "simvae.simulator.parameters"
local symmetry = require "simvae.simulator.symmetry"

local options = check.declare("metrics.orbit_mim", {
  simulator = { "table", class = "Simulator", required = true,
    doc = "the simulator, whose parameters and symmetry are used; without a symmetry nothing is replaced" },
  bins = { "integer", default = 20, min = 2, max = 1024, doc = "of equal width, for continuous columns" },
  seed = { "integer", default = 1, doc = "of the random equivalents" },
  chance = { "integer", default = 1, min = 1, doc = "shuffles for the chance level" },
})

local enough = 0.05

local function shuffled(rows, rng)
  local order, result = rng:permutation(#rows):totable(), {}
  for i, from in ipairs(order) do result[i] = rows[math.tointeger(from)] end
  return result
end

-- Mean of matrices over shuffles; f(rows of v in another order) gives the matrix.
local function average(v, o, f)
  local rng, total = core.rng(o.seed), nil
  for _ = 1, o.chance do
    local m = f(shuffled(v, rng))
    total = total and total + m or m
  end
  return total * (1 / o.chance)
end

--- Orbit-aligned mutual information.
-- @tparam tensor z (N, K): answers, in units
-- @tparam tensor v (N, K): true parameters, in units
-- @tparam table opts options
-- @treturn table score (mean accuracy), separation (nil where there is no information to separate),
--   accuracy[name], separations[name], mim, chance (K, K), aligned (N, K) in units
-- @raise columns that are not finite; too few samples
-- @usage
-- local truth = needle:sample(500, sv.rng(1))
-- print(sv.metrics.orbit_mim(truth, truth, { simulator = needle, bins = 10 }).score)
local function orbit_mim(z, v, opts)
  local o = check.options("orbit_mim", opts, options)
  z, v = matrix.pair("orbit_mim", z, v)
  local sim, params = o.simulator, o.simulator.params
  local K = #params
  if z.shape[2] ~= K or v.shape[2] ~= K then
    check.fail(2, "orbit_mim: z and v have a column for each of the %d parameters; got %d and %d", K, z.shape[2],
      v.shape[2])
  end
  local names, levels = parameters.columns(params)
  matrix.check_finite("orbit_mim", "z", z, names)
  matrix.check_finite("orbit_mim", "v", v, names)
  local settings = { bins = o.bins, levels = levels, z_levels = levels, names = names, constant = "zero" }
  local rows, known = z:totable(), v:totable()
  local function information(answers, truth)
    local nearest = symmetry.align(sim, answers, truth)
    return mim(parameters.scaled(params, nearest), parameters.scaled(params, truth), settings)
  end
  local aligned = symmetry.align(sim, rows, known)
  local scaled = parameters.scaled(params, known)
  local result = {
    aligned = core.tensor(aligned),
    mim = mim(parameters.scaled(params, aligned), scaled, settings),
    chance = average(known, o, function(other) return information(rows, other) end),
    accuracy = {}, separations = {},
  }
  local truth = mim(scaled, scaled, settings)
  local level = average(known, o, function(other) return mim(scaled, parameters.scaled(params, other), settings) end)
  local M, C, T, U = result.mim:totable(), result.chance:totable(), truth:totable(), level:totable()
  local score, own_total, other_total = 0, 0, 0
  for j, p in ipairs(params) do
    result.accuracy[p.name] = (M[j][j] - C[j][j]) / math.max(1 - C[j][j], 1e-9)
    score = score + result.accuracy[p.name] / K
    local own, others = math.max(0, M[j][j] - C[j][j]), 0
    for i = 1, K do
      if i ~= j then others = others + math.max(0, M[i][j] - C[i][j] - math.max(0, T[i][j] - U[i][j])) end
    end
    -- less is the noise of the estimate itself
    if own + others > enough then result.separations[p.name] = own / (own + others) end
    own_total, other_total = own_total + own, other_total + others
  end
  result.score = score
  if own_total + other_total > enough * K then result.separation = own_total / (own_total + other_total) end
  return result
end

local reported = { order = 80 }

function reported.measure(run, _, r)
  r.orbit = orbit_mim(core.tensor(run.mean), core.tensor(run.z), { simulator = run.sim, bins = run.o.bins })
end

function reported.numbers(r)
  local o = r.orbit
  return { orbit_mim = { score = o.score, separation = o.separation, accuracy = o.accuracy,
    separations = o.separations, mim = o.mim:totable(), chance = o.chance:totable() } }
end

function reported.cards(r, add)
  if not r.orbit then return end
  add("Orbit-aligned MIM", string.format("%.3f", r.orbit.score), page.grade(r.orbit.score, 0.7, 0.4), string.format(
    "Information about each parameter, after every estimate is replaced by its equivalent nearest to the truth, above "
    .. "chance. 1: exact; an error of 2%% of the range scores about 0.7. Good from 0.7 on, fair from 0.4. Separation "
    .. "(independent of noise): %s.", r.orbit.separation and string.format("%.3f", r.orbit.separation) or "–"))
end

function reported.measures(n)
  local o = n.orbit_mim or {}
  return { { "orbit", o.score, title = "orbit-aligned MIM", digits = 3, table = true },
    { "separation", o.separation, title = "separation", digits = 3, table = true } }
end

return { compute = orbit_mim, reported = reported }
