--- Re-simulation R².
--
-- Definition: 1 - E||S(E(x)) - x||² / Var(x), Var(x) = E||x - mean x||²: the share of
-- the outputs' variance that the simulator reproduces from the encoder's estimates. 1:
-- every output is reproduced; 0: no better than the mean output; it can be negative.
-- It needs no true parameters and no declared symmetry, so that it applies to
-- one-to-many inverses.
--
-- Known weaknesses: thin or small shapes have little weight, and a shift by a pixel costs
-- a thin shape as much as a large shift; outputs of several units (dB and radians) are
-- dominated by the larger numbers; an inverse may score 1 and return other parameters
-- than those wanted.
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local page = require "simvae.report.page"
local rerun = require "simvae.metrics.support.rerun"
local residual = require "simvae.metrics.support.residual"

local WORST = 12 -- outputs that are kept for the figure of the worst

--- Re-simulation R² of outputs against those re-simulated from the encoder's estimates.
-- @tparam tensor x (N, …) outputs S(z)
-- @tparam tensor y (N, …) S(E(x)), row by row; for more than fits in memory see simvae.metrics.support.residual
-- @treturn number|nil R²; nil if all outputs are the same
-- @raise outputs of unequal shape
-- @usage print(sv.metrics.resimulation(x, ring:run((model:encode(x)))))
local function resimulation(x, y)
  matrix.outputs("resimulation", x, y)
  for name, t in pairs { x = x, y = y } do
    local finite, at = t:finite()
    if not finite then
      check.fail(2, "resimulation: %s is not finite in sample %d", name, (at - 1) // (t.count // t.shape[1]) + 1)
    end
  end
  return residual.new():add(x, y):r2()
end

local reported = { order = 20 }

function reported.start()
  return { again = residual.new(), worst = {} }
end

-- Keeps the outputs of the largest re-simulation errors, in descending order.
local function keep_worst(worst, batch, errors)
  for i, e in ipairs(errors) do
    local at = #worst
    while at > 0 and worst[at].error < e do at = at - 1 end
    if at < WORST then
      table.insert(worst, at + 1, { error = e, x = core.buffer(batch.seen[i]), y = core.buffer(batch.again[i]),
        z = batch.z[batch.number(i)] })
      worst[WORST + 1] = nil
    end
  end
end

function reported.add(state, batch, run)
  if not batch.again then return end
  state.again:add(batch.seen, batch.again)
  local n = batch.seen.shape[1]
  local errors = residual.of_rows(batch.seen:reshape(n, -1), batch.again:reshape(n, -1))
  for i, e in ipairs(errors) do run.errors[batch.first + batch.number(i)] = e end
  keep_worst(state.worst, batch, errors)
end

local function join_worst(worst)
  if #worst == 0 then return nil end
  local x, y, z = {}, {}, {}
  for i, w in ipairs(worst) do x[i], y[i], z[i] = w.x, w.y, w.z end
  return { x = rerun.join(x), y = rerun.join(y), z = core.tensor(z) }
end

function reported.measure(run, state, r)
  r.resimulation_r2 = state.again.count > 0 and state.again:r2() or nil
  r.errors, r.worst = run.errors, join_worst(state.worst)
end

function reported.numbers(r)
  return { resimulation_r2 = r.resimulation_r2 }
end

function reported.cards(r, add)
  add("Re-simulation R²", r.resimulation_r2 and string.format("%.4f", r.resimulation_r2) or "–",
    page.grade(r.resimulation_r2, 0.95, 0.8), "Agreement of the re-simulated outputs, from the encoder's "
    .. "parameters, with the given ones. 1: equal; 0: no better than the mean output. Good from 0.95 on, fair from "
    .. "0.8. It needs no true parameters.")
end

function reported.measures(n)
  return { { "resimulation_r2", n.resimulation_r2, title = "re-simulation R²", digits = 4, table = true } }
end

function reported.line(r)
  return "re-simulation R2 " .. (r.resimulation_r2 and string.format("%.4f", r.resimulation_r2) or "none")
end

return { compute = resimulation, reported = reported }
