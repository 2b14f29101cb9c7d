--- Semi-supervised variational autoencoder after Siddharth et al. (2017): the latents are the simulator's parameters,
-- and a share of the samples has their values. Without labels the evidence lower bound, with classes by a relaxed draw
-- (Jang, Gu and Poole 2017); with labels the decoder's log-likelihood at the true parameters, and a multiple of
-- log q(z | x).
local check = require "simvae.util.check"
local support = require "methods.support"
local sv = require "simvae"

local TEMPERATURE = 0.67 -- of relaxed classes (Maddison, Mnih and Teh 2017)
-- Standard deviations of the priors of a code's parts: those of a uniform number in [-1, 1], and of a point on the unit
-- circle.
local PRIOR = { interval = 1 / math.sqrt(3), circle = 1 / math.sqrt(2) }

local semi_supervised = {}

-- Columns of a part.
local function columns(t, part)
  return sv.slice(t, 2, part.first, part.last)
end

-- A draw of a part's code, and its KL from the prior, averaged over rows.
local function draw(part, mean, log_std, rng)
  local m = columns(mean, part)
  if part.kind ~= "class" then
    local s = columns(log_std, part)
    return support.sample(m, s, rng), support.kl(m, s, PRIOR[part.kind])
  end
  local log_p, N, C = sv.log_softmax(m, 2), m.shape[1], m.shape[2]
  local gumbel = -sv.log(-sv.log(rng:uniform(1e-6, 1 - 1e-6, { N, C })))
  return sv.softmax((log_p + gumbel) * (1 / TEMPERATURE), 2),
    sv.sum(sv.exp(log_p) * (log_p + math.log(C))) / N
end

--- A draw of q(z | x), and its KL from the prior.
-- @tparam Code code of sv.code
-- @tparam tensor mean (N, size): means, of classes logits
-- @tparam tensor log_std (N, size)
-- @tparam rng rng
-- @treturn tensor (N, size)
-- @treturn tensor one number, averaged over rows
function semi_supervised.draw(code, mean, log_std, rng)
  local list, total = {}, 0
  for i, part in ipairs(code.parts) do
    local kl
    list[i], kl = draw(part, mean, log_std, rng)
    total = total + kl
  end
  return sv.concat(list, 2), total
end

--- -log q(z | x) at labels, averaged over rows.
-- @tparam Code code of sv.code
-- @tparam tensor mean (N, size): means, of classes logits
-- @tparam tensor log_std (N, size)
-- @tparam tensor target (N, size) codes of the labels
-- @treturn tensor one number
function semi_supervised.surprise(code, mean, log_std, target)
  local total = 0
  for _, part in ipairs(code.parts) do
    local m, t = columns(mean, part), columns(target, part)
    total = total + (part.kind == "class" and sv.cross_entropy(m, sv.argmax(t, 2))
      or sv.gaussian_nll(m, columns(log_std, part), t, "sum") / m.shape[1])
  end
  return total
end

--- Trains it.
-- @tparam Run run
-- @tparam table options labels: share of the pool that has labels; weight of log q(z | x) at them (100)
-- @treturn table answer
-- @raise a share that leaves no labelled sample
function semi_supervised.train(run, options)
  check.value("semi_supervised", "labels", options and options.labels, { "number", min = 0, max = 1, required = true })
  local labelled, weight = math.floor(options.labels * run.pool.count), options.weight or 100
  if labelled < 1 then
    check.fail(2, "semi_supervised: a share of %g of %d samples is none", options.labels, run.pool.count)
  end
  local code = run.code
  local decoder, encoder = run:nets(code.size, 2 * code.size)
  local player = run:player { decoder, encoder }
  local few = math.max(1, run.batch // 4)
  function player.loss()
    local _, x = run:next(run.batch - few)
    local z, y = run:next(few, labelled)
    local mean, log_std = support.split(encoder(sv.concat({ x, y }, 1)))
    local N = x.shape[1]
    local code_x, kl = semi_supervised.draw(code, sv.slice(mean, 1, 1, N), sv.slice(log_std, 1, 1, N), run.rng)
    local target = code:from_units(z)
    local raw = decoder(sv.concat({ code_x, target }, 1))
    local surprise = semi_supervised.surprise(code, sv.slice(mean, 1, N + 1), sv.slice(log_std, 1, N + 1), target)
    return run.loss(raw, sv.concat({ x, y }, 1)) + kl * (N / run.batch) + surprise * (weight * few / run.batch)
  end
  run:train { player }
  return run:named(support.batched(function(x) return (support.split(encoder(run.seen(x)))) end), decoder)
end

return semi_supervised
