--- Which parameters cannot be told apart, and what to declare: for simulators that declare no symmetry.
--
-- Of each parameter, the spread: the posterior's standard deviation over the prior's, on the parameter's scale (from
-- the draws of metrics.calibration), and the error of the estimate as a share of the range. Where one is large, changes
-- of the parameters that may leave the output unchanged are tried with the simulator itself, on a few samples:
-- exchanges of parameters of equal declarations (all whose names differ by a number alone, halves of the list,
-- neighbours, pairs), parts of a turn and reflections of periods, reflections of one or two other parameters about the
-- middle of their ranges, and common factors of positive parameters, those along which estimates and draws vary most,
-- first those that treat exchanged parameters alike.
-- What leaves the output unchanged is reported, with the declaration.
--
-- Known weakness: only these changes are found.
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"
local rerun = require "simvae.metrics.support.rerun"
local symmetry = require "simvae.simulator.symmetry"

local SPREAD = 0.35        -- of the prior's: a broad posterior
local ERROR = 0.1          -- of the range
local TRIED, ENOUGH = 24, 6 -- samples of a trial, and how many must stay within the bounds
local SAME = 1e-3          -- of the outputs' variance
local FACTOR = 1.3         -- by which parameters are multiplied
local FACTORS, MOST = 6, 16 -- parameters in a common factor, and combinations that are tried
local ALL = 40             -- the same without draws, which say what varies most
local CORRELATED = 0.8

-- ---- spreads ----------------------------------------------------------------------------------

-- A value on the scale that spreads are measured on.
local function scaled(p, v) return parameter.to_scale(p, parameter.positive(p, v)) end

local function variance(list)
  local mean, total = 0, 0
  for _, v in ipairs(list) do mean = mean + v / #list end
  for _, v in ipairs(list) do total = total + (v - mean) ^ 2 / #list end
  return total
end

-- Standard deviation about the mean direction of a circle, from its resultant length; at most that of a uniform one.
local function circular(p, list)
  local c, s = 0, 0
  for _, v in ipairs(list) do
    local phase = 2 * math.pi * v / p.period
    c, s = c + math.cos(phase) / #list, s + math.sin(phase) / #list
  end
  return math.min(1, math.sqrt(-2 * math.log(math.max(math.sqrt(c * c + s * s), 0.2))) / math.sqrt(-2 * math.log(0.2)))
end

