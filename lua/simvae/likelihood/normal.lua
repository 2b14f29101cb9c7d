--- A normal distribution whose standard deviations depend on the parameters (heteroscedastic regression: Nix and
-- Weigend 1994). Its mean is the decoder's output and a correction, as the squares that a decoder minimises weigh
-- outputs of little noise too little.
local normal = require "simvae.likelihood.support.normal"
local perceptron = require "simvae.likelihood.support.perceptron"

local Normal = { trained = true }
Normal.__index = Normal

-- Means about the decoder's output, and standard deviations.
local function parts(self, code)
  return normal.shifted(self.net(code), self.count)
end

function Normal:log_prob(y, code, x, variance)
  local shift, std = parts(self, code)
  return normal.log_prob(x - y - shift, normal.widened(std, variance))
end

function Normal:draw(y, code, n, rng)
  local shift, std = parts(self, code)
  local R, count = y.shape[1], self.count
  return normal.repeated(y + shift, n) + rng:normal { R, n, count } * normal.repeated(std, n)
end

return {
  options = {},
  new = function(t)
    return setmetatable({ count = t.count, net = perceptron(t.code, 2 * t.count, t.rng) }, Normal)
  end,
}
