--- Separated attribute predictability.
--
-- Definition (Kumar, Sattigeri and Balakrishnan, "Variational inference of
-- disentangled latent concepts from unlabeled observations", ICLR 2018): S_ij is the
-- predictability of factor j from latent i alone: for a continuous factor the squared
-- correlation (as disentanglement_lib with continuous_factors = true), for a
-- categorical one the balanced accuracy of a linear rule on held-out samples, here the
-- nearest class mean. SAP is the mean over factors of the gap between the two largest.
--
-- Known weaknesses: it is linear (a nonlinear or periodic function of a factor scores
-- low); like MIG it falls where factors depend on each
-- other, and mixes accuracy with separation; accuracies do not start at 0.
local core = require "simvae.core"
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"

local ROUNDING = 1e-13 -- a variance of less, as a share of the mean's square, is rounding

-- Squared correlation; 0 where either is constant.
local function correlation(x, y)
  local n, mx, my = #x, 0, 0
  for i = 1, n do mx, my = mx + x[i], my + y[i] end
  mx, my = mx / n, my / n
  local xx, xy, yy = 0, 0, 0
  for i = 1, n do
    local a, b = x[i] - mx, y[i] - my
    xx, xy, yy = xx + a * a, xy + a * b, yy + b * b
  end
  -- constant up to the rounding of single precision
  if xx <= ROUNDING * n * mx * mx or yy <= ROUNDING * n * my * my then return 0 end
  return xy * xy / (xx * yy)
end

-- Balanced accuracy of the nearest class mean: fitted on the first half, tested on the second.
local function accuracy(x, y)
  local half, sum, count = #x // 2, {}, {}
  for i = 1, half do
    sum[y[i]], count[y[i]] = (sum[y[i]] or 0) + x[i], (count[y[i]] or 0) + 1
  end
  local right, seen = {}, {}
  for i = half + 1, #x do
    local best, minimum = nil, math.huge
    for class, s in pairs(sum) do
      local d = math.abs(x[i] - s / count[class])
      if d < minimum or d == minimum and class < best then best, minimum = class, d end
    end
    seen[y[i]] = (seen[y[i]] or 0) + 1
    if best == y[i] then right[y[i]] = (right[y[i]] or 0) + 1 end
  end
  local total, classes = 0, 0
  for class, n in pairs(seen) do total, classes = total + (right[class] or 0) / n, classes + 1 end
  return total / classes
end

local options = check.declare("metrics.sap", {
  levels = { "table",
    doc = "classes of categorical columns of v, { [i] = n } or { name = n }; default: all columns are continuous" },
  names = { "table", doc = "names of the columns of v, for messages and results; default: their numbers" },
})

--- SAP score.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M)
-- @tparam[opt] table opts options
-- @treturn number in [0, 1]
-- @treturn tensor (K, M) of single predictabilities
-- @raise tensors that are not matrices of equal numbers of rows, unknown options
-- @usage print((sv.metrics.sap(model:encode(x), z)))
local function sap(z, v, opts)
  opts = check.options("sap", opts, options)
  z, v = matrix.scored("sap", z, v, opts.names)
  local levels = matrix.per_column("sap", "levels", opts.levels, v.shape[2], opts.names)
  local zs, vs, scores, sum = matrix.columns(z), matrix.columns(v), {}, 0
  for i = 1, #zs do scores[i] = {} end
  for j, y in ipairs(vs) do
    local first, second = -1, 0
    for i, x in ipairs(zs) do
      local s = levels[j] and accuracy(x, y) or correlation(x, y)
      scores[i][j] = s
      if s > first then
        first, second = s, i > 1 and first or 0
      elseif s > second then
        second = s
      end
    end
    sum = sum + first - second
  end
  return sum / #vs, core.tensor(scores)
end

return { compute = sap }
