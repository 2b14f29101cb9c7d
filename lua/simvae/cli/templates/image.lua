--- simvae new --kind image: a Lua function that draws, a ring.
return {
  doc = "A Lua function that draws a picture: a ring.",
  files = { [".lua"] = [==[
--- @NAME@: the picture of a ring; its centre and radius.
--
--     simvae train @NAME@.lua                    # writes runs/@NAME@: model, figures, report.html
--     simvae doctor runs/@NAME@                  # what is learned well, what is not, and what to try
--     simvae encode runs/@NAME@ picture.png      # the parameters of a picture, with their uncertainty
--
-- Change name, params, output and simulate to those of your own simulator.
local sv = require "simvae"

local simulator = sv.simulator {
  name = "@NAME@",

  -- What is to be inferred. Parameters are uniform between low and high; scale = "log": uniform in their logarithm.
  -- Other priors: prior = { "normal", mean, std }; directions: period = 360; classes: levels = 3.
  params = {
    { name = "x", low = 8, high = 24, unit = "px", doc = "centre" },
    { name = "y", low = 8, high = 24, unit = "px" },
    { name = "r", low = 2, high = 8, unit = "px", doc = "radius" },
  },

  -- What is observed: { channels, height, width }, values from 0 (black) to 1. Channels: 1 grey, 3 colour.
  output = { 1, 32, 32 },

  -- z: the parameters by name; out: zeros, to be filled; rng: this sample's own generator, rng:normal().
  -- sv.draw draws with exact coverage: the origin is the lower left corner, y points up; sv.help "draw" lists shapes.
  -- Without it: out:set(value, channel, row, column).
  simulate = function(z, out, rng) -- luacheck: ignore rng
    sv.draw(out):clear(1):circle(z.x, z.y, z.r, { stroke = 0, width = 2 })
  end,
}

-- How it is trained; `simvae train --help` lists the options that replace these.
return {
  simulator = simulator,
  width = 8,                   -- channels of the networks next to the picture
  posterior = "flow",          -- of any shape
  recalibrate = 1000,          -- new simulations on which its stated intervals are corrected after the training
  decoder = { steps = 2000 },  -- stage 1: learns to draw what the simulator draws
  encoder = { steps = 4000 },  -- stage 2: learns to infer the parameters
}
]==] },
}
