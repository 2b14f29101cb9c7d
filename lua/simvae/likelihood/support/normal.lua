--- Normal distributions with diagonal covariances.
local core = require "simvae.core"

local normal = {}

local LOW, HIGH = -9, 4 -- logarithms of learned standard deviations, in the units that networks see
local LOG_2PI = math.log(2 * math.pi)

--- Standard deviations from a network's numbers.
-- @tparam tensor raw
-- @treturn tensor
function normal.std(raw)
  return core.exp(core.clamp(raw, LOW, HIGH))
end

--- Means about the decoder's output, and standard deviations, from the first 2 count of a network's numbers.
-- @tparam tensor numbers (R, 2 count or more)
-- @tparam integer count
-- @treturn tensor (R, count)
-- @treturn tensor (R, count)
function normal.shifted(numbers, count)
  return core.slice(numbers, 2, 1, count), normal.std(core.slice(numbers, 2, count + 1, 2 * count))
end

--- Standard deviations with further noise.
-- @tparam tensor std
-- @tparam ?tensor variance that broadcasts to it
-- @treturn tensor
function normal.widened(std, variance)
  return variance and core.sqrt(core.square(std) + variance) or std
end

--- Log density of each row.
-- @tparam tensor away (…, n) distances from the mean
-- @tparam tensor std (…, n), or what broadcasts to it
-- @treturn tensor (…)
function normal.log_prob(away, std)
  local n = away.shape[away.ndim]
  return (core.sum(core.square(away / std) + core.log(std) * 2, away.ndim) + n * LOG_2PI) * -0.5
end

--- n rows as one each: (R, w) -> (R, n, w).
function normal.repeated(t, n)
  local R, w = t.shape[1], t.shape[2]
  return core.expand(core.reshape(t, R, 1, w), R, n, w)
end

return normal
