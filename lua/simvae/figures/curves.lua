--- Vector outputs as curves, the paper's figure 3: side by side S(z), G(z), S(E(x)) and G(E(x)), each
-- with the same samples in the same colours; one row of panels a series (gain, phase).
local check = require "simvae.util.check"
local core = require "simvae.core"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"
local series_of = require "simvae.figures.support.series"

local options = check.declare("figures.curves", {
  labels = { "table", doc = "a text for each panel" },
  series = { "table",
    doc = "the parts of the vector and their axis, as of sv.simulator; default: one curve over the element's number" },
  title = { "string", doc = "above the figure; default: none" },
})

-- The numbers of a curve.
local function check_panels(panels)
  if type(panels) ~= "table" or getmetatable(panels) == core.metatable or #panels == 0 then
    check.fail(3, "curves: panels is a list of tensors (N, n); got %s", check.describe(panels))
  end
  local length
  for k, t in ipairs(panels) do
    if getmetatable(t) ~= core.metatable or t.ndim ~= 2 or t.count == 0 then
      check.fail(3, "curves: panels[%d] takes a tensor (N, n)", k)
    end
    length = length or t.shape[2]
    if t.shape[2] ~= length then
      check.fail(3, "curves: panels[%d] has curves of %d numbers, panels[1] of %d; they must agree", k, t.shape[2],
        length)
    end
  end
  return length
end

--- Draws vector outputs.
-- @tparam string path of the PNG; the numbers go to a .dat beside it
-- @tparam {tensor,...} panels tensors (N, n), drawn from left to right, N curves each, of equal n
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise curves of unequal length, unknown options
-- @usage
-- local _, curves = sv.simulate(needle, 20, sv.rng(1))
-- sv.figures.curves("curves.png", { curves }, { labels = { "S(z)" }, series = needle.series })
local function curves(path, panels, opts)
  opts = check.options("curves", opts, options)
  check.value("curves", "path", path, { "string" })
  local length = check_panels(panels)
  local series, n = series_of.of("curves", opts.series, length, 2)
  local axis, labels = series.axis, opts.labels or {}
  local script, data = { string.format("set multiplot layout %d,%d%s\nunset key", #series, #panels,
    opts.title and " title " .. output.quote(opts.title) or "") }, {}
  local function add(...) script[#script + 1] = string.format(...) end
  series_of.set_axis(axis, add)
  local values = {}
  for k, t in ipairs(panels) do values[k] = t:totable() end
  for s, one in ipairs(series) do
    local low, high = math.huge, -math.huge -- the same scale in a row
    for k = 1, #panels do
      for i = 1, #values[k] do
        for j = (s - 1) * n + 1, s * n do
          low, high = math.min(low, values[k][i][j]), math.max(high, values[k][i][j])
        end
      end
    end
    if low >= high then low, high = low - 1, high + 1 end
    for k = 1, #panels do
      local plots = {}
      for i = 1, #values[k] do
        local lines = {}
        for j = 1, n do
          lines[j] = string.format("%.8g %.8g", series_of.place(axis, j, n), values[k][i][(s - 1) * n + j])
        end
        plots[i] = string.format("%s index %d using 1:2 with lines linewidth 1.5 linecolor rgb '%s'",
          i == 1 and "data" or "''", #data, palette.lines[(i - 1) % #palette.lines + 1])
        data[#data + 1] = string.format("# %s, %s, sample %d\n# %s %s\n", labels[k] or k, one.name, i,
          axis and axis.name or "element", one.name) .. table.concat(lines, "\n")
      end
      add("set yrange [%.8g:%.8g]", low - 0.04 * (high - low), high + 0.04 * (high - low))
      add("set ytics %.8g", output.step(high - low, 5))
      add("set title %s", output.quote(s == 1 and labels[k] or ""))
      add("set ylabel %s", output.quote(k == 1 and output.with_unit(one.name, one.unit) or ""))
      add("set xlabel %s", output.quote(s == #series and series_of.label(axis) or ""))
      add("plot %s", table.concat(plots, ", "))
    end
  end
  add("unset multiplot")
  return output.chart(path, data, script, 290 * #panels,
    250 * #series + (opts.title and 30 or 0), 9)
end

local reported = { order = 10 }

function reported.figures(folder, c)
  if #c.sim.output ~= 1 then return {} end
  local z, x, inferred = c.examples(6)
  local path, why = curves(folder .. "/samples.png",
    { x, c.model:decode(z), c.sim:run(inferred), c.model:decode(inferred) },
    { labels = { "S(z)", "G(z)", "S(E(x))", "G(E(x))" }, series = c.sim.series })
  return { { path = path, why = why, caption = "Six samples, left to right: the simulator, the decoder on the same "
    .. "parameters, the simulator and the decoder on the encoder's parameters." } }
end

return { draw = curves, reported = reported }
