--- Latent traversals, the paper's figure 2: one parameter per row varies from its lower to its
-- upper bound while the others are in the middle; outputs of the decoder.
local core = require "simvae.core"
local check = require "simvae.util.check"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"
local parameter = require "simvae.simulator.parameter"
local picture = require "simvae.figures.support.picture"
local traversal = require "simvae.figures.support.traversal"

local options = check.declare("figures.traversals", {
  steps = { "integer", default = 9, min = 2, max = 64, doc = "images of a row, from bound to bound" },
  rows = { "table", doc = "names or numbers of the parameters; default: all" },
  base = { "table",
    doc = "values of the parameters that do not move, { name = value }; default: the middle, for a correlated prior "
      .. "its mean" },
  scale = { "integer", min = 1, max = 16,
    doc = "enlargement: every pixel becomes scale x scale; default: by the size of the images" },
  frames = { "integer", default = 24, min = 4, max = 240, doc = "of the animation" },
})

-- Numbers of the parameters to be moved, from names or numbers.
local function chosen(params, rows)
  local index, all = {}, {}
  for i, p in ipairs(params) do index[p.name], all[i] = i, i end
  if not rows then return all end
  local result = {}
  for _, r in ipairs(rows) do
    local i = index[r] or r
    if not params[i] then
      check.fail(3, "traversals: rows names '%s'; the parameters are %s", tostring(r), (function()
        local names = {}
        for k, p in ipairs(params) do names[k] = p.name end
        return table.concat(names, ", ")
      end)())
    end
    result[#result + 1] = i
  end
  return result
end

-- The decoder's outputs for parameter k at these shares: (n, …).
local function moved(model, z, k, us)
  return model:decode(traversal.moved(model.simulator, z, k, us))
end

local function images(path, model, z, which, opts)
  local params, rows, labels, maximum = model.simulator.params, {}, {}, 0
  local first
  for r, k in ipairs(which) do
    local x = moved(model, z, k, traversal.shares(params[k], opts.steps))
    first = first or x.shape
    rows[r], labels[r] = {}, parameter.range_text(params[k])
    maximum = math.max(maximum, x.shape[1])
    for i = 1, x.shape[1] do rows[r][i] = picture.colours(x[i]) end
  end
  local scale = opts.scale or picture.factor(first[3], first[4], maximum)
  local lines, widest = {}, 0
  for r, label in ipairs(labels) do
    labels[r] = picture.text(label, 12)
    widest = math.max(widest, labels[r].shape[3])
    for i, t in ipairs(rows[r]) do rows[r][i] = picture.enlarge(t, scale) end
  end
  for r, row in ipairs(rows) do
    local label = labels[r]
    lines[r] = picture.beside({ picture.pad(label, 0, widest - label.shape[3], 0, 10), picture.tiles({ row }, 2) },
      "middle")
  end
  return output.picture(path, picture.pad(picture.below(lines), 10, 10, 10, 10))
end

-- All rows at once, back and forth (or over a period), as an animation.
local function animation(path, model, z, which, opts)
  local io = require "simvae.io"
  if not io.save_apng then return nil, "animations are not available" end
  local params, frames, moves = model.simulator.params, {}, {}
  for r, k in ipairs(which) do
    local us, n = {}, opts.frames
    local p = params[k]
    for i = 1, n do
      local t = ((i - 1) / n + 0.25) % 1 -- starts in the middle
      us[i] = p.period and t or p.levels and math.min(1, math.floor(t * p.levels) / (p.levels - 1))
        or 0.5 - 0.5 * math.cos(2 * math.pi * t)
    end
    moves[r] = moved(model, z, k, us)
  end
  local columns = math.min(#which, 4)
  local scale = opts.scale or math.max(1, math.min(3, 160 // moves[1].shape[4]))
  local captions = {}
  for r, k in ipairs(which) do captions[r] = picture.text(params[k].name, 12) end
  for i = 1, opts.frames do
    local lines = {}
    for from = 1, #which, columns do
      local row = {}
      for r = from, math.min(from + columns - 1, #which) do
        local tile = picture.tiles({ { picture.enlarge(picture.colours(moves[r][i]), scale) } }, 1)
        row[#row + 1] = picture.pad(picture.below { captions[r], tile }, 4, 6, 4, 6)
      end
      lines[#lines + 1] = picture.beside(row)
    end
    frames[i] = picture.below(lines)
  end
  local ok, message = io.save_apng(path, frames, { delay_ms = 80 })
  if not ok then return nil, message end
  return path
end

local function curves(path, model, z, which, opts)
  local params, data, script = model.simulator.params, {}, {}
  local rows, columns = output.layout(#which, 3)
  script[1] = string.format("set multiplot layout %d,%d\nunset key\nset xlabel 'output'", rows, columns)
  for _, k in ipairs(which) do
    local us = traversal.shares(params[k], opts.steps)
    local plots = {}
    for s, values in ipairs(moved(model, z, k, us):totable()) do
      local lines = {}
      for i, v in ipairs(values) do lines[i] = string.format("%d %.8g", i, v) end
      plots[s] = string.format("%s index %d using 1:2 with lines linewidth 1.5 linecolor rgb '%s'",
        s == 1 and "data" or "''", #data, palette.hex(palette.ramp(0.25 + 0.75 * us[s])))
      data[#data + 1] = string.format("# %s = %.8g\n# output value\n", params[k].name,
        parameter.from_unit(params[k], us[s]))
        .. table.concat(lines, "\n")
    end
    script[#script + 1] = "set title " .. output.quote(parameter.range_text(params[k]))
    script[#script + 1] = "plot " .. table.concat(plots, ", ")
  end
  script[#script + 1] = "unset multiplot"
  return output.chart(path, data, script, 380 * columns,
    280 * rows, 9)
end

--- Draws a traversal of each parameter through the decoder.
-- @tparam string path of the PNG; with image outputs an animated loop goes to NAME.anim.png beside it
-- @tparam Model model what has :decode and .simulator.params
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @treturn string|nil path of the animation
-- @raise a value that is not a model, unknown options
-- @usage sv.figures.traversals("traversals.png", model, { steps = 7, frames = 8 })
local function traversals(path, model, opts)
  opts = check.options("traversals", opts, options)
  check.value("traversals", "path", path, { "string" })
  local sim = type(model) == "table" and model.simulator
  if not sim or not model.decode then
    check.fail(2, "traversals: takes a model, with :decode and .simulator.params; got %s", check.describe(model))
  end
  local scope <close> = core.scope()
  local which, z = chosen(sim.params, opts.rows), traversal.middle(sim, opts.base)
  local probe = model:decode(core.tensor { z })
  if probe.ndim ~= 4 then return curves(path, model, z, which, opts) end
  local ok, message = images(path, model, z, which, opts)
  if not ok then return nil, message end
  local moving, why = animation((path:gsub("%.png$", "")) .. ".anim.png", model, z, which, opts)
  if not moving then return nil, why end
  return path, moving
end

local reported = { order = 50 }

function reported.figures(folder, c)
  local still, moving = traversals(folder .. "/traversals.png", c.model, { base = c.base })
  local list = { { path = still, why = moving, caption = "The decoder's output as one parameter moves from its lower "
    .. "to its upper bound, the others " .. (c.base and "constant." or "at the middle.") } }
  if still and moving then list[2] = { path = moving, caption = "The same, animated." } end
  return list
end

return { draw = traversals, reported = reported }
