--- Mutual information gap.
--
-- Definition (Chen, Li, Grosse and Duvenaud, "Isolating sources of disentanglement
-- in variational autoencoders", 2018, eq. 6): for each factor the gap between the two
-- largest entries of its column of the mutual information matrix, averaged over the
-- factors. 1: one latent tells a factor and no other says anything of it.
--
-- Known weaknesses: it mixes accuracy and separation (less of either lowers it);
-- factors that depend on each other cannot reach 1 (box: 0.82 for the truth itself);
-- which latent holds a factor does not matter, so a swap of two parameters goes
-- unseen; a one-to-many inverse scores 0 even if right; the bias of the two largest
-- entries cancels only in part.
local check = require "simvae.check"
local matrix = require "simvae.matrix"

--- Mutual information gap of a mutual information matrix.
-- @tparam tensor|table mim (K, M) from metrics.mim: a row a latent, a column a factor
-- @treturn number the mean gap, in [0, 1]
-- @treturn table the gap of each factor; with a single latent, its entry itself
local function mig(mim)
  mim = matrix.check("mig", "mim", mim)
  matrix.check_finite("mig", "mim", mim)
  local gaps, sum = {}, 0
  for j, column in ipairs(matrix.columns(mim)) do
    local first, second = -math.huge, 0
    for i, m in ipairs(column) do
      if m < -1e-6 or m > 1 + 1e-6 then
        check.fail(2, "mig: takes a mutual information matrix with entries in [0, 1]; (%d, %d) is %g", i, j, m)
      end
      if m > first then
        first, second = m, i > 1 and first or 0
      elseif m > second then
        second = m
      end
    end
    gaps[j] = first - second
    sum = sum + gaps[j]
  end
  return sum / #gaps, gaps
end

return mig
