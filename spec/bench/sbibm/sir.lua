--- sbibm's sir: an epidemic in a million people; of a thousand people at each of ten times, how many are infected.
local sv = require "simvae"
local support = dofile "spec/bench/sbibm/support.lua"

local PEOPLE, TESTED, TIMES, DAYS, STEPS = 1e6, 1000, 10, 17, 68
local params = {
  { name = "beta", prior = { "lognormal", math.log(0.4), 0.5 } },
  { name = "gamma", prior = { "lognormal", math.log(0.125), 0.2 } },
}

return sv.simulator {
  name = "sir", output = { TIMES }, params = params,
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
