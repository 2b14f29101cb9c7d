--- Options of train and of its stages.
local check = require "simvae.util.check"
local choose = require "simvae.train.choose"
local optim = require "simvae.nn.optim"
local recipes = require "simvae.train.recipes"
local rounds = require "simvae.train.rounds"
local sampler = require "simvae.sampler"

local STAGES = require "simvae.train.stages".names

local AVERAGE = 0.995 -- of the weights of posteriors that are trained by likelihood, a step

local options = {}

local stage_options = {
  steps = { "integer", min = 0 },
  lr = { "number|function|table" },
  batch = { "integer", min = 1 },
  clip = { "number|string", above = 0, one_of = { "auto" } },
  noise = { "number", min = 0 },
  sleep = { "number", min = 0 },
  spread = { "number", min = 0 },
  labels = { "number|string", min = 0, max = 1, one_of = { "auto" } },
  variational = { "number", min = 0, max = 1 },
  prior = { "number", min = 0 },
  patience = { "integer", min = 1 },
  average = { "number", min = 0, max = 0.99999 },
  errors = { "string", one_of = { "relative", "absolute" } },
}

-- lr = { … }: a cosine over the stage's steps, however many they are.
local cosine_options = {
  peak = { "number", required = true, above = 0 },
  warmup = { "integer", default = 0, min = 0 },
}

local train_options = {
  batch = { "integer", min = 1 },
  decoder = { "table" },
  sleep = { "table" },
  encoder = { "table" },
  recipe = { "string|table" },
  out = { "string" },
  seed = { "integer" },
  checkpoint_every = { "number", default = 60, above = 0 }, -- seconds
  log_every = { "integer", default = 50, min = 1 },         -- steps
  quiet = { "boolean", default = false },
  on_step = { "function" },                                 -- (stage, step, loss) -> false stops
  offline = { "boolean", default = false },
  held_out = { "number", min = 0, max = 1 },
  simulations = { "integer", min = 1 },
  precision = { "string" },
  refit = { "boolean", default = false },
}
for name, rule in pairs(rounds.options) do train_options[name] = rule end
for name, rule in pairs(choose.options) do train_options[name] = rule end
for name, rule in pairs(sampler.options) do train_options[name] = rule end

--- Whether a run has a stage: the sleep phase is skipped if it has no steps.
function options.takes(run, stage)
  return stage ~= "sleep" or run.sleep.steps > 0
end

--- Whether a stage takes samples of the simulator.
function options.simulates(self, run, stage)
  return stage == "decoder" or stage == "encoder" and (not self.head.likelihood or run.encoder.labels ~= 0)
end

options.stage, options.train = stage_options, train_options

--- The position of each stage in a training; "done" comes last.
options.place = { done = #STAGES + 1 }
for i, stage in ipairs(STAGES) do options.place[stage] = i end

--- Fills in defaults from the recipe.
-- @tparam Model self
-- @tparam ?table given options of train
-- @tparam {[string]=boolean} stages those that are trained
-- @treturn table run: the options, with recipe, seed, batch and a table for each stage
function options.resolve(self, given, stages)
  local run = check.options("train", given, train_options)
  run.recipe = recipes.get(run.recipe, self, run.simulations)
  run.seed = run.seed or self.seed
  run.batch = run.batch or run.recipe.batch
  for _, stage in ipairs(STAGES) do
    local o = check.options("train: " .. stage, run[stage], stage_options)
    for name, value in pairs(run.recipe[stage]) do
      if o[name] == nil then o[name] = value end
    end
    o.batch = o.batch or run.batch
    if not stages[stage] then o.steps = 0 end
    if type(o.lr) == "table" then
      local lr = check.options("train: " .. stage .. ": lr", o.lr, cosine_options)
      o.lr = optim.cosine(lr.peak, math.max(o.steps, 1), { warmup = math.min(lr.warmup, o.steps) })
    end
    run[stage] = o
  end
  for _, stage in ipairs(STAGES) do
    run[stage].average = run[stage].average or stage ~= "decoder" and self.head.likelihood and AVERAGE or 0
  end
  if self.head.likelihood then run.encoder.labels = run.encoder.labels or "auto" end
  run.encoder.sleep = run.encoder.sleep or run.sleep.steps > 0 and 0.5 or 0
  run.encoder.spread = run.encoder.spread or 1
  return run
end

return options
