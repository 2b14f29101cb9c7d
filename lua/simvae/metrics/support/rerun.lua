--- Running a simulator on parameters of which some may fail.
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"

local rerun = {}

-- An error's words without the place in the source.
local function clean(message)
  return (tostring(message):gsub("^[^:]+:%d+: ", ""))
end

--- One tensor of many of one shape (or of numbers); nil of none.
function rerun.join(list)
  if #list == 0 then return nil end
  local shape = type(list[1]) ~= "number" and list[1].shape or {}
  local result = core.zeros { #list, table.unpack(shape) }
  for i, t in ipairs(list) do result[i] = t end
  return result
end

--- Rows of a tensor by their numbers.
function rerun.rows(t, numbers)
  local parts = {}
  for i, n in ipairs(numbers) do parts[i] = t[n] end
  return rerun.join(parts)
end

--- S(z), row by row where the batch fails.
-- @tparam Simulator sim
-- @tparam tensor z (N, K), in units
-- @treturn ?tensor x of the rows that worked; nil: none did
-- @treturn ?{integer,...} their numbers; nil: all
-- @treturn ?string what the first failure was
function rerun.run(sim, z)
  local whole, x = interrupt.pcall(sim.run, sim, z)
  if whole then return x end
  if tostring(x):find "interrupted!$" then error(x, 0) end
  local good, parts, message = {}, {}, nil
  for i = 1, z.shape[1] do
    local ok, one = interrupt.pcall(sim.run, sim, z[i]:reshape(1, z.shape[2]))
    if ok then
      good[#good + 1], parts[#parts + 1] = i, one[1]
    else
      if tostring(one):find "interrupted!$" then error(one, 0) end
      message = message or clean(one)
    end
  end
  return rerun.join(parts), good, message
end

return rerun
