--- Loss against step of both stages, as recorded and smoothed.
local check = require "simvae.util.check"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"

local options = check.declare("figures.learning_curves", {
  title = { "string", doc = "above the figure; default: none" },
  window = { "number", default = 0.02, above = 0, max = 0.5, doc = "share of the steps that smoothing averages over" },
})

-- Rows of a CSV with a header, numbers as numbers.
local function read(path)
  local file, message = io.open(path)
  if not file then return nil, message end
  local names, rows = nil, {}
  for line in file:lines() do
    local fields = {}
    for f in (line .. ","):gmatch "([^,]*)," do fields[#fields + 1] = tonumber(f) or f end
    if not names then
      names = fields
    else
      local row = {}
      for i, n in ipairs(names) do row[n] = fields[i] end
      rows[#rows + 1] = row
    end
  end
  file:close()
  return rows
end

-- Mean over a centred window that shrinks at the ends; steps are taken as they come.
local function smooth(rows, half)
  local sums, result = { [0] = 0 }, {}
  for i, r in ipairs(rows) do sums[i] = sums[i - 1] + r.loss end
  for i = 1, #rows do
    local h = math.min(half, i - 1, #rows - i)
    result[i] = (sums[i + h] - sums[i - h - 1]) / (2 * h + 1)
  end
  return result
end

local function finite(x) return type(x) == "number" and x == x and math.abs(x) ~= math.huge end

-- Rows of finite losses: names of the stages in order, and the rows of each.
local function by_stage(log)
  local stages, by = {}, {}
  for _, r in ipairs(log) do
    if finite(r.loss) and finite(r.step) then
      local stage = tostring(r.stage or "loss")
      if not by[stage] then
        by[stage] = {}
        stages[#stages + 1] = stage
      end
      by[stage][#by[stage] + 1] = r
    end
  end
  return stages, by
end

-- Marks of a logarithmic axis with few powers of ten in sight.
local function marks(low, high)
  local list, decade = {}, 10 ^ math.floor(math.log(low, 10))
  while decade <= high do
    for _, m in ipairs { 1, 1.5, 2, 3, 5, 7 } do
      if m * decade >= low and m * decade <= high then list[#list + 1] = string.format("%.4g", m * decade) end
    end
    decade = decade * 10
  end
  return table.concat(list, ", ")
end

-- The commands for the range and marks of the losses' axis.
local function loss_axis(add, positive, low, high)
  add(positive and "set logscale y" or "unset logscale y")
  if low == high then
    local margin = low == 0 and 1 or 0.1 * math.abs(low)
    low, high = low - margin, high + margin
  end
  if positive then
    add("set yrange [%.8g:%.8g]", low * (low / high) ^ 0.05, high * (high / low) ^ 0.05 * 1.0001)
  else
    add("set yrange [*:*]")
  end
  local narrow = positive and high / low < 30
  add(narrow and "set ytics auto format '%%.3g'" or positive and "set format y '%%.0e'" or "set format y '%%g'")
  add(narrow and "set ytics (%s)" or "set ytics autofreq", narrow and marks(low, high))
end

-- Adds the commands that draw one stage, the index-th block of the data; gives that block.
local function panel(script, rows, index, title, window)
  local function add(...) script[#script + 1] = string.format(...) end
  local half = math.max(math.floor(#rows * window / 2), math.min(3, #rows // 20))
  local means = smooth(rows, half)
  local lines, positive, low, high = {}, true, math.huge, -math.huge
  for k, r in ipairs(rows) do
    positive = positive and r.loss > 0
    low, high = math.min(low, r.loss), math.max(high, r.loss)
    lines[k] = string.format("%.10g %.10g %.10g", r.step, r.loss, means[k])
  end
  local colour = palette.lines[index % #palette.lines + 1]
  add("set title %s", output.quote(title))
  add("set xrange [0:%.8g]", rows[#rows].step)
  loss_axis(add, positive, low, high)
  local raw = string.format("plot data index %d using 1:2 with %s linewidth 1 linecolor rgb '#a0%s' "
    .. "title 'as logged'", index, #rows < 30 and "linespoints pointtype 7 pointsize 0.6" or "lines", colour:sub(2))
  local mean = half > 0 and string.format(", '' index %d using 1:3 with lines linewidth 2 linecolor rgb '%s' "
    .. "title 'mean of %d'", index, colour, 2 * half + 1) or ""
  add("%s", raw .. mean)
  return "# step loss smoothed\n" .. table.concat(lines, "\n")
end

--- Draws the learning curves.
-- @tparam string path of the PNG; the values go to a .dat beside it
-- @tparam table|string log rows {step =, stage =, loss =, …} in order, or the path of a log.csv
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise a log without rows, unknown options
-- @usage sv.figures.learning_curves("curves.png", "ring/log.csv")
local function learning_curves(path, log, opts)
  opts = check.options("learning_curves", opts, options)
  check.value("learning_curves", "path", path, { "string" })
  check.value("learning_curves", "log", log, { "table|string" })
  if type(log) == "string" then
    local rows, message = read(log)
    if not rows then return nil, message end
    log = rows
  end
  local stages, by = by_stage(log)
  if #stages == 0 then return nil, "learning_curves: the log has no finite loss" end
  local data = {}
  local script = { string.format("set multiplot layout 1,%d", #stages), "set xlabel 'step'", "set ylabel 'loss'",
    "set format x '%.0f'", "set key top right" }
  for i, stage in ipairs(stages) do
    local title = opts.title and opts.title .. ": " .. stage or stage
    data[i] = string.format("# %s\n", stage) .. panel(script, by[stage], i - 1, title, opts.window)
  end
  script[#script + 1] = "unset multiplot"
  return output.chart(path, data, script, 560 * #stages, 360)
end

local reported = { order = 90 }

function reported.figures(folder, c)
  local path, why = learning_curves(folder .. "/learning.png", c.out .. "/log.csv")
  return { { path = path, why = why, caption = "The losses of all stages." } }
end

return { draw = learning_curves, reported = reported }
