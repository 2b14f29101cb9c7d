--- Spread along an orbit: does a posterior hold all parameters that give an output, each as often as it should?
--
-- Definition: for a simulator with one continuous family of equivalents (simvae.simulator.symmetry) that moves
-- parameters evenly on their scales, and independent priors that are uniform on them, the exact posterior is uniform
-- along the orbit of the truth, between the points where it leaves the bounds. Each draw is projected onto that orbit;
-- its place, from 0 at one end to 1 at the other, is uniform if the posterior is exact. `kolmogorov` is the largest
-- difference of both distribution functions, the mean over outputs; `pooled` that of the places of all outputs
-- together. Whether draws lie on the orbit is what the simulator tells: `resimulation_r2` is that of draws
-- (metrics.resimulation).
--
-- Known weaknesses: M draws of an exact posterior have a distance of 0.87 / sqrt(M) on average, 0.027 for 1,000;
-- places say nothing of the distance from the orbit; pooled places miss errors that cancel over outputs.
local check = require "simvae.util.check"
local core = require "simvae.core"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local posterior_draws = require "simvae.metrics.support.posterior_draws"
local rerun = require "simvae.metrics.support.rerun"
local residual = require "simvae.metrics.support.residual"
local streams = require "simvae.util.streams"
local symmetry = require "simvae.simulator.symmetry"
local uniformity = require "simvae.metrics.support.uniformity"

local POINTS = 65     -- of an orbit
local EVEN = 1e-3     -- largest difference of its steps, as a share of their mean
local SAMPLES, DRAWS = 200, 1000 -- of an evaluation: outputs, and draws of each
local AGAIN = 100     -- draws of each output that the simulator is run on

-- ---- orbits -------------------------------------------------------------------------------

local function in_unit(params, row)
  local point = {}
  for i, p in ipairs(params) do point[i] = parameter.to_unit(p, row[i]) end
  return point
end

--- The orbit of a row in unit coordinates: its ends, and whether it is evenly spaced between them.
-- @tparam Simulator sim
-- @tparam {number,...} row in units
-- @treturn ?{number,...} one end; nil where there is no orbit, or it is a point
-- @treturn ?{number,...} the other
-- @treturn ?boolean
local function orbit_of(sim, row)
  local rows = symmetry.along(sim, row, POINTS)
  if not rows then return nil end
  local first, last, even = in_unit(sim.params, rows[1]), in_unit(sim.params, rows[POINTS]), true
  local length = 0
  for i = 1, #first do length = math.max(length, math.abs(last[i] - first[i])) end
  if length == 0 then return nil end
  for j = 2, POINTS - 1 do
    for i, v in ipairs(in_unit(sim.params, rows[j])) do
      local straight = first[i] + (last[i] - first[i]) * (j - 1) / (POINTS - 1)
      even = even and math.abs(v - straight) <= EVEN * length
    end
  end
  return first, last, even
end

--- Whether the exact spread is known for a simulator.
local function applies(sim)
  local free = 0
  for _, element in ipairs(sim.symmetry or {}) do
    if not element.free then return false end
    free = free + 1
  end
  if free ~= 1 or sim.prior then return false end
  for _, p in ipairs(sim.params) do
    if p.levels or p.period or p.prior then return false end
  end
  return true
end

-- The places of draws (lists of numbers in units) on the line from first to last, from 0 to 1.
local function places_of(sim, draws, first, last)
  local squares, list = 0, {}
  for i, v in ipairs(first) do squares = squares + (last[i] - v) ^ 2 end
  for d, draw in ipairs(draws) do
    local along = 0
    for i, v in ipairs(in_unit(sim.params, draw)) do along = along + (v - first[i]) * (last[i] - first[i]) end
    list[d] = math.max(0, math.min(1, along / squares))
  end
  return list
end

local options = check.declare("metrics.orbit_spread", {
  simulator = { "table", class = "Simulator", required = true,
    doc = "the simulator, whose parameters and symmetry are used" },
})

