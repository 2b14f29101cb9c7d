--- Display of tensors: as text (print), as images and plots in the terminal (show).
local check = require "simvae.util.check"
local core = require "simvae.core"

local display = {}

local threshold, edge, line_width = 1000, 3, 75 -- NumPy's defaults
local plain, powers = "%.4f", "%.4e"

-- Text -----------------------------------------------------------------------------

--- The number of entries printed at either end of each axis: all (nil) or edge.
local function summary(t)
  if t.count > threshold then return edge end
end

--- Calls body(i) for the entries of an axis that are shown, and gap() between the two ends.
local function each_shown(n, ends, body, gap)
  if not ends or n <= 2 * ends then
    for i = 1, n do body(i) end
    return
  end
  for i = 1, ends do body(i) end
  if gap then gap() end
  for i = n - ends + 1, n do body(i) end
end

--- The numbers that are printed.
local function shown_numbers(t, ends)
  local numbers, index = {}, {}
  local function visit(axis)
    if axis > t.ndim then
      numbers[#numbers + 1] = t:get(table.unpack(index, 1, t.ndim))
      return
    end
    each_shown(t.shape[axis], ends, function(i)
      index[axis] = i
      visit(axis + 1)
    end)
  end
  visit(1)
  return numbers
end

local function is_finite(x)
  return x == x and x ~= math.huge and x ~= -math.huge
end

local function special(x)
  return x ~= x and "nan" or x > 0 and "inf" or "-inf"
end

--- NumPy's rule: scientific notation where decimals would be long or lose small numbers.
local function needs_exponent(numbers)
  local least, most = math.huge, 0
  for _, x in ipairs(numbers) do
    if is_finite(x) and x ~= 0 then
      least, most = math.min(least, math.abs(x)), math.max(most, math.abs(x))
    end
  end
  return most > 0 and (most >= 1e8 or least < 1e-4 or most / least > 1000)
end

--- A number in the column's style: digits before the point, after it, and the exponent.
local function split(x, exponent)
  local whole, fraction, power = string.format(exponent and powers or plain, x):match "^(-?%d+)%.(%d*)(.*)$"
  return whole, fraction:match "^(.-)0*$", power
end

--- A function from a number to text of constant width, with aligned decimal points.
local function aligned(numbers)
  local exponent = needs_exponent(numbers)
  local left, right, power_width, other = 0, 0, 0, 0
  for _, x in ipairs(numbers) do
    if is_finite(x) then
      local whole, fraction, power = split(x, exponent)
      left, right = math.max(left, #whole), math.max(right, #fraction)
      power_width = math.max(power_width, #power)
    else
      other = math.max(other, #special(x))
    end
  end
  left = math.max(left, other - right - power_width - 1)
  local width = left + 1 + right + power_width
  return function(x)
    if not is_finite(x) then return (" "):rep(width - #special(x)) .. special(x) end
    local whole, fraction, power = split(x, exponent)
    local fill = (exponent and "0" or " "):rep(right - #fraction)
    return (" "):rep(left - #whole) .. whole .. "." .. fraction .. fill .. power
  end
end

--- Entries of the last axis, broken into lines that leave room for the closing brackets.
local function row_lines(words, indent, room)
  local lines, line, used = {}, indent, #indent
  for i, w in ipairs(words) do
    local length = utf8.len(w)
    if used > #indent and used + length > room then
      lines[#lines + 1] = line:match "^(.-) *$"
      line, used = indent, #indent
    end
    line = line .. w .. (i < #words and " " or "")
    used = used + length + 1
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function nested(t, ends, format)
  local index = {}
  local function visit(axis, indent)
    local parts = {}
    local last = axis == t.ndim
    each_shown(t.shape[axis], ends, function(i)
      index[axis] = i
      parts[#parts + 1] = last and format(t:get(table.unpack(index))) or visit(axis + 1, indent .. " ")
    end, function() parts[#parts + 1] = "…" end)
    if last then
      return "[" .. row_lines(parts, indent, line_width - axis):sub(#indent + 1) .. "]"
    end
    return "[" .. table.concat(parts, ("\n"):rep(t.ndim - axis) .. indent) .. "]"
  end
  return visit(1, " ")
end

--- A tensor in NumPy's format: brackets, columns, at most 4 decimals; above 1000 numbers only the first and last three
-- entries of each axis. A tensor without axes prints as a number.
-- @tparam tensor t may be released with its tape
-- @treturn string
function display.text(t)
  local shape = check.shape_text(t.shape)
  if not t.alive then return "tensor " .. shape .. ", released with its tape" end
  if t.ndim == 0 then
    local x = t:item()
    return is_finite(x) and string.format("%.6g", x) or special(x)
  end
  if t.count == 0 then return "[] " .. shape end
  local ends = summary(t)
  return nested(t, ends, aligned(shown_numbers(t, ends))) .. " " .. shape
end

-- Images -----------------------------------------------------------------------------

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
local function resample(values, height, width, rows, columns)
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

--- The images of a tensor: a list of {planes = {rows, …}}, one plane (grey) or three.
local function pictures(t, most)
  local list = {}
  local function add(planes)
    if #planes == 1 or #planes == 3 then
      list[#list + 1] = planes
    else
      for _, plane in ipairs(planes) do list[#list + 1] = { plane } end
    end
  end
  if t.ndim == 2 then
    add { t:totable() }
  elseif t.ndim == 3 then
    add(t:totable())
  else
    for i = 1, math.min(t.shape[1], most) do add(core.no_grad(t.select, t, 1, i):totable()) end
  end
  return list
end

local function byte(x)
  return math.floor(math.max(0, math.min(1, x)) * 255 + 0.5)
end

--- Red, green and blue of a pixel as an escape sequence's arguments; NaN is magenta.
local function colour_at(planes, r, c)
  local red, green, blue = planes[1][r][c], planes[#planes][r][c], planes[#planes][r][c]
  if #planes == 3 then green = planes[2][r][c] end
  if red ~= red or green ~= green or blue ~= blue then return "255;0;255" end
  return string.format("%d;%d;%d", byte(red), byte(green), byte(blue))
end

--- One line of half blocks: the upper pixel is the foreground colour, the lower one the background.
local function block_line(planes, r, rows, columns)
  local parts, before = {}, nil
  for c = 1, columns do
    local upper = colour_at(planes, r, c)
    local code = "\27[38;2;" .. upper .. (r < rows and ";48;2;" .. colour_at(planes, r + 1, c) or ";49") .. "m"
    parts[#parts + 1] = (code == before and "" or code) .. "▀"
    before = code
  end
  return table.concat(parts) .. "\27[0m"
end

--- One line of characters, each for the mean of two vertically adjacent pixels; NaN is "?".
local function letter_line(planes, r, rows, columns)
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

local function picture_text(t, columns, colour, most)
  local list = pictures(t, most)
  local height, width = t.shape[t.ndim - 1], t.shape[t.ndim]
  local in_row = math.min(#list, 4)
  local w = math.min(width, math.max(math.min(16, columns), (columns + 1) // in_row - 1))
  local h = math.max(1, math.floor(height * w / width + 0.5))
  in_row = math.max(1, math.min(#list, (columns + 1) // (w + 1)))
  for _, planes in ipairs(list) do
    for k, plane in ipairs(planes) do planes[k] = resample(plane, height, width, h, w) end
  end
  local lines, draw = {}, colour and block_line or letter_line
  for first = 1, #list, in_row do
    if first > 1 then lines[#lines + 1] = "" end
    for r = 1, h, 2 do
      local parts = {}
      for i = first, math.min(first + in_row - 1, #list) do parts[#parts + 1] = draw(list[i], r, h, w) end
      lines[#lines + 1] = table.concat(parts, " ")
    end
  end
  if t.ndim == 4 and t.shape[1] > most then
    lines[#lines + 1] = string.format("… and %d more; show { most = n } shows more", t.shape[1] - most)
  end
  return lines
end

-- Plots -------------------------------------------------------------------------------

-- Dots of a braille letter, U+2800 + their sum: (row, column) in its 4 x 2 grid (Unicode, Braille Patterns).
local dots = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } }

local function range(values)
  local low, high = math.huge, -math.huge
  for _, v in ipairs(values) do
    if is_finite(v) then low, high = math.min(low, v), math.max(high, v) end
  end
  return low, high
end

local function label(x)
  return string.format("%.4g", x)
end

--- Which columns of dots show which numbers: an increasing map onto 1 … wide.
local function column_of(i, n, wide)
  return n == 1 and 1 or 1 + math.floor((i - 1) / (n - 1) * (wide - 1) + 0.5)
end

--- A vector as a line of braille dots with minimum and maximum labelled; values that are not finite are gaps.
local function plot_text(t, columns, rows)
  local values = t:totable()
  local n = #values
  local low, high = range(values)
  if n == 0 or low > high then return { "nothing to plot: no finite numbers" } end
  local margin = math.max(#label(low), #label(high)) + 2
  local cells = math.max(1, math.min(columns - margin, math.max(n // 2 + n % 2, 20)))
  local wide, tall = 2 * cells, 4 * rows
  local grid = {}
  for r = 1, rows do
    grid[r] = {}
    for c = 1, cells do grid[r][c] = 0 end
  end
  local function dot(x, y)
    local r, c = (y - 1) // 4 + 1, (x - 1) // 2 + 1
    grid[r][c] = grid[r][c] | dots[(y - 1) % 4 + 1][(x - 1) % 2 + 1]
  end
  local function height_of(v)
    if high == low then return (tall + 1) // 2 end
    return 1 + math.floor((high - v) / (high - low) * (tall - 1) + 0.5)
  end
  local x0, y0
  for i, v in ipairs(values) do
    if is_finite(v) then
      local x, y = column_of(i, n, wide), height_of(v)
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
  local lines = {}
  for r = 1, rows do
    local letters = {}
    for c = 1, cells do letters[c] = utf8.char(0x2800 + grid[r][c]) end
    local name = r == 1 and label(high) or r == rows and label(low) or ""
    lines[r] = (" "):rep(margin - 2 - #name) .. name .. " ┤" .. table.concat(letters)
  end
  return lines
end

-- Showing ------------------------------------------------------------------------------

local show_options = check.declare("tensor:show", {
  print = { "boolean", default = true, doc = "false: returns the text and prints nothing" },
  width = { "integer", min = 8, max = 10000, doc = "columns; default: COLUMNS, the terminal's, or 80" },
  colour = { "boolean", doc = "colours, or characters; default: by the terminal and NO_COLOR" },
  most = { "integer", default = 32, min = 1, doc = "images of a batch" },
  height = { "integer", default = 8, min = 2, max = 200, doc = "rows of a plot" },
})

--- Shows a tensor in the terminal.
--
-- (H, W) and (C, H, W) are an image with [0, 1] from black to white: one channel grey, three RGB, other numbers of
-- channels side by side; (N, C, H, W) is a grid of images; (N) is a plot; a tensor without axes is a number. On a
-- terminal pixels are 24-bit half blocks, scaled down to its width, NaN magenta; with NO_COLOR set, or where output is
-- not a terminal, they are characters from " " (white) to "@" (black), NaN "?".
-- @function t:show
-- @tparam[opt] table options options
-- @treturn ?string with `print = false`, the text; else nothing, so that a prompt does not print it again
-- @raise more than four axes, a tensor that was released with its tape
-- @usage x[1]:show { width = 32, colour = false }
function display.show(t, options)
  if getmetatable(t) ~= core.metatable then
    check.fail(2, "show: takes a tensor; got %s", check.describe(t))
  end
  options = check.options("show", options, show_options)
  if not t.alive then check.fail(2, "show: this tensor of shape %s was released with its tape",
    check.shape_text(t.shape)) end
  local environment = math.tointeger(tonumber(os.getenv "COLUMNS"))
  local columns = options.width or (environment and environment >= 8 and environment) or core.system.columns() or 80
  local colour = options.colour
  if colour == nil then colour = core.system.isatty(1) and (os.getenv "NO_COLOR" or "") == "" end
  local lines
  if t.ndim == 0 or (t.count == 0 and t.ndim > 1) then
    lines = { display.text(t) }
  elseif t.ndim == 1 then
    lines = plot_text(t, columns, options.height)
  elseif t.ndim <= 4 then
    lines = picture_text(t, columns, colour, options.most)
  else
    check.fail(2, "show: a tensor of at most 4 axes can be shown; this has shape %s", check.shape_text(t.shape))
  end
  local text = table.concat(lines, "\n")
  if not options.print then return text end
  print(text)
end

display.methods = { show = display.show } -- simvae.tensor takes them over

return display
