--- Handwritten digits: 0 to 9 as one or two strokes of a pen, white on black on 32x32 pixels. The class `digit` counts
-- 1 to 9, and 10 is a 0. The pen's edge is a ramp of 1 to 5 px, so that pictures scaled up from few pixels, as scans
-- are, lie within the simulator's range.
--
--     local digits = require "simvae.simulators.digits"
--     local measured = digits { noise = 0.05 }           -- noise of a measurement, as of sv.simulator
--
-- style, form, bend, balance and taper vary the shape: an open or a closed 4, a straight or a hooked 9, a 7 with or
-- without a bar, a 1 with or without a foot, larger upper or lower bowls.
-- @usage
-- local digits = require "simvae.simulators.digits"
-- local _, images = sv.simulate(digits, 8, sv.rng(1))
-- sv.figures.grid("digits.png", { images })
local check = require "simvae.util.check"
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local function params()
  return {
    { name = "digit", levels = 10, doc = "1 to 9, and 10 for 0" },
    { name = "x", low = 13, high = 19, unit = "px", doc = "of its centre" },
    { name = "y", low = 13, high = 19, unit = "px", doc = "of its centre" },
    { name = "size", low = 14, high = 26, unit = "px", doc = "height between the ends of the pen's path" },
    { name = "width", low = 0.3, high = 0.9, doc = "as a share of the size" },
    { name = "slant", low = -0.3, high = 0.5, doc = "to the right, x per y" },
    { name = "thickness", low = 1.5, high = 7, unit = "px", doc = "of the pen" },
    { name = "edge", low = 1, high = 5, unit = "px", doc = "of the pen, from black to white" },
    { name = "style", low = -1, high = 1, doc = "of each digit's own" },
    { name = "form", low = -1, high = 1, doc = "of each digit's own" },
    { name = "bend", low = -1, high = 1, doc = "of the middle, to the right" },
    { name = "balance", low = -1, high = 1, doc = "of the middle, upwards" },
    { name = "taper", low = -1, high = 1, doc = "wider at the top" },
  }
end

local variant_options = check.declare("simulators.digits", {
  noise = { "number|table|tensor|function", doc = "of a measurement, as of sv.simulator; default: none" },
})

local function make(options)
  options = check.options("digits", options, variant_options)
  local made = simulator.new {
    name = "digits", noise = options.noise,
    doc = core.builtin.digits.doc,
    params = params(),
    output = core.builtin.digits.output,
    batch = core.builtin.digits.draw,
  }
  made.variant = make
  return made
end

return make()
