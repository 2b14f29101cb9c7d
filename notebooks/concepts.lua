--- Draws concepts.png, the picture of concepts.md: one sample of a small simulator on its way through a trained model.
--
--     eval "$(make -s env)"; lua5.4 notebooks/concepts.lua                # a minute or two on one core
local command_line = require "simvae.cli.command_line"
local density = require "simvae.figures.support.density"
local palette = require "simvae.figures.support.palette"
local picture = require "simvae.figures.support.picture"
local sv = require "simvae"

local parser = require "argparse"("lua concepts.lua", "Draws the picture of concepts.md.")
parser:option("--out", "The PNG.", "notebooks/concepts.png"):convert(command_line.new_file ".png")
command_line.number(parser, "--steps", "Steps of each stage.", 1, nil, 1500)
local a = parser:parse()

-- ---- the model ------------------------------------------------------------------------------------

local ring = sv.simulator {
  name = "ring", output = { 1, 32, 32 }, noise = 0.5,
  params = { { name = "x", low = 8, high = 24, unit = "px" }, { name = "y", low = 8, high = 24, unit = "px" },
    { name = "r", low = 2, high = 8, unit = "px" } },
  simulate = function(z, out) sv.draw(out):clear(1):circle(z.x, z.y, z.r, { stroke = 0, width = 2 }) end,
}
local model = sv.model { simulator = ring, width = 8, seed = 1 }
model:train { decoder = { steps = a.steps }, encoder = { steps = a.steps } }

local truth = sv.tensor { { 13, 18, 6 } }
local x, y = ring:run(truth), model:decode(truth)
local measured = x + sv.rng(2):normal { 1, 1, 32, 32 } * 0.5
local draws = model:posterior(measured):sample(4000, sv.rng(3))[1]:totable()

-- ---- the picture ----------------------------------------------------------------------------------

local W, H, SIDE = 1090, 540, 128 -- px; of an image of 32 px
local BLUE, ORANGE, GREY, RED = palette.lines[1], palette.lines[2], "#8a8f98", "#c0392b"
local page = picture.blank(H, W)
local canvas = sv.draw(page)

-- Places a picture (3, h, w), dark on white, with its lower left corner at (left, bottom).
local layers = {}
local function place(t, left, bottom)
  left, bottom = math.floor(left), math.floor(bottom)
  layers[#layers + 1] = picture.pad(t, H - bottom - t.shape[2], left, bottom, W - left - t.shape[3])
end

local function write(text, centre, bottom, size)
  local t = picture.text(text, size or 13)
  place(t, centre - t.shape[3] / 2, bottom)
end

local function image(t, left, bottom, title)
  place(picture.enlarge(picture.colours(t), SIDE // 32), left, bottom)
  canvas:rect(left - 1, bottom - 1, SIDE + 2, SIDE + 2, { stroke = GREY })
  write(title, left + SIDE / 2, bottom + SIDE + 4)
end

local function box(left, bottom, width, height, colour, ...)
  canvas:rect(left, bottom, width, height, { stroke = colour, width = 2 })
  local lines = { ... }
  for i, line in ipairs(lines) do
    write(line, left + width / 2, bottom + height / 2 + (#lines / 2 - i) * 24 + 1, i == 1 and 15 or 11)
  end
end

local function arrow(from_x, from_y, to_x, to_y)
  local length = ((to_x - from_x) ^ 2 + (to_y - from_y) ^ 2) ^ 0.5
  local c, s = (to_x - from_x) / length, (to_y - from_y) / length
  canvas:line(from_x, from_y, to_x - 8 * c, to_y - 8 * s, { stroke = "#3c4350", width = 2 })
  canvas:polygon({ to_x, to_y, to_x - 11 * c - 5 * s, to_y - 11 * s + 5 * c, to_x - 11 * c + 5 * s,
    to_y - 11 * s - 5 * c }, { fill = "#3c4350" })
end

-- The prior and, where given, the posterior of a parameter; the true value as a line.
local function parameter(k, left, bottom, values)
  local p, width, height = ring.params[k], 150, 52
  local function at(v) return left + (v - p.low) / (p.high - p.low) * width end
  canvas:line(left, bottom, left + width, bottom, { stroke = GREY })
  if values then
    local cells = 48
    local shares, points, most = density.histogram(values, p.low, p.high, cells), { left, bottom }, 0
    for _, v in ipairs(shares) do most = math.max(most, v) end
    for i, v in ipairs(shares) do
      points[#points + 1], points[#points + 2] = left + (i - 0.5) / cells * width, bottom + v / most * height
    end
    points[#points + 1], points[#points + 2] = left + width, bottom
    canvas:polygon(points, { fill = "#a9c9e2", stroke = BLUE })
  else
    canvas:rect(left, bottom, width, 16, { fill = "#e6e8eb", stroke = GREY })
  end
  canvas:line(at(truth:get(1, k)), bottom - 4, at(truth:get(1, k)), bottom + (values and height or 24),
    { stroke = RED, width = 2 })
  write(string.format("%s, %g to %g %s", p.name, p.low, p.high, p.unit), left + width / 2, bottom - 24, 10)
end

local upper, lower = 345, 65
write("prior p(z): a draw z", 100, H - 40)
for k = 1, 3 do parameter(k, 25, upper + 110 - 62 * (k - 1)) end
arrow(195, upper + SIDE / 2, 250, upper + SIDE / 2)
box(255, upper + 24, 150, 80, ORANGE, "simulator S", "yours, any program")
arrow(410, upper + SIDE / 2, 455, upper + SIDE / 2)
image(x[1], 460, upper, "output x = S(z)")
arrow(593, upper + SIDE / 2, 680, upper + SIDE / 2)
write("+ noise", 633, upper + SIDE / 2 + 8, 12)
image(sv.clamp(measured[1], 0, 1), 685, upper, "measured output")

arrow(195, upper - 20, 262, lower + 112)
box(255, lower + 24, 150, 80, BLUE, "decoder G", "learned in stage 1")
arrow(410, lower + SIDE / 2, 455, lower + SIDE / 2)
image(y[1], 460, lower, "emulated output G(z)")
write("trained to be equal", 524, lower + SIDE + 60, 11)
canvas:line(524, lower + SIDE + 36, 524, lower + SIDE + 56, { stroke = GREY, width = 2 })
canvas:line(524, lower + SIDE + 84, 524, upper - 8, { stroke = GREY, width = 2 })

arrow(749, upper - 6, 749, lower + 112)
box(674, lower + 24, 150, 80, BLUE, "encoder E", "learned in stage 2")
arrow(829, lower + SIDE / 2, 890, lower + SIDE / 2)
write("posterior q(z | x)", 990, lower + 268)
for k = 1, 3 do
  local values = {}
  for i, row in ipairs(draws) do values[i] = row[k] end
  parameter(k, 910, lower + 195 - 92 * (k - 1), values)
end
write("red: the true value", 990, lower - 60, 10)

for _, layer in ipairs(layers) do page = page * layer end
assert(sv.io.save_png(a.out, page))
print(a.out)
