--- Symmetries of a simulator: maps of its parameters that leave its output unchanged.
--
-- A simulator declares them as a list; each element is one map, all of a finite group but the
-- identity, or a family of maps with one free number:
--
--     symmetry = {
--       { name = "half turn", map = function(z) return { a = z.a, angle = z.angle + math.pi } end },
--       { name = "impedance", free = { low = 0, high = math.huge, scale = "log" },
--         map = function(z, s) return { R = z.R / s, L = z.L / s, C = z.C * s } end },
--     }
--
-- z and the result are tables by parameter name, in units. A family contains the identity: s = 1 on
-- a log scale, s = 0 on a linear one; the values that keep z within its bounds are an interval about it.
-- The orbit of z, its equivalents, are its images under the maps, each moved along the families.
--
-- Distances are in standardised coordinates (parameter.distance).
local check = require "simvae.util.check"
local core = require "simvae.core"
local names = require "simvae.util.names"
local parameter = require "simvae.simulator.parameter"
local point = require "simvae.simulator.point"

local symmetry = {}

--- Whether a simulator declares a symmetry.
-- @tparam Simulator sim
-- @treturn boolean
-- @usage print(sv.symmetry.declared(needle), sv.symmetry.declared(ring))
function symmetry.declared(sim)
  return sim.symmetry ~= nil and #sim.symmetry > 0
end

-- ---- coordinates ------------------------------------------------------------------

-- Squared distance of two rows in standardised coordinates.
local function distance(params, a, b)
  local sum = 0
  for i, p in ipairs(params) do
    local d = parameter.distance(p, a[i], b[i])
    sum = sum + d * d
  end
  return sum
end

--- Squared distance of two rows in standardised coordinates.
-- @tparam {table,...} params of a simulator
-- @tparam {number,...} a in units
-- @tparam {number,...} b in units
-- @treturn number
-- @raise rows of other lengths
-- @usage print(sv.symmetry.distance(ring.params, { 16, 16, 5 }, { 18, 16, 5 }))
function symmetry.distance(params, a, b)
  for i, t in ipairs { params or false, a or false, b or false } do
    if type(t) ~= "table" or i > 1 and #t ~= #params then
      check.fail(2, "symmetry.distance: takes params, then two rows of as many numbers; argument %d is %s", i,
        t and check.describe(t) or "missing")
    end
  end
  return distance(params, a, b)
end

local function inside(params, row)
  for i, p in ipairs(params) do
    if parameter.outside(p, row[i]) then return false end
  end
  return true
end

-- ---- maps -----------------------------------------------------------------------------

-- The image of a row; errors name the map.
local function apply(sim, element, row, s)
  local who = string.format("symmetry '%s'", element.name)
  local image = point.values(sim, who, element.map(point.new(sim, row), s))
  local result = {}
  for i, p in ipairs(sim.params) do
    local v = image[i]
    if v ~= v or v == math.huge or v == -math.huge then
      error(string.format("simulator '%s': %s gave %s for '%s' of %s", sim.name, who, v, p.name,
        sim:describe_z(row)), 0)
    end
    result[i] = parameter.wrap(p, v)
  end
  return result
end

-- A family's number by a coordinate in which the identity is 0, and that coordinate's limits.
local function number_at(element, u)
  return parameter.from_scale(element.free, u)
end

local function limits(element)
  local free = element.free
  return parameter.to_scale(free, free.low), parameter.to_scale(free, free.high)
end

