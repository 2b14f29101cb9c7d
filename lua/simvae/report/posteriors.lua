--- The section of a report with the posteriors of a few outputs: the density of each parameter, with the true value.
local core = require "simvae.core"
local drawing = require "simvae.report.drawing"
local novelty = require "simvae.model.novelty"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"
local quantile = require "simvae.util.quantile"
local sampler = require "simvae.sampler"
local streams = require "simvae.util.streams"

local OUTPUTS = 3
local DRAWS = 1000
local CELLS = 60     -- of a density over a parameter's range
local WIDTH = 0.018  -- standard deviation of the kernel, as a share of the range

-- The density of values over the range, in CELLS cells, the highest 1.
local function density(shares)
  local heights, top = {}, 0
  for c = 1, CELLS do
    local sum, at = 0, (c - 0.5) / CELLS
    for _, u in ipairs(shares) do sum = sum + math.exp(-0.5 * ((u - at) / WIDTH) ^ 2) end
    heights[c], top = sum, math.max(top, sum)
  end
  for c = 1, CELLS do heights[c] = top > 0 and heights[c] / top or 0 end
  return heights
end

local function clamp(u) return math.max(0, math.min(1, u)) end

-- The density of one parameter as an area, and the true value as a line.
local function curve(p, values, truth, text)
  local shares = {}
  for i, v in ipairs(values) do shares[i] = parameter.to_unit(p, v) end
  local points = { "0,24" }
  for c, h in ipairs(density(shares)) do
    points[#points + 1] = string.format("%.1f,%.1f", 100 * (c - 0.5) / CELLS, 24 - 22 * h)
  end
  points[#points + 1] = "100,24"
  local at = 100 * clamp(parameter.to_unit(p, truth))
  return string.format('<svg class="density" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" '
    .. 'aria-label="%s"><polygon points="%s"/><line x1="%.1f" x2="%.1f" y1="0" y2="24"/></svg>', page.escape(text),
    table.concat(points, " "), at, at)
end

local function row(p, draws, truth)
  local values = {}
  for i, v in ipairs(draws) do values[i] = v end
  table.sort(values)
  local unit = parameter.unit_text(p)
  local text = string.format("%s: %s to %s%s", p.name, page.number(quantile.nearest(values, 0.05), 3),
    page.number(quantile.nearest(values, 0.95), 3), unit)
  local true_text = "true " .. page.number(truth, 3) .. unit
  return string.format('<div class="row"><span>%s</span>%s<span class="soft">%s</span></div>', page.escape(text),
    curve(p, values, truth, "Posterior of " .. text .. " (90%), " .. true_text), page.escape(true_text))
end

-- The noise that outputs are measured with, of a simulator with a range of levels the lowest.
local function level(sim)
  return sim.noise_range and { noise = sim.noise_range.low } or nil
end

local function shown(sim, x)
  if x.ndim == 3 then return drawing.image(x, "The output") end
  local charts = {}
  for i, one in ipairs(drawing.series(sim)) do
    local part = core.slice(x, 1, one.first, one.last)
    charts[i] = drawing.chart(drawing.curve(part, "simulator", drawing.range(part)), "The output", one.title)
  end
  return table.concat(charts)
end

--- @tparam Model model
-- @tparam integer seed of the evaluation, whose first outputs these are
-- @treturn string HTML; "" for a model of one observation
return function(model, seed)
  local sim = model.simulator
  if model.focus then return "" end
  local scope <close> = core.scope()
  local z, x = sampler.simulate(sim, OUTPUTS, streams.evaluation(seed), level(sim))
  local seen = model.set and x:reshape(OUTPUTS, 1, table.unpack(sim.output)) or x
  local _scope <close> = novelty.silenced(model)
  local draws = model:posterior(seen, level(sim)):sample(DRAWS, streams.estimates()):totable()
  local truths, blocks = z:totable(), {}
  for i = 1, OUTPUTS do
    local rows = {}
    for k, p in ipairs(sim.params) do
      local column = {}
      for s, values in ipairs(draws[i]) do column[s] = values[k] end
      rows[k] = row(p, column, truths[i][k])
    end
    blocks[i] = '<figure class="posterior">' .. shown(sim, core.select(x, 1, i)) .. table.concat(rows)
      .. string.format("<figcaption>Output %d of the evaluation.</figcaption></figure>", i)
  end
  return "<h2>How sure it is</h2><p class=\"soft\">The posterior of three outputs: what the parameters may have been, "
    .. "with the central 90% in words. Each density spans the parameter's range; the line is the true value, which "
    .. 'the model has not seen.</p><div class="grid">' .. table.concat(blocks) .. "</div>"
end
