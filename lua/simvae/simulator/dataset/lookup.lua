--- Finds the row of a data set that is nearest to given parameters.
local lookup = {}

--- The values of each column, sorted, where the rows are a complete grid of them; else nil.
function lookup.levels(rows, K)
  local levels = {}
  for k = 1, K do
    local seen, list = {}, {}
    for r = 1, #rows do
      local v = rows[r][k]
      if not seen[v] then
        seen[v] = true
        list[#list + 1] = v
        if #list > #rows then return nil end
      end
    end
    table.sort(list)
    levels[k] = list
  end
  local product = 1
  for k = 1, K do product = product * #levels[k] end
  return product == #rows and levels or nil
end

-- Index (from 0) of the value nearest to v.
local function nearest_level(list, v)
  local low, high = 1, #list
  while high - low > 1 do
    local middle = (low + high) // 2
    if list[middle] <= v then low = middle else high = middle end
  end
  return (v - list[low] <= list[high] - v and low or high) - 1
end

local function code_of(levels, row)
  local code = 0
  for k, list in ipairs(levels) do code = code * #list + nearest_level(list, row[k]) end
  return code
end

-- A function row of z -> number of the data's row, for a complete grid; nil for another set.
local function find_in_grid(levels, rows)
  local ordered, place = true, {}
  for r, row in ipairs(rows) do
    local code = code_of(levels, row)
    ordered = ordered and code == r - 1
    if not ordered and not next(place) then
      for k = 1, r - 1 do place[k - 1] = k end
    end
    if not ordered then
      if place[code] then return nil end
      place[code] = r
    end
  end
  return function(row)
    local code = code_of(levels, row)
    return ordered and code + 1 or place[code]
  end
end

local function find_in_rows(rows, params)
  local K, place = #params, {}
  local format = string.rep("d", K)
  for r = #rows, 1, -1 do place[string.pack(format, table.unpack(rows[r]))] = r end
  local low, high = {}, {}
  for k, p in ipairs(params) do low[k], high[k] = (p.axis or p).low, (p.axis or p).high end
  return function(row)
    local exact = place[string.pack(format, table.unpack(row))]
    if exact then return exact end
    local best, minimum = 1, math.huge
    for r, other in ipairs(rows) do
      local distance = 0
      for k = 1, K do
        local d = (row[k] - other[k]) / (high[k] - low[k])
        distance = distance + d * d
      end
      if distance < minimum then best, minimum = r, distance end
    end
    return best
  end
end

--- Row lookup.
-- @tparam table rows lists of the parameters' values
-- @tparam ?table levels of lookup.levels
-- @tparam table params of the simulator
-- @treturn function row of z -> number of the nearest row: at once in a grid, else one after the other
function lookup.finder(rows, levels, params)
  return levels and find_in_grid(levels, rows) or find_in_rows(rows, params)
end

return lookup
