--- A normal distribution whose standard deviations are those of the decoder's errors, the same for all parameters: of
-- each element of the output, measured after stage 1 (maximum likelihood: the "optimal" sigma of Rybkin, Daniilidis and
-- Levine 2021). Stage 1 itself is as without a distribution.
local core = require "simvae.core"
local nn = require "simvae.nn"
local normal = require "simvae.likelihood.support.normal"

local Homoscedastic = {}
Homoscedastic.__index = Homoscedastic

function Homoscedastic:fit(y, _, x)
  self.net.buffers.std:copy(core.sqrt(core.mean(core.square(x - y), 1)))
end

function Homoscedastic:fitted()
  return self.net.buffers.std:within(0, math.huge)
end

function Homoscedastic:log_prob(y, _, x, variance)
  local std = core.clamp(self.net.buffers.std, self.floor, math.huge)
  return normal.log_prob(x - y, normal.widened(core.reshape(std, 1, std.count), variance))
end

function Homoscedastic:draw(y, _, n, rng)
  local R, count = y.shape[1], y.shape[2]
  return normal.repeated(y, n) + rng:normal { R, n, count } * self.net.buffers.std
end

return {
  options = {},
  new = function(t)
    local std = core.buffer(core.full(t.unknown, { t.count }))
    local net = nn.layer { label = "standard deviations", buffers = { std = std }, forward = function() end }
    return setmetatable({ floor = t.floor, net = net }, Homoscedastic)
  end,
}
