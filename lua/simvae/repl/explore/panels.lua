--- Outputs side by side: images in half blocks, vectors as curves.
local blocks = require "simvae.tensor.show.blocks"
local braille = require "simvae.tensor.show.braille"
local core = require "simvae.core"
local progress = require "simvae.train.progress"
local wrapped = require "simvae.reference.text".wrapped

local panels = {}

local GAP = "  "

--- Text in a number of columns, cut or filled.
function panels.fit(text, columns)
  local kept, used = progress.cut(text, columns)
  return kept .. (" "):rep(columns - used)
end

-- Joins panels, lists of lines of equal width, side by side.
local function beside(list)
  local lines = {}
  for r = 1, #list[1] do
    local parts = {}
    for i, panel in ipairs(list) do parts[i] = panel[r] end
    lines[r] = table.concat(parts, GAP)
  end
  return lines
end

-- Text in a panel.
local function filled(text, columns, rows)
  local lines = {}
  for line in (wrapped(text, "", "", columns) .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  for r = 1, rows do lines[r] = panels.fit(lines[r] or "", columns) end
  return table.move(lines, 1, rows, 1, {})
end

-- ---- images ------------------------------------------------------------------------------------

-- How a panel shows an image of H x W: so many of its pixels are one, or one is so many.
local function scale_of(H, W, columns, rows)
  local pool = math.max(1, math.ceil(W / columns), math.ceil(H / (2 * rows)))
  local repeats = math.max(1, math.min(columns // W, 2 * rows // H))
  return pool, repeats
end

-- Planes of an image (C, H, W) for a panel; of other numbers of channels than 1 and 3 the chosen one.
local function planes_of(t, pool, repeats, channel)
  local C, H, W = table.unpack(t.shape)
  if C ~= 1 and C ~= 3 then
    t = core.slice(t, 1, channel, channel)
    C = 1
  end
  if pool > 1 then
    local h, w = H // pool * pool, W // pool * pool
    t = core.avg_pool2d(core.slice(core.slice(t, 2, 1, h), 3, 1, w):reshape(1, C, h, w), pool)
    H, W = h // pool, w // pool
  elseif repeats > 1 then
    t = core.upsample2d(t:reshape(1, C, H, W), repeats)
    H, W = H * repeats, W * repeats
  end
  return t:reshape(C, H, W):totable()
end

-- Differences in [-1, 1] as colours: red above, blue below, white none.
local function difference_planes(y, x)
  local planes = { {}, {}, {} }
  for r = 1, #y[1] do
    local red, green, blue = {}, {}, {}
    for c = 1, #y[1][r] do
      local d = 0
      for i = 1, #y do d = d + y[i][r][c] - x[i][r][c] end
      d = math.max(-1, math.min(1, d / #y))
      red[c], green[c], blue[c] = d < 0 and 1 + d or 1, 1 - math.abs(d), d > 0 and 1 - d or 1
    end
    planes[1][r], planes[2][r], planes[3][r] = red, green, blue
  end
  return planes
end

local NARROWEST = 14 -- columns of a panel, for its title

local function image_lines(planes, colours)
  local h, w = #planes[1], #planes[1][1]
  local draw, lines, margin = colours and blocks.colours or blocks.letters, {}, (" "):rep(NARROWEST - w)
  for r = 1, h, 2 do lines[#lines + 1] = draw(planes, r, h, w) .. margin end
  return lines
end

-- Letters for the size of a difference, where there are no colours.
local function magnitude(y, x)
  local plane = {}
  for r = 1, #y[1] do
    plane[r] = {}
    for c = 1, #y[1][r] do
      local d = 0
      for i = 1, #y do d = d + math.abs(y[i][r][c] - x[i][r][c]) end
      plane[r][c] = 1 - math.min(1, d / #y)
    end
  end
  return { plane }
end

-- Panels of images within columns x rows of letters.
local function images(s, columns, rows, colours)
  local shape = s.simulator.output
  local wide = (columns - 2 * #GAP) // 3
  local pool, repeats = scale_of(shape[2], shape[3], wide, rows)
  local y = planes_of(core.select(s.y, 1, 1), pool, repeats, s.channel)
  local w, tall = math.max(NARROWEST, #y[1][1]), (#y[1] + 1) // 2
  local widths = { w, w, columns - 2 * (w + #GAP) }
  if not s.x then
    return widths, beside { image_lines(y, colours), filled(s.failure or "", w, tall), filled("", w, tall) }
  end
  local x = planes_of(core.select(s.x, 1, 1), pool, repeats, s.channel)
  local d = colours and difference_planes(y, x) or magnitude(y, x)
  return widths, beside { image_lines(y, colours), image_lines(x, colours), image_lines(d, colours) }
end

-- ---- curves ------------------------------------------------------------------------------------

local function label(v) return string.format("%.3g", v) end

local LABEL = 8

-- Curves of one series in three panels.
local function series_lines(y, x, cells, rows, failure)
  local low, high = braille.range(y)
  if x then
    local l, h = braille.range(x)
    low, high = math.min(low, l), math.max(high, h)
  end
  if low > high then low, high = 0, 1 end
  local list = { braille.curve(y, low, high, cells, rows) }
  local most = 0
  if x then
    local d = {}
    for i = 1, #y do
      d[i] = y[i] - x[i]
      if d[i] == d[i] then most = math.max(most, math.abs(d[i])) end
    end
    list[2] = braille.curve(x, low, high, cells, rows)
    list[3] = braille.curve(d, -most, most, cells, rows)
  else
    list[2], list[3] = filled(failure or "", cells, rows), filled("", cells, rows)
  end
  for r = 1, rows do
    local name = r == 1 and label(high) or r == rows and label(low) or ""
    list[1][r] = panels.fit((" "):rep(LABEL - 1 - #name) .. name, LABEL) .. list[1][r]
    local away = x and (r == 1 and "+" .. label(most) or r == rows and "-" .. label(most)) or ""
    list[3][r] = panels.fit((" "):rep(LABEL - 1 - #away) .. away, LABEL) .. list[3][r]
  end
  return beside(list)
end

local function part(values, i, n)
  local each = #values // n
  return table.move(values, (i - 1) * each + 1, i * each, 1, {})
end

local FEWEST = 4 -- rows of a curve

-- Panels of curves within columns x rows of letters: all series where there is room, else the chosen one.
local function curves(s, columns, rows, paint)
  local series = s.simulator.series or { { name = "" } }
  local cells = (columns - 2 * #GAP - 2 * LABEL) // 3
  local y, x = core.select(s.y, 1, 1):totable(), s.x and core.select(s.x, 1, 1):totable()
  local first, last = 1, #series
  local titled = #series > 1 and 1 or 0
  if rows // #series < FEWEST + titled then first, last = s.channel, s.channel end
  local each = math.max(FEWEST, rows // (last - first + 1) - titled)
  local lines = {}
  for i = first, last do
    if titled == 1 then
      local unit = series[i].unit and series[i].unit ~= "" and " (" .. series[i].unit .. ")" or ""
      lines[#lines + 1] = paint("faint", (" "):rep(LABEL) .. series[i].name .. unit)
    end
    for _, line in ipairs(series_lines(part(y, i, #series), x and part(x, i, #series), cells, math.min(each, 12),
      s.failure)) do
      lines[#lines + 1] = line
    end
  end
  return { LABEL + cells, cells, LABEL + cells }, lines, last - first + 1 < #series
end

--- The three panels, with their titles.
-- @tparam State s
-- @tparam integer columns
-- @tparam integer rows of letters for them, the title's among these
-- @tparam boolean colours
-- @tparam function paint of simvae.repl.style
-- @treturn {string,...} lines
-- @treturn boolean whether there are other channels or series to choose
function panels.lines(s, columns, rows, colours, paint)
  local image = #s.simulator.output == 3
  local widths, lines, hidden
  if image then
    widths, lines = images(s, columns, rows - 1, colours)
  else
    widths, lines, hidden = curves(s, columns, rows - 1, paint)
  end
  local distance = ""
  if s.x then
    local scope <close> = core.scope()
    distance = string.format(" RMS %.3g", math.sqrt(core.mean(core.square(s.y - s.x)):item()))
  end
  local other = s.given and "given" or s.stale and "simulator …" or "simulator"
  local titles = { "decoder", other, "difference" .. distance }
  for i, title in ipairs(titles) do
    local margin = image and 0 or i ~= 2 and LABEL or 0
    titles[i] = paint("title", panels.fit((" "):rep(margin) .. title, widths[i]))
  end
  table.insert(lines, 1, table.concat(titles, GAP))
  return lines, hidden or image and panels.choices(s.simulator) > 1
end

--- How many channels or series there are to choose from.
function panels.choices(sim)
  if #sim.output == 3 then return (sim.output[1] == 1 or sim.output[1] == 3) and 1 or sim.output[1] end
  return sim.series and #sim.series or 1
end

return panels
