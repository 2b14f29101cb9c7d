--- A bar among discs that say nothing of it: 32 x 32 pixels. `lua5.4 examples/nets/clutter.lua`
local sv = require "simvae"
local measure = dofile(arg[0]:match "^(.*/)" .. "measure.lua")

local clutter = sv.simulator {
  name = "clutter", output = { 1, 32, 32 },
  params = { { name = "x", low = 8, high = 24, unit = "px" }, { name = "y", low = 8, high = 24, unit = "px" },
    { name = "angle", low = 0, high = 180, period = 180, unit = "deg" } },
  simulate = function(z, out, rng)
    local picture = sv.draw(out):clear(1)
    for _ = 1, 8 do picture:circle(rng:uniform(0, 32), rng:uniform(0, 32), rng:uniform(1, 3), { fill = 0 }) end
    local c, s, l, w = math.cos(math.rad(z.angle)), math.sin(math.rad(z.angle)), 7, 1.5
    picture:polygon({ z.x + l * c - w * s, z.y + l * s + w * c, z.x + l * c + w * s, z.y + l * s - w * c,
      z.x - l * c + w * s, z.y - l * s - w * c, z.x - l * c - w * s, z.y - l * s + w * c }, { fill = 0 })
  end,
}
measure(clutter, { "mlp", "conv", "dcgan", "resnet", "vit" }, { decoder = 0, encoder = 600 })
