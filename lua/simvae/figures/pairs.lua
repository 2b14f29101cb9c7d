--- Corner plot of a posterior: marginal distributions on the diagonal, with the lines of their 16%, 50% and 84%
-- quantiles, and joint densities of all pairs of parameters below it, with the smallest regions that hold 68% and 95%.
local check = require "simvae.util.check"
local core = require "simvae.core"
local density = require "simvae.figures.support.density"
local matrix = require "simvae.metrics.support.matrix"
local noise = require "simvae.simulator.noise"
local output = require "simvae.figures.support.output"
local pair_axis = require "simvae.figures.support.pair_axis"
local palette = require "simvae.figures.support.palette"
local quantile = require "simvae.util.quantile"

local options = check.declare("figures.pairs", {
  truth = { "table|tensor", doc = "the true parameters (by name, a list, or a tensor), drawn as lines; default: none" },
  samples = { "integer", default = 5000, min = 100, doc = "draws of a posterior" },
  reference = { "tensor", doc = "samples (M, K) to lay over, as contours and outlines; default: none" },
  names = { "table", doc = "of the columns of a tensor; default z1, z2, …" },
  units = { "table", doc = "of the columns of a tensor" },
  simulator = { "table", class = "Simulator",
    doc = "of a tensor: whose names, units, scales, periods and classes hold" },
  number = { "integer", default = 1, min = 1, doc = "which of the posterior's outputs" },
  title = { "string", doc = "above the figure; default: none" },
  size = { "integer", min = 200, max = 4000, doc = "of a side, in pixels; default: by the number of parameters" },
  seed = { "integer", default = 1, doc = "of the draws" },
})

local SHARES = { 0.68, 0.95 }
local QUANTILES = { 0.16, 0.5, 0.84 }
local TRUTH, REFERENCE, OWN = palette.lines[2], palette.lines[3], palette.lines[1]

-- ---- arguments ----------------------------------------------------------------------------

-- The parameters' declarations of a tensor of samples.
local function declared(o, K)
  if o.simulator then return o.simulator.params end
  local params = {}
  for k = 1, K do params[k] = { name = o.names and o.names[k] or "z" .. k, unit = o.units and o.units[k] } end
  return params
end

