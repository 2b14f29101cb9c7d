--- Pictures as sixels: bands of six rows, one colour of a palette after the other (DEC STD 070, chapter 9).
local sixel = {}

local COLOURS = 255
local LEVELS = { 6, 7, 6 } -- of red, green and blue, where an image has more colours than a palette: 252 of them

local function quantised(v)
  local result = 0
  for k, n in ipairs(LEVELS) do
    local level = math.floor((v >> 8 * (3 - k) & 255) / 255 * (n - 1) + 0.5)
    result = result << 8 | math.floor(level / (n - 1) * 255 + 0.5)
  end
  return result
end

-- The number of each colour; second, what a pixel's colour becomes.
local function palette_of(rows)
  local numbers, list = {}, {}
  for _, row in ipairs(rows) do
    for c = 1, rows.width do
      local v = row[c]
      if v and not numbers[v] then
        list[#list + 1] = v
        numbers[v] = #list
      end
    end
  end
  if #list <= COLOURS then return list, numbers end
  local few, number_of = {}, {}
  for _, v in ipairs(list) do
    local q = quantised(v)
    if not number_of[q] then
      few[#few + 1] = q
      number_of[q] = #few
    end
    numbers[v] = number_of[q]
  end
  return few, numbers
end

local function percent(v, shift) return math.floor((v >> shift & 255) * 100 / 255 + 0.5) end

-- A run of n equal letters.
local function run(letter, n)
  return n > 3 and "!" .. n .. letter or letter:rep(n)
end

-- The rows of pixels first … first + 5 of an image that is `scale` times as large.
local function band(rows, numbers, first, scale)
  local masks, order = {}, {} -- for each colour the bits of each column
  for bit = 0, 5 do
    local row = rows[(first + bit) // scale + 1]
    for c = 1, row and rows.width or 0 do
      local number = row[c] and numbers[row[c]]
      if number then
        if not masks[number] then
          masks[number] = {}
          order[#order + 1] = number
        end
        masks[number][c] = (masks[number][c] or 0) | 1 << bit
      end
    end
  end
  local parts = {}
  for i, number in ipairs(order) do
    parts[#parts + 1] = (i > 1 and "$" or "") .. "#" .. number
    local before, count = nil, 0
    for c = 1, rows.width do
      local mask = masks[number][c] or 0
      if mask ~= before then
        if count > 0 then parts[#parts + 1] = run(string.char(63 + before), count) end
        before, count = mask, 0
      end
      count = count + scale
    end
    if before ~= 0 then parts[#parts + 1] = run(string.char(63 + before), count) end
  end
  return table.concat(parts)
end

--- The picture as an escape sequence.
-- @tparam table rows of simvae.tensor.show.raster
-- @tparam integer scale pixels of the terminal for one of the image, in both directions
-- @treturn string
function sixel.text(rows, scale)
  local list, numbers = palette_of(rows)
  local parts = { string.format('\27P0;1;0q"1;1;%d;%d', rows.width * scale, rows.height * scale) }
  for i, v in ipairs(list) do
    parts[#parts + 1] = string.format("#%d;2;%d;%d;%d", i, percent(v, 16), percent(v, 8), percent(v, 0))
  end
  for first = 0, rows.height * scale - 1, 6 do
    parts[#parts + 1] = band(rows, numbers, first, scale) .. "-"
  end
  return table.concat(parts) .. "\27\\"
end

return sixel
