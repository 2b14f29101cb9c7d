--- Polygons (SimVAE, section 4): a quadrilateral given by its four corners, filled black on
-- white on 64x64 pixels. It may intersect itself.
--
-- Eight relabelings of the corners draw the same figure: four starting corners, two
-- directions. The other sixteen orders connect the corners differently.
-- @usage
-- local polygon = require "simvae.simulators.polygon"
-- local _, images = sv.simulate(polygon, 8, sv.rng(1))
-- sv.figures.grid("polygon.png", { images })
local core = require "simvae.core"
local simulator = require "simvae.simulator"

local side, corners = 64, 4

local params, xs, ys = {}, {}, {}
for i = 1, corners do
  xs[i], ys[i] = "x" .. i, "y" .. i
  params[2 * i - 1] = { name = xs[i], low = 0, high = side, unit = "px" }
  params[2 * i] = { name = ys[i], low = 0, high = side, unit = "px" }
end

-- Corner i of the relabeled figure is corner start + direction * i of the original.
local function relabeling(start, direction)
  return {
    name = string.format("from corner %d, %s", start + 1, direction > 0 and "forwards" or "backwards"),
    map = function(z)
      local result = {}
      for i = 0, corners - 1 do
        local k = (start + direction * i) % corners + 1
        result[xs[i + 1]], result[ys[i + 1]] = z[xs[k]], z[ys[k]]
      end
      return result
    end,
  }
end

local symmetry = {}
for start = 0, corners - 1 do
  for _, direction in ipairs { 1, -1 } do
    if start ~= 0 or direction ~= 1 then symmetry[#symmetry + 1] = relabeling(start, direction) end
  end
end

return simulator.new {
  name = "polygon",
  doc = core.builtin.polygon.doc,
  params = params,
  symmetry = symmetry, -- the seven besides the identity
  output = core.builtin.polygon.output,
  batch = core.builtin.polygon.draw,
}
