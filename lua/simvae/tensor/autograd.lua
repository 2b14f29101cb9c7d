--- Gradient checks against finite differences.
local core = require "simvae.core"
require "simvae.tensor"
local check = require "simvae.util.check"

local autograd = {}

local precise = core.real == "double"
local options = check.declare("grad_check", {
  eps = { "number", default = precise and 1e-6 or 1e-2,
    doc = "step of the finite differences; the default is of this build" },
  tolerance = { "number", default = precise and 1e-5 or 2e-2,
    doc = "largest relative difference that passes; the default is of this build" },
  seed = { "integer", default = 1, doc = "of the weights of the outputs" },
})

-- The sum of out * weights, in double.
local function weighted(out, weights)
  local values, total = out:reshape(-1):totable(), 0
  for i, w in ipairs(weights) do total = total + w * values[i] end
  return total
end

local function evaluate(f, inputs, weights)
  local scope <close> = core.scope() -- luacheck: ignore 211
  return weighted(f(table.unpack(inputs)), weights)
end

local function backward(f, inputs, rng)
  local tape <close> = core.tape()
  local out = f(table.unpack(inputs))
  if getmetatable(out) ~= core.metatable then
    check.fail(3, "grad_check: f must return a tensor; got %s", check.describe(out))
  end
  local weights = {}
  for i = 1, out.count do weights[i] = rng:uniform(0.5, 1.5) * (rng:uniform() < 0.5 and -1 or 1) end
  if not out.needs_grad then return weights end
  tape:backward((out:reshape(-1) * core.tensor(weights)):sum())
  return weights
end

--- Compares gradients of backward with central differences.
--
-- The outputs of f are weighted at random and summed; each number of each input is
-- changed by -eps and +eps. An entry passes if the two slopes differ by at most
-- tolerance * max(1, their size).
-- @tparam function f takes the inputs, returns a tensor of any shape; must be a pure
-- function of them
-- @tparam {tensor,...} inputs copied, not changed
-- @tparam[opt] table o options
-- @treturn boolean whether all entries pass
-- @treturn ?string the entry with the largest difference, if one fails
-- @treturn number the largest difference, as a share of tolerance's scale
-- @raise f that is not a function, inputs that are not a list of tensors
-- @usage
-- print(sv.grad_check(function(a, b) return sv.matmul(a, b) end, { rng:normal { 2, 3 }, rng:normal { 3, 2 } }))
function autograd.grad_check(f, inputs, o)
  o = check.options("grad_check", o, options)
  if type(f) ~= "function" then check.fail(2, "grad_check: f must be a function; got %s", check.describe(f)) end
  if type(inputs) ~= "table" then check.fail(2, "grad_check: inputs must be a list of tensors") end
  local leaves = {}
  for i, t in ipairs(inputs) do leaves[i] = core.parameter(t) end
  local weights = backward(f, leaves, core.rng(o.seed))
  local worst, report = 0, nil
  for k, p in ipairs(leaves) do
    local flat = p:detach():reshape(-1)
    local grad = p.grad and p.grad:reshape(-1)
    for i = 1, flat.count do
      local at = flat:get(i)
      flat:set(at + o.eps, i)
      local above, high = flat:get(i), evaluate(f, leaves, weights)
      flat:set(at - o.eps, i)
      local below, low = flat:get(i), evaluate(f, leaves, weights)
      flat:set(at, i)
      local numeric, given = (high - low) / (above - below), grad and grad:get(i) or 0
      local off = math.abs(numeric - given) / math.max(1, math.abs(numeric), math.abs(given))
      if off > worst or off ~= off then
        worst = off
        report = string.format("input %d, number %d: backward gives %.9g, differences %.9g", k, i, given, numeric)
        if off ~= off then return false, report, off end
      end
    end
  end
  if worst > o.tolerance then return false, report, worst end
  return true, nil, worst
end

return autograd
