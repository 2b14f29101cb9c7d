--- The parameters of outputs, as a trained model infers them: estimates, components, and the whole posterior.
local check = require "simvae.util.check"
local core = require "simvae.core"
local focus = require "simvae.model.focus"
local input = require "simvae.model.input"
local levels = require "simvae.model.levels"
local notice = require "simvae.model.notice"
local novelty = require "simvae.model.novelty"
local posterior = require "simvae.model.posterior"
local recalibration = require "simvae.model.recalibration"
local sets = require "simvae.model.sets"
local take_rows = require "simvae.util.take_rows"

local Model = {} -- methods that simvae.model takes over
local inference = { methods = Model }

local CHUNK = 256 -- samples per chunk outside training

--- Applies f(chunk, rows before it) to chunks of rows of x, and joins each of its results.
function inference.in_chunks(x, f)
  local n = x.shape[1]
  local parts = {}
  for from = 1, math.max(n, 1), CHUNK do
    local scope <close> = core.scope()
    local to = math.min(from + CHUNK - 1, n)
    local results = table.pack(core.no_grad(f, n <= CHUNK and x or core.slice(x, 1, from, to), from - 1))
    for i = 1, results.n do
      parts[i] = parts[i] or {}
      parts[i][#parts[i] + 1] = scope:keep(results[i])
    end
  end
  local joined = {}
  for i, list in ipairs(parts) do joined[i] = #list == 1 and list[1] or core.concat(list, 1) end
  return table.unpack(joined)
end

-- For each sample the numbers of the codes sorted by the decoder's error, the smallest first.
local function order_of(self, codes, x)
  local n, count, misfits = x.shape[1], #codes, {}
  for a, code in ipairs(codes) do
    local scope <close> = core.scope()
    misfits[a] = sets.misfit(self.loss, self.decoder(code), x):totable()
    for i, v in ipairs(misfits[a]) do misfits[a][i] = v == v and v or math.huge end
  end
  local order = {}
  for a = 1, count do order[a] = {} end
  for i = 1, n do
    local list = {}
    for a = 1, count do list[a] = a end
    table.sort(list, function(a, b)
      if misfits[a][i] == misfits[b][i] then return a < b end
      return misfits[a][i] < misfits[b][i]
    end)
    for rank, a in ipairs(list) do order[rank][i] = a end
  end
  return order
end

--- The posterior's candidates, sorted by the decoder's error.
-- @tparam tensor x (N, …), as the encoder takes it
-- @tparam ?integer n starts of an inversion that are wanted
-- @treturn {tensor,...} codes (N, size)
-- @treturn {tensor,...} their standard deviations (N, size)
-- @usage
-- local codes = model:ranked(x, 2)
-- print(#codes, codes[1].shape)
function Model:ranked(x, n)
  local codes, spreads = self.head:candidates(self:encoder_outputs(x), n)
  if #codes == 1 then return codes, spreads end
  local size = codes[1].shape[2]
  local all, all_spreads = core.stack(codes, 2), core.stack(spreads, 2)
  local means, stds = {}, {}
  for rank, list in ipairs(order_of(self, codes, levels.plain(self.simulator, x))) do
    local index = core.tensor(list)
    means[rank] = core.reshape(take_rows(all, index), #list, size)
    stds[rank] = core.reshape(take_rows(all_spreads, index), #list, size)
  end
  return means, stds
end

-- Rows of outputs as the encoder takes them: those behind `before` of a batch.
local function seen(self, x, noise, before)
  return levels.seen(self, x, levels.part(noise, before + 1, before + x.shape[1]))
end

-- Sets the networks to evaluation mode.
local function settle(self)
  self.encoder:eval()
  self.decoder:eval()
  if self.head.net then self.head.net:eval() end
end

--- Infers the parameters of outputs: one estimate and its spread. For a mixture it is the component whose decoded
-- output is closest, which may be far from the posterior's mean (see posterior); for a flow the mean of 128 draws, or
-- where that is unlikely, as between two modes, the centre of one group of them, chosen likewise. std of a flow is that
-- of all draws, on a log scale relative to the estimate; that in units is model:posterior(x):std().
-- @tparam tensor x (N, …output), or one output
-- @tparam ?table t options
-- @treturn tensor mean (N, K), in the simulator's units
-- @treturn tensor std (N, K), in the same units
-- @raise outputs of another shape, or that are not finite; a level of the noise that is missing or outside its range
-- @usage
-- local mean, std = model:encode(x)
-- print(mean[1], std[1])
function Model:encode(x, t)
  x = input.outputs("encode", self, x)
  local noise = levels.read("encode", self, t, x.shape[1])
  settle(self)
  return inference.in_chunks(x, function(part, before)
    part = seen(self, part, noise, before)
    local codes, spreads = self:ranked(part)
    novelty.check("encode", self, part, function() return codes[1] end, before)
    local mean, std = self.latent:to_units(codes[1], spreads[1])
    return mean, recalibration.spread(self, std)
  end)
end

--- The numbers of the model's own head for outputs that were checked, without a notice of unusual ones.
-- @tparam Model self
-- @tparam tensor x (N, …output)
-- @tparam ?tensor noise (N,) levels
-- @tparam ?function look (x as seen, h, rows before them)
-- @treturn tensor (N, outputs)
function inference.numbers(self, x, noise, look)
  settle(self)
  return (inference.in_chunks(x, function(part, before)
    part = seen(self, part, noise, before)
    local h = self:encoder_outputs(part)
    if look then look(part, h, before) end
    return h
  end))
end

-- Reports unusual outputs, by the decoder's error for the most probable code.
local function check_novelty(what, self, x, h, before)
  novelty.check(what, self, x, function() return self.head:typical(h) end, before)
end

--- The components of a posterior that is a mixture of normal distributions (of "gaussian": one).
-- @tparam tensor x (N, …output), or one output
-- @tparam ?table t options
-- @treturn tensor means (N, A, K), in the simulator's units; A is `components` of sv.model
-- @treturn tensor standard deviations (N, A, K), in the same units
-- @treturn tensor probabilities (N, A)
-- @raise a posterior without components
-- @usage
-- local mixture = sv.model { simulator = ring, width = 8, posterior = "mixture", components = 3 }
-- local means, stds, shares = mixture:infer(x)
-- print(means.shape, stds.shape, shares.shape)
function Model:infer(x, t)
  x = input.outputs("infer", self, x)
  local noise = levels.read("infer", self, t, x.shape[1])
  local head = self.head
  if not head.components then
    check.fail(2, "infer: the posterior \"%s\" has no components; model:posterior(x) gives its samples and density",
      head.name)
  end
  settle(self)
  return inference.in_chunks(x, function(part, before)
    part = seen(self, part, noise, before)
    local h = self:encoder_outputs(part)
    check_novelty("infer", self, part, h, before)
    local codes, spreads, shares = head:components(h)
    local n, A, size = table.unpack(codes.shape)
    local mean, std = self.latent:to_units(core.reshape(codes, n * A, size), core.reshape(spreads, n * A, size))
    local K = mean.shape[2]
    return core.reshape(mean, n, A, K), core.reshape(std, n, A, K), shares
  end)
end

--- The posterior q(z | x) of outputs: samples, densities, mean, standard deviation, quantiles and mode
-- (simvae.model.posterior).
-- @tparam tensor x (N, …output), or one output; of a model of sets (N, M, …output), M measurements each
-- @tparam ?table t options
-- @treturn Posterior of N outputs
-- @raise outputs of another shape, or that are not finite; a level of the noise that is missing or outside its range
-- @usage
-- local q = model:posterior(x[1])
-- local draws = q:sample(1000, sv.rng(3))
-- local interval = q:quantile { 0.05, 0.95 }
-- print(draws.shape, interval.shape)
-- print(q:mean())
-- print(q:std())
function Model:posterior(x, t)
  x = input.outputs("posterior", self, x)
  local noise = levels.read("posterior", self, t, x.shape[1])
  focus.check("posterior", self, x)
  if type(self.net) == "string" and (self.trained.encoder or 0) + (self.trained.sleep or 0) == 0 then
    notice(self, "untrained", "posterior: the model's encoder has not been trained")
  end
  return posterior.new(self, inference.numbers(self, x, noise, function(part, h, before)
    check_novelty("posterior", self, part, h, before)
  end), x, noise)
end

return inference
