--- The samples with the largest errors: x, the re-simulated output, and the difference.
local core = require "simvae.core"
local check = require "simvae.util.check"
local picture = require "simvae.figures.support.picture"

local options = check.declare("figures.worst", {
  count = { "integer", default = 12, min = 1, doc = "samples that are shown" },
  scale = { "integer", min = 1, max = 16,
    doc = "enlargement: every pixel becomes scale x scale; default: by the size of the images" },
  labels = { "table", doc = "of the rows; default x, S(E(x)) and their difference" },
})

--- Indices of the samples with the largest squared error, worst first.
-- @tparam tensor x (N, …)
-- @tparam tensor y (N, …)
-- @tparam integer count how many
-- @treturn table sample numbers
-- @treturn table their mean squared errors
local function ranking(x, y, count)
  local scope <close> = core.scope()
  local n = x.shape[1]
  local errors = core.sub(x:reshape(n, -1), y:reshape(n, -1)):square():mean(2):totable()
  local order = {}
  for i = 1, n do order[i] = i end
  table.sort(order, function(a, b)
    if errors[a] ~= errors[b] then return errors[a] > errors[b] end
    return a < b
  end)
  local worst, values = {}, {}
  for i = 1, math.min(count, n) do worst[i], values[i] = order[i], errors[order[i]] end
  return worst, values
end

--- Writes the worst samples side by side, the worst first.
-- @tparam string path of the PNG
-- @tparam tensor x (N, C, H, W) images
-- @tparam tensor y (N, C, H, W) re-simulated images, such as S(E(x))
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @treturn table indices of the samples
-- @raise images of unequal shape, unknown options
-- @usage sv.figures.worst("worst.png", x, model:decode((model:encode(x))), { count = 6 })
local function worst(path, x, y, opts)
  opts = check.options("worst", opts, options)
  check.value("worst", "path", path, { "string" })
  picture.check_images("worst", "x", x)
  picture.check_images("worst", "y", y)
  if check.shape_text(x.shape) ~= check.shape_text(y.shape) then
    check.fail(2, "worst: x has shape %s, y has %s; they must agree", check.shape_text(x.shape),
      check.shape_text(y.shape))
  end
  local scope <close> = core.scope()
  local numbers = ranking(x, y, opts.count)
  local above, below, between = {}, {}, {}
  for i, n in ipairs(numbers) do
    above[i], below[i] = x[n], y[n]
    between[i] = core.sub(1, core.abs(core.sub(x[n], y[n])))
  end
  local function stack(list)
    local shape = list[1].shape
    for i, t in ipairs(list) do list[i] = t:reshape(1, table.unpack(shape)) end
    return #list == 1 and list[1] or core.concat(list, 1)
  end
  local ok, message = require "simvae.figures.grid".draw(path, { stack(above), stack(below), stack(between) }, {
    labels = opts.labels or { "x", "S(E(x))", "difference" }, scale = opts.scale, columns = opts.count,
  })
  if not ok then return nil, message end
  return ok, numbers
end

local reported = { order = 20 }

function reported.figures(folder, c)
  if #c.sim.output ~= 3 or not c.r.worst then return {} end
  local path, why = worst(folder .. "/worst.png", c.r.worst.x, c.r.worst.y)
  return { { path = path, why = why, caption = "The twelve samples with the largest errors." } }
end

return { draw = worst, reported = reported }
