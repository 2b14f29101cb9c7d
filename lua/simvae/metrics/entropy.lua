--- Entropy of each column.
--
-- Definition: H(v_j) = - sum p log p over the bins of the mutual information matrix,
-- natural logarithm: what its column j was divided by. A uniform column has ln(bins).
--
-- Known weakness: the plug-in estimate is low by about (bins - 1) / (2 N) (Miller 1955).
local information = require "simvae.metrics.support.information"
local matrix = require "simvae.metrics.support.matrix"

--- Entropy of each column, in nats.
-- @tparam tensor v (N, M)
-- @tparam[opt] table opts options
-- @treturn table M numbers
-- @raise columns that are constant or not finite
-- @usage print(sv.metrics.entropy(z, { bins = 8 })[1])
local function entropy(v, opts)
  v = matrix.check("entropy", "v", v)
  local own = matrix.options("entropy", opts)
  own.z_levels = own.levels
  local _, result = information.matrix("entropy", v, v, own)
  return result
end

return { compute = entropy }
