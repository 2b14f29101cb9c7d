--- The two stages of training.
--
-- Stage 1 minimises D[S(z), G(z)] over fresh samples of the prior (eq. 3); stage 2
-- freezes G and minimises D[S(z), G(mu + eps sigma)] with mu, sigma = E(S(z)) (eq. 4):
-- the encoder sees outputs alone, never their z. It may begin with a sleep phase, on decoded
-- samples of the prior (simvae.train.sleep).
--
--     model:train {
--       batch = 64, out = "runs/box",
--       decoder = { steps = 4000, lr = 1e-3 },
--       encoder = { steps = 4000, lr = sv.optim.cosine(1e-3, 4000) },
--     }
--
-- With `out`, a run writes log.csv, checkpoint.safetensors (the one before it: checkpoint.previous.safetensors) and
-- model.safetensors there; the same call resumes a run that was interrupted (SIGINT, SIGTERM and SIGHUP write
-- a checkpoint first) or killed, with the same final weights. One training at a time uses a folder.
local alternating = require "simvae.train.alternating"
local check = require "simvae.util.check"
local checkpoint = require "simvae.train.checkpoint"
local choose = require "simvae.train.choose"
local core = require "simvae.core"
local division = require "simvae.sampler.division"
local folder = require "simvae.train.folder"
local held_out = require "simvae.train.held_out"
local interrupt = require "simvae.util.interrupt"
local log = require "simvae.train.log"
local loop = require "simvae.train.loop"
local microbatches = require "simvae.train.microbatches"
local noise = require "simvae.simulator.noise"
local novelty = require "simvae.model.novelty"
local npe = require "simvae.train.npe"
local options = require "simvae.train.options"
local precision = require "simvae.nn.precision"
local prior_draws = require "simvae.train.prior_draws"
local progress = require "simvae.train.progress"
local ranks = require "simvae.train.ranks"
local recalibration = require "simvae.model.recalibration"
local rounds = require "simvae.train.rounds"
local sampler = require "simvae.sampler"
local sets = require "simvae.model.sets"
local sleep = require "simvae.train.sleep"
local stages_of = require "simvae.train.stages"
local standardise = require "simvae.model.standardise"
local streams = require "simvae.util.streams"
local surprise = require "simvae.model.surprise"

local Model = {} -- methods that simvae.model takes over

local FIRST = 1024           -- samples that determine the scale of outputs
local ENOUGH = 200           -- held-out samples of a recalibration
local FIRST_NUMBERS = 1 << 24 -- at most so many numbers, but no fewer than 64 samples

