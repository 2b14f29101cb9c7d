--- The paper's box plotter: a rectangle's width, height and place, from its picture alone.
local sv = require "simvae"

sv.experiment {
  simulator = require "simvae.simulators.box",
  demo = { steps = 1000, samples = 2000 },
}
