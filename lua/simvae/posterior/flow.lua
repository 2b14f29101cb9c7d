--- A neural spline flow over the unit cube of the parameters: a normalised density of any shape on the prior's
-- support. Classes come first, each by probabilities that depend on those before it; the flow of the other parameters
-- is conditioned on them. Trained by likelihood on draws of the prior that went through the decoder and its noise
-- (neural posterior estimation: Papamakarios and Murray 2016; the sleep phase of wake-sleep).
local categorical = require "simvae.posterior.support.categorical"
local core = require "simvae.core"
local coupling = require "simvae.posterior.support.coupling"
local cube = require "simvae.posterior.support.cube"
local estimates = require "simvae.posterior.support.estimates"
local nn = require "simvae.nn"
local streams = require "simvae.util.streams"
local stretch = require "simvae.posterior.support.stretch"
local repeat_rows = require "simvae.util.repeat_rows"

local FEATURES = 64      -- outputs of the encoder
local HIDDEN = 64        -- units of the layers that give probabilities of classes
local DRAWS = 128        -- of a posterior, for its mean and spread in code space

local Flow = {}
Flow.__index = Flow

local flow = { options = {
  transforms = { "integer", default = 5, min = 1, max = 64, doc = "coupling transforms of the flow" },
  bins = { "integer", default = 10, min = 2, max = 64, doc = "bins of each of its splines" },
} }

