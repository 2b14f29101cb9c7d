--- Curves as text, in letters of braille: 2 x 4 dots each.
local braille = {}

-- Dots of a braille letter, U+2800 + their sum: (row, column) in its 4 x 2 grid (Unicode, Braille Patterns).
local dots = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } }

local function is_finite(x)
  return x == x and x ~= math.huge and x ~= -math.huge
end

--- The least and the largest of the finite numbers of a list; the least is above the largest where there are none.
function braille.range(values)
  local low, high = math.huge, -math.huge
  for _, v in ipairs(values) do
    if is_finite(v) then low, high = math.min(low, v), math.max(high, v) end
  end
  return low, high
end

local function label(x)
  return string.format("%.4g", x)
end

-- Which columns of dots show which numbers: an increasing map onto 1 … wide.
local function column_of(i, n, wide)
  return n == 1 and 1 or 1 + math.floor((i - 1) / (n - 1) * (wide - 1) + 0.5)
end

-- Calls dot(x, y) for a curve on a grid of dots, x and y from 1, y down.
local function draw(values, wide, height_of, dot)
  local x0, y0
  for i, v in ipairs(values) do
    if is_finite(v) then
      local x, y = column_of(i, #values, wide), height_of(v)
      dot(x, y)
      for step = x0 and x0 + 1 or x, x do -- a line from the number before
        local from = x0 and y0 + (y - y0) * (step - 1 - x0) / (x - x0) or y
        local to = x0 and y0 + (y - y0) * (step - x0) / (x - x0) or y
        for between = math.floor(math.min(from, to) + 0.5), math.floor(math.max(from, to) + 0.5) do
          dot(step, between)
        end
      end
      if x0 == x then
        for between = math.min(y0, y), math.max(y0, y) do dot(x, between) end
      end
      x0, y0 = x, y
    else
      x0, y0 = nil, nil
    end
  end
end

--- A curve; values that are not finite are gaps, those outside the range at its edge.
-- @tparam {number,...} values
-- @tparam number low at the lowest dot
-- @tparam number high at the uppermost dot
-- @tparam integer cells letters of a row
-- @tparam integer rows
-- @treturn {string,...} rows
function braille.curve(values, low, high, cells, rows)
  local wide, tall, grid = 2 * cells, 4 * rows, {}
  for r = 1, rows do
    grid[r] = {}
    for c = 1, cells do grid[r][c] = 0 end
  end
  local function height_of(v)
    if high == low then return (tall + 1) // 2 end
    return math.max(1, math.min(tall, 1 + math.floor((high - v) / (high - low) * (tall - 1) + 0.5)))
  end
  draw(values, wide, height_of, function(x, y)
    local r, c = (y - 1) // 4 + 1, (x - 1) // 2 + 1
    grid[r][c] = grid[r][c] | dots[(y - 1) % 4 + 1][(x - 1) % 2 + 1]
  end)
  local lines = {}
  for r = 1, rows do
    local letters = {}
    for c = 1, cells do letters[c] = utf8.char(0x2800 + grid[r][c]) end
    lines[r] = table.concat(letters)
  end
  return lines
end

--- A curve with the least and the largest value beside it.
-- @tparam {number,...} values
-- @tparam integer columns
-- @tparam integer rows
-- @treturn {string,...} lines
function braille.plot(values, columns, rows)
  local n = #values
  local low, high = braille.range(values)
  if n == 0 or low > high then return { "nothing to plot: no finite numbers" } end
  local margin = math.max(#label(low), #label(high)) + 2
  local cells = math.max(1, math.min(columns - margin, math.max(n // 2 + n % 2, 20)))
  local lines = braille.curve(values, low, high, cells, rows)
  for r, line in ipairs(lines) do
    local name = r == 1 and label(high) or r == rows and label(low) or ""
    lines[r] = (" "):rep(margin - 2 - #name) .. name .. " ┤" .. line
  end
  return lines
end

return braille
