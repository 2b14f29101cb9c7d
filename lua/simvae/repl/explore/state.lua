--- What model:explore shows: parameters, and what decoder, simulator and posterior make of them.
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local nearest = require "simvae.util.quantile".nearest
local parameter = require "simvae.simulator.parameter"

local State = {}
State.__index = State

local DRAWS = 256       -- of the posterior
local CHEAP = 0.05      -- seconds of simulator and posterior that are spent on every move
local STEP = 1 / 50     -- of a parameter's range
local SEED = 1          -- of draws

local state = {}

-- ---- parameters --------------------------------------------------------------------------------

local function middle(p) return parameter.from_unit(p, 0.5) end

-- A value within the bounds.
local function confined(p, v)
  v = parameter.confine(p, v)
  if p.grid then v = p.low + parameter.grid_number(p, v) / (p.grid - 1) * (p.high - p.low) end
  return v
end

--- The smallest and the largest value of a parameter's slider.
function State.bounds(p)
  if p.levels then return 1, p.levels end
  local axis = p.axis or p
  return axis.low, axis.high
end

--- The place of a value on its slider, from 0 to 1; beyond it at its end.
function State.place(p, v)
  local u = p.levels and (p.levels == 1 and 0 or (v - 1) / (p.levels - 1)) or parameter.to_unit(p, v)
  return u == u and math.max(0, math.min(1, u)) or 0
end

--- Moves the chosen parameter by a number of steps, of which one of a class is the next class.
function State:move(steps)
  local p, v = self.params[self.chosen], self.z[self.chosen]
  local whole = steps > 0 and math.ceil(steps) or math.floor(steps)
  if p.levels then
    v = (math.floor(v + 0.5) - 1 + whole) % p.levels + 1
  elseif p.grid then
    v = v + math.max(1, math.floor(math.abs(steps) * STEP * (p.grid - 1) + 0.5)) * (p.high - p.low) / (p.grid - 1)
      * (steps > 0 and 1 or -1)
  else
    v = parameter.from_unit(p, parameter.to_unit(p, v) + steps * STEP)
  end
  self:set(v)
end

--- Sets the chosen parameter.
function State:set(v)
  self.z[self.chosen] = confined(self.params[self.chosen], v)
  self.changed = true
end

--- Sets all parameters.
function State:set_all(row)
  for k, p in ipairs(self.params) do self.z[k] = confined(p, row[k]) end
  self.changed = true
end

--- Chooses the next parameter, or with -1 the one before.
function State:choose(by)
  self.chosen = (self.chosen - 1 + by) % #self.params + 1
end

--- A draw of the prior.
function State:random()
  self:set_all(self.simulator:sample(1, self.rng):totable()[1])
end

--- The middle of each parameter's range.
function State:centre()
  local row = {}
  for k, p in ipairs(self.params) do row[k] = middle(p) end
  self:set_all(row)
end

--- The parameters that the encoder infers from the output.
function State:infer()
  if not self.x then return end
  local mean = self.model:encode(self.model.set and self.x:reshape(1, 1, table.unpack(self.simulator.output)) or self.x,
    self.noise)
  self:set_all(mean:totable()[1])
end

-- ---- outputs -----------------------------------------------------------------------------------

-- The decoder's output.
local function decode(self)
  self.y = self.model:decode(core.tensor { self.z })
end

-- The simulator's output, or why there is none. Its random numbers are always those of one sample.
local function simulate(self)
  if self.given then return end
  local x = core.zeros { 1, table.unpack(self.simulator.output) }
  local ok, failures = interrupt.pcall(self.simulator.try, self.simulator, core.tensor { self.z }, x)
  self.failure = not ok and tostring(failures) or ok and failures[1] or nil
  self.x = not self.failure and x or nil
end

-- The posterior of the output: of each parameter the median and the central 68% and 90% of draws.
local function infer(self)
  self.intervals = nil
  if not self.x then return end
  local model, x = self.model, self.x
  if model.set then x = x:reshape(1, 1, table.unpack(self.simulator.output)) end
  local ok, p = interrupt.pcall(model.posterior, model, x, self.noise)
  if not ok then return end
  local draws = p:sample(DRAWS, core.rng(SEED)):totable()[1]
  self.intervals = {}
  for k in ipairs(self.params) do
    local list = {}
    for i, row in ipairs(draws) do list[i] = row[k] end
    table.sort(list)
    self.intervals[k] = { low = nearest(list, 0.05), high = nearest(list, 0.95), median = nearest(list, 0.5) }
  end
end

--- Computes what follows from the parameters.
-- @tparam boolean all also where simulator and posterior take long; then `stale` is false
function State:update(all)
  self.changed = false
  local scope <close> = core.scope()
  decode(self)
  self.stale = not all and self.cost > CHEAP
  if not self.stale then
    local started = core.system.clock()
    simulate(self)
    infer(self)
    self.cost = core.system.clock() - started
  end
  self:keep(scope)
end

-- What is shown outlives the scope of its computation.
function State:keep(scope)
  scope:keep(self.y)
  if self.x and not self.given and not self.stale then scope:keep(self.x) end
end

--- @tparam Model model
-- @tparam table o options of model:explore: z, x
-- @treturn State
function state.new(model, o)
  local sim = model.simulator
  local self = setmetatable({ model = model, simulator = sim, params = sim.params, z = {}, chosen = 1, cost = 0,
    rng = core.rng(SEED), x = o.x, given = o.x ~= nil, noise = o.noise and { noise = o.noise } or nil }, State)
  if sim.noise_range and not self.noise then self.noise = { noise = sim.noise_range.low } end
  self:centre()
  if o.z then self:set_all(o.z) elseif o.x then self:infer() else self:random() end
  return self
end

return state
