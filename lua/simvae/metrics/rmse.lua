--- Root mean square error of each parameter.
--
-- Definition: sqrt(mean (z_k - v_k)²), in the parameter's units, and the same as a
-- share of the parameter's range. A periodic parameter's error is taken modulo
-- its period. For a parameter on a log scale the share is that of ln z - ln v in
-- ln high - ln low, since errors of such a parameter are factors. For reference: the
-- constant middle of a uniform parameter gives a share of 0.289 (1 / sqrt 12).
--
-- Under a declared symmetry sv.evaluate compares an estimate with the equivalent of the true parameters that is nearest
-- to it (simvae.simulator.symmetry).
--
-- Known weaknesses: dominated by the worst samples; for a one-to-many inverse it is large
-- even if every estimate reproduces the output; for categorical columns the size of
-- the error means little (see metrics.accuracy).
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local parameters = require "simvae.simulator.parameters"

local options = check.declare("metrics.rmse", {
  low = { "table",
    doc = "lower ends of ranges, by column, { [i] = value } or { name = value }; default: the smallest of v" },
  high = { "table",
    doc = "upper ends of ranges, by column, { [i] = value } or { name = value }; default: the largest of v" },
  period = { "table",
    doc = "periods of columns that are on a circle, in units, by column, { [i] = value } or { name = value }" },
  log = { "table", doc = "{ [i] = true } or { name = true } of columns on a log scale" },
  names = { "table", doc = "names of the columns of v, for messages and results; default: their numbers" },
})

local function one(what, z, v, p)
  local sum, relative = 0, 0
  local range = parameter.range(p)
  for i = 1, #z do
    local d = parameter.difference(p, z[i], v[i])
    sum = sum + d * d
    if p.scale == "log" then
      if z[i] <= 0 or v[i] <= 0 then
        check.fail(4, "rmse: %s is on a log scale and has %g at sample %d", what, math.min(z[i], v[i]), i)
      end
      d = math.log(z[i] / v[i])
    end
    relative = relative + (d / range) ^ 2
  end
  return math.sqrt(sum / #z), math.sqrt(relative / #z)
end

--- Root mean square error of each column.
-- @tparam tensor z (N, K) estimates, in units
-- @tparam tensor v (N, K) true values, in units
-- @tparam[opt] table opts options
-- @treturn table the error of each column, in units
-- @treturn table the same as a share of the range, high - low
-- @raise a column that is not finite; a range that is empty; unequal shapes
-- @usage
-- local absolute, relative = sv.metrics.rmse(model:encode(x), z)
-- print(absolute[1], relative[1])
local function rmse(z, v, opts)
  opts = check.options("rmse", opts, options)
  local K
  z, v, K = matrix.estimates("rmse", z, v, opts.names)
  local by = {}
  for _, name in ipairs { "low", "high", "period", "log" } do
    by[name] = matrix.per_column("rmse", name, opts[name], K, opts.names)
  end
  local zs, vs, absolute, relative = matrix.columns(z), matrix.columns(v), {}, {}
  for k = 1, K do
    local low, high = math.huge, -math.huge
    for _, x in ipairs(vs[k]) do low, high = math.min(low, x), math.max(high, x) end
    low, high = by.low[k] or low, by.high[k] or high
    if low >= high then
      check.fail(2, "rmse: %s of v has no range (%g to %g); give low and high", matrix.column(opts.names, k), low, high)
    end
    absolute[k], relative[k] = one(matrix.column(opts.names, k), zs[k], vs[k],
      { low = low, high = high, period = by.period[k], scale = by.log[k] and "log" or "linear" })
  end
  return absolute, relative
end

local reported = { order = 30 }

-- The parameter of the largest error, and its share of the range.
local function largest(by)
  local name, value
  for k, v in pairs(by or {}) do
    if not value or v > value then name, value = k, v end
  end
  return name, value
end

function reported.measure(run, _, r)
  local range = { names = run.names, low = {}, high = {}, period = {}, log = {} }
  for i, p in ipairs(run.params) do
    local ends = p.axis or p
    range.low[i], range.high[i], range.period[i], range.log[i] = ends.low, ends.high, p.period, p.scale == "log"
  end
  local absolute, relative = rmse(core.tensor(run.positive), core.tensor(run.nearest), range)
  r.rmse, r.rmse_relative = parameters.by_name(run.params, absolute), parameters.by_name(run.params, relative)
  if run.nearest ~= run.z then
    r.rmse_unaligned = parameters.by_name(run.params, (rmse(core.tensor(run.positive), core.tensor(run.z), range)))
  end
end

function reported.numbers(r)
  return { rmse = r.rmse, rmse_relative = r.rmse_relative, rmse_unaligned = r.rmse_unaligned }
end

function reported.cards(r, add)
  local name, share = largest(r.rmse_relative)
  add("Largest parameter error", page.percent(share), page.grade(share, 0.03, 0.08), string.format("Root mean square "
    .. "error of '%s', the worst parameter, as a share of its range%s. Good up to 3%%, fair up to 8%%; a constant "
    .. "estimate of a uniform parameter has 29%%.", name or "?",
    r.rmse_unaligned and ", from the nearest equivalent of the true parameters" or ""))
end

reported.parameter = {
  titles = { "RMSE", "of range", "" },
  cells = function(r, p)
    local share = r.rmse_relative and r.rmse_relative[p.name]
    return { page.number(r.rmse and r.rmse[p.name], 3), page.percent(share), page.mark(page.grade(share, 0.03, 0.08)) }
  end,
}

function reported.measures(n)
  local _, share = largest(n.rmse_relative)
  return { { "rmse", share, title = "largest RMSE (share of range)", digits = 3, smaller_is_better = true,
    table = true } }
end

return { compute = rmse, reported = reported, largest = largest }
