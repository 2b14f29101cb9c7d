--- The settings of the paper's five experiments, as simvae.cli.experiment takes them: for `simvae train NAME`,
-- examples/train_NAME.lua and examples/reproduce.lua. Each is made when requested, so that a missing ngspice affects
-- the circuit alone.
local experiments = {}

-- Stage 2 of all five: a neural spline flow, trained by likelihood on the simulator's own pairs of parameters and
-- output (labels = 1). A simulator costs less than a training step, so that every pair is new; the decoder's pairs,
-- without labels, leave the decoder's errors in the posterior (notebooks/recipes.md).
local function encoder(steps, peak)
  return { steps = steps, labels = 1, lr = { peak = peak or 1e-3, warmup = 100 } }
end

--- Settings of the box.
function experiments.box()
  return {
    simulator = require "simvae.simulators.box",
    doc = "The paper's box: width, height and position of a rectangle, from its image.",
    posterior = "flow", width = 32, encoder = encoder(20000, 3e-3), recalibrate = 5000,
    demo = { steps = 2000, width = 16, samples = 2000 },
  }
end

--- Settings of the Fourier series.
function experiments.fourier()
  return {
    simulator = require "simvae.simulators.fourier",
    doc = "The paper's Fourier series: eleven coefficients, from the image of the curve.",
    posterior = "flow", width = 24, encoder = encoder(26000, 3e-3), recalibrate = 5000,
  }
end

--- Settings of the polygon.
function experiments.polygon()
  return {
    simulator = require "simvae.simulators.polygon",
    doc = "The paper's polygon: four corners, in any of eight orders, from the filled figure.",
    net = "coordconv",
    posterior = "flow", -- it holds all eight orders, and other ways to connect the corners that look nearly alike
    decoder = { steps = 12000, lr = { peak = 5e-3, warmup = 100 } }, encoder = encoder(12000),
    recalibrate = 20000, refine = { steps = 60, starts = 4 },
    base = { x1 = 12, y1 = 14, x2 = 50, y2 = 20, x3 = 44, y3 = 52, x4 = 18, y4 = 46 }, -- at the middle all corners meet
  }
end

--- Settings of dSprites.
function experiments.dsprites()
  return {
    simulator = require "simvae.simulators.dsprites",
    doc = "dSprites: shape, scale, orientation and position. MIG treats the shape as noise, as the paper does.",
    factors = { "scale", "orientation", "posX", "posY" },
    posterior = "flow", -- shapes by their probabilities, and the orientations of squares and ellipses
    decoder = { steps = 8000 }, -- after 4,000 it renders squares as discs
    encoder = encoder(16000), -- at peaks of 2e-3 and 2.5e-3 it diverges
    recalibrate = 20000, refine = { samples = 4000, steps = 60, starts = 4 }, -- enough of them for MIG
  }
end

--- Settings of the circuit.
function experiments.rlc()
  return {
    simulator = require "simvae.simulators.rlc",
    doc = "The paper's circuit: R, L and C up to a scaling of the impedance, from gain and phase, through ngspice.",
    net = "mlp", width = 128,
    posterior = "flow", -- it holds the orbit of the scaling
    -- ngspice is slower than a step: samples are used about eighty times
    workers = 2, simulations = 100000,
    decoder = { steps = 30000, batch = 128 },
    encoder = { steps = 30000, batch = 128, labels = 1, lr = { peak = 2e-3, warmup = 100 } },
  }
end

return experiments
