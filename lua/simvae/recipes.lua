--- Recipes: how the two stages are trained where the caller does not say.
--
--   paper     Adam at 1e-3 throughout, D alone, as in section 4 of the paper
--   default   what was found to invert better: see notebooks/recipes.md
--
-- A recipe is a table: batch, decoder and encoder (steps, lr, clip, noise, prior, errors), and the two
-- losses, functions of (model, raw decoder output, x, run[, the encoder's mean]).
local check = require "simvae.check"
local core = require "simvae.core"

local recipes = {}

local function plain(model, raw, x)
  return model.loss(raw, x)
end

recipes.paper = {
  name = "paper",
  batch = 64,
  decoder = { steps = 4000, lr = 1e-3 },
  encoder = { steps = 4000, lr = 1e-3, noise = 1 },
  decoder_loss = plain,
  encoder_loss = plain,
}

-- Absolute errors of a picture as a share of its ink: the Jaccard distance of both pictures (Ruzicka 1958),
-- averaged over the batch. A thin figure counts as much as a large one; with plain absolute errors nobody looks
-- at it. Ink is what differs from the ground, the side of 0.5 that most of the batch lies on.
-- `least`: ink of so many pixels is added to both, or a figure next to nothing would rule.
local function relative_errors(picture, x, least)
  local n = x.shape[1]
  local total = core.reshape(picture + x, n, -1)
  if core.mean(x):item() > 0.5 then total = 2 - total end
  local apart = core.sum(core.reshape(core.abs(picture - x), n, -1), 2)
  return core.mean(apart * 2 / (core.sum(total, 2) + apart + least))
end

-- Squared errors of averages over blocks of 2, 4, 8 and 16 pixels: where two pictures do
-- not overlap at all, only a coarse view has a gradient that leads anywhere.
local function coarse_errors(difference)
  local total = 0
  local side = difference.shape[4]
  for _ = 1, 4 do
    if side % 2 ~= 0 then break end
    side = side // 2
    difference = core.avg_pool2d(difference, 2)
    total = total + core.mean(core.square(difference))
  end
  return total
end

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

-- How strongly the codes of a batch are drawn to the prior's distribution: at first, so
-- that the encoder spreads over the whole support instead of settling where one answer
-- fits many outputs; not in the second half, so that nothing but D has the last word.
-- The prior's draws are not those that made the batch: no label is used.
local function prior_weight(run)
  return run.encoder.prior * math.max(0, 1 - 2 * run.step / run.total)
end

recipes.default = {
  name = "default",
  batch = 64,
  decoder = { steps = 4000, lr = { peak = 8e-3, warmup = 100 }, clip = "auto" },
  encoder = { steps = 8000, lr = { peak = 2e-3, warmup = 100 }, clip = "auto", noise = 1,
    prior = 3, errors = "relative" },
  decoder_loss = plain,
  encoder_loss = function(model, raw, x, run, mean)
    local total
    if #model.simulator.output == 3 and model.loss.name ~= "function" then
      -- absolute errors stay sharp near the answer, where those of bce and mse vanish
      local picture = model.loss:to_output(raw)
      local fine = model.loss.given and model.loss(raw, x)
        or run.encoder.errors == "absolute" and core.l1_loss(picture, x) * 5 or relative_errors(picture, x, 4)
      total = fine + coarse_errors(picture - x) * 4
    else
      total = model.loss(raw, x)
    end
    local weight = prior_weight(run)
    if weight > 0 then
      total = total + sliced_wasserstein(mean, run.prior(mean.shape[1]), run.rng) * weight
    end
    return total
  end,
}

-- A recipe with some of its fields changed.
local function changed(recipe, changes)
  local own = {}
  for k, v in pairs(recipe) do own[k] = v end
  for k, v in pairs(changes) do own[k] = v end
  return own
end

-- Vectors meet small nets: steps are cheap, and such a net does not bear so high a learning rate.
local vector = changed(recipes.default, {
  batch = 128,
  decoder = { steps = 6000, lr = { peak = 3e-3, warmup = 100 }, clip = "auto" },
  encoder = { steps = 6000, lr = { peak = 2e-3, warmup = 100 }, clip = "auto", noise = 1,
    prior = 3 },
})

--- The recipe for a model, by name, or a table of one's own with what it leaves out taken from default.
-- @param recipe "default", "paper", a table, or nil
-- @tparam Model model
-- @treturn table
function recipes.get(recipe, model)
  local default = #model.simulator.output == 3 and recipes.default or vector
  if type(recipe) == "table" then
    local own = changed(default, changed({ name = "custom" }, recipe))
    for _, stage in ipairs { "decoder", "encoder" } do own[stage] = changed(default[stage], own[stage]) end
    return own
  end
  if recipe == nil or recipe == "default" then return default end
  local found = recipes[recipe]
  if type(found) ~= "table" then
    check.fail(4, "train: recipe is \"default\", \"paper\" or a table; got %s", check.describe(recipe))
  end
  return found
end

return recipes
