--- A small 3-D scene: shape, place, pose and colour of a body, and where the light is, from its picture.
local sv = require "simvae"

sv.experiment {
  simulator = require "simvae.simulators.scene",
  doc = "A sphere, a box or a cylinder on the ground: shape, place, pose, colour and light, from a shaded picture.",
  posterior = "flow", width = 16, -- the flow holds the poses that look alike
  decoder = { steps = 6000 },
  encoder = { steps = 12000, supervised = 1000, labels = 1, lr = { peak = 1e-3, warmup = 100 } },
  samples = 2000, refine = { samples = 100, steps = 40 },
  base = { shape = 2, x = 0, y = -4, size = 9, height = 1, turn = 0.4, tilt = 0.2, azimuth = 0.8, elevation = 0.8 },
}
