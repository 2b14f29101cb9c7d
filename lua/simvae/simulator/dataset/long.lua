--- Tables in long form: a row is a point of a curve, and a run is all rows of the same parameters.
--
-- Without a column that names the runs, a run ends where a parameter changes or the axis goes back. All runs have the
-- same points along the axis, or are interpolated linearly at even ones (the option `points`).
local core = require "simvae.core"
local file = require "simvae.io.file"

local long = {}

local SAME = 1e-6 -- of the axis' range: differences that are rounding
local EVEN = 1e-3 -- of a step

local Runs = {}
Runs.__index = Runs

--- Collects the points of runs.
-- @tparam integer curves how many
-- @tparam boolean named the runs have names, by which their rows are found wherever they are
function long.runs(curves, named)
  return setmetatable({ curves = curves, named = named, list = {}, by_name = {} }, Runs)
end

local function same_values(a, b)
  for k, v in ipairs(a) do
    if v ~= b[k] then return false end
  end
  return true
end

function Runs:begin(z, line)
  local run = { z = z, line = line, at = {}, values = {} }
  for c = 1, self.curves do run.values[c] = {} end
  self.list[#self.list + 1], self.last = run, run
  return run
end

-- The run that a row belongs to.
function Runs:of(z, at, name, line)
  local run = self.last
  if self.named then
    run = self.by_name[name] or self:begin(z, line)
    self.by_name[name] = run
    if not same_values(run.z, z) then
      file.refuse("line %d: run %q has other parameters than in line %d", line, name, run.line)
    end
    return run
  end
  if not run or not same_values(run.z, z) then return self:begin(z, line) end
  local n = #run.at
  local step, direction = at - run.at[n], n > 1 and run.at[n] - run.at[1] or 0
  if step * direction < 0 or n == 1 and step < 0 and self.list[1] ~= run and not self.list[1].descends then
    return self:begin(z, line)
  end
  run.descends = run.descends or step < 0
  return run
end

--- Adds a row.
-- @tparam {number,...} z
-- @tparam number at its place on the axis
-- @tparam {number,...} values of the curves
-- @tparam ?string name of its run
-- @tparam integer line
function Runs:add(z, at, values, name, line)
  local run = self:of(z, at, name, line)
  local n = #run.at
  if n > 1 and (at - run.at[n]) * (run.at[n] - run.at[1]) < 0 then
    file.refuse("line %d: the axis goes back within run %q", line, name)
  end
  run.at[n + 1] = at
  for c, v in ipairs(values) do run.values[c][n + 1] = v end
end

local function reverse(list)
  local n = #list
  for i = 1, n // 2 do list[i], list[n + 1 - i] = list[n + 1 - i], list[i] end
end

-- Runs whose rows are ordered by the axis and not by the run have one point each: they are joined by parameters.
local function join(runs)
  local list, found = {}, {}
  for _, run in ipairs(runs.list) do
    if #run.at > 1 then return end
    local key = string.pack(string.rep("d", #run.z), table.unpack(run.z))
    local whole = found[key]
    if not whole then
      list[#list + 1], found[key] = run, run
    else
      whole.at[#whole.at + 1] = run.at[1]
      for c, values in ipairs(run.values) do whole.values[c][#whole.at] = values[1] end
    end
  end
  runs.list = list
end

local function same_points(list)
  local first = list[1].at
  local tolerance = SAME * math.abs(first[#first] - first[1])
  for _, run in ipairs(list) do
    if #run.at ~= #first then return false end
    for i, v in ipairs(run.at) do
      if math.abs(v - first[i]) > tolerance then return false end
    end
  end
  return true
end

-- The values at even points from low to high.
local function interpolate(at, values, low, high, points)
  local result, j = {}, 1
  for i = 1, points do
    local t = points > 1 and low + (high - low) * (i - 1) / (points - 1) or low
    while j < #at - 1 and at[j + 1] < t do j = j + 1 end
    local width = at[j + 1] and at[j + 1] - at[j] or 0
    local share = width > 0 and math.min(math.max((t - at[j]) / width, 0), 1) or 0
    result[i] = values[j] + share * ((values[j + 1] or values[j]) - values[j])
  end
  return result
end

local function to_even_points(list, points)
  local low, high = -math.huge, math.huge
  for _, run in ipairs(list) do
    low, high = math.max(low, run.at[1]), math.min(high, run.at[#run.at])
  end
  if low >= high then file.refuse("the runs have no part of the axis in common; axis names another column") end
  local even = {}
  for i = 1, points do even[i] = points > 1 and low + (high - low) * (i - 1) / (points - 1) or low end
  for _, run in ipairs(list) do
    for c, values in ipairs(run.values) do run.values[c] = interpolate(run.at, values, low, high, points) end
    run.at = even
  end
end

local function refuse_points(list, name)
  local fewest, most, low, high = math.huge, 0, -math.huge, math.huge
  for _, run in ipairs(list) do
    fewest, most = math.min(fewest, #run.at), math.max(most, #run.at)
    low, high = math.max(low, run.at[1]), math.min(high, run.at[#run.at])
  end
  file.refuse("its %d runs have different points along '%s'%s; points = n interpolates them at n even ones, from %.6g "
    .. "to %.6g", #list, name, fewest < most and string.format(" (%d to %d of them)", fewest, most) or "", low, high)
end

-- The axis of a simulator's series; nil where points are neither even nor evenly spaced in the logarithm.
local function axis_of(at, name, unit)
  local n = #at
  if n < 2 then return nil end
  local function is_even(f)
    local step = (f(at[n]) - f(at[1])) / (n - 1)
    for i = 1, n do
      if math.abs(f(at[i]) - f(at[1]) - step * (i - 1)) > EVEN * math.abs(step) then return false end
    end
    return true
  end
  local scale = not is_even(function(v) return v end) and at[1] > 0 and is_even(math.log) and "log" or nil
  if not scale and not is_even(function(v) return v end) then return nil end
  return { name = name, unit = unit or "", low = at[1], high = at[n], scale = scale }
end

--- Parameters and outputs of the runs: each curve's points after those of the one before.
-- @tparam table axis column: name, unit
-- @tparam ?integer points the option
-- @treturn {table,...} rows of parameters
-- @treturn tensor x (N, curves * points)
-- @treturn ?table axis of the series
function Runs:finish(axis, points)
  if not self.named then join(self) end
  for _, run in ipairs(self.list) do
    if #run.at < 2 then
      file.refuse("line %d: a run of one point along '%s'; run = \"column\" names the runs where their rows do not "
        .. "follow one another", run.line, axis.name)
    end
    if run.at[1] > run.at[#run.at] then
      reverse(run.at)
      for _, values in ipairs(run.values) do reverse(values) end
    end
  end
  if points then
    to_even_points(self.list, points)
  elseif not same_points(self.list) then
    refuse_points(self.list, axis.name)
  end
  local n = #self.list[1].at
  local rows, x = {}, core.zeros(#self.list, self.curves * n)
  for r, run in ipairs(self.list) do
    local row = {}
    for c, values in ipairs(run.values) do table.move(values, 1, n, (c - 1) * n + 1, row) end
    rows[r], x[r] = run.z, core.tensor(row)
  end
  return rows, x, axis_of(self.list[1].at, axis.name, axis.unit)
end

return long
