--- Rows of each matrix of a batch, by their numbers.
local core = require "simvae.core"

--- @tparam tensor t (N, A, w)
-- @tparam tensor index (N, n) whole numbers from 1 to A, or (N,) for one row of each
-- @treturn tensor (N, n, w)
return function(t, index)
  local N, n, w = t.shape[1], index.shape[2] or 1, t.shape[3]
  return core.gather(t, core.expand(core.reshape(index, N, n, 1), N, n, w), 2)
end
