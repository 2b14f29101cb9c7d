--- Intersection over union of images.
--
-- Definition: with ink a, b in [0, 1] of each pixel, sum min(a, b) / sum max(a, b), for each image, averaged
-- over images. For images of 0 and 1 it is the Jaccard index; for antialiased edges its weighted form
-- (Ruzicka 1958), in which a half covered pixel counts half. Two empty images score 1. Ink is
-- dark on a light background, or light on dark, by the mean of x.
--
-- Known weaknesses: a shift by a pixel costs thin figures nearly everything and large ones little; disjoint
-- shapes score 0 at any distance; the average is dominated by small figures.
local check = require "simvae.util.check"
local core = require "simvae.core"
local matrix = require "simvae.metrics.support.matrix"
local page = require "simvae.report.page"

-- Which of the pixels are ink, from a batch: true for light on dark.
local function light_on_dark(x)
  return core.mean(x):item() < 0.5
end

local options = check.declare("metrics.iou", {
  light = { "boolean", doc = "whether the ink is light on dark; default: by the mean of x" },
})

--- Mean intersection over union.
-- @tparam tensor x (N, …) images, in [0, 1]
-- @tparam tensor y (N, …) images of the same shape
-- @tparam[opt] table opts options
-- @treturn number the mean over images, in [0, 1]
-- @treturn {number,...} that of each
-- @treturn boolean whether the ink was light
-- @raise images of unequal shape
-- @usage print((sv.metrics.iou(x, model:decode(z))))
local function iou(x, y, opts)
  opts = check.options("iou", opts, options)
  matrix.outputs("iou", x, y)
  local light = opts.light
  if light == nil then light = light_on_dark(x) end
  local scope <close> = core.scope()
  local n = x.shape[1]
  local a, b = core.clamp(x:reshape(n, -1), 0, 1), core.clamp(y:reshape(n, -1), 0, 1)
  if not light then a, b = 1 - a, 1 - b end
  -- min + max = a + b, max - min = |a - b|
  local both, apart = core.sum(a + b, 2):totable(), core.sum(core.abs(a - b), 2):totable()
  local each, total = {}, 0
  for i = 1, n do
    local union = (both[i] + apart[i]) / 2
    each[i] = union > 1e-6 and math.max(0, (both[i] - apart[i]) / 2 / union) or 1
    total = total + each[i]
  end
  return total / n, each, light
end

local reported = { order = 60 }

-- Grey images only.
function reported.start(run)
  local output = run.sim.output
  return { total = 0, count = 0, applies = #output == 3 and output[1] == 1 }
end

function reported.add(state, batch)
  state.applies = state.applies and batch.x:within(-1e-3, 1 + 1e-3) -- images in other units have no ink
  if not (state.applies and batch.again) then return end
  local mean, _, light = iou(batch.seen, batch.again, { light = state.light })
  local n = batch.seen.shape[1]
  state.total, state.count, state.light = state.total + mean * n, state.count + n, light
end

function reported.measure(_, state, r)
  r.iou = state.applies and state.count > 0 and state.total / state.count or nil
end

function reported.numbers(r)
  return { iou = r.iou }
end

function reported.cards(r, add)
  if not r.iou then return end
  add("Intersection over union", string.format("%.3f", r.iou), page.grade(r.iou, 0.85, 0.7), "Overlap of the "
    .. "re-simulated figure, from the encoder's parameters, with the given one, averaged. Good from 0.85 on, fair from "
    .. "0.7; thin lines score low.")
end

function reported.measures(n)
  return { { "iou", n.iou, title = "IoU", digits = 3, table = true } }
end

function reported.line(r)
  return r.iou and string.format("IoU %.3f", r.iou)
end

return { compute = iou, reported = reported }
