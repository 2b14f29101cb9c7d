--- Display of tensors: as text (print), as images and plots in the terminal (show).
local check = require "simvae.util.check"
local core = require "simvae.core"
local front_end = require "simvae.util.front_end"
local terminal = require "simvae.util.terminal"

-- Read when first used: `require "simvae"` stays quick.
local function blocks() return require "simvae.tensor.show.blocks" end
local function braille() return require "simvae.tensor.show.braille" end
local function graphics() return require "simvae.util.graphics" end

local display = {}

local threshold, edge, line_width = 1000, 3, 75 -- NumPy's defaults
local PICTURE_WIDTH, CURVE_COLUMNS = 512, 80 -- pixels of images in a front end; columns of its curves as text
local LINES = 0.5 -- opacity of lines between its images: on white ground white images would run into each other
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

local function picture_text(t, columns, colour, most)
  local list = pictures(t, most)
  local height, width = t.shape[t.ndim - 1], t.shape[t.ndim]
  local in_row = math.min(#list, 4)
  local w = math.min(width, math.max(math.min(16, columns), (columns + 1) // in_row - 1))
  local h = math.max(1, math.floor(height * w / width + 0.5))
  in_row = math.max(1, math.min(#list, (columns + 1) // (w + 1)))
  for _, planes in ipairs(list) do
    for k, plane in ipairs(planes) do planes[k] = blocks().resample(plane, height, width, h, w) end
  end
  local lines, draw = {}, colour and blocks().colours or blocks().letters
  for first = 1, #list, in_row do
    if first > 1 then lines[#lines + 1] = "" end
    for r = 1, h, 2 do
      local parts = {}
      for i = first, math.min(first + in_row - 1, #list) do parts[#parts + 1] = draw(list[i], r, h, w) end
      lines[#lines + 1] = table.concat(parts, " ")
    end
  end
  return lines
end

-- The images as one picture in a protocol of terminals, in pixels no larger than half blocks would be.
local function graphics_text(t, columns, protocol, most)
  local list = pictures(t, most)
  local height, width = t.shape[t.ndim - 1], t.shape[t.ndim]
  local cell = graphics().cell()
  local room = math.floor(columns * cell)
  local in_row = math.max(1, math.min(#list, 4, (room + 1) // (width + 1)))
  if width > room then
    local h = math.max(1, math.floor(height * room / width + 0.5))
    for _, planes in ipairs(list) do
      for k, plane in ipairs(planes) do planes[k] = blocks().resample(plane, height, width, h, room) end
    end
  end
  local rows = require("simvae.tensor.show.raster").compose(list, in_row)
  local scale = math.max(1, math.min(math.floor(cell), room // rows.width))
  return require("simvae.tensor.show." .. protocol).text(rows, scale)
end

local function image_lines(t, columns, options, colour)
  local lines
  if options.graphics and options.graphics ~= "blocks" then
    lines = { graphics_text(t, columns, options.graphics, options.most) }
  else
    lines = picture_text(t, columns, colour, options.most)
  end
  if t.ndim == 4 and t.shape[1] > options.most then
    lines[#lines + 1] = string.format("… and %d more; show { most = n } shows more", t.shape[1] - options.most)
  end
  return lines
end

-- In a front end, such as a notebook: images as a PNG, a vector as a curve.
local function show_in(front, t, options)
  local shape = check.shape_text(t.shape)
  if t.ndim == 1 then
    front.curve(t, table.concat(braille().plot(t:totable(), CURVE_COLUMNS, options.height), "\n"))
    return
  end
  local list = pictures(t, options.most)
  local rows = require("simvae.tensor.show.raster").compose(list, math.min(#list, 8))
  local scale = math.max(1, math.min(8, PICTURE_WIDTH // rows.width))
  front.display { ["image/png"] = require("simvae.tensor.show.raster").png(rows, scale, LINES),
    ["text/plain"] = (t.ndim == 4 and "images " or "image ") .. shape }
  if t.ndim == 4 and t.shape[1] > options.most then
    print(string.format("… and %d more; show { most = n } shows more", t.shape[1] - options.most))
  end
end

-- Showing ------------------------------------------------------------------------------

local show_options = check.declare("tensor:show", {
  print = { "boolean", default = true, doc = "false: returns the text and prints nothing" },
  width = { "integer", min = 8, max = 10000, doc = "columns; default: COLUMNS, the terminal's, or 80" },
  colour = { "boolean", doc = "colours, or characters; default: by the terminal and NO_COLOR" },
  most = { "integer", default = 32, min = 1, doc = "images of a batch" },
  height = { "integer", default = 8, min = 2, max = 200, doc = "rows of a plot" },
  graphics = { "string", one_of = { "blocks", "kitty", "sixel" }, doc = "how images are drawn: half blocks, kitty's "
    .. "graphics protocol, sixels; default: what the terminal says that it shows" },
})

--- Shows a tensor in the terminal.
--
-- (H, W) and (C, H, W) are an image with [0, 1] from black to white: one channel grey, three RGB, other numbers of
-- channels side by side; (N, C, H, W) is a grid of images; (N) is a plot; a tensor without axes is a number. On a
-- terminal pixels are pictures where it says that it shows them (kitty's graphics protocol, sixels), else 24-bit half
-- blocks, scaled down to its width, NaN magenta; with NO_COLOR set, on a terminal without colours, or where output is
-- not a terminal, they are characters from " " (white) to "@" (black), NaN "?". In a notebook they are pictures, and
-- (N) is a curve.
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
  if colour == nil then colour = terminal.colours(1) end
  if not options.graphics and options.print and options.colour == nil and t.ndim > 1 and t.count > 0 then
    options.graphics = graphics().protocol()
  end
  local front = options.print and options.graphics == nil and options.colour == nil and front_end.get()
  if front and t.ndim > 0 and t.ndim <= 4 and t.count > 0 then return show_in(front, t, options) end
  local lines
  if t.ndim == 0 or (t.count == 0 and t.ndim > 1) then
    lines = { display.text(t) }
  elseif t.ndim == 1 then
    lines = braille().plot(t:totable(), columns, options.height)
  elseif t.ndim <= 4 then
    lines = image_lines(t, columns, options, colour)
  else
    check.fail(2, "show: a tensor of at most 4 axes can be shown; this has shape %s", check.shape_text(t.shape))
  end
  local text = table.concat(lines, "\n")
  if not options.print then return text end
  print(text)
end

display.methods = { show = display.show } -- simvae.tensor takes them over

return display
