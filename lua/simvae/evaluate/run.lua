--- One pass of sv.evaluate over fresh samples: the data that metrics receive.
--
-- A run, as `measure` of a metric gets it, holds
--   model, sim, params, names, o (the options)
--   z, mean, std      lists of rows, in units: true parameters, the encoder's estimates, their standard deviations
--   nearest           z, under a declared symmetry each row replaced by its equivalent nearest to the estimate
--   positive          the estimates with log-scaled parameters kept above 0
--   v, answers        (N, K) tensors of z and mean on the scales that mutual information compares (parameters.scaled)
--   factors           numbers of the parameters that MIG is averaged over
--   draws             (n, L, K) of the posteriors of the first n samples, from metrics.calibration on, or nil
--   settings          options of metrics.mim for v and answers
--   errors            each sample's mean squared re-simulation error, by number
--   rng(stream)       a generator of the evaluation's seed
--   check_finite(t, what, offset)
-- and a batch, as `add` gets it after the encoder has answered,
--   z, mean, std      rows of the samples that the simulator worked on; known: z as a tensor
--   x, measured       their outputs, and the same with the noise of a measurement, which the encoder has seen
--   levels            (n,) the levels of the noise, where the simulator has a range of them
--   again, seen       outputs of the simulator for the estimates (moved into the bounds), and x of the same samples;
--                     again is nil where it failed on all
--   number(i)         which of the batch's samples row i of seen is
--   first             samples before this batch
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"
local noise = require "simvae.simulator.noise"
local parameters = require "simvae.simulator.parameters"
local rerun = require "simvae.metrics.support.rerun"
local streams = require "simvae.util.streams"
local symmetry = require "simvae.simulator.symmetry"

local run = {}
local Run = {}
Run.__index = Run

--- A run with no samples yet.
-- @tparam Model model
-- @tparam table o options of sv.evaluate
-- @tparam {integer,...} factors
function run.new(model, o, factors)
  local sim = model.simulator
  local self = setmetatable({
    model = model, sim = sim, params = sim.params, names = {}, o = o, factors = factors, z = {}, mean = {}, std = {},
    errors = {}, outside = 0, failures = 0, lost = 0,
  }, Run)
  for i, p in ipairs(sim.params) do self.names[i] = p.name end
  function self.check_finite(t, what, offset)
    local finite, at = t:finite()
    if finite then return end
    local K = #self.names
    error(string.format("evaluate: the encoder's %s of '%s' is not finite at sample %d; the model has diverged or was "
      .. "never trained", what, self.names[(at - 1) % K + 1], offset + (at - 1) // K + 1), 0)
  end
  self.noise_rng = streams.measurement(o.seed, 0)
  function self.rng(stream) return streams.evaluation(o.seed, stream) end
  return self
end

local function append(list, rows)
  table.move(rows, 1, #rows, #list + 1, list)
end

-- Draws n samples: parameters and outputs of those that the simulator worked on.
local function draw(self, n, rng)
  local z = self.sim:sample(n, rng)
  local x, good, why = rerun.run(self.sim, z)
  if not good then return z, x end
  self.failures, self.message = self.failures + n - #good, self.message or why
  if self.failures > self.o.max_failures * self.o.samples then
    error(string.format("evaluate: the simulator failed on %d samples, more than %g%% of %d; the first: %s",
      self.failures, 100 * self.o.max_failures, self.o.samples, self.message), 0)
  end
  return x and rerun.rows(z, good), x
end

-- Runs the simulator on the encoder's estimates.
local function answer_again(self, batch)
  local moved = {}
  for i, row in ipairs(batch.mean) do
    local outside
    moved[i], outside = parameters.within(self.params, row)
    if outside then self.outside = self.outside + 1 end
  end
  local again, good, why = rerun.run(self.sim, core.tensor(moved))
  batch.again, batch.seen = again, again and good and rerun.rows(batch.x, good) or batch.x
  batch.number = function(i) return good and good[i] or i end
  if good then self.lost, self.message = self.lost + #moved - #good, self.message or why end
end

--- Evaluates n more samples.
-- @tparam integer n
-- @tparam rng rng
-- @tparam {table,...} measures entries `reported` of the metrics
-- @tparam table states what their `start` gave, by number
function Run:batch(n, rng, measures, states)
  local scope <close> = core.scope()
  local z, x = draw(self, n, rng)
  if not x then return end
  local measured, levels = noise.add(self.sim, z, x, self.noise_rng)
  local mean, std = self.model:encode(measured, noise.told(levels, 1, x.shape[1]))
  local batch = { known = z, z = z:totable(), x = x, measured = measured, levels = levels, first = #self.z,
    mean = mean:totable(), std = std:totable() }
  self.check_finite(mean, "mean", batch.first)
  self.check_finite(std, "standard deviation", batch.first)
  answer_again(self, batch)
  for i, m in ipairs(measures) do
    if m.add then m.add(states[i], batch, self) end
  end
  append(self.z, batch.z)
  append(self.mean, batch.mean)
  append(self.std, batch.std)
end

--- Fills fields derived from all samples.
function Run:finish()
  if #self.z == 0 then error("evaluate: the simulator failed on every sample: " .. tostring(self.message), 0) end
  self.positive = {}
  for s, row in ipairs(self.mean) do -- a log scale has no zero
    self.positive[s] = {}
    for i, p in ipairs(self.params) do
      self.positive[s][i] = parameter.positive(p, row[i])
    end
  end
  self.nearest = symmetry.declared(self.sim) and symmetry.align(self.sim, self.z, self.mean) or self.z
  self.v, self.answers = parameters.scaled(self.params, self.z), parameters.scaled(self.params, self.mean)
  local _, levels = parameters.columns(self.params)
  self.settings = { bins = self.o.bins, levels = levels, z_levels = levels, names = self.names, constant = "zero" }
end

--- Warnings.
function Run:notes()
  local notes, noticed = {}, rawget(self.model, "noticed")
  for _, subject in ipairs { "constant", "coarse", "stretched" } do
    notes[#notes + 1] = noticed and noticed[subject] -- of the scale of the outputs
  end
  for i, p in ipairs(self.params) do
    local same = true
    for s = 2, #self.mean do
      if self.mean[s][i] ~= self.mean[1][i] then
        same = false
        break
      end
    end
    if same then
      notes[#notes + 1] = string.format("the encoder returns %s = %.4g for every sample", p.name, self.mean[1][i])
    end
  end
  if self.failures > 0 then
    notes[#notes + 1] = string.format("the simulator failed on %d of %d samples, which were excluded; the first: %s",
      self.failures, self.o.samples, self.message)
  end
  if self.lost > 0 then
    notes[#notes + 1] = string.format("the simulator failed on %d of the encoder's estimates, which re-simulation "
      .. "excludes; the first: %s", self.lost, self.message)
  end
  return notes
end

return run
