--- Estimated against true values of each parameter, with the regression's slope and R²,
-- as in the paper's figure 3.
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"
local regression = require "simvae.metrics.support.regression"

local options = check.declare("figures.scatter", {
  log = { "table",
    doc = "{ [k] = true } or { name = true } of logarithmic axes; the line is then fitted to the logarithms" },
  points = { "integer", default = 2000, min = 10, doc = "that are drawn, at most; all are fitted" },
  title = { "string", doc = "above the figure; default: none" },
})

--- Draws estimated against true values, a panel a parameter.
-- @tparam string path of the PNG; the points go to a .dat beside it
-- @tparam tensor z_true (N, K), in units
-- @tparam tensor z_hat (N, K), in units
-- @tparam[opt] table names of the K parameters
-- @tparam[opt] table units of the K parameters
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @treturn table {slope =, intercept =, r2 =, exact =} of each parameter, as of simvae.metrics.support.regression
-- @raise tensors of unequal shape, unknown options
-- @usage sv.figures.scatter("scatter.png", z, model:encode(x), ring.names, { "px", "px", "px" })
local function scatter(path, z_true, z_hat, names, units, opts)
  opts = check.options("scatter", opts, options)
  check.value("scatter", "path", path, { "string" })
  local z, v, K = matrix.estimates("scatter", z_hat, z_true, names, { "z_hat", "z_true" })
  names, units = names or {}, units or {}
  local log = matrix.per_column("scatter", "log", opts.log, K, names)
  local vs, zs, data, fits = matrix.columns(v), matrix.columns(z), {}, {}
  local rows, columns = output.layout(K, 4)
  local script = { string.format("set multiplot layout %d,%d%s", rows, columns,
    opts.title and " title " .. output.quote(opts.title) or ""), "unset key" }
  for k = 1, K do
    local x, y, name = vs[k], zs[k], names[k] or "z" .. k
    local low, high = math.huge, -math.huge
    for i = 1, #x do
      if log[k] and (x[i] <= 0 or y[i] <= 0) then
        check.fail(2, "scatter: %s has %g at sample %d: no logarithm", name, math.min(x[i], y[i]), i)
      end
      low, high = math.min(low, x[i], y[i]), math.max(high, x[i], y[i])
    end
    local a, b = x, y
    if log[k] then
      a, b = {}, {}
      for i = 1, #x do a[i], b[i] = math.log(x[i], 10), math.log(y[i], 10) end
    end
    fits[k] = regression(a, b)
    local slope, intercept, r2 = fits[k].slope, fits[k].intercept, fits[k].r2
    local step, lines = math.max(1, math.ceil(#x / opts.points)), {}
    for i = 1, #x, step do lines[#lines + 1] = string.format("%.8g %.8g", x[i], y[i]) end
    data[k] = string.format("# %s: slope %.6g, intercept %.6g, R2 %.6g over all %d samples\n# true estimated\n", name,
      slope, intercept, r2, #x) .. table.concat(lines, "\n")
    local function add(...) script[#script + 1] = string.format(...) end
    add("set title %s", output.quote(string.format("%s: slope %.3f, R² %.4f", output.with_unit(name, units[k]), slope,
      r2)))
    add("set xlabel 'true'")
    add("set ylabel 'estimated'")
    if low == high then low, high = low - 1, high + 1 end
    if log[k] then
      add("set logscale xy\nset xtics autofreq\nset ytics autofreq\nset format '%%.0s%%c'")
    else
      local round = output.step(high - low, 4)
      add("unset logscale\nset xtics %.8g\nset ytics %.8g\nset format '%%g'", round, round)
    end
    add("set xrange [%.8g:%.8g]", low, high)
    add("set yrange [%.8g:%.8g]", low, high)
    add("plot data index %d using 1:2 with points pointtype 7 pointsize 0.3 linecolor rgb '#90%s', "
      .. "x with lines linecolor rgb '#222222' dashtype 2 linewidth 1", k - 1, palette.lines[1]:sub(2))
  end
  script[#script + 1] = "unset multiplot"
  local ok, message = output.chart(path, data, script,
    290 * columns, 290 * rows + (opts.title and 30 or 0), 9)
  if not ok then return nil, message end
  return ok, fits
end

local reported = { order = 70 }

-- What the output depends on, of answers against the truth.
local function of_invariants(folder, c)
  local found = c.r.invariants
  local of, logs = {}, {}
  for i, invariant in ipairs(c.sim.invariants) do
    of[i], logs[i] = invariant.unit or "", invariant.scale == "log" and not invariant.high
  end
  local path, why = scatter(folder .. "/invariants.png", found.v, found.z, found.names, of, { log = logs })
  return { path = path, why = why, caption = string.format("Invariants: of the inferred parameters against those "
    .. "of the true ones, %d samples within the range of comparison.", found.samples) }
end

function reported.figures(folder, c)
  local list = {}
  if c.r.invariants then list[1] = of_invariants(folder, c) end
  local path, why = scatter(folder .. "/scatter.png", c.r.nearest, c.r.mean, c.sim.names, c.units, { log = c.log })
  list[#list + 1] = { path = path, why = why, caption = "Inferred against true parameters" .. (c.r.rmse_unaligned
    and ": the equivalents nearest to those inferred, under the declared symmetry." or ".") }
  return list
end

return { draw = scatter, reported = reported }
