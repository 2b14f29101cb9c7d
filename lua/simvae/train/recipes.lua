--- Recipes: default options of the training stages.
--
--   paper     Adam at 1e-3 throughout, D alone, as in section 4 of the paper
--   default   the recipe developed in notebooks/recipes.md
--
-- A recipe is a table: batch, decoder, sleep and encoder (steps, lr, clip, noise, prior, errors, sleep), and the two
-- losses, functions of (model, raw decoder output, x, run[, the encoder's mean]).
local changed = require "simvae.util.changed"
local check = require "simvae.util.check"
local content = require "simvae.util.content"
local core = require "simvae.core"
local microbatch = require "simvae.nn.microbatch"
local stages = require "simvae.train.stages".names

local recipes = {}

local function plain(model, raw, x)
  return model.loss(raw, x)
end

recipes.paper = content {
  name = "paper",
  batch = 64,
  decoder = { steps = 4000, lr = 1e-3 },
  sleep = { steps = 0, lr = 1e-3 },
  encoder = { steps = 4000, lr = 1e-3, noise = 1, spread = 0 },
  decoder_loss = plain,
  encoder_loss = plain,
}

-- Sliced Wasserstein distance of two batches of codes (Rabin, Peyré, Delon and Bernot
-- 2012): mean squared difference of sorted projections, on random directions and the axes.
local function sliced_wasserstein(a, b, rng)
  local n, directions = a.shape[2], 32
  local random = rng:normal { n, directions }
  local unit = random / core.sqrt(core.sum(core.square(random), 1, true))
  local axes = core.zeros(n, n)
  for i = 1, n do axes:set(1, i, i) end
  local all = core.concat({ unit, axes }, 2)
  return core.mean(core.square(core.sort(core.matmul(a, all), 1) - core.sort(core.matmul(b, all), 1)))
end

-- Weight of prior matching. In the first half of the steps it makes the encoder cover the
-- whole support instead of converging to one value that fits many outputs; it is 0 in the
-- second half, so that D alone determines the result. The samples of the prior are not
-- those of the batch: no labels are used.
local function prior_weight(run)
  return run.encoder.prior * math.max(0, 1 - 2 * run.step / run.total)
end

recipes.default = content {
  name = "default",
  batch = 64,
  decoder = { steps = 4000, lr = { peak = 8e-3, warmup = 100 }, clip = "auto" },
  sleep = { steps = 0, lr = { peak = 2e-3, warmup = 100 }, clip = "auto" },
  encoder = { steps = 8000, lr = { peak = 2e-3, warmup = 100 }, clip = "auto", noise = 0,
    prior = 3, errors = "relative" },
  decoder_loss = plain,
  encoder_loss = function(model, raw, x, run, mean)
    local plainly = #model.simulator.output ~= 3 or model.loss.name == "function" -- computed over the whole batch
    local total = plainly and model.loss(raw, x) or core.mean(model.loss:misfit(raw, x, run.encoder.errors))
    local weight = prior_weight(run)
    if weight > 0 then
      local codes, count = microbatch.rows(mean)
      local distance = sliced_wasserstein(codes, run.prior:codes(run, codes.shape[1]), run.shared_rng or run.rng)
      -- the same in each microbatch, whose rows alone have a gradient: the mean over them has the gradient of all
      if count > 1 then distance = distance * count - distance:detach() * (count - 1) end
      total = total + distance * weight
    end
    return total
  end,
}

-- Posteriors of images by likelihood: a batch in which a narrow density misses a truth has a gradient hundreds of times
-- the usual one, after which a flow may not recover (dSprites at a peak of 2e-3 within 350 steps).
local density = changed(recipes.default, { encoder = changed(recipes.default.encoder,
  { clip = 1, lr = { peak = 1e-3, warmup = 100 } }) })

-- Vector outputs use small MLPs: steps are cheap, but they diverge at the image learning rate.
local vector = changed(recipes.default, {
  batch = 128,
  decoder = { steps = 6000, lr = { peak = 3e-3, warmup = 100 }, clip = "auto" },
  encoder = { steps = 6000, lr = { peak = 2e-3, warmup = 100 }, clip = "auto", noise = 0,
    prior = 3 },
})

-- The likelihood of outputs whose spread the parameters change by orders of magnitude needs smaller steps: measured on
-- slcp of sbibm, -12.2 nats a held-out output at this rate, -14.0 at that of squares.
local distribution = changed(vector, { decoder = changed(vector.decoder, { lr = { peak = 1e-3, warmup = 100 } }) })

-- Posteriors of vectors that are trained by likelihood, on a number of simulations: so many passes over them, between
-- limits of steps. On slcp of sbibm with 10,000 simulations held-out parameters have -4.01 nats after 80 passes in
-- batches of 128 at a peak of 3e-3, in 15 s of processor time; the same in batches of 64 at 1e-3, in 18 s; and -4.15
-- after 40 passes. Long trainings want a smaller peak: sir with 100,000 has a C2ST of 0.577 at 3e-3, 0.555 at 1e-3.
local PASSES, MOST, BATCH = 100, 60000, 128
local LEAST = { decoder = 800, encoder = 2000 } -- decoder samples go on where simulations are few
local PEAK, SHORT = 3e-3, 8000 -- learning rate of a stage of so many steps or fewer
-- Nats that a doubling of the steps must add to the held-out log-likelihood (simvae.train.annealing).
local TOLERANCE, EACH, ENOUGH = 0.1, 0.03, 10000 -- at least; of each parameter, of so many simulations

local function tolerance_of(simulations, parameters)
  if simulations <= ENOUGH then return math.max(TOLERANCE, EACH * parameters * simulations / ENOUGH) end
  return math.max(TOLERANCE, EACH * parameters) * ENOUGH / simulations
end

local function limited(recipe, simulations, parameters)
  local batch = math.min(BATCH, math.max(1, simulations // 10))
  local steps = math.min(math.max(PASSES * simulations // batch, LEAST.encoder), MOST)
  return changed(recipe, { batch = batch,
    decoder = changed(recipe.decoder, { steps = math.min(math.max(steps // 2, LEAST.decoder), recipe.decoder.steps) }),
    encoder = changed(recipe.encoder, { steps = steps, tolerance = tolerance_of(simulations, parameters),
      lr = { peak = PEAK * math.sqrt(math.min(1, SHORT / steps)), warmup = 100 } }) })
end

-- The recipe of images for models with extra latents: at the peak of decoders without, the second decoder ignores the
-- latents, which are noise at first (a lit box of 300 steps: R² 0.59 with and without at 8e-3, 0.63 and 0.49 at 2e-3).
local function with_extra(recipe)
  return changed(recipe, { decoder = changed(recipe.decoder, { lr = { peak = 2e-3, warmup = 100 } }) })
end

-- The recipe that suits a model's outputs and posterior.
local function default_of(model, simulations)
  local by_likelihood = model.head.likelihood
  if #model.simulator.output == 3 then
    local recipe = by_likelihood and density or recipes.default
    return (model.extra or 0) > 0 and with_extra(recipe) or recipe
  end
  local recipe = model.likelihood and model.likelihood.trained and distribution or vector
  return simulations and by_likelihood and limited(recipe, simulations, #model.latent.parts) or recipe
end

--- The recipe for a model, by name, or a table whose missing fields come from "default".
-- @param recipe "default", "paper", a table, or nil
-- @tparam Model model
-- @tparam ?integer simulations their number, where it is limited
-- @treturn table name, batch, decoder, sleep, encoder: options of model:train
-- @raise a recipe or a value that is not a model
-- @usage print(sv.recipes.get("default", model).batch)
function recipes.get(recipe, model, simulations)
  if type(model) ~= "table" or type(model.simulator) ~= "table" then
    check.fail(2, "recipes.get: takes a recipe and a model; got %s", check.describe(model))
  end
  local default = default_of(model, simulations)
  if type(recipe) == "table" then
    local own = changed(default, changed({ name = "custom" }, recipe))
    for _, stage in ipairs(stages) do own[stage] = changed(default[stage], own[stage]) end
    return own
  end
  if recipe == nil or recipe == "default" then return default end
  local found = rawget(recipes, recipe)
  if type(found) ~= "table" then
    check.fail(4, "train: recipe is \"default\", \"paper\" or a table; got %s", check.describe(recipe))
  end
  if found == recipes.paper and model.head.likelihood then
    check.fail(4, "train: recipe \"paper\" trains the encoder by the decoder's misfit alone, as sv.model { posterior = "
      .. "\"gaussian\" } can; this model's posterior is \"%s\"", model.head.name)
  end
  return found
end

return recipes
