--- Recipes: how the two stages are trained where the caller does not say.
--
--   paper     Adam at 1e-3 throughout, D alone, as in section 4 of the paper
--   default   what was found to invert better: see notebooks/recipes.md
--
-- A recipe is a table: batch, decoder and encoder (steps, lr, clip, noise), and the two
-- losses, functions of (model, raw decoder output, x, run[, mean, std]).
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

-- Squared errors of averages over blocks of 2, 4 and 8 pixels, added to D: where two
-- pictures do not overlap at all, only a coarse view has a gradient that leads anywhere.
local function coarse_to_fine(model, raw, x)
  local total = model.loss(raw, x)
  local difference = model.loss:to_output(raw) - x
  local side = x.shape[4]
  for _ = 1, 3 do
    if side % 2 ~= 0 then break end
    side = side // 2
    difference = core.avg_pool2d(difference, 2)
    total = total + core.mean(core.square(difference))
  end
  return total * 10
end

recipes.default = {
  name = "default",
  batch = 64,
  decoder = { steps = 3000, lr = { schedule = "cosine", peak = 4e-3, warmup = 100 } },
  encoder = { steps = 4000, lr = { schedule = "cosine", peak = 1e-3, warmup = 100 }, noise = 1 },
  decoder_loss = plain,
  encoder_loss = function(model, raw, x)
    local output = model.simulator.output
    if #output == 3 and output[2] == output[3] then return coarse_to_fine(model, raw, x) end
    return plain(model, raw, x)
  end,
}

--- The recipe by name, or a table of one's own with what it leaves out taken from default.
function recipes.get(recipe)
  if type(recipe) == "table" then
    local own = {}
    for k, v in pairs(recipes.default) do own[k] = v end
    for k, v in pairs(recipe) do own[k] = v end
    own.name = recipe.name or "custom"
    return own
  end
  local found = recipes[recipe or "default"]
  if type(found) ~= "table" then
    check.fail(4, "train: recipe is \"default\", \"paper\" or a table; got %s", check.describe(recipe))
  end
  return found
end

return recipes
