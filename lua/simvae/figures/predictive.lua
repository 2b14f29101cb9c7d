--- Replicated outputs: what the simulator gives for draws of the posterior, around the output that was measured.
-- Vectors as bands that hold 68% and 95% of them; images as rows: measured, mean, standard deviation, and some
-- replicated ones.
local check = require "simvae.util.check"
local core = require "simvae.core"
local noise = require "simvae.simulator.noise"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"
local series_of = require "simvae.figures.support.series"

local options = check.declare("figures.predictive", {
  p = { "table|tensor", doc = "values of p of metrics.predictive_check, for the titles" },
  series = { "table", doc = "the parts of the vector and their axis, as of sv.simulator" },
  title = { "string", doc = "above the figure; default: none" },
})

local SHARES = { { 0.025, 0.975, "#cfe3f1" }, { 0.16, 0.84, "#7fb5d8" } }
local SHOWN = 3 -- replicated images of each

-- Quantile q of the rows of a sorted tensor (S, n): a list.
local function quantile(sorted, q)
  local at = math.max(1, math.min(sorted.shape[1], math.floor(q * sorted.shape[1] + 0.5)))
  return sorted[at]:totable()
end

-- Series s of output i: the bands of its replicated outputs and itself, as blocks of data and what gnuplot plots.
local function panel(x, sorted, first, n, axis, block)
  local plots = {}
  for _, s in ipairs(SHARES) do
    local low, high, lines = quantile(sorted, s[1]), quantile(sorted, s[2]), {}
    for j = 1, n do
      lines[j] = string.format("%.8g %.8g %.8g", series_of.place(axis, j, n), low[first + j], high[first + j])
    end
    plots[#plots + 1] = string.format("data index %d using 1:2:3 with filledcurves linecolor rgb '%s'", block(lines),
      s[3])
  end
  local lines = {}
  for j = 1, n do lines[j] = string.format("%.8g %.8g", series_of.place(axis, j, n), x[first + j]) end
  plots[#plots + 1] = string.format("data index %d using 1:2 with linespoints pointtype 7 pointsize 0.3 "
    .. "linewidth 1.2 linecolor rgb '%s'", block(lines), palette.lines[2])
  return table.concat(plots, ", ")
end

-- One series: the outputs in rows of three panels. Several: a row of panels for each, one below the other.
local function vectors(path, x, replicated, p, o)
  local series, n = series_of.of("predictive", o.series, x.shape[2], 3)
  local N, data, script = x.shape[1], {}, {}
  local function add(...) script[#script + 1] = string.format(...) end
  local function block(lines)
    data[#data + 1] = table.concat(lines, "\n")
    return #data - 1
  end
  local rows, columns = #series, N
  if #series == 1 then rows, columns = output.layout(N, 3) end
  add("set multiplot layout %d,%d%s\nunset key", rows, columns, o.title and " title " .. output.quote(o.title) or "")
  series_of.set_axis(series.axis, add)
  local values, sorted = x:totable(), {}
  for i = 1, N do sorted[i] = core.sort(replicated[i], 1) end
  for s, one in ipairs(series) do
    add("set xlabel %s", output.quote(s == #series and series_of.label(series.axis) or ""))
    for i = 1, N do
      add("set ylabel %s", output.quote(o.series and (i - 1) % columns == 0 and output.with_unit(one.name, one.unit)
        or ""))
      add("set title %s", output.quote(p and s == 1 and string.format("p = %.2f", p[i]) or ""))
      add("plot %s", panel(values[i], sorted[i], (s - 1) * n, n, series.axis, block))
    end
  end
  add("unset multiplot")
  return output.chart(path, data, script,
    math.max(420, 300 * columns), 250 * rows + (o.title and 30 or 0), 9)
end

local function pictures(path, x, replicated, o)
  local N, rows = x.shape[1], { x, {}, {} }
  for i = 1, N do
    rows[2][i] = core.mean(replicated[i], 1)
    rows[3][i] = 1 - core.clamp(core.sqrt(core.var(replicated[i], 1)) * 2, 0, 1)
    for s = 1, SHOWN do
      rows[3 + s] = rows[3 + s] or {}
      rows[3 + s][i] = replicated[i][math.min(s, replicated[i].shape[1])]
    end
  end
  for r = 2, #rows do rows[r] = core.clamp(core.stack(rows[r], 1), 0, 1) end
  local labels = { "measured", "mean", "deviation" }
  for s = 1, SHOWN do labels[3 + s] = "draw " .. s end
  return require "simvae.figures.grid".draw(path, rows, { labels = labels, title = o.title })
end

--- Draws replicated outputs.
-- @tparam string path of the PNG; of vectors the numbers go to a .dat beside it
-- @tparam tensor x (N, …output) measured outputs
-- @tparam {tensor,...} replicated of each (S, …output), as of metrics.predictive_check
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise replicated outputs of another number or shape, series that do not make up an output, unknown options
-- @usage
-- local values, replicated = sv.metrics.predictive_check(model, sv.slice(x, 1, 1, 3), { draws = 10 })
-- sv.figures.predictive("predictive.png", sv.slice(x, 1, 1, 3), replicated, { p = values })
local function predictive(path, x, replicated, opts)
  local o = check.options("predictive", opts, options)
  check.value("predictive", "path", path, { "string" })
  if getmetatable(x) ~= core.metatable or x.ndim ~= 2 and x.ndim ~= 4 or x.count == 0 then
    check.fail(2, "predictive: x takes outputs, a tensor (N, n) or (N, C, H, W); got %s", check.describe(x))
  end
  for i = 1, x.shape[1] do
    local y = type(replicated) == "table" and replicated[i]
    if getmetatable(y) ~= core.metatable or y.ndim ~= x.ndim or y[1].count ~= x[1].count then
      check.fail(2, "predictive: replicated[%d] takes outputs of the shape of x; got %s", i, check.describe(y))
    end
  end
  local p = o.p
  if getmetatable(p) == core.metatable then p = p:totable() end
  local scope <close> = core.scope()
  if x.ndim == 2 then return vectors(path, x, replicated, p, o) end
  return pictures(path, x, replicated, o)
end

local reported = { order = 79 }

local EXAMPLES, DRAWS = 6, 50

function reported.figures(folder, c)
  if type(c.model.posterior) ~= "function" or not c.r.predictive then return {} end
  local z, x = c.examples(EXAMPLES)
  local measured, levels = noise.add(c.sim, z, x, core.rng(3))
  local p, replicated = require "simvae.metrics.predictive_check".compute(c.model, measured, { draws = DRAWS,
    noise = levels })
  for _, y in ipairs(replicated) do
    if not y then return {} end
  end
  local path, why = predictive(folder .. "/predictive.png", measured, replicated, { p = p, series = c.sim.series })
  return { { path = path, why = why, caption = "Posterior predictive check: what the simulator gives for draws of the "
    .. "posterior of six outputs" .. (#c.sim.output == 1 and ": bands that hold 68% and 95% of them, and the output "
    .. "itself (orange)." or ".") } }
end

return { draw = predictive, reported = reported }
