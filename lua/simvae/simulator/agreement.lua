--- Whether draws of a prior follow a log density.
--
-- If they do, steps of a Markov chain that leaves the density invariant and is reversible (Metropolis et al. 1953)
-- change nothing: each draw and the state that the chain takes from it are exchangeable, and the change of any function
-- is distributed symmetrically about 0. So a sum of the changes over N draws, divided by the root of the sum of their
-- squares, exceeds c with a probability of at most 2 exp(-c^2 / 2) (Efron 1969), whatever N, the density and the
-- function. If they do not, the chain moves the draws towards the density. A constant factor of the density has no
-- effect, and no part of the space is left out: a coordinate is drawn anew from all of its range.
--
-- Functions: of each parameter the share of its prior (parameter.share) and its square about the middle, the products
-- of two shares, and the log density.
local parameter = require "simvae.simulator.parameter"
local streams = require "simvae.util.streams"

local agreement = {}

local DRAWS = 1000
local STEPS, MOST = 6, 16      -- of a chain: one more a parameter, up to so many
local FALSE_ALARM = 1e-9
local WIDTHS = { 0.3, 0.1, 0.03 } -- of local steps, in shares

-- The log density over shares.
local function log_target(params, log_density, row)
  local value = log_density(row)
  for i, p in ipairs(params) do value = value - parameter.log_share_slope(p, row[i]) end
  return value
end

-- A step of a chain from shares u: one coordinate anew, or all by a little, round the ends.
local function propose(u, rng)
  local v = { table.unpack(u) }
  if rng:uniform() < 0.5 then
    v[rng:integer(1, #u)] = rng:uniform()
  else
    local width = rng:choice(WIDTHS)
    for i = 1, #u do v[i] = (u[i] + rng:normal(0, width)) % 1 end
  end
  return v
end

-- The functions of a state.
local function functions(u, value)
  local list = { value }
  for i = 1, #u do
    list[#list + 1] = u[i]
    list[#list + 1] = (u[i] - 0.5) ^ 2
    for j = 1, i - 1 do list[#list + 1] = (u[i] - 0.5) * (u[j] - 0.5) end
  end
  return list
end

-- What the functions stand for, in their order.
local function subjects(params)
  local list = { "its values at the draws" }
  for i, p in ipairs(params) do
    list[#list + 1] = "the mean of '" .. p.name .. "'"
    list[#list + 1] = "the spread of '" .. p.name .. "'"
    for j = 1, i - 1 do list[#list + 1] = string.format("the correlation of '%s' and '%s'", p.name, params[j].name) end
  end
  return list
end

local function row_of(params, u)
  local row = {}
  for i, p in ipairs(params) do row[i] = parameter.from_share(p, u[i]) end
  return row
end

local function text_of(params, row)
  local parts = {}
  for i, p in ipairs(params) do parts[i] = parameter.value_text(p, row[i]) end
  return table.concat(parts, ", ")
end

-- Mean and standard deviation of column k.
local function moments(rows, k)
  local sum, square = 0, 0
  for _, row in ipairs(rows) do sum, square = sum + row[k], square + row[k] ^ 2 end
  local mean = sum / #rows
  return mean, math.sqrt(math.max(0, square / #rows - mean ^ 2))
end

-- Draws and where chains take them: rows in units, and the sums of the changes and of their squares.
local function run(params, draw, log_density)
  local steps, rng = math.min(MOST, STEPS + #params), streams.agreement()
  local before, after, sums, squares = {}, {}, {}, {}
  for n = 1, DRAWS do
    local row, u = draw(rng:at(n), n), {}
    for i, p in ipairs(params) do u[i] = parameter.share(p, row[i]) end
    local value = log_target(params, log_density, row)
    if value == -math.huge then
      return nil, string.format("the prior's draws and its log_density disagree: the density is 0 at the draw %s",
        text_of(params, row))
    end
    before[n], after[n] = row, row
    local first = functions(u, value)
    for _ = 1, steps do
      local v = propose(u, rng)
      local proposed = row_of(params, v)
      local there = log_target(params, log_density, proposed)
      if math.log(rng:uniform()) < there - value then u, value, after[n] = v, there, proposed end
    end
    for k, h in ipairs(functions(u, value)) do
      local d = h - first[k]
      sums[k], squares[k] = (sums[k] or 0) + d, (squares[k] or 0) + d * d
    end
  end
  return { before = before, after = after, sums = sums, squares = squares }
end

--- Compares draws of a prior with a log density.
-- @tparam {table,...} params of a simulator, checked
-- @tparam function draw (rng, number) -> list of values within the bounds
-- @tparam function log_density (list of values) -> number
-- @treturn ?string in what they disagree; nil: in nothing that 1,000 draws tell
function agreement.fault(params, draw, log_density)
  local r, why = run(params, draw, log_density)
  if not r then return why end
  local count, largest, at = #r.sums, 0, nil
  for k = 1, count do
    local t = r.squares[k] > 0 and math.abs(r.sums[k]) / math.sqrt(r.squares[k]) or 0
    if t > largest then largest, at = t, k end
  end
  if largest <= math.sqrt(2 * math.log(2 * count / FALSE_ALARM)) then return nil end
  local means = {}
  for k, p in ipairs(params) do
    local m, s = moments(r.before, k)
    local m2, s2 = moments(r.after, k)
    means[k] = string.format("%s %.4g ± %.4g and %.4g ± %.4g", p.name, m, s, m2, s2)
  end
  return string.format("the prior's draws and its log_density disagree in %s: of %d draws, as drawn and after steps of "
    .. "a Markov chain that keeps the density, %s (by chance once in 10^%d)", subjects(params)[at], DRAWS,
    table.concat(means, ", "), math.floor((largest ^ 2 / 2 - math.log(2 * count)) / math.log(10)))
end

return agreement
