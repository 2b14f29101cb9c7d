--- dSprites (Matthey, Higgins, Hassabis and Lerchner, 2017): a square, an ellipse or a heart,
-- white on black on 64x64 pixels, not antialiased. The prior draws from the factor grid of the
-- published data set, 3 x 6 x 40 x 32 x 32 = 737,280 images; parameters between its values are
-- not rounded.
--
--     local dsprites = require "simvae.simulators.dsprites"               -- rendered
--     local published = dsprites { path = "dsprites_ndarray_….npz" }     -- the data set itself
--
-- The data set's file has the images in the order of its factors; simvae.simulator.dataset unpacks it once into a
-- .npy file of 3 GB.
-- @usage
-- local dsprites = require "simvae.simulators.dsprites"
-- local _, sprites = sv.simulate(dsprites, 8, sv.rng(1))
-- sv.figures.grid("dsprites.png", { sprites })
local check = require "simvae.util.check"
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local turn = 2 * math.pi

-- The published grid: orientation includes both 0 and 2 pi.
local shapes, scales, orientations, places = 3, 6, 40, 32

local function params()
  return {
    { name = "shape", levels = shapes, doc = "1 square, 2 ellipse, 3 heart" },
    { name = "scale", low = 0.5, high = 1, grid = scales },
    { name = "orientation", low = 0, high = turn, period = turn, grid = orientations, unit = "rad",
      doc = "counter-clockwise" },
    { name = "posX", low = 0, high = 1, grid = places, doc = "from the left" },
    { name = "posY", low = 0, high = 1, grid = places, doc = "from the top" },
  }
end

local function level(rng, n, low, high) return low + (high - low) * (rng:integer(1, n) - 1) / (n - 1) end

local function prior(rng)
  return {
    rng:integer(1, shapes), level(rng, scales, 0.5, 1), level(rng, orientations, 0, turn), level(rng, places, 0, 1),
    level(rng, places, 0, 1),
  }
end

-- A rotation by `angle` that leaves the shapes in `of` unchanged; others are not rotated.
local function rotation(name, angle, of)
  return {
    name = name,
    map = function(z)
      local orientation = of[z.shape] and (z.orientation + angle) % turn or z.orientation
      return { shape = z.shape, scale = z.scale, orientation = orientation, posX = z.posX, posY = z.posY }
    end,
  }
end

local square, square_and_ellipse = { true, false, false }, { true, true, false }
local symmetry = {
  rotation("quarter turn of the square", turn / 4, square),
  rotation("half turn of the square and the ellipse", turn / 2, square_and_ellipse),
  rotation("three quarter turn of the square", 3 * turn / 4, square),
}

local variant_options = check.declare("simulators.dsprites", {
  path = { "string", doc = "the data set's .npz file, which is read in place of rendering; default: rendered" },
  unpacked = { "string", doc = "path that its images are unpacked to; default: beside the file" },
})

local function make(options)
  options = check.options("dsprites", options, variant_options)
  local t = {
    name = "dsprites",
    doc = core.builtin.dsprites.doc,
    params = params(),
    prior = prior,
    symmetry = symmetry,
    output = core.builtin.dsprites.output,
    batch = core.builtin.dsprites.draw,
  }
  local made
  if options.path then
    local why
    made, why = require "simvae.simulator.dataset".dataset {
      name = "dsprites", path = options.path, unpacked = options.unpacked, z = "latents_values", x = "imgs",
      drop = { 1 }, -- the colour, which is always white
      params = t.params, output = t.output, symmetry = symmetry, doc = t.doc,
    }
    if not made then return nil, why end
  else
    made = simulator.new(t)
  end
  made.variant = make
  return made
end

return make()
