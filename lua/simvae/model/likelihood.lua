--- The likelihood of a model: its decoder's distribution q(x | z) (simvae.likelihood) with the noise of a measurement
-- that the simulator declares, in the simulator's units.
--
-- Noise of declared standard deviations adds its variance; noise by a function adds the variance that it has on
-- samples, measured after stage 1 (a distribution that is trained learns it instead, from outputs as measured).
local check = require "simvae.util.check"
local core = require "simvae.core"
local input = require "simvae.model.input"
local levels = require "simvae.model.levels"
local measurement = require "simvae.simulator.noise"
local sets = require "simvae.model.sets"
local take_rows = require "simvae.util.take_rows"
local repeat_rows = require "simvae.util.repeat_rows"

local Model = {} -- methods that simvae.model takes over
local likelihood = { methods = Model }

local NUMBERS = 1 << 22 -- of outputs that are decoded at once, in use
local CHUNK = 256       -- samples that go through the decoder at once, where statistics are measured

local function flat(t) return core.reshape(t, t.shape[1], -1) end

-- The decoder's networks: several of an ensemble, whose distribution is the mixture of theirs with equal weights.
local function decoders(model)
  return model.decoder.members or { model.decoder }
end

-- The decoder's raw output, of an ensemble in each row that of one network, drawn at random.
local function drawn(model, code, rng)
  local nets, raws, R = decoders(model), {}, code.shape[1]
  if #nets == 1 then return nets[1](code) end
  for i, net in ipairs(nets) do raws[i] = net(code) end
  local picks = rng:uniform(0, #nets, { R }):totable()
  for r, v in ipairs(picks) do picks[r] = math.min(v // 1 + 1, #nets) end
  local all = core.reshape(core.stack(raws, 2), R, #nets, -1)
  return core.reshape(take_rows(all, core.tensor(picks)), raws[1].shape)
end

-- The decoder's outputs as distributions take them: (R, count).
local function decoded(model, raw)
  if model.likelihood.logits then return flat(raw) end
  return flat(model.loss:as_seen(raw))
end

-- The variance of the noise of a measurement that is added to a distribution, in the units that networks see:
-- (1, count), nil where there is none; of levels (N,) that of each, (N, count).
local function variance_of(model, given)
  local q, sim, loss = model.likelihood, model.simulator, model.loss
  if not sim.noise or q.as_measured then return nil end
  if not sim.noise_std then return core.reshape(q.net.buffers.measurement, 1, -1) end
  local std = sim.noise_std
  if loss.std then std = std / loss.std end
  local variance = core.reshape(core.expand(core.square(std), sim.output), 1, -1)
  return given and variance * core.square(core.reshape(given, given.count, 1)) or variance
end

-- ---- training -------------------------------------------------------------------------------

-- Standardised outputs as the distribution describes them: with the noise of a measurement where it is learned.
local function seen(model, z, x, rng)
  if not model.likelihood.as_measured then return x end
  return model.loss:standardise(measurement.add(model.simulator, z, model.loss:restore(x), rng))
end

--- The distribution's part of a step of stage 1, for each number of an output; nil: it is not trained.
-- @tparam Model model
-- @tparam tensor raw (N, …) the decoder's output
-- @tparam tensor code (N, size)
-- @tparam tensor z (N, K) in units
-- @tparam tensor x (N, …) standardised, without the noise of a measurement
-- @tparam rng rng
-- @treturn ?tensor one number
function likelihood.loss(model, raw, code, z, x, rng)
  local q = model.likelihood
  if not q.trained then return nil end
  x = flat(core.no_grad(seen, model, z, x, rng))
  return core.mean(q:log_prob(decoded(model, raw:detach()), code, x)) * (-1 / x.shape[2])
end

--- Measures what a distribution takes from samples after stage 1.
-- @tparam Model model
-- @tparam tensor z (N, K) in units
-- @tparam tensor x (N, …output) the simulator's, without the noise of a measurement
-- @tparam rng rng
function likelihood.fit(model, z, x, rng)
  local q, noise = model.likelihood, model.likelihood.net.buffers.measurement
  local scope <close> = core.scope()
  core.no_grad(function()
    if q.fit then
      local code, own = model.latent:to_code(z), flat(seen(model, z, model.loss:standardise(x), rng))
      local ys, codes, xs = {}, {}, {}
      for _, net in ipairs(decoders(model)) do
        for from = 1, x.shape[1], CHUNK do
          local inner <close> = core.scope()
          local to = math.min(from + CHUNK - 1, x.shape[1])
          ys[#ys + 1] = inner:keep(decoded(model, net(core.slice(code, 1, from, to))))
        end
        codes[#codes + 1], xs[#xs + 1] = code, own
      end
      q:fit(core.concat(ys, 1), core.concat(codes, 1), core.concat(xs, 1))
    end
    if noise then
      local away = model.loss:standardise(measurement.add(model.simulator, z, x, rng)) - model.loss:standardise(x)
      noise:copy(core.mean(core.square(flat(away)), 1))
    end
  end)
end

--- Whether all that a distribution takes from samples was measured.
function likelihood.fitted(model)
  local q, noise = model.likelihood, model.likelihood.net.buffers.measurement
  return not (q.fitted and not q:fitted() or noise and not noise:within(0, math.huge))
end

--- Draws outputs as they are measured, for the sleep phase.
-- @tparam Model model
-- @tparam tensor z (N, K) in units
-- @tparam tensor code (N, size) of them
-- @tparam rng rng
-- @treturn tensor (N, …output), of a model of sets (N, M, …output), as an encoder takes them
function likelihood.draw(model, z, code, rng)
  local M, raw = sets.size(model), drawn(model, code, rng)
  local shape = { raw.shape[1] * M, table.unpack(model.simulator.output) }
  local x = core.reshape(model.likelihood:draw(decoded(model, raw), code, M, rng), shape)
  if not model.likelihood.as_measured then x = levels.measured(model, z, x, rng) end
  return model.set and sets.grouped(x, M) or x
end

-- ---- use --------------------------------------------------------------------------------------

--- Raises for a model whose distribution is not known yet.
-- @tparam string what the method's name
-- @tparam Model model
-- @tparam integer level of its caller
function likelihood.check(what, model, level)
  local q = model.likelihood
  if q.trained and (model.trained.decoder or 0) == 0 then
    check.fail(level, "%s: the decoder's distribution \"%s\" has not been trained: model:train { … }", what, q.name)
  elseif not likelihood.fitted(model) then
    check.fail(level, "%s: the noise of the decoder has not been measured, as %s", what,
      (model.trained.decoder or 0) == 0 and "the model has not been trained: model:train { … }"
        or "an earlier version trained this model: model:train_decoder { steps = 0 } measures it")
  end
end

-- The log density per unit of each element less that in the networks' units.
local function log_scale(model)
  local std = model.loss.std
  if not std then return 0 end
  return -core.sum(core.log(core.expand(std, model.simulator.output))):item()
end

-- log q(x | z) in the networks' units: x (R, count), code (R, size) -> (R,); of an ensemble the mean of its densities.
local function log_prob(model, x, code, variance)
  local logs = {}
  for i, net in ipairs(decoders(model)) do
    logs[i] = model.likelihood:log_prob(decoded(model, net(code)), code, x, variance)
  end
  return #logs == 1 and logs[1] or core.logsumexp(core.stack(logs, 2), 2) - math.log(#logs)
end

--- log q(x | z) with gradients, for training: outputs as measured beside one code each.
-- @tparam Model model without levels of noise, and of single outputs
-- @tparam tensor x (N, …output), standardised
-- @tparam tensor code (N, size)
-- @treturn tensor (N,), in the units that networks see
function likelihood.density(model, x, code)
  return log_prob(model, flat(x), code, variance_of(model))
end

--- log q(x | z) at codes, in pieces, without checks; of sets the sum over their measurements.
-- @tparam Model model
-- @tparam tensor x (N, …output) as measured, in units; of a model of sets also (N, m, …output)
-- @tparam tensor codes (N, M, size)
-- @tparam ?tensor given (N,) levels of the noise (simvae.model.levels)
-- @treturn tensor (N, M)
function likelihood.at(model, x, codes, given)
  if sets.is(model, x) then
    local total
    for m = 1, x.shape[2] do
      local one = core.reshape(core.slice(x, 2, m, m), x.shape[1], table.unpack(model.simulator.output))
      local log = likelihood.at(model, one, codes, given)
      total = total and total + log or log
    end
    return total
  end
  local n, M, size = table.unpack(codes.shape)
  local own = core.reshape(model.loss:standardise(x), n, 1, -1)
  local count, variance, scale = own.shape[3], variance_of(model, given), log_scale(model)
  local step = math.max(1, NUMBERS // (16 * count))
  local outputs = math.max(1, step // M) -- outputs of a piece, each with `columns` codes
  local columns = outputs > 1 and M or math.min(M, step)
  local rows = {}
  for i = 1, n, outputs do
    local last, row = math.min(i + outputs - 1, n), {}
    local k = last - i + 1
    for j = 1, M, columns do
      local scope <close> = core.scope()
      local to = math.min(j + columns - 1, M)
      local width = to - j + 1
      local code = core.reshape(core.slice(core.slice(codes, 1, i, last), 2, j, to), k * width, size)
      local function each(t) return core.reshape(core.expand(core.slice(t, 1, i, last), k, width, count), -1, count) end
      local added = given and each(core.reshape(variance, n, 1, count)) or variance
      row[#row + 1] = scope:keep(core.reshape(log_prob(model, each(own), code, added) + scale, k, width))
    end
    rows[#rows + 1] = #row == 1 and row[1] or core.concat(row, 2)
  end
  return #rows == 1 and rows[1] or core.concat(rows, 1)
end

--- The logarithm of the likelihood q(x | z) of outputs as measured, per unit of each element. It holds the decoder's
-- distribution (what the simulator draws, and the decoder's errors) and the noise of a measurement that the simulator
-- declares.
-- @tparam tensor x (N, …output), or one output
-- @tparam tensor z (N, K), a row for each output, or (N, M, K), M rows for each; in units
-- @tparam ?table t options
-- @treturn tensor (N,) or (N, M)
-- @raise a model whose decoder has not been trained
-- @usage print(model:log_likelihood(x, z)[1])
function Model:log_likelihood(x, z, t)
  x = input.outputs("log_likelihood", self, x)
  local noise = levels.read("log_likelihood", self, t, x.shape[1])
  likelihood.check("log_likelihood", self, 3)
  if type(z) == "table" and getmetatable(z) == nil then z = core.tensor(z) end
  local names, N = self.simulator.names, x.shape[1]
  local K = #names
  if getmetatable(z) ~= core.metatable or z.ndim < 2 or z.ndim > 3 or z.shape[1] ~= N or z.shape[z.ndim] ~= K then
    check.fail(2, "log_likelihood: z takes a tensor (%d, %d) or (%d, M, %d), of parameters %s; got %s", N, K, N, K,
      table.concat(names, ", "), check.describe(z))
  end
  local M = z.ndim == 3 and z.shape[2] or 1
  if N * M == 0 then return core.zeros(z.ndim == 3 and { N, M } or { N }) end
  local rows = input.parameters("log_likelihood", self, core.reshape(z, N * M, K))
  self.decoder:eval()
  local result = core.no_grad(function()
    return likelihood.at(self, x, core.reshape(self.latent:to_code(rows), N, M, self.latent.size), noise)
  end)
  return z.ndim == 3 and result or core.reshape(result, N)
end

local sample_options = check.declare("model:decode", {
  samples = { "integer", min = 1, max = 1 << 24,
    doc = "how many draws of q(x | z) for each row, in place of one prediction; default: none" },
  rng = { "rng", doc = "of the draws" },
  noise = { "boolean|number|table|tensor", default = true,
    doc = "adds the noise of a measurement that the simulator declares to draws; of a range of levels: the level, a "
      .. "number or one for each row" },
  extra = { "table|tensor",
    doc = "of a model with extra latents, (N, extra): their values, a row for each of z; not with samples; default: "
      .. "the prediction from the parameters alone" },
})

-- n draws for each row of z, in units; given: levels of the noise.
local function draws(self, z, n, rng, noise, given)
  local code, N = self.latent:to_code(z), z.shape[1]
  local x
  if self.decoder.members then
    code = repeat_rows(code, n)
    x = self.likelihood:draw(decoded(self, drawn(self, code, rng)), code, 1, rng)
  else
    x = self.likelihood:draw(decoded(self, self.decoder(code)), code, n, rng)
  end
  x = self.loss:restore(core.reshape(x, N * n, table.unpack(self.simulator.output)))
  if noise and self.simulator.noise and not self.likelihood.as_measured then
    x = measurement.add(self.simulator, repeat_rows(z, n), x, rng, given and repeat_rows(given, n))
  end
  return core.reshape(x, N, n, table.unpack(self.simulator.output))
end

--- Draws of q(x | z), for model:decode(z, { samples = n, rng = }).
-- @tparam Model self
-- @tparam tensor z (N, K), checked
-- @tparam table t samples, rng, noise
-- @tparam integer level of the caller of decode
-- @treturn tensor (N, n, …output)
function likelihood.samples(self, z, t, level)
  t = check.options("decode", t, sample_options, level + 1)
  if not t.samples then check.fail(level, "decode: option 'samples' is missing: how many draws of q(x | z)") end
  check.value("decode", "rng", t.rng, sample_options.rng, level)
  likelihood.check("decode", self, level + 1)
  local given
  if t.noise then
    local levels_given = t.noise ~= true and t.noise or nil
    given = measurement.levels("decode", self.simulator, levels_given, z.shape[1], level)
  elseif self.likelihood.as_measured then
    check.fail(level, "decode: noise = false is not known to the decoder's distribution \"%s\", which is of outputs "
      .. "as measured", self.likelihood.name)
  end
  if z.shape[1] == 0 then return core.zeros { 0, t.samples, table.unpack(self.simulator.output) } end
  local step, parts = math.max(1, NUMBERS // (check.count(self.simulator.output) * t.samples)), {}
  for from = 1, z.shape[1], step do
    local scope <close> = core.scope()
    local part = core.slice(z, 1, from, math.min(from + step - 1, z.shape[1]))
    parts[#parts + 1] = scope:keep(core.no_grad(draws, self, part, t.samples, t.rng, t.noise,
      levels.part(given, from, from + part.shape[1] - 1)))
  end
  return #parts == 1 and parts[1] or core.concat(parts, 1)
end

return likelihood
