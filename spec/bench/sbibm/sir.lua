--- sbibm's sir: an epidemic in a million people; of a thousand people at each of ten times, how many are infected.
local sv = require "simvae"
local support = dofile "spec/bench/sbibm/support.lua"

local PEOPLE, TESTED, TIMES, DAYS, STEPS = 1e6, 1000, 10, 17, 68
local params = {
  support.log_normal_param("beta", math.log(0.4), 0.5), support.log_normal_param("gamma", math.log(0.125), 0.2),
}

return sv.simulator {
  name = "sir", output = { TIMES }, params = params,
  prior = function(rng)
    return { support.log_normal(rng, math.log(0.4), 0.5, params[1]),
      support.log_normal(rng, math.log(0.125), 0.2, params[2]) }
  end,
  simulate = function(z, out, rng)
    local susceptible, infected = PEOPLE - 1, 1
    local function flow(s, i)
      local new = z.beta * s * i / PEOPLE
      return -new, new - z.gamma * i
    end
    for k = 1, TIMES do
      out[k] = support.binomial(TESTED, math.min(1, math.max(0, infected / PEOPLE)), rng)
      for _ = 1, STEPS do susceptible, infected = support.step(flow, susceptible, infected, DAYS / STEPS) end
    end
  end,
}
