--- Densities of samples on grids, for charts: histograms, regions of highest density, and contours.
local density = {}

-- Weights of one pass of smoothing over neighbouring cells.
local SIDE, MIDDLE = 0.25, 0.5

local function smooth_line(line)
  local n, out = #line, {}
  for i = 1, n do
    out[i] = MIDDLE * line[i] + SIDE * (line[math.max(i - 1, 1)] + line[math.min(i + 1, n)])
  end
  return out
end

-- The cell of a coordinate from low to high; nil outside.
local function cell(v, low, high, n)
  if v < low or v > high then return nil end
  return math.min(n, math.floor((v - low) / (high - low) * n) + 1)
end

--- The share of values in each of n cells from low to high.
-- @tparam {number,...} values
-- @tparam number low
-- @tparam number high
-- @tparam integer n
-- @treturn {number,...}
function density.histogram(values, low, high, n)
  local counts = {}
  for i = 1, n do counts[i] = 0 end
  for _, v in ipairs(values) do
    local i = cell(v, low, high, n)
    if i then counts[i] = counts[i] + 1 / #values end
  end
  return counts
end

--- The share of pairs in each cell of a grid, smoothed along axes that are continuous.
-- @tparam {number,...} xs
-- @tparam {number,...} ys
-- @tparam table a axis of xs: low, high, cells, smooth (passes of smoothing)
-- @tparam table b axis of ys
-- @treturn {table,...} rows [j][i]: cell j of b, cell i of a
function density.grid(xs, ys, a, b)
  local rows = {}
  for j = 1, b.cells do
    rows[j] = {}
    for i = 1, a.cells do rows[j][i] = 0 end
  end
  for s = 1, #xs do
    local i, j = cell(xs[s], a.low, a.high, a.cells), cell(ys[s], b.low, b.high, b.cells)
    if i and j then rows[j][i] = rows[j][i] + 1 / #xs end
  end
  for _ = 1, a.smooth do
    for j = 1, b.cells do rows[j] = smooth_line(rows[j]) end
  end
  for i = 1, a.cells do
    local column = {}
    for j = 1, b.cells do column[j] = rows[j][i] end
    for _ = 1, b.smooth do column = smooth_line(column) end
    for j = 1, b.cells do rows[j][i] = column[j] end
  end
  return rows
end

--- The densities above which lie given shares of all: the bounds of the smallest regions that hold them.
-- @tparam {table,...} rows of `grid`
-- @tparam {number,...} shares
-- @treturn {number,...} levels
-- @treturn number the largest density
function density.levels(rows, shares)
  local all, total = {}, 0
  for _, row in ipairs(rows) do
    for _, v in ipairs(row) do all[#all + 1], total = v, total + v end
  end
  table.sort(all, function(x, y) return x > y end)
  local levels = {}
  for k, share in ipairs(shares) do
    local sum, i = 0, 0
    while i < #all and sum < share * total do
      i = i + 1
      sum = sum + all[i]
    end
    levels[k] = all[math.max(i, 1)]
  end
  return levels, all[1]
end

-- Where the line from (x1, y1) to (x2, y2) has the level.
local function crossing(level, v1, v2, x1, y1, x2, y2)
  local t = (level - v1) / (v2 - v1)
  return x1 + t * (x2 - x1), y1 + t * (y2 - y1)
end

--- A contour of a grid, by marching squares (Lorensen and Cline 1987, in two dimensions).
-- @tparam {table,...} rows of `grid`
-- @tparam number level
-- @tparam table a axis of the columns
-- @tparam table b axis of the rows
-- @treturn {table,...} segments { x1, y1, x2, y2 }
function density.contour(rows, level, a, b)
  local segments = {}
  local function x_of(i) return a.low + (i - 0.5) / a.cells * (a.high - a.low) end
  local function y_of(j) return b.low + (j - 0.5) / b.cells * (b.high - b.low) end
  local function value(i, j) return rows[j] and rows[j][i] or 0 end
  for j = 0, b.cells do
    for i = 0, a.cells do
      local corners = { { i, j }, { i + 1, j }, { i + 1, j + 1 }, { i, j + 1 } }
      local points = {}
      for e = 1, 4 do
        local p, q = corners[e], corners[e % 4 + 1]
        local v, w = value(p[1], p[2]), value(q[1], q[2])
        if (v >= level) ~= (w >= level) then
          points[#points + 1] = { crossing(level, v, w, x_of(p[1]), y_of(p[2]), x_of(q[1]), y_of(q[2])) }
        end
      end
      for k = 1, #points - 1, 2 do
        segments[#segments + 1] = { points[k][1], points[k][2], points[k + 1][1], points[k + 1][2] }
      end
    end
  end
  return segments
end

return density
