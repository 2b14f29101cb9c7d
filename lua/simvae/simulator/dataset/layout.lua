--- The meaning of the axes of a data set's outputs, and the range of its images: decided where it is unambiguous, else
-- an error. A series of times and features is never taken for an image.
--
--     row of x         without `layout` or `output`
--     ()  (n)          a vector
--     (H, W) bytes     a grey picture
--     (a, b) others    asked for: layout = "series" (a times, b features) or "picture" (a x b pixels)
--     (C, H, W)        channels first, if the first axis has 1 to 4 entries and the last has more
--     (H, W, C)        channels last, if the last axis has 1 to 4 entries and the first has more
local check = require "simvae.util.check"
local core = require "simvae.core"

local layout = {}

layout.names = { "series", "picture", "channels_first", "channels_last" }

local FEW = 4      -- maximum channels of an image
local LOOKED = 256 -- rows from which the range is determined

local function plan_of(output, order, series)
  return { output = output, order = order, series = series }
end

-- A series of T times and F features: one curve after the other.
local function series_plan(shape)
  local curves = { axis = { name = "time step", low = 1, high = math.max(2, shape[1]) } }
  for f = 1, shape[2] do curves[f] = { name = "feature " .. f } end
  return plan_of({ shape[1] * shape[2] }, { 1, 3, 2 }, curves)
end

local plans = {
  series = function(shape) return #shape == 2 and series_plan(shape) or #shape == 1 and plan_of(shape) end,
  picture = function(shape) return #shape == 2 and plan_of { 1, shape[1], shape[2] } end,
  channels_first = function(shape) return #shape == 3 and plan_of(shape) end,
  channels_last = function(shape)
    return #shape == 3 and plan_of({ shape[3], shape[1], shape[2] }, { 1, 4, 2, 3 })
  end,
}

-- By the rules above; or nil and the choices.
local function decided(shape, bytes)
  if #shape == 0 then return plan_of { 1 } end
  if #shape == 1 then return plan_of(shape) end
  local text = "x has shape (N, " .. table.concat(shape, ", ") .. "): "
  if #shape == 2 then
    if bytes then return plans.picture(shape) end
    return nil, string.format('%slayout = "series" (%d times, %d features) or layout = "picture" (%d x %d pixels)',
      text, shape[1], shape[2], shape[1], shape[2])
  elseif #shape ~= 3 then
    return nil, text .. "outputs are (channels, height, width) or (n,); give output = { … }"
  end
  local first, last = shape[1] <= FEW, shape[3] <= FEW
  if first and not last then return plans.channels_first(shape) end
  if last and not first then return plans.channels_last(shape) end
  return nil, text .. 'layout = "channels_first" or layout = "channels_last"'
end

-- With the output's shape given: rows as they are, but for channels that it has first and x last.
local function given_output(output, shape)
  local last = #output == 3 and #shape == 3 and output[1] == shape[3] and output[2] == shape[1]
    and output[3] == shape[2] and output[1] ~= shape[1]
  return plan_of(output, last and { 1, 4, 2, 3 } or nil)
end

--- How rows of x become outputs.
-- @tparam {integer,...} shape of a row
-- @tparam boolean bytes they are whole numbers of one byte
-- @tparam table given layout, output: as the caller gave them
-- @treturn table output: its shape; order: of permute, where axes move; series: names of curves; or nil, reason
function layout.of(shape, bytes, given)
  if given.layout then
    local plan = plans[given.layout](shape)
    if not plan then
      return nil, string.format("x has shape (N, %s), which is no layout = %q", table.concat(shape, ", "), given.layout)
    end
    if given.output and check.shape_text(given.output) ~= check.shape_text(plan.output) then
      return nil, string.format("layout = %q makes outputs %s; output is %s", given.layout,
        check.shape_text(plan.output), check.shape_text(given.output))
    end
    return plan
  end
  if given.output then return given_output(given.output, shape) end
  return decided(shape, bytes)
end

-- Minimum and maximum of some rows, evenly over the set; nil where none can be read.
local function range_of(source)
  local rows, n = {}, math.min(LOOKED, source.count)
  for i = 1, n do rows[i] = 1 + (i - 1) * source.count // n end
  local scope <close> = core.scope()
  local t = source.read(rows)
  if not t then return nil end
  return core.min(t):item(), core.max(t):item()
end

local function remedy(low, high)
  local by = low >= 0 and (high <= 255 and 255 or high <= 65535 and 65535)
  return by and "scale = " .. by .. " divides by it" or "scale = n divides by n"
end

--- The divisor of outputs: `scale`, else 255 for bytes above 1. Pictures that are compared by cross-entropy and
-- lie outside [0, 1] are refused unless `scale` is given.
-- @tparam table source
-- @tparam {integer,...} output its shape
-- @tparam table given scale, loss
-- @treturn number; or nil, reason
function layout.scale(source, output, given)
  local pictures = #output == 3 and (given.loss == nil or given.loss == "bce")
  if given.scale or not source.bytes and not pictures then return given.scale or 1 end
  local low, high = range_of(source)
  local scale = source.bytes and high and high > 1 and 255 or 1
  if not pictures or not low or low >= 0 and high <= 1.001 * scale then return scale end
  return nil, string.format("x holds %g to %g; images take [0, 1]: %s, or loss = \"mse\"", low, high,
    remedy(low, high))
end

return layout
