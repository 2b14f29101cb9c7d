--- Checks of sv.evaluate's options, before a training as well as before an evaluation.
local check = require "simvae.util.check"
local refined = require "simvae.metrics.refined"

local evaluation = {}

local options = check.declare("evaluate", {
  samples = { "integer", default = 10000, min = 4, doc = "fresh samples of the simulator" },
  bins = { "integer", default = 20, min = 2, max = 1024,
    doc = "of each parameter and each estimate, for mutual information" },
  seed = { "integer", default = 7, doc = "of the samples" },
  batch = { "integer", default = 256, min = 1, doc = "samples that networks take at a time" },
  chance = { "integer", default = 5, min = 0, doc = "shuffles for the chance level; 0: none" },
  calibration = { "integer", default = 500, min = 1, doc = "samples that the posterior's calibration is measured on" },
  interval = { "integer", default = 100, min = 0, doc = "bootstrap resamples for the interval of MIG; 0: none" },
  max_failures = { "number", default = 0.2, min = 0, max = 1,
    doc = "share of samples on which the simulator may fail" },
  factors = { "table",
    doc = "names of the parameters that MIG is averaged over, the others count as noise; default: all" },
  watch = { "function", doc = "called with the number of samples so far, after each batch" },
  refine = { "table", fields = refined.reported.options,
    doc = "refines the first samples by model:invert and measures them as well; default: none" },
})

--- The minimum number of samples with the default number of bins: one for each cell of a pair of columns.
evaluation.min_samples = options.bins.default * options.bins.default

-- Indices of the selected factors.
local function factor_numbers(sim, factors, level)
  local which = {}
  if not factors then
    for i = 1, #sim.params do which[i] = i end
    return which
  end
  for j, name in ipairs(factors) do
    which[j] = sim.index[name]
    if not which[j] then
      check.fail(level, "evaluate: factors names '%s', which is no parameter of '%s'%s", tostring(name), sim.name,
        check.suggestion(name, sim.names))
    end
  end
  if #which == 0 then check.fail(level, "evaluate: factors is empty; leave it out for all") end
  return which
end

local function check_model(model, refine, level)
  local sim = type(model) == "table" and rawget(model, "simulator")
  if not sim or not sim.params or not model.encode or not model.decode then
    check.fail(level, "evaluate: takes a model (sv.model, sv.load), with :encode, :decode and .simulator; got %s",
      check.describe(model))
  end
  if refine and not model.invert then check.fail(level, "evaluate: refine takes a model with :invert") end
  return sim
end

--- Checks a model and options.
-- @param model with :encode, :decode and .simulator
-- @tparam ?table given options of sv.evaluate
-- @tparam ?integer level of the caller that is blamed, as of check.fail (3: of evaluate's)
-- @treturn table options, defaults filled in
-- @treturn {integer,...} numbers of the parameters that MIG is averaged over
-- @raise a value that is not a model, unknown options, names that are not parameters, samples too few for the bins
function evaluation.check(model, given, level)
  level = (level or 3) + 1
  local o = check.options("evaluate", given, options, level)
  if o.refine then o.refine = check.options("evaluate: refine", o.refine, refined.reported.options, level) end
  local sim = check_model(model, o.refine, level)
  local minimum = o.bins * o.bins
  if o.samples < minimum then
    check.fail(level - 1, "evaluate: %d samples are too few for the %d cells of %d bins; give samples = %d or more, or "
      .. "bins = %d", o.samples, minimum, o.bins, minimum, math.max(2, math.floor(math.sqrt(o.samples))))
  end
  return o, factor_numbers(sim, o.factors, level)
end

return evaluation
