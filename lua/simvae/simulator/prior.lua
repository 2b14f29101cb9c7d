--- Samples of a simulator's prior.
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"
local point = require "simvae.simulator.point"
local streams = require "simvae.simulator.streams"

local prior = {}

-- One draw by the user's prior.
local function draw_own(self, rng, number)
  local ok, result = rng:call(self.prior, rng)
  if not ok then error(result, 0) end
  local values = point.values(self, "the prior", result)
  for i, p in ipairs(self.params) do
    local v = values[i]
    if parameter.outside(p, v) then
      error(string.format("simulator '%s': the prior drew %s = %g (draw %d), outside its bounds %g to %g",
        self.name, p.name, v, number, p.low, p.high), 0)
    end
    if p.levels and v ~= math.floor(v) then
      error(string.format("simulator '%s': the prior drew %s = %g (draw %d); a class is a whole number",
        self.name, p.name, v, number), 0)
    end
  end
  return values
end

--- Draws consecutive samples, in double precision, rounded once.
-- @tparam Simulator self
-- @tparam integer n
-- @tparam integer seed
-- @tparam integer sample the first one's number, from 1
-- @tparam ?integer attempt (0)
-- @treturn tensor (n, K)
function prior.draw(self, n, seed, sample, attempt)
  local K, params = #self.params, self.params
  local z, set = core.zeros(n, K), core.methods.set
  local rng, draw = core.rng(seed), parameter.draw
  local before = streams.prior(sample, attempt or 0) - 1
  for s = 1, n do
    rng:rewind(before + s)
    local values = self.prior and draw_own(self, rng, sample + s - 1)
    for i = 1, K do set(z, values and values[i] or draw(params[i], rng), s, i) end
  end
  return z
end

return prior
