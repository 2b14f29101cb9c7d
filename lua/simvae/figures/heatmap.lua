--- Mutual information matrices as heat maps, the paper's figure 4: the model above
-- the truth, every cell with its value.
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"

local options = check.declare("figures.heatmap", {
  labels = { "table", doc = "names of the factors; for several columns of panels a list of lists" },
  titles = { "table", doc = "one a panel; for several columns one a column" },
  rows = { "table", doc = "a name for each row of panels" },
})

-- Columns of panels: each a list of matrices, top to bottom.
local function arrange(mims)
  if type(mims) ~= "table" or #mims == 0 then
    check.fail(3, "heatmap: mims is a list of matrices, or a list of such lists; got %s", check.describe(mims))
  end
  local columns = matrix.is_tensor(mims[1]) and { mims } or mims
  for c, column in ipairs(columns) do
    if type(column) ~= "table" or #column == 0 then
      check.fail(3, "heatmap: mims[%d] is a list of matrices; got %s", c, check.describe(column))
    end
    for r, m in ipairs(column) do
      if not matrix.is_tensor(m) or m.ndim ~= 2 or m.count == 0 then
        check.fail(3, "heatmap: a matrix (latents, factors) is due at column %d, row %d", c, r)
      end
    end
  end
  return columns
end

local function longest(labels)
  local n = 0
  for _, l in ipairs(labels) do n = math.max(n, utf8.len(l) or #l) end
  return n
end

local function default_labels(n)
  local labels = {}
  for i = 1, n do labels[i] = tostring(i) end
  return labels
end

local function tics(labels)
  local parts = {}
  for i, l in ipairs(labels) do parts[i] = string.format("%s %d", output.quote(l), i) end
  return "(" .. table.concat(parts, ", ") .. ")"
end

local function cells(m)
  local lines = {}
  for i, row in ipairs(m:totable()) do
    for j, x in ipairs(row) do
      lines[#lines + 1] = string.format("%d %d %.6f %d %d", j, i, x, palette.ramp(x), palette.ink(x))
    end
  end
  return table.concat(lines, "\n")
end

-- The commands that draw one matrix: m at (x, y) of a page W by H, the index-th block of the data.
local function panel(script, m, at)
  local function add(...) script[#script + 1] = string.format(...) end
  add("set lmargin at screen %.6f", at.x / at.W)
  add("set rmargin at screen %.6f", (at.x + m.shape[2] * at.cell) / at.W)
  add("set tmargin at screen %.6f", 1 - at.y / at.H)
  add("set bmargin at screen %.6f", 1 - (at.y + m.shape[1] * at.cell) / at.H)
  add("set title %s offset 0,-0.4", output.quote(at.title))
  add("set xtics %s scale 0 %s", tics(at.labels), at.rotate and "rotate by 45 right" or "norotate")
  add("set ytics %s scale 0", tics(m.shape[1] == m.shape[2] and at.labels or default_labels(m.shape[1])))
  add("set xrange [0.5:%g]", m.shape[2] + 0.5)
  add("set yrange [%g:0.5]", m.shape[1] + 0.5)
  if at.row then
    add("set label 1 %s at screen %.6f, screen %.6f rotate by 90 center textcolor rgb '#222222'",
      output.quote(at.row), 14 / at.W, 1 - (at.y + m.shape[1] * at.cell / 2) / at.H)
  else
    add("unset label 1")
  end
  add("plot data index %d using 1:2:(0.48):(0.48):4 with boxxyerror fillstyle solid 1 noborder fillcolor rgb "
    .. "variable, '' index %d using 1:2:(sprintf('%%.2f', $3)):5 with labels font ',%d' textcolor rgb variable",
    at.index, at.index, at.cell > 40 and 10 or 8)
end

--- Draws heat maps.
-- @tparam string path of the PNG; the values go to a .dat beside it
-- @tparam table mims list of (K, M) tensors drawn from top to bottom, such as {r.mim, r.truth.mim}, or a list of
--   such lists, drawn from left to right (one a simulator)
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise a tensor that is not a matrix, unknown options
-- @usage
-- local m = sv.metrics.mim(model:encode(x), z, { bins = 8 })
-- sv.figures.heatmap("mim.png", { m }, { labels = ring.names })
local function heatmap(path, mims, opts)
  opts = check.options("heatmap", opts, options)
  check.value("heatmap", "path", path, { "string" })
  local columns = arrange(mims)
  local several = columns ~= mims and #columns > 1 or not matrix.is_tensor(mims[1])
  local titles, data, script = opts.titles or {}, {}, { "set multiplot", "unset key", "unset grid", "unset border" }
  local widths, heights, left, labels, top, gap = {}, {}, {}, {}, 34, 26
  local size = 0
  for _, column in ipairs(columns) do size = math.max(size, column[1].shape[2]) end
  local cell = size <= 5 and 56 or size <= 8 and 46 or 36
  local bottom = 24
  for c, column in ipairs(columns) do
    local given = several and opts.labels and opts.labels[c] or not several and opts.labels
    labels[c] = given or default_labels(column[1].shape[2])
    widths[c], left[c] = 0, 18 + 8 * longest(labels[c])
    bottom = math.max(bottom, 8 * longest(labels[c]) > cell and 14 + 7 * longest(labels[c]) or 24)
    for r, m in ipairs(column) do
      widths[c] = math.max(widths[c], m.shape[2] * cell)
      heights[r] = math.max(heights[r] or 0, m.shape[1] * cell)
    end
  end
  local margin = opts.rows and 26 or 4
  local W, H = margin + 12, 8
  for c = 1, #columns do W = W + left[c] + widths[c] end
  for _, h in ipairs(heights) do H = H + h + top + bottom end
  W = math.max(W, 240)
  local x = margin
  for c, column in ipairs(columns) do
    x = x + left[c]
    local y, rotate = 0, 8 * longest(labels[c]) > cell
    for r, m in ipairs(column) do
      y = y + top
      local title = several and (r == 1 and titles[c] or "") or not several and titles[r] or ""
      panel(script, m, { x = x, y = y, W = W, H = H, cell = cell, title = title, labels = labels[c], rotate = rotate,
        row = opts.rows and c == 1 and (opts.rows[r] or ""), index = #data })
      data[#data + 1] = string.format("# %s %s\n# factor latent value cell ink\n", title,
        opts.rows and opts.rows[r] or "") .. cells(m)
      y = y + heights[r] + bottom
    end
    x = x + widths[c]
  end
  script[#script + 1] = "unset multiplot"
  return output.chart(path, data, script, math.ceil(W + gap),
    math.ceil(H))
end

local reported = { order = 60 }

function reported.figures(folder, c)
  local path, why = heatmap(folder .. "/mim.png", { c.r.mim, c.r.truth.mim }, { labels = c.sim.names,
    titles = { "encoder", "ground truth" } })
  return { { path = path, why = why, caption = "Mutual information between the encoder's parameters and the true ones; "
    .. "below, of the true ones with " .. (c.sim.symmetry and "random equivalents" or "themselves")
    .. ", as for a perfect encoder." } }
end

return { draw = heatmap, reported = reported }
