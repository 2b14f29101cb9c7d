--- Bootstrap interval of the mutual information gap and matrix.
--
-- Definition: samples are resampled with replacement, many times; the quantiles of
-- the replicates about their mean, centred at the estimate, are the interval (Efron and Tibshirani, "An introduction
-- to the bootstrap", 1993). The recentring is needed because a resample holds each row several times, which raises
-- every plug-in mutual information by about as much as its bias.
--
-- Known weaknesses: it is the spread due to the finite number of samples, not to
-- training (another seed), nor the estimator's bias (see chance).
local core = require "simvae.core"
local check = require "simvae.util.check"
local information = require "simvae.metrics.support.information"
local matrix = require "simvae.metrics.support.matrix"
local mim = require "simvae.metrics.mim".compute
local mig = require "simvae.metrics.mig".compute
local quantile = require "simvae.util.quantile"

local function around(estimate, values, tail)
  table.sort(values)
  local mean = 0
  for _, x in ipairs(values) do mean = mean + x / #values end
  local function bound(p) return math.min(1, math.max(0, estimate + quantile.interpolated(values, p) - mean)) end
  return bound(tail), bound(1 - tail)
end

local own_options = information.declare("metrics.interval", {
  repeats = { "integer", default = 200, min = 20, doc = "resamples of the rows" },
  seed = { "integer", default = 1, doc = "of the resamples" },
  level = { "number", default = 0.95, min = 0.5, max = 0.999, doc = "share of the resamples within the interval" },
})

--- Bootstrap interval.
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M)
-- @tparam[opt] table opts options: those of metrics.mim as well
-- @treturn table {mig = {low, high}, low = (K, M), high = (K, M)}
-- @raise tensors that are not matrices of equal numbers of rows, unknown options
-- @usage print(sv.metrics.interval(model:encode(x), z, { repeats = 20, bins = 8 }).mig[1])
local function interval(z, v, opts)
  local rest = matrix.options("interval", opts)
  local own = check.options("interval", { repeats = rest.repeats, seed = rest.seed, level = rest.level }, own_options)
  rest.repeats, rest.seed, rest.level = nil, nil, nil
  z, v = matrix.pair("interval", z, v)
  local estimate = mim(z, v, rest)
  local rng, n, K, M = core.rng(own.seed), z.shape[1], z.shape[2], v.shape[2]
  local gaps, entries = {}, {}
  for i = 1, K * M do entries[i] = {} end
  rest.constant = "zero" -- a resample may miss all but one value of a rare column
  for r = 1, own.repeats do
    local scope <close> = core.scope()
    rest.rows_z = rng:uniform(1, n + 1, { n }):clamp(1, n)
    rest.rows_v = rest.rows_z
    local m = mim(z, v, rest)
    gaps[r] = mig(m)
    for i, row in ipairs(m:totable()) do
      for j, x in ipairs(row) do entries[(i - 1) * M + j][r] = x end
    end
  end
  local tail = (1 - own.level) / 2
  local low, high = core.zeros(K, M), core.zeros(K, M)
  for i = 1, K do
    for j = 1, M do
      local a, b = around(estimate:get(i, j), entries[(i - 1) * M + j], tail)
      low:set(a, i, j)
      high:set(b, i, j)
    end
  end
  return { mig = { around(mig(estimate), gaps, tail) }, low = low, high = high }
end

return { compute = interval }
