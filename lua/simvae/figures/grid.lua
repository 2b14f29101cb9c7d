--- Rows of images, such as the paper's figure 1: S(z), G(z), S(E(x)), G(E(x)).
local core = require "simvae.core"
local check = require "simvae.util.check"
local picture = require "simvae.figures.support.picture"

local options = check.declare("figures.grid", {
  labels = { "table", doc = "a text for each row" },
  scale = { "integer", min = 1, max = 16,
    doc = "enlargement: every pixel becomes scale x scale; default: by the size of the images" },
  columns = { "integer", min = 1, doc = "images of a row, at most; default: all" },
  title = { "string", doc = "above the figure; default: none" },
})

--- Writes rows of images, one above the other.
-- @tparam string path of the PNG
-- @tparam table rows list of tensors (N, C, H, W) of equal N, H and W; row i of images is rows[i]
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message
-- @raise rows of unequal length or of other images, unknown options
-- @usage sv.figures.grid("grid.png", { x, model:decode(z) }, { labels = { "S(z)", "G(z)" }, columns = 8 })
local function grid(path, rows, opts)
  opts = check.options("grid", opts, options)
  check.value("grid", "path", path, { "string" })
  if type(rows) ~= "table" or #rows == 0 then
    check.fail(2, "grid: rows is a list of tensors (N, C, H, W); got %s", check.describe(rows))
  end
  local scope <close> = core.scope()
  local first
  for r, t in ipairs(rows) do
    picture.check_images("grid", string.format("rows[%d]", r), t)
    first = first or t.shape
    if t.shape[1] ~= first[1] or t.shape[3] ~= first[3] or t.shape[4] ~= first[4] then
      check.fail(2, "grid: rows[%d] has shape %s, rows[1] has %s: N, H and W must agree", r,
        check.shape_text(t.shape), check.shape_text(first))
    end
  end
  local n = math.min(first[1], opts.columns or 12)
  local scale = opts.scale or picture.factor(first[3], first[4], n)
  local tiles = {}
  for r, t in ipairs(rows) do
    tiles[r] = {}
    for i = 1, n do tiles[r][i] = picture.enlarge(picture.colours(t[i]), scale) end
  end
  local result = picture.tiles(tiles, 2)
  if opts.labels then
    local labels, widest = {}, 0
    for r = 1, #rows do
      labels[r] = picture.text(opts.labels[r] or "", 13)
      widest = math.max(widest, labels[r].shape[3])
    end
    local high = first[3] * scale + 2
    for r, label in ipairs(labels) do
      local above = math.max(0, (high - label.shape[2]) // 2)
      labels[r] = picture.pad(label, above, widest - label.shape[3], math.max(0, high - label.shape[2] - above), 10)
    end
    result = picture.beside { picture.pad(picture.below(labels), 2, 0, 0, 0), result }
  end
  if opts.title then result = picture.below { picture.pad(picture.text(opts.title, 15), 0, 0, 8, 0), result } end
  return require "simvae.figures.support.output" .picture(path, picture.pad(result, 10, 10, 10, 10))
end

local reported = { order = 10 }

function reported.figures(folder, c)
  if #c.sim.output ~= 3 then return {} end
  local z, x, inferred = c.examples(8)
  local path, why = grid(folder .. "/samples.png",
    { x, c.model:decode(z), c.sim:run(inferred), c.model:decode(inferred) },
    { labels = { "S(z)", "G(z)", "S(E(x))", "G(E(x))" } })
  return { { path = path, why = why, caption = "From top to bottom: the simulator, the decoder on the same parameters, "
    .. "the simulator and the decoder on the encoder's parameters." } }
end

return { draw = grid, reported = reported }
