--- Operators and convenience methods of tensors; loaded with simvae.
--
--     local y = 2 * x + 1            -- + - * / ^ and unary -, with numbers and broadcasting
--     x:size(1), x:dim()             -- 64, 4
--
-- Comparison operators raise, since in Lua they can only return true or false.
local check = require "simvae.util.check"
local core = require "simvae.core"
local class = require "simvae.util.class"
local display = require "simvae.tensor.display"
local names = require "simvae.util.names"

local meta, methods = core.metatable, core.methods

meta.__add = core.add
meta.__sub = core.sub
meta.__mul = core.mul
meta.__div = core.div

function meta.__unm(x)
  return core.neg(x)
end

function meta.__pow(x, y)
  if y == 2 then return core.square(x) end
  return core.pow(x, y)
end

-- Unsupported operators, and what to write instead.
local function refuse(event, operator, instead)
  meta[event] = function()
    check.fail(2, "tensors have no operator %s: %s", operator, instead)
  end
end
refuse("__lt", "< or >", "compare numbers, such as t:item() or t[i], or see sv.maximum and sv.minimum")
refuse("__le", "<= or >=", "compare numbers, such as t:item() or t[i], or see sv.maximum and sv.minimum")
refuse("__idiv", "//", "divide by / and round the numbers of t:totable()")
refuse("__mod", "%", "use math.fmod on the numbers of t:totable()")
refuse("__concat", "..", "tostring(t) is its text")

local function no_tensor(name, t)
  check.fail(3, "%s: is a method, tensor:%s(…) with a colon; its first argument is %s", name, name,
    t == nil and "missing" or check.describe(t))
end

--- The number of entries along an axis.
-- @tparam integer axis from 1; negative from the last
-- @treturn integer
-- @raise an axis that the tensor does not have
-- @usage print(sv.ones(2, 3):size(-1))
function methods.size(t, axis)
  if getmetatable(t) ~= meta then no_tensor("size", t) end
  local n = t.ndim
  if math.type(axis) ~= "integer" or axis == 0 or axis > n or axis < -n then
    error(string.format("size: axis must be 1 to %d (or -1 to -%d); got %s", n, n, tostring(axis)), 2)
  end
  return t.shape[axis < 0 and axis + n + 1 or axis]
end

--- The number of axes.
-- @treturn integer
-- @usage print(sv.ones(2, 3):dim())
function methods.dim(t)
  if getmetatable(t) ~= meta then no_tensor("dim", t) end
  return t.ndim
end

--- A copy broadcast to another tensor's shape.
-- @tparam tensor t
-- @tparam tensor other whose shape it gets
-- @treturn tensor of other's shape
-- @raise a shape that does not broadcast to the other's
-- @usage print(sv.arange(3):expand_as(sv.ones(2, 3)))
function methods.expand_as(t, other)
  if getmetatable(t) ~= meta then no_tensor("expand_as", t) end
  if getmetatable(other) ~= meta then
    check.fail(2, "expand_as: takes a tensor; got %s", check.describe(other))
  end
  return t:expand(other.shape)
end

--- A copy broadcast to a shape: an alias of expand.
methods.broadcast_to = core.expand

class.take(methods, "simvae.tensor.display")
meta.__tostring = display.text

-- t.shape is a plain list of whole numbers that prints as (64, 3), and equals another with the same numbers.
local Shape = core.shape

Shape.__tostring = check.shape_text

function Shape.__eq(a, b)
  if #a ~= #b then return false end
  for i, n in ipairs(a) do
    if n ~= b[i] then return false end
  end
  return true
end

function Shape.__concat(a, b) return tostring(a) .. tostring(b) end

names.object(methods, "a tensor", { "shape", "ndim", "count", "needs_grad", "grad", "alive" })

-- The other classes of the core: generators, tapes, canvases, files.
for key, metatable in pairs(debug.getregistry()) do
  local word = type(key) == "string" and key:match "^simvae%.(.+)$"
  local class_methods = word and metatable ~= meta and type(metatable) == "table" and rawget(metatable, "__index")
  if type(class_methods) == "table" then
    names.object(class_methods, check.with_article(word))
  end
end

return core
