--- Images that are neither square nor of sides that halve: rings of 40 x 75 pixels. `lua5.4 examples/nets/images.lua`
local sv = require "simvae"
local measure = dofile(arg[0]:match "^(.*/)" .. "measure.lua")

local ring = sv.simulator {
  name = "ring", output = { 1, 40, 75 },
  params = { { name = "x", low = 10, high = 65, unit = "px" }, { name = "y", low = 10, high = 30, unit = "px" },
    { name = "r", low = 2, high = 8, unit = "px" } },
  simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, z.y, z.r, { stroke = 0, width = 2 }) end,
}
measure(ring, { "mlp", "conv" }, { decoder = 400, encoder = 400 })
