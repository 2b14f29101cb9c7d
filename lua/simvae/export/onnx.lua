--- ONNX files (onnx.ai) of a model's directions: operator set 17, which onnxruntime and other runtimes read.
--
-- Shapes, names, units and bounds stand in the file: axes "batch" and "draws" are as long as a caller's arrays; each
-- input and output has a text; metadata_props has them as JSON (`inputs`, `outputs`, and `series` of curves) beside the
-- simulator and the direction. Weights are in the file. The same model gives the same bytes.
--
-- Files are written by a writer of protocol buffers of our own (simvae.export.support.onnx.protobuf): no Lua library of
-- them is in Debian, and what an ONNX file takes of the format is a page.
local builder = require "simvae.export.support.onnx.builder"
local convert = require "simvae.export.support.onnx.convert"
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local format = require "simvae.export.support.format"
local json = require "simvae.io.json"
local refuse = require "simvae.export.support.refuse"

local LARGEST = (1 << 31) - 1 -- bytes of a message of protocol buffers

local rules = format.rules "onnx"

-- ---- descriptions -----------------------------------------------------------------------------

local function is_finite(v) return type(v) == "number" and v == v and math.abs(v) < math.huge end

-- "R in ohm, from 10 to 1000"
local function label_text(label)
  local text = label.name
  if label.unit and label.unit ~= "" then text = text .. " in " .. label.unit end
  if label.levels then return string.format("%s, a class from 1 to %d", text, label.levels) end
  local low, high = is_finite(label.low), is_finite(label.high)
  if low and high then return string.format("%s, from %g to %g", text, label.low, label.high) end
  return low and string.format("%s, from %g", text, label.low) or high and string.format("%s, to %g", text, label.high)
    or text
end

local function text_of(value)
  local parts = {}
  for i, label in ipairs(value.labels or {}) do parts[i] = label_text(label) end
  local text = value.text or value.name
  return #parts > 0 and text .. ": " .. table.concat(parts, "; ") or text
end

local function shape_of(value)
  local shape = {}
  for i, d in ipairs(value.shape) do shape[i] = dim.is(d) and tostring(d) or d end
  return shape
end

-- Inputs or outputs for the metadata: infinite bounds are left out.
local function entries_of(values)
  local list = {}
  for k, value in ipairs(values) do
    local one = { name = value.name, text = value.text, shape = shape_of(value) }
    if is_finite(value.low) and is_finite(value.high) then one.low, one.high = value.low, value.high end
    for i, label in ipairs(value.labels or {}) do
      one.columns = one.columns or {}
      local column = {}
      for key, v in pairs(label) do
        if type(v) ~= "number" or is_finite(v) then column[key] = v end
      end
      one.columns[i] = column
    end
    list[k] = one
  end
  return list
end

local function metadata_of(model, graph)
  local sim = model.simulator
  local t = { simulator = sim.name, direction = graph.name, inputs = json.encode(entries_of(graph.inputs)),
    outputs = json.encode(entries_of(graph.outputs)) }
  if sim.series then
    local list = {}
    for i, one in ipairs(sim.series) do list[i] = { name = one.name, unit = one.unit } end
    local axis = sim.series.axis
    t.series = json.encode { curves = list, axis = axis and { name = axis.name, unit = axis.unit, low = axis.low,
      high = axis.high, scale = axis.scale } or nil }
  end
  return t
end

-- ---- files ----------------------------------------------------------------------------------------

-- The file of a graph, as a message of protocol buffers.
local function message_of(model, graph)
  local b, values = builder.new(), {}
  for _, input in ipairs(graph.inputs) do values[input] = b:input(input.name, shape_of(input), text_of(input)) end
  convert.graph(b, graph, values)
  for _, output in ipairs(graph.outputs) do
    b:output(output.name, values[output], shape_of(output), text_of(output))
  end
  local message = b:model { name = graph.name, doc = graph.text, producer = "simvae", version = core.version,
    metadata = metadata_of(model, graph) }
  if message.bytes > LARGEST then
    refuse.because("'%s' would take %d bytes, and an ONNX file holds at most %d; take a smaller width", graph.name,
      message.bytes, LARGEST)
  end
  return message
end

-- The paths of graphs: of several their names before the suffix.
local function paths_of(path, graphs)
  if #graphs == 1 then return { path } end
  local stem, list = path:gsub("%.[oO][nN][nN][xX]$", ""), {}
  for i, graph in ipairs(graphs) do list[i] = string.format("%s.%s.onnx", stem, graph.name) end
  return list
end

--- Writes directions of a model as ONNX files, for onnxruntime and others: in the simulator's units, with
-- standardisation, bounds and the posterior's transforms inside, for batches of any size.
--
-- decode takes z (batch, K) and gives x; encode takes x and gives mean and std (batch, K). Of the posterior, sample
-- takes x and u (batch, draws, D), independent uniform numbers in (0, 1), and gives z (batch, draws, K); log_prob takes
-- x and z (batch, draws, K) and gives log_prob (batch, draws). A simulator with a range of noise levels adds an input
-- noise (batch,). notebooks/python.ipynb uses such files from Python.
-- @tparam Model model
-- @tparam string path of the file; several graphs are files of their own, with their names before the suffix:
-- "box.sample.onnx", "box.log_prob.onnx"
-- @tparam ?table options options
-- @treturn string|nil path, or nil and a message: a file that exists or cannot be written
-- @treturn {string,...} the paths of the files
-- @raise a model of which a direction cannot leave (control flow that depends on data, ops in training mode or without
-- a conversion), a file of more than 2 GB
-- @usage
-- local _, files = assert(sv.export.onnx(model, "ring.onnx", { what = { "decode", "posterior" }, overwrite = true }))
-- print(table.concat(files, " "))
local function onnx(model, path, options)
  return format.write("onnx", model, path, options, rules, function(graphs)
    local paths, files = paths_of(path, graphs), {}
    for i, graph in ipairs(graphs) do files[i] = { path = paths[i], pieces = message_of(model, graph).pieces } end
    return files, paths
  end)
end

return { export = onnx, suffix = ".onnx", order = 10, rules = rules }
