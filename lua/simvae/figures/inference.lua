--- Inference on images that the simulator did not make, as at the right of the paper's figure 1: the image, S(E(x)) and
-- G(E(x)).
local check = require "simvae.util.check"
local core = require "simvae.core"
local noise = require "simvae.simulator.noise"

local options = check.declare("figures.inference", {
  scale = { "integer", min = 1, max = 16,
    doc = "enlargement: every pixel becomes scale x scale; default: by the size of the images" },
  labels = { "table", doc = "of the three rows; default picture, S(E(x)) and G(E(x))" },
  preprocess = { "table", doc = "options of sv.preprocess.picture" },
  noise = noise.level_rule,
})

--- Draws the inference on images.
-- @tparam string path of the PNG
-- @tparam Model model with :encode, :decode and .simulator
-- @tparam {string|tensor,...} pictures paths of PNGs, or tensors (C, H, W); read through simvae.model.preprocess
-- @tparam[opt] table opts options
-- @treturn string|nil path, or nil and a message (an image that cannot be read)
-- @treturn tensor the parameters (N, K), in units
-- @treturn tensor the images as preprocessed for the encoder (N, C, H, W)
-- @raise pictures that are neither paths nor tensors, unknown options
-- @usage sv.figures.inference("inference.png", model, { x[1], x[2], x[3] })
local function inference(path, model, pictures, opts)
  opts = check.options("inference", opts, options)
  check.value("inference", "path", path, { "string" })
  local sim = type(model) == "table" and model.simulator
  if not sim or not model.encode or #sim.output ~= 3 then
    check.fail(2, "inference: takes a model of a simulator of images, with :encode, :decode and .simulator")
  end
  if type(pictures) ~= "table" or #pictures == 0 then
    check.fail(2, "inference: takes a list of images: paths of PNGs, or tensors; got %s", check.describe(pictures))
  end
  local preprocess = require "simvae.model.preprocess"
  local x = core.zeros { #pictures, table.unpack(sim.output) }
  for i, p in ipairs(pictures) do
    local one, why
    if type(p) == "string" then
      one, why = preprocess.load(p, sim.output, opts.preprocess)
      if not one then return nil, why end
    else
      one = preprocess.picture(p, sim.output, opts.preprocess)
    end
    x[i] = one
  end
  local z = model:encode(x, opts.noise and { noise = opts.noise } or nil)
  local rows = z:totable()
  for i, row in ipairs(rows) do rows[i] = require "simvae.simulator.parameters".within(sim.params, row) end
  local ok, message = require "simvae.figures.grid".draw(path, { x, sim:run(core.tensor(rows)), model:decode(z) }, {
    labels = opts.labels or { "picture", "S(E(x))", "G(E(x))" }, scale = opts.scale,
  })
  if not ok then return nil, message end
  return path, z, x
end

local reported = { order = 30 }

function reported.figures(folder, c)
  if #c.sim.output ~= 3 or not c.pictures then return {} end
  local told = noise.least(c.sim)
  local path, why, x = inference(folder .. "/inference.png", c.model, c.pictures, told)
  local surprise = ""
  if path and rawget(c.model, "usual") then
    local list = c.model:posterior(x, told).surprise:totable()
    for i, u in ipairs(list) do list[i] = string.format("%.3f", u) end
    surprise = " Surprise, from 0 to 1, where 1 is unlike everything that the simulator gives: "
      .. table.concat(list, ", ") .. "."
  end
  return { { path = path, why = why, caption = "Images from elsewhere, and simulator and decoder on the "
    .. "parameters inferred from them." .. surprise } }
end

return { draw = inference, reported = reported }
