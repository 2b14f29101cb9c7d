--- The networks that give parameters of a distribution from a code.
local nn = require "simvae.nn"

local HIDDEN = 128 -- units of the two hidden layers
local FIRST = 0.01 -- standard deviation of the last layer's initial weights: initially the same for all codes

--- @tparam integer from numbers of a code
-- @tparam integer to numbers given
-- @tparam rng rng
-- @treturn Layer (R, from) -> (R, to)
return function(from, to, rng)
  local function linear(a, b, std) return nn.linear(a, b, { std = std, rng = rng }) end
  return nn.sequential {
    linear(from, HIDDEN, 1 / math.sqrt(from)), nn.silu(), linear(HIDDEN, HIDDEN, math.sqrt(2 / HIDDEN)), nn.silu(),
    linear(HIDDEN, to, FIRST),
  }
end
