--- Drawing for simulators: antialiased shapes on a tensor.
--
--     simulate = function(z, out)
--       local canvas = sv.draw(out):clear(1)
--       canvas:circle(z.x, z.y, z.r, { fill = "navy" })
--       canvas:line(0, 0, z.x, z.y, { width = 2 })
--     end
--
-- Geometry is in pixels, the origin at the lower left corner, y up. Coverage is exact, so that
-- the image is a continuous function of the parameters. Numbers that are not finite draw nothing.
--
-- Options of every shape: `fill` and `stroke`, a colour each; `width` of the stroke in px (1);
-- `opacity` (1); `caps` "butt" (default) or "round"; `joins` "round" (default) or "bevel"; `rule`
-- "nonzero" (default) or "evenodd"; `colour`: short for the fill of a closed shape, the stroke
-- of a line. Without any of these a closed shape is filled and a line stroked, in black on a
-- light ground and white on a dark one. With both, the fill comes first.
--
-- A colour is a number (grey, 0 to 1), a list of one number a channel, a name, or "#rrggbb".
local check = require "simvae.util.check"
local core = require "simvae.core"

local draw = {}
local Canvas = {}
Canvas.__index = Canvas

local names = {
  black = "#000000", white = "#ffffff", grey = "#808080", gray = "#808080", red = "#ff0000", green = "#008000",
  blue = "#0000ff", yellow = "#ffff00", orange = "#ffa500", purple = "#800080", cyan = "#00ffff",
  magenta = "#ff00ff", navy = "#000080", teal = "#008080", brown = "#a52a2a", pink = "#ffc0cb",
}

