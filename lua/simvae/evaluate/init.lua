--- How good an inverse is, on fresh samples of its simulator.
--
--     local r = sv.evaluate(model, { samples = 10000, bins = 20, seed = 7 })
--     print(r.mig, r.truth.mig, r.resimulation_r2, r.rmse.w)
--
-- Every metric with a field `reported` (lua/simvae/metrics) is measured.
local core = require "simvae.core"
local catalogue = require "simvae.util.catalogue"
local content = require "simvae.util.content"
local interrupt = require "simvae.util.interrupt"
local novelty = require "simvae.model.novelty"
local options = require "simvae.evaluate.options"
local run = require "simvae.evaluate.run"

local function evaluate_on(model, o, factors)
  local started, _scope <close> = core.system.clock(), novelty.silenced(model)
  local all = run.new(model, o, factors)
  local measures, states = catalogue.reported "simvae.metrics", {}
  for i, m in ipairs(measures) do states[i] = m.start and m.start(all) end
  local rng, watch = all.rng(), o.watch
  o.watch = nil -- no part of the results
  for from = 1, o.samples, o.batch do
    all:batch(math.min(o.batch, o.samples - from + 1), rng, measures, states)
    if watch then watch(math.min(from + o.batch - 1, o.samples)) end
  end
  all:finish()
  local r = {
    z = core.tensor(all.z), nearest = core.tensor(all.nearest),
    mean = core.tensor(all.mean), std = core.tensor(all.std),
    outside = all.outside / #all.z, samples = #all.z, failures = all.failures, names = all.names, options = o,
    notes = all:notes(), warnings = {},
  }
  if model.focus then
    r.warnings[1] = string.format("The model was trained in %d rounds for one observation. These measures are of the "
      .. "whole prior, most of which it has not learned: they say nothing of its posterior at the observation.",
      model.focus.rounds)
  end
  for i, m in ipairs(measures) do m.measure(all, states[i], r) end
  r.seconds = core.system.clock() - started
  return content(r)
end

--- Evaluates a model on fresh samples.
--
-- Parameters on a log scale are compared by their logarithms in the mutual information
-- (the bins are then as wide in every decade) and in the relative error; classes are
-- rounded. Estimates are moved into the parameters' bounds before the
-- simulator runs on them; `outside` is the share that was moved.
-- @tparam Model model with :encode, :decode and .simulator
-- @tparam[opt] table opts options
-- @treturn table
--   mim (K, K), mig, gaps[name]; chance.mim, chance.mig: of shuffled samples; interval: {low, high} of mig at 95%;
--   truth.mim, truth.mig, truth.chance, truth.interval: the same of the parameters with themselves, each replaced by a
--   random equivalent where the simulator declares a symmetry; truth.plain.mim, truth.plain.mig: without that;
--   orbit: of metrics.orbit_mim; consistent: of metrics.consistent_mim; invariants: of metrics.invariant_mim, where
--   the simulator declares some; iou: mean intersection over union of S(E(x)) with x, of grey images;
--   rmse[name] in units, rmse_relative[name] as a share of the range; accuracy[name] of classes;
--   resimulation_r2, decoder_mse, decoder_r2; outside: share of answers beyond the bounds;
--   coverage: {one = share within 1 std, two = within 2, by = {[name] = {one =, two =}}} (a normal posterior has 0.683
--   and 0.954);
--   calibration: of the posterior, where the model has one (simvae.metrics.calibration): sbc and tarp (as of metrics),
--   coverage: {one = share within the central 68% interval, two = 95%, by = {[name] = {one =, two =}}}, samples, draws;
--   orbit_spread: as of metrics, of 1,000 draws for each of 200 samples, and resimulation_r2 of 100 of these draws,
--   where the exact spread along a continuous symmetry is known; orbit_modes: as of metrics, of 200 draws for each of
--   200 samples, where a finite symmetry is declared;
--   z, mean, std (N, K) in units; nearest (N, K): z, under a declared symmetry each row replaced by its equivalent
--   nearest to the estimate (rmse, coverage and accuracy are of these; rmse_unaligned[name] of z itself);
--   ambiguity: of metrics.ambiguity, where no symmetry is declared; surprise, predictive: of these metrics;
--   errors: each sample's mean squared re-simulation error;
--   worst.x, worst.y, worst.z: the twelve samples with the largest such error, the re-simulated outputs, the
-- parameters;
--   refined: where asked for, of model:invert's estimates: iou, mig (from bins^2 samples on), resimulation_r2, rmse,
--   rmse_relative, z, mean, samples, steps, starts, seconds;
--   samples, failures, seconds, names, notes, warnings (sentences: what cannot be trusted and what
--   to do), options
-- @raise a value that is not a model, answers that are not finite, too few samples, a simulator that fails too often
-- @usage
-- local r = sv.evaluate(model, { samples = 400, calibration = 50, interval = 0 })
-- print(r.mig, r.rmse.x, r.resimulation_r2)
local function evaluate(model, opts)
  local o, factors = options.check(model, opts)
  return interrupt.during("evaluate: interrupted", evaluate_on, model, o, factors)
end

return evaluate
