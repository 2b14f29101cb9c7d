--- Alternating training (section 5 of the paper): pairs of parameters and output train the decoder, outputs without
-- parameters train the encoder through it by eq. 4, as they arrive.
--
--     model:train { stream = function() return { z = z, x = x } or { x = x } or nil end }
--
-- A batch with z is a step of stage 1, one without a step of stage 2, with the decoder as it then is; nil ends the
-- stream. Each stage has an optimizer of its own, Adam at 1e-3 unless lr says otherwise. The scale of vector outputs is
-- that of the first batch.
local check = require "simvae.util.check"
local core = require "simvae.core"
local input = require "simvae.model.input"
local loop = require "simvae.train.loop"
local prior_draws = require "simvae.train.prior_draws"
local standardise = require "simvae.model.standardise"
local streams = require "simvae.util.streams"

local alternating = {}

local RATE = 1e-3   -- the paper's
local FIRST = 16    -- rows of the first batch of vectors, at least
local STAGES = { "decoder", "encoder" }
-- Options that say where samples come from, or where a training goes on.
local EXCLUDED = { "simulations", "cache", "offline", "workers", "rounds", "choose", "out", "microbatches", "held_out" }

--- Raises for models and options that a stream does not suit.
-- @tparam Model self
-- @tparam table given options of train
-- @tparam {[string]=boolean} stages
-- @tparam integer level of train's caller
function alternating.check(self, given, stages, level)
  local function fail(...) check.fail(level + 1, "train: stream " .. string.format(...)) end
  for _, name in ipairs(EXCLUDED) do
    if given[name] ~= nil then fail("gives the samples of a training, which goes on nowhere: leave out %s", name) end
  end
  if not (stages.decoder and stages.encoder) then fail("trains both stages: model:train { stream = … }") end
  if self.head.likelihood then
    fail("trains the encoder by eq. 4 alone, as sv.model { posterior = \"gaussian\" } can; this model's is \"%s\"",
      self.head.name)
  end
  if self.likelihood and self.likelihood.trained then
    fail("trains a decoder without a distribution of its own, as that of this model")
  end
  if self.set then fail("takes single outputs; the model is of sets") end
  if self.decoder.members then fail("takes one network; the model has %d members", self.members) end
  for _, stage in ipairs(STAGES) do
    local lr = (given[stage] or {}).lr
    if type(lr) == "table" then
      fail("has no known length: lr of the %s is a number or a function of the step", stage)
    end
    if (given[stage] or {}).steps then fail("ends with nil: leave out steps of the %s", stage) end
  end
end

-- The next batch, checked: z in units or nil, and x; nil at the end.
local function next_batch(self, run)
  local batch = run.stream()
  if batch == nil then return nil end
  if type(batch) ~= "table" or batch.x == nil then
    check.fail(5, "train: stream returns { z =, x = }, { x = } or nil; got %s", check.describe(batch))
  end
  local x = input.outputs("train: stream", self, batch.x)
  local z = batch.z ~= nil and input.parameters("train: stream", self, batch.z) or nil
  if x.shape[1] == 0 then check.fail(5, "train: stream: a batch has one row or more; got none") end
  if z and z.shape[1] ~= x.shape[1] then
    check.fail(5, "train: stream: z and x of a batch have as many rows; got %d and %d", z.shape[1], x.shape[1])
  end
  if self.loss.mean and not self.loss.fitted then
    if x.shape[1] < FIRST then
      check.fail(5, "train: stream: the first batch, which gives the scale of outputs, takes %d rows or more; got %d",
        FIRST, x.shape[1])
    end
    standardise(self, x, x)
  end
  return { z = z, x = x }
end

-- A run of one stage: steps of the loop on batches of the stream.
local function stage_run(self, run, stage)
  local own = { step = 0, total = math.huge, noise = run[stage].noise, as_measured = true,
    signals = { hold = function() end } } -- whoever calls train handles them
  own.sampler = { next = function() return own.batch.z, own.batch.x end }
  setmetatable(own, { __index = run })
  loop.set_optimizer(self, own, stage)
  return own
end

--- Trains on a stream.
-- @tparam Model self
-- @tparam table run options of train
-- @tparam table given the same as they were given
-- @treturn Model itself
function alternating.run(self, run, given)
  self.focus, self.recalibration = nil, false -- they were of other weights
  for _, stage in ipairs(STAGES) do
    run[stage].lr = (given[stage] or {}).lr or RATE
    if run[stage].clip == "auto" then run[stage].clip = nil end
  end
  run.encoder.prior, run.rng = 0, streams.noise(run.seed)
  run.prior = prior_draws.new(self.latent, self.simulator, run.seed)
  local started, runs, last = core.system.clock(), {}, nil
  for _, stage in ipairs(STAGES) do runs[stage] = stage_run(self, run, stage) end
  local _scope <close> = setmetatable({}, { __close = function() -- errors included
    self.decoder:unfreeze():eval()
    self.encoder:eval()
  end })
  while true do
    local scope <close> = core.scope()
    local batch = next_batch(self, run)
    if not batch then break end
    local stage = batch.z and "decoder" or "encoder"
    local own = runs[stage]
    if stage ~= last then loop.set_modes(self, stage) end
    own.batch, own.step, last = batch, own.step + 1, stage
    run.encoder.batch = batch.x.shape[1]
    local value = loop.take_step(self, own, stage)
    if value ~= value or math.abs(value) == math.huge then
      error(string.format("train: the loss of the %s became %s at its step %d; a smaller lr may help", stage, value,
        own.step), 0)
    end
    self.trained[stage] = (self.trained[stage] or 0) + 1
    if run.on_step and run.on_step(stage, own.step, value) == false then break end
  end
  self.seconds = core.system.clock() - started
  return self
end

return alternating
