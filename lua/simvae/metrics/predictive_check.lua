--- Posterior predictive check: are outputs for draws of the posterior like the one that was measured?
--
-- Definition (Rubin 1984; Gelman, Meng and Stern 1996): parameters are drawn from the posterior, the simulator runs on
-- them, with the noise of a measurement, and a discrepancy of these replicated outputs is compared with that of the
-- measured one: p is the share of replicated outputs whose discrepancy is as large. Default: the mean over elements of
-- the squared distance from the replicated outputs' mean in their standard deviations, both from other draws than those
-- that are compared.
--
-- Known weaknesses: p is conservative, as the output serves twice; a posterior that is too wide replicates outputs of
-- every kind and passes.
local check = require "simvae.util.check"
local core = require "simvae.core"
local input = require "simvae.model.input"
local noise = require "simvae.simulator.noise"
local page = require "simvae.report.page"
local parameters = require "simvae.simulator.parameters"
local rerun = require "simvae.metrics.support.rerun"
local streams = require "simvae.util.streams"

local options = check.declare("metrics.predictive_check", {
  draws = { "integer", default = 100, min = 10, max = 100000,
    doc = "replicated outputs that each output is compared with" },
  discrepancy = { "function",
    doc = "function (y, mean, std) -> number, of one output and the replicated ones' mean and standard deviation; "
      .. "default: the mean squared distance in standard deviations" },
  noise = noise.level_rule,
  seed = { "integer", default = 1, doc = "of the draws" },
})

local FLOOR = 1e-3 -- of the standard deviation of all elements: a smallest standard deviation

-- Replicated outputs (S', …output) for draws (S, K); nil where the simulator failed on nearly all.
local function replicated(sim, z, level, rng)
  local rows = z:totable()
  for i, row in ipairs(rows) do rows[i] = parameters.within(sim.params, row) end
  z = core.tensor(rows)
  local y, good = rerun.run(sim, z)
  if not y or y.shape[1] < 4 then return nil end
  if good then z = rerun.rows(z, good) end
  local levels = level and core.full(level, { y.shape[1] }) or nil
  return (noise.add(sim, z, y, rng, levels))
end

-- The discrepancy of each row of y (n, …) from the mean and standard deviation (1, …): a list.
local function default_discrepancy(y, mean, std)
  return core.mean(core.reshape(core.square((y - mean) / std), y.shape[1], -1), 2):totable()
end

local function discrepancies(o, y, mean, std)
  if not o.discrepancy then return default_discrepancy(y, mean, std) end
  local list = {}
  for i = 1, y.shape[1] do
    list[i] = o.discrepancy(y[i], mean[1], std[1])
    if type(list[i]) ~= "number" or list[i] ~= list[i] then
      error(string.format("predictive_check: discrepancy returns a number; got %s", check.describe(list[i])), 0)
    end
  end
  return list
end

-- p of one output x (1, …) with replicated ones.
local function p_value(o, x, y)
  local half = y.shape[1] // 2
  local first, second = core.slice(y, 1, 1, half), core.slice(y, 1, half + 1, y.shape[1])
  local mean, std = core.mean(first, 1, true), core.sqrt(core.var(first, 1, true))
  local least = math.max(FLOOR * core.sqrt(core.var(core.reshape(y, y.count), 1)):item(), 1e-12)
  std = core.clamp(std, least, math.huge)
  local own, reached = discrepancies(o, x, mean, std)[1], 0
  local others = discrepancies(o, second, mean, std)
  for _, d in ipairs(others) do reached = reached + (d >= own and 1 or 0) end
  return (1 + reached) / (1 + #others)
end

--- Posterior predictive check.
-- @tparam Model model with :posterior and .simulator
-- @tparam tensor x (N, …output) measured outputs, or one of them
-- @tparam[opt] table opts options
-- @treturn tensor p (N,); NaN where the simulator failed on the draws
-- @treturn {tensor|false,...} replicated outputs of each, (about 2 draws, …output)
-- @raise a model without a posterior, a discrepancy that does not return a number
-- @usage
-- local values, replicated = sv.metrics.predictive_check(model, sv.slice(x, 1, 1, 3), { draws = 10 })
-- print(values, replicated[1].shape)
local function predictive_check(model, x, opts)
  local o = check.options("predictive_check", opts, options)
  if type(model) ~= "table" or type(model.posterior) ~= "function" or not model.simulator then
    check.fail(2, "predictive_check: takes a model with :posterior first; got %s", check.describe(model))
  end
  local sim = model.simulator
  x = input.check_batch("predictive_check", x, sim.output, table.concat(sim.output, ", "))
  local n = x.shape[1]
  local levels = noise.levels("predictive_check", sim, o.noise, n, 2)
  local rng, list, all = streams.replicated(o.seed), {}, {}
  local z = model:posterior(x, noise.told(levels, 1, n)):sample(2 * o.draws, rng)
  for i = 1, n do
    local scope <close> = core.scope()
    local y = replicated(sim, z[i], levels and levels:get(i), rng)
    list[i] = y and p_value(o, core.slice(x, 1, i, i), y) or 0 / 0
    all[i] = y and scope:keep(y) or false
  end
  return core.tensor(list), all
end

local reported = { order = 56 }

local OBSERVATIONS, ONE_IN, DRAWS = 16, 100, 40 -- of an evaluation: so many, or one in so many of its samples
local LOW, MANY = 0.05, 0.25

function reported.add(state, batch, run)
  if state.p or type(run.model.posterior) ~= "function" then return end
  local n = math.min(OBSERVATIONS, run.o.samples // ONE_IN, batch.measured.shape[1])
  if n < 1 then return end
  local told = noise.told(batch.levels, 1, n)
  local p = predictive_check(run.model, core.slice(batch.measured, 1, 1, n), { draws = DRAWS,
    noise = told and told.noise, seed = run.o.seed })
  state.p = p:totable()
end

function reported.start() return {} end

function reported.measure(_, state, r)
  if not state.p then return end
  local low, n = 0, 0
  for _, p in ipairs(state.p) do
    if p == p then low, n = low + (p < LOW and 1 or 0), n + 1 end
  end
  if n == 0 then return end
  r.predictive = { p = state.p, low = low / n, samples = n }
  if low >= 3 and low / n > MANY then
    r.warnings[#r.warnings + 1] = string.format("Draws of the posterior do not reproduce their outputs: in %d of %d "
      .. "posterior predictive checks the output is unlike the simulator's for draws of its posterior (p below 0.05). "
      .. "More training steps or simulations help, or another posterior (\"flow\").", low, n)
  end
end

function reported.numbers(r)
  return { predictive = r.predictive and { low = r.predictive.low, samples = r.predictive.samples } }
end

function reported.cards(r, add)
  local c = r.predictive
  if not c then return end
  add("Posterior predictive checks", string.format("%d of %d", math.floor(c.low * c.samples + 0.5), c.samples),
    page.grade(c.low, 0.1, MANY), "Outputs that are unlike what the simulator gives for draws of their posterior (p "
    .. "below 0.05). A right posterior has at most one in twenty.")
end

return { compute = predictive_check, reported = reported }
