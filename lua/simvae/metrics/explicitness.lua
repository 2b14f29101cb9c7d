--- Explicitness: can factors be predicted linearly from all latents?
--
-- Definition: Ridgeway and Mozer (NeurIPS 2018) take the ROC area of a logistic
-- regression for each class of a discrete factor. For continuous factors, which have no
-- classes, the counterpart used here is the R² of linear least squares from all latents
-- together on held-out samples (every second one), not below 0, averaged over factors.
--
-- Known weaknesses: a nonlinear or periodic function of a factor is not explicit, though
-- no information is lost; for categorical factors the score depends on the numbering of
-- the classes: exclude them.
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"

-- Rows of standard scores of every second sample from `first` on, and a column of ones on request.
local function standard(t, first, ones)
  t = matrix.near_one(t)
  local n, mean, std = t.shape[1], core.mean(t, 1), core.sqrt(core.var(t, 1))
  local s = core.slice((t - mean) / core.clamp(std, 1e-30, math.huge), 1, first, n, 2) -- zeros where it is constant
  return ones and core.concat({ s, core.ones(s.shape[1], 1) }, 2) or s
end

local options = check.declare("metrics.explicitness", {
  names = { "table", doc = "names of the columns of v, for messages and results; default: their numbers" },
})

--- Explicitness.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M) continuous factors
-- @tparam[opt] table opts options
-- @treturn number in [0, 1]
-- @treturn table R² of each factor
-- @raise tensors that are not matrices of equal numbers of rows
-- @usage print(sv.metrics.explicitness(model:encode(x), z))
local function explicitness(z, v, opts)
  opts = check.options("explicitness", opts, options)
  z, v = matrix.scored("explicitness", z, v, opts.names)
  local n, K = z.shape[1], z.shape[2]
  if n < 4 * (K + 1) then
    check.fail(2, "explicitness: %d samples are too few for %d latents; give at least %d", n, K, 4 * (K + 1))
  end
  local linalg = require "simvae.linalg" -- loads OpenBLAS
  -- minimum-norm solution, for redundant latents
  local weights = linalg.lstsq(standard(z, 1, true), standard(v, 1), { rcond = 1e-6 })
  local truth = standard(v, 2)
  local off = core.mean(core.square(core.matmul(standard(z, 2, true), weights) - truth), 1)
  local unexplained = (off / core.var(truth, 1, false, 0)):totable()
  local scores, total = {}, 0
  for j, share in ipairs(unexplained) do
    scores[j] = math.max(0, 1 - share)
    total = total + scores[j]
  end
  return total / #scores, scores
end

return { compute = explicitness }
