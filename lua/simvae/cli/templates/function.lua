--- simvae new --kind function: a Lua function that fills a vector, a thrown ball with air drag.
return {
  doc = "A Lua function that gives a list of numbers: a thrown ball with air drag.",
  files = { [".lua"] = [==[
--- @NAME@: a ball thrown with air drag; its distance and height, seen at 24 times.
--
--     simvae train @NAME@.lua                    # writes runs/@NAME@: model, figures, report.html
--     simvae doctor runs/@NAME@                  # what is learned well, what is not, and what to try
--     simvae encode runs/@NAME@ measured.csv     # the parameters of a measurement, with their uncertainty
--
-- measured.csv: a line of names, then time, distance and height at the 24 times. To try it without one: the line
-- simvae simulate @NAME@.lua -n 1 --out one.npz writes an output with noise, which encode reads, and its parameters.
--
-- Change name, params, output and simulate to those of your own simulator.
local sv = require "simvae"

local TIMES, STEP, INNER = 24, 0.1, 10 -- numbers of each curve; s between them; steps of the integration in between
local GRAVITY = 9.81                   -- m/s^2

local simulator = sv.simulator {
  name = "@NAME@",

  -- What is to be inferred. Parameters are uniform between low and high; scale = "log": uniform in their logarithm.
  -- Other priors: prior = { "normal", mean, std }; directions: period = 360; classes: levels = 3.
  params = {
    { name = "speed", low = 10, high = 30, unit = "m/s", doc = "at the start" },
    { name = "angle", low = 20, high = 70, unit = "deg", doc = "above the horizon" },
    { name = "drag", low = 0.005, high = 0.1, unit = "1/m", scale = "log" },
  },

  -- What is observed: { numbers } of a vector, { channels, height, width } of a picture.
  output = { 2 * TIMES },
  series = { -- two curves of equal length, one after the other, for figures and CSV files
    { name = "distance", unit = "m" }, { name = "height", unit = "m" },
    axis = { name = "time", unit = "s", low = STEP, high = TIMES * STEP },
  },

  -- Standard deviation of a measurement, in units of the output: a number, or a list of one for each.
  noise = 0.1,

  -- z: the parameters by name; out: zeros, to be filled; rng: this sample's own generator, rng:normal().
  -- `return nil, "reason"` reports a failure: the sample is drawn again, and counted.
  simulate = function(z, out, rng) -- luacheck: ignore rng
    local x, y, angle = 0, 0, math.rad(z.angle)
    local u, v, dt = z.speed * math.cos(angle), z.speed * math.sin(angle), STEP / INNER
    for i = 1, TIMES do
      for _ = 1, INNER do
        local slow = z.drag * math.sqrt(u * u + v * v)
        u, v = u - dt * slow * u, v - dt * (slow * v + GRAVITY)
        x, y = x + dt * u, y + dt * v
      end
      out[i], out[TIMES + i] = x, y
    end
  end,
}

-- How it is trained; `simvae train --help` lists the options that replace these.
return {
  simulator = simulator,
  posterior = "flow",          -- of any shape
  decoder = { steps = 3000 },  -- stage 1: learns to give the simulator's output
  encoder = { steps = 5000 },  -- stage 2: learns to infer the parameters
}
]==] },
}
