--- The paper's box plotter: a rectangle's width, height and place, from its picture alone.
local sv = require "simvae"

sv.experiment {
  simulator = require "simvae.simulators.box",
  net = "dcgan", width = 32,
  demo = { steps = 1000, width = 16, samples = 2000 },
}
