--- Accuracy: the share of correctly classified samples.
--
-- Definition: estimates and true values are rounded to the nearest class and compared.
--
-- Known weakness: with unbalanced classes, predicting the most frequent one scores high.
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local page = require "simvae.report.page"

--- Share of correct classes.
-- @tparam tensor z (N, K) estimated classes
-- @tparam tensor v (N, K) true classes
-- @treturn {number,...} of each column, in [0, 1]
-- @raise tensors of unequal shape
-- @usage print(sv.metrics.accuracy(sv.tensor { { 1 }, { 2 }, { 2 } }, sv.tensor { { 1 }, { 2 }, { 3 } })[1])
local function accuracy(z, v)
  local K
  z, v, K = matrix.estimates("accuracy", z, v)
  local zs, vs, shares = matrix.columns(z), matrix.columns(v), {}
  for k = 1, K do
    local right = 0
    for i = 1, #vs[k] do
      if math.floor(zs[k][i] + 0.5) == math.floor(vs[k][i] + 0.5) then right = right + 1 end
    end
    shares[k] = right / #vs[k]
  end
  return shares
end

local reported = { order = 55 }

function reported.measure(run, _, r)
  local shares
  for i, p in ipairs(run.params) do
    if p.levels then
      shares = shares or accuracy(core.tensor(run.mean), core.tensor(run.nearest))
      r.accuracy = r.accuracy or {}
      r.accuracy[p.name] = shares[i]
    end
  end
end

function reported.numbers(r)
  return { accuracy = r.accuracy }
end

function reported.cards(r, add)
  for name, share in pairs(r.accuracy or {}) do
    add("Accuracy of " .. name, page.percent(share), page.grade(share, 0.95, 0.8),
      "Share of correctly classified samples. Good from 95% on, fair from 80%.")
  end
end

return { compute = accuracy, reported = reported }
