--- A normal distribution whose standard deviations depend on the parameters (heteroscedastic regression: Nix and
-- Weigend 1994), about the decoder's output.
local normal = require "simvae.likelihood.support.normal"
local perceptron = require "simvae.likelihood.support.perceptron"

local Normal = { trained = true }
Normal.__index = Normal

function Normal:log_prob(y, code, x, variance)
  return normal.log_prob(x - y, normal.widened(normal.std(self.net(code)), variance))
end

function Normal:draw(y, code, n, rng)
  local std = normal.repeated(normal.std(self.net(code)), n)
  return normal.repeated(y, n) + rng:normal(std.shape) * std
end

return {
  options = {},
  new = function(t) return setmetatable({ net = perceptron(t.code, t.count, t.rng) }, Normal) end,
}
