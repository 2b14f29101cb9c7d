--- Options of train and of its stages.
local changed = require "simvae.util.changed"
local check = require "simvae.util.check"
local choose = require "simvae.train.choose"
local optim = require "simvae.nn.optim"
local ranks = require "simvae.train.ranks"
local recipes = require "simvae.train.recipes"
local rounds = require "simvae.train.rounds"
local sampler = require "simvae.sampler"

local STAGES = require "simvae.train.stages".names

-- Supervised steps of images: the density's gradients of parameters that it knows well are a hundred times those of
-- others, which are then learned late. Of dSprites by 4,000 steps in all (net conv, width 8, batches of 32)
-- log q(z | x) of new images is -7.2 nats and the scale is unknown without them, -5.6, -5.2, -5.0 and -5.1 after 200,
-- 400, 800 and 1,600 of them, which take a third of the time; of box 0.6 with and without. Of 16,000 steps (width 16,
-- batches of 64) MIG is 0.61 without and 0.58 with 1,000 of them.
local SUPERVISED, LEAST_SUPERVISED, LONGEST_SUPERVISED = 0.1, 200, 8000

local AVERAGE = 0.995 -- of the weights of posteriors that are trained by likelihood, a step

local options = {}

-- lr = { … }: a cosine over the stage's steps, however many they are.
local cosine_options = {
  peak = { "number", required = true, above = 0,
    doc = "learning rate after the warm-up; it falls to 0 at the stage's last step" },
  warmup = { "integer", default = 0, min = 0, doc = "steps of the linear rise" },
}

-- Of every stage.
local stage_options = {
  steps = { "integer", min = 0, doc = "updates of the weights; default: the recipe's (0 of the sleep phase)" },
  lr = { "number|function|table", fields = cosine_options,
    doc = "learning rate: a number, a function of the step (from 1), or a cosine { peak =, warmup = }; default: the "
      .. "recipe's" },
  batch = { "integer", min = 1, doc = "samples in a step; default: that of train" },
  clip = { "number|string", above = 0, one_of = { "auto" },
    doc = "largest global norm of the gradient; \"auto\": twice its running average; default: the recipe's" },
  patience = { "integer", min = 1,
    doc = "steps without improvement on held-out samples that end the stage; default: a quarter of its steps" },
  average = { "number", min = 0, max = 0.99999,
    doc = "share that a step leaves of a moving average of the weights, which then is what is measured and kept; "
      .. "default 0.995 of posteriors trained by likelihood, else 0: none" },
}

-- Of stage 2 alone.
local encoder_options = changed(stage_options, {
  noise = { "number", min = 0,
    doc = "standard deviation of what is added to the encoder's codes, as a multiple of the posterior's spread; "
      .. "default: the recipe's" },
  sleep = { "number", min = 0,
    doc = "weight of half a batch of decoder samples in each step; default: 0.5 after a sleep phase, else 0" },
  spread = { "number", min = 0,
    doc = "weight of a quarter of a batch of decoder samples that train the standard deviations alone, in steps "
      .. "without sleep; default 1" },
  labels = { "number|string", min = 0, max = 1, one_of = { "auto" },
    doc = "of a posterior that is trained by likelihood, such as \"flow\": the share of a batch that is the "
      .. "simulator's own pairs of parameters and output, in place of decoder samples; \"auto\" (the default): all "
      .. "of a simulator without limit, of a number of simulations or a data set what held-out ones favour" },
  tolerance = { "number", min = 0,
    doc = "of such a posterior: nats that a doubling of the steps must add to the held-out log-likelihood; where it "
      .. "adds less, the learning rate falls to 0 over a third of the steps so far, and the stage ends; 0: never; "
      .. "default: the recipe's, 0 where steps or lr are given" },
  supervised = { "integer", min = 0,
    doc = "of the posterior \"flow\": steps at the start in which the encoder learns the parameters themselves, by "
      .. "squared errors and the cross-entropy of classes (eq. 5), at twice the learning rate of { peak = … }; "
      .. "default: of images and up to 8,000 steps a tenth of them, at least 200, where the encoder is new; else 0" },
  variational = { "number", min = 0, max = 1,
    doc = "of such a posterior: the weight of eq. 4 through the decoder's distribution, with the posterior's "
      .. "entropy, in place of its likelihood; default 0" },
  prior = { "number", min = 0,
    doc = "weight of the matching of a batch's codes with the prior during the first half of the steps; 0 where many "
      .. "parameters give one output; default: the recipe's" },
  errors = { "string", one_of = { "relative", "absolute" },
    doc = "of images: errors count relative to each image's ink, or absolutely; default: the recipe's, unless the "
      .. "model has its own loss" },
})

