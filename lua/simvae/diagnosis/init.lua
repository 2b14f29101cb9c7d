--- What is learned well, what is not, why, and what to try: `simvae doctor`, and a section of reports.
--
--     local d = sv.diagnose(model)                 -- or sv.diagnose(simulator), before anything is trained
--     for _, f in ipairs(d.findings) do print(f.kind, f.text, f.try) end
--
-- A check is a file of this folder. It returns { reported = { order, find(d, add) } }: find calls add(finding) with
-- kind, parameters (names; optional), text and try. d holds the data (simvae.diagnosis.support.data):
--
--     sim, params, z, x       samples of the prior that the simulator worked on, and their outputs
--     failed                  those that it failed on: { z = a row, reason = }; tried: how many in all
--     std                     (…output) standard deviations of a repeated output: noise of the measurement and of the
--                             simulator itself; nil where there is none, or it is not known
--     d:outputs(rows)         outputs of rows of parameters, each with the random numbers of its place in the list
--     model, r                the model, and results of sv.evaluate; nil of a simulator
--     draws                   of posteriors, lists of rows, of the outputs measured of truths
--     misfit                  of the simulator at the encoder's estimates and the measured outputs, root mean square in
--                             units of std; nil where that is not known
--     named                   parameter's name -> kind of the last finding about it so far
--     simulations, steps      what the model was trained on, where it is known
local catalogue = require "simvae.util.catalogue"
local check = require "simvae.util.check"
local content = require "simvae.util.content"
local data = require "simvae.diagnosis.support.data"
local interrupt = require "simvae.util.interrupt"
local simulator = require "simvae.simulator"

local GOOD = 0.05 -- of the range: the error of a parameter that is learned well

local options = check.declare("diagnose", {
  results = { "table", doc = "what sv.evaluate returned of the model; default: an evaluation is made" },
  samples = { "integer", default = 2000, min = 400, doc = "samples of that evaluation" },
  seed = { "integer", default = 7, doc = "of the samples" },
  simulations = { "integer", min = 1, doc = "total number of simulations that the model was trained on, where it was "
    .. "limited: compares them with new ones" },
})

-- Parameters that no finding names, with their errors.
local function learned(d)
  local list = {}
  for _, p in ipairs(d.r and d.params or {}) do
    local share = d.r.rmse_relative[p.name]
    if not d.named[p.name] and share then
      local by = d.r.calibration and d.r.calibration.coverage.by[p.name]
      list[#list + 1] = { name = p.name, error = d.r.rmse[p.name], share = share, well = share <= GOOD,
        within = by and by.one, unit = p.unit }
    end
  end
  return list
end

-- Keeps a model from saying that the simulator's own outputs are unusual, until it is closed.
local function quiet(model)
  local before = model.noticed
  model.noticed = setmetatable({}, { __index = function() return "not said here" end })
  return setmetatable({}, { __close = function() model.noticed = before end })
end

local function examine(subject, o)
  local _scope <close> = require "simvae.model".is(subject) and quiet(subject) or nil
  local d, findings = data.new(subject, o), {}
  for _, one in ipairs(catalogue.reported "simvae.diagnosis") do
    one.find(d, function(f)
      findings[#findings + 1] = f
      for _, name in ipairs(f.parameters or {}) do d.named[name] = f.kind end
    end)
  end
  return content { simulator = d.sim.name, findings = findings, learned = learned(d), tried = d.tried,
    failures = #d.failed, seconds_per_sample = d.seconds, samples = d.r and d.r.samples }
end

--- Diagnoses a model, or a simulator before anything is trained. Of a model that was trained in rounds for one
-- observation, whose measures over the prior mean nothing, the simulator.
-- @tparam Model|Simulator subject what is examined
-- @tparam ?table t options
-- @treturn table findings: a list of { kind, parameters (names, or nil), text, try }; learned: the parameters of which
-- no finding is, { name, error (in its unit), share (of the range), well (share is at most 5%), within (share of truths
-- in 68% intervals), unit }; tried, failures (samples of the simulator), seconds_per_sample, samples (of the
-- evaluation), simulator (its name)
-- @raise something that is neither a model nor a simulator; a model that was loaded without its simulator
-- @usage
-- local box = require "simvae.simulators.box"
-- print(#sv.diagnose(box).findings)
local function diagnose(subject, t)
  local o = check.options("diagnose", t, options)
  local is_model = type(subject) == "table" and require "simvae.model".is(subject)
  if not is_model and not simulator.is(subject) then
    check.fail(2, "diagnose: takes a model or a simulator; got %s", check.describe(subject))
  end
  if is_model and rawget(subject.simulator, "placeholder") then
    check.fail(2, "diagnose: the model was loaded without its simulator '%s': sv.load(path, simulator)",
      subject.simulator.name)
  end
  return interrupt.during("diagnose: interrupted", examine, subject, o)
end

return diagnose
