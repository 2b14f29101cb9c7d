--- The prior of a data set beyond its rows: what the sleep phase draws, where the rows would be the same few parameters
-- again and again. Option `prior` of sv.dataset:
--
--     "independent"      each parameter by its own prior (simvae.simulator.marginal; uniform by default)
--     "fitted"           about the rows: a row moved by at most half of the way to, or from, a row near it
--     "rows"             the rows themselves
--     function, table    as of sv.simulator
--
-- Default: "independent" where the rows look so, else "fitted"; "rows" for a complete grid. A column of few different
-- values keeps them.
local check = require "simvae.util.check"
local parameter = require "simvae.simulator.parameter"
local prior = require "simvae.simulator.prior"

local fresh = {}

local NAMES = { "independent", "fitted", "rows" }

local DIFFERENT = 0.5  -- share of different values from which on a column is continuous
local UNIFORM = 1.95   -- largest distance of a column's distribution from its prior, times root n: 1 in 1000
local CLASSES = 4      -- largest excess of chi squared, in its standard deviations
local RELATED = 4.5    -- largest correlation of two columns, times root n
local CANDIDATES = 32  -- rows of which the nearest is taken
local LOOKED_AT = 20000 -- rows

-- ---- what the rows look like ------------------------------------------------------------------

-- Shares of the rows by parameter: nil where a value is outside the bounds.
local function shares_of(params, rows)
  local columns = {}
  for k, p in ipairs(params) do
    columns[k] = {}
    for r, row in ipairs(rows) do
      local u = parameter.share(p, row[k])
      if not u then return nil end
      columns[k][r] = u
    end
  end
  return columns
end

local function is_discrete(p, list)
  if p.levels then return true end
  local seen, count = {}, 0
  for _, v in ipairs(list) do
    if not seen[v] then seen[v], count = true, count + 1 end
  end
  return count < DIFFERENT * #list
end

local function is_uniform(p, list)
  local n = #list
  if p.levels then
    local counts, chi = {}, 0
    for _, u in ipairs(list) do
      local class = math.floor(u * p.levels)
      counts[class] = (counts[class] or 0) + 1
    end
    for class = 0, p.levels - 1 do chi = chi + ((counts[class] or 0) - n / p.levels) ^ 2 / (n / p.levels) end
    return chi < p.levels - 1 + CLASSES * math.sqrt(2 * (p.levels - 1))
  end
  local sorted, distance = table.move(list, 1, n, 1, {}), 0
  table.sort(sorted)
  for i, u in ipairs(sorted) do distance = math.max(distance, math.abs(u - (i - 0.5) / n)) end
  return distance * math.sqrt(n) < UNIFORM
end

-- Correlation of f of one column and g of another.
local function correlation(a, b, f, g)
  local n, sa, sb, aa, bb, ab = #a, 0, 0, 0, 0, 0
  for i = 1, n do
    local x, y = f(a[i]), g(b[i])
    sa, sb, aa, bb, ab = sa + x, sb + y, aa + x * x, bb + y * y, ab + x * y
  end
  local scale = math.sqrt((aa - sa * sa / n) * (bb - sb * sb / n))
  return scale > 0 and (ab - sa * sb / n) / scale or 0
end

local function plain(u) return u end
local function squared(u) return (u - 0.5) ^ 2 end

local function are_related(a, b)
  local limit = RELATED / math.sqrt(#a)
  for _, f in ipairs { plain, squared } do
    for _, g in ipairs { plain, squared } do
      if math.abs(correlation(a, b, f, g)) > limit then return true end
    end
  end
  return false
end

-- Whether rows look like draws of independent parameters, each of its prior.
local function look_independent(params, columns)
  for k, p in ipairs(params) do
    if not p.levels and is_discrete(p, columns[k]) or not is_uniform(p, columns[k]) then return false end
    for j = 1, k - 1 do
      if are_related(columns[j], columns[k]) then return false end
    end
  end
  return true
end

-- ---- draws about the rows -----------------------------------------------------------------------

-- u within [0, 1]: round a circle, else reflected at the ends.
local function inside(p, u)
  if parameter.share_kind(p) == "circle" then return u % 1 end
  u = math.abs(u)
  return u > 1 and 2 - u or u
end

local function about_rows(params, columns)
  local n, discrete = #columns[1], {}
  for k, p in ipairs(params) do discrete[k] = is_discrete(p, columns[k]) end
  local function way(k, i, j)
    local d = columns[k][j] - columns[k][i]
    return parameter.share_kind(params[k]) == "circle" and d - math.floor(d + 0.5) or d
  end
  return function(rng)
    local i, near, least = rng:integer(1, n), nil, math.huge
    for _ = 1, CANDIDATES do
      local j, distance = rng:integer(1, n), 0
      for k = 1, #params do distance = distance + way(k, i, j) ^ 2 end
      if j ~= i and distance < least then near, least = j, distance end
    end
    local t, values = rng:uniform(-0.5, 0.5), {}
    for k, p in ipairs(params) do
      local u = columns[k][i]
      if near and not discrete[k] then u = inside(p, u + t * way(k, i, near)) end
      values[k] = parameter.from_share(p, u)
    end
    return values
  end
end

-- ---- the option -----------------------------------------------------------------------------------

-- The simulator with another prior.
local function with(sim, draw, log_density)
  local copy = prior.copy(sim)
  copy.prior, copy.log_density, copy.fresh = draw, log_density, nil
  return copy
end

-- At most LOOKED_AT rows, evenly.
local function some(rows)
  if #rows <= LOOKED_AT then return rows end
  local list = {}
  for i = 1, LOOKED_AT do list[i] = rows[(i - 1) * #rows // LOOKED_AT + 1] end
  return list
end

--- The data set with the prior that is drawn beyond its rows.
-- @tparam string what whose it is, for messages
-- @tparam Simulator sim the data set
-- @tparam {table,...} rows
-- @param given the option
-- @tparam integer level of sv.dataset's caller
-- @treturn function () -> Simulator, made when it is first asked for
function fresh.of(what, sim, rows, given, level)
  local made
  if type(given) == "function" or type(given) == "table" then
    made = with(sim, given, nil)
    prior.read(what, made, level + 1)
    local ok, why = pcall(prior.check_density, made)
    if not ok then error(why, level + 1) end
  elseif given ~= nil then
    check.value(what, "prior", given, { "string", one_of = NAMES }, level + 2)
  end
  local function make()
    if given == "rows" or given == nil and sim.grid then return sim end
    if given == "independent" then return with(sim, nil, nil) end
    local columns = shares_of(sim.params, some(rows))
    if not columns then return sim end -- rows outside the bounds
    if given == nil and look_independent(sim.params, columns) then return with(sim, nil, nil) end
    return with(sim, about_rows(sim.params, columns), nil)
  end
  return function()
    made = made or make()
    return made
  end
end

return fresh
