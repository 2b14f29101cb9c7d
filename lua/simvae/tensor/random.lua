--- Random tensors of one stream of the session, for the prompt. Scripts pass a generator (sv.rng) to what draws.
local check = require "simvae.util.check"
local core = require "simvae.core"

local random = {}

local stream = core.rng(0)

-- Draws of a shape, given as a list or as numbers; one number without a shape.
local function draw(name, method, ...)
  local shape = table.pack(...)
  if shape.n == 0 then return method(stream) end
  if shape.n == 1 and type(shape[1]) == "table" then shape = shape[1] end
  for i = 1, shape.n or #shape do check.value(name, "shape", shape[i], { "integer", min = 0 }, 4) end
  return method(stream, shape)
end

--- Starts the session's stream of random numbers again: the same draws follow.
--
-- It has the numbers of sv.rng(n). sv.rand and sv.randn draw from it and nothing else does, so that a training or an
-- evaluation does not depend on what was drawn before. Without this call the seed is 0.
-- @tparam integer n seed
-- @raise another value
-- @usage
-- sv.seed(1)
-- print(sv.rand(2, 3), sv.randn(2, 3))
function random.seed(n)
  check.value("seed", "n", n, { "integer" })
  stream:restore(n, 0, 0)
end

--- Numbers of the session's stream, uniform between 0 and 1. A script that others repeat passes a generator instead:
-- sv.rng(1):uniform { 2, 3 }.
-- @tparam integer|table ... the shape: whole numbers, or one list of them; without it one number is drawn
-- @treturn tensor of that shape; without one, a number
-- @overload fun(): number
-- @raise a shape that is not of whole numbers from 0; a call within the simulate function of a simulator, which draws
-- from its own rng
-- @usage
-- sv.seed(1)
-- print(sv.rand(2, 3))
function random.rand(...)
  return draw("rand", stream.uniform, ...)
end

--- Numbers of the session's stream, normally distributed with mean 0 and standard deviation 1. A script that others
-- repeat passes a generator instead: sv.rng(1):normal { 2, 3 }.
-- @tparam integer|table ... the shape: whole numbers, or one list of them; without it one number is drawn
-- @treturn tensor of that shape; without one, a number
-- @overload fun(): number
-- @raise a shape that is not of whole numbers from 0; a call within the simulate function of a simulator, which draws
-- from its own rng
-- @usage
-- sv.seed(1)
-- print(sv.randn(2, 3))
function random.randn(...)
  return draw("randn", stream.normal, ...)
end

return random
