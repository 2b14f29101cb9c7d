--- Ranks of the truth among posterior draws (simulation-based calibration), for each parameter: above, their histogram
-- with the range of counts of uniform ranks; below, the difference of their distribution function from the uniform one,
-- with the band that uniform ranks stay within at every level together (Säilynoja, Bürkner and Vehtari 2022).
local check = require "simvae.util.check"
local given = require "simvae.figures.support.sbc"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"

local options = check.declare("figures.ranks", {
  title = { "string", doc = "above the figure; default: none" },
  columns = { "integer", default = 5, min = 1, doc = "panels side by side, at most" },
})

local GREY, BAD = "#d9d9d9", palette.lines[2]
local NORMAL = { [10] = 2.81, [20] = 3.02, [50] = 3.29 } -- of so many bins, each within it with a level of 95% together

-- Counts that all bins of uniform ranks stay between with a probability of about 95% (normal approximation; Šidák).
local function counts_between(n, bins)
  local z = NORMAL[bins] or 3
  local mean, deviation = n / bins, math.sqrt(n / bins * (1 - 1 / bins))
  return math.max(0, mean - z * deviation), mean + z * deviation
end

local function histogram_panel(add, block, r, name, n)
  local lines, top = {}, 0
  local bins = #r.histogram
  for b, count in ipairs(r.histogram) do
    lines[b] = string.format("%.6g %d", (b - 0.5) / bins, count)
    top = math.max(top, count)
  end
  local low, high = counts_between(n, bins)
  add("set title %s", output.quote(name .. (r.uniform and ": uniform" or ": NOT uniform")))
  add("set xrange [0:1]\nset yrange [0:%.6g]\nset xlabel ''\nset ylabel 'samples'", 1.08 * math.max(top, high))
  add("set xtics 0.5\nset ytics %.6g", output.step(1.08 * math.max(top, high), 3))
  add("set object 1 rectangle from 0, %.6g to 1, %.6g behind fillcolor rgb '%s' fillstyle solid noborder", low, high,
    GREY)
  add("set boxwidth %.6g", 0.86 / bins)
  add("plot data index %d using 1:2 with boxes linecolor rgb '%s'", block(lines), r.uniform and palette.lines[1] or BAD)
  add("unset object 1")
end

local function difference_panel(add, block, r, n, draws)
  local counts, lines, band, below, reach = {}, {}, {}, 0, 0
  for _, rank in ipairs(r.ranks) do counts[rank] = (counts[rank] or 0) + 1 end
  for rank = 0, draws do
    below = below + (counts[rank] or 0)
    local q = (rank + 1) / (draws + 1)
    local width = r.band * math.sqrt(q * (1 - q) / n)
    lines[#lines + 1] = string.format("%.6g %.6g", q, below / n - q)
    band[#band + 1] = string.format("%.6g %.6g %.6g", q, -width, width)
    reach = math.max(reach, math.abs(below / n - q), width)
  end
  add("set title ''\nset xlabel 'rank'\nset ylabel 'difference'\nset xrange [0:1]\nset yrange [%.6g:%.6g]",
    -1.1 * reach, 1.1 * reach)
  add("set xtics 0.5\nset ytics %.6g", output.step(2.2 * reach, 4))
  add("plot data index %d using 1:2:3 with filledcurves linecolor rgb '%s', data index %d using 1:2 with lines "
    .. "linewidth 1.5 linecolor rgb '%s'", block(band), GREY, block(lines), r.uniform and palette.lines[1] or BAD)
end

--- Draws the ranks of each parameter.
-- @tparam string path of the PNG; the numbers go to a .dat beside it
-- @tparam table sbc what metrics.sbc returned
-- @tparam integer draws posterior draws of each simulation, L of metrics.sbc
-- @tparam[opt] {string,...} names of the parameters
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise a table that metrics.sbc did not return, unknown options
-- @usage
-- local draws = p:sample(100, sv.rng(3))
-- sv.figures.ranks("ranks.png", sv.metrics.sbc(draws, z, { names = ring.names }), 100, ring.names)
local function ranks(path, sbc, draws, names, opts)
  local o = check.options("ranks", opts, options)
  given.check("ranks", path, sbc, draws)
  local K, n, data, script = #sbc, #sbc[1].ranks, {}, {}
  local function add(...) script[#script + 1] = string.format(...) end
  local function block(lines)
    data[#data + 1] = table.concat(lines, "\n")
    return #data - 1
  end
  local rows, columns = output.layout(K, o.columns)
  add("set multiplot layout %d,%d%s\nunset key", 2 * rows, columns, o.title and " title " .. output.quote(o.title)
    or "")
  for row = 1, rows do
    local first, last = (row - 1) * columns + 1, math.min(row * columns, K)
    for k = first, last do histogram_panel(add, block, sbc[k], given.name(names, k), n) end
    for _ = last + 1, row * columns do add("set multiplot next") end
    for k = first, last do difference_panel(add, block, sbc[k], n, draws) end
    for _ = last + 1, row * columns do add("set multiplot next") end
  end
  add("unset multiplot")
  return output.chart(path, data, script,
    math.max(420, 230 * columns), 360 * rows + (o.title and 30 or 0), 9)
end

local reported = { order = 77 }

function reported.figures(folder, c)
  local found = c.r.calibration
  if not found then return {} end
  local path, why = ranks(folder .. "/ranks.png", found.sbc, found.draws, c.r.names)
  return { { path = path, why = why, caption = string.format("Ranks of the true parameters among %d draws of the "
    .. "posterior, %d samples. Grey: where uniform ranks, those of a right posterior, stay with a probability of 95%%. "
    .. "Ranks that pile up at both ends, or a difference that falls after rising: too narrow; in the middle: too wide; "
    .. "at one end: biased.", found.draws, found.samples) } }
end

return { draw = ranks, reported = reported }
