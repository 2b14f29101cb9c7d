--- Chance level of the mutual information matrix and its gap.
--
-- Definition: the rows of v are shuffled against those of z, which keeps both
-- distributions and removes all dependence; the matrix and MIG are averaged over several
-- shuffles. The part of a score above this level is not sampling bias (permutation test; Good, "Permutation,
-- parametric and bootstrap tests", 2005).
--
-- Known weaknesses: it is the level of independence, not that of a model that returns
-- the prior's correlations; with few shuffles its spread is imprecise.
local core = require "simvae.core"
local check = require "simvae.util.check"
local information = require "simvae.metrics.support.information"
local matrix = require "simvae.metrics.support.matrix"
local mim = require "simvae.metrics.mim".compute
local mig = require "simvae.metrics.mig".compute

local own_options = information.declare("metrics.chance", {
  repeats = { "integer", default = 20, min = 1, doc = "shuffles" },
  seed = { "integer", default = 1, doc = "of the shuffles" },
})

--- Mutual information matrix and gap of shuffled samples.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M)
-- @tparam[opt] table opts options: those of metrics.mim as well
-- @treturn table {mim = (K, M) mean, mig = mean, mig_std = spread over shuffles}
-- @raise tensors that are not matrices of equal numbers of rows, unknown options
-- @usage print(sv.metrics.chance(model:encode(x), z, { repeats = 5, bins = 8 }).mig)
local function chance(z, v, opts)
  local rest = matrix.options("chance", opts)
  local own = check.options("chance", { repeats = rest.repeats, seed = rest.seed }, own_options)
  rest.repeats, rest.seed = nil, nil
  z, v = matrix.pair("chance", z, v)
  local rng, n = core.rng(own.seed), z.shape[1]
  local total = core.buffer(core.zeros(z.shape[2], v.shape[2]))
  local sum, squares = 0, 0
  for _ = 1, own.repeats do
    local scope <close> = core.scope()
    rest.rows_v = rng:permutation(n)
    local m = mim(z, v, rest)
    local g = mig(m)
    total:copy(core.add(total, m))
    sum, squares = sum + g, squares + g * g
  end
  local mean = sum / own.repeats
  return {
    mim = core.mul(total, 1 / own.repeats),
    mig = mean,
    mig_std = math.sqrt(math.max(0, squares / own.repeats - mean * mean)),
  }
end

return { compute = chance }
