--- Modes of an orbit: does a posterior hold all equivalents of the parameters, each as often as the others?
--
-- Definition: for a simulator that declares a finite symmetry (simvae.simulator.symmetry) under which the prior does
-- not change, every equivalent of the truth within the bounds has the same share of the exact posterior. Each draw
-- counts for the equivalent that is nearest in standardised coordinates; `held` is exp(entropy of the shares) as a
-- share of the number of equivalents, the mean over outputs with several: 1 for all of them equally often, 1/8 for one
-- of eight.
--
-- Known weaknesses: draws that are near no equivalent count all the same (re-simulation tells); M draws of an exact
-- posterior of k equivalents have (k - 1) / (2 M) less than 1; a symmetry that the prior does not share is not a fault.
local check = require "simvae.util.check"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local posterior_draws = require "simvae.metrics.support.posterior_draws"
local streams = require "simvae.util.streams"
local symmetry = require "simvae.simulator.symmetry"
local uniformity = require "simvae.metrics.support.uniformity"

local SAMPLES, DRAWS = 200, 200 -- of an evaluation: outputs, and draws of each
local SAME = 1e-6               -- squared distance of equivalents that are one

local function applies(sim)
  for _, element in ipairs(sim.symmetry or {}) do
    if element.free then return false end
  end
  return symmetry.declared(sim)
end

-- The equivalents of a row within the bounds, each once.
local function equivalents_of(sim, row)
  local list = {}
  for _, image in ipairs(symmetry.all(sim, row)) do
    local new = true
    for i, p in ipairs(sim.params) do new = new and not parameter.outside(p, image[i]) end
    for _, other in ipairs(new and list or {}) do
      new = new and symmetry.distance(sim.params, image, other) > SAME
    end
    if new then list[#list + 1] = image end
  end
  return list
end

-- exp of the entropy of the shares of draws that are nearest to each equivalent.
local function perplexity(sim, draws, list)
  local counts, entropy = {}, 0
  for _, draw in ipairs(draws) do
    local best, least = 1, math.huge
    for a, image in ipairs(list) do
      local d = symmetry.distance(sim.params, draw, image)
      if d < least then best, least = a, d end
    end
    counts[best] = (counts[best] or 0) + 1
  end
  for _, count in pairs(counts) do entropy = entropy - count / #draws * math.log(count / #draws) end
  return math.exp(entropy)
end

local options = check.declare("metrics.orbit_modes", {
  simulator = { "table", class = "Simulator", required = true,
    doc = "the simulator, whose parameters and symmetry are used" },
})

--- Modes of an orbit.
-- @tparam tensor samples (N, M, K) of the posteriors of N outputs, in units
-- @tparam tensor v (N, K) parameters that gave the outputs, in units
-- @tparam table opts options
-- @treturn ?table held; each: {equivalents =, held =} of each output; nil where no output has several equivalents, or
-- the symmetry has a free number (metrics.orbit_spread)
-- @raise unequal numbers of outputs or parameters, numbers that are not finite
-- @usage
-- local truth = needle:sample(10, sv.rng(1))
-- local draws = sv.stack({ truth, truth }, 2)
-- print(sv.metrics.orbit_modes(draws, truth, { simulator = needle }).held)
local function orbit_modes(samples, v, opts)
  local o = check.options("orbit_modes", opts, options)
  samples, v = uniformity.check("orbit_modes", samples, v)
  local sim = o.simulator
  if not applies(sim) then return nil end
  local each, total, count = {}, 0, 0
  for n, row in ipairs(v:totable()) do
    local list = equivalents_of(sim, row)
    each[n] = { equivalents = #list, held = 1 }
    if #list > 1 then
      each[n].held = perplexity(sim, samples[n]:totable(), list) / #list
      total, count = total + each[n].held, count + 1
    end
  end
  return count > 0 and { held = total / count, each = each } or nil
end

-- ---- in an evaluation -----------------------------------------------------------------------

local reported = { order = 86 }

function reported.start(run)
  return posterior_draws.new(applies(run.sim) and SAMPLES or 0, DRAWS, streams.calibration(run.o.seed + 2))
end

function reported.add(state, batch, run)
  state:add(batch, run)
end

function reported.measure(run, state, r)
  local draws, truth = state:all()
  r.orbit_modes = draws and orbit_modes(draws, truth, { simulator = run.sim })
end

function reported.numbers(r)
  return { orbit_modes = r.orbit_modes and { held = r.orbit_modes.held } }
end

function reported.cards(r, add)
  if not r.orbit_modes then return end
  add("Equivalents held", page.percent(r.orbit_modes.held), page.grade(r.orbit_modes.held, 0.9, 0.6), "How evenly the "
    .. "posterior's draws are divided among the equivalents of the truth: 100% if each has the same share, 12.5% if "
    .. "one of eight has all.")
end

function reported.measures(n)
  return { { "orbit_modes", n.orbit_modes and n.orbit_modes.held, title = "equivalents held", digits = 3 } }
end

return { compute = orbit_modes, reported = reported }