--- Spread along an orbit.
-- @tparam tensor samples (N, M, K) of the posteriors of N outputs, in units
-- @tparam tensor v (N, K) parameters that gave the outputs, in units
-- @tparam table opts options
-- @treturn ?table kolmogorov, pooled, each (a list of N; false where the orbit is a point); nil where the exact spread
-- is not known: another symmetry than one continuous family, one that is uneven, priors that are not uniform
-- @raise unequal numbers of outputs or parameters, numbers that are not finite
-- @usage
-- local truth = needle:sample(10, sv.rng(1))
-- print(sv.metrics.orbit_spread(sv.stack({ truth, truth }, 2), truth, { simulator = needle }))
local function orbit_spread(samples, v, opts)
  local o = check.options("orbit_spread", opts, options)
  samples, v = uniformity.check("orbit_spread", samples, v)
  local sim = o.simulator
  if not applies(sim) then return nil end
  local each, all, total, count = {}, {}, 0, 0
  for n, row in ipairs(v:totable()) do
    local first, last, even = orbit_of(sim, row)
    if even == false then return nil end
    each[n] = false
    if first then
      local places = places_of(sim, samples[n]:totable(), first, last)
      each[n] = uniformity.supremum(places)
      total, count = total + each[n], count + 1
      table.move(places, 1, #places, #all + 1, all)
    end
  end
  if count == 0 then return nil end
  return { kolmogorov = total / count, pooled = uniformity.supremum(all), each = each }
end

-- ---- in an evaluation -----------------------------------------------------------------------

local reported = { order = 85 }

function reported.start(run)
  return { again = residual.new(),
    draws = posterior_draws.new(applies(run.sim) and SAMPLES or 0, DRAWS, streams.calibration(run.o.seed + 1)) }
end

-- Runs the simulator on some draws of each output.
local function run_again(state, sim, x, draws)
  local K = #sim.params
  for i = 1, x.shape[1] do
    local scope <close> = core.scope()
    local y, good = rerun.run(sim, core.reshape(core.slice(draws[i], 1, 1, AGAIN), AGAIN, K))
    if y then
      local n = good and #good or AGAIN
      state.again:add(core.expand(core.slice(x, 1, i, i), n, table.unpack(x.shape, 2)), y)
    end
  end
end

function reported.add(state, batch, run)
  local draws = state.draws:add(batch, run)
  if draws then run_again(state, run.sim, core.slice(batch.x, 1, 1, draws.shape[1]), draws) end
end

function reported.measure(run, state, r)
  local draws, truth = state.draws:all()
  local spread = draws and orbit_spread(draws, truth, { simulator = run.sim })
  if not spread then return end
  spread.resimulation_r2, spread.samples, spread.draws = state.again:r2(), draws.shape[1], DRAWS
  r.orbit_spread = spread
end

function reported.numbers(r)
  local s = r.orbit_spread
  return s and { orbit_spread = { kolmogorov = s.kolmogorov, pooled = s.pooled, resimulation_r2 = s.resimulation_r2,
    samples = s.samples, draws = s.draws } } or {}
end

function reported.cards(r, add)
  local s = r.orbit_spread
  if not s then return end
  add("Spread along the orbit", string.format("%.3f", s.kolmogorov), page.grade(1 - s.kolmogorov, 0.95, 0.85),
    string.format("Largest difference between the distribution of the posterior's draws along the equivalents of the "
      .. "truth and the exact, uniform one, the mean over %d outputs (%d draws of an exact posterior: %.3f). "
      .. "Re-simulation R² of the draws: %s.", s.samples, s.draws, 0.87 / math.sqrt(s.draws),
      s.resimulation_r2 and string.format("%.4f", s.resimulation_r2) or "–"))
end

function reported.measures(n)
  local s = n.orbit_spread or {}
  return { { "orbit_kolmogorov", s.kolmogorov, title = "spread along the orbit: Kolmogorov distance", digits = 3,
    smaller_is_better = true }, { "draws_r2", s.resimulation_r2, title = "re-simulation R² of posterior draws",
    digits = 4 } }
end

return { compute = orbit_spread, reported = reported }
