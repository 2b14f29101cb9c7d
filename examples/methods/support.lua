--- What the methods of this folder share: the pool of samples, networks, distributions, and the loop of steps.
--
-- A method is a file of this folder. It returns a function(run, options) that trains and returns an answer, a table:
--
--     latents(x)     tensor (N, …output) -> (N, L): one number a latent, in evaluation mode
--     decode(v)      tensor (N, L) -> (N, …output); nil of a method without a decoder
--     named          true where latent i is parameter i in units, which the simulator can be run on again
--     levels         { [i] = classes } of latents that are classes
--     range(i)       low, high of latent i, for traversals; default -2 to 2
--
-- and a run, made by support.run, is what it is given: the simulator, its samples, the nets' settings and the budget.
-- Nothing here is specific to a method.
local check = require "simvae.util.check"
local sv = require "simvae"

local support = {}

local LOG_2PI = math.log(2 * math.pi)
local STANDARDISED_ON = 2000 -- samples that the scale of vector outputs is measured on
local EVALUATED = 250        -- outputs that a network takes at a time

-- ---- samples -----------------------------------------------------------------------------------

local Pool = {}
Pool.__index = Pool

--- A fixed number of samples of a simulator, the data budget of all methods. Parameters are kept; outputs are
-- simulated again when they are used, which costs less than keeping images.
-- @tparam Simulator sim deterministic
-- @tparam integer count samples
-- @tparam integer seed
-- @treturn Pool with fields sim, count and z (count, K)
-- @raise a count below 1
function support.pool(sim, count, seed)
  check.value("pool", "count", count, { "integer", min = 1 })
  local rng = sv.rng(seed)
  local self = setmetatable({ sim = sim, count = count, z = sv.buffer(sim:sample(count, rng)), rng = rng, used = 0 },
    Pool)
  self.rows = self.z:totable()
  return self
end

--- The next n samples; epochs have orders of their own.
-- @tparam integer n
-- @tparam ?integer among the first samples of the pool that are used (such as the labelled ones); default: all
-- @treturn tensor z (n, K), in units
-- @treturn tensor x (n, …output)
function Pool:next(n, among)
  local rows = {}
  for i = 1, n do rows[i] = self.rows[among and self.rng:integer(1, among) or self:draw()] end
  local z = sv.tensor(rows)
  return z, self.sim:run(z)
end

-- The number of the next sample of the epoch.
function Pool:draw()
  local place = self.used % self.count + 1
  if place == 1 then self.order = self.rng:permutation(self.count):totable() end
  self.used = self.used + 1
  return math.tointeger(self.order[place])
end

-- ---- outputs -----------------------------------------------------------------------------------

-- The distribution of an output about the decoder's raw numbers: of images in [0, 1] Bernoulli pixels by their logits,
-- of vectors, standardised, normal with a standard deviation of 1.
local function outputs(pool)
  if #pool.sim.output == 3 then
    return {
      seen = function(x) return x end,
      restore = sv.sigmoid,
      loss = function(raw, x) return sv.bce_with_logits(raw, x, "sum") / x.shape[1] end,
    }
  end
  local _, x = pool:next(math.min(STANDARDISED_ON, pool.count))
  local mean, std = sv.buffer(sv.mean(x, 1, true)), sv.buffer(sv.sqrt(sv.var(x, 1, true)) + 1e-6)
  return {
    seen = function(y) return (y - mean) / std end,
    restore = function(raw) return raw * std + mean end,
    loss = function(raw, y) return sv.mse_loss(raw, y, "sum") * (0.5 / y.shape[1]) end,
  }
end

-- ---- a run -------------------------------------------------------------------------------------

local Run = {}
Run.__index = Run

local fields = {
  simulator = { "table", required = true },
  net = { "string", required = true },
  width = { "integer", required = true, min = 1 },
  steps = { "integer", required = true, min = 1 },
  batch = { "integer", default = 64, min = 2 },
  samples = { "integer", required = true, min = 2 },
  lr = { "number", default = 1e-3, above = 0 },
  seed = { "integer", default = 1, min = 0 },
  watch = { "function" },
}

--- A method's surroundings: { simulator =, net = "dcgan" or another of sv.nets, width =, steps =, batch =, samples =
-- the data budget, lr = peak of a cosine, seed =, watch = function(step, steps, loss) }.
-- @tparam table t
-- @treturn Run with these fields, and pool, rng, code (sv.code), loss(raw, x), seen(x), restore(raw), curves
-- @raise unknown fields
function support.run(t)
  local self = check.options("methods.run", t, fields)
  self.sim, self.rng, self.code = self.simulator, sv.rng(self.seed), sv.code(self.simulator)
  self.pool = support.pool(self.sim, self.samples, self.seed + 1000)
  for name, f in pairs(outputs(self.pool)) do self[name] = f end
  self.curves = {}
  return setmetatable(self, Run)