--- A head for a latent space: t.latent, and the options, checked, t.transforms and t.bins.
function flow.new(t)
  local self = setmetatable({ latent = t.latent, transforms = t.transforms, bins = t.bins, outputs = FEATURES,
    locations = { count = 1, size = FEATURES // 4 }, likelihood = true, classes = {}, places = {}, circle = {},
    context = FEATURES }, Flow)
  local shaped = {}
  for i, part in ipairs(t.latent.parts) do
    local kind = cube.kind(part)
    if kind == "class" then
      self.classes[#self.classes + 1] = { at = i, levels = part.param.levels }
      self.context = self.context + part.param.levels
    else
      self.places[#self.places + 1] = i
      self.circle[#self.circle + 1] = kind == "circle"
      shaped[#shaped + 1] = part.param.prior ~= nil
    end
  end
  self.stretch = stretch.new(shaped)
  if t.latent.size > FEATURES then self.supervised = false end
  return self
end

function Flow:build(rng)
  local inner, width = {}, FEATURES
  for k, class in ipairs(self.classes) do
    class.net = nn.sequential { nn.linear(width, HIDDEN, { std = math.sqrt(1 / width), rng = rng }), nn.silu(),
      nn.linear(HIDDEN, class.levels, { std = 0.01, rng = rng }) }
    inner[k], width = class.net, width + class.levels
  end
  if #self.places > 0 then
    self.flow = coupling { circle = self.circle, context = width, transforms = self.transforms, bins = self.bins,
      rng = rng }
    inner[#inner + 1] = self.flow
  end
  self.net = nn.layer { label = "flow posterior", inner = inner, forward = function() end }
end

-- Features of at most a root mean square of 1, which small ones nearly keep: without a bound those of pictures grow
-- within a few hundred steps of high learning rates until the density is no longer finite. Normalised to 1 (layer
-- normalisation) small differences between pictures are lost in what all of them share.
local function bounded(h)
  return h / core.sqrt(core.mean(core.square(h), 2, true) + 1)
end

-- ---- density ------------------------------------------------------------------------------

-- The columns of continuous parameters.
local function places_of(self, u)
  local columns = {}
  for k, i in ipairs(self.places) do columns[k] = cube.column(u, i) end
  return #columns == 1 and columns[1] or core.concat(columns, u.ndim)
end

-- The flow's log density over the cube, and its points for those of the base: context (R, F), points (R, M, D).
local function density(self, context, u)
  if not self.stretch then return (self.flow.density(context, u)) end
  local w, slope = self.stretch:of(u)
  return self.flow.density(context, w) + slope
end

local function from_base(self, transport, context, base)
  local w = transport(context, base)
  return self.stretch and self.stretch:back(w) or w
end

function Flow:log_prob(h, u)
  local N, M, K = u.shape[1], u.shape[2], u.shape[3]
  h = bounded(h)
  if #self.classes == 0 then return density(self, h, u) end
  local context, total = repeat_rows(h, M), nil
  local rows = core.reshape(u, N * M, K)
  for _, class in ipairs(self.classes) do
    local hot = cube.one_hot(cube.column(rows, class.at), class.levels)
    local log = core.sum(core.log_softmax(class.net(context), 2) * hot, 2)
    total = total and total + log or log
    context = core.concat({ context, hot }, 2)
  end
  if self.flow then
    local log = density(self, context, core.reshape(places_of(self, rows), N * M, 1, #self.places))
    total = total + core.reshape(log, N * M)
  end
  return core.reshape(total, N, M)
end

function Flow:loss(h, u)
  return -core.mean(self:log_prob(h, core.reshape(u, u.shape[1], 1, u.shape[2])))
end

--- Eq. 5: squared errors of codes and the cross-entropy of classes, summed over parameters and averaged over rows. The
-- first features are the estimates, and logits of classes; a flow that learns afterwards finds them there.
function Flow:supervised(h, code)
  local total = 0
  for _, part in ipairs(self.latent.parts) do
    local own, truth = core.slice(h, 2, part.first, part.last), core.slice(code, 2, part.first, part.last)
    total = total + (part.kind == "class" and core.cross_entropy(own, core.argmax(truth, 2))
      or core.mse_loss(own, truth, "sum") / h.shape[1])
  end
  return total
end

--- The joint probabilities of the classes (N, L1, L2, …): each class's given every combination of those before it.
function Flow:class_shares(h)
  local N, shape = h.shape[1], { h.shape[1] }
  local context, log = bounded(h), core.zeros(N, 1)
  for k, class in ipairs(self.classes) do
    local rows, levels = context.shape[1], class.levels
    log = core.reshape(core.reshape(log, rows, 1) + core.log_softmax(class.net(context), 2), N, -1)
    shape[#shape + 1] = levels
    if self.classes[k + 1] then
      local each = core.reshape(cube.of_class(core.arange(1, levels), levels), 1, levels)
      local u = core.reshape(core.expand(each, { rows, levels }), rows * levels, 1)
      context = core.concat({ repeat_rows(context, levels), cube.one_hot(u, levels) }, 2)
    end
  end
  return core.reshape(core.exp(log), shape)
end

-- ---- draws ----------------------------------------------------------------------------------

-- n draws for each row of h. uniform(count) gives so many uniform numbers for each of them: (N, n, count).
local function draws(self, h, n, uniform)
  local N, D, columns = h.shape[1], #self.places, {}
  h = bounded(h)
  local context, M = h, n
  if #self.classes > 0 then
    context, M = repeat_rows(h, n), 1
    for _, class in ipairs(self.classes) do
      local shares = core.softmax(class.net(context), 2)
      local drawn = categorical.of(core.reshape(shares, N * n, 1, class.levels),
        core.reshape(uniform(1), N * n, 1, 1))
      columns[class.at] = core.reshape(cube.of_class(drawn, class.levels), N, n, 1)
      context = core.concat({ context, cube.one_hot(core.reshape(columns[class.at], N * n, 1), class.levels) }, 2)
    end
  end
  if D > 0 then
    local base = core.reshape(uniform(D), context.shape[1], M, D)
    local u = core.reshape(from_base(self, self.flow.draw, context, base), N, n, D)
    if #self.classes == 0 then return u end
    for k, i in ipairs(self.places) do columns[i] = core.slice(u, 3, k, k) end
  end
  return #columns == 1 and columns[1] or core.concat(columns, 3)
end

function Flow:sample(h, n, rng)
  return draws(self, h, n, function(count) return rng:uniform(0, 1, { h.shape[1], n, count }) end)
end

--- Draws u (N, K) with gradients (the reparameterisation of Kingma and Welling 2014), where there are no classes.
function Flow:reparameterised(h, rng)
  local N, D = h.shape[1], #self.places
  return core.reshape(from_base(self, self.flow.transport, bounded(h), rng:uniform(0, 1, { N, 1, D })), N, D)
end

-- Mean codes and standard deviations (N, size): of a circle the mean direction, and the spread of the phase; of a class
-- its probabilities.
local function moments(self, codes)
  local n, means, stds = codes.shape[1], {}, {}
  for i, part in ipairs(self.latent.parts) do
    local c = core.slice(codes, 3, part.first, part.last)
    local mean = core.mean(c, 2)
    if part.kind == "circle" then
      means[i], stds[i] = estimates.direction(mean)
    else
      means[i], stds[i] = mean, core.sqrt(core.mean(core.square(c - core.reshape(mean, n, 1, c.shape[3])), 2))
    end
  end
  if #means == 1 then return means[1], stds[1] end
  return core.concat(means, 2), core.concat(stds, 2)
end

function Flow:uniforms() return #self.classes + #self.places end

--- The classes take the first of the uniform numbers.
function Flow:transport(h, v)
  local at = 0
  return draws(self, h, v.shape[2], function(count)
    at = at + count
    return core.slice(v, 3, at - count + 1, at)
  end)
end

-- Uniform numbers (N, DRAWS, count), the same for every row, so that an estimate does not depend on the batch.
local function same_uniforms(h)
  local rng = streams.estimates()
  return function(count) return core.expand(rng:uniform(0, 1, { 1, DRAWS, count }), { h.shape[1], DRAWS, count }) end
end

-- Draws u and their log densities (N, DRAWS).
local function draws_with_density(self, h)
  if #self.classes > 0 then
    local u = draws(self, h, DRAWS, same_uniforms(h))
    return u, self:log_prob(h, u)
  end
  local w, log = self.flow.draw_with_density(bounded(h), same_uniforms(h)(#self.places))
  if not self.stretch then return w, log end
  local u, slope = self.stretch:back(w, true)
  return u, log + slope
end

function Flow:estimate(h)
  local mean, std = moments(self, cube.to_code(self.latent, draws(self, h, DRAWS, same_uniforms(h))))
  return estimates.settled(self.latent, mean), std
end

--- The mean, or where that is unlikely the centres of groups of draws (simvae.posterior.support.estimates); for starts
-- of an inversion also draws.
function Flow:candidates(h, n)
  local u, log = draws_with_density(self, h)
  local codes = cube.to_code(self.latent, u)
  local mean, std = moments(self, codes)
  local list, spreads = estimates.of(self, h, codes, u, log, mean, std), {}
  for k = #list + 1, math.min(n or 1, DRAWS) do
    list[k] = core.reshape(core.slice(codes, 2, k, k), mean.shape)
  end
  for k = 1, #list do spreads[k] = std end
  return list, spreads
end

function Flow:typical(h)
  return self:candidates(h)[1]
end

return flow
