--- What the checks of a diagnosis look at: samples of the simulator, an evaluation, draws of posteriors.
local check = require "simvae.util.check"
local core = require "simvae.core"
local noise = require "simvae.simulator.noise"
local parameters = require "simvae.simulator.parameters"
local prior = require "simvae.simulator.prior"
local rerun = require "simvae.metrics.support.rerun"
local streams = require "simvae.simulator.streams"

local data = {}
local Data = {}
Data.__index = Data

local SAMPLES, LEAST, PIECE = 512, 16, 16
local NUMBERS = 1 << 24 -- of all outputs
local SECONDS = 10      -- after which no more samples are made, once there are LEAST
local REPEATED = 32     -- samples that are repeated with other random numbers
local OUTPUTS, DRAWS = 64, 400 -- of posteriors

-- Runs the simulator on rows, failures included: x (n, …) and { [row] = reason }.
local function try(sim, z, seed, first)
  local x = core.zeros { z.shape[1], table.unpack(sim.output) }
  local failed = sim:try(z, x, streams.simulation(seed, first))
  core.signals.check()
  return x, failed
end

-- Samples of the prior, in pieces; as many as there is time for.
local function sample(self, seed)
  local sim, n = self.sim, math.max(LEAST, math.min(SAMPLES, NUMBERS // check.count(self.sim.output)))
  local started, zs, xs = core.system.clock(), {}, {}
  while self.tried < n and (self.tried < LEAST or core.system.clock() - started < SECONDS) do
    local z = prior.draw(sim, PIECE, seed, self.tried + 1)
    local x, failed = try(sim, z, seed, self.tried + 1)
    for i = 1, PIECE do
      if failed[i] then
        self.failed[#self.failed + 1] = { z = z[i]:totable(), reason = failed[i] }
      else
        zs[#zs + 1], xs[#xs + 1] = z[i], x[i]
      end
    end
    self.tried = self.tried + PIECE
  end
  self.seconds = (core.system.clock() - started) / self.tried
  self.z, self.x = rerun.join(zs), rerun.join(xs)
end

--- Outputs of rows of parameters: the random numbers of row i are those of sample i.
-- @tparam {{number,...},...} rows in units
-- @tparam ?integer other a number for other random numbers (0)
-- @treturn tensor (n, …output)
-- @treturn {[integer]=string} rows that failed
function Data:outputs(rows, other)
  return try(self.sim, core.tensor(rows), self.seed + (other or 0), 1)
end

--- Rows that can be run as often as each, so many times in all, in about twenty seconds; at least six.
-- @tparam integer n at most
-- @tparam integer times
-- @treturn integer
function Data:affordable(n, times)
  return math.max(6, math.min(n, math.floor(2 * SECONDS / (math.max(self.seconds, 1e-9) * times))))
end

--- The first n rows of samples that the simulator worked on.
function Data:rows(n)
  return core.slice(self.z, 1, 1, math.min(n, self.z.shape[1])):totable()
end

--- Mean squared differences of outputs, row by row, in standard deviations of the simulator's outputs: of each number
-- of a vector, of a picture's pixels together.
-- @tparam tensor a (n, …output)
-- @tparam tensor b (n, …output)
-- @treturn tensor (n,)
function Data:differences(a, b)
  return core.mean(core.square((a - b) / self.spread):reshape(a.shape[1], -1), 2)
end

-- Standard deviations that differences are measured in, and whether anything varies. Numbers that never vary have 1.
local function spread_of(x)
  local n, each = x.shape[1], x.ndim == 2
  local columns = (each and core.transpose(x) or x:reshape(1, x.count)):totable()
  local list, varies = {}, false
  for c, column in ipairs(columns) do
    local mean, square = 0, 0
    for _, v in ipairs(column) do mean = mean + v / #column end
    for _, v in ipairs(column) do square = square + (v - mean) ^ 2 / #column end
    list[c] = square > 0 and math.min(math.sqrt(square), 1e37) or 1
    varies = varies or square > 0
  end
  return core.buffer(each and core.tensor(list):reshape(1, #list) or core.full(list[1], { 1 })), varies and n > 1
end

-- Rows of two outputs that both worked.
local function both(a, b, n)
  local list = {}
  for i = 1, n do
    if not a[i] and not b[i] then list[#list + 1] = i end
  end
  return list
end
data.both = both

-- Standard deviations of an output that is repeated and measured again: the simulator's own, and those of the noise;
-- where they differ between measurements (a function, a range of levels), of the repeated measurements.
local function repeated(self)
  local sim, rows = self.sim, self:rows(self:affordable(REPEATED, 2))
  local x, failed = self:outputs(rows)
  local y, failed_again = self:outputs(rows, 1)
  local list = both(failed, failed_again, #rows)
  if #list == 0 then return nil end
  x, y = rerun.rows(x, list), rerun.rows(y, list)
  local exact = sim.noise_std and not sim.noise_range
  if sim.noise and not exact then
    local z = rerun.rows(core.tensor(rows), list)
    x, y = noise.add(sim, z, x, core.rng(self.seed, 14)), noise.add(sim, z, y, core.rng(self.seed, 15))
  end
  local variance = core.mean(core.square(x - y), 1) / 2
  if exact then variance = variance + core.square(core.expand(sim.noise_std, sim.output)) end
  if core.max(variance):item() <= 0 then return nil end
  return core.buffer(core.sqrt(variance))
end

-- Draws of the model's posteriors for some samples, as they are measured.
local function draw(self)
  local n = math.min(OUTPUTS, self.x.shape[1])
  local z, x = core.slice(self.z, 1, 1, n), core.slice(self.x, 1, 1, n)
  local measured, levels = noise.add(self.sim, z, x, core.rng(self.seed, 11))
  local p = self.model:posterior(measured, noise.told(levels, 1, n))
  self.truths = z:totable()
  self.draws = p:sample(DRAWS, core.rng(self.seed, 12)):totable()
  if not (self.std and core.min(self.std):item() > 0) then return end
  local estimates = self.model:encode(measured, noise.told(levels, 1, n)):totable()
  for i, row in ipairs(estimates) do estimates[i] = parameters.within(self.params, row) end
  local again, failed = self:outputs(estimates)
  local list = both(failed, {}, n)
  if #list == 0 then return end
  local away = (rerun.rows(measured, list) - rerun.rows(again, list)) / self.std
  self.misfit = math.sqrt(core.mean(core.square(away)):item())
end

--- Collects the data.
-- @tparam Model|Simulator subject
-- @tparam table o options of sv.diagnose
-- @treturn table as described in simvae.diagnosis
function data.new(subject, o)
  local given = require "simvae.model".is(subject) and subject or nil
  local sim, model = given and given.simulator or subject, given and not given.focus and given or nil
  local self = setmetatable({ model = model, sim = sim, params = sim.params, seed = o.seed, tried = 0, failed = {},
    named = {}, simulations = o.simulations, steps = model and model.trained, rows_of = rawget(sim, "rows") }, Data)
  sample(self, o.seed)
  if not self.z then return self end
  self.spread, self.varies = spread_of(self.x)
  if not self.rows_of then self.std = repeated(self) end
  if model then
    self.r = o.results
      or require "simvae".evaluate(model, { samples = o.samples, seed = o.seed, max_failures = 0.9 })
    draw(self)
  end
  return self
end

return data
