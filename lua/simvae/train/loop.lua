--- The training loop: the steps of a stage.
local annealing = require "simvae.train.annealing"
local check = require "simvae.util.check"
local checkpoint = require "simvae.train.checkpoint"
local core = require "simvae.core"
local extra = require "simvae.model.extra"
local early_stopping = require "simvae.train.early_stopping"
local likelihood = require "simvae.model.likelihood"
local log = require "simvae.train.log"
local changed = require "simvae.util.changed"
local members = require "simvae.nn.members"
local microbatches = require "simvae.train.microbatches"
local mixing = require "simvae.train.mixing"
local npe = require "simvae.train.npe"
local optim = require "simvae.nn.optim"
local progress = require "simvae.train.progress"
local sets = require "simvae.model.sets"
local sleep = require "simvae.train.sleep"
local streams = require "simvae.util.streams"

local loop = {}

-- Interval of full collections. Lua would let small garbage grow to the size of the tensors in use; few objects are
-- alive, so that a full collection is cheap and keeps resident memory constant.
local COLLECT_EVERY = 50

local FIT = 1024            -- samples that statistics of the decoder's distribution are taken from,
local FIT_NUMBERS = 1 << 22 -- of at most so many numbers

-- ---- one step of each stage -----------------------------------------------------------

local step = {}
loop.step = step