end

--- The nets that all methods share.
-- @tparam integer code inputs of the decoder
-- @tparam integer heads outputs of the encoder
-- @treturn Layer decoder
-- @treturn Layer encoder
function Run:nets(code, heads)
  return sv.nets[self.net] { code = code, heads = heads, output = self.sim.output, width = self.width, rng = self.rng }
end

--- The next batch: parameters in units, and outputs as networks see them.
-- @tparam ?integer n default: the run's batch
-- @tparam ?integer among as of Pool:next
-- @treturn tensor z
-- @treturn tensor x
function Run:next(n, among)
  local z, x = self.pool:next(n or self.batch, among)
  return z, self.seen(x)
end

-- The parameters of several layers in one list.
local function parameters_of(layers)
  local list = {}
  for _, layer in ipairs(layers) do
    for _, p in ipairs(layer:parameters()) do list[#list + 1] = p end
  end
  return list
end

--- A player: layers and the Adam that trains them, with a learning rate that falls by half a cosine.
-- @tparam {Layer,...} layers
-- @tparam ?table o beta1, and lr in place of the run's
-- @treturn table for Run:train
function Run:player(layers, o)
  o = o or {}
  for _, layer in ipairs(layers) do layer:train() end
  return { layers = layers, optimizer = sv.optim.adam(parameters_of(layers),
    { lr = sv.optim.cosine(o.lr or self.lr, self.steps), beta1 = o.beta1 or 0.9 }) }
end

--- Trains players in turn in each step. The losses go to run.curves, rows { step, one number a player }.
-- @tparam table players of Run:player, each with loss = function(step) -> tensor of one number; gradients of the
-- others' parameters are discarded
-- @raise a loss that is not finite
function Run:train(players)
  for step = 1, self.steps do
    local row = { step }
    for i, player in ipairs(players) do
      local tape <close> = sv.tape()
      local loss = player.loss(step)
      row[i + 1] = loss:item()
      if row[i + 1] ~= row[i + 1] or math.abs(row[i + 1]) == math.huge then
        error(string.format("the loss became %s at step %d", row[i + 1], step), 0)
      end
      tape:backward(loss)
      player.optimizer:step()
      for j, other in ipairs(players) do
        if j ~= i then other.optimizer:zero_grad() end
      end
    end
    self.curves[step] = row
    if self.watch then self.watch(step, self.steps, row[2]) end
    if step % 50 == 0 then collectgarbage() end
  end
  for _, player in ipairs(players) do
    for _, layer in ipairs(player.layers) do layer:eval() end
  end
end

--- A function applied to a few rows at a time, without gradients.
-- @tparam function f tensor (n, …) -> tensor (n, …)
-- @treturn function of a tensor of any number of rows
function support.batched(f)
  return function(x)
    return sv.no_grad(function()
      local parts, n = {}, x.shape[1]
      for from = 1, n, EVALUATED do parts[#parts + 1] = f(sv.slice(x, 1, from, math.min(n, from + EVALUATED - 1))) end
      return sv.concat(parts, 1)
    end)
  end
end

--- The answer of a variational autoencoder: latents are the means of q(z | x).
-- @tparam Layer decoder
-- @tparam Layer encoder (N, …) -> (N, 2 L)
-- @treturn table answer
function Run:autoencoder(decoder, encoder)
  return {
    latents = support.batched(function(x) return (support.split(encoder(self.seen(x)))) end),
    decode = support.batched(function(v) return self.restore(decoder(v)) end),
  }
end

--- The answer of a method whose latents are the simulator's parameters.
-- @tparam ?function inferred outputs (N, …) -> codes (N, code.size)
-- @tparam ?Layer decoder codes (N, code.size) -> outputs
-- @treturn table answer
function Run:named(inferred, decoder)
  local params, levels = self.sim.params, {}
  for i, p in ipairs(params) do levels[i] = p.levels end
  return {
    latents = inferred and function(x) return self.code:to_units(inferred(x)) end,
    decode = decoder and support.batched(function(v) return self.restore(decoder(self.code:from_units(v))) end),
    named = true, levels = levels,
    range = function(i) return params[i].levels and 1 or params[i].low, params[i].levels or params[i].high end,
  }
end

--- Sets the running statistics of a layer's batch norms by outputs of the simulator, where they were trained on others.
-- @tparam Layer layer
-- @tparam integer batches
function Run:settle(layer, batches)
  layer:train()
  for _ = 1, batches do
    local scope <close> = sv.scope()
    sv.no_grad(function()
      local _, x = self:next()
      return layer(x)
    end)
  end
  layer:eval()
end

-- ---- evaluation --------------------------------------------------------------------------------

-- Columns on the scales that mutual information compares: the logarithms of log-scaled parameters.
local function scaled(params, z)
  local rows = z:totable()
  for _, row in ipairs(rows) do
    for i, p in ipairs(params) do
      if p.scale == "log" then row[i] = math.log(math.max(row[i], p.low * 1e-3)) end
    end
  end
  return sv.tensor(rows)
end

-- Estimates within the parameters' bounds.
local function within(params, z)
  local rows = z:totable()
  for _, row in ipairs(rows) do
    for i, p in ipairs(params) do
      local low, high = p.levels and 1 or p.low, p.levels or p.high
      row[i] = math.min(math.max(p.levels and math.floor(row[i] + 0.5) or row[i], low), high)
    end
  end
  return sv.tensor(rows)
end

-- Squared errors of outputs, over batches, and their variance about the mean output.
local function errors()
  local n, size, total, squares, sum = 0, 0, 0, 0, nil
  return {
    add = function(x, y)
      local scope <close> = sv.scope()
      n, size = n + x.shape[1], x.count // x.shape[1]
      total = total + sv.mse_loss(y, x):item() * x.count
      squares = squares + sv.mean(sv.square(x)):item() * x.count
      local now = sv.sum(x, 1)
      sum = sv.buffer(sum and sum + now or now)
    end,
    mse = function() return total / (n * size) end,
    r2 = function()
      local variance = squares - sv.mean(sv.square(sum)):item() * size / n
      return 1 - total / variance
    end,
  }
end

local CHUNK = 500 -- outputs that are in memory at a time

--- How good a method's latents and outputs are, on fresh samples.
-- @tparam table answer
-- @tparam Simulator sim
-- @tparam table o samples, seed, factors: numbers of the parameters that `mig` is averaged over
-- @treturn table mig, and mig_all over all parameters; mim (rows: latents), sap, disentanglement, completeness,
--   informativeness; reconstruction (mean squared error of an output number) and reconstruction_r2, of
--   decode(latents(x)); resimulation_r2 of a named answer
-- @raise latents that are not finite
function support.evaluate(answer, sim, o)
  local rng, z, v = sv.rng(o.seed), {}, {}
  local rebuilt, again = answer.decode and errors(), answer.named and errors()
  for from = 1, o.samples, CHUNK do
    local scope <close> = sv.scope()
    local known, x = sv.simulate(sim, math.min(CHUNK, o.samples - from + 1), rng)
    local latents = answer.latents(x)
    local finite, at = latents:finite()
    if not finite then error(string.format("evaluate: latent %d is not finite", (at - 1) % latents.shape[2] + 1), 0) end
    if rebuilt then rebuilt.add(x, answer.decode(latents)) end
    if again then again.add(x, sim:run(within(sim.params, latents))) end
    for _, row in ipairs(known:totable()) do z[#z + 1] = row end
    for _, row in ipairs(latents:totable()) do v[#v + 1] = row end
  end
  local levels, names = {}, {}
  for i, p in ipairs(sim.params) do names[i], levels[i] = p.name, p.levels end
  local latents = answer.named and scaled(sim.params, sv.tensor(v)) or sv.tensor(v)
  local truth = scaled(sim.params, sv.tensor(z))
  local mim = sv.metrics.mim(latents, truth,
    { levels = levels, names = names, z_levels = answer.levels, constant = "zero" })
  local r = { mig_all = sv.metrics.mig(mim), mim = mim:totable() }
  local chosen = {}
  for k, row in ipairs(r.mim) do
    chosen[k] = {}
    for i, j in ipairs(o.factors) do chosen[k][i] = row[j] end
  end
  r.mig = sv.metrics.mig(chosen)
  r.sap = sv.metrics.sap(latents, truth, { levels = levels, names = names })
  local dci = sv.metrics.dci(latents, truth, { levels = levels, names = names })
  r.disentanglement, r.completeness, r.informativeness = dci.disentanglement, dci.completeness, dci.informativeness
  if rebuilt then r.reconstruction, r.reconstruction_r2 = rebuilt.mse(), rebuilt.r2() end
  if again then r.resimulation_r2 = again.r2() end
  return r
end

-- ---- distributions -----------------------------------------------------------------------------

--- Halves of an encoder's outputs.
-- @tparam tensor h (N, 2 L)
-- @treturn tensor mean (N, L)
-- @treturn tensor logarithm of the standard deviation (N, L), within 7 of 0
-- @raise an odd number of columns
function support.split(h)
  local L = h.shape[2] // 2
  if h.shape[2] ~= 2 * L then
    check.fail(2, "split: takes means and as many log standard deviations; got %d columns", h.shape[2])
  end
  return sv.slice(h, 2, 1, L), sv.tanh(sv.slice(h, 2, L + 1, 2 * L) / 7) * 7
end

--- A draw of N(mean, exp(log_std)^2), through which gradients pass (reparameterisation: Kingma and Welling 2014).
-- @tparam tensor mean
-- @tparam tensor log_std of the same shape
-- @tparam rng rng
-- @treturn tensor
function support.sample(mean, log_std, rng)
  return mean + sv.exp(log_std) * rng:normal(0, 1, mean.shape)
end

--- KL[N(mean, exp(log_std)^2) || N(0, std^2)]: the sum over latents, averaged over rows.
-- @tparam tensor mean (N, L)
-- @tparam tensor log_std (N, L)
-- @tparam ?number std of the prior; default 1
-- @treturn tensor one number
function support.kl(mean, log_std, std)
  std = std or 1
  return sv.gaussian_kl(mean / std, log_std - math.log(std), "sum") / mean.shape[1]
end

--- log N(z; mean, exp(log_std)^2), broadcast.
-- @treturn tensor
function support.log_normal(z, mean, log_std)
  return sv.square((z - mean) * sv.exp(-log_std)) * -0.5 - log_std - 0.5 * LOG_2PI
end

--- The parts of the mean KL of a batch (Chen et al. 2018, eq. 2): index-code mutual information, total correlation and
-- dimension-wise KL. The density of the aggregate posterior q(z) at a draw of q(z | x_i) is estimated from the batch:
-- q(z | x_i) with a weight of 1 / count, the other rows with the rest in equal parts (stratified: Chen et al. 2018,
-- appendix C.2); of a batch that is the whole data set this is q(z) itself.
-- @tparam tensor z (N, L) draws of q(z | x)
-- @tparam tensor mean (N, L)
-- @tparam tensor log_std (N, L)
-- @tparam integer count of the data set
-- @treturn tensor mutual information
-- @treturn tensor total correlation
-- @treturn tensor dimension-wise KL; together with the others an estimate of the KL
-- @raise a data set smaller than the batch
function support.decomposition(z, mean, log_std, count)
  local N, L = z.shape[1], z.shape[2]
  if N < 2 or count < N then
    check.fail(2, "decomposition: takes a batch of 2 or more of a data set that is no smaller; got %d of %d", N, count)
  end
  local each = support.log_normal(z:reshape(N, 1, L), mean:reshape(1, N, L), log_std:reshape(1, N, L)) -- (N, N, L)
  local own, other = -math.log(count), math.log((count - 1) / (count * (N - 1)))
  local weights = sv.one_hot(sv.arange(1, N), N) * (own - other) + other -- their logarithms
  local joint = sv.logsumexp(sv.sum(each, 3) + weights, 2)                                 -- log q(z)
  local single = sv.sum(sv.logsumexp(each + weights:reshape(N, N, 1), 2), 2)               -- log prod q(z_l)
  local given = sv.sum(support.log_normal(z, mean, log_std), 2)                            -- log q(z | x)
  local prior = sv.sum(support.log_normal(z, sv.zeros(1, L), sv.zeros(1, L)), 2)
  return sv.mean(given - joint), sv.mean(joint - single), sv.mean(single - prior)
end

--- Draws of the product of the marginals: each column in an order of its own (Kim and Mnih 2018, algorithm 1).
-- @tparam tensor z (N, L)
-- @tparam rng rng
-- @treturn tensor (N, L), without a gradient
function support.permute(z, rng)
  local N, columns = z.shape[1], {}
  for l = 1, z.shape[2] do columns[l] = rng:permutation(N):reshape(N, 1) end
  return sv.gather(z:detach(), sv.concat(columns, 2), 1)
end

--- A classifier that tells draws of q(z) from those of the product of its marginals. Trained by ratio_loss, its output
-- is the logarithm of their densities' ratio, and its mean over draws of q(z) the total correlation.
-- @tparam integer latents
-- @tparam integer width of its three hidden layers
-- @tparam rng rng of initial weights
-- @treturn Layer (N, L) -> (N, 1)
function support.ratio(latents, width, rng)
  local function hidden(from) return sv.nn.linear(from, width, { rng = rng }) end
  return sv.nn.sequential {
    hidden(latents), sv.nn.leaky_relu(0.2), hidden(width), sv.nn.leaky_relu(0.2), hidden(width), sv.nn.leaky_relu(0.2),
    sv.nn.linear(width, 1, { rng = rng }),
  }
end

--- The classifier's cross-entropy.
-- @tparam Layer ratio
-- @tparam tensor joint (N, L) draws of q(z)
-- @tparam tensor product (M, L) of the product of the marginals
-- @treturn tensor one number
function support.ratio_loss(ratio, joint, product)
  local a, b = ratio(joint), ratio(product)
  return (sv.bce_with_logits(a, sv.ones(a.shape)) + sv.bce_with_logits(b, sv.zeros(b.shape))) * 0.5
end

return support
