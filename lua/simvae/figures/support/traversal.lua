--- The parameters of a traversal: one moves from its lower to its upper bound while the others stay.
local core = require "simvae.core"
local parameter = require "simvae.simulator.parameter"

local traversal = {}

--- Positions between the bounds: a period's end is omitted, as it equals its start; classes come once each.
-- @tparam table p the parameter
-- @tparam integer steps
-- @treturn {number,...} from 0 to 1
function traversal.shares(p, steps)
  local n = p.levels or steps
  local result = {}
  for i = 1, n do result[i] = p.period and (i - 1) / n or (i - 1) / math.max(n - 1, 1) end
  return result
end

--- Base values: the middle of the bounds; for a prior with dependent parameters its mean, since the middle may be
-- outside the support.
-- @tparam Simulator sim
-- @tparam ?table base values that are given, by name or number
-- @treturn {number,...}
function traversal.middle(sim, base)
  local z, mean = {}, nil
  if sim.correlated and sim.sample then mean = sim:sample(1000, core.rng(1)):mean(1):totable() end
  for i, p in ipairs(sim.params) do
    local own = mean and not p.levels and not p.period and mean[i]
    z[i] = base and (base[p.name] or base[i]) or own or parameter.from_unit(p, 0.5)
  end
  return z
end

--- Parameters of which one moves.
-- @tparam Simulator sim
-- @tparam {number,...} z the others
-- @tparam integer k its number
-- @tparam {number,...} shares of its range
-- @treturn tensor (#shares, K)
function traversal.moved(sim, z, k, shares)
  local p, rows = sim.params[k], {}
  for s, u in ipairs(shares) do
    rows[s] = table.move(z, 1, #z, 1, {})
    rows[s][k] = parameter.from_unit(p, u)
  end
  return core.tensor(rows)
end

return traversal
