--- A normal distribution whose covariance depends on the parameters: a diagonal plus a matrix of low rank, D + V V',
-- about the decoder's output and a correction. Elements may be correlated, as those of a curve are.
--
-- Determinant and inverse are those of a matrix (rank, rank), by the matrix determinant lemma and the identity of
-- Sherman, Morrison and Woodbury.
local core = require "simvae.core"
local normal = require "simvae.likelihood.support.normal"
local perceptron = require "simvae.likelihood.support.perceptron"

local LowRank = { trained = true }
LowRank.__index = LowRank

-- Means about the decoder's output and standard deviations (R, count) of the diagonal part, and factors
-- (R, count, rank).
local function parts(self, code)
  local numbers, count = self.net(code), self.count
  local factors = core.slice(numbers, 2, 2 * count + 1, count * (2 + self.rank))
  local shift, std = normal.shifted(numbers, count)
  return shift, std, core.reshape(factors, code.shape[1], count, self.rank)
end

function LowRank:log_prob(y, code, x, variance)
  local linalg = require "simvae.linalg"
  local shift, std, factors = parts(self, code)
  std = normal.widened(std, variance)
  local R, count, rank = factors.shape[1], self.count, self.rank
  local away = (x - y - shift) / std
  local w = factors / core.reshape(std, R, count, 1)
  local across = core.transpose(w, 2, 3)
  local identity = core.tensor(self.identity)
  local l = linalg.cholesky(core.matmul(across, w) + identity)
  local inner = linalg.triangular_solve(l, core.matmul(across, core.reshape(away, R, count, 1)))
  local log_det = core.sum(core.reshape(core.log(core.sum(l * identity, 3)), R, rank), 2)
  local along = core.sum(core.square(core.reshape(inner, R, rank)), 2) * 0.5
  return normal.log_prob(away, 1) - core.sum(core.log(std), 2) - log_det + along
end

function LowRank:draw(y, code, n, rng)
  local shift, std, factors = parts(self, code)
  local R, count = y.shape[1], self.count
  local common = core.matmul(rng:normal { R, n, self.rank }, core.transpose(factors, 2, 3))
  return normal.repeated(y + shift, n) + common + rng:normal { R, n, count } * normal.repeated(std, n)
end

return {
  options = { rank = { "integer", default = 4, min = 1, max = 64, doc = "rank of the correlations" } },
  vectors = true,
  new = function(t)
    local identity = {}
    for i = 1, t.rank do
      identity[i] = {}
      for j = 1, t.rank do identity[i][j] = i == j and 1 or 0 end
    end
    return setmetatable({ count = t.count, rank = t.rank, identity = identity,
      net = perceptron(t.code, t.count * (2 + t.rank), t.rng) }, LowRank)
  end,
}
