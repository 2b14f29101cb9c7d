--- SimVAE with inputs from a GAN (section 5 of the paper): no simulator, only images. An InfoGAN learns to draw them;
-- its generator is the simulator of a model, whose encoder then names what the GAN's codes are of any image.
--
--     lua examples/train_gan.lua --out runs/gan            # ten minutes on a core
--
-- The images are those of the box, whose parameters the GAN never sees. Prints how well the encoder finds the codes of
-- generated images, and how well code and generator reproduce images of the box; writes the model and pairs.png: images
-- of the box above what the model makes of them.
local folder = arg[0]:match "^(.*/)" or ""
package.path = folder .. "?.lua;" .. package.path -- for methods/

local box = require "simvae.simulators.box"
local command_line = require "simvae.cli.command_line"
local infogan = require "methods.infogan"
local support = require "methods.support"
local sv = require "simvae"

local parser = require "argparse"("lua train_gan.lua", "A model of a GAN's generator, learned from images alone.")
command_line.training(parser, "runs/gan")
command_line.number(parser, "--gan-steps", "Steps of generator and discriminator.", 1, nil, 4000)
command_line.number(parser, "--steps", "Steps of each stage of the model.", 1, nil, 3000)
command_line.number(parser, "--width", "Channels of the networks next to the image.", 1, 256, 8)
local a = parser:parse()
if a.threads then sv.threads(a.threads) end

local IMAGES, TESTED = 20000, 500

-- ---- the GAN ---------------------------------------------------------------------------------------

local run = support.run { simulator = box, net = "dcgan", width = a.width, steps = a.gan_steps, samples = IMAGES,
  seed = a.seed, watch = not a.quiet and function(step, steps, loss)
    if step % 500 == 0 then print(string.format("GAN: step %d of %d, discriminator's loss %.3f", step, steps, loss)) end
  end or nil }
local gan = infogan.train(run, { noise = 0 }) -- an image is a function of its codes, as the simulator's are

-- ---- its generator as a simulator -------------------------------------------------------------------

local params = {}
for k = 1, #box.params do
  local low, high = gan.range(k)
  params[k] = { name = "code" .. k, low = low, high = high }
end
local generator = sv.simulator {
  name = "generator", output = box.output, params = params,
  simulate = function(z, out)
    local row = {}
    for k, p in ipairs(params) do row[k] = z[p.name] end
    out:copy(gan.decode(sv.tensor { row })[1])
  end,
}
local model = sv.model { simulator = generator, width = a.width, seed = a.seed }
model:train { decoder = { steps = a.steps }, encoder = { steps = a.steps }, quiet = a.quiet, seed = a.seed,
  out = a.out }

-- ---- what it has learned ----------------------------------------------------------------------------

local function share(estimate, truth) -- of the variance that is explained
  return 1 - (sv.sum(sv.square(estimate - truth)) / sv.sum(sv.square(truth - sv.mean(truth, 1, true)))):item()
end
local codes, drawn = sv.simulate(generator, TESTED, sv.rng(a.seed + 1))
local _, images = sv.simulate(box, TESTED, sv.rng(a.seed + 2))
local found, again = (model:encode(drawn)), model:decode((model:encode(images)))
print(string.format("codes of generated images: R2 %.3f; images of the box, encoded and decoded: R2 %.3f",
  share(found, codes), share(again, images)))
local path = assert(sv.figures.grid(a.out .. "/pairs.png", { sv.slice(images, 1, 1, 10), sv.slice(again, 1, 1, 10) },
  { labels = { "image", "model" } }))
if not a.quiet then print(path) end
