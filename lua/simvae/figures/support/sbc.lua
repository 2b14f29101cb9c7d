--- What figures of metrics.sbc are given.
local check = require "simvae.util.check"

local sbc = {}

--- Checks the arguments of a figure.
-- @tparam string what its name
-- @param path
-- @param found what metrics.sbc returned
-- @param draws posterior draws of each simulation
-- @raise at the caller of the figure
function sbc.check(what, path, found, draws)
  check.value(what, "path", path, { "string" }, 4)
  check.value(what, "draws", draws, { "integer", min = 1 }, 4)
  if type(found) ~= "table" or type(found[1]) ~= "table" or not found[1].ranks then
    check.fail(3, "%s: takes what metrics.sbc returned; got %s", what, check.describe(found))
  end
end

--- The name of parameter k.
-- @tparam ?{string,...} names
-- @tparam integer k
-- @treturn string
function sbc.name(names, k)
  return names and names[k] or "z" .. k
end

return sbc
