--- Parameters as numbers that networks take, for training loops of one's own.
--
--     local code = sv.code(sim)
--     local c = code:from_units(z)                 -- (N, K) in units -> (N, code.size)
--     for _, part in ipairs(code.parts) do print(part.name, part.kind, part.first, part.last) end
--     local z2 = code:to_units(c)
local check = require "simvae.util.check"
local core = require "simvae.core"
local latent = require "simvae.model.latent"
local names = require "simvae.util.names"

local Code = {}
Code.__index = Code

local function matrix(what, name, t, columns, level)
  if getmetatable(t) ~= core.metatable or t.ndim ~= 2 or t.shape[2] ~= columns then
    check.fail(level + 1, "%s: %s takes a tensor (N, %d); got %s", what, name, columns, check.shape_of(t))
  end
  return t
end

--- Units to code: an interval, on its scale, becomes a number in [-1, 1], a period the cosine and the sine of its
-- angle, a class as many numbers as it has levels, of which one is 1 and the others are 0.
-- @tparam tensor z (N, K), in units
-- @treturn tensor (N, size)
-- @raise z of another number of columns
-- @usage print(sv.code(ring):from_units(ring:sample(3, sv.rng(1))))
function Code:from_units(z)
  return self.latent:to_code(matrix("from_units", "z", z, #self.parts, 2))
end

--- Code to units: the inverse of from_units. Any pair of numbers is an angle, and a class is that of the largest
-- number.
-- @tparam tensor code (N, size)
-- @treturn tensor (N, K), in units; of numbers beyond [-1, 1] beyond the bounds
-- @raise a code of another number of columns
-- @usage
-- local code = sv.code(ring)
-- print(code:to_units(code:from_units(ring:sample(3, sv.rng(1)))))
function Code:to_units(code)
  return (self.latent:to_units(matrix("to_units", "code", code, self.size, 2)))
end

function Code:__tostring()
  local list = {}
  for i, part in ipairs(self.parts) do list[i] = part.name .. " (" .. part.kind .. ")" end
  return string.format("code of %d numbers: %s", self.size, table.concat(list, ", "))
end

names.class(Code, "code", {
  { "size", "integer", "how many numbers a code has" },
  { "parts", "{table,...}", "one a parameter: its name, kind (\"interval\", \"circle\" or \"class\"), and first and "
    .. "last, the columns of its code" },
  "latent",
})

--- How parameters are coded for networks: numbers near 1, whatever their units.
-- @tparam Simulator sim
-- @treturn Code
-- @raise a value that is not a simulator
-- @usage
-- local code = sv.code(ring)
-- for _, part in ipairs(code.parts) do print(part.name, part.kind, part.first, part.last) end
local function new(sim)
  if not require("simvae.simulator").is(sim) then
    check.fail(2, "code: takes a simulator, made by sv.simulator; got %s", check.describe(sim))
  end
  local coded, parts = latent.new(sim.params), {}
  for i, part in ipairs(coded.parts) do
    parts[i] = { name = part.param.name, kind = part.kind, first = part.first, last = part.last }
  end
  return setmetatable({ latent = coded, size = coded.size, parts = parts }, Code)
end

return { code = new }
