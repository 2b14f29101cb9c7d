--- encoder = { labels = "auto" }: the share of a batch that is the simulator's own pairs, by held-out simulations.
--
-- Pairs of a simulator without limit are exact and never the same: they are all of a batch. A limited number of pairs
-- is overfitted, while decoder samples are without number but have the decoder's errors; which of them matters more
-- depends on the simulator. The stage starts with half of each. After a part of its steps, a trial goes on from the
-- same state with each of a few shares, and the one whose posterior gives held-out simulations the highest likelihood
-- stays. A trial changes nothing that is saved until all have ended: an interrupted run repeats them.
local annealing = require "simvae.train.annealing"
local held_out = require "simvae.train.held_out"
local progress = require "simvae.train.progress"
local weights = require "simvae.train.weights"

local mixing = {}

local START = 0.5
local SHARES = { 0, 0.5, 1 }
local BEFORE = 0.4  -- share of the stage's steps before the trials, which come earlier where it settles
local TRIAL = 0.2   -- steps of each, as a share of those before
local SHORTEST = 50 -- steps of a trial
local MEASURES = 4  -- in the second half of a trial

--- The share that a stage starts with.
-- @tparam table run
-- @tparam string stage
-- @treturn number
function mixing.start(run, stage)
  local labels = stage == "encoder" and run.encoder.labels or 0
  if labels ~= "auto" then return labels end
  return held_out.limited(run) and START or 1
end

-- Steps before the trials, where they do not come earlier.
local function before(run) return math.max(math.floor(BEFORE * run.encoder.steps), run.supervised) end

-- Steps of each trial that starts after so many.
local function length_after(step) return math.max(SHORTEST, math.floor(TRIAL * step)) end

--- Whether a stage's trials are still to come.
-- @tparam table run
-- @tparam string stage
-- @treturn boolean
function mixing.pending(run, stage)
  if not (stage == "encoder" and run.encoder.labels == "auto" and run.early and held_out.limited(run)) then
    return false
  end
  return not run.mixed and before(run) >= SHORTEST and run.step <= before(run)
end

--- Whether the trials come next.
-- @tparam table run
-- @tparam string stage
-- @treturn boolean
function mixing.due(run, stage)
  return mixing.pending(run, stage) and (run.step == before(run)
    or run.early.settled and run.step >= SHORTEST)
end

-- ---- the state of a stage --------------------------------------------------------------------

local function snapshot(self, run)
  return { weights = weights.copy(weights.of(self, "encoder")), optimizer = weights.copy(run.optimizer:state()),
    average = run.early.average and weights.copy(run.early.average.mean), norm = run.norm,
    rng = { run.rng:state() }, sampler = run.sampler:state(), step = run.step, mix = run.mix }
end

local function restore(self, run, at)
  weights.set(weights.of(self, "encoder"), at.weights)
  if at.average then run.early.average:restore(at.average) end
  run.optimizer:load_state(at.optimizer)
  run.norm, run.step, run.mix = at.norm, at.step, at.mix
  run.rng:restore(table.unpack(at.rng))
  run.sampler:restore(at.sampler)
end

-- ---- trials ------------------------------------------------------------------------------------

-- One trial: the mean held-out measure in its second half, -inf where a loss was not finite; and the last loss.
local function try(run, length, take)
  local sum, count, loss = 0, 0, nil
  for k = 1, length do
    run.step = run.step + 1
    loss = take()
    run.signals:allow()
    if loss ~= loss or math.abs(loss) == math.huge then return -math.huge, loss end
    if (length - k) % (length // (2 * MEASURES)) == 0 and k > length // 2 then
      sum, count = sum + run.early:measure(), count + 1
    end
  end
  return sum / count, loss
end

local function trials(self, run, start, length, set, take)
  local values, best = {}, nil
  for i, share in ipairs(SHARES) do
    restore(self, run, start)
    set(share)
    local value, loss = try(run, length, take)
    values[i] = string.format("%g: %.4f", share, value)
    if not best or value > best.value then
      best = { value = value, loss = loss, state = snapshot(self, run) }
    end
    collectgarbage()
  end
  return best, table.concat(values, ", ")
end

--- Runs the trials, and goes on from the best one's end.
-- @tparam Model self
-- @tparam table run at the step before them
-- @tparam function set (share) sets the share of the next steps
-- @tparam function take () takes a step, and gives its loss
-- @treturn number the loss of the last step
function mixing.run(self, run, set, take)
  local length, start = length_after(run.step), snapshot(self, run)
  local ok, best, text = pcall(trials, self, run, start, length, set, take)
  run.signals:hold()
  if not ok then -- an interruption, or an error of the simulator
    restore(self, run, start)
    set(start.mix)
    error(best, 0)
  end
  restore(self, run, best.state)
  set(run.mix)
  run.mixed = true
  annealing.look_again(run.early, run.step)
  if not run.quiet then
    progress.clear()
    io.stderr:write(string.format("encoder: %g of a batch are the simulator's pairs (held-out log-likelihood by this "
      .. "share, after %d steps of each: %s)\n", run.mix, length, text))
  end
  return best.loss
end

return mixing
