--- A neural spline flow of the distances from the decoder's output, conditioned on the parameters: a density of any
-- shape on all numbers.
--
-- The distances are shifted and scaled by numbers that depend on the parameters, mapped to the unit cube by a logistic
-- distribution function, and described there by the coupling flow of posteriors. Tails beyond the last millionth of the
-- cube are those of logistic distributions.
local core = require "simvae.core"
local coupling = require "simvae.posterior.support.coupling"
local nn = require "simvae.nn"
local normal = require "simvae.likelihood.support.normal"
local perceptron = require "simvae.likelihood.support.perceptron"

local FEATURES = 64                    -- of a code, which the flow is given
local RATE = math.pi / math.sqrt(3)    -- a logistic distribution of this rate has standard deviation 1
local EDGE = 1e-6                      -- of the cube

local Flow = { trained = true }
Flow.__index = Flow

-- Shift and scale (R, count), and the flow's context (R, FEATURES).
local function parts(self, code)
  local shift, scale = normal.shifted(self.affine(code), self.count)
  return shift, scale, self.features(code)
end

function Flow:log_prob(y, code, x)
  local shift, scale, context = parts(self, code)
  local R, count = x.shape[1], self.count
  local t = (x - y - shift) / scale * RATE
  local u = core.clamp(core.sigmoid(t), EDGE, 1 - EDGE)
  local log_slope = core.softplus(t) + core.softplus(-t) + core.log(scale)
  local density = core.reshape(self.flow.density(context, core.reshape(u, R, 1, count)), R)
  return density - core.sum(log_slope, 2) + count * math.log(RATE)
end

function Flow:draw(y, code, n, rng)
  local shift, scale, context = parts(self, code)
  local u = core.clamp(self.flow.draw(context, rng:uniform(0, 1, { y.shape[1], n, self.count })), EDGE, 1 - EDGE)
  local t = core.log(u / (1 - u)) / RATE
  return normal.repeated(y + shift, n) + t * normal.repeated(scale, n)
end

return {
  options = {
    transforms = { "integer", default = 5, min = 1, max = 64, doc = "coupling transforms of the flow" },
    bins = { "integer", default = 8, min = 2, max = 64, doc = "bins of each of its splines" },
  },
  vectors = true,
  continuous = true,
  new = function(t)
    local circle = {}
    for i = 1, t.count do circle[i] = false end
    local self = setmetatable({ count = t.count }, Flow)
    self.affine, self.features = perceptron(t.code, 2 * t.count, t.rng), nn.sequential {
      nn.linear(t.code, FEATURES, { std = 1 / math.sqrt(t.code), rng = t.rng }), nn.silu(),
      nn.linear(FEATURES, FEATURES, { std = math.sqrt(2 / FEATURES), rng = t.rng }), nn.silu(),
    }
    self.flow = coupling { circle = circle, context = FEATURES, transforms = t.transforms, bins = t.bins, rng = t.rng }
    self.net = nn.layer { label = "flow of outputs", inner = { self.affine, self.features, self.flow },
      forward = function() end }
    return self
  end,
}
