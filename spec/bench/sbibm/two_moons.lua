--- sbibm's two_moons (Lueckmann et al. 2021): two crescents, mirrored in the line z1 + z2 = 0.
local sv = require "simvae"

return sv.simulator {
  name = "two_moons", output = { 2 },
  params = { { name = "z1", low = -1, high = 1 }, { name = "z2", low = -1, high = 1 } },
  simulate = function(z, out, rng)
    local a, r = rng:uniform(-math.pi / 2, math.pi / 2), rng:normal(0.1, 0.01)
    out[1] = r * math.cos(a) + 0.25 - math.abs(z.z1 + z.z2) / math.sqrt(2)
    out[2] = r * math.sin(a) + (z.z2 - z.z1) / math.sqrt(2)
  end,
}
