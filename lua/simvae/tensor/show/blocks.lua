--- Images as text: half blocks in 24-bit colour, or letters.
--
-- planes: one (grey) or three (RGB), each a list of rows of numbers in [0, 1].
local blocks = {}

local ink = " .:-=+*#%@" -- dark pixels are dense characters

local function mean_range(values, width, x0, x1, y0, y1)
  local sum, count = 0, 0
  for y = math.floor(y0), math.ceil(y1) - 1 do
    local high = math.min(y + 1, y1) - math.max(y, y0)
    local row = values[y + 1]
    for x = math.floor(x0), math.min(math.ceil(x1), width) - 1 do
      local area = high * (math.min(x + 1, x1) - math.max(x, x0))
      sum, count = sum + area * row[x + 1], count + area
    end
  end
  return sum / count
end

--- Rows of an image at another size, by area averaging.
function blocks.resample(values, height, width, rows, columns)
  if rows == height and columns == width then return values end
  local result = {}
  for r = 1, rows do
    local line = {}
    for c = 1, columns do
      line[c] = mean_range(values, width, (c - 1) * width / columns, c * width / columns,
        (r - 1) * height / rows, r * height / rows)
    end
    result[r] = line
  end
  return result
end

local function byte(x)
  return math.floor(math.max(0, math.min(1, x)) * 255 + 0.5)
end

local NAN = 0xFF00FF -- magenta

--- The colour of a pixel.
-- @tparam table planes
-- @tparam integer r row
-- @tparam integer c column
-- @treturn integer 0xRRGGBB
function blocks.colour(planes, r, c)
  local red = planes[1][r][c]
  if #planes == 1 then return red == red and byte(red) * 0x010101 or NAN end
  local green, blue = planes[2][r][c], planes[3][r][c]
  if red ~= red or green ~= green or blue ~= blue then return NAN end
  return byte(red) << 16 | byte(green) << 8 | byte(blue)
end

-- The texts of colours that were met, by 0xRRGGBB: pictures have few of them.
local texts, met, MOST = {}, 0, 4096

local function text_of(key)
  if met == MOST then texts, met = {}, 0 end
  local text = string.format("%d;%d;%d", key >> 16, key >> 8 & 255, key & 255)
  texts[key], met = text, met + 1
  return text
end

-- Red, green and blue of a pixel as an escape sequence's arguments: "255;0;0".
local function arguments(planes, r, c)
  local key = blocks.colour(planes, r, c)
  return texts[key] or text_of(key)
end

--- One line of half blocks: the upper pixel is the foreground colour, the lower one the background; NaN is magenta.
function blocks.colours(planes, r, rows, columns)
  local parts, upper_before, lower_before = {}, nil, nil
  for c = 1, columns do
    local upper, lower = arguments(planes, r, c), r < rows and arguments(planes, r + 1, c) or nil
    if upper ~= upper_before or lower ~= lower_before then
      parts[#parts + 1] = "\27[38;2;" .. upper .. (lower and ";48;2;" .. lower or ";49") .. "m"
      upper_before, lower_before = upper, lower
    end
    parts[#parts + 1] = "▀"
  end
  return table.concat(parts) .. "\27[0m"
end

--- One line of characters, each for the mean of two vertically adjacent pixels; NaN is "?".
function blocks.letters(planes, r, rows, columns)
  local parts = {}
  for c = 1, columns do
    local sum, count = 0, 0
    for y = r, math.min(r + 1, rows) do
      -- luma of ITU-R BT.709 for colour
      for k, weight in ipairs(#planes == 3 and { 0.2126, 0.7152, 0.0722 } or { 1 }) do
        sum = sum + weight * planes[k][y][c]
      end
      count = count + 1
    end
    local v = sum / count
    local level = v == v and math.floor((1 - math.max(0, math.min(1, v))) * (#ink - 1) + 0.5) + 1
    parts[c] = level and ink:sub(level, level) or "?"
  end
  return table.concat(parts)
end

return blocks
