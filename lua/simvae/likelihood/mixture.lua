--- A mixture of normal distributions with diagonal covariances, whose probabilities, means (as distances from the
-- decoder's output) and standard deviations depend on the parameters (mixture density network: Bishop 1994): for
-- simulators that draw one of several outcomes.
local categorical = require "simvae.posterior.support.categorical"
local core = require "simvae.core"
local normal = require "simvae.likelihood.support.normal"
local perceptron = require "simvae.likelihood.support.perceptron"
local take_rows = require "simvae.util.take_rows"

local APART = 1 -- standard deviation of the components' initial means, in the units that networks see

local Mixture = { trained = true }
Mixture.__index = Mixture

-- Log probabilities (R, A), means about the decoder's output and standard deviations (R, A, count).
local function parts(self, code)
  local numbers, A, count = self.net(code), self.components, self.count
  local function matrix(first)
    return core.reshape(core.slice(numbers, 2, first + 1, first + A * count), code.shape[1], A, count)
  end
  local mean = matrix(A) + core.reshape(self.net.buffers.places, 1, A, count)
  return core.log_softmax(core.slice(numbers, 2, 1, A), 2), mean, normal.std(matrix(A + A * count))
end

function Mixture:log_prob(y, code, x, variance)
  local log, mean, std = parts(self, code)
  local R, A = log.shape[1], log.shape[2]
  if variance then variance = core.reshape(variance, variance.shape[1], 1, self.count) end
  local away = core.reshape(x - y, R, 1, self.count) - mean
  return core.logsumexp(core.reshape(normal.log_prob(away, normal.widened(std, variance)), R, A) + log, 2)
end

function Mixture:draw(y, code, n, rng)
  local log, mean, std = parts(self, code)
  local R, count = y.shape[1], self.count
  local index = categorical.draw(core.reshape(core.exp(log), R, 1, self.components), n, rng)
  return normal.repeated(y, n) + take_rows(mean, index) + rng:normal { R, n, count } * take_rows(std, index)
end

return {
  options = {
    components = { "integer", default = 4, min = 1, max = 64, doc = "normal distributions in the mixture" },
  },
  vectors = true,
  new = function(t)
    local A = t.components
    local net = perceptron(t.code, A * (1 + 2 * t.count), t.rng)
    net.buffers.places = core.buffer(t.rng:normal(0, APART, { A, t.count }))
    return setmetatable({ count = t.count, components = A, net = net }, Mixture)
  end,
}
