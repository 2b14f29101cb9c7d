--- The unit cube on which densities of posteriors are defined: one number u in [0, 1] a parameter.
--
--   interval   linear between the bounds, or in the logarithm; so a parameter whose range is less than its period
--   circle     the phase in turns from low
--   class      class c of n: (c - 1/2) / n
--
-- Under the independent priors of sv.simulator the prior is uniform on it.
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"

local cube = {}

local WHOLE = 1 - 1e-6 -- a range of at least this share of its period is a circle

--- The kind of a parameter on the cube: "interval", "circle" or "class".
-- @tparam table part of a Latent
-- @treturn string
function cube.kind(part)
  local p = part.param
  if part.kind == "circle" and p.high - p.low < WHOLE * p.period then return "interval" end
  return part.kind
end

-- The distance of u = 1 from low.
local function range(part)
  local p = part.param
  return cube.kind(part) == "circle" and p.period or p.high - p.low
end

--- One column of a batch of points.
-- @tparam tensor t (…, K)
-- @tparam integer i
-- @treturn tensor (…, 1)
function cube.column(t, i)
  return core.slice(t, t.ndim, i, i)
end

--- One-hot vectors of classes.
-- @tparam tensor u (…, 1)
-- @tparam integer levels
-- @treturn tensor (…, levels)
function cube.one_hot(u, levels)
  local centres = (core.arange(1, levels) - 0.5) / levels
  return core.clamp(1 - core.abs(u - centres) * levels, 0, 1)
end

--- The points of classes.
-- @tparam tensor class whole numbers from 1
-- @tparam integer levels
-- @treturn tensor of the same shape
function cube.of_class(class, levels)
  return (class - 0.5) / levels
end

--- Parameters at points of the cube.
-- @tparam Latent latent
-- @tparam tensor u (…, K)
-- @treturn tensor (…, K), in units, within the bounds
function cube.to_units(latent, u)
  local columns, last = {}, u.ndim
  for i, part in ipairs(latent.parts) do
    local p, v = part.param, cube.column(u, i)
    if part.kind == "class" then
      local shape = v.shape
      columns[i] = core.reshape(core.argmax(cube.one_hot(v, p.levels), last), shape)
    elseif p.scale == "log" then
      columns[i] = core.clamp(core.exp(v * parameter.range(p)) * p.low, p.low, p.high)
    else
      columns[i] = core.clamp(v * range(part) + p.low, p.low, math.max(p.high, p.low + range(part)))
    end
  end
  return #columns == 1 and columns[1] or core.concat(columns, last)
end

--- Codes at points of the cube.
-- @tparam Latent latent
-- @tparam tensor u (…, K)
-- @treturn tensor (…, size)
function cube.to_code(latent, u)
  local pieces = {}
  for i, part in ipairs(latent.parts) do
    local v = cube.column(u, i)
    if part.kind == "interval" then
      pieces[#pieces + 1] = v * 2 - 1
    elseif part.kind == "circle" then
      local phase = v * (2 * math.pi * range(part) / part.param.period)
      pieces[#pieces + 1], pieces[#pieces + 2] = core.cos(phase), core.sin(phase)
    else
      pieces[#pieces + 1] = cube.one_hot(v, part.param.levels)
    end
  end
  return #pieces == 1 and pieces[1] or core.concat(pieces, u.ndim)
end

--- Points of the cube from codes within the support.
-- @tparam Latent latent
-- @tparam tensor code (N, size)
-- @treturn tensor (N, K)
function cube.from_code(latent, code)
  local rows = latent:to_units(code):totable()
  return core.reshape(core.tensor((cube.from_units(latent, rows))), #rows, #latent.parts)
end

-- ---- from units ---------------------------------------------------------------------------

-- The point of one value; nil outside the prior's support.
local function point_of(part, v)
  local p = part.param
  if v ~= v or math.abs(v) == math.huge then return nil end
  if part.kind == "class" then return v % 1 == 0 and v >= 1 and v <= p.levels and (v - 0.5) / p.levels or nil end
  v = parameter.wrap(p, v)
  if cube.kind(part) == "circle" then return (v - p.low) / p.period end
  if parameter.outside(p, v) then return nil end
  return parameter.to_unit(p, math.max(p.low, math.min(p.high, v)))
end

-- log du/dz at one value.
local function log_slope(part, v)
  local p = part.param
  if part.kind == "class" then return 0 end
  if p.scale == "log" then return -math.log(math.max(v, p.low) * parameter.range(p)) end
  return -math.log(range(part))
end

--- Points of the cube from parameters.
-- @tparam Latent latent
-- @tparam {table,...} rows lists of K values, in units
-- @treturn {table,...} lists of K numbers in [0, 1]; 0.5 for a value outside the prior's support
-- @treturn {number,...} log |du/dz| of each row: 0 for classes, -inf outside the support
function cube.from_units(latent, rows)
  local points, slopes = {}, {}
  for n, row in ipairs(rows) do
    local point, slope = {}, 0
    for i, part in ipairs(latent.parts) do
      local u = point_of(part, row[i])
      point[i] = u or 0.5
      slope = u and slope + log_slope(part, row[i]) or -math.huge
    end
    points[n], slopes[n] = point, slope
  end
  return points, slopes
end

return cube
