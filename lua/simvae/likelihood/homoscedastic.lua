--- A distribution of the decoder's errors that is the same for all parameters, measured after stage 1, which itself is
-- as without a distribution: normal, with the errors' standard deviation of each element (maximum likelihood: the
-- "optimal" sigma of Rybkin, Daniilidis and Levine 2021). The errors of vectors are often small for most parameters
-- and large for some, or the simulator's own noise has tails: then it is a scale mixture of up to three normals
-- (Andrews and Mallows 1974), whose standard deviations are multiples of those, by the Bayesian information criterion
-- (Schwarz 1978).
local core = require "simvae.core"
local nn = require "simvae.nn"
local normal = require "simvae.likelihood.support.normal"
local scale_mixture = require "simvae.likelihood.support.scale_mixture"

local MOST = 3 -- normals
local ONE = { { share = 1, scale = 1 } }

local Homoscedastic = { added = { "std", "measurement", "shares", "scales" } } -- which files may lack
Homoscedastic.__index = Homoscedastic

-- The standard deviations, and the share and multiple of each normal.
local function parts(self)
  local buffers, list = self.net.buffers, {}
  local std = core.clamp(buffers.std, self.floor, math.huge)
  if not buffers.shares then return std, ONE end
  local scales = buffers.scales:totable()
  for k, share in ipairs(buffers.shares:totable()) do
    if share > 0 then list[#list + 1] = { share = share, scale = scales[k] } end
  end
  return std, list
end

function Homoscedastic:fit(y, _, x)
  local buffers, away = self.net.buffers, x - y
  buffers.std:copy(core.sqrt(core.mean(core.square(away), 1)))
  if not buffers.shares then return end
  local squares = core.mean(core.square(away / core.clamp(buffers.std, self.floor, math.huge)), 2)
  local list = scale_mixture(squares:totable(), away.shape[2], MOST)
  for k = 1, MOST do
    buffers.shares:set(list[k] and list[k].share or 0, k)
    buffers.scales:set(list[k] and list[k].scale or 1, k)
  end
end

function Homoscedastic:fitted()
  return self.net.buffers.std:within(0, math.huge)
end

function Homoscedastic:log_prob(y, _, x, variance)
  local std, list = parts(self)
  local logs, away = {}, x - y
  for k, one in ipairs(list) do
    local wide = core.clamp(std * one.scale, self.floor, math.huge)
    logs[k] = normal.log_prob(away, normal.widened(core.reshape(wide, 1, std.count), variance)) + math.log(one.share)
  end
  return #logs == 1 and logs[1] or core.logsumexp(core.stack(logs, 2), 2)
end

-- Multiples (R, n, 1) of standard deviations, of normals drawn by their shares.
local function drawn_scales(list, R, n, rng)
  local u, below = rng:uniform(0, 1, { R, n, 1 }), 0
  local scales = core.full(list[1].scale, { R, n, 1 })
  for k = 2, #list do
    below = below + list[k - 1].share
    scales = scales + core.clamp((u - below) * 1e30, 0, 1) * (list[k].scale - list[k - 1].scale)
  end
  return scales
end

function Homoscedastic:draw(y, _, n, rng)
  local R, count = y.shape[1], y.shape[2]
  local _, list = parts(self)
  local noise = rng:normal { R, n, count } * self.net.buffers.std
  if #list > 1 then noise = noise * drawn_scales(list, R, n, rng) end
  return normal.repeated(y, n) + noise
end

return {
  options = {},
  new = function(t)
    local buffers = { std = core.buffer(core.full(t.unknown, { t.count })) }
    if #t.output == 1 then
      buffers.shares, buffers.scales = core.buffer(core.zeros(MOST)), core.buffer(core.ones(MOST))
      buffers.shares:set(1, 1)
    end
    local net = nn.layer { label = "standard deviations", forward = function() end, buffers = buffers }
    return setmetatable({ floor = t.floor, net = net }, Homoscedastic)
  end,
}
