--- Mutual information matrix.
--
-- Definition: entry (i, j) is MI(z_i, v_j) / H(v_j), eq. 6 of the SimVAE paper. Both
-- are plug-in estimates: each column is divided into equal-width bins from its
-- minimum to its maximum (20 by default, as in disentanglement_lib), categorical columns
-- by value, and probabilities are relative frequencies; natural logarithm. 0: z_i has no
-- information about v_j; 1: z_i determines the bin of v_j.
--
-- Known weaknesses:
-- * Bias. Independent columns give about (b_z - 1)(b_v - 1) / (2 N H(v)) instead of
--   0: 0.006 for 10,000 samples and 20 bins, 0.06 for 1,000 (Miller 1955). `chance`
--   measures it. Fewer samples than cells (b_z * b_v) are refused.
-- * Sensitivity. A uniform factor known to 2% of its range scores 0.72, to 5% 0.53:
--   a good regression scores low. Read it with RMSE.
-- * Bins depend on the extremes: one outlier in z widens all bins of z.
-- * It sees single columns only: information that two z share jointly is lost.
-- * A one-to-many inverse (polygon, rlc) may be right and score 0.
local information = require "simvae.metrics.support.information"

--- Mutual information of every column of z with every column of v, divided by H(v).
-- @tparam tensor z (N, K): the estimates, such as the encoder's means
-- @tparam tensor v (N, M): the factors
-- @tparam[opt] table opts options
-- @treturn tensor (K, M), entries in [0, 1]
-- @raise a column that is constant, not finite or has more values than classes; too few samples; unequal N
-- @usage print(sv.metrics.mim(model:encode(x), z, { bins = 8 }))
local function mim(z, v, opts)
  local result = information.matrix("mim", z, v, opts)
  return result
end

return { compute = mim }
