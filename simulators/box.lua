--- The box simulator (SimVAE, section 4.1): a black rectangle of width w and height h
-- with its lower left corner at (x, y), and a blue cross at its centre, on 64x64
-- pixels. The rectangle is inside the image, so that x depends on w and y on h: the MIG of
-- the true parameters is 0.82, not 1.
-- @usage
-- local box = require "simvae.simulators.box"
-- local _, images = sv.simulate(box, 8, sv.rng(1))
-- sv.figures.grid("box.png", { images })
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local side = 64

return simulator.new {
  name = "box",
  doc = core.builtin.box.doc,
  params = {
    { name = "w", low = 0, high = side, unit = "px", doc = "width" },
    { name = "h", low = 0, high = side, unit = "px", doc = "height" },
    { name = "x", low = 0, high = side, unit = "px", doc = "left edge" },
    { name = "y", low = 0, high = side, unit = "px", doc = "lower edge" },
  },
  prior = core.builtin.box.prior, -- w, h uniform in 0 … side, then x in 0 … side - w and y in 0 … side - h
  correlated = true,
  output = core.builtin.box.output,
  batch = core.builtin.box.draw,
}
