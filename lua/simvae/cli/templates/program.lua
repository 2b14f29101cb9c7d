--- simvae new --kind program: a program that answers lines, predator and prey in Python.
return {
  doc = "A program in any language, here Python: predator and prey.",
  needs = "python3",
  files = { [".py"] = [==[
#!/usr/bin/env python3
"""Predator and prey (Lotka and Volterra): populations at 20 times.

Reads a line [growth, hunting, deaths, food], the parameters, and answers with a line of 40 numbers, until its input
ends. Whatever it writes on standard error appears in the reasons of failures.
"""

import json
import sys

TIMES, STEP, INNER = 20, 1.0, 20


def slopes(prey, predators, growth, hunting, deaths, food):
    return growth * prey - hunting * prey * predators, food * hunting * prey * predators - deaths * predators


def simulate(z):
    prey, predators, dt, curve = 10.0, 5.0, STEP / INNER, []
    for _ in range(TIMES):
        for _ in range(INNER):  # midpoint rule
            a, b = slopes(prey, predators, *z)
            c, d = slopes(prey + dt / 2 * a, predators + dt / 2 * b, *z)
            prey, predators = prey + dt * c, predators + dt * d
        curve.append((prey, predators))
    return [p for p, _ in curve] + [q for _, q in curve]


for line in sys.stdin:
    print(json.dumps(simulate(json.loads(line))), flush=True)
]==], [".lua"] = [==[
--- @NAME@: a program (@NAME@.py): predator and prey; its rates, from both populations.
--
--     simvae train @NAME@.lua                    # writes runs/@NAME@: model, figures, report.html
--     simvae doctor runs/@NAME@                  # what is learned well, what is not, and what to try
--     simvae encode runs/@NAME@ measured.csv     # the rates of measured populations, with their uncertainty
--
-- measured.csv: a line of names, then time, prey and predators at the 20 times.
local sv = require "simvae"
local folder = debug.getinfo(1, "S").source:match "^@(.*/)" or ""

local simulator = sv.command {
  name = "@NAME@",

  -- The program and its arguments. It reads a line [z1, z2, …] and writes a line of numbers; sv.help "command" tells
  -- of other protocols: binary answers, files, programs that run once a sample.
  cmd = { "python3", folder .. "@NAME@.py" },
  timeout = 10, -- s a sample

  -- What is to be inferred; scale = "log": uniform in the logarithm.
  params = {
    { name = "growth", low = 0.3, high = 0.8, unit = "1/d", doc = "of prey" },
    { name = "hunting", low = 0.04, high = 0.1, unit = "1/d", scale = "log", doc = "per predator" },
    { name = "deaths", low = 0.3, high = 0.6, unit = "1/d", doc = "of predators" },
    { name = "food", low = 0.3, high = 1, doc = "predators that grow from one prey" },
  },

  -- What is observed: 20 numbers of prey, then of predators.
  output = { 40 },
  series = { { name = "prey" }, { name = "predators" }, axis = { name = "time", unit = "d", low = 1, high = 20 } },
  noise = 0.5, -- of a count
}

-- How it is trained; `simvae train --help` lists the options that replace these.
return {
  simulator = simulator,
  posterior = "flow",          -- of any shape
  recalibrate = 1000,          -- new simulations on which its stated intervals are corrected after the training
  simulations = 20000,         -- the program answers so often in total; training uses these in epochs
  workers = 2,                 -- processes that simulate beside the training
  decoder = { steps = 5000 },
  encoder = { steps = 8000 },
}
]==] },
}
