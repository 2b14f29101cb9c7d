--- Coordinates in which a spline flow fits posteriors under priors that have a shape. Of a parameter with a normal,
-- lognormal, gamma or beta prior, whose normal score is t and whose share is u = F(t), F the normal distribution
-- function, the flow is over
--
--     w = F(g(t)),  g(t) = t / S (1 + (S - 1) (t / T)^2),  S = 3,  T = 5.25
--
-- which is almost linear in t over the middle, and equal to u at the ends. In u itself, where the prior is uniform,
-- posteriors in the prior's tails are pressed against the ends of the interval: measured on sbibm's gaussian_linear
-- with 10,000 simulations, the flow was 0.41 nats from the exact posterior in u, and 0.14 to 0.18 in coordinates that
-- are linear in t. Much larger S make narrow posteriors slow to learn (sir). All other parameters stay as they are.
local core = require "simvae.core"
local marginal = require "simvae.simulator.marginal"

local S, T = 3, marginal.LIMIT
local CUBIC = (S - 1) / (S * T * T) -- g(t) = t / S + CUBIC t^3
local P = 1 / (S * CUBIC)           -- t^3 + P t = g / CUBIC

local stretch = {}
local Stretch = {}
Stretch.__index = Stretch

local LOW = core.normal_cdf(core.tensor { -T }):item()

--- For the parameters of a flow.
-- @tparam {boolean,...} marks which of them have a prior with a shape
-- @treturn ?Stretch nil: none
function stretch.new(marks)
  local mask, any = {}, false
  for k, marked in ipairs(marks) do mask[k], any = marked and 1 or 0, any or marked end
  return any and setmetatable({ mask = core.buffer(core.tensor(mask)) }, Stretch) or nil
end

local function score(u) return core.normal_quantile(core.clamp(u, LOW, 1 - LOW)) end

-- Columns with a mark, and the others.
local function merge(self, marked, other) return marked * self.mask + other * (1 - self.mask) end

-- log |dw / du| (N, M) from the scores of u and of w.
local function slopes(self, t, g)
  local square = core.square(t)
  local slope = (square - core.square(g)) * 0.5 + core.log(square * (3 * CUBIC) + 1 / S)
  return core.sum(slope * self.mask, t.ndim)
end

--- @tparam tensor u (N, M, D)
-- @treturn tensor w, of the same shape
-- @treturn tensor log |dw / du| (N, M)
function Stretch:of(u)
  local t = score(u)
  local g = t * (core.square(t) * CUBIC + 1 / S)
  return merge(self, core.normal_cdf(g), u), slopes(self, t, g)
end

-- The root of t^3 + P t = g / CUBIC (Cardano's, by hyperbolic functions).
local function root(g)
  local y = g * (1.5 / (P * CUBIC) * math.sqrt(3 / P))
  local size = core.abs(y)
  local third = core.log(size + core.sqrt(core.square(y) + 1)) / 3
  local sine = core.exp(third) - core.exp(-third)
  return sine * math.sqrt(P / 3) * (y / (size + 1e-30))
end

--- The inverse.
-- @tparam tensor w (N, M, D)
-- @tparam ?boolean with_slopes
-- @treturn tensor u
-- @treturn ?tensor with_slopes: log |dw / du| (N, M)
function Stretch:back(w, with_slopes)
  local g = score(w)
  local t = root(g)
  local u = merge(self, core.clamp(core.normal_cdf(t), LOW, 1 - LOW), w)
  return u, with_slopes and slopes(self, t, g) or nil
end

return stretch
