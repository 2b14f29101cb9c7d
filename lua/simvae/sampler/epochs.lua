--- The order of samples in epochs.
local core = require "simvae.core"

--- A permutation of 1 … count for each epoch, a function of the seed.
-- @tparam integer seed
-- @tparam integer count
-- @treturn function (epoch from 0, position from 1) -> index 1 … count; the last epoch's order is cached
return function(seed, count)
  local now, order
  return function(epoch, place)
    if now ~= epoch then
      now, order = epoch, core.rng(seed):at(epoch + 1):permutation(count):totable()
    end
    return math.tointeger(order[place])
  end
end
