--- InfoGAN (Chen, Duan, Houthooft, Schulman, Sutskever and Abbeel 2016): a generator of codes and noise against a
-- discriminator, whose trunk also infers the codes of generated outputs; a lower bound of the mutual information of
-- codes and outputs is added to both losses. Codes are as many as those of the simulator's parameters: categorical for
-- classes, else continuous and uniform. Unsupervised. With net = "dcgan" generator and discriminator are DCGAN's.
--
-- What the discriminator sees, outputs and generated ones, has normal noise that falls to 0 over the steps (Arjovsky
-- and Bottou 2017, "Towards principled methods for training generative adversarial networks", section 3): it hides the
-- pixels by which it would tell them apart at once, after which the generator learns nothing.
local check = require "simvae.util.check"
local support = require "methods.support"
local sv = require "simvae"

local NOISE = 16  -- variables beside the codes
local BLUR = 0.5  -- standard deviation of the noise on what the discriminator sees, at the first step
local CONTINUOUS = 0.5 -- weight of the squared errors of continuous codes: a normal Q with a standard deviation of 1
-- The paper's: learning rates and the decay of Adam's mean.
local RATE = { generator = 1e-3, discriminator = 2e-4 }
local BETA1 = 0.5
local SETTLING = 50 -- batches of the simulator that set the statistics of batch norm

local infogan = {}

--- Draws codes.
-- @tparam Code code of sv.code
-- @tparam integer n
-- @tparam rng rng
-- @treturn tensor (n, size): of classes one number of 1, others uniform in [-1, 1]
function infogan.codes(code, n, rng)
  local list = {}
  for i, part in ipairs(code.parts) do
    local width = part.last - part.first + 1
    list[i] = part.kind == "class" and sv.one_hot(sv.floor(rng:uniform(1, width + 1, { n })), width)
      or rng:uniform(-1, 1, { n, width })
  end
  return sv.concat(list, 2)
end

--- The bound's part that depends on Q: its negative log-likelihood of the codes, averaged over rows.
-- @tparam Code code of sv.code
-- @tparam tensor q (N, size) means, of classes logits
-- @tparam tensor drawn (N, size) the codes
-- @treturn tensor one number
-- @raise tensors of other shapes
function infogan.surprise(code, q, drawn)
  if q.shape[2] ~= code.size or drawn.shape[2] ~= code.size then
    check.fail(2, "surprise: takes %d columns; got %d and %d", code.size, q.shape[2], drawn.shape[2])
  end
  local total = 0
  for _, part in ipairs(code.parts) do
    local a, b = sv.slice(q, 2, part.first, part.last), sv.slice(drawn, 2, part.first, part.last)
    total = total + (part.kind == "class" and sv.cross_entropy(a, sv.argmax(b, 2))
      or sv.mse_loss(a, b, "sum") * (CONTINUOUS / a.shape[1]))
  end
  return total
end

--- Codes as latents: of a class its number, the others as they are.
-- @tparam Code code of sv.code
-- @tparam tensor q (N, size) means, of classes logits
-- @treturn tensor (N, L)
-- @treturn table { [i] = classes } of latents that are classes
function infogan.latents(code, q)
  local list, levels, at = {}, {}, 0
  for i, part in ipairs(code.parts) do
    local own = sv.slice(q, 2, part.first, part.last)
    if part.kind == "class" then
      levels[at + 1], own = own.shape[2], sv.argmax(own, 2):reshape(-1, 1)
    end
    list[i], at = own, at + own.shape[2]
  end
  return sv.concat(list, 2), levels
end

--- Latents as codes: the inverse of latents.
-- @tparam Code code of sv.code
-- @tparam tensor v (N, L)
-- @treturn tensor (N, size)
function infogan.of_latents(code, v)
  local list, at = {}, 0
  for i, part in ipairs(code.parts) do
    local width = part.last - part.first + 1
    local own = part.kind == "class" and 1 or width
    list[i] = sv.slice(v, 2, at + 1, at + own)
    if part.kind == "class" then list[i] = sv.one_hot(list[i]:reshape(-1), width) end
    at = at + own
  end
  return sv.concat(list, 2)
end

-- Cross-entropy of logits with one class for all.
local function judged(logits, class)
  return sv.bce_with_logits(logits, sv.full(class, logits.shape))
end

--- Trains it. run.curves has the losses of discriminator and generator.
-- @tparam Run run
-- @tparam ?table options noise: variables of the generator beside the codes (16)
-- @treturn table answer
function infogan.train(run, options)
  local code, images = run.code, #run.sim.output == 3
  local noises = options and options.noise or NOISE
  local generator = run:nets(code.size + noises, 1)
  local _, trunk = run:nets(1, 1 + code.size)
  local D = run:player({ trunk }, { lr = RATE.discriminator, beta1 = BETA1 })
  local G = run:player({ generator }, { lr = RATE.generator, beta1 = BETA1 })
  local function fake()
    local codes = infogan.codes(code, run.batch, run.rng)
    local raw = generator(sv.concat({ codes, run.rng:normal(0, 1, { run.batch, noises }) }, 2))
    return images and sv.sigmoid(raw) or raw, codes
  end
  local function heads(x)
    local h = trunk(x)
    return sv.slice(h, 2, 1, 1), sv.slice(h, 2, 2)
  end
  local function blurred(x, step)
    return x + run.rng:normal(0, BLUR * (1 - step / run.steps), x.shape)
  end
  function D.loss(step)
    local _, x = run:next()
    local y, codes = sv.no_grad(fake)
    local real = heads(blurred(x, step))
    local false_, q = heads(blurred(y, step))
    return (judged(real, 1) + judged(false_, 0)) * 0.5 + infogan.surprise(code, q, codes)
  end
  function G.loss(step)
    trunk:freeze()
    local y, codes = fake()
    local verdict, q = heads(blurred(y, step))
    trunk:unfreeze()
    return judged(verdict, 1) + infogan.surprise(code, q, codes)
  end
  run:train { D, G }
  run:settle(trunk, SETTLING)
  local inferred = support.batched(function(x)
    local _, q = heads(run.seen(x))
    return q
  end)
  local _, levels = infogan.latents(code, sv.zeros(1, code.size))
  local noise = sv.buffer(run.rng:normal(0, 1, { 1, noises })) -- of all outputs of decode
  return {
    latents = function(x) return (infogan.latents(code, inferred(x))) end,
    decode = support.batched(function(v)
      return run.restore(generator(sv.concat({ infogan.of_latents(code, v), sv.expand(noise, v.shape[1], noises) }, 2)))
    end),
    levels = levels,
    range = function(i) return levels[i] and 1 or -1, levels[i] or 1 end,
  }
end

return infogan
