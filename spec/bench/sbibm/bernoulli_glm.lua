--- sbibm's bernoulli_glm: spikes of a neuron with an offset and a filter of nine weights under a fixed stimulus; the
-- output are sufficient statistics, X' y.
--
--     dofile "spec/bench/sbibm/bernoulli_glm.lua" (stimulus)     -- (100,), bernoulli_glm_stimulus.npy
local sv = require "simvae"

local BOUND = 12 -- of every parameter: beyond five standard deviations of its prior

local params = {}
for i = 1, 10 do params[i] = { name = i == 1 and "offset" or "f" .. i - 1, low = -BOUND, high = BOUND } end

-- The inverse of F = D D + diag(sqrt(i / 9)), D first differences: f = F^-1 n has precision F' F for normal n.
local function filter_factor()
  local d = sv.zeros(9, 9)
  for i = 1, 9 do
    d:set(1, i, i)
    if i > 1 then d:set(-1, i, i - 1) end
  end
  local f = sv.matmul(d, d)
  for i = 1, 9 do f:set(f:get(i, i) + math.sqrt((i - 1) / 9), i, i) end
  return sv.linalg.inv(f):totable()
end

return function(stimulus)
  local inverse, current = filter_factor(), stimulus:totable()
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
  return sv.simulator {
    name = "bernoulli_glm", output = { 10 }, params = params, correlated = true,
    prior = function(rng)
      local z, inside
      repeat
        z, inside = draw(rng), true
        for i = 1, 10 do inside = inside and math.abs(z[i]) < BOUND end
      until inside
      return z
    end,
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
