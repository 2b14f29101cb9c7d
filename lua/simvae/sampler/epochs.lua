--- The order of samples in epochs.
local core = require "simvae.core"

--- A permutation of 1 … count for each epoch, a function of the seed.
-- @tparam integer seed
-- @tparam integer count
-- @treturn function (epoch from 0, position from 1) -> index 1 … count; the last epoch's order is cached
-- @treturn function (epoch) -> its order, a tensor (count,)
return function(seed, count)
  local now, order, list
  local function order_of(epoch)
    if now ~= epoch then now, order, list = epoch, core.buffer(core.rng(seed):at(epoch + 1):permutation(count)), nil end
    return order
  end
  return function(epoch, place)
    order_of(epoch)
    list = list or order:totable()
    return math.tointeger(list[place])
  end, order_of
end
