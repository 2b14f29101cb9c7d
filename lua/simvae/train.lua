--- The two stages of training.
--
-- Stage 1 minimises D[S(z), G(z)] over fresh samples of the prior (eq. 3); stage 2
-- freezes G and minimises D[S(z), G(mu + eps sigma)] with mu, sigma = E(S(z)) (eq. 4):
-- the encoder sees outputs alone, never the z that made them. It may begin with sleep, on
-- what the decoder makes of draws of the prior (simvae.sleep).
--
--     model:train {
--       batch = 64, out = "runs/box",
--       decoder = { steps = 4000, lr = 1e-3 },
--       encoder = { steps = 4000, lr = sv.optim.cosine(1e-3, 4000) },
--     }
--
-- With `out`, a run writes log.csv, checkpoint.safetensors and model.safetensors there;
-- the same call goes on where an interrupted run stopped.
local check = require "simvae.check"
local core = require "simvae.core"
local json = require "dkjson"
local model = require "simvae.model"
local optim = require "simvae.optim"
local progress = require "simvae.progress"
local recipes = require "simvae.recipes"
local sampler = require "simvae.sampler"
local sleep = require "simvae.sleep"

local Model = model.class
local STAGES = model.stages
local PLACE = { done = #STAGES + 1 }
for i, stage in ipairs(STAGES) do PLACE[stage] = i end

-- A step leaves small garbage that Lua would let pile up to as much as the tensors in use; few objects are alive, so
-- that a full collection now and then costs next to nothing and resident memory stays flat.
local COLLECT_EVERY = 50

-- ---- one step of each stage -----------------------------------------------------------

local step = {}

-- Fresh samples of the simulator: z in units, x as networks see it.
local function samples(self, run)
  local z, x = run.sampler:next()
  return z, self.loss:standardise(x)
end

--- One step of stage 1 on a batch, under the caller's tape.
-- @treturn tensor the loss
function step.decoder(self, run)
  local z, x = samples(self, run)
  return run.recipe.decoder_loss(self, self.decoder(self.latent:to_code(z)), x, run)
end

--- One step of the sleep before stage 2: the decoder's own pictures.
function step.sleep(self, run)
  return sleep.loss(self, run.dreams(run.sleep.batch))
end

--- One step of stage 2: x alone; beside it, as `encoder.sleep` says, some more of the decoder's own pictures.
function step.encoder(self, run)
  local _, x = samples(self, run)
  local mean, std, raw, score = self:posterior(x)
  if score then
    local best = core.argmax(score:detach(), 2)
    mean, std, raw = self:choose(mean, best), self:choose(std, best), self:choose(raw, best)
  end
  local code = mean
  if run.noise > 0 then
    code = mean + std * run.rng:normal(mean.shape) * run.noise
  end
  local loss = run.recipe.encoder_loss(self, self.decoder(code), x, run, mean)
  if self.bounded == "clamp" then loss = loss + self.latent:overshoot(raw) end
  local o = run.encoder
  if o.sleep > 0 then loss = loss + sleep.loss(self, run.dreams((o.batch + 1) // 2)) * o.sleep end
  return loss
end

-- ---- options ----------------------------------------------------------------------------

local stage_options = {
  steps = { "integer", min = 0 },
  lr = { "number|function|table" },
  batch = { "integer", min = 1 },
  clip = { "number|string", above = 0, one_of = { "auto" } },
  noise = { "number", min = 0 },
  sleep = { "number", min = 0 },
  prior = { "number", min = 0 },
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
}
for name, rule in pairs(sampler.options) do train_options[name] = rule end

-- Whether a run comes to a stage at all: sleep is left out where it has no steps.
local function takes(run, stage)
  return stage ~= "sleep" or run.sleep.steps > 0
end

-- Everything that a continued run must share with the one it continues, as text.
local function configuration(self, run)
  local about = self:description()
  about.batch, about.recipe, about.train_seed = run.batch, run.recipe.name, run.seed
  about.simulations = run.simulations
  for _, stage in ipairs(STAGES) do
    local o = run[stage]
    if takes(run, stage) then
      about[stage] = { steps = o.steps, batch = o.batch, clip = o.clip, sleep = o.sleep ~= 0 and o.sleep or nil,
        lr = type(o.lr) == "number" and o.lr or "function" }
    end
  end
  return about
end

local function flatten(t, prefix, to)
  for k, v in pairs(t) do
    local name = prefix .. tostring(k)
    if type(v) == "table" then flatten(v, name .. ".", to) else to[name] = tostring(v) end
  end
  return to
end

-- The first difference between two configurations, in words.
local function difference(old, new)
  local a, b = flatten(old, "", {}), flatten(new, "", {})
  local names = {}
  for k in pairs(a) do names[#names + 1] = k end
  for k in pairs(b) do if a[k] == nil then names[#names + 1] = k end end
  table.sort(names)
  for _, k in ipairs(names) do
    if a[k] ~= b[k] then
      return string.format("%s was %s and is now %s", k, a[k] or "not set", b[k] or "not set")
    end
  end
end

-- ---- checkpoints --------------------------------------------------------------------------

local function optimizer_state(run, map, numbers)
  for name, value in pairs(run.optimizer:state()) do
    if type(value) == "number" then numbers[name] = value else map["optimizer." .. name] = value end
  end
end

-- Notes where the run stands between two steps: Ctrl-C may come in the middle of one.
local function settle(run)
  run.settled = { stage = run.stage, step = run.step, norm = run.norm, sampler = run.sampler:state(),
    rng = { run.rng:state() } }
end

-- Saves everything that going on needs; the old checkpoint stays until the new one is whole.
local function save_checkpoint(self, run)
  local io = require "simvae.io"
  local map, numbers = self:state(), {}
  if run.optimizer then optimizer_state(run, map, numbers) end
  local at = run.settled
  local where = {
    stage = at.stage, step = at.step, norm = at.norm, seconds = run.seconds(), sampler = at.sampler, rng = at.rng,
    optimizer = numbers, trained = self.trained, configuration = configuration(self, run), fitted = run.fitted,
  }
  return io.save_safetensors(run.out .. "/checkpoint.safetensors", map, {
    metadata = { format = "simvae checkpoint", version = core.version, run = json.encode(where) },
  })
end

local function read_checkpoint(self, run)
  local io = require "simvae.io"
  local path = run.out .. "/checkpoint.safetensors"
  if core.system.kind(path) ~= "file" then return nil end
  local map, metadata = io.load_safetensors(path)
  if not map then error(metadata, 0) end
  local where = metadata.format == "simvae checkpoint" and json.decode(metadata.run or "", 1, nil)
  if type(where) ~= "table" then error(path .. ": not a checkpoint of simvae", 0) end
  local now = json.decode(json.encode(configuration(self, run)), 1, nil)
  local differs = difference(where.configuration, now)
  if differs then
    error(string.format("%s is of another configuration: %s. Give another `out`, or delete the folder to start again",
      path, differs), 0)
  end
  return where, map
end

-- ---- the log --------------------------------------------------------------------------------

local HEADER = "step,stage,loss,lr,samples/s,seconds\n"

-- Opens log.csv for the run; rows of steps that a resumed run takes again are dropped.
local function open_log(run, resumed)
  local path = run.out .. "/log.csv"
  local kept = {}
  if resumed then
    local old = io.open(path, "r")
    if old then
      for line in old:lines() do
        local at, stage = line:match "^(%d+),(%a+),"
        local past = at and ((PLACE[stage] or 0) > PLACE[run.stage]
          or stage == run.stage and tonumber(at) > run.step)
        if at and not past then kept[#kept + 1] = line .. "\n" end
      end
      old:close()
    end
  end
  local file, why = io.open(path, "w")
  if not file then error(why, 0) end
  file:write(HEADER, table.concat(kept))
  file:flush()
  run.log = file
end

local function log_row(run, stage, value, lr, rate)
  if not run.log then return end
  run.log:write(string.format("%d,%s,%.8g,%.6g,%.1f,%.2f\n", run.step, stage, value, lr, rate, run.seconds()))
  run.log:flush()
end

-- ---- the loop -------------------------------------------------------------------------------

-- The net that a stage trains.
local function net_of(self, stage)
  return stage == "decoder" and self.decoder or self.encoder
end

local function make_optimizer(self, run, stage)
  local params = net_of(self, stage):parameters()
  if stage == "decoder" then
    for _, t in pairs(self.loss.own) do params[#params + 1] = t end
  end
  return optim.adam(params, { lr = run[stage].lr })
end

-- Clips the gradient by its global norm: at a given norm, or ("auto") at twice its running average, so that one
-- odd batch cannot throw the weights far. False: it is not finite.
local function clip(run, limit)
  local most = limit == "auto" and 2 * (run.norm or math.huge) or limit
  local norm, finite = optim.clip_grad_norm(run.parameters, most)
  if not finite then return false end
  norm = math.min(norm, most)
  run.norm = run.norm and run.norm + 0.02 * (norm - run.norm) or norm
  return true
end

-- One optimizer step; the loss as a number, NaN for a gradient that is not finite.
local function take_step(self, run, stage)
  local tape <close> = core.tape()
  local value = step[stage](self, run)
  local number = value:item()
  if number ~= number or number == math.huge or number == -math.huge then return number end
  tape:backward(value)
  local o = run[stage]
  if o.clip and not clip(run, o.clip) then return 0 / 0 end
  run.lr = run.optimizer:step()
  return number
end

local function run_stage(self, run, stage)
  local o = run[stage]
  local total = o.steps
  run.stage = stage
  settle(run)
  run.optimizer = make_optimizer(self, run, stage)
  run.parameters = net_of(self, stage):parameters()
  run.noise = o.noise
  run.sampler.batch = o.batch
  if run.resumed then
    local map, numbers = {}, run.resumed.where.optimizer
    for name, t in pairs(run.resumed.map) do
      local own = name:match "^optimizer%.(.+)"
      if own then map[own] = t end
    end
    for name, v in pairs(numbers) do map[name] = v end
    if run.resumed.where.stage == stage and next(map) then run.optimizer:load_state(map) end
  end
  if stage == "decoder" then
    self.decoder:unfreeze()
  else
    self.decoder:eval()
    self.decoder:freeze()
  end
  net_of(self, stage):train()
  run.resumed = nil

  local bar = progress.new { title = stage, total = total, done = run.step, quiet = run.quiet }
  local window, since, saved = 0, core.system.clock(), core.system.clock()
  local smooth
  while run.step < total do
    run.total = total
    run.step = run.step + 1
    local value = take_step(self, run, stage)
    settle(run)
    if value ~= value or value == math.huge or value == -math.huge then
      error(string.format("the loss of the %s became %s at step %d; a smaller lr or clip = 1 may help%s", stage,
        value, run.step, run.out and "; the last good state is in " .. run.out .. "/checkpoint.safetensors" or ""), 0)
    end
    self.trained[stage] = (self.trained[stage] or 0) + 1
    smooth = smooth and smooth + 0.05 * (value - smooth) or value
    window = window + 1
    local now = core.system.clock()
    if run.step % run.log_every == 0 or run.step == total then
      local rate = window * o.batch / (now - since)
      log_row(run, stage, value, run.lr, rate)
      window, since = 0, now
      run.rate = rate
    end
    local failed = run.sampler:counts()
    bar:update(run.step, string.format("loss %.5f  %.0f samples/s%s", smooth,
      run.rate or window * o.batch / math.max(now - since, 1e-9), failed > 0 and "  " .. failed .. " failed" or ""))
    if run.out and now - saved >= run.checkpoint_every then
      saved = now
      local ok, why = save_checkpoint(self, run)
      if not ok then io.stderr:write(string.format("\ncheckpoint not written: %s (training goes on)\n", why)) end
    end
    if run.step % COLLECT_EVERY == 0 then collectgarbage() end
    if run.on_step and run.on_step(stage, run.step, value) == false then break end
  end
  net_of(self, stage):eval()
  self.decoder:unfreeze()
  bar:finish(string.format("%d steps, loss %.5f", run.step, smooth or 0 / 0))
end

-- Standardisation of vector outputs, from the first samples.
local function fit_outputs(self, run)
  if run.fitted or not self.loss.mean then return end
  local scope <close> = core.scope()
  local bar = progress.new { title = "first samples", total = 1024, quiet = run.quiet }
  local _, x = run.sampler:peek(1024, function(done)
    if core.system.clock() - bar.started > 2 then bar:update(done, "to standardise outputs by") end
  end)
  self.loss:fit(x)
  run.fitted = true
end

-- Its workers are forked here: before the network has made its threads and taken its memory.
local function make_sampler(self, run)
  local o = { simulator = self.simulator, batch = run.batch, seed = run.seed, total = 0 }
  for _, stage in ipairs(STAGES) do
    if stage ~= "sleep" then o.total = o.total + run[stage].steps * run[stage].batch end -- which runs no simulator
  end
  for name in pairs(sampler.options) do o[name] = run[name] end
  o.failures = o.failures or run.out and run.out .. "/failures.csv"
  o.offline, o.held_out, o.simulations = run.offline, run.held_out, run.simulations
  sampler.check("train", o, 5)
  local made, why = sampler.new(o)
  if not made then check.fail(4, "train: %s", why) end
  local damaged = made.cache and made.cache.damaged or 0
  if damaged > 0 and not run.quiet then
    io.stderr:write(string.format("%s: %d damaged samples are made again\n", o.cache, damaged))
  end
  return made
end

local function prepare(self, given, stages)
  local run = check.options("train", given, train_options)
  run.recipe = recipes.get(run.recipe, self)
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
  run.encoder.sleep = run.encoder.sleep or run.sleep.steps > 0 and 0.5 or 0
  sleep.check(self, run, 5)
  if run.out then
    local ok, why = core.system.mkdir(run.out)
    if not ok then check.fail(3, "train: out cannot be made: %s", why) end
    local probe, refused = io.open(run.out .. "/log.csv", "a")
    if not probe then check.fail(3, "train: out cannot be written: %s", refused) end
    probe:close()
  end
  run.sampler = make_sampler(self, run)
  run.rng = core.rng(run.seed, 0x6e6f697365)
  -- draws of the prior that no batch is made of; functions of the step, so that a resumed run has the same
  local function draws(stream, at, n)
    local rng = core.rng(run.seed + stream)
    rng:take(at)
    return self.simulator:sample(n, rng)
  end
  run.prior = function(n) return self.latent:to_code(draws(0x7072696f72, (run.step - 1) * n, n)) end
  -- what the encoder dreams of, in units
  run.dreams = function(n)
    local before = run.stage == "encoder" and run.sleep.steps * run.sleep.batch or 0
    return draws(0x736c656570, before + (run.step - 1) * n, n)
  end
  run.stage, run.step = "decoder", 0
  local started, before = core.system.clock(), 0
  run.seconds = function() return before + core.system.clock() - started end
  run.set_seconds = function(s) before = s end
  return run
end

local function resume(self, run)
  local where, map = read_checkpoint(self, run)
  if not where then return false end
  local ok, why = self:load_state(map)
  if not ok then error(run.out .. "/checkpoint.safetensors: " .. why, 0) end
  run.stage, run.step, run.fitted, run.norm = where.stage, where.step, where.fitted, where.norm
  run.sampler:restore(where.sampler)
  run.rng:restore(where.rng[1], where.rng[2], where.rng[3])
  run.set_seconds(where.seconds)
  self.trained = where.trained
  run.resumed = { where = where, map = map }
  if not run.quiet then
    io.stderr:write(where.stage == "done" and run.out .. ": already trained\n"
      or string.format("%s: going on from %s step %d\n", run.out, where.stage, where.step))
  end
  return true
end

local function run_all(self, run, stages)
  if run.stage == "done" then return end
  fit_outputs(self, run)
  for _, stage in ipairs(STAGES) do
    local behind = PLACE[stage] < PLACE[run.stage]
    if stages[stage] and not behind and takes(run, stage) then
      if run.stage ~= stage then run.step, run.norm = 0, nil end
      run_stage(self, run, stage)
      run.optimizer = nil
    end
  end
  run.stage = "done"
  settle(run)
end

-- Sets the precision of the run, and what ends it with the run.
local function set_precision(run)
  local before = core.precision()
  if run.precision then
    local ok, why = pcall(core.precision, run.precision)
    if not ok then check.fail(4, "train: %s", why) end
  end
  return setmetatable({}, { __close = function() core.precision(before) end })
end

local function train(self, given, stages)
  local run = prepare(self, given, stages)
  local precision <close> = set_precision(run)
  local scope <close> = run.sampler
  if run.out then
    local resumed = resume(self, run)
    if run.stage ~= "done" then open_log(run, resumed) end
  end
  settle(run)
  local finished, why = xpcall(run_all, function(e)
    -- an error of ours is a string with its own words; keep the trace of all others
    return type(e) == "string" and e or debug.traceback(tostring(e), 2)
  end, self, run, stages)
  self.decoder:unfreeze():eval()
  self.encoder:eval()
  run.sampler:close()
  if run.log then run.log:close() end
  local interrupted = not finished and why:find("interrupted!", 1, true)
  if interrupted then run.stage, run.step = run.settled.stage, run.settled.step end
  if run.out and (finished or interrupted) then
    local ok, refused = save_checkpoint(self, run)
    if ok and finished then ok, refused = self:save(run.out .. "/model.safetensors") end
    if not ok then error("train: " .. refused, 3) end
  end
  if interrupted then
    io.stderr:write(run.out and string.format("\ninterrupted at %s step %d; the same call goes on from there\n",
      run.stage, run.step) or "\ninterrupted; without `out` nothing was kept\n")
  end
  if not finished then error(why, 0) end
  self.seconds = run.seconds()
  return self
end

--- Trains both stages.
-- @tparam ?table t batch, decoder = { steps, lr, batch, clip (a global norm, or "auto": twice
-- its running average) }, sleep = { steps (0), lr, batch, clip }: stage 2 begins so, on the decoder's own pictures (see
-- simvae.sleep), encoder = { steps, lr, batch, clip, noise, sleep (weight of more sleep, half a batch of it, beside
-- each step; 0.5 where there was sleep before, else 0), prior (how strongly the codes of a batch are drawn to the
-- prior's distribution during the first half; 0 where many parameters give one output, and codes need not follow the
-- prior), errors ("relative" to each picture's ink, or "absolute": of pictures, where the model has no loss of its
-- own) },
-- recipe ("default", "paper"), out (folder of the run), seed, checkpoint_every (60 s), log_every (50 steps),
-- quiet, on_step (stage, step, loss): returning false ends the stage. lr: a number, a function of the step, or
-- { peak =, warmup = }: rises over the first steps to peak and falls as a cosine to 0 at the stage's last.
-- workers, cache, timeout, max_failures, prefetch, restart_after, failures (out/failures.csv), offline, held_out,
-- simulations: as of sv.sampler.new. precision ("fp32", "bf16"): of the factors of convolutions while the run lasts;
-- sums, weights and all else stay fp32. Default: as core.precision() has it
-- @treturn Model itself
-- @raise a loss that is not finite (the last good checkpoint stays), a checkpoint of another configuration, a cache
-- of other samples, more failures of the simulator than max_failures
function Model:train(t)
  return train(self, t, { decoder = true, sleep = true, encoder = true })
end

--- Stage 1 alone: options as of train, with decoder's at the top level.
function Model:train_decoder(t)
  return self:train_stage("decoder", t)
end

--- Sleep alone, with the decoder as it is.
function Model:train_sleep(t)
  return self:train_stage("sleep", t)
end

--- Stage 2 proper alone, through the decoder as it is.
function Model:train_encoder(t)
  return self:train_stage("encoder", t)
end

--- One stage, by name.
function Model:train_stage(stage, t)
  check.options("train_" .. stage, t, setmetatable({}, { __index = function(_, k)
    return stage_options[k] or train_options[k]
  end, __pairs = function()
    local all = {}
    for k, v in pairs(train_options) do all[k] = v end
    for k, v in pairs(stage_options) do all[k] = v end
    return pairs(all)
  end }))
  local top, own = {}, {}
  for k, v in pairs(t or {}) do
    if stage_options[k] then own[k] = v else top[k] = v end
  end
  top[stage] = own
  return train(self, top, { [stage] = true })
end

return { step = step }