local train_options = check.declare("model:train", {
  batch = { "integer", min = 1,
    doc = "samples in a step; default: the recipe's, or the next multiple of the number of microbatches" },
  decoder = { "table", fields = stage_options, doc = "stage 1: the decoder learns to emulate the simulator" },
  sleep = { "table", fields = stage_options,
    doc = "the sleep phase between the stages: the encoder learns from decoder samples; by default it has no steps" },
  encoder = { "table", fields = encoder_options,
    doc = "stage 2: the encoder learns to invert, through the frozen decoder or from pairs" },
  recipe = { "string|table",
    doc = "\"default\", \"paper\", or a table as of sv.recipes: what the other options default to" },
  out = { "string",
    doc = "folder of the run: log.csv, checkpoints and the model; a run that was interrupted goes on from there; "
      .. "default: no files" },
  seed = { "integer", doc = "of samples and of the order of training; default: the model's" },
  checkpoint_every = { "number", default = 60, above = 0, doc = "seconds between two checkpoints" },
  log_every = { "integer", default = 50, min = 1, doc = "steps between two lines of the log" },
  quiet = { "boolean", default = false, doc = "prints no progress" },
  on_step = { "function", doc = "function (stage, step, loss) after each step: returning false ends the stage" },
  offline = { "boolean", default = false,
    doc = "trains on the samples in the cache alone, without running the simulator" },
  held_out = { "number", min = 0, max = 1,
    doc = "share of the simulations, or of a data set, that is not trained on: it decides when stages end, which "
      .. "then keep their best weights, and measures the decoder's noise; default: a tenth (at most 1,000 samples; "
      .. "of less than 500 up to a quarter) of posteriors trained by likelihood, else 0" },
  simulations = { "integer", min = 1,
    doc = "how many times the simulator is run in total; training goes over these samples in epochs; default: no "
      .. "limit" },
  recalibrate = { "boolean", default = true,
    doc = "where there are 200 held-out samples and they show that stated intervals do not hold, a posterior trained "
      .. "by likelihood ends its training with model:recalibrate on them" },
  precision = { "string",
    doc = "\"fp32\" or \"bf16\": of the factors of convolutions during the run; default: the model's" },
  microbatches = { "integer", min = 2, max = 65536,
    doc = "into how many parts a batch is divided whose gradients are computed by themselves and added by a binary "
      .. "tree, a power of two: the weights are the same bit for bit for any number of MPI ranks; default: the number "
      .. "of ranks, at least 4, under mpirun, else the batch is one" },
  reduce = { "string", one_of = { "fp32", "bf16" },
    doc = "precision of the gradients of microbatches where they are added, and of what MPI ranks send; default "
      .. "\"fp32\"" },
  mpi = { "boolean",
    doc = "whether processes that mpirun has started train one model together; default: yes; false: each trains its "
      .. "own" },
  mixed_ranks = { "boolean", default = false,
    doc = "lets MPI ranks of different builds or CPU levels train together: rank 0 sends its weights after every step, "
      .. "and they are not the same bit for bit for any number of ranks" },
  stream = { "function",
    doc = "function () that gives the next batch in place of the simulator: { z =, x = } is a step of the decoder, "
      .. "{ x = } one of the encoder, nil ends the training; for posterior = \"gaussian\", lr a number or a function, "
      .. "default 1e-3" },
  refit = { "boolean", default = false,
    doc = "determines the scale of outputs again, for a model that continues with other outputs" },
})
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

