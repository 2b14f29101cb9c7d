--- Each row of a batch several times, one after the other.
local core = require "simvae.core"

--- @tparam tensor t (N, …)
-- @tparam integer M
-- @treturn tensor (N M, …); t itself for M = 1
return function(t, M)
  if M == 1 then return t end
  local N, rest = t.shape[1], table.move(t.shape, 2, t.ndim, 1, {})
  local wide = core.expand(core.reshape(t, N, 1, table.unpack(rest)), N, M, table.unpack(rest))
  return core.reshape(wide, N * M, table.unpack(rest))
end