-- Determines the scale of outputs from the first samples, once for a model, as its decoder is trained in these units.
local function fit_outputs(self, run)
  local loss, steps = self.loss, 0
  for _, n in pairs(self.trained) do steps = steps + n end
  if run.fitted or not loss.mean or (loss.fitted or steps > 0) and not run.refit then return end
  local scope <close> = core.scope()
  local n = math.min(FIRST, math.max(64, FIRST_NUMBERS // check.count(self.simulator.output)))
  local bar <close> = progress.new { title = "first samples", total = n, quiet = run.quiet }
  local z, x = run.sampler:peek(n, function(done)
    if core.system.clock() - bar.started > 2 then bar:update(done, "to standardise outputs by") end
  end)
  standardise(self, x, noise.of_samples(self.simulator, z, x, run.seed, 1))
  run.fitted = true
end

-- Draws the held-out samples.
local function take_held_out(self, run)
  local bar <close> = progress.new { title = "held-out samples", total = 1, quiet = run.quiet }
  held_out.take(self, run, stages_of.names, function(done)
    if core.system.clock() - bar.started > 2 then bar:update(done, "") end
  end)
end

-- Reference for later outputs: the training's last batch, drawn again if the run stopped right after it.
local function measure_novelty(self, run)
  local scope <close> = core.scope()
  local z, x, drawn = run.last_z, run.last, run.sampler:state().drawn
  if not x and drawn > 0 then
    run.sampler.batch = math.min(run.sampler.batch, drawn)
    run.sampler:restore { drawn = drawn - run.sampler.batch }
    z, x = run.sampler:next()
    if run.ranks then z, x = run.ranks:rows(z, run.sampler.batch), run.ranks:rows(x, run.sampler.batch) end
  end
  if x then novelty.measure(self, noise.add(self.simulator, z, x, run.rng)) end
end

-- Simulations that say how usual an output is: held-out ones; else the next ones, which no step has seen; where these
-- are kept or repeated, the training's last ones.
local function usual_samples(self, run)
  local at = run.sampler:state()
  local n, held = surprise.samples(self.simulator, at.drawn), run.held
  if held and held.z.shape[1] >= math.min(n, 64) then
    n = math.min(n, held.z.shape[1])
    return core.slice(held.z, 1, 1, n), core.slice(held.x, 1, 1, n)
  end
  local kept = run.cache or run.offline or run.simulations or run.source or run.rows
  run.sampler:restore { drawn = kept and math.max(0, at.drawn - n) or at.drawn }
  local z, x = run.sampler:peek(n)
  run.sampler:restore(at)
  return z, x
end

-- Reference of how usual an output is.
local function measure_surprise(self, run)
  local scope <close> = core.scope()
  local z, x = usual_samples(self, run)
  surprise.measure(self, noise.add(self.simulator, z, x, run.rng))
end

-- Corrects the stated intervals of a posterior on the held-out samples, as they are measured. Those of rounds are of a
-- part of the prior, and those of a set are single outputs.
local function recalibrate(self, run)
  if not (run.recalibrate and run.held and self.head.likelihood) or run.simulator or self.set then return end
  if run.held.z.shape[1] < ENOUGH then return end
  local scope <close> = core.scope()
  local x, levels = noise.add(self.simulator, run.held.z, run.held.x, streams.held_noise(run.seed))
  recalibration.on(self, run.held.z, x, levels)
end

-- Forks its workers here, before threads are started and memory is allocated.
local function make_sampler(self, run)
  if run.source then
    return run.source { seed = run.seed, batch = run.batch, among = run.simulated,
      held_out = math.floor(run.share * run.simulated + 0.5) }
  end
  local source = run.rows and run.rows.training or self.simulator
  local o = { simulator = source, batch = run.batch, seed = run.seed, total = 0 }
  for _, stage in ipairs(stages_of.names) do
    if options.simulates(self, run, stage) then o.total = o.total + run[stage].steps * run[stage].batch end
  end
  for name in pairs(sampler.options) do o[name] = run[name] end
  o.failures = o.failures or run.out and run.out .. "/failures.csv"
  o.offline, o.simulations = run.offline, run.simulations
  o.held_out = (o.offline or o.simulations) and run.share > 0 and run.share or nil
  sampler.check("train", o, 5)
  local made, why = sampler.new(o)
  if made and run.offline and run.share > 0 and not held_out.enough(run, made, 5) then
    made:close()
    run.share, o.held_out = 0, nil
    made, why = sampler.new(o)
  end
  if not made then check.fail(4, "train: %s", why) end
  local damaged = made.cache and made.cache.damaged or 0
  if damaged > 0 and not run.quiet then
    io.stderr:write(string.format("%s: %d damaged samples are made again\n", o.cache, damaged))
  end
  return made
end

local function prepare(self, run)
  run.share = held_out.share(self, run, 5)
  local part = rawget(self.simulator, "part")
  run.rows = part and run.share > 0 and not run.offline and not run.simulations and part(run.share) or nil
  run.sampler = make_sampler(self, run)
  run.rng = streams.noise(run.seed)
  run.prior = prior_draws.new(self.latent, run.simulator or self.simulator, run.seed)
  run.stage, run.step = "decoder", 0
  local started, before = core.system.clock(), 0
  run.seconds = function() return before + core.system.clock() - started end
  run.set_seconds = function(s) before = s end
end

local function run_all(self, run, stages)
  run.signals:allow()
  if run.stage == "done" then return end
  fit_outputs(self, run)
  take_held_out(self, run)
  for _, stage in ipairs(stages_of.names) do
    local behind = options.place[stage] < options.place[run.stage]
    if stages[stage] and not behind and options.takes(run, stage) then
      if run.stage ~= stage then run.step, run.norm = 0, nil end
      loop.run_stage(self, run, stage)
      run.optimizer = nil
    end
  end
  if (self.trained.encoder or 0) + (self.trained.sleep or 0) > 0 then
    local ok, why = pcall(function()
      measure_novelty(self, run)
      measure_surprise(self, run)
    end)
    if not ok and tostring(why):find("interrupted!", 1, true) then error(why, 0) end
    if not ok then io.stderr:write("simvae: no measure of how usual an output is: ", tostring(why), "\n") end
    recalibrate(self, run)
  end
  run.stage = "done"
  checkpoint.settle(run)
end

-- The precision of the run, to be closed with it.
local function set_precision(self, run)
  if not run.precision then return nil end
  return precision.during({ self.decoder, self.encoder }, precision.check("train", run.precision, 4))
end

-- Starts MPI, where mpirun has started this process; the sampler's workers are forked.
local function join_ranks(run)
  run.ranks = ranks.start(run)
  if run.ranks then division.set(run.sampler, run.ranks) end
end

-- f(…), whose error ends all ranks.
local function together(run, f, ...)
  if not run.ranks then return f(...) end
  local result = table.pack(pcall(f, ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  run.ranks:leave(result[2])
  run.ranks:saved()
  error(result[2], 0)
end

-- Goes on from the checkpoint in the run's folder, where there is one.
local function resume(self, run)
  if not run.folder and not run.out then return end
  local resumed = checkpoint.resume(self, run)
  if run.out and run.stage ~= "done" then log.open(run, resumed) end
end

local function begin(self, run)
  resume(self, run)
  if run.ranks then run.ranks:check(self, checkpoint.configuration(self, run)) end
end

-- One training. extras: simulator, source and about, as of simvae.train.rounds.
local function train(self, given, stages, extras)
  local run = options.resolve(self, given, stages)
  if run.stream then
    alternating.check(self, given, stages, 4)
    return alternating.run(self, run, given)
  end
  sleep.check(self, run, 4)
  npe.check(self, run, 4)
  ranks.check(run, 4)
  microbatches.check(run, 4)
  sets.check_training(self, run, not extras, 4)
  if not extras then
    rounds.check(self, run, 4)
    choose.check(self, run, stages, 4)
    if run.rounds then
      return rounds.run(self, given, run, function(o, with) return train(self, o, stages, with) end)
    elseif run.choose then
      return choose.run(self, given, run, stages, function(o, of, with) return train(self, o, of, with) end)
    end
  end
  self.focus = nil
  for name, value in pairs(extras or {}) do run[name] = value end
  self.recalibration = false -- it was of other weights
  local signals <close> = interrupt.watch(true)
  run.signals = signals
  signals:hold()
  local _scope <close> = folder.open(run.out)
  prepare(self, run)
  local _precision <close> = set_precision(self, run)
  local scope <close> = run.sampler
  join_ranks(run)
  together(run, begin, self, run)
  checkpoint.settle(run)
  local finished, why = xpcall(function()
    run_all(self, run, stages)
    signals:shield()
  end, function(e)
    signals:shield() -- defers signals until everything is saved
    -- our own errors are strings; anything else keeps its traceback
    return (type(e) == "string" or interrupt.is(e) or ranks.is_failure(e)) and e or debug.traceback(tostring(e), 2)
  end)
  local interrupted = not finished and interrupt.is(why)
  local left = ranks.is_failure(why) -- another rank ended
  if run.ranks and not finished then run.ranks:leave(why) end
  self.decoder:unfreeze():eval()
  self.encoder:eval()
  run.sampler:close()
  log.close(run)
  if interrupted or left then run.stage, run.step = run.settled.stage, run.settled.step end
  -- a resumed run interrupted before it has restored the optimizer leaves the folder unchanged
  if run.out and (finished or (interrupted or left) and not run.resumed) then
    core.system.mkdir(run.out) -- it may have been removed
    local ok, refused = checkpoint.save(self, run)
    if ok and finished then ok, refused = self:save(run.out .. "/model.safetensors") end
    if run.ranks then run.ranks:saved() end
    if not ok then error("train: " .. refused, 3) end
  elseif run.ranks then
    run.ranks:saved()
  end
  if left and run.out and not run.resumed then
    error(string.format("%s\n%s: the same call goes on from %s step %d", why, run.out, run.stage, run.step), 0)
  end
  if interrupted then
    interrupt.raise(signals, run.out and string.format("interrupted at %s step %d; the same call goes on from there",
      run.stage, run.step) or run.folder and "interrupted; rank 0 says where the same call goes on"
      or "interrupted; without `out` nothing was kept")
  end
  if finished and signals:caught() then
    interrupt.raise(signals, run.out and "interrupted; the training had ended, and all is saved"
      or "interrupted; the training had ended")
  elseif not finished then
    error(why, 0)
  end
  self.seconds = run.seconds()
  return self
end

--- Trains both stages: the decoder on samples of the simulator (stage 1, eq. 3 of the paper), then the encoder, through
-- the frozen decoder (stage 2, eq. 4) or, for posteriors that are trained by likelihood, on pairs of parameters and
-- output. With `out` it writes log.csv, checkpoints and the model, and the same call goes on where it was interrupted
-- (Ctrl-C, SIGTERM).
-- @tparam ?table t options
-- @treturn Model itself
-- @raise a loss that is not finite (the last good checkpoint stays), a checkpoint of another configuration, a cache
-- of other samples, more failures of the simulator than max_failures
-- @usage
-- local small = sv.model { simulator = ring, width = 8, posterior = "flow" }
-- small:train { decoder = { steps = 20 }, encoder = { steps = 20, lr = 1e-3 }, batch = 32, quiet = true }
-- print(small)
function Model:train(t)
  return train(self, t, { decoder = true, sleep = true, encoder = true })
end

--- Stage 1 alone: options as of train, with those of decoder at the top level.
-- @tparam ?table t options of train and, beside them, of its decoder
-- @treturn Model itself
-- @usage
-- local small = sv.model { simulator = ring, width = 8 }
-- small:train_decoder { steps = 20, lr = 1e-3, quiet = true }
function Model:train_decoder(t)
  return self:train_stage("decoder", t)
end

--- The sleep phase alone, with the current decoder.
-- @tparam ?table t options of train and, beside them, of its sleep phase
-- @treturn Model itself
-- @usage
-- local small = sv.model { simulator = ring, width = 8 }
-- small:train_decoder { steps = 20, quiet = true }
-- small:train_sleep { steps = 20, quiet = true }
function Model:train_sleep(t)
  return self:train_stage("sleep", t)
end

--- Stage 2 alone, without a sleep phase, through the current decoder.
-- @tparam ?table t options of train and, beside them, of its encoder
-- @treturn Model itself
-- @usage
-- local small = sv.model { simulator = ring, width = 8 }
-- small:train_decoder { steps = 20, quiet = true }
-- small:train_encoder { steps = 20, quiet = true }
function Model:train_encoder(t)
  return self:train_stage("encoder", t)
end

--- One stage, by name.
-- @tparam string stage "decoder", "sleep" or "encoder"
-- @tparam ?table t options of train and, beside them, of the stage
-- @treturn Model itself
-- @raise another stage; rounds, which train both stages
-- @usage sv.model { simulator = ring, width = 8 }:train_stage("decoder", { steps = 20, quiet = true })
function Model:train_stage(stage, t)
  check.value("train_stage", "stage", stage, { "string", one_of = stages_of.names })
  check.options("train_" .. stage, t, options.of_method(stage))
  local rules, top, own = options.of_stage(stage), {}, {}
  if t and t.rounds then check.fail(2, "train_%s: rounds train both stages: model:train { rounds = … }", stage) end
  for k, v in pairs(t or {}) do
    if rules[k] then own[k] = v else top[k] = v end
  end
  top[stage] = own
  return train(self, top, { [stage] = true })
end

return { methods = Model, step = loop.step }
