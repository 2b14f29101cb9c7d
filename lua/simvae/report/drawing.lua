--- Outputs as parts of a page: images as embedded pictures, vectors as curves in SVG.
local base64 = require "simvae.util.base64"
local core = require "simvae.core"
local page = require "simvae.report.page"
local picture = require "simvae.figures.support.picture"

local drawing = {}

--- The URL of an embedded picture.
-- @tparam tensor t (C, H, W)
-- @treturn string
function drawing.url(t)
  return "data:image/png;base64," .. base64(core.io.encode_png(t, 1))
end

--- An image.
-- @tparam tensor t (C, H, W)
-- @tparam string text what it shows
-- @treturn string HTML
function drawing.image(t, text)
  return string.format('<img class="pixels" alt="%s" src="%s">', page.escape(text),
    drawing.url(picture.colours(t)))
end

--- The least and the largest of the numbers of tensors, a little apart.
-- @tparam tensor ...
-- @treturn number
-- @treturn number
function drawing.range(...)
  local low, high = math.huge, -math.huge
  for _, t in ipairs { ... } do
    low, high = math.min(low, core.min(t):item()), math.max(high, core.max(t):item())
  end
  if low == high then low, high = low - 1, high + 1 end
  return low, high
end

--- The curves that make up a vector output: as a simulator declares them, or the whole of it.
-- @tparam Simulator sim
-- @treturn {table,...} { title =, first =, last = } in order
function drawing.series(sim)
  local n, list = sim.output[1], {}
  local declared = sim.series or { { name = "" } }
  for i, one in ipairs(declared) do
    local unit = one.unit and one.unit ~= "" and " (" .. one.unit .. ")" or ""
    list[i] = { title = one.name .. unit, first = (i - 1) * n // #declared + 1, last = i * n // #declared }
  end
  return list
end

-- The points of a curve in a box of 100 x 60.
local function points(values, low, high)
  local list, n = {}, #values
  for i, v in ipairs(values) do
    list[i] = string.format("%.1f,%.1f", n == 1 and 50 or 100 * (i - 1) / (n - 1), 58 - 56 * (v - low) / (high - low))
  end
  return table.concat(list, " ")
end

--- A curve of an SVG of `drawing.chart`.
-- @tparam tensor t (n)
-- @tparam string class
-- @tparam number low
-- @tparam number high
-- @treturn string
function drawing.curve(t, class, low, high)
  return string.format('<polyline class="%s" points="%s"/>', class, points(t:totable(), low, high))
end

--- Curves in a frame.
-- @tparam string curves of `drawing.curve`
-- @tparam string text what they show
-- @tparam ?string title
-- @treturn string HTML
function drawing.chart(curves, text, title)
  local above = title and title ~= "" and "<h4>" .. page.escape(title) .. "</h4>" or ""
  return above .. string.format('<svg class="chart" viewBox="0 0 100 60" preserveAspectRatio="none" role="img" '
    .. 'aria-label="%s">%s</svg>', page.escape(text), curves)
end

return drawing
