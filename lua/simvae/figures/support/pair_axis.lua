--- Axes of a corner plot. A coordinate is a value on a linear axis, the decimal logarithm of one on a log scale, the
-- value of a circle unwrapped about the mean direction of its samples, and the number of a class.
local output = require "simvae.figures.support.output"
local parameter = require "simvae.simulator.parameter"
local quantile = require "simvae.util.quantile"

local pair_axis = {}

local OUTER = 0.002   -- share of samples beyond each end of an axis
local TAIL = 0.6      -- of the range of the central 95%: what is shown beyond them, at most
local MARGIN = 0.06   -- of an axis, on either side
local END = 0.04      -- of an axis: tics nearer to an end have no number, which would touch the next panel's

-- The range that holds most of the lists, and the truth.
local function range_of(lists, coordinate, truth)
  local low, high = math.huge, -math.huge
  for _, list in ipairs(lists) do
    local sorted = {}
    for i, v in ipairs(list) do sorted[i] = coordinate(v) end
    table.sort(sorted)
    local function at(q) return quantile.nearest(sorted, q) end
    local reach = TAIL * (at(0.975) - at(0.025)) -- a heavy tail goes on beyond the plot
    low = math.min(low, math.max(at(OUTER), at(0.025) - reach))
    high = math.max(high, math.min(at(1 - OUTER), at(0.975) + reach))
  end
  if truth then low, high = math.min(low, coordinate(truth)), math.max(high, coordinate(truth)) end
  if high <= low then
    local around = math.max(math.abs(low) * 1e-3, 1e-6)
    low, high = low - around, high + around
  end
  return low, high
end

--- The axis of a parameter.
-- @tparam table p name, and where they are known unit, low, high, scale, period, levels
-- @tparam {table,...} lists of samples, in units
-- @tparam ?number truth
-- @tparam integer K parameters of the plot
-- @treturn table param, low, high, cells, smooth; coordinate(v); value(coordinate); shown(v): within the period
function pair_axis.new(p, lists, truth, K)
  local axis = { param = p, cells = K <= 4 and 44 or 32, smooth = 2 }
  local centre = p.period and parameter.direction(p, lists[1])
  axis.value = function(c) return p.scale == "log" and 10 ^ c or c end
  axis.shown = function(v) return parameter.wrap(p, v) end
  axis.coordinate = function(v)
    if p.scale == "log" then return math.log(math.max(v, p.low and (p.axis or p).low * 1e-3 or 1e-300), 10) end
    return p.period and centre + parameter.difference(p, v, centre) or v
  end
  if p.levels then
    axis.low, axis.high, axis.cells, axis.smooth = 0.5, p.levels + 0.5, p.levels, 0
    return axis
  end
  local low, high = range_of(lists, axis.coordinate, truth)
  local margin = MARGIN * (high - low)
  axis.low, axis.high = low - margin, high + margin
  if p.low and not p.period then -- no more than the prior's support
    axis.low = math.max(axis.low, math.min(low, axis.coordinate(p.low)))
    axis.high = math.min(axis.high, math.max(high, axis.coordinate(p.high)))
  end
  return axis
end

-- Places of about n tics of a linear axis.
local function linear(axis, n)
  local step, list = output.step(axis.high - axis.low, n), {}
  for k = math.ceil(axis.low / step), math.floor(axis.high / step) do list[#list + 1] = k * step end
  return list
end

-- Places of tics of a logarithmic axis, as coordinates: powers of ten, with 2 and 5 of a short range.
local function logarithmic(axis, n)
  local decades, list = axis.high - axis.low, {}
  local steps = decades < 1.2 and { 1, 2, 5 } or decades < 2.2 and { 1, 3 } or { 1 }
  local every = math.max(1, math.ceil(decades / n))
  for k = math.floor(axis.low), math.ceil(axis.high) do
    for _, m in ipairs(steps) do
      local at = k + math.log(m, 10)
      if k % every == 0 and at >= axis.low and at <= axis.high then list[#list + 1] = at end
    end
  end
  if #list >= 2 then return list end
  list = {} -- less than half a decade
  local step = output.step(10 ^ axis.high - 10 ^ axis.low, n)
  for k = math.ceil(10 ^ axis.low / step), math.floor(10 ^ axis.high / step) do
    list[#list + 1] = math.log(k * step, 10)
  end
  return list
end

--- The list of tics as gnuplot takes it.
-- @tparam table axis
-- @tparam integer n about so many
-- @tparam boolean labelled whether the numbers are written
-- @treturn string
function pair_axis.tics(axis, n, labelled)
  local list, parts, p, ends = {}, {}, axis.param, END * (axis.high - axis.low)
  if p.levels then
    for c = 1, p.levels, math.max(1, math.ceil(p.levels / (2 * n))) do list[#list + 1] = c end
  else
    list = p.scale == "log" and logarithmic(axis, n) or linear(axis, n)
  end
  for i, at in ipairs(list) do
    local value = axis.shown(axis.value(at))
    if math.abs(value) < 1e-9 * (axis.high - axis.low) then value = 0 end
    local written = labelled and at > axis.low + ends and at < axis.high - ends
    parts[i] = string.format("%s %.10g", output.quote(written and string.format("%.4g", value) or ""), at)
  end
  return "(" .. (#parts > 0 and table.concat(parts, ", ") or "'' 0") .. ")"
end

return pair_axis