-- The share of draws of a class that are not the most frequent one, over that of a uniform distribution.
local function unsure(p, list)
  local counts, most = {}, 0
  for _, v in ipairs(list) do
    counts[v] = (counts[v] or 0) + 1
    most = math.max(most, counts[v])
  end
  return (1 - most / #list) / (1 - 1 / p.levels)
end

-- The posterior's spread over the prior's, of each parameter: from draws, lists of each sample's rows.
local function spreads(run, draws)
  local result = {}
  for k, p in ipairs(run.params) do
    local total, known = 0, {}
    for i, rows in ipairs(draws) do
      local list = {}
      for s, row in ipairs(rows) do list[s] = p.period and row[k] or p.levels and row[k] or scaled(p, row[k]) end
      total = total + (p.levels and unsure(p, list) or p.period and circular(p, list) or variance(list)) / #draws
      known[i] = scaled(p, run.z[i][k])
    end
    result[k] = (p.levels or p.period) and total or math.sqrt(total / math.max(variance(known), 1e-30))
  end
  return result
end

-- ---- trials -------------------------------------------------------------------------------------

local Trial = {}
Trial.__index = Trial

-- Some samples and their outputs; nil where the simulator fails on one of them.
local function trial(run)
  local rows = table.move(run.z, 1, math.min(TRIED, #run.z), 1, {})
  local x, good = rerun.run(run.sim, core.tensor(rows))
  if not x or good or #rows < ENOUGH then return nil end
  local size = core.mean(core.square(x - core.mean(x, 1, true))):item()
  return setmetatable({ run = run, rows = rows, x = x, size = size }, Trial)
end

-- How far outputs move where map(row) -> row is applied to the parameters: a share of their variance; nil where too few
-- images lie within the bounds, or the simulator fails.
function Trial:difference(map)
  local rows, from = {}, {}
  for i, row in ipairs(self.rows) do
    local image, inside = map(row), true
    for k, p in ipairs(self.run.params) do
      image[k] = parameter.wrap(p, image[k])
      inside = inside and not parameter.outside(p, image[k])
    end
    if inside then rows[#rows + 1], from[#from + 1] = image, i end
  end
  if #rows < ENOUGH then return nil end
  local scope <close> = core.scope()
  local y, good = rerun.run(self.run.sim, core.tensor(rows))
  if not y or good then return nil end
  return core.mean(core.square(y - rerun.rows(self.x, from))):item() / self.size
end

-- Do outputs stay the same?
function Trial:same(map)
  local difference = self:difference(map)
  return difference ~= nil and difference <= SAME
end

-- ---- no effect -----------------------------------------------------------------------------------

-- Leaves out the broad parameters that hardly change the output.
local function find_unused(of, params, broad, found)
  local used = {}
  for k, p in ipairs(params) do
    local i = 0
    used[k] = broad[k] and not of:same(function(row)
      i = i % #of.rows + 1
      local image = table.move(row, 1, #row, 1, {})
      image[k] = of.rows[i % #of.rows + 1][k]
      return image
    end)
    if broad[k] and not used[k] then
      found.unused[k] = true
      found.notes[#found.notes + 1] = string.format("no output depends on '%s', or hardly. Leave it out, or measure "
        .. "something that depends on it.", p.name)
    end
  end
  return used
end

-- ---- exchanges ------------------------------------------------------------------------------------

local function alike(p, q)
  return parameter.mismatch(p, q, true) == nil
end

-- Lists of pairs that are exchanged at once, the largest first.
local function exchanges(params, broad)
  local K, list = #params, {}
  local function offer(pairs_of)
    if #pairs_of == 0 then return end
    for _, pair in ipairs(pairs_of) do
      if not alike(params[pair[1]], params[pair[2]]) then return end
    end
    list[#list + 1] = pairs_of
  end
  local numbered, numbers = {}, {} -- by what follows in the name, then by the number
  for k, p in ipairs(params) do
    local stem, number = p.name:match "^(.-)(%d+)$"
    if stem then
      if not numbered[number] then numbered[number], numbers[#numbers + 1] = {}, number end
      numbered[number][stem] = k
    end
  end
  for a = 1, #numbers do
    for b = a + 1, #numbers do
      local pairs_of = {}
      for k, p in ipairs(params) do
        local stem, number = p.name:match "^(.-)(%d+)$"
        local other = number == numbers[a] and numbered[numbers[b]][stem]
        if other then pairs_of[#pairs_of + 1] = { k, other } end
      end
      offer(pairs_of)
    end
  end
  if K % 2 == 0 then
    local halves, neighbours = {}, {}
    for k = 1, K // 2 do halves[k], neighbours[k] = { k, k + K // 2 }, { 2 * k - 1, 2 * k } end
    offer(halves)
    offer(neighbours)
  end
  for i = 1, K do
    for j = i + 1, K do
      if broad[i] and broad[j] then offer { { i, j } } end
    end
  end
  return list
end

local function exchanged(pairs_of)
  return function(row)
    local image = table.move(row, 1, #row, 1, {})
    for _, pair in ipairs(pairs_of) do image[pair[1]], image[pair[2]] = row[pair[2]], row[pair[1]] end
    return image
  end
end

-- Text of a map's result: what each parameter becomes, changes by number.
local function result_text(params, changes)
  local parts = {}
  for k, p in ipairs(params) do parts[k] = p.name .. " = " .. (changes[k] or "z." .. p.name) end
  return table.concat(parts, ", ")
end

local function find_exchange(of, params, broad, found)
  local seen = {}
  for _, pairs_of in ipairs(exchanges(params, broad)) do
    local new, texts, changes = false, {}, {}
    for _, pair in ipairs(pairs_of) do new = new or not (seen[pair[1]] and seen[pair[2]]) end
    if new and of:same(exchanged(pairs_of)) then
      for i, pair in ipairs(pairs_of) do
        local a, b = params[pair[1]].name, params[pair[2]].name
        texts[i] = string.format("'%s' and '%s'", a, b)
        changes[pair[1]], changes[pair[2]] = "z." .. b, "z." .. a
        seen[pair[1]], seen[pair[2]] = true, true
      end
      found.exchange[#found.exchange + 1] = pairs_of
      found.notes[#found.notes + 1] = string.format("the output stays the same where %s are exchanged. Declare "
        .. "symmetry = { { name = \"exchange\", map = function(z) return { %s } end } }: errors are then those of the "
        .. "nearest equivalent. Or let the prior order them.", table.concat(texts, ", "),
        result_text(params, changes))
    end
  end
end

-- ---- periods ----------------------------------------------------------------------------------------

local function find_turns(of, params, broad, found)
  for k, p in ipairs(params) do
    local function changed(f)
      return function(row)
        local image = table.move(row, 1, #row, 1, {})
        image[k] = f(row[k])
        return image
      end
    end
    if p.period and broad[k] then
      for _, n in ipairs { 6, 5, 4, 3, 2 } do
        if of:same(changed(function(v) return v + p.period / n end)) then
          found.turns[p.name] = n
          local maps = {}
          for i = 1, n - 1 do
            maps[i] = string.format("{ name = \"turn %d\", map = function(z) return { %s } end }", i,
              result_text(params, { [k] = string.format("z.%s + %.6g", p.name, i * p.period / n) }))
          end
          found.notes[#found.notes + 1] = string.format("the output stays the same where '%s' is turned by %.6g%s. "
            .. "Declare symmetry = { %s }, or the period %.6g.", p.name, p.period / n,
            parameter.unit_text(p), table.concat(maps, ", "), p.period / n)
          break
        end
      end
      if of:same(changed(function(v) return 2 * p.low - v end)) then
        found.notes[#found.notes + 1] = string.format("the output stays the same where '%s' is reflected. Declare "
          .. "symmetry = { { name = \"reflection\", map = function(z) return { %s } end } }, or half the range.",
          p.name, result_text(params, { [k] = string.format("%.6g - z.%s", 2 * p.low, p.name) }))
      end
    end
  end
end

-- ---- reflections -----------------------------------------------------------------------------------------

-- Text of a reflection about the middle of a range.
local function mirrored(p)
  if p.scale == "log" then return string.format("%.6g / z.%s", p.low * p.high, p.name) end
  local sum = p.low + p.high
  return sum == 0 and "-z." .. p.name or string.format("%.6g - z.%s", sum, p.name)
end

local function find_reflections(of, params, broad, found)
  local which = {}
  for k, p in ipairs(params) do
    if broad[k] and not (p.levels or p.period or p.prior) then which[#which + 1] = k end
  end
  local function try(...)
    local list, changes, texts = { ... }, {}, {}
    local function map(row)
      local image = table.move(row, 1, #row, 1, {})
      for _, k in ipairs(list) do
        local p = params[k]
        image[k] = p.scale == "log" and p.low * p.high / row[k] or p.low + p.high - row[k]
      end
      return image
    end
    if not of:same(map) then return false end
    for i, k in ipairs(list) do
      local p = params[k]
      changes[k] = mirrored(p)
      texts[i] = string.format("'%s' is reflected about %.4g", p.name,
        p.scale == "log" and math.sqrt(p.low * p.high) or (p.low + p.high) / 2)
    end
    found.notes[#found.notes + 1] = string.format("the output stays the same where %s. Declare symmetry = { { name = "
      .. "\"reflection\", map = function(z) return { %s } end } }, or half the range%s.", table.concat(texts, " and "),
      result_text(params, changes), #list > 1 and " of one of them" or "")
    return true
  end
  local seen = {}
  for _, k in ipairs(which) do seen[k] = try(k) end
  for a = 1, #which do
    for b = a + 1, #which do
      local i, j = which[a], which[b]
      if not (seen[i] or seen[j]) then
        local both = try(i, j)
        seen[i], seen[j] = both, both
      end
    end
  end
end

-- ---- common factors -------------------------------------------------------------------------------------

-- Covariance of the logarithms of positive parameters, of errors and of draws about their means; by number.
local function covariance(run, draws, which)
  local c = {}
  for a = 1, #which do
    c[a] = {}
    for b = 1, #which do c[a][b] = 0 end
  end
  local function add(list, n)
    for a = 1, #which do
      for b = 1, #which do c[a][b] = c[a][b] + list[a] * list[b] / n end
    end
  end
  local function logs(row)
    local list = {}
    for a, k in ipairs(which) do list[a] = math.log(math.max(row[k], 1e-3 * run.params[k].low)) end
    return list
  end
  for i, row in ipairs(run.z) do
    local truth, estimate = logs(row), logs(run.mean[i])
    for a in ipairs(which) do estimate[a] = estimate[a] - truth[a] end
    add(estimate, #run.z)
  end
  for i, rows in ipairs(draws) do
    local centre = logs(run.mean[i])
    for s = 1, #rows, 10 do
      local list = logs(rows[s])
      for a in ipairs(which) do list[a] = list[a] - centre[a] end
      add(list, #draws * ((#rows + 9) // 10))
    end
  end
  return c
end

-- Vectors of -1, 0 and 1 with two entries or more and a positive first one.
local function combinations(n)
  local list = { {} }
  for _ = 1, n do
    local longer = {}
    for _, v in ipairs(list) do
      for e = -1, 1 do
        local w = table.move(v, 1, #v, 1, {})
        w[#w + 1] = e
        longer[#longer + 1] = w
      end
    end
    list = longer
  end
  local kept = {}
  for _, v in ipairs(list) do
    local count, first = 0, 0
    for _, e in ipairs(v) do
      count = count + math.abs(e)
      if first == 0 then first = e end
    end
    if count >= 2 and first == 1 then kept[#kept + 1] = { v = v, count = count } end
  end
  return kept
end

-- Does a vector give parameters that are exchanged without effect one exponent? Draws vary most along their difference,
-- which hides such vectors.
local function unexchanged(v, which, exchange)
  local exponent = {}
  for a, k in ipairs(which) do exponent[k] = v[a] end
  for _, pairs_of in ipairs(exchange) do
    for _, pair in ipairs(pairs_of) do
      if exponent[pair[1]] ~= exponent[pair[2]] then return false end
    end
  end
  return true
end

local function find_factors(of, run, broad, draws, found)
  local which = {}
  for k, p in ipairs(run.params) do
    if broad[k] and not (p.levels or p.period) and p.low > 0 and #which < FACTORS then which[#which + 1] = k end
  end
  if #which < 2 then return end
  local c, list = covariance(run, draws, which), combinations(#which)
  for _, one in ipairs(list) do
    one.variance, one.first = 0, unexchanged(one.v, which, found.exchange)
    for a, e in ipairs(one.v) do
      for b, f in ipairs(one.v) do one.variance = one.variance + e * f * c[a][b] / one.count end
    end
  end
  table.sort(list, function(x, y)
    if x.first ~= y.first then return x.first end
    return x.variance > y.variance
  end)
  local best, least = nil, SAME
  for i = 1, math.min(#draws > 0 and MOST or ALL, #list) do
    local difference = of:difference(function(row)
      local image = table.move(row, 1, #row, 1, {})
      for a, k in ipairs(which) do image[k] = row[k] * FACTOR ^ list[i].v[a] end
      return image
    end)
    if difference and (difference < least or difference == least and not best) then
      best, least = list[i].v, difference
    end
  end
  if not best then return end
  local up, down, changes = {}, {}, {}
  for a, k in ipairs(which) do
    local name, e = run.params[k].name, best[a]
    if e ~= 0 then
      table.insert(e > 0 and up or down, name)
      changes[k] = string.format("z.%s %s s", name, e > 0 and "*" or "/")
    end
  end
  found.factors = { up = up, down = down }
  found.notes[#found.notes + 1] = string.format("the output stays the same where %s %s multiplied%s by one factor: "
    .. "only %s can be known. Declare symmetry = { { name = \"scale\", free = { low = 0, high = math.huge, scale = "
    .. "\"log\" }, map = function(z, s) return { %s } end } }, or give one of them.", table.concat(up, ", "),
    #up == 1 and "is" or "are", #down > 0 and string.format(" and %s divided", table.concat(down, ", ")) or "",
    #down > 0 and "products of one of either, and ratios within each," or "their ratios",
    result_text(run.params, changes))
end

-- ---- the rest ---------------------------------------------------------------------------------------------

-- The pair of broad parameters whose draws are correlated most, and how.
local function most_correlated(run, broad, draws)
  local best, a, b = 0, nil, nil
  for i, p in ipairs(run.params) do
    for j = i + 1, #run.params do
      local q = run.params[j]
      if broad[i] and broad[j] and not (p.levels or p.period or q.levels or q.period) then
        local total = 0
        for _, rows in ipairs(draws) do
          local x, y, n, mx, my = {}, {}, #rows, 0, 0
          for s, row in ipairs(rows) do
            x[s], y[s] = scaled(p, row[i]), scaled(q, row[j])
            mx, my = mx + x[s] / n, my + y[s] / n
          end
          local xx, yy, xy = 1e-30, 1e-30, 0
          for s = 1, n do
            xx, yy, xy = xx + (x[s] - mx) ^ 2, yy + (y[s] - my) ^ 2, xy + (x[s] - mx) * (y[s] - my)
          end
          total = total + xy / math.sqrt(xx * yy) / #draws
        end
        if math.abs(total) > math.abs(best) then best, a, b = total, p.name, q.name end
      end
    end
  end
  return best, a, b
end

local function rest(run, broad, of, draws, found)
  local names = {}
  for k, p in ipairs(run.params) do
    if broad[k] then names[#names + 1] = string.format("'%s' (%.0f%%)", p.name, 100 * of[k]) end
  end
  if #names == 0 then return end
  local r, a, b = most_correlated(run, broad, draws)
  if math.abs(r) > CORRELATED then found.correlated = { a, b, r } end
  found.notes[#found.notes + 1] = string.format("the posterior of %s keeps much of the prior's spread (in brackets): "
    .. "these outputs hardly tell %s%s. Measure something that depends on %s, give known ones a narrower prior, or "
    .. "declare the symmetry that leaves the output unchanged.", table.concat(names, ", "),
    #names == 1 and "it" or "them apart", math.abs(r) > CORRELATED and string.format(", or only a combination, as of "
      .. "'%s' and '%s' (correlation %.2f)", a, b, r) or "", #names == 1 and "it" or "each")
end

-- ---- the metric ---------------------------------------------------------------------------------------------

--- Changes of parameters that leave the simulator's output unchanged.
-- @tparam table run sim, params; z and mean: lists of rows, samples of the prior and estimates of them
-- @tparam {boolean,...} broad which parameters are tried
-- @tparam {{{number,...},...},...} draws of posteriors of the first rows of z, or none
-- @treturn table exchange, turns, factors: what was found; unused: numbers of parameters that change nothing; notes:
-- sentences, each with the declaration to add
local function search(run, broad, draws)
  local found = { exchange = {}, turns = {}, unused = {}, notes = {} }
  local of = trial(run)
  if of and of.size > 0 and of.size < math.huge then
    broad = find_unused(of, run.params, broad, found)
    find_exchange(of, run.params, broad, found)
    find_turns(of, run.params, broad, found)
    find_reflections(of, run.params, broad, found)
    find_factors(of, run, broad, draws, found)
  end
  return found
end

local reported = { order = 53 }

function reported.measure(run, _, r)
  if symmetry.declared(run.sim) then return end
  local draws = run.draws and run.draws:totable() or {}
  local spread = #draws > 1 and spreads(run, draws) or {}
  local broad, by_spread, any = {}, {}, false
  for k, p in ipairs(run.params) do
    by_spread[k] = (spread[k] or 0) > SPREAD
    broad[k] = by_spread[k] or (r.rmse_relative and r.rmse_relative[p.name] or 0) > ERROR
      or p.levels and r.accuracy and (r.accuracy[p.name] or 1) < 1 - ERROR
    any = any or broad[k]
  end
  local found = any and search(run, broad, draws) or { exchange = {}, turns = {}, unused = {}, notes = {} }
  found.spread = {}
  for k, p in ipairs(run.params) do found.spread[p.name] = spread[k] end
  r.ambiguity = found
  if not any then return end
  local unused = 0
  for k in pairs(found.unused) do by_spread[k], unused = false, unused + 1 end
  found.explained = #found.notes > unused
  if not found.explained then rest(run, by_spread, spread, draws, found) end
  for _, note in ipairs(found.notes) do
    r.notes[#r.notes + 1] = "Parameters that cannot be told apart: " .. note
  end
end

function reported.numbers(r)
  local a = r.ambiguity
  return { ambiguity = a and { spread = a.spread, notes = a.notes } }
end

return { reported = reported, search = search }
