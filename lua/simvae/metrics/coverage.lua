--- Coverage: how often the truth lies within the predicted uncertainty.
--
-- Definition: the share of samples whose true parameter lies within one and within two predicted standard deviations
-- of the estimate. A calibrated normal posterior has 0.683 and 0.954. A periodic parameter's error is taken modulo its
-- period; that of a parameter on a log scale is ln v - ln z, against std / z.
--
-- Known weaknesses: coverage alone does not reward a sharp posterior (the prior itself is covered); it misses
-- errors that cancel over the range; and it assumes that mean and standard deviation describe the posterior, which is
-- wrong for several modes.
local core = require "simvae.core"
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"
local parameter = require "simvae.simulator.parameter"
local page = require "simvae.report.page"

local options = check.declare("metrics.coverage", {
  period = { "table",
    doc = "periods of columns that are on a circle, in units, by column, { [i] = value } or { name = value }" },
  log = { "table", doc = "{ [i] = true } or { name = true } of columns on a log scale" },
  names = { "table", doc = "names of the columns of v, for messages and results; default: their numbers" },
})

local NORMAL = 0.683 -- of a normal distribution within one standard deviation

--- Shares of samples within one and two standard deviations.
-- @tparam tensor z (N, K) estimates, in units
-- @tparam tensor std (N, K) predicted standard deviations, in the same units
-- @tparam tensor v (N, K) true values, in units
-- @tparam[opt] table opts options
-- @treturn {number,...} the share within one standard deviation, of each column
-- @treturn {number,...} within two
-- @raise tensors of unequal shape
-- @usage
-- local mean, std = model:encode(x)
-- local one, two = sv.metrics.coverage(mean, std, z)
-- print(one[1], two[1])
local function coverage(z, std, v, opts)
  opts = check.options("coverage", opts, options)
  local K
  z, v, K = matrix.estimates("coverage", z, v, opts.names)
  std = matrix.check("coverage", "std", std)
  if check.shape_text(std.shape) ~= check.shape_text(z.shape) then
    check.fail(2, "coverage: std has shape %s, z has %s; they must agree", check.shape_text(std.shape),
      check.shape_text(z.shape))
  end
  matrix.check_finite("coverage", "std", std, opts.names)
  local period = matrix.per_column("coverage", "period", opts.period, K, opts.names)
  local log = matrix.per_column("coverage", "log", opts.log, K, opts.names)
  local zs, stds, vs, one, two = matrix.columns(z), matrix.columns(std), matrix.columns(v), {}, {}
  for k = 1, K do
    local a, b, n, p = 0, 0, #vs[k], { period = period[k] }
    for i = 1, n do
      local d, width = parameter.difference(p, vs[k][i], zs[k][i]), stds[k][i]
      if log[k] and zs[k][i] > 0 then d, width = math.log(vs[k][i] / zs[k][i]), width / zs[k][i] end
      d = math.abs(d)
      if d <= width then a = a + 1 end
      if d <= 2 * width then b = b + 1 end
    end
    one[k], two[k] = a / n, b / n
  end
  return one, two
end

local reported = { order = 50 }

function reported.measure(run, _, r)
  local by, one, two, n = {}, 0, 0, 0
  local settings = { names = run.names, period = {}, log = {} }
  for i, p in ipairs(run.params) do settings.period[i], settings.log[i] = p.period, p.scale == "log" or nil end
  local first, second = coverage(core.tensor(run.mean), core.tensor(run.std), core.tensor(run.nearest), settings)
  for i, p in ipairs(run.params) do
    if not p.levels then
      by[p.name] = { one = first[i], two = second[i] }
      one, two, n = one + first[i], two + second[i], n + 1
    end
  end
  if n > 0 then r.coverage = { one = one / n, two = two / n, by = by } end
end

function reported.numbers(r)
  return { coverage = r.coverage }
end

function reported.cards(r, add)
  if not r.coverage then return end
  add("Predicted uncertainty", page.percent(r.coverage.one), page.grade(math.abs(r.coverage.one - NORMAL), 0.1, 0.25),
    string.format("Share of true parameters within one standard deviation of the estimate (normal distribution: 68%%); "
      .. "within two: %s (95%%). Good within 10 points of 68%%, fair within 25. Lower: overconfident; higher: "
      .. "underconfident.", page.percent(r.coverage.two)))
end

reported.parameter = {
  titles = { "within 1 σ" },
  cells = function(r, p)
    local cover = r.coverage and r.coverage.by and r.coverage.by[p.name]
    return { page.percent(cover and cover.one) }
  end,
}

function reported.measures(n)
  return { { "coverage", n.coverage and n.coverage.one, title = "within one standard deviation", digits = 3 } }
end

return { compute = coverage, reported = reported }
