--- The held-out part of the simulations: samples that no step trains on. Stages are stopped by them
-- (simvae.train.early_stopping), and the decoder's noise is measured on them.
--
-- With a number of simulations or a data set it is a share of them, the same in every training of this seed; of a
-- simulator without limit they are further samples.
local check = require "simvae.util.check"
local core = require "simvae.core"

local held_out = {}

local SHARE = 0.1            -- by default
local ENOUGH, MOST = 50, 1000 -- samples, by default; of few simulations at most a quarter
local LEAST = 16
local NUMBERS = 1 << 24      -- of outputs that are kept; no fewer than LEAST samples

-- How many of n simulations are held out by default; 0 where they are too few.
local function usual(n)
  local count = math.min(math.max(math.floor(SHARE * n), ENOUGH), MOST, n // 4)
  return count >= LEAST and count or 0
end

local function too_few(given, n, count, level)
  if given then
    check.fail(level + 1, "train: held_out = %g of %d simulations is %d, and takes at least %d: give a larger share, "
      .. "more simulations, or held_out = 0", given, n, count, LEAST)
  end
  return string.format("simvae: %d simulations are too few to hold some of them out: %d would do. No stage stops early",
    n, 4 * LEAST)
end

--- Whether a run's simulations are a limited number, of which networks see each many times.
-- @tparam table run
-- @treturn boolean
function held_out.limited(run)
  return (run.simulations or run.simulated or run.offline or run.rows) and true or false
end

--- The share of the simulations that is held out: held_out of train, or a tenth for posteriors trained by likelihood.
-- @tparam Model model
-- @tparam table run options of train
-- @tparam integer level of its caller
-- @treturn number 0: none
function held_out.share(model, run, level)
  local given = run.held_out
  if given == 0 or not given and not model.head.likelihood then return 0 end
  local n = run.simulations or run.simulated or rawget(model.simulator, "rows")
  if not (n or run.offline or model.head.likelihood) then
    check.fail(level, "train: held_out needs offline = true, simulations, a data set, or a posterior trained by "
      .. "likelihood, such as \"flow\"")
  end
  if not n or run.offline then return given or SHARE end
  local count = given and math.floor(given * n + 0.5) or usual(n)
  if count >= LEAST then return count / n end
  local notice = too_few(given, n, count, level)
  if not run.quiet then io.stderr:write(notice, "\n") end
  return 0
end

--- Whether a data set's part is large enough; raises where the user's share is not.
-- @tparam table run
-- @tparam Sampler made of a cache
-- @tparam integer level
-- @treturn boolean
function held_out.enough(run, made, level)
  if made.held >= LEAST then return true end
  local n = made.held + #made.samples
  local notice = too_few(run.held_out, n, made.held, level)
  if not run.quiet then io.stderr:write(notice, "\n") end
  return false
end

-- Samples of all stages.
local function samples_of(run, stages)
  local total = 0
  for _, stage in ipairs(stages) do total = total + run[stage].steps * run[stage].batch end
  return total
end

--- Draws the held-out samples, run.held = { z = (M, K) in units, x = (M, …output) }; none in a training of few steps.
-- @tparam Model model
-- @tparam table run with sampler and share
-- @tparam {string,...} stages
-- @tparam ?function watch as of Sampler:peek
function held_out.take(model, run, stages, watch)
  if run.share == 0 then return end
  local most = math.min(MOST, math.max(LEAST, NUMBERS // check.count(model.simulator.output)))
  if not held_out.limited(run) then
    most = math.min(most, math.floor(SHARE * samples_of(run, stages)))
    if most < LEAST then return end
  end
  local scope <close> = core.scope()
  local z, x
  if run.rows then
    z, x = run.rows.held_out(most)
    if z.shape[1] < LEAST then return end
  else
    z, x = run.sampler:held_out_samples(most, watch)
  end
  run.held = { z = core.buffer(z), x = core.buffer(x) }
end

return held_out
