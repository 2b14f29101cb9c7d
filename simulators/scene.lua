--- A small 3-D scene: a sphere, a box or a cylinder on grey ground, in any pose, colour and light, on 3x64x64 pixels.
-- The view is orthographic, from 35 degrees above the horizon; shading is Lambert's with an ambient part, and the
-- shadow has a penumbra. Lengths are in pixels: x to the right, y away from the viewer.
--
-- Several parameters look alike: a sphere has no pose and no height, a cylinder that stands no turn, and a box that
-- stands four.
-- @usage
-- local scene = require "simvae.simulators.scene"
-- local _, images = sv.simulate(scene, 8, sv.rng(1))
-- sv.figures.grid("scene.png", { images })
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local turn = 2 * math.pi

return simulator.new {
  name = "scene",
  doc = core.builtin.scene.doc,
  params = {
    { name = "shape", levels = 3, doc = "1 sphere, 2 box, 3 cylinder" },
    { name = "x", low = -10, high = 10, unit = "px", doc = "to the right of the middle" },
    { name = "y", low = -14, high = 10, unit = "px", doc = "on the ground, away from the viewer" },
    { name = "size", low = 6, high = 12, unit = "px", doc = "half-width, or radius" },
    { name = "height", low = 0.6, high = 1.4, doc = "of box and cylinder, as a share of the width" },
    { name = "turn", period = turn, unit = "rad", doc = "about the vertical" },
    { name = "tilt", low = 0, high = turn / 4, unit = "rad", doc = "of the axis, from the vertical" },
    { name = "hue", period = 1, doc = "of the colour: 0 red, 1/3 green, 2/3 blue" },
    { name = "saturation", low = 0.4, high = 1, doc = "of the colour" },
    { name = "azimuth", period = turn, unit = "rad", doc = "of the light, from the right towards the far side" },
    { name = "elevation", low = 0.5, high = 1.2, unit = "rad", doc = "of the light, above the horizon" },
  },
  symmetry = {
    { name = "pose and height of the sphere", map = function(z)
      local sphere = z.shape == 1
      return { shape = z.shape, x = z.x, y = z.y, size = z.size, height = sphere and 2 - z.height or z.height,
        turn = sphere and (z.turn + turn / 2) % turn or z.turn, tilt = sphere and turn / 4 - z.tilt or z.tilt,
        hue = z.hue, saturation = z.saturation, azimuth = z.azimuth, elevation = z.elevation }
    end },
  },
  output = core.builtin.scene.output,
  batch = core.builtin.scene.draw,
}
