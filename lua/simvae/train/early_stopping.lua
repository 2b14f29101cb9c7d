--- Early stopping: a stage is measured on held-out samples at intervals. It ends when that has not improved for some
-- steps, and always with the weights that measured best (Prechelt, "Early stopping - but when?", 1998).
--
-- Stage 1 is measured by its loss. Stage 2 of a posterior that is trained by likelihood is measured
-- by the mean log density of the true parameters, over the unit cube: the information gained over the prior, in nats.
-- Where the stage averages weights (simvae.train.averaging), it is the average that is measured and kept.
local annealing = require "simvae.train.annealing"
local averaging = require "simvae.train.averaging"
local core = require "simvae.core"
local held_out = require "simvae.train.held_out"
local likelihood = require "simvae.model.likelihood"
local npe = require "simvae.train.npe"
local sets = require "simvae.model.sets"
local streams = require "simvae.util.streams"
local weights = require "simvae.train.weights"

local early_stopping = {}
local Early = {}
Early.__index = Early

local COST = 0.03  -- share of a stage's time that measuring may take
local FORWARD = 3  -- passes of a measured sample that take as long as a training step's for one
local CHUNK = 256
local PATIENCE = 0.25 -- share of the steps
local MEASURES = 10   -- patience is at least so many measurements

local measures = {}

-- Mean over the held-out samples of f(rows from, to), which returns a sum.
local function mean_over(n, f)
  local total = 0
  for from = 1, n, CHUNK do
    local scope <close> = core.scope()
    total = total + core.no_grad(f, from, math.min(from + CHUNK - 1, n)):item()
  end
  return total / n
end

function measures.decoder(self, run)
  local held, rng = run.held, streams.held_noise(run.seed)
  held.codes = held.codes or core.buffer(self.latent:to_code(held.z))
  return -mean_over(held.z.shape[1], function(from, to)
    local z, x = core.slice(held.z, 1, from, to), self.loss:standardise(core.slice(held.x, 1, from, to))
    local code = core.slice(held.codes, 1, from, to)
    local raw = self.decoder(code)
    local loss, spread = run.recipe.decoder_loss(self, raw, x, run), likelihood.loss(self, raw, code, z, x, rng)
    return (spread and loss + spread or loss) * (to - from + 1)
  end)
end

function measures.encoder(self, run)
  local seen, points = npe.held(self, run)
  return mean_over(seen.shape[1], function(from, to)
    return core.sum(npe.log_prob(self, self:encoder_outputs(core.slice(seen, 1, from, to)),
      core.slice(points, 1, from, to)))
  end)
end
measures.sleep = measures.encoder

--- Whether a stage is measured: with held-out samples stage 2 of posteriors trained by likelihood (save where an
-- observation is a set, of which a simulator gives one output), and stage 1 where the number of simulations is limited,
-- so that a decoder can overfit.
local function measured(self, run, stage)
  if not run.held then return false end
  if stage == "decoder" then return held_out.limited(run) end
  return self.head.likelihood and not (self.set and sets.is_random(self.simulator))
end

--- Early stopping of a stage; nil where it is not measured.
-- @tparam Model self
-- @tparam table run
-- @tparam string stage
-- @tparam {Layer,...} nets of the stage
-- @treturn ?EarlyStopping
function early_stopping.new(self, run, stage, nets)
  local o = run[stage]
  if o.steps == 0 or not measured(self, run, stage) then return nil end
  local interval = math.max(1, math.ceil(run.held.z.shape[1] / (FORWARD * COST * o.batch)))
  local average = (o.average or 0) > 0 and averaging.new(weights.of(self, stage), o.average) or nil
  return setmetatable({ model = self, run = run, stage = stage, nets = nets, interval = interval, average = average,
    tolerance = o.tolerance, look_at = annealing.first(o.steps),
    patience = o.patience or math.max(math.ceil(PATIENCE * o.steps), MEASURES * interval) }, Early)
end

-- f() with the weights that are measured.
local function with_average(self, f)
  if not self.average then return f() end
  self.average:exchange()
  local results = table.pack(pcall(f))
  self.average:exchange()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

local function measure(self)
  for _, net in ipairs(self.nets) do net:eval() end
  local value = measures[self.stage](self.model, self.run)
  for _, net in ipairs(self.nets) do net:train() end
  if self.run.ranks then value = self.run.ranks:agree(value) end
  return value
end

--- The measure of the weights as they would be kept: the larger the better.
function Early:measure()
  return with_average(self, function() return measure(self) end)
end

--- After each step of the optimizer, measured or not.
-- @tparam integer step
function Early:stepped(step)
  if self.average then self.average:after(step) end
end

local function note_now(self, step)
  self.value, self.at = measure(self), step
  if self.value > (self.best or -math.huge) then
    self.best, self.best_at = self.value, step
    local now = weights.of(self.model, self.stage)
    if self.weights then weights.set(self.weights, now) else self.weights = weights.copy(now) end
  end
  self.stopped = step - (self.best_at or 0) >= self.patience
  annealing.look(self, step)
end

local function note(self, step)
  with_average(self, function() note_now(self, step) end)
end

--- After a step.
-- @tparam integer step
-- @tparam integer total steps of the stage
-- @tparam boolean always also between the intervals
-- @treturn boolean whether it was measured
function Early:after(step, total, always)
  if step % self.interval ~= 0 and step ~= total and not always then return false end
  note(self, step)
  return true
end

--- Ends the stage with the best weights.
-- @tparam integer step the last one
-- @treturn string what to say of it
function Early:finish(step)
  if self.at ~= step then note(self, step) end
  if not self.weights then return "" end
  weights.set(weights.of(self.model, self.stage), self.weights)
  return string.format(", best on held-out samples at step %d (%s)", self.best_at, self:text(self.best))
end

--- A measure as text.
function Early:text(value)
  if self.stage == "decoder" then return string.format("held-out loss %.5f", -value) end
  return string.format("held-out log-likelihood %.4f", value)
end

--- State for a checkpoint.
-- @treturn table numbers
-- @treturn {[string]=tensor} the best weights, by name
-- @treturn {[string]=tensor} their average, by name
function Early:state()
  return { best = self.best, best_at = self.best_at, at = self.at, value = self.value, stopped = self.stopped,
    settled = self.settled, look_at = self.look_at, looked = self.looked,
    between = self.between },
    self.weights or {}, self.average and self.average.mean or {}
end

--- Restores a state.
-- @tparam table numbers
-- @tparam {[string]=tensor} best weights
-- @tparam {[string]=tensor} average
function Early:restore(numbers, best, average)
  for name, v in pairs(numbers) do self[name] = v end
  if self.average then self.average:restore(average) end
  if next(best) then self.weights = weights.copy(best) end
end

return early_stopping
