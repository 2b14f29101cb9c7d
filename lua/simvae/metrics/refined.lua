--- Errors, re-simulation, IoU and mutual information gap after model:invert, which refines the encoder's estimates by
-- gradient descent through the decoder.
local check = require "simvae.util.check"
local core = require "simvae.core"
local gap_of = require "simvae.metrics.support.gap"
local iou = require "simvae.metrics.iou"
local page = require "simvae.report.page"
local parameters = require "simvae.simulator.parameters"
local rerun = require "simvae.metrics.support.rerun"
local resimulation = require "simvae.metrics.resimulation"
local rmse = require "simvae.metrics.rmse"
local simulator = require "simvae.simulator"
local symmetry = require "simvae.simulator.symmetry"

local options = check.declare("metrics.refined", {
  samples = { "integer", default = 1000, min = 2,
    doc = "the first samples that are refined, at most as many as there are rows" },
  steps = { "integer", min = 0, doc = "as of model:invert; default 100" },
  lr = { "number", above = 0, doc = "as of model:invert; default 0.1" },
  starts = { "integer", min = 1, doc = "as of model:invert; default 1" },
  spread = { "number", above = 0, doc = "as of model:invert; default 0.3" },
})

local CHUNK = 64 -- samples that are refined at a time
local measured = { resimulation.reported, iou.reported, rmse.reported }

-- The batch for the metrics: outputs of the simulator for the true and for the refined parameters.
local function batch_of(sim, known, x, answer)
  local again, good = rerun.run(sim, answer)
  local seen = x
  if again and good then seen = rerun.rows(x, good) end
  return { x = x, z = known, mean = answer:totable(), again = again, seen = seen, first = 0,
    number = function(i) return good and good[i] or i end }
end

--- Refines estimates from outputs of known parameters, and measures them.
-- @tparam Model model with :invert and .simulator
-- @tparam {table,...} z rows of true parameters, in units
-- @tparam[opt] table opts options
-- @treturn ?table samples, z, mean (N, K), rmse, rmse_relative, resimulation_r2, iou, steps, starts, seconds; nil where
-- the simulator failed on all
-- @raise a value that is not a model, unknown options
-- @usage print(sv.metrics.refined(model, z:totable(), { samples = 4, steps = 5 }).resimulation_r2)
local function refined(model, z, opts)
  local o = check.options("refined", opts, options)
  if type(model) ~= "table" or not simulator.is(model.simulator) then
    check.fail(2, "refined: takes a model first; got %s", check.describe(model))
  end
  local K = #model.simulator.params
  for i, row in ipairs(type(z) == "table" and z or { false }) do
    if type(row) ~= "table" or #row ~= K then
      check.fail(2, "refined: z takes rows of %d true parameters; row %d is %s", K, i, check.describe(row))
    end
  end
  local sim, started = model.simulator, core.system.clock()
  local n = math.min(o.samples, #z)
  local run = { model = model, sim = sim, params = sim.params, names = sim.names, errors = {}, z = {}, positive = {} }
  local states = {}
  for i, m in ipairs(measured) do states[i] = m.start and m.start(run) end
  for from = 1, n, CHUNK do
    local scope <close> = core.scope()
    local rows = table.move(z, from, math.min(from + CHUNK - 1, n), 1, {})
    local x, good = rerun.run(sim, core.tensor(rows))
    if x then
      local known = {}
      for i = 1, x.shape[1] do known[i] = rows[good and good[i] or i] end
      local batch = batch_of(sim, known, x, (model:invert(x, { steps = o.steps, lr = o.lr, starts = o.starts,
        spread = o.spread, seed = 1, noise = sim.noise_range and sim.noise_range.low })))
      table.move(known, 1, #known, #run.z + 1, run.z)
      table.move(batch.mean, 1, #known, #run.positive + 1, run.positive)
      for i, m in ipairs(measured) do
        if m.add then m.add(states[i], batch, run) end
      end
    end
  end
  if #run.z == 0 then return nil end
  run.nearest = symmetry.declared(sim) and symmetry.align(sim, run.z, run.positive) or run.z
  local result = { samples = #run.z, z = core.tensor(run.z), mean = core.tensor(run.positive), steps = o.steps,
    starts = o.starts }
  for i, m in ipairs(measured) do m.measure(run, states[i], result) end
  result.errors, result.worst = nil, nil
  result.seconds = core.system.clock() - started
  return result
end

local reported = { order = 70, options = options }

function reported.measure(run, _, r)
  local f = run.o.refine and refined(run.model, run.z, run.o.refine)
  if not f then return end
  local bins = run.o.bins
  for _, p in ipairs(run.params) do bins = math.max(bins, p.levels or 0) end
  if f.samples >= bins ^ 2 then -- else metrics.mim refuses
    local scaled = parameters.scaled
    f.mig = gap_of(run, scaled(run.params, f.mean:totable()), scaled(run.params, f.z:totable())).mig
  end
  r.refined = f
end

function reported.numbers(r)
  local f = r.refined
  return { refined = f and { samples = f.samples, steps = f.steps, starts = f.starts, iou = f.iou, mig = f.mig,
    resimulation_r2 = f.resimulation_r2, rmse = f.rmse, rmse_relative = f.rmse_relative, seconds = f.seconds } }
end

function reported.cards(r, add)
  local f = r.refined
  if not (f and f.resimulation_r2) then return end
  local name, share = rmse.largest(f.rmse_relative)
  local value = f.iou and string.format("IoU %.3f", f.iou) or string.format("R² %.4f", f.resimulation_r2)
  add("Refined", value, f.iou and page.grade(f.iou, 0.85, 0.7) or page.grade(f.resimulation_r2, 0.95, 0.8),
    string.format("The same after refinement by gradient descent through the decoder (model:invert), over %d "
      .. "samples: re-simulation R² %.4f, largest error %s ('%s'). %.0f ms a sample.", f.samples, f.resimulation_r2,
      page.percent(share), name or "?", 1000 * f.seconds / f.samples))
end

function reported.measures(n)
  local f = n.refined or {}
  local _, share = rmse.largest(f.rmse_relative)
  return {
    { "refined_r2", f.resimulation_r2, title = "re-simulation R², refined", digits = 4, table = true },
    { "refined_iou", f.iou, title = "IoU, refined", digits = 3, table = true },
    { "refined_mig", f.mig, title = "MIG, refined", digits = 3, table = true },
    { "refined_rmse", share, title = "largest RMSE, refined", digits = 3, smaller_is_better = true, table = true },
  }
end

function reported.line(r)
  return r.refined and r.refined.iou and string.format("(refined IoU %.3f)", r.refined.iou)
end

return { compute = refined, reported = reported }