--- Rules of a stage's own options.
-- @tparam string stage
function options.of_stage(stage)
  return stage == "encoder" and encoder_options or stage_options
end

--- Options of a method that trains one stage: those of train and of the stage, which come first.
-- @tparam string stage
function options.of_method(stage)
  return changed(train_options, options.of_stage(stage))
end

options.train = train_options
check.declare("model:train_stage", options.of_method "encoder")
for _, stage in ipairs(STAGES) do check.declare("model:train_" .. stage, options.of_method(stage)) end

--- The position of each stage in a training; "done" comes last.
options.place = { done = #STAGES + 1 }
for i, stage in ipairs(STAGES) do options.place[stage] = i end

-- Raises for an option of the encoder that is given to another stage.
local function check_of_encoder(stage, given)
  local rules = options.of_stage(stage)
  for name in pairs(given or {}) do
    if encoder_options[name] and not rules[name] then
      check.fail(4, "train: %s: '%s' is an option of the encoder: encoder = { %s = … }", stage, name, name)
    end
  end
end

-- How many steps of the encoder's stage are supervised.
local function supervised_steps(self, o)
  if o.supervised then return o.supervised end
  local new = (self.trained.encoder or 0) == 0
  local image, short = #self.simulator.output == 3, o.steps <= LONGEST_SUPERVISED
  if not (self.head.supervised and image and short and new) then return 0 end
  return math.min(math.max(math.floor(SUPERVISED * o.steps), LEAST_SUPERVISED), o.steps // 2)
end

-- A cosine over the stage's steps; of a stage that begins with supervised ones two, one after the other.
local function schedule(lr, run, o)
  local function cosine(peak, steps, warmup)
    return optim.cosine(peak, math.max(steps, 1), { warmup = math.min(warmup, steps) })
  end
  local count, first, rest
  return function(step)
    local now = run.encoder == o and run.supervised or 0 -- known when the run begins, or goes on
    if now ~= count then
      count, first, rest = now, cosine(2 * lr.peak, now, 0), cosine(lr.peak, o.steps - now, lr.warmup)
    end
    return step <= count and first(step) or rest(step - count)
  end
end

--- Fills in defaults from the recipe.
-- @tparam Model self
-- @tparam ?table given options of train
-- @tparam {[string]=boolean} stages those that are trained
-- @treturn table run: the options, with recipe, seed, batch, supervised (steps) and a table for each stage
function options.resolve(self, given, stages)
  local run = check.options("train", given, train_options)
  run.recipe = recipes.get(run.recipe, self, run.simulations)
  run.seed = run.seed or self.seed
  run.microbatches = run.microbatches or ranks.microbatches(run)
  local parts = run.microbatches or 1
  run.batch = run.batch or (run.recipe.batch + parts - 1) // parts * parts
  for _, stage in ipairs(STAGES) do
    check_of_encoder(stage, run[stage])
    local o = check.options("train: " .. stage, run[stage], options.of_stage(stage))
    if o.steps or o.lr then o.tolerance = o.tolerance or 0 end
    for name, value in pairs(run.recipe[stage]) do
      if o[name] == nil then o[name] = value end
    end
    o.batch = o.batch or run.batch
    if not stages[stage] then o.steps = 0 end
    if type(o.lr) == "table" then
      o.lr = schedule(check.options("train: " .. stage .. ": lr", o.lr, cosine_options), run, o)
    end
    run[stage] = o
  end
  for _, stage in ipairs(STAGES) do
    run[stage].average = run[stage].average or stage ~= "decoder" and self.head.likelihood and AVERAGE or 0
  end
  if self.head.likelihood then run.encoder.labels = run.encoder.labels or "auto" end
  run.encoder.sleep = run.encoder.sleep or run.sleep.steps > 0 and 0.5 or 0
  run.encoder.spread = run.encoder.spread or 1
  run.encoder.tolerance = run.encoder.tolerance or 0
  run.supervised = supervised_steps(self, run.encoder)
  return run
end

return options
