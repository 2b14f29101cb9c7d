--- Tests of accuracy with random points (TARP): expected coverage of a posterior in all its parameters at once.
--
-- Definition (Lemos, Coogan, Hezaveh and Perreault-Levasseur, ICML 2023): for each simulation a reference point is
-- drawn at random; f is the share of posterior samples nearer to it than the truth is. The posterior is right if f is
-- uniform: the share of simulations with f below alpha, the expected coverage, is alpha. Distances are Euclidean after
-- each parameter is scaled to [0, 1] by the range of the truth; reference points are uniform in that cube. `atc` is the
-- area between expected coverage and alpha above alpha = 1/2 (0: right; below: overconfident; above: too wide), `p` the
-- Kolmogorov-Smirnov probability of f being uniform.
--
-- Known weakness: reference points that do not depend on the output cannot see every fault (a posterior that is the
-- prior passes).
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local uniformity = require "simvae.metrics.support.uniformity"

local options = check.declare("metrics.tarp", {
  seed = { "integer", default = 1, doc = "of the reference points" },
  points = { "integer", default = 20, min = 2, max = 1000, doc = "of the curve" },
})

-- Low ends and sizes of the truth's range, by parameter.
local function ranges(v)
  local low, size = {}, {}
  for k, column in ipairs(matrix.columns(v)) do
    local minimum, maximum = math.huge, -math.huge
    for _, x in ipairs(column) do minimum, maximum = math.min(minimum, x), math.max(maximum, x) end
    low[k], size[k] = minimum, maximum > minimum and maximum - minimum or 1
  end
  return low, size
end

--- Tests of accuracy with random points.
-- @tparam tensor samples (N, L, K) of the posterior of each simulation, in units
-- @tparam tensor v (N, K) the true parameters
-- @tparam[opt] table opts options
-- @treturn table f (N), alpha and coverage (points + 1), atc, d and p (Kolmogorov-Smirnov)
-- @raise unequal numbers of simulations or parameters, numbers that are not finite
-- @usage
-- local r = sv.metrics.tarp(p:sample(50, sv.rng(3)), z)
-- print(r.atc, r.p)
local function tarp(samples, v, opts)
  local o = check.options("tarp", opts, options)
  samples, v = uniformity.check("tarp", samples, v)
  local n, l, k = table.unpack(samples.shape)
  local low, size = ranges(v)
  local references, truth = core.rng(o.seed):uniform(0, 1, { n, k }):totable(), v:totable()
  local function distance(row, reference)
    local sum = 0
    for j = 1, k do sum = sum + ((row[j] - low[j]) / size[j] - reference[j]) ^ 2 end
    return sum
  end
  local f = {}
  for i = 1, n do
    local own, nearer = distance(truth[i], references[i]), 0
    for _, row in ipairs(samples[i]:totable()) do
      if distance(row, references[i]) < own then nearer = nearer + 1 end
    end
    f[i] = (nearer + 0.5) / (l + 1)
  end
  local d = uniformity.supremum(f)
  local result = { f = f, alpha = {}, coverage = {}, d = d, p = uniformity.p_value(d - 0.5 / (l + 1), n), atc = 0 }
  local below = uniformity.counts_below(f, o.points)
  for p = 0, o.points do
    result.alpha[p + 1], result.coverage[p + 1] = p / o.points, p == 0 and 0 or below[p] / n
    if p > o.points / 2 then
      result.atc = result.atc + (result.coverage[p + 1] - result.alpha[p + 1]) / o.points
    end
  end
  return result
end

return { compute = tarp }
