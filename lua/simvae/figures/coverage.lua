--- Expected coverage: how often the central intervals of each parameter's marginal hold the truth, against what they
-- state, and the same of all parameters at once (metrics.tarp).
local check = require "simvae.util.check"
local given = require "simvae.figures.support.sbc"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"

local options = check.declare("figures.coverage", {
  tarp = { "table", doc = "what metrics.tarp returned, a dashed line; default: none" },
  title = { "string", doc = "above the figure; default: none" },
})

local LEVELS = 50
local Z = 1.96 -- of the grey band: each level by itself

-- The share of ranks within the central interval of each level.
local function curve(ranks, draws)
  local off, lines = {}, { "0 0" }
  for i, rank in ipairs(ranks) do off[i] = math.abs(2 * (rank + 0.5) / (draws + 1) - 1) end
  table.sort(off)
  local at = 0
  for level = 1, LEVELS do
    while off[at + 1] and off[at + 1] <= level / LEVELS do at = at + 1 end
    lines[#lines + 1] = string.format("%.6g %.6g", level / LEVELS, at / #ranks)
  end
  return lines
end

--- Draws expected coverage.
-- @tparam string path of the PNG; the numbers go to a .dat beside it
-- @tparam table sbc what metrics.sbc returned
-- @tparam integer draws posterior draws of each simulation, L of metrics.sbc
-- @tparam[opt] {string,...} names of the parameters
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise a table that metrics.sbc did not return, unknown options
-- @usage
-- local draws = p:sample(100, sv.rng(3))
-- sv.figures.coverage("coverage.png", sv.metrics.sbc(draws, z, { names = ring.names }), 100, ring.names)
local function coverage(path, sbc, draws, names, opts)
  local o = check.options("coverage", opts, options)
  given.check("coverage", path, sbc, draws)
  local n, data, plots, band = #sbc[1].ranks, {}, {}, {}
  for level = 0, LEVELS do
    local a = level / LEVELS
    local width = Z * math.sqrt(a * (1 - a) / n)
    band[#band + 1] = string.format("%.6g %.6g %.6g", a, a - width, a + width)
  end
  data[1] = table.concat(band, "\n")
  plots[1] = "data index 0 using 1:2:3 with filledcurves linecolor rgb '#dddddd' title 'right, 95%'"
  for k, r in ipairs(sbc) do
    data[#data + 1] = "# " .. given.name(names, k) .. "\n" .. table.concat(curve(r.ranks, draws), "\n")
    plots[#plots + 1] = string.format("data index %d using 1:2 with lines linewidth 2 linecolor rgb '%s' dashtype %d "
      .. "title %s", #data - 1, palette.lines[(k - 1) % #palette.lines + 1], 1 + (k - 1) // #palette.lines,
      output.quote(given.name(names, k)))
  end
  if o.tarp then
    local lines = {}
    for i, a in ipairs(o.tarp.alpha) do lines[i] = string.format("%.6g %.6g", a, o.tarp.coverage[i]) end
    data[#data + 1] = table.concat(lines, "\n")
    plots[#plots + 1] = string.format("data index %d using 1:2 with lines linewidth 2 linecolor rgb '#222222' "
      .. "dashtype 2 title 'all together'", #data - 1)
  end
  local script = string.format("set size square\nset key outside right\nset xrange [0:1]\nset yrange [0:1]\n"
    .. "set xtics 0.2\nset ytics 0.2\nset xlabel 'stated'\nset ylabel 'share of true parameters'\n%splot %s",
    o.title and "set title " .. output.quote(o.title) .. "\n" or "", table.concat(plots, ", "))
  return output.chart(path, data, { script }, 640, 480, 10)
end

local reported = { order = 78 }

function reported.figures(folder, c)
  local found = c.r.calibration
  if not found then return {} end
  local path, why = coverage(folder .. "/coverage.png", found.sbc, found.draws, c.r.names, { tarp = found.tarp })
  return { { path = path, why = why, caption = "Expected coverage: the share of true parameters within the posterior's "
    .. "central intervals, against what these state. Below the diagonal: too narrow; above: too wide." } }
end

return { draw = coverage, reported = reported }
