--- Bernoulli distributions of numbers from 0 to 1 about the decoder's logits, as the loss "bce" implies them: of
-- numbers that are 0 or 1 their probabilities; of others the continuous Bernoulli distribution, whose density is
-- normalised (Loaiza-Ganem and Cunningham 2019). A factor of the logits, learned in stage 1, makes them as certain as
-- they should be (temperature scaling: Guo, Pleiss, Sun and Weinberger 2017).
local core = require "simvae.core"
local nn = require "simvae.nn"
local normal = require "simvae.likelihood.support.normal"

local Bernoulli = { trained = true }
Bernoulli.__index = Bernoulli

local FLAT = 1e-3 -- logits of less are taken as of this size, where the density is even

local function logits(self, y)
  return core.clamp(y * core.exp(core.clamp(self.net.own.log_factor, -4, 4)), -80, 80)
end

local function binary(self)
  return self.net.buffers.binary:item() == 1
end

function Bernoulli:fit(_, _, x)
  local distance = core.abs(core.abs(x - 0.5) - 0.5)
  self.net.buffers.binary:copy(core.full(distance:within(0, 0) and 1 or 0, { 1 }))
end

function Bernoulli:fitted()
  return self.net.buffers.binary:item() ~= self.unknown
end

function Bernoulli:log_prob(y, _, x)
  local l = logits(self, y)
  local log = x * l - core.softplus(l)
  if binary(self) then return core.sum(log, 2) end
  local size = core.sqrt(core.square(l) + FLAT ^ 2)
  return core.sum(log + core.log(size / core.tanh(size / 2)), 2)
end

function Bernoulli:draw(y, _, n, rng)
  local l = normal.repeated(logits(self, y), n)
  local u = rng:uniform(0, 1, l.shape)
  if binary(self) then return core.clamp((core.sigmoid(l) - u) * 1e30, 0, 1) end
  -- the inverse of the distribution function of |l|, mirrored where l is negative
  local size = core.sqrt(core.square(l) + FLAT ^ 2)
  local x = core.clamp(1 + core.log(u + (1 - u) * core.exp(-size)) / size, 0, 1)
  local positive = core.clamp(l * 1e30, 0, 1)
  return x * positive + (1 - x) * (1 - positive)
end

return {
  options = {},
  logits = true,
  new = function(t)
    local net = nn.layer { label = "factor of logits", own = { log_factor = core.parameter(core.zeros(1)) },
      buffers = { binary = core.buffer(core.full(t.unknown, { 1 })) }, forward = function() end }
    return setmetatable({ net = net, unknown = t.unknown }, Bernoulli)
  end,
}
