--- sbibm's bernoulli_glm: spikes of a neuron with an offset and a filter of nine weights under a fixed stimulus; the
-- output are sufficient statistics, X' y.
--
--     dofile "spec/bench/sbibm/bernoulli_glm.lua" (stimulus)     -- (100,), bernoulli_glm_stimulus.npy
local sv = require "simvae"

-- F = D D + diag(sqrt(i / 9)), D first differences, and its inverse: f = F^-1 n has precision F' F for normal n.
local function filter_factor()
  local d = sv.zeros(9, 9)
  for i = 1, 9 do
    d:set(1, i, i)
    if i > 1 then d:set(-1, i, i - 1) end
  end
  local f = sv.matmul(d, d)
  for i = 1, 9 do f:set(f:get(i, i) + math.sqrt((i - 1) / 9), i, i) end
  return f:totable(), sv.linalg.inv(f):totable()
end

return function(stimulus)
  local factor, inverse = filter_factor()
  local current = stimulus:totable()
  local params = { { name = "offset", prior = { "normal", 0, math.sqrt(2) } } }
  for i, row in ipairs(inverse) do
    local variance = 0
    for _, v in ipairs(row) do variance = variance + v * v end
    params[i + 1] = { name = "f" .. i, prior = { "normal", 0, math.sqrt(variance) } }
  end
  local function draw(rng)
    local z, n = { rng:normal(0, math.sqrt(2)) }, {}
    for i = 1, 9 do n[i] = rng:normal(0, 1) end
    for i = 1, 9 do
      local sum = 0
      for j = 1, 9 do sum = sum + inverse[i][j] * n[j] end
      z[i + 1] = sum
    end
    return z
  end
  local function log_density(z)
    local sum = z[1] ^ 2 / 2
    for _, row in ipairs(factor) do
      local n = 0
      for j = 1, 9 do n = n + row[j] * z[j + 1] end
      sum = sum + n * n
    end
    return -sum / 2
  end
  return sv.simulator {
    name = "bernoulli_glm", output = { 10 }, params = params, correlated = true,
    prior = { draw = draw, log_density = log_density },
    simulate = function(z, _, rng)
      local sums = {}
      for i = 1, 10 do sums[i] = 0 end
      for t = 1, #current do
        local drive = z[1]
        for j = 1, math.min(9, t) do drive = drive + z[j + 1] * current[t - j + 1] end
        if rng:uniform(0, 1) < 1 / (1 + math.exp(-drive)) then
          sums[1] = sums[1] + 1
          for j = 1, math.min(9, t) do sums[j + 1] = sums[j + 1] + current[t - j + 1] end
        end
      end
      return sums
    end,
  }
end