-- How many samples the decoder's distribution is measured on.
local function fit_count(self)
  return math.max(1, math.min(FIT, FIT_NUMBERS // check.count(self.simulator.output)))
end

-- New samples: z in units, x preprocessed. A signal that arrives while they are simulated ends the step, which has
-- changed nothing; later ones are deferred to its end, so that no step is kept in part.
local function samples(self, run)
  local z, x = run.sampler:next()
  run.signals:hold()
  local why = not run.as_measured and self.loss:outside(x)
  if why then error(string.format("train: simulator '%s': %s", self.simulator.name, why), 0) end
  if run.step == run.total then run.last, run.last_z = core.buffer(x), core.buffer(z) end
  if run.kept and (run.total - run.step) * run.decoder.batch < fit_count(self) then
    run.kept[#run.kept + 1] = { core.buffer(z), core.buffer(x) }
  end
  return z, self.loss:standardise(x)
end

--- One step of stage 1 on a batch, under the caller's tape.
-- @treturn tensor the loss
function step.decoder(self, run)
  local z, x = samples(self, run)
  local code = self.latent:to_code(z)
  return members.mean_loss(self.decoder, function(net)
    local function misfit(raw) return run.recipe.decoder_loss(self, raw, x, run) end
    local raw, bound = extra.decoded(self, net, code, x, run.rng, misfit)
    local loss, spread = misfit(raw), likelihood.loss(self, raw, code, z, x, run.rng)
    if spread then loss = loss + spread end
    return bound and loss + bound or loss
  end)
end

-- A step of stage 2 of a posterior that is trained by likelihood.
local function likelihood_step(self, run, stage)
  run.signals:hold()
  return npe.loss(self, run, run[stage].batch, function() return samples(self, run) end)
end

--- One step of the sleep phase: decoder samples.
function step.sleep(self, run)
  if self.head.likelihood then return likelihood_step(self, run, "sleep") end
  run.signals:hold()
  return sleep.loss(self, run.prior:dreams(run, run.sleep.batch), run.rng)
end

--- One step of stage 2: x alone, with half a batch of sleep of weight `encoder.sleep` or, without it, a quarter of a
-- batch of it for the standard deviations alone. Outputs whose parameters are not known are as they were measured.
function step.encoder(self, run)
  if self.head.likelihood then return likelihood_step(self, run, "encoder") end
  local z, x = samples(self, run)
  local seen = z and sleep.measured(self, z, x, run.rng) or x
  local code, mean, penalty = self.head:draw(self:encoder_outputs(seen), run.rng, run.noise)
  local loss = run.recipe.encoder_loss(self, self.decoder(code), x, run, mean)
  if penalty then loss = loss + penalty end
  local o = run.encoder
  if o.sleep > 0 then return loss + sleep.loss(self, run.prior:dreams(run, (o.batch + 1) // 2), run.rng) * o.sleep end
  if o.spread == 0 then return loss end
  return loss + sleep.spread(self, run.prior:dreams(run, (o.batch + 3) // 4), run.rng) * o.spread
end

-- ---- a stage ----------------------------------------------------------------------------

-- The nets that a stage trains: stage 2 the encoder and what the posterior's head has of its own.
local function nets_of(self, stage)
  if stage == "decoder" then return { self.decoder, self.likelihood.net } end
  return { self.encoder, self.head.net }
end

--- Sets the nets to what a stage does with them: stage 1 trains the decoder, later ones go through it.
-- @tparam Model self
-- @tparam string stage
function loop.set_modes(self, stage)
  if stage == "decoder" then self.decoder:unfreeze() else self.decoder:eval():freeze() end
  for _, net in ipairs(nets_of(self, stage)) do net:train() end
end

--- Gives a run the optimizer of a stage, and the parameters whose gradients are clipped.
-- @tparam Model self
-- @tparam table run
-- @tparam string stage
function loop.set_optimizer(self, run, stage)
  run.parameters = {}
  for _, net in ipairs(nets_of(self, stage)) do
    for _, t in ipairs(net:parameters()) do run.parameters[#run.parameters + 1] = t end
  end
  local params = table.move(run.parameters, 1, #run.parameters, 1, {})
  if stage == "decoder" then
    for _, t in pairs(self.loss.own) do params[#params + 1] = t end
  end
  run.optimizer = optim.adam(params, { lr = annealing.rate(run, run[stage]) })
end

-- Clips the gradient by its global norm: at a given norm, or ("auto") at twice its running average, which
-- bounds the effect of an outlier batch. False: it is not finite.
local function clip(run, limit)
  local maximum = limit == "auto" and 2 * (run.norm or math.huge) or limit
  local norm, finite = optim.clip_grad_norm(run.parameters, maximum)
  if not finite then return false end
  norm = math.min(norm, maximum)
  run.norm = run.norm and run.norm + 0.02 * (norm - run.norm) or norm
  return true
end

local function is_finite(number) return number == number and math.abs(number) ~= math.huge end

-- The gradients of a step; its loss as a number. One that is not finite may have none.
local function gradients(self, run, stage)
  local tape <close> = core.tape()
  local value = step[stage](self, run)
  local number = value:item()
  if is_finite(number) then tape:backward(value) end
  return number
end

-- Whether a step takes samples of the simulator.
local function takes_samples(self, run, stage)
  if not self.head.likelihood or stage == "decoder" then return stage ~= "sleep" end
  return npe.pairs(run, run[stage].batch // run.microbatches) > 0
end

-- What a step sees as its run in one of our microbatches: its own rows, random numbers and sizes.
local function microbatch_run(run, stage, now, i, z, x)
  local of, rows = run.divided, z and z.shape[1] // run.divided.own
  local own = { microbatch = now, kept = false }
  own.rng, own.shared_rng = of:generators(now, run.step)
  for _, name in ipairs { "sleep", stage } do
    own[name] = changed(run[name], { batch = run[name].batch // of.count })
  end
  own.sampler = { next = function()
    return core.slice(z, 1, (i - 1) * rows + 1, i * rows), core.slice(x, 1, (i - 1) * rows + 1, i * rows)
  end }
  return setmetatable(own, { __index = run })
end

-- The same of a batch in microbatches.
local function divided_gradients(self, run, stage)
  local scope <close> = core.scope()
  local z, x
  if takes_samples(self, run, stage) then z, x = run.sampler:next() end
  run.signals:hold()
  return run.divided:step(run.step, function(i, now)
    return step[stage](self, microbatch_run(run, stage, now, i, z, x))
  end)
end

--- One optimizer step.
-- @tparam Model self
-- @tparam table run
-- @tparam string stage
-- @treturn number the loss, NaN for a gradient that is not finite
function loop.take_step(self, run, stage)
  if npe.is_supervised(run, run.step - 1) and not npe.is_supervised(run) then -- gradients of another size
    run.optimizer:restart()
    run.norm = nil
  end
  if stage ~= "decoder" then sets.draw_size(self, run.rng) end
  local number = (run.divided and divided_gradients or gradients)(self, run, stage)
  if not is_finite(number) then return number end
  local o = run[stage]
  if o.clip and not clip(run, o.clip) then return 0 / 0 end
  run.lr = run.optimizer:step()
  if run.ranks and run.ranks.mixed then run.divided:align() end
  if run.early then run.early:stepped(run.step) end
  return number
end

-- The last n samples that a run has drawn: those it has kept, or drawn again.
local function last_samples(run, n)
  local sampler, at = run.sampler, run.sampler:state()
  local kept, zs, xs = 0, {}, {}
  for i, pair in ipairs(run.kept or {}) do
    zs[i], xs[i] = pair[1], pair[2]
    kept = kept + pair[1].shape[1]
  end
  if kept >= n then
    return core.slice(core.concat(zs, 1), 1, kept - n + 1, kept), core.slice(core.concat(xs, 1), 1, kept - n + 1, kept)
  end
  local batch = sampler.batch
  sampler.batch = n
  sampler:restore { drawn = at.drawn - n }
  local z, x = sampler:next()
  if run.ranks then z, x = run.ranks:rows(z, n), run.ranks:rows(x, n) end
  sampler.batch = batch
  sampler:restore(at)
  return z, x
end

-- Measures the decoder's distribution on the held-out samples; without them on the last samples of stage 1: of those
-- that are simulated once, the decoder has learned from each no more than once.
local function fit_likelihood(self, run)
  local scope <close> = core.scope()
  if run.held then
    likelihood.fit(self, run.held.z, run.held.x, streams.fit(run.seed))
    run.kept = nil
    return
  end
  local drawn, n = run.sampler:state().drawn, fit_count(self)
  local z, x
  if drawn == 0 then z, x = run.sampler:peek(n) else z, x = last_samples(run, math.min(n, drawn)) end
  likelihood.fit(self, z, x, streams.fit(run.seed))
  run.kept = nil
end

-- Sets the share of a batch that is the simulator's pairs.
local function set_mix(run, stage, share)
  local count = run.microbatches or 1
  run.mix = share
  run.sampler.batch = math.max(npe.pairs(run, run[stage].batch // count), 1) * count
end

-- Prepares the nets and the optimizer for a stage, from the checkpoint where the run resumes within it.
local function begin(self, run, stage)
  local o = run[stage]
  run.stage, run.total, run.mixed, run.ending = stage, o.steps, nil, nil
  checkpoint.settle(run)
  loop.set_optimizer(self, run, stage)
  run.divided = run.microbatches and microbatches.new(run, stage, run.optimizer) or nil
  run.noise = o.noise
  if self.head.likelihood and stage ~= "decoder" then
    set_mix(run, stage, run.resumed and run.resumed.where.stage == stage and run.resumed.where.mix
      or mixing.start(run, stage))
  else
    run.sampler.batch = o.batch
  end
  run.early = early_stopping.new(self, run, stage, nets_of(self, stage))
  if stage == "encoder" then run.last, run.last_z = nil, nil end
  run.kept = stage == "decoder" and not run.divided and {} or nil
  if run.resumed then
    local state = checkpoint.optimizer_state(run.resumed)
    if run.resumed.where.stage == stage then
      if next(state) then run.optimizer:load_state(state) end
      if run.early then checkpoint.restore_early(run.resumed, run.early) end
      run.mixed = run.resumed.where.mixed
      if run.resumed.where.ending then annealing.begin(run, run.resumed.where.ending.from) end
    end
  end
  loop.set_modes(self, stage)
  if stage ~= "decoder" and self.head.likelihood and not likelihood.fitted(self) then fit_likelihood(self, run) end
  run.resumed = nil
end

-- Saves a checkpoint; a failure is reported once, and training continues.
local function keep_checkpoint(self, run)
  local ok, why = checkpoint.save(self, run)
  if ok and run.unsaved then
    io.stderr:write("\ncheckpoints are written again\n")
  elseif not ok and not run.unsaved then
    io.stderr:write(string.format("\ncheckpoint not written: %s (training goes on, and tries again)\n", why))
  end
  run.unsaved = not ok
end

-- The next step, or the trials of mixing: the loss, and the number of steps.
local function advance(self, run, stage)
  local first, value = run.step
  if mixing.due(run, stage) then
    value = mixing.run(self, run, function(share) set_mix(run, stage, share) end,
      function() return loop.take_step(self, run, stage) end)
  else
    run.step = run.step + 1
    value = loop.take_step(self, run, stage)
  end
  checkpoint.settle(run)
  if value ~= value or value == math.huge or value == -math.huge then
    error(string.format("the loss of the %s became %s at step %d; a smaller lr or clip = 1 may help%s", stage,
      value, run.step, run.out and "; the last good state is in " .. run.out .. "/checkpoint.safetensors" or ""), 0)
  end
  self.trained[stage] = (self.trained[stage] or 0) + run.step - first
  return value, run.step - first
end

--- Runs the remaining steps of a stage.
-- @tparam Model self
-- @tparam table run
-- @tparam string stage
-- @raise a loss that is not finite, an interruption
function loop.run_stage(self, run, stage)
  local o = run[stage]
  begin(self, run, stage)

  local bar <close> = progress.new { title = stage, total = run.total, done = run.step, quiet = run.quiet }
  local window, since, saved = 0, core.system.clock(), core.system.clock()
  local smooth
  local early = run.early
  while run.step < run.total and not (early and early.stopped) do
    local value, taken = advance(self, run, stage)
    smooth = smooth and smooth + 0.05 * (value - smooth) or value
    window = window + taken
    local measured = early and not npe.is_supervised(run) and early:after(run.step, run.total, taken > 1)
    if measured and early.settled and not run.ending and not mixing.pending(run, stage) then
      annealing.begin(run, run.step)
      bar.total = run.total
      checkpoint.settle(run)
    end
    local now = core.system.clock()
    if run.step % run.log_every == 0 or run.step == run.total or measured then
      local rate = window * o.batch / (now - since)
      log.row(run, stage, value, run.lr, rate, measured and early.value)
      window, since = 0, now
      run.rate = rate
    end
    local failed = run.sampler:counts()
    bar:update(run.step, string.format("loss %.5f%s  %.0f samples/s%s", smooth,
      early and early.value and "  " .. early:text(early.value) or "",
      run.rate or window * o.batch / math.max(now - since, 1e-9), failed > 0 and "  " .. failed .. " failed" or ""))
    if run.out and now - saved >= run.checkpoint_every then
      saved = now
      keep_checkpoint(self, run)
    end
    if run.step % COLLECT_EVERY == 0 then collectgarbage() end
    run.signals:allow()
    if run.on_step then
      local stop = run.on_step(stage, run.step, value) == false
      if run.ranks then stop = run.ranks:broadcast(tostring(stop)) == "true" end
      if stop then break end
    end
  end
  local best = early and early:finish(run.step) or ""
  run.early = nil
  for _, net in ipairs(nets_of(self, stage)) do net:eval() end
  self.decoder:unfreeze()
  if stage == "decoder" then fit_likelihood(self, run) end
  bar:finish(string.format("%d steps, loss %.5f%s", run.step, smooth or 0 / 0, best))
end

return loop
