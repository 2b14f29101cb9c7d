--- Fourier series (SimVAE, section 4): a curve given by eleven coefficients, drawn 1.5 px wide,
-- black on white on 64x64 pixels:
--
--     f(t) = c0 + sum over k = 1 … 5 of a_k cos(2 pi k t) + b_k sin(2 pi k t)
--
-- t in [0, 1] across the width, f in [-6, 6] up the height.
-- @usage
-- local fourier = require "simvae.simulators.fourier"
-- local _, images = sv.simulate(fourier, 8, sv.rng(1))
-- sv.figures.grid("fourier.png", { images })
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local params = { { name = "c0", low = -1, high = 1, doc = "constant" } }
for k = 1, 5 do
  params[1 + k] = { name = "a" .. k, low = -1, high = 1, doc = string.format("of cos(2 pi %d t)", k) }
  params[6 + k] = { name = "b" .. k, low = -1, high = 1, doc = string.format("of sin(2 pi %d t)", k) }
end

return simulator.new {
  name = "fourier",
  doc = core.builtin.fourier.doc,
  params = params,
  output = core.builtin.fourier.output,
  batch = core.builtin.fourier.draw,
}
