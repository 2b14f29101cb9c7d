--- Rounds of training for one observation (truncated sequential neural posterior estimation: Deistler, Goncalves and
-- Macke 2022).
--
--     model:train { rounds = 3, observation = x, simulations = 3000, out = "runs/x" }
--
-- The first round simulates draws of the prior; each later one draws of the prior restricted to the support of the
-- posterior at the observation (simvae.posterior.support.truncation). Every round trains both stages, from the weights
-- of the round before, on the simulations of all rounds so far (some of its own are held out); draws of the prior that
-- go through the decoder are of the round's restricted prior. Within the smallest region the parameters of all rounds
-- together follow the prior, so that the likelihood needs no correction at the observation.
--
-- With `out`, each round is a run of its own in out/round_N, with its simulations in samples.bin there; the same call
-- goes on from where it was interrupted.
local check = require "simvae.util.check"
local core = require "simvae.core"
local focus = require "simvae.model.focus"
local input = require "simvae.model.input"
local interrupt = require "simvae.util.interrupt"
local noise = require "simvae.simulator.noise"
local parts = require "simvae.train.parts"
local prior = require "simvae.simulator.prior"
local progress = require "simvae.train.progress"
local streams = require "simvae.util.streams"
local truncation = require "simvae.posterior.support.truncation"

local rounds = {}

local FEWEST = 64        -- simulations of a round
local PRIOR_DRAWS = 16384 -- of a restricted prior, at least

--- Options of train for rounds.
rounds.options = {
  rounds = { "integer", min = 1, max = 100,
    doc = "truncated sequential rounds for the posterior of one observation: each simulates within the support of "
      .. "the posterior so far; steps are those of each round, simulations the number in all together; default: "
      .. "none" },
  observation = { "tensor|table", doc = "the output that rounds are for, (1, …output)" },
  observation_noise = { "number", above = 0,
    doc = "the level of the observation's noise, where the simulator declares a range of levels" },
  truncation = { "number", above = 0, max = 0.1,
    doc = "share of the posterior's mass that lies outside of what a round simulates; default 1e-4" },
}

--- Raises for options that exclude each other.
-- @tparam Model self
-- @tparam table run options of train
-- @tparam integer level of train's caller
function rounds.check(self, run, level)
  local function fail(...) check.fail(level + 1, ...) end
  if not run.rounds then
    for _, name in ipairs { "observation", "observation_noise", "truncation" } do
      if run[name] ~= nil then fail("train: %s needs rounds = 2 or more", name) end
    end
    return
  end
  if run.observation == nil then
    fail("train: rounds need observation = x, the output whose posterior they are for")
  end
  local range = self.simulator.noise_range
  if range and run.observation_noise == nil then
    fail("train: option 'observation_noise' is missing: the level of the noise of the observation, %g to %g",
      range.low, range.high)
  end
  noise.levels("train: observation", self.simulator, run.observation_noise, 1, level + 1)
  if not self.head.likelihood then
    fail("train: rounds take a posterior that is trained by likelihood, such as \"flow\"; this model's is \"%s\"",
      self.head.name)
  end
  if run.offline then fail("train: rounds run the simulator at parameters of their own; offline reads a cache") end
  if self.simulator.rows then
    fail("train: rounds run the simulator at parameters of their own; '%s' is a data set, which has %d rows and no "
      .. "others", self.simulator.name, self.simulator.rows)
  end
  if not run.simulations then
    fail("train: rounds need simulations = N, their number in all rounds together")
  elseif run.simulations < FEWEST * run.rounds then
    fail("train: %d rounds take simulations = %d or more; got %d", run.rounds, FEWEST * run.rounds, run.simulations)
  end
  if run.encoder.steps == 0 then
    fail("train: rounds need steps of the encoder, whose posterior restricts the prior")
  end
end

-- ---- the restricted prior -------------------------------------------------------------------------

-- The simulator with the prior of the round after r, for `count` simulations, from the posterior of round r.
local function restricted(self, run, observation, r, count)
  local rng = streams.rounds(run.seed, r)
  local h = self:posterior(observation, { noise = run.observation_noise }).h
  local region = truncation.new(self, h, run.truncation, rng)
  local n = math.max(PRIOR_DRAWS, 2 * count)
  local bar <close> = progress.new { title = string.format("round %d: prior", r + 1), total = n, quiet = run.quiet }
  local z, kept = region:draw(n, rng, function(done) bar:update(done, "draws within the posterior's support") end)
  bar:finish(kept and string.format("%d draws, %.2g of the candidates", n, kept)
    or string.format("%d draws by importance resampling", n))
  return prior.fixed(self.simulator, z)
end

-- ---- the rounds -------------------------------------------------------------------------------

-- A number that differs where observations differ, as text.
local function fingerprint(x)
  local sum = x.count
  for _, v in ipairs(core.reshape(x, x.count):totable()) do
    sum = sum * 31 + string.unpack("<i8", string.pack("<d", v))
  end
  return string.format("%016x", sum)
end

--- Trains in rounds.
-- @tparam Model self
-- @tparam table given options of train
-- @tparam table run the same with defaults, checked
-- @tparam function train (options, extras): one training. extras: those of simvae.train.parts, and simulator, with the
-- prior of the round
-- @treturn Model itself
function rounds.run(self, given, run, train)
  local observation = core.buffer(input.outputs("train", self, run.observation))
  if observation.shape[1] ~= 1 then
    error(string.format("train: observation takes one output%s; got %d", self.set and ", a set (1, M, …)" or "",
      observation.shape[1]), 0)
  end
  run.truncation = run.truncation or 1e-4
  local counts = {}
  for r = 1, run.rounds do
    counts[r] = run.simulations * r // run.rounds - run.simulations * (r - 1) // run.rounds
  end
  local list, sim, z, x = parts.new(run, "round", counts, true), self.simulator, nil, nil
  for r = 1, run.rounds do
    if r > 1 then sim = interrupt.during("train: interrupted", restricted, self, run, observation, r - 1, counts[r]) end
    z, x = list:simulate(sim)
    local extras = list:extras(self.simulator, { truncation = run.truncation, observation = fingerprint(observation) },
      counts[r])
    extras.simulator = sim
    train(list:options(given, rounds.options), extras)
  end
  local scope <close> = core.scope()
  if run.rounds > 1 then -- one round is of the whole prior, and for every output
    local measured = noise.add(self.simulator, z, x, streams.rounds(run.seed, run.rounds))
    self.focus = focus.new(self, observation, run.rounds, measured)
  end
  if run.out then
    local ok, why = self:save(run.out .. "/model.safetensors")
    if not ok then error("train: " .. why, 0) end
  end
  return self
end

return rounds