local shape_options = {
  fill = { "number|string|table", doc = "colour of the inside" },
  stroke = { "number|string|table", doc = "colour of the outline; with a fill it is drawn over it" },
  colour = { "number|string|table",
    doc = "short for the fill of a closed shape and the stroke of a line; default: black on a light ground, white on a "
      .. "dark one" },
  width = { "number", min = 0, doc = "of the stroke, in px; default 1" },
  opacity = { "number", min = 0, doc = "of fill and stroke, up to 1; default 1" },
  caps = { "string", one_of = { "butt", "round" }, doc = "ends of lines; default \"butt\"" },
  joins = { "string", one_of = { "round", "bevel" }, doc = "corners of lines; default \"round\"" },
  rule = { "string", one_of = { "nonzero", "evenodd" }, doc = "what is inside; default \"nonzero\"" },
}
local option_names = {}
for name in pairs(shape_options) do option_names[#option_names + 1] = name end
table.sort(option_names)
for _, shape in ipairs { "rect", "polygon", "line", "polyline", "circle", "ellipse", "curve" } do
  check.declare("canvas:" .. shape, shape_options)
end

local colours = { fill = true, stroke = true, colour = true } -- checked by parse_colour

-- Grey of a colour: luma of ITU-R BT.709.
local function grey_of(r, g, b) return 0.2126 * r + 0.7152 * g + 0.0722 * b end

local function parse_colour(what, v, channels)
  local list = {}
  if type(v) == "number" then
    for i = 1, channels do list[i] = v end
    return list
  end
  if type(v) == "table" then
    if #v ~= channels then check.fail(4, "%s: a colour has %d numbers here; got %d", what, channels, #v) end
    return v
  end
  local hex = type(v) == "string" and (names[v] or v)
  local r, g, b = (hex or ""):match "^#(%x%x)(%x%x)(%x%x)$"
  if not r then
    local all = {}
    for name in pairs(names) do all[#all + 1] = name end
    check.fail(4, "%s: %s is no colour: a number, a list of numbers, a name or \"#rrggbb\"%s", what, check.describe(v),
      check.suggestion(v, all))
  end
  list = { tonumber(r, 16) / 255, tonumber(g, 16) / 255, tonumber(b, 16) / 255 }
  if channels == 3 then return list end
  if channels == 1 then return { grey_of(table.unpack(list)) } end
  check.fail(4, "%s: %q has three channels, the canvas %d: give a list of numbers", what, v, channels)
end

local function check_options(what, o)
  if type(o) ~= "table" then check.fail(4, "%s: takes a table of options last; got %s", what, check.describe(o)) end
  for name, value in pairs(o) do
    local rule = shape_options[name]
    if not rule then
      check.fail(4, "%s: unknown option %s%s", what, check.describe(name),
        check.suggestion(name, option_names, "; the options are " .. table.concat(option_names, ", ")))
    end
    if not colours[name] then check.value(what, name, value, rule, 5) end
  end
end

local no_options = {}

-- Draws the fill, then the stroke.
local function paint(self, shape, closed, numbers, o)
  if o ~= nil then check_options(shape, o) end
  o = o or no_options
  local fill, stroke = o.fill, o.stroke
  if fill == nil and stroke == nil then
    local colour = o.colour
    if colour == nil then colour = self.ink end
    if closed then fill = colour else stroke = colour end
  end
  local opacity = o.opacity or 1
  local round, bevel, even_odd = o.caps == "round", o.joins == "bevel", o.rule == "evenodd"
  if fill and shape ~= "line" then
    core.canvas(shape, self.out, numbers, parse_colour(shape, fill, self.channels), 0, opacity, round, bevel, even_odd)
  end
  local width = o.width or 1
  if stroke and width > 0 then
    core.canvas(shape, self.out, numbers, parse_colour(shape, stroke, self.channels), width, opacity, round, bevel,
      even_odd)
  end
  return self
end

-- { x1, y1, x2, y2, … }, { { x1, y1 }, … }, or a tensor (N, 2), as a flat list.
local function flat(what, points)
  if getmetatable(points) == core.metatable then points = points:totable() end
  if type(points) ~= "table" or #points == 0 then
    check.fail(3, "%s: takes points: { x1, y1, x2, y2, … } or { { x1, y1 }, … }; got %s", what, check.describe(points))
  end
  if type(points[1]) ~= "table" then return points end
  local list = {}
  for i, p in ipairs(points) do
    if type(p) ~= "table" or #p ~= 2 then check.fail(3, "%s: point %d is not { x, y }", what, i) end
    list[2 * i - 1], list[2 * i] = p[1], p[2]
  end
  return list
end

--- Fills the whole canvas.
-- @tparam ?number|string|table colour 1 (white); a number, a list of one a channel, a name, or "#rrggbb"
-- @treturn Canvas itself, as every method returns
-- @raise an unknown colour
-- @usage
-- local out = sv.zeros(3, 32, 32)
-- sv.draw(out):clear "navy"
-- sv.io.save_png("clear.png", out, { scale = 6 })
function Canvas:clear(colour)
  local list = parse_colour("clear", colour == nil and 1 or colour, self.channels)
  if self.channels == 1 then
    self.out:fill(list[1])
  else
    for k, v in ipairs(list) do self.out[k]:fill(v) end
  end
  local mean = 0
  for _, v in ipairs(list) do mean = mean + v / #list end
  self.ink = mean > 0.5 and 0 or 1
  return self
end

--- A rectangle with its lower left corner at (x, y).
-- @tparam number x px
-- @tparam number y px
-- @tparam number w width, px
-- @tparam number h height, px
-- @tparam ?table options options
-- @treturn Canvas itself
-- @raise unknown options, an unknown colour
-- @usage
-- local out = sv.ones(3, 32, 32)
-- sv.draw(out):rect(6, 8, 20, 12, { fill = "orange", stroke = "black" })
-- sv.io.save_png("rect.png", out, { scale = 6 })
function Canvas:rect(x, y, w, h, options) return paint(self, "rect", true, { x, y, w, h }, options) end

--- A closed polygon; it may cross itself.
-- @tparam table|tensor points { x1, y1, x2, y2, … }, { { x1, y1 }, … } or a tensor (N, 2), in px
-- @tparam ?table options options
-- @treturn Canvas itself
-- @raise fewer than two points, unknown options
-- @usage
-- local out = sv.ones(3, 32, 32)
-- sv.draw(out):polygon({ { 4, 4 }, { 28, 8 }, { 16, 28 } }, { fill = "teal" })
-- sv.io.save_png("polygon.png", out, { scale = 6 })
function Canvas:polygon(points, options) return paint(self, "polygon", true, flat("polygon", points), options) end

--- A straight line.
-- @tparam number x1 px
-- @tparam number y1 px
-- @tparam number x2 px
-- @tparam number y2 px
-- @tparam ?table options options
-- @treturn Canvas itself
-- @raise unknown options, an unknown colour
-- @usage
-- local out = sv.ones(1, 32, 32)
-- sv.draw(out):line(4, 4, 28, 24, { width = 3, caps = "round" })
-- sv.io.save_png("line.png", out, { scale = 6 })
function Canvas:line(x1, y1, x2, y2, options) return paint(self, "line", false, { x1, y1, x2, y2 }, options) end

--- Straight lines from point to point.
-- @tparam table|tensor points { x1, y1, x2, y2, … }, { { x1, y1 }, … } or a tensor (N, 2), in px
-- @tparam ?table options options
-- @treturn Canvas itself
-- @raise fewer than two points, unknown options
-- @usage
-- local out = sv.ones(1, 32, 32)
-- sv.draw(out):polyline({ 4, 4, 12, 28, 20, 4, 28, 28 }, { width = 2, joins = "bevel" })
-- sv.io.save_png("polyline.png", out, { scale = 6 })
function Canvas:polyline(points, options) return paint(self, "polyline", false, flat("polyline", points), options) end

--- A circle about (x, y).
-- @tparam number x px
-- @tparam number y px
-- @tparam number radius px
-- @tparam ?table options options
-- @treturn Canvas itself
-- @raise unknown options, an unknown colour
-- @usage
-- local out = sv.ones(1, 32, 32)
-- sv.draw(out):circle(16, 16, 10, { fill = 0.7, stroke = "black", width = 2 })
-- sv.io.save_png("circle.png", out, { scale = 6 })
function Canvas:circle(x, y, radius, options) return paint(self, "circle", true, { x, y, radius }, options) end

--- An ellipse about (x, y) with half-axes a and b.
-- @tparam number x px
-- @tparam number y px
-- @tparam number a px
-- @tparam number b px
-- @tparam ?number angle of the first axis, radians, counter-clockwise (0); may be left out before options
-- @tparam ?table options options
-- @treturn Canvas itself
-- @raise unknown options, an unknown colour
-- @usage
-- local out = sv.ones(1, 32, 32)
-- sv.draw(out):ellipse(16, 16, 12, 6, math.rad(30))
-- sv.io.save_png("ellipse.png", out, { scale = 6 })
function Canvas:ellipse(x, y, a, b, angle, options)
  if type(angle) == "table" then angle, options = 0, angle end
  return paint(self, "ellipse", true, { x, y, a, b, angle or 0 }, options)
end

--- A smooth curve through all points (centripetal Catmull-Rom); filled, a straight line closes it.
-- @tparam table|tensor points { x1, y1, x2, y2, … }, { { x1, y1 }, … } or a tensor (N, 2), in px
-- @tparam ?table options options
-- @treturn Canvas itself
-- @raise fewer than two points, unknown options
-- @usage
-- local out = sv.ones(1, 32, 32)
-- sv.draw(out):curve({ 4, 16, 12, 26, 20, 6, 28, 16 }, { width = 2 })
-- sv.io.save_png("curve.png", out, { scale = 6 })
function Canvas:curve(points, options) return paint(self, "curve", false, flat("curve", points), options) end

function Canvas:__tostring() return "canvas " .. check.shape_text(self.out.shape) end

--- A canvas on a tensor, which it draws on.
-- @tparam tensor out (C, H, W); 1 = white
-- @treturn Canvas clear, rect, polygon, line, polyline, circle, ellipse, curve
-- @raise a tensor of another shape
-- @usage
-- local out = sv.ones(1, 32, 32)
-- sv.draw(out):clear(1):circle(16, 16, 8, { stroke = 0, width = 2 })
-- sv.io.save_png("circle.png", out, { scale = 6 })
function draw.draw(out)
  if getmetatable(out) ~= core.metatable or out.ndim ~= 3 then
    check.fail(2, "draw: takes a tensor of (channels, height, width); got %s", check.shape_of(out))
  end
  return setmetatable({ out = out, channels = out.shape[1], ink = 1 }, Canvas)
end

require("simvae.util.names").class(Canvas, "canvas", { "out", "channels", "ink" })

return draw
