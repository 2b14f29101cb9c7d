--- The choice of parameters for slow simulators: those at which the decoders of an ensemble differ most are simulated
-- next (query by committee: Seung, Opper and Sompolinsky 1992; of regression: Krogh and Vedelsby 1995).
--
--     sv.model { simulator = s, members = 5, … }:train { simulations = 200, choose = true }
--
-- The first part of the simulations is drawn from the prior. Before each later one the decoders are trained on those so
-- far, and of a pool of the prior's draws some are chosen at random, with probabilities in proportion to the variance
-- of the decoders' outputs. Both stages are trained on all of them in the end. As the chosen parameters do not follow
-- the prior, a posterior that is trained by likelihood learns from decoder samples alone.
local changed = require "simvae.util.changed"
local check = require "simvae.util.check"
local core = require "simvae.core"
local parts = require "simvae.train.parts"
local prior = require "simvae.simulator.prior"
local streams = require "simvae.util.streams"

local choose = {}

local CHUNK = 256  -- parameters that go through the decoders at once
local LEAST = 16   -- simulations of the first part
local SPARE = 2    -- parameters for each that is wanted, in place of those that fail

local rules = {
  first = { "number", default = 0.25, above = 0, max = 1,
    doc = "share of the simulations that is drawn from the prior" },
  batches = { "integer", default = 6, min = 1, max = 1000,
    doc = "into how many parts the others are divided; the decoders are trained before each" },
  pool = { "integer", default = 2000, min = 100, doc = "draws of the prior that a part is chosen from" },
}

--- Options of train.
choose.options = {
  choose = { "boolean|table", fields = rules,
    doc = "for slow simulators and a model of members: after a first part, parameters at which the decoders differ are "
      .. "simulated; true, or how; default: no" },
}

--- Raises for options that exclude each other.
-- @tparam Model self
-- @tparam table run options of train; choose becomes a table, labels of the encoder 0
-- @tparam {[string]=boolean} stages
-- @tparam integer level of train's caller
function choose.check(self, run, stages, level)
  if not run.choose then return end
  local function fail(...) check.fail(level + 1, ...) end
  run.choose = check.options("train: choose", run.choose ~= true and run.choose or nil, rules, level + 1)
  if run.rounds then fail("train: choose and rounds both say what is simulated; take one of them") end
  if not stages.decoder or run.decoder.steps == 0 then fail("train: choose needs steps of the decoder") end
  if not self.decoder.members then
    fail("train: choose takes a model of members = 2 or more, whose decoders' variance says what to simulate")
  end
  if run.offline or self.simulator.rows then
    fail("train: choose runs the simulator at parameters of its own, not %s", run.offline and "a cache offline"
      or "the rows of a data set")
  end
  if not run.simulations then fail("train: choose needs simulations = N, their number in all") end
  local first = math.floor(run.choose.first * run.simulations)
  if first < LEAST or run.simulations - first < run.choose.batches then
    fail("train: choose takes a first part of %d simulations or more and one for each of %d batches; got %d of %d",
      LEAST, run.choose.batches, first, run.simulations)
  end
  if self.head.likelihood then
    if type(run.encoder.labels) == "number" and run.encoder.labels > 0 then
      fail("train: choose simulates parameters that do not follow the prior: labels = 0 learns from decoder samples")
    end
  end
end

-- ---- the choice -------------------------------------------------------------------------------

-- The variance of the decoders' outputs at parameters z (N, K), mean over the elements: a list.
local function variances(self, z)
  local list = {}
  for from = 1, z.shape[1], CHUNK do
    local scope <close> = core.scope()
    local part = core.slice(z, 1, from, math.min(from + CHUNK - 1, z.shape[1]))
    local values = core.no_grad(function()
      local code, outputs = self.latent:to_code(part), {}
      for i, net in ipairs(self.decoder.members) do
        outputs[i] = core.reshape(self.loss:as_seen(net(code)), part.shape[1], -1)
      end
      return core.mean(core.var(core.stack(outputs, 3), 3), 2)
    end)
    table.move(values:totable(), 1, values.count, #list + 1, list)
  end
  return list
end

-- n parameters of a pool (N, K), without replacement, with probabilities in proportion to their weights: those with the
-- largest log weights plus Gumbel numbers (Efraimidis and Spirakis 2006).
local function draw(pool, weights, n, rng)
  local uniform, order = rng:uniform(0, 1, { #weights }):totable(), {}
  for i, w in ipairs(weights) do
    order[i] = { math.log(w + 1e-30) - math.log(-math.log(math.max(1e-12, math.min(uniform[i], 1 - 1e-7)))), i }
  end
  table.sort(order, function(a, b) return a[1] > b[1] or a[1] == b[1] and a[2] < b[2] end)
  local rows, all = {}, pool:totable()
  for k = 1, math.min(n, #order) do rows[k] = all[order[k][2]] end
  return core.tensor(rows)
end

-- The simulator whose prior draws the next part's parameters.
local function chosen(self, run, list)
  local count, rng = list.counts[list.done + 1], streams.choice(run.seed, list.done)
  local scope <close> = core.scope()
  local pool = self.simulator:sample(math.max(run.choose.pool, SPARE * count), rng)
  self.decoder:eval()
  local z = draw(pool, variances(self, pool), SPARE * count, rng)
  return prior.fixed(self.simulator, z, list:first())
end

local function counts_of(run)
  local first = math.floor(run.choose.first * run.simulations)
  local rest, batches, counts = run.simulations - first, run.choose.batches, { first }
  for b = 1, batches do counts[b + 1] = rest * b // batches - rest * (b - 1) // batches end
  return counts
end

-- The options of the decoders' training before a choice: in all of these half as many steps as in the last one.
local function before_choice(o, run)
  o.decoder = changed(o.decoder, { steps = math.max(1, run.decoder.steps // (2 * run.choose.batches)) })
  return o
end

--- Trains so.
-- @tparam Model self
-- @tparam table given options of train
-- @tparam table run the same with defaults, checked
-- @tparam {[string]=boolean} stages
-- @tparam function train (options, stages, extras): one training (simvae.train.parts)
-- @treturn Model itself
function choose.run(self, given, run, stages, train)
  local list, sim = parts.new(run, "choice", counts_of(run)), self.simulator
  local function extras() return list:extras(self.simulator, { choose = true }, list.counts[1]) end
  for part = 1, #list.counts do
    list:simulate(sim)
    if part < #list.counts then
      train(before_choice(list:options(given, choose.options), run), { decoder = true }, extras())
      sim = chosen(self, run, list)
    end
  end
  local o = list:options(given, choose.options)
  o.out = run.out
  if self.head.likelihood and stages.encoder then o.encoder = changed(given.encoder, { labels = 0 }) end
  return train(o, stages, extras())
end

return choose
