--- Scale mixtures of isotropic normal distributions about 0 (Andrews and Mallows 1974), by expectation maximisation
-- (Dempster, Laird and Rubin 1977); the number of normals by the Bayesian information criterion (Schwarz 1978).
local ROUNDS = 200    -- of expectation maximisation, at most
local ENOUGH = 1e-7   -- gain of the mean log-likelihood, below which it ends
local LEAST = 1e-3    -- scale, as a multiple of the errors' root mean square
local PER = 10        -- points for each normal, at least

-- log sum of exp of a list
local function log_sum(list)
  local most = math.max(table.unpack(list))
  local total = 0
  for _, v in ipairs(list) do total = total + math.exp(v - most) end
  return most + math.log(total)
end

-- Log densities, without a constant, of one point under each normal, times its share.
local function log_parts(parts, square, D)
  local logs = {}
  for k, p in ipairs(parts) do
    logs[k] = p.share > 0 and math.log(p.share) - D * (math.log(p.scale) + square / (2 * p.scale ^ 2)) or -math.huge
  end
  return logs
end

-- K normals, and their log-likelihood. squares: ascending.
local function fit(squares, D, K)
  local n, parts = #squares, {}
  for k = 1, K do -- the middle of each of K parts of the points
    local at = math.max(1, math.ceil((k - 0.5) / K * n))
    parts[k] = { share = 1 / K, scale = math.max(math.sqrt(squares[at]), LEAST) }
  end
  local before = -math.huge
  for _ = 1, ROUNDS do
    local total, shares, sums = 0, {}, {}
    for k = 1, K do shares[k], sums[k] = 0, 0 end
    for _, square in ipairs(squares) do
      local logs = log_parts(parts, square, D)
      local log = log_sum(logs)
      total = total + log
      for k = 1, K do
        local r = math.exp(logs[k] - log)
        shares[k], sums[k] = shares[k] + r, sums[k] + r * square
      end
    end
    if total - before < ENOUGH * n then return parts, total end
    before = total
    for k = 1, K do
      parts[k] = { share = shares[k] / n, scale = math.max(math.sqrt(sums[k] / math.max(shares[k], 1e-9)), LEAST) }
    end
  end
  return parts, before
end

--- The scale mixture of points.
-- @tparam {number,...} squares the mean square of each point's elements
-- @tparam integer D their number
-- @tparam integer most normals
-- @treturn {table,...} share and scale of each, in ascending order of scale
return function(squares, D, most)
  table.sort(squares)
  local n, best, least = #squares, nil, math.huge
  for K = 1, math.max(1, math.min(most, n // PER)) do
    local parts, log = fit(squares, D, K)
    local criterion = (2 * K - 1) * math.log(n) - 2 * log
    if criterion < least then best, least = parts, criterion end
  end
  table.sort(best, function(a, b) return a.scale < b.scale end)
  return best
end
