--- Draws of classes.
local core = require "simvae.core"

local categorical = {}

--- Class numbers by their probabilities: how many of the cumulative sums lie below a uniform number.
-- @tparam tensor shares (N, n, A), or (N, 1, A) for all n
-- @tparam integer n
-- @tparam rng rng
-- @treturn tensor (N, n) whole numbers from 1
function categorical.draw(shares, n, rng)
  return categorical.of(shares, rng:uniform(0, 1, { shares.shape[1], n, 1 }))
end

--- The same by uniform numbers (N, n, 1) in [0, 1).
function categorical.of(shares, uniform)
  local N, A = shares.shape[1], shares.shape[3]
  local upto = core.zeros(A, A)
  for i = 1, A do
    for j = i, A do upto:set(1, i, j) end
  end
  local sums = core.slice(core.matmul(core.reshape(shares, N * shares.shape[2], A), upto), 2, 1, A - 1)
  sums = core.reshape(sums, N, shares.shape[2], A - 1)
  local above = core.clamp((uniform - sums) * 1e9, 0, 1)
  return core.clamp(core.sum(above, 3) + 1, 1, A)
end

return categorical
