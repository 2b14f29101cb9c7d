--- How many labels an inverse takes (sections 1 and 5 of the paper): pairs of parameters and image train the decoder,
-- images without parameters the encoder through it, alternately, as model:train { stream = } takes them. Beside it the
-- same encoder by regression on the labelled pairs alone (eq. 5).
--
--     lua examples/train_labels.lua --out runs/labels                        # a quarter of an hour on a core
--     lua examples/train_labels.lua --labels 100,1000 --steps 500 --width 4  # a try
--     lua examples/train_labels.lua --stage0                                 # and with a decoder that a VAE begins
--
-- Stage 0: a variational autoencoder of images without parameters, whose decoder the model's begins with.
-- Writes labels.png, and its numbers labels.dat: the root mean square errors of both, in percent of each parameter's
-- range, mean over the parameters, on 1,000 new images.
local folder = arg[0]:match "^(.*/)" or ""
package.path = folder .. "?.lua;" .. package.path -- for methods/

local command_line = require "simvae.cli.command_line"
local output = require "simvae.figures.support.output"
local palette = require "simvae.figures.support.palette"
local supervised = require "methods.supervised"
local support = require "methods.support"
local vae = require "methods.vae"
local sv = require "simvae"

local TESTED = 1000

local function whole_numbers(text)
  local list = {}
  for word in text:gmatch "[^,]+" do
    local n = math.tointeger(tonumber(word))
    if not n or n < 2 then return nil, "takes whole numbers from 2 on, with commas between; got '" .. text .. "'" end
    list[#list + 1] = n
  end
  return #list > 0 and list or nil, "takes numbers of labels"
end

local parser = require "argparse"("lua train_labels.lua", "Accuracy of inverses against the number of labels.")
command_line.training(parser, "runs/labels")
parser:option("--labels", "Numbers of labelled pairs.", "10,30,100,300,1000,3000,10000"):convert(whole_numbers)
command_line.number(parser, "--steps", "Steps of each network.", 1, nil, 4000)
parser:flag("--stage0", "Also with a decoder that begins as that of a VAE of unlabelled images.")
command_line.number(parser, "--width", "Channels of the networks next to the image.", 1, 256, 8)
local a = parser:parse()
if a.threads then sv.threads(a.threads) end

local BATCH = 64
local seed = a.seed
local box = require "simvae.simulators.box"
local known, seen = sv.simulate(box, TESTED, sv.rng(seed + 2000))

-- ---- the two inverses -----------------------------------------------------------------------------

-- A method's run on so many samples.
local function run_of(count)
  return support.run { simulator = box, net = "conv", width = a.width, steps = a.steps, batch = BATCH, lr = 2e-3,
    samples = count, seed = seed }
end

-- Pairs of the pool and unlabelled images in turn. first: weights of the decoder; nil: random ones.
local function alternating(count, first)
  local model = sv.model { simulator = box, posterior = "gaussian", net = "conv", width = a.width, seed = seed }
  if first then model.decoder:load_state(first) end
  local pool, rng, step = support.pool(box, count, seed + 1000), sv.rng(seed), 0
  local rate = sv.optim.cosine(2e-3, a.steps)
  model:train { seed = seed, decoder = { lr = rate }, encoder = { lr = rate }, stream = function()
    step = step + 1
    if step > 2 * a.steps then return nil end
    if step % 2 == 1 then
      local z, x = pool:next(BATCH)
      return { z = z, x = x }
    end
    local _, x = sv.simulate(box, BATCH, rng)
    return { x = x }
  end }
  return (model:encode(seen))
end

local function regression(count) return supervised.train(run_of(count)).latents(seen) end

local UNLABELLED = 100000
local first = a.stage0 and vae.train(run_of(UNLABELLED)).decoder:state()

-- Percent of a parameter's range, mean over the parameters.
local function error_of(estimates)
  local squares, total = sv.mean(sv.square(estimates - known), 1):totable(), 0
  for k, p in ipairs(box.params) do total = total + 100 * math.sqrt(squares[k]) / (p.high - p.low) / #squares end
  return total
end

-- ---- all of it --------------------------------------------------------------------------------------

local curves = { { "decoder from labels, encoder from images", alternating },
  { "regression on labels alone", regression },
  first and { "the first, its decoder begun by a VAE", function(count) return alternating(count, first) end } or nil }
local lines = {}
for i, count in ipairs(a.labels) do
  local errors = {}
  for k, curve in ipairs(curves) do
    errors[k] = error_of(curve[2](count))
    if not a.quiet then
      print(string.format("%6d labels: RMSE %5.2f%% of the range, %s", count, errors[k], curve[1]))
    end
  end
  lines[i] = count .. string.rep(" %.4f", #curves):format(table.unpack(errors))
end

assert(require "simvae.core".system.mkdir(a.out))
local script = { "set logscale xy", "set format x '%.0f'", "set ytics (0.5, 1, 2, 5, 10, 20)",
  "set xlabel 'labelled images'", "set ylabel 'RMSE, % of the range'", "set key top right" }
for k, curve in ipairs(curves) do
  script[#script + 1] = string.format("%s data using 1:%d with linespoints pointtype 7 linewidth 2 linecolor rgb '%s' "
    .. "title '%s'%s", k == 1 and "plot" or "", k + 1, palette.lines[k], curve[1], k < #curves and ", \\" or "")
end
local path = assert(output.chart(a.out .. "/labels.png", { "# labels, and errors of each curve\n"
  .. table.concat(lines, "\n") }, script, 560, 380))
if not a.quiet then print(path) end
