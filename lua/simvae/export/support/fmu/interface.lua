--- The variables of an FMU: the simulator's parameters as inputs, its output, and time.
local plan = require "simvae.export.support.c.plan"
local refuse = require "simvae.export.support.refuse"
local traversal = require "simvae.figures.support.traversal"
local units = require "simvae.export.support.fmu.units"

local interface = {}

local times = { time = true, t = true, ["time step"] = true }

-- Seconds of a unit of the axis; nil: the axis is no time. Without a unit its numbers are those of time.
local function seconds_of(axis)
  local unit = axis.unit or ""
  if unit ~= "" then return units.seconds(unit) end
  return times[axis.name:lower()] and 1 or nil
end

-- Whether outputs are functions of time.
local function over_time(sim, o)
  local axis = sim.series and sim.series.axis
  if o.series == "time" and not axis then
    refuse.because("series = \"time\", and the simulator declares no series with an axis; "
      .. "sv.simulator { series = { { name = }, axis = { name =, unit =, low =, high = } } } does")
  end
  if not axis or o.series == "array" then return false end
  return o.series == "time" or seconds_of(axis) ~= nil
end

-- Gives names that are taken another one.
local function unique(name, taken)
  local own, n = name, 1
  while taken[own] do
    n = n + 1
    own = name .. "_" .. n
  end
  taken[own] = true
  return own
end

local function finite(v) return v and math.abs(v) < math.huge and v or nil end

local function inputs_of(sim, labels, taken)
  local start, list = traversal.middle(sim), {}
  for i, p in ipairs(labels) do
    local low, high = finite(p.low), finite(p.high)
    if p.levels then low, high = 1, p.levels end
    list[i] = { name = unique(p.name, taken), unit = p.unit ~= "" and p.unit or nil, low = low, high = high,
      start = start[i], integer = p.levels ~= nil, text = sim.params[i].doc }
  end
  return list
end

local function time_of(sim, timed, taken)
  if not timed then return { name = unique("time", taken), unit = "s", low = 0, high = 1 } end
  local axis = sim.series.axis
  local seconds, points = seconds_of(axis), sim.output[1] // #sim.series
  local unit = axis.unit ~= "" and axis.unit or nil
  local t = { name = unique("time", taken), unit = seconds and unit and "s" or unit, points = points,
    log = axis.scale == "log", first = axis.low, last = axis.high, seconds = seconds or 1 }
  t.low, t.high = axis.low * t.seconds, axis.high * t.seconds
  t.step = points > 1 and (t.high - t.low) / (points - 1) or nil
  t.text = string.format("the axis of the series: %s", axis.name)
  return t
end

-- Outputs of `count` numbers each.
local function outputs_of(sim, timed, taken)
  local list, shape = {}, { table.unpack(sim.output) }
  if sim.series then shape = { sim.output[1] // #sim.series } end
  if timed or #shape == 1 and shape[1] == 1 then shape = {} end
  for i, one in ipairs(sim.series or { { name = "output" } }) do
    list[i] = { name = unique(one.name or "output", taken), unit = one.unit ~= "" and one.unit or nil, shape = shape }
  end
  return list
end

--- The variables of a model's FMU.
-- @tparam Model model
-- @tparam Graph graph decode
-- @tparam table o options: series
-- @treturn table name, text; time: name, unit, low and high (of the experiment), and where outputs are functions of it
-- points, first, last (of the axis), log, seconds (of its unit); inputs: name, unit, low, high, start, integer, text;
-- outputs: name, unit, shape; numbers: of the decoder's output
function interface.of(model, graph, o)
  local sim, taken = model.simulator, {}
  local timed = over_time(sim, o)
  local inputs = inputs_of(sim, graph.inputs[1].labels, taken)
  local outputs = outputs_of(sim, timed, taken)
  return { name = sim.name, text = sim.doc, inputs = inputs, outputs = outputs, time = time_of(sim, timed, taken),
    numbers = plan.count(graph.outputs[1]) }
end

--- The scalars of an output with indices, as FMI 2 has them: "gain[3]", "output[1,4,2]".
-- @tparam table output
-- @treturn {string,...} in row-major order
function interface.elements(output)
  local names = { "" }
  for _, n in ipairs(output.shape) do
    local longer = {}
    for _, name in ipairs(names) do
      for i = 1, n do longer[#longer + 1] = name .. (name == "" and "" or ",") .. i end
    end
    names = longer
  end
  for i, name in ipairs(names) do names[i] = name == "" and output.name or output.name .. "[" .. name .. "]" end
  return names
end

return interface
