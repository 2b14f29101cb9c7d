--- A moving average of weights (Polyak and Juditsky 1992): it has the accuracy of many small steps without having to
-- know how many will be taken, and overfits later than the weights of the last step.
local core = require "simvae.core"
local weights = require "simvae.train.weights"

local averaging = {}
local Average = {}
Average.__index = Average

local EVERY = 4 -- steps between updates

--- Starts an average at the weights as they are.
-- @tparam {[string]=tensor} own weights by name, as they are in the model
-- @tparam number decay share of the average that one step leaves, near 1
-- @treturn Average
function averaging.new(own, decay)
  return setmetatable({ weights = own, mean = weights.copy(own), decay = decay }, Average)
end

--- After a step. The average of the first steps is over few of them.
-- @tparam integer step its number, from 1
function Average:after(step)
  if step % EVERY ~= 0 then return end
  local scope <close> = core.scope()
  local keep = math.min(self.decay, (1 + step) / (10 + step)) ^ EVERY
  core.no_grad(function()
    for name, t in pairs(self.weights) do self.mean[name]:copy(self.mean[name] * keep + t * (1 - keep)) end
  end)
end

--- Exchanges the weights of the model and their average.
function Average:exchange()
  local scope <close> = core.scope()
  for name, t in pairs(self.weights) do
    local now = t:clone()
    t:copy(self.mean[name])
    self.mean[name]:copy(now)
  end
end

--- Sets the average.
-- @tparam {[string]=tensor} mean by name
function Average:restore(mean)
  weights.set(self.mean, mean)
end

return averaging
