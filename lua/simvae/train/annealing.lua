--- encoder = { tolerance = }: a stage whose length nobody knows. Its learning rate stays near its peak as long as a
-- doubling of the steps adds more than the tolerance to the held-out log-likelihood; then it falls to 0 by a half
-- cosine over a third of the steps so far, and the stage ends (a constant rate, then a decay, in place of one cosine
-- over a length that is known: Hägele et al., "Scaling laws and compute-optimal training beyond fixed training
-- durations", 2024). The rate of the recipe, a cosine over the most steps that a stage may take, goes on below it.
local annealing = {}

local FIRST, LEAST = 1 / 32, 200 -- a stage is first looked at after a share of the most steps, and at least so many
local APART = math.sqrt(2)       -- factor from look to look
local DECAY = 1 / 3              -- steps of the fall, as a share of those before

--- The step at which a stage is first looked at.
-- @tparam integer steps the most that it takes
-- @treturn integer
function annealing.first(steps)
  return math.max(math.min(steps, LEAST), math.ceil(FIRST * steps))
end

--- Notes in `settled` whether the best measure has risen by less than the tolerance since half as many steps.
-- @tparam EarlyStopping early
-- @tparam integer step at which it was measured
function annealing.look(early, step)
  if (early.tolerance or 0) == 0 or step < early.look_at then return end
  early.settled = early.looked ~= nil and early.best - early.looked < early.tolerance
  early.looked, early.between, early.look_at = early.between, early.best, APART * step
end

--- Looks at a stage that had settled at the next measure again: what it has done since may have helped.
-- @tparam EarlyStopping early
-- @tparam integer step
function annealing.look_again(early, step)
  if early.settled then early.settled, early.look_at = false, step end
end

--- Lets the learning rate fall from here on, and the stage end with it.
-- @tparam table run
-- @tparam integer from the step
function annealing.begin(run, from)
  local to = math.min(run.total, from + math.max(1, math.floor(DECAY * from)))
  run.ending, run.total = { from = from, to = to }, to
end

--- A stage's learning rate, which falls where the stage ends.
-- @tparam table run
-- @tparam table o options of the stage
-- @return o.lr, as a function of the step where a tolerance can end the stage
function annealing.rate(run, o)
  if (o.tolerance or 0) == 0 then return o.lr end
  return function(step)
    local rate, ending = type(o.lr) == "number" and o.lr or o.lr(step), run.ending
    if not ending then return rate end
    return rate * (1 + math.cos(math.pi * (step - ending.from) / (ending.to - ending.from))) / 2
  end
end

return annealing