--- The finite part of a row's orbit: itself and its different images under the maps without a free number.
-- @tparam Simulator sim
-- @tparam {number,...} row in units
-- @treturn {table,...} rows; they may lie outside the bounds
-- @usage print(#sv.symmetry.all(needle, { 1.5, 0.2 }))
function symmetry.all(sim, row)
  local list = { row }
  for _, element in ipairs(sim.symmetry or {}) do
    if not element.free then
      local image, new = apply(sim, element, row), true
      for _, other in ipairs(list) do
        if distance(sim.params, image, other) < 1e-12 then
          new = false
          break
        end
      end
      if new then list[#list + 1] = image end
    end
  end
  return list
end

-- How far a row can be moved along a family, in one direction, and stay within the bounds.
local function reach(sim, element, row, limit)
  local sign, maximum = limit < 0 and -1 or 1, math.min(math.abs(limit), 100)
  local function fits(u) return inside(sim.params, apply(sim, element, row, number_at(element, sign * u))) end
  if maximum == 0 then return 0 end
  local good, bad = 0, nil
  local u = math.min(maximum, 0.25)
  while not bad do
    if not fits(u) then
      bad = u
    else
      good = u
      if u >= maximum then return sign * maximum end
      u = math.min(2 * u, maximum)
    end
  end
  for _ = 1, 24 do
    local middle = (good + bad) / 2
    if fits(middle) then good = middle else bad = middle end
  end
  return sign * good
end

--- The images of many rows under the maps without a free number. Images outside the bounds are replaced by the row.
-- @tparam Simulator sim
-- @tparam {table,...} rows in units
-- @treturn {table,...} lists of rows: the rows themselves, then one list of each map
-- @usage print(#sv.symmetry.images(needle, { { 1.5, 0.2 } }))
function symmetry.images(sim, rows)
  local lists = { rows }
  for _, element in ipairs(sim.symmetry or {}) do
    if not element.free then
      local list = {}
      for i, row in ipairs(rows) do
        local image = apply(sim, element, row)
        list[i] = inside(sim.params, image) and image or row
      end
      lists[#lists + 1] = list
    end
  end
  return lists
end

--- A random equivalent within the bounds: one of the finite part, each as likely, then moved along
-- each family, uniformly on its scale.
-- @tparam Simulator sim
-- @tparam {number,...} row in units
-- @tparam rng rng
-- @treturn {number,...} in units
-- @usage print(sv.symmetry.random(needle, { 1.5, 0.2 }, sv.rng(1))[1])
function symmetry.random(sim, row, rng)
  local candidates = {}
  for _, image in ipairs(symmetry.all(sim, row)) do
    if inside(sim.params, image) then candidates[#candidates + 1] = image end
  end
  if #candidates == 0 then return row end -- itself outside
  local result = candidates[rng:integer(1, #candidates)]
  for _, element in ipairs(sim.symmetry or {}) do
    if element.free then
      local low, high = limits(element)
      local a, b = reach(sim, element, result, low), reach(sim, element, result, high)
      if a < b then result = apply(sim, element, result, number_at(element, rng:uniform(a, b))) end
    end
  end
  return result
end

--- The orbit of a row along the first family with a free number, within the bounds.
-- @tparam Simulator sim
-- @tparam {number,...} row in units, within the bounds
-- @tparam integer n
-- @treturn ?{table,...} n rows at equal distances on the scale of the family's number, from bound to bound; nil without
-- a family
-- @usage print(sv.symmetry.along(needle, { 1.5, 0.2 }, 5)) -- nil: it declares no family
function symmetry.along(sim, row, n)
  for _, element in ipairs(sim.symmetry or {}) do
    if element.free then
      local low, high = limits(element)
      local a, b, rows = reach(sim, element, row, low), reach(sim, element, row, high), {}
      for j = 1, n do rows[j] = apply(sim, element, row, number_at(element, a + (b - a) * (j - 1) / (n - 1))) end
      return rows
    end
  end
  return nil
end

-- The minimum of f between a and b, from a lower point x between them: Brent's method of parabolic interpolation and
-- golden sections (Brent 1973, chapter 5).
local golden = (3 - math.sqrt(5)) / 2

local function brent(f, a, b, x)
  local w, v, fx = x, x, f(x)
  local fw, fv, step, before = fx, fx, 0, 0
  for _ = 1, 40 do
    local middle, tolerance = (a + b) / 2, 1e-8 * math.abs(x) + 1e-9
    if math.abs(x - middle) <= 2 * tolerance - (b - a) / 2 then break end
    local parabolic = false
    if math.abs(before) > tolerance then
      local r, q = (x - w) * (fx - fv), (x - v) * (fx - fw)
      local p = (x - v) * q - (x - w) * r
      q = 2 * (q - r)
      if q > 0 then p = -p end
      q = math.abs(q)
      if math.abs(p) < math.abs(q * before / 2) and p > q * (a - x) and p < q * (b - x) then
        before, step, parabolic = step, p / q, true
      end
    end
    if not parabolic then
      before = (x < middle and b or a) - x
      step = golden * before
    end
    local u = x + (math.abs(step) >= tolerance and step or step > 0 and tolerance or -tolerance)
    local fu = f(u)
    if fu <= fx then
      if u < x then b = x else a = x end
      v, fv, w, fw, x, fx = w, fw, x, fx, u, fu
    else
      if u < x then a = u else b = u end
      if fu <= fw or w == x then
        v, fv, w, fw = w, fw, u, fu
      elseif fu <= fv or v == x or v == w then
        v, fv = u, fu
      end
    end
  end
  return x
end

-- The coordinate from low to high that minimises f: from the best point of a grid for a bounded family (f may have
-- several minima), downhill from the identity for an unbounded one.
local function minimum(f, low, high)
  if low == high then return low end
  if low > -math.huge and high < math.huge then
    local best, value, step = low, f(low), (high - low) / 24
    for i = 1, 24 do
      local v = f(low + i * step)
      if v < value then best, value = low + i * step, v end
    end
    return brent(f, math.max(low, best - step), math.min(high, best + step), best)
  end
  local function clip(u) return math.max(low, math.min(high, u)) end
  local step, at, value = 0.5, 0, f(0)
  if f(clip(-step)) < value then step = -step end
  local before = clip(-step)
  while true do
    local to = clip(at + step)
    local v = f(to)
    if v >= value or to == at or math.abs(to) > 200 then
      return brent(f, math.min(before, to), math.max(before, to), at)
    end
    before, at, value, step = at, to, v, 1.6 * step
  end
end

--- The equivalent of a row that is nearest to another.
-- @tparam Simulator sim
-- @tparam {number,...} row in units
-- @tparam {number,...} target in units
-- @tparam ?boolean bounded only equivalents within the bounds; without it the nearest equivalent of an answer that
--   errs may lie a little outside
-- @treturn {number,...} in units
-- @treturn number its squared distance
-- @raise a value that is not a simulator
-- @usage print(sv.symmetry.nearest(needle, { 1.5, 0.2 }, { 1.5, 3.3 })[2])
function symmetry.nearest(sim, row, target, bounded)
  local params = sim.params
  local best, value
  for _, image in ipairs(symmetry.all(sim, row)) do
    if image == row or not bounded or inside(params, image) then
      for _, element in ipairs(sim.symmetry or {}) do
        if element.free then
          local from, low, high = image, limits(element)
          if bounded then low, high = reach(sim, element, from, low), reach(sim, element, from, high) end
          local u = minimum(function(u)
            return distance(params, apply(sim, element, from, number_at(element, u)), target)
          end, low, high)
          image = apply(sim, element, from, number_at(element, u))
        end
      end
      local d = distance(params, image, target)
      if not value or d < value then best, value = image, d end
    end
  end
  return best, value
end

-- ---- lists of rows -----------------------------------------------------------------------

--- A random equivalent of every row: V-bar of the paper's section 4.2.
-- @tparam Simulator sim
-- @tparam {table,...} rows in units
-- @tparam rng rng
-- @treturn {table,...} rows
-- @raise a value that is not a simulator
-- @usage print(sv.symmetry.equivalents(needle, { { 1.5, 0.2 } }, sv.rng(1))[1][2])
function symmetry.equivalents(sim, rows, rng)
  local result = {}
  for i, row in ipairs(rows) do result[i] = symmetry.random(sim, row, rng) end
  return result
end

--- Every row replaced by its equivalent nearest to the row of the same number in another list.
-- @tparam Simulator sim
-- @tparam {table,...} rows in units
-- @tparam {table,...} targets in units
-- @treturn {table,...} rows
-- @raise a value that is not a simulator, lists of unequal length
-- @usage print(sv.symmetry.align(needle, { { 1.5, 0.2 } }, { { 1.5, 3.3 } })[1][2])
function symmetry.align(sim, rows, targets)
  if not symmetry.declared(sim) then return rows end
  local result = {}
  for i, row in ipairs(rows) do result[i] = symmetry.nearest(sim, row, targets[i]) end
  return result
end

--- How far a declared symmetry is from being one: the largest difference of outputs of n samples and
-- their random equivalents, as a share of the outputs' spread.
-- @tparam Simulator sim
-- @tparam ?integer n samples (16)
-- @treturn number 0 but for rounding where the symmetry holds
-- @raise a value that is not a simulator
-- @usage print(sv.symmetry.defect(needle) < 1e-3)
function symmetry.defect(sim, n)
  local rng = core.rng(1)
  local z = sim:sample(n or 16, rng)
  local x, y = sim:run(z), sim:run(core.tensor(symmetry.equivalents(sim, z:totable(), rng)))
  local difference = core.max(core.abs(x - y)):item()
  local spread = core.max(x):item() - core.min(x):item()
  return difference == 0 and 0 or difference / spread
end

-- What each of these takes behind the simulator: rows of parameters.
for name, argument in pairs { declared = false, all = "row", images = "rows", random = "row", along = "row",
  nearest = "row", equivalents = "rows", align = "rows", defect = false } do
  local f = symmetry[name]
  local function guard(sim, rows, ...)
    if type(sim) ~= "table" or type(sim.params) ~= "table" then
      check.fail(2, "symmetry.%s: takes a simulator first; got %s", name, check.describe(sim))
    end
    if argument then check.value("symmetry." .. name, argument, rows, { "table" }) end
    return f(sim, rows, ...)
  end
  names.original[guard] = f
  symmetry[name] = guard
end

return symmetry