-- Samples (M, K) and declarations.
local function samples_of(p, o)
  if getmetatable(p) == core.metatable then
    if p.ndim == 3 and p.shape[1] >= o.number then p = p[o.number] end
    local z = matrix.check("pairs", "p", p, 4)
    local params = declared(o, z.shape[2])
    if #params ~= z.shape[2] then
      check.fail(3, "pairs: p has %d columns, the simulator %d parameters", z.shape[2], #params)
    end
    return z, params
  end
  if type(p) ~= "table" or type(rawget(p, "model")) ~= "table" or type(p.sample) ~= "function" then
    check.fail(3, "pairs: takes a posterior (model:posterior(x)), or a tensor of samples (M, K); got %s",
      check.describe(p))
  end
  if o.number > p.count then
    check.fail(3, "pairs: number = %d, and the posterior is of %d output%s", o.number, p.count,
      p.count == 1 and "" or "s")
  end
  local z = p:sample(o.samples, core.rng(o.seed))
  return z[o.number], p.model.simulator.params
end

-- The truth as a list of K numbers.
local function truth_of(given, params)
  if given == nil then return nil end
  local list = given
  if getmetatable(given) == core.metatable then
    list = given:reshape(-1):totable()
  elseif given[1] == nil then
    list = {}
    for k, p in ipairs(params) do
      check.value("pairs", "truth of " .. p.name, given[p.name], { "number" }, 4)
      list[k] = given[p.name]
    end
  end
  if #list ~= #params then
    check.fail(3, "pairs: truth takes a number for each of the %d parameters; got %s", #params, check.describe(given))
  end
  for k, v in ipairs(list) do check.value("pairs", "truth of " .. params[k].name, v, { "number" }, 4) end
  return list
end

-- Finite columns, of as many parameters.
local function columns_of(what, t, K)
  local z = matrix.check("pairs", what, t, 4)
  if z.shape[2] ~= K then check.fail(3, "pairs: %s has %d columns, p has %d", what, z.shape[2], K) end
  matrix.check_finite("pairs", what, z, nil, 4)
  return matrix.columns(z)
end

-- ---- panels -------------------------------------------------------------------------------

local Chart = {} -- the data and the script in the making
Chart.__index = Chart

function Chart:add(...) self.script[#self.script + 1] = string.format(...) end

-- A block of data; returns its number.
function Chart:block(lines)
  self.data[#self.data + 1] = #lines > 0 and table.concat(lines, "\n") or "nan nan"
  return #self.data - 1
end

-- Places the next panel in column i, row j (from 1, at the top).
function Chart:place(i, j)
  local cell, gap = self.cell, self.gap
  local x, y = self.left + (i - 1) * (cell + gap), self.top + (j - 1) * (cell + gap)
  self:add("set lmargin at screen %.6f\nset rmargin at screen %.6f", x / self.size, (x + cell) / self.size)
  self:add("set tmargin at screen %.6f\nset bmargin at screen %.6f", 1 - y / self.size, 1 - (y + cell) / self.size)
end

local function scaled(axis, values)
  local list = {}
  for s, v in ipairs(values) do list[s] = axis.coordinate(v) end
  return list
end

-- Outline of a histogram as steps.
local function steps(axis, shares)
  local lines, width = {}, (axis.high - axis.low) / axis.cells
  lines[1] = string.format("%.8g 0", axis.low)
  for i, v in ipairs(shares) do
    lines[#lines + 1] = string.format("%.8g %.8g", axis.low + (i - 1) * width, v)
    lines[#lines + 1] = string.format("%.8g %.8g", axis.low + i * width, v)
  end
  lines[#lines + 1] = string.format("%.8g 0", axis.high)
  return lines
end

local function largest(list)
  local m = 0
  for _, v in ipairs(list) do m = math.max(m, v) end
  return m
end

-- Bounds of a class's axis are the outer sides of its bars.
local function ranges(chart, axis, which)
  chart:add("set %srange [%.8g:%.8g]", which, axis.low, axis.high)
end

-- The text above a diagonal panel: the median and the distances of the outer quantiles.
local function summary(axis, sorted)
  local function at(i) return axis.value(quantile.nearest(sorted, QUANTILES[i])) end
  local p, low, middle, high = axis.param, at(1), at(2), at(3)
  if p.levels then return output.with_unit(p.name, p.unit) end
  low, middle, high = axis.shown(low), axis.shown(middle), axis.shown(high)
  local size = math.max(math.abs(low), math.abs(high)) / math.max(high - low, 1e-300)
  local digits = string.format("%%.%dg", math.max(3, math.min(9, math.floor(math.log(size, 10)) + 2)))
  return string.format("%s = " .. digits .. "  (" .. digits .. " to " .. digits .. ")", p.name, middle, low, high)
end

local function diagonal(chart, k, all)
  local axis, values = all.axes[k], all.own[k]
  local shares = density.histogram(values, axis.low, axis.high, axis.cells)
  local top = largest(shares)
  chart:place(k, k)
  ranges(chart, axis, "x")
  local plots = { string.format("data index %d using 1:2 with filledcurves y1=0 linecolor rgb '#b8%s'",
    chart:block(steps(axis, shares)), OWN:sub(2)) }
  if all.reference then
    local other = density.histogram(all.reference[k], axis.low, axis.high, axis.cells)
    top = math.max(top, largest(other))
    plots[#plots + 1] = string.format("data index %d using 1:2 with lines linewidth 1.5 linecolor rgb '%s'",
      chart:block(steps(axis, other)), REFERENCE)
  end
  chart:add("set yrange [0:%.8g]\nset ytics scale 0 ('' 0)", top * 1.08)
  chart:add("unset ylabel")
  local sorted = table.move(values, 1, #values, 1, {})
  table.sort(sorted)
  if not axis.param.levels then
    for i, q in ipairs(QUANTILES) do
      local at = quantile.nearest(sorted, q)
      chart:add("set arrow %d from first %.8g, graph 0 to first %.8g, graph 1 nohead linecolor rgb '#444444' dashtype "
        .. "%d linewidth 1 front", i, at, at, i == 2 and 1 or 2)
    end
  end
  if all.truth then
    chart:add("set arrow 9 from first %.8g, graph 0 to first %.8g, graph 1 nohead linecolor rgb '%s' linewidth 2 front",
      all.truth[k], all.truth[k], TRUTH)
  end
  if chart.cell >= 150 then chart:add("set title %s offset 0,-0.5", output.quote(summary(axis, sorted))) end
  chart:add("plot %s", table.concat(plots, ", "))
  chart:add("unset arrow\nunset title")
end

local function segments_of(chart, rows, a, b)
  local lines = {}
  for _, level in ipairs((density.levels(rows, SHARES))) do
    for _, s in ipairs(density.contour(rows, level, a, b)) do
      lines[#lines + 1] = string.format("%.8g %.8g\n%.8g %.8g\n", s[1], s[2], s[3], s[4])
    end
  end
  return chart:block(lines)
end

-- Points of samples, for a pair with a class: few cells, and no contours.
local function points_of(chart, xs, ys)
  local lines, step = {}, math.max(1, #xs // 300)
  for s = 1, #xs, step do lines[#lines + 1] = string.format("%.8g %.8g", xs[s], ys[s]) end
  return chart:block(lines)
end

local function joint(chart, i, j, all)
  local a, b = all.axes[i], all.axes[j]
  local rows = density.grid(all.own[i], all.own[j], a, b)
  local _, peak = density.levels(rows, SHARES)
  local lines, wide, high = {}, (a.high - a.low) / a.cells, (b.high - b.low) / b.cells
  for y, row in ipairs(rows) do
    for x, v in ipairs(row) do
      lines[#lines + 1] = string.format("%.8g %.8g %.4g", a.low + (x - 0.5) * wide, b.low + (y - 0.5) * high,
        peak > 0 and v / peak or 0)
    end
  end
  chart:place(i, j)
  ranges(chart, a, "x")
  ranges(chart, b, "y")
  local classes = a.param.levels or b.param.levels
  local plots = { string.format("data index %d using 1:2:3 with image%s", chart:block(lines),
    classes and " pixels" or "") }
  local function plot(style, ...) plots[#plots + 1] = string.format("data index %d using 1:2 with " .. style, ...) end
  if not classes then plot("lines linewidth 1 linecolor rgb '#173a5e'", segments_of(chart, rows, a, b)) end
  if all.reference then
    if classes then
      plot("points pointtype 7 pointsize 0.3 linecolor rgb '%s'", points_of(chart, all.reference[i], all.reference[j]),
        REFERENCE)
    else
      local other = density.grid(all.reference[i], all.reference[j], a, b)
      plot("lines linewidth 1.5 linecolor rgb '%s'", segments_of(chart, other, a, b), REFERENCE)
    end
  end
  if all.truth then
    local x, y = all.truth[i], all.truth[j]
    local line = "nohead linecolor rgb '" .. TRUTH .. "' front"
    chart:add("set arrow 1 from first %.8g, graph 0 to first %.8g, graph 1 %s", x, x, line)
    chart:add("set arrow 2 from graph 0, first %.8g to graph 1, first %.8g %s", y, y, line)
    plot("points pointtype 5 pointsize 0.7 linecolor rgb '%s'",
      chart:block { string.format("%.8g %.8g", x, y) }, TRUTH)
  end
  chart:add("plot %s", table.concat(plots, ", "))
  chart:add("unset arrow")
end

-- Tics and titles of a panel's axes: numbers at the left and at the bottom alone.
local function label_axes(chart, i, j, all)
  local K = #all.axes
  local a, b = all.axes[i], all.axes[j]
  local count = 4
  local bottom, left = j == K, i == 1 and j > 1
  chart:add("set xtics scale 0.5 %s rotate by 45 right offset 0,0.2", pair_axis.tics(a, count, bottom))
  chart:add("set ytics scale 0.5 %s", pair_axis.tics(b, count, left))
  chart:add("set xlabel %s offset 0,-0.3", output.quote(bottom and output.with_unit(a.param.name, a.param.unit) or ""))
  chart:add("set ylabel %s offset -1,0", output.quote(left and output.with_unit(b.param.name, b.param.unit) or ""))
end

local function legend(chart, all, o)
  local at, lines = 0, {}
  lines[1] = { string.format("posterior, %d draws: 68%% and 95%%", #all.own[1]), OWN }
  if all.reference then lines[2] = { string.format("reference, %d samples", #all.reference[1]), REFERENCE } end
  if all.truth then lines[#lines + 1] = { "truth", TRUTH } end
  if o.title then table.insert(lines, 1, { o.title, "#222222" }) end
  for k, line in ipairs(lines) do
    chart:add("set label %d %s at screen %.4f, screen %.4f right textcolor rgb '%s'", 100 + k, output.quote(line[1]),
      1 - 12 / chart.size, 1 - (18 + at) / chart.size, line[2])
    at = at + 1.7 * chart.font
  end
end

--- Draws a corner plot.
-- @tparam Posterior|tensor p of model:posterior(x), or samples (M, K) in units
-- @tparam string path of the PNG; the numbers go to a .dat beside it
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise a value that is neither a posterior nor samples, a truth of other parameters, unknown options
-- @usage sv.figures.pairs(model:posterior(x[1]), "pairs.png", { truth = z[1], samples = 2000 })
local function pairs_of(p, path, opts)
  local o = check.options("pairs", opts, options)
  check.value("pairs", "path", path, { "string" })
  local z, params = samples_of(p, o)
  local K = #params
  local all = { axes = {}, own = columns_of("p", z, K), reference = o.reference and columns_of("reference", o.reference,
    K), truth = truth_of(o.truth, params) }
  for k, param in ipairs(params) do
    local lists = { all.own[k], all.reference and all.reference[k] or nil }
    local axis = pair_axis.new(param, lists, all.truth and all.truth[k], K)
    all.axes[k], all.own[k] = axis, scaled(axis, all.own[k])
    if all.reference then all.reference[k] = scaled(axis, all.reference[k]) end
    if all.truth then all.truth[k] = axis.coordinate(all.truth[k]) end
  end
  local size = o.size or K == 1 and 420 or K == 2 and 560 or K == 3 and 720 or math.max(900, 90 * K)
  local font = K <= 4 and 10 or K <= 7 and 9 or 8
  local left, low, top, gap = 7.5 * font, 7.5 * font, 3 * font + (K <= 2 and 3 * font or 0), K <= 4 and 14 or 6
  local chart = setmetatable({ data = {}, script = {}, size = size, font = font, left = left, top = top, gap = gap,
    cell = (size - math.max(left + font, low + top) - (K - 1) * gap) / K }, Chart)
  chart:add("set multiplot\nunset key\nunset grid\nunset colorbox\nset border 15\nset cbrange [0:1]")
  chart:add("set palette defined (0 '#ffffff', 0.15 '#d3e6f4', 0.5 '#6baed6', 0.8 '#2171b5', 1 '#08306b')")
  legend(chart, all, o)
  for j = 1, K do
    for i = 1, j do
      label_axes(chart, i, j, all)
      if i == j then diagonal(chart, i, all) else joint(chart, i, j, all) end
      if i == 1 and j == 1 then chart:add("unset label") end
    end
  end
  chart:add("unset multiplot")
  return output.chart(path, chart.data, chart.script, size, size, font)
end

local reported = { order = 76 }

local MAX_SHOWN = 10 -- parameters

function reported.figures(folder, c)
  if type(c.model.posterior) ~= "function" or #c.sim.params > MAX_SHOWN then return {} end
  local z, x = c.examples(1)
  local path, why = pairs_of(c.model:posterior(x, noise.least(c.sim)), folder .. "/pairs.png", { truth = z })
  return { { path = path, why = why, caption = "The posterior of one output, with the true parameters." } }
end

return { draw = pairs_of, reported = reported }
