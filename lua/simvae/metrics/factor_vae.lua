--- FactorVAE score.
--
-- Definition (Kim and Mnih, "Disentangling by factorising", ICML 2018; sample counts of
-- disentanglement_lib): hold one factor fixed, let all others vary, and find the
-- latent of minimum variance, relative to its variance over all samples. A table from that
-- latent to the factor most often fixed with it is filled by 10,000 such batches of 64;
-- the score is its accuracy on 5,000 further batches.
--
-- Here a batch with factor k fixed is 64 neighbours in the order of factor k among the
-- samples given: "fixed" means within 64 / N of its distribution (0.6% for 10,000). This
-- needs no further runs of the simulator, works for priors with dependent factors (a
-- box's w cannot be fixed while x varies freely), and is exact for categorical factors
-- and grids, whose equal values are adjacent.
--
-- Known weaknesses: chance is 1 / M, not 0; a latent whose error is below those of the
-- others counts in full, so that it saturates at 1 early; other factors in a latent are
-- not detected.
local core = require "simvae.core"
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"

local options = check.declare("metrics.factor_vae", {
  batch = { "integer", default = 64, min = 2, doc = "samples for a vote" },
  train = { "integer", default = 10000, min = 1, doc = "votes that the classifier counts" },
  test = { "integer", default = 5000, min = 1, doc = "votes that it is tested on" },
  seed = { "integer", default = 1, doc = "of the samples" },
  names = { "table", doc = "names of the columns of v, for messages and results; default: their numbers" },
})

-- Sums of each latent and of its square up to each position in the order of factor y.
local function running(zs, y, rng)
  local order = matrix.order(y, rng)
  local sums, squares = {}, {}
  for k, z in ipairs(zs) do
    local s, q = { [0] = 0 }, { [0] = 0 }
    for place, i in ipairs(order) do
      s[place], q[place] = s[place - 1] + z[i], q[place - 1] + z[i] * z[i]
    end
    sums[k], squares[k] = s, q
  end
  return { sums = sums, squares = squares, n = #y }
end

-- The latent of minimum variance in a batch of neighbours.
local function min_variance(order, batch, rng)
  local from = rng:integer(0, order.n - batch)
  local best, smallest = nil, math.huge
  for k, s in ipairs(order.sums) do
    local q = order.squares[k]
    local mean = (s[from + batch] - s[from]) / batch
    local variance = (q[from + batch] - q[from]) / batch - mean * mean
    if variance < smallest then best, smallest = k, variance end
  end
  return best
end

--- FactorVAE score.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M)
-- @tparam[opt] table opts options
-- @treturn number in [0, 1]; chance is 1 / M
-- @treturn table number of the factor that each latent stands for, false for latents that never varied least
-- @raise tensors that are not matrices of equal numbers of rows, unknown options
-- @usage
-- local truth = ring:sample(1000, sv.rng(1))
-- print((sv.metrics.factor_vae(truth, truth, { train = 500, test = 200 })))
local function factor_vae(z, v, opts)
  opts = check.options("factor_vae", opts, options)
  z, v = matrix.scored("factor_vae", z, v, opts.names)
  local n, K, M = z.shape[1], z.shape[2], v.shape[2]
  if n < 10 * opts.batch then
    check.fail(2, "factor_vae: %d samples are too few for batches of %d; give at least %d", n, opts.batch,
      10 * opts.batch)
  end
  local rng = core.rng(opts.seed)
  local zs, numbers = {}, {} -- standardised; a constant latent takes no part
  for k, c in ipairs(matrix.columns(z)) do
    local mean, square, s = 0, 0, {}
    for _, x in ipairs(c) do mean = mean + x / n end
    for _, x in ipairs(c) do square = square + (x - mean) ^ 2 / n end
    if square > 1e-12 * mean * mean then
      for i, x in ipairs(c) do s[i] = (x - mean) / math.sqrt(square) end
      zs[#zs + 1], numbers[#numbers + 1] = s, k
    end
  end
  local meaning = {}
  for k = 1, K do meaning[k] = false end
  if #zs == 0 then return 0, meaning end
  local orders, votes = {}, {}
  for j, y in ipairs(matrix.columns(v)) do orders[j] = running(zs, y, rng) end
  for k = 1, #zs do
    votes[k] = {}
    for j = 1, M do votes[k][j] = 0 end
  end
  for _ = 1, opts.train do
    local j = rng:integer(1, M)
    local k = min_variance(orders[j], opts.batch, rng)
    votes[k][j] = votes[k][j] + 1
  end
  local stands = {}
  for k, row in ipairs(votes) do
    local best = 1
    for j = 2, M do
      if row[j] > row[best] then best = j end
    end
    stands[k] = best
    meaning[numbers[k]] = row[best] > 0 and best
  end
  local right = 0
  for _ = 1, opts.test do
    local j = rng:integer(1, M)
    if stands[min_variance(orders[j], opts.batch, rng)] == j then right = right + 1 end
  end
  return right / opts.test, meaning
end

return { compute = factor_vae }
