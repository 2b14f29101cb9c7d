--- Checks of the arguments of a model's methods: batches of outputs or of parameters. Errors name the method, the
-- sample and the element.
local check = require "simvae.util.check"
local core = require "simvae.core"
local notice = require "simvae.model.notice"
local parameter = require "simvae.simulator.parameter"
local sets = require "simvae.model.sets"

local input = {}

--- A batch of the right shape: the tensor itself, a table made one, or one sample as a batch of one.
-- @tparam string what the method's name
-- @param x as the caller gave it
-- @tparam {integer,...} shape of one sample
-- @tparam string axes their names, for messages
-- @treturn tensor (N, …shape)
function input.check_batch(what, x, shape, axes)
  if type(x) == "table" and getmetatable(x) == nil then x = core.tensor(x) end
  if getmetatable(x) ~= core.metatable then
    check.fail(3, "%s: takes a tensor (N, %s); got %s", what, axes, check.describe(x))
  end
  local fits = x.ndim == #shape + 1
  for i, n in ipairs(shape) do fits = fits and x.shape[i + 1] == n end
  if not fits and check.shape_text(x.shape) == check.shape_text(shape) then
    x = x:reshape { 1, table.unpack(shape) }
  elseif not fits then
    check.fail(3, "%s: takes (N, %s); got %s", what, axes, check.shape_text(x.shape))
  end
  return x
end

--- Position of number `at` of a batch as text: "sample 3, element (1, 4, 7)".
-- @tparam integer at row-major, from 1
-- @tparam {integer,...} shape of one sample
-- @treturn string
-- @treturn integer the sample
-- @treturn integer the element within it, row-major from 1
function input.place(at, shape)
  local each = check.count(shape)
  local sample, rest, index = (at - 1) // each + 1, (at - 1) % each, {}
  local element = rest + 1
  for axis = #shape, 1, -1 do
    index[axis] = rest % shape[axis] + 1
    rest = rest // shape[axis]
  end
  return string.format("sample %d, element %s", sample, #index == 1 and index[1] or check.shape_text(index)), sample,
    element
end

--- Raises for a number that is NaN or infinite.
-- @tparam string what the method's name
-- @tparam tensor x (N, …shape)
-- @tparam {integer,...} shape of one sample
-- @tparam ?{string,...} names of a sample's elements
function input.check_finite(what, x, shape, names)
  local finite, at = x:finite()
  if finite then return end
  local place, sample, element = input.place(at, shape)
  if names then place = string.format("sample %d, '%s'", sample, names[element]) end
  check.fail(3, "%s: takes finite numbers; %s is %s", what, place, input.number(x, at))
end

--- Number `at` (row-major, from 1) of a tensor, as text.
function input.number(x, at)
  return string.format("%g", x:reshape(x.count):get(at))
end

-- Sets of measurements (N, M, …output) of a model of sets, as they are.
local function check_sets(what, model, x)
  local set, shape, sizes = model.set, model.simulator.output, {}
  local M = sets.is(model, x) and x.shape[2] or 1
  if M < set.low or M > set.high then
    check.fail(4, "%s: the model is of sets of %d to %d measurements; got %d", what, set.low, set.high, M)
  end
  if not sets.is(model, x) then return false end
  for i, n in ipairs(shape) do sizes[i] = x.shape[i + 2] == n end
  for i in ipairs(shape) do
    if not sizes[i] then
      check.fail(4, "%s: takes sets of measurements (N, M, %s); got %s", what, table.concat(shape, ", "),
        check.shape_text(x.shape))
    end
  end
  return true
end

--- Outputs of a simulator as a model's method takes them.
-- @tparam string what the method's name
-- @tparam Model model
-- @param x as the caller gave it
-- @treturn tensor (N, …output); of a model of sets also (N, M, …output)
function input.outputs(what, model, x)
  local shape = model.simulator.output
  if model.set then
    if type(x) == "table" and getmetatable(x) == nil then x = core.tensor(x) end
    if check_sets(what, model, x) then shape = { x.shape[2], table.unpack(shape) } end
  end
  x = input.check_batch(what, x, shape, table.concat(shape, ", "))
  input.check_finite(what, x, shape)
  local why = not model.simulator.noise and model.loss:outside(x)
  if why then check.fail(3, "%s: %s", what, why) end
  return x
end

--- Parameters as a decoder takes them. Invalid classes and values without a logarithm are errors; a value
-- beyond the prior's bounds, where the decoder was not trained, is a notice, once.
-- @tparam string what the method's name
-- @tparam Model model
-- @param z as the caller gave it
-- @treturn tensor (N, K)
function input.parameters(what, model, z)
  local sim = model.simulator
  z = input.check_batch(what, z, { #sim.params }, table.concat(sim.names, ", "))
  input.check_finite(what, z, { #sim.params }, sim.names)
  local maximum, place, name = 0, nil, nil
  for s, row in ipairs(z:totable()) do
    for i, p in ipairs(sim.params) do
      local v = row[i]
      if p.levels and (v < 0.5 or v >= p.levels + 0.5) then
        check.fail(3, "%s: sample %d, '%s' is %g; its classes count from 1 to %d", what, s, p.name, v, p.levels)
      elseif p.scale == "log" and v <= 0 then
        check.fail(3, "%s: sample %d, '%s' is %g; on a log scale it is above 0 (%s)", what, s, p.name, v,
          parameter.bounds_text(p))
      end
      local _, share = parameter.confine(p, v)
      if share > maximum then
        maximum, name = share, p.name
        place = string.format("sample %d has %s = %g, %s %s", s, p.name, v, p.prior and "prior" or "bounds",
          parameter.bounds_text(p))
      end
    end
  end
  if place then
    notice(model, what .. " " .. name, string.format("%s: %s: %.3g of the range beyond what the decoder was trained on",
      what, place, maximum))
  end
  return z
end

return input
