--- A data set in two parts: rows for training, and held-out rows. Whether row i is held out depends on i alone.
local core = require "simvae.core"
local streams = require "simvae.util.streams"

-- The outputs of rows that can be read.
local function outputs(sim, rows)
  local z = core.tensor(rows)
  local x = core.zeros { #rows, table.unpack(sim.output) }
  local failed, good = sim.batch(z, x) or {}, {}
  for i = 1, #rows do
    if not failed[i] then good[#good + 1] = i end
  end
  if #good == #rows then return z, x end
  local some_z, some_x = core.zeros(#good, z.shape[2]), core.zeros { #good, table.unpack(sim.output) }
  for k, i in ipairs(good) do
    some_z[k]:copy(z[i])
    some_x[k]:copy(x[i])
  end
  return some_z, some_x
end

--- @tparam Simulator sim the data set
-- @tparam {table,...} rows
-- @treturn function share -> { training = Simulator whose prior draws the other rows, held_out = function (n) -> z, x:
-- at most n held-out rows, count = how many there are }
return function(sim, rows)
  return function(share)
    local kept, held, rng = {}, {}, streams.held_out()
    for i, row in ipairs(rows) do
      local list = rng:at(i):uniform() < share and held or kept
      list[#list + 1] = row
    end
    local training = {}
    for name, v in pairs(sim) do training[name] = v end
    training.prior = function(draw) return kept[draw:integer(1, #kept)] end
    return {
      training = setmetatable(training, getmetatable(sim)), count = #held,
      held_out = function(n) return outputs(sim, table.move(held, 1, math.min(n, #held), 1, {})) end,
    }
  end
end
