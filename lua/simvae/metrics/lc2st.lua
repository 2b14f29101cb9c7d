--- Local classifier two-sample test (l-C2ST): is the posterior right at one observation?
--
-- Definition (Linhart, Gramfort and Rodrigues, NeurIPS 2023): a classifier d(z, x) learns to tell pairs of true
-- parameters and outputs from pairs of posterior draws and the same outputs. Where the posterior at an observation is
-- right it cannot: the statistic is the mean of (d - 1/2)^2 over posterior draws there. Its distribution under the null
-- is that of classifiers trained on labels that are exchanged at random within each pair; p is the share of these that
-- reach the statistic.
--
-- The classifier is least squares on features: the standardised numbers, products of parameters with each other and
-- with the output's, and random rectified features (Rahimi and Recht 2008); so all permutations are trained at once.
--
-- Known weaknesses: power falls with the number of columns of x: give a summary of large outputs, such as the model's
-- estimates; around an observation with few neighbours among x the classifier extrapolates.
local check = require "simvae.util.check"
local cholesky = require "simvae.util.cholesky"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"

local options = check.declare("metrics.lc2st", {
  permutations = { "integer", default = 200, min = 10, max = 10000,
    doc = "for the distribution of the statistic under equality" },
  features = { "integer", default = 100, min = 0, max = 1000, doc = "random features of the classifier" },
  seed = { "integer", default = 1, doc = "of the features and permutations" },
})

local PRODUCTS = 200 -- with the output's numbers, at most
local RIDGE = 0.02

local function columns_of(t, which)
  local list = {}
  for i, k in ipairs(which) do list[i] = core.slice(t, 2, k, k) end
  return #list == 1 and list[1] or core.concat(list, 2)
end

-- f(z, x) -> features (n, F), of standardised rows.
local function features_of(K, D, o, rng)
  local first, second = {}, {}
  for a = 1, K do
    for b = a, K do first[#first + 1], second[#second + 1] = a, b end
    if K * D <= PRODUCTS then
      for j = 1, D do first[#first + 1], second[#second + 1] = a, K + j end
    end
  end
  local weights = o.features > 0 and rng:normal { K + D, o.features } / math.sqrt(K + D) * 2
  local bias = o.features > 0 and rng:normal { 1, o.features }
  return function(z, x)
    local all = core.concat({ z, x }, 2)
    local pieces = { core.ones(z.shape[1], 1), all, columns_of(all, first) * columns_of(all, second) }
    if weights then pieces[4] = core.relu(core.matmul(all, weights) + bias) end
    return core.concat(pieces, 2)
  end
end

-- Weights (F, columns) of ridge regression of labels on features.
local function regression(phi, labels)
  local n, F = phi.shape[1], phi.shape[2]
  local gram = (core.matmul(core.transpose(phi, 1, 2), phi) / n):totable()
  for i = 1, F do gram[i][i] = gram[i][i] + RIDGE end
  local inverse = core.tensor(cholesky.inverse_factor(gram))
  local right = core.matmul(core.transpose(phi, 1, 2), labels) / n
  return core.matmul(core.transpose(inverse, 1, 2), core.matmul(inverse, right))
end

local function checked(z, samples, x, at, observation)
  z, samples = matrix.pair("lc2st", z, samples, { "z", "samples" }, 4)
  x, at = matrix.check("lc2st", "x", x, 4), matrix.check("lc2st", "at", at, 4)
  if type(observation) == "table" then observation = core.tensor(observation) end
  if getmetatable(observation) ~= core.metatable or observation.count ~= x.shape[2] then
    check.fail(3, "lc2st: observation takes one row of x, %d numbers; got %s", x.shape[2], check.describe(observation))
  end
  local K = z.shape[2]
  if samples.shape[2] ~= K or at.shape[2] ~= K then
    check.fail(3, "lc2st: z, samples and at have a column for each parameter; got %d, %d and %d", K, samples.shape[2],
      at.shape[2])
  end
  if x.shape[1] ~= z.shape[1] then
    check.fail(3, "lc2st: x has %d rows, z has %d; rows of both belong together", x.shape[1], z.shape[1])
  end
  for name, t in pairs { z = z, samples = samples, x = x, at = at } do
    matrix.check_finite("lc2st", name, t, nil, 4)
  end
  return z, samples, x, at, observation:reshape(1, x.shape[2])
end

--- Local classifier two-sample test.
-- @tparam tensor z (N, K) true parameters of simulations
-- @tparam tensor samples (N, K) one draw of the posterior of each simulation
-- @tparam tensor x (N, D) the simulations' outputs, or summaries of them
-- @tparam tensor at (L, K) draws of the posterior of the observation
-- @tparam tensor observation (D,) its output, or summary
-- @tparam[opt] table opts options
-- @treturn number p: the probability of so large a statistic under a right posterior
-- @treturn table statistic, null (permutations)
-- @raise unequal rows or columns, numbers that are not finite
-- @usage
-- local draws = p:sample(1, sv.rng(3)):reshape(-1, 3)
-- local summary = sv.mean(x, { 2, 3 }) -- of the columns of the images
-- print((sv.metrics.lc2st(z, draws, summary, model:posterior(x[1]):sample(200, sv.rng(4))[1], summary[1],
--   { permutations = 20, features = 20 })))
local function lc2st(z, samples, x, at, observation, opts)
  local o = check.options("lc2st", opts, options)
  z, samples, x, at, observation = checked(z, samples, x, at, observation)
  local scope <close> = core.scope()
  local N, rng = z.shape[1], core.rng(o.seed)
  local function standardise(t, by)
    local std = core.clamp(core.sqrt(core.var(by, 1)), 1e-12, math.huge)
    return (t - core.mean(by, 1)) / std
  end
  local both = core.concat({ z, samples }, 1)
  local features = features_of(z.shape[2], x.shape[2], o, rng)
  local seen = standardise(x, x)
  local phi = features(standardise(both, both), core.concat({ seen, seen }, 1))
  local one = core.expand(standardise(observation, x), at.shape[1], x.shape[2])
  local local_phi = features(standardise(at, both), one)
  local signs = core.clamp((rng:uniform(0, 1, { N, o.permutations }) - 0.5) * 1e9, -1, 1)
  signs = core.concat({ core.ones(N, 1), signs }, 2)
  local weights = regression(phi, core.concat({ signs, -signs }, 1))
  local values = core.mean(core.square(core.matmul(local_phi, weights)), 1):totable()
  local statistic, null, reached = values[1] / 4, {}, 0
  for h = 1, o.permutations do
    null[h] = values[h + 1] / 4
    if null[h] >= statistic then reached = reached + 1 end
  end
  return (1 + reached) / (1 + o.permutations), { statistic = statistic, null = null }
end

return { compute = lc2st }
