--- Posteriors with two modes in a parameter, and changes of the parameter that take one mode to the other.
local data = require "simvae.diagnosis.support.data"
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"
local rerun = require "simvae.metrics.support.rerun"

local modes = {}

local MINOR = 0.15      -- of the draws, in the smaller mode
local VALLEY = 0.06     -- of the draws, in the middle 40% between the means of the modes; of a uniform posterior 20%
local APART = 4         -- standard deviations of a mode, between the means
local STEADY = 0.05     -- of the range: standard deviation of what a change adds
local SNAP = 0.04       -- of the range, between an estimated change and the number that is tried
local TRIED, ENOUGH = 24, 6
local SAME, ABOUT = 1e-3, 2e-2 -- of the outputs' variances: of a number that is tried, of an estimate

local function moments(list, from, to)
  local n, mean, square = to - from + 1, 0, 0
  for i = from, to do mean = mean + list[i] / n end
  for i = from, to do square = square + (list[i] - mean) ^ 2 / n end
  return mean, square
end

-- The split of an ascending list that leaves the smallest variance within its halves (Otsu 1979): the last of the
-- first half; nil: it has no two modes.
local function split(list)
  local n, total, best, at = #list, 0, -1, nil
  for _, v in ipairs(list) do total = total + v end
  local sum = 0
  for i = 1, n - 1 do
    sum = sum + list[i]
    local a, b = sum / i, (total - sum) / (n - i)
    local between = i * (n - i) * (a - b) ^ 2
    if between > best then best, at = between, i end
  end
  if not at or math.min(at, n - at) < MINOR * n then return nil end
  local a, va = moments(list, 1, at)
  local b, vb = moments(list, at + 1, n)
  local low, high, inside = a + 0.3 * (b - a), b - 0.3 * (b - a), 0
  for _, v in ipairs(list) do
    if v > low and v < high then inside = inside + 1 end
  end
  if inside > VALLEY * n or b - a < APART * math.sqrt((va + vb) / 2) then return nil end
  return (list[at] + list[at + 1]) / 2
end

-- Mean rows of the draws on either side of a value of parameter k.
local function centres(params, draws, k, at)
  local sums, counts = { {}, {} }, { 0, 0 }
  for _, row in ipairs(draws) do
    local side = parameter.to_scale(params[k], parameter.positive(params[k], row[k])) <= at and 1 or 2
    counts[side] = counts[side] + 1
    for j, p in ipairs(params) do
      local v = p.levels and row[j] or parameter.to_scale(p, parameter.positive(p, row[j]))
      sums[side][j] = (sums[side][j] or 0) + v
    end
  end
  for side, list in ipairs(sums) do
    for j, p in ipairs(params) do
      local v = list[j] / counts[side]
      list[j] = p.levels and math.floor(v + 0.5) or parameter.from_scale(p, v)
    end
  end
  return sums[1], sums[2]
end

--- The outputs whose posterior has two modes in a parameter that is no circle and no class.
-- @tparam table d of simvae.diagnosis
-- @tparam integer k the parameter's number
-- @treturn {table,...} of each output first and second, rows of parameters
function modes.of(d, k)
  local p, list = d.params[k], {}
  if p.period or p.levels then return list end
  for _, rows in ipairs(d.draws) do
    local values = {}
    for i, row in ipairs(rows) do values[i] = parameter.to_scale(p, parameter.positive(p, row[k])) end
    table.sort(values)
    local at = split(values)
    if at then
      local first, second = centres(d.params, rows, k, at)
      list[#list + 1] = { first = first, second = second }
    end
  end
  return list
end

-- Do outputs stay the same where parameter k of some rows is changed by map(value)?
local function same(d, k, map, tolerance)
  local p, rows, changed = d.params[k], {}, {}
  for _, row in ipairs(d:rows(4 * TRIED)) do
    local image = table.move(row, 1, #row, 1, {})
    image[k] = map(row[k])
    if #rows < TRIED and not parameter.outside(p, image[k]) then
      rows[#rows + 1], changed[#changed + 1] = row, image
    end
  end
  if #rows < ENOUGH then return false end
  local x, failed = d:outputs(rows)
  local y, failed_too = d:outputs(changed)
  local list = data.both(failed, failed_too, #rows)
  if #list < ENOUGH then return false end
  return core.mean(d:differences(rerun.rows(x, list), rerun.rows(y, list))):item() <= tolerance
end

-- Numbers to try near an estimate: those of the bounds, and rounded ones, then the estimate itself.
local function candidates(p, estimate)
  local range, list = p.high - p.low, {}
  local digits = 10 ^ math.floor(math.log(math.max(range, 1e-300), 10) - 1)
  for _, v in ipairs { p.low + p.high, 0, 2 * p.low, 2 * p.high, range / 2, range / 3, range / 4,
    math.floor(estimate / digits + 0.5) * digits, math.floor(estimate / digits * 10 + 0.5) * digits / 10 } do
    if math.abs(v - estimate) <= SNAP * range then list[#list + 1] = { v, SAME } end
  end
  list[#list + 1] = { estimate, ABOUT }
  return list
end

-- Mean and standard deviation of a number of each pair.
local function steady(pairs_of, f)
  local list = {}
  for i, one in ipairs(pairs_of) do list[i] = f(one) end
  local mean, variance = moments(list, 1, #list)
  return mean, math.sqrt(variance)
end

--- A reflection or a shift of a parameter, on a linear scale, that takes one mode to the other and leaves the
-- simulator's output unchanged.
-- @tparam table d of simvae.diagnosis
-- @tparam integer k the parameter's number
-- @tparam {table,...} pairs_of of modes.of
-- @treturn ?string its new value, as Lua: "1 - z.a"; nil: there is none
-- @treturn ?string in words: "reflected about 0.5"
function modes.change(d, k, pairs_of)
  local p = d.params[k]
  if p.scale == "log" then return nil end
  local range = p.high - p.low
  local sum, off = steady(pairs_of, function(one) return one.first[k] + one.second[k] end)
  if off <= STEADY * range then
    for _, c in ipairs(candidates(p, sum)) do
      if same(d, k, function(v) return c[1] - v end, c[2]) then
        return string.format("%.6g - z.%s", c[1], p.name), string.format("reflected about %.4g", c[1] / 2)
      end
    end
  end
  local away, off_away = steady(pairs_of, function(one) return one.second[k] - one.first[k] end)
  if off_away <= STEADY * range then
    for _, c in ipairs(candidates(p, away)) do
      if c[1] > 0 and same(d, k, function(v) return v + c[1] <= p.high and v + c[1] or v - c[1] end, c[2]) then
        return string.format("z.%s + %.6g", p.name, c[1]), string.format("shifted by %.4g", c[1])
      end
    end
  end
end

return modes
