--- Eight samples of each built-in simulator in one image: lua examples/gallery.lua [FILE.png]
local command_line = require "simvae.cli.command_line"
local sv = require "simvae"

local parser = require "argparse"("lua gallery.lua", "Draws samples of each built-in simulator into one picture.")
parser:argument("file", "The image, a PNG.", "simulators.png"):convert(command_line.new_file ".png")
command_line.number(parser, "--samples", "Samples of each simulator.", 1, 64, 8)
command_line.number(parser, "--seed", "Seed of the samples.", 0, nil, 4)
local a = parser:parse()

local n = a.samples
local rows, labels = {}, {}

-- Repeats a grey image on the channels of a colour image.
local function coloured(x)
  return x.shape[2] == 3 and x or sv.concat({ x, x, x }, 2)
end

for _, name in ipairs { "box", "polygon", "fourier", "dsprites", "digits", "scene" } do
  local sim = require("simvae.simulators." .. name)
  local _, x = sv.simulate(sim, n, sv.rng(a.seed))
  if name == "dsprites" or name == "digits" then x = 1 - x end -- white on black
  if name == "digits" then x = sv.upsample2d(x, 2) end
  rows[#rows + 1], labels[#labels + 1] = coloured(x), name
end

-- The circuit's gain (black) and phase (blue) over the frequency, both scaled to the image.
local rlc = require "simvae.simulators.rlc" { engine = "analytic" }
local _, x = sv.simulate(rlc, n, sv.rng(a.seed))
local pictures = sv.zeros(n, 3, 64, 64)
for i = 1, n do
  local canvas = sv.draw(pictures[i]):clear(1)
  local function curve(first, low, high, colour)
    local points = {}
    for k = 0, 60 do
      points[#points + 1] = { 2 + k, 3 + 58 * (x:get(i, first + k) - low) / (high - low) }
    end
    canvas:polyline(points, { stroke = colour, width = 1.5 })
  end
  curve(62, -math.pi, 0, { 0.1, 0.3, 0.9 })
  curve(1, -100, 30, { 0, 0, 0 })
end
rows[#rows + 1], labels[#labels + 1] = pictures, "rlc"

print(assert(sv.figures.grid(a.file, rows, { labels = labels, scale = 2 })))
