--- Histograms of each parameter's error.
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"
local parameter = require "simvae.simulator.parameter"
local quantile = require "simvae.util.quantile"

local options = check.declare("figures.errors", {
  period = { "table", doc = "{ [k] = period } or { name = period }, in units: errors are then the shorter way round" },
  bins = { "integer", default = 41, min = 5, doc = "of the histograms" },
  title = { "string", doc = "above the figure; default: none" },
})

local function histogram(errors, bins)
  local sorted = table.move(errors, 1, #errors, 1, {})
  table.sort(sorted)
  local reach = math.max(math.abs(quantile.nearest(sorted, 0.005)), math.abs(quantile.nearest(sorted, 0.995)))
  if reach == 0 then reach = math.max(math.abs(sorted[1]), math.abs(sorted[#sorted])) end
  if reach == 0 then reach = 1 end -- no error at all
  local width, counts, out = 2 * reach / bins, {}, 0
  for k = 1, bins do counts[k] = 0 end
  local sum, squares = 0, 0
  for _, e in ipairs(errors) do
    sum, squares = sum + e, squares + e * e
    local k = math.floor((e + reach) / width) + 1
    if e == reach then k = bins end
    if counts[k] then counts[k] = counts[k] + 1 else out = out + 1 end
  end
  local lines = {}
  for k = 1, bins do
    lines[k] = string.format("%.8g %.8g", -reach + (k - 0.5) * width, 100 * counts[k] / #errors)
  end
  return lines, width, reach, math.sqrt(squares / #errors), sum / #errors, 100 * out / #errors
end

--- Draws a histogram of z_hat - z for every parameter.
-- @tparam string path of the PNG; the values go to a .dat beside it
-- @tparam tensor z_true (N, K), in units
-- @tparam tensor z_hat (N, K), in units
-- @tparam[opt] table names of the K parameters
-- @tparam[opt] table units of the K parameters
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise tensors of unequal shape, unknown options
-- @usage sv.figures.errors("errors.png", z, model:encode(x), ring.names, { "px", "px", "px" })
local function errors(path, z_true, z_hat, names, units, opts)
  opts = check.options("errors", opts, options)
  check.value("errors", "path", path, { "string" })
  local z, v, K = matrix.estimates("errors", z_hat, z_true, names, { "z_hat", "z_true" })
  names, units = names or {}, units or {}
  local period = matrix.per_column("errors", "period", opts.period, K, names)
  local vs, zs, data = matrix.columns(v), matrix.columns(z), {}
  local rows, columns = output.layout(K, 4)
  local script = { string.format("set multiplot layout %d,%d%s", rows, columns,
    opts.title and " title " .. output.quote(opts.title) or ""), "unset key", "set yrange [0:*]",
    "set ylabel '% of samples'" }
  for k = 1, K do
    local e, p = {}, { period = period[k] or nil }
    for i = 1, #vs[k] do
      e[i] = parameter.difference(p, zs[k][i], vs[k][i])
    end
    local lines, width, reach, rmse, bias, out = histogram(e, opts.bins)
    local name = names[k] or "z" .. k
    data[k] = string.format("# %s: RMSE %.6g, mean error %.6g, outside the picture %.2f%%\n# error %%\n", name, rmse,
      bias, out) .. table.concat(lines, "\n")
    local function add(...) script[#script + 1] = string.format(...) end
    local unit = units[k] and units[k] ~= "" and " " .. units[k] or ""
    add("set title %s", output.quote(string.format("%s: RMSE %.3g%s, mean %+.2g", name, rmse, unit, bias)))
    add("set xlabel %s", output.quote("error" .. (unit ~= "" and " (" .. units[k] .. ")" or "")))
    add("set xrange [%.8g:%.8g]", -reach, reach)
    add("set boxwidth %.8g", width * 0.92)
    add("set xtics %.8g", output.step(2 * reach, 5))
    add("set arrow 1 from 0, graph 0 to 0, graph 1 nohead linecolor rgb '#888888' dashtype 2 front")
    add("plot data index %d using 1:2 with boxes linecolor rgb '%s'", k - 1, palette.lines[1])
  end
  script[#script + 1] = "unset multiplot"
  return output.chart(path, data, script, 290 * columns,
    260 * rows + (opts.title and 30 or 0), 9)
end

local reported = { order = 80 }

function reported.figures(folder, c)
  local path, why = errors(folder .. "/errors.png", c.r.nearest, c.r.mean, c.sim.names, c.units, { period = c.period })
  return { { path = path, why = why, caption = "Errors of each parameter." } }
end

return { draw = errors, reported = reported }
