--- The table of conversions: ops of the engine -> operators of ONNX. A family of ops is a file of the folder `ops`,
-- which returns `ops`, a table of functions by the ops' names:
--
--     ops.clamp(b, inputs, options, at) -> Value
--
-- b is the graph that is built (simvae.export.support.onnx.builder), inputs are the Values of its tensors (false: left
-- out), options those of a node of simvae.export.support.graph. Of `at`:
--
--     shape, shapes   of the result and of the inputs: lists of whole numbers, and of dimensions that grow with the
--                     batch (simvae.export.support.dim)
--     constants       tensors of the inputs that are constants, by their places
--     lengths(shape)  a shape as a Value, which operators take; lengths that grow with the batch are computed
local catalogue = require "simvae.util.catalogue"
local dim = require "simvae.export.support.dim"
local refuse = require "simvae.export.support.refuse"

local convert = {}

local ops = {}
for _, name in ipairs(catalogue.files("simvae.export.support.onnx.ops", "elementwise")) do
  for op, f in pairs(require("simvae.export.support.onnx.ops." .. name).ops or {}) do ops[op] = f end
end

-- The node as an operator's converter takes it.
local function about(node, lengths)
  local at = { shape = node.shape, shapes = {}, constants = {}, lengths = lengths }
  for k, input in ipairs(node.inputs) do
    at.shapes[k] = input and input.shape
    at.constants[k] = input and input.kind == "constant" and input.tensor or nil
  end
  return at
end

-- Sizes of the symbols of a graph, as Values of one number: the first axis of an input on which one stands alone.
local function sizes_of(graph, values)
  local sizes = {}
  local function find(symbol)
    for _, input in ipairs(graph.inputs) do
      for axis, d in ipairs(input.shape) do
        if d == dim.of(symbol) then return values[input]:shape(axis - 1, axis - 1) end
      end
    end
  end
  return function(symbol)
    sizes[symbol] = sizes[symbol] or find(symbol)
    return sizes[symbol]
  end
end

-- A shape as a Value: whole numbers at once, and dimensions as products.
local function lengths_with(b, size_of)
  return function(shape)
    if not dim.any(shape) then return b:integers(shape) end
    local parts = {}
    for i, d in ipairs(shape) do
      parts[i] = b:integers { dim.is(d) and d.factor or d }
      for _, symbol in ipairs(dim.symbols) do
        if dim.is(d) and d.symbols[symbol] then parts[i] = parts[i] * size_of(symbol) end
      end
    end
    return b:node("Concat", parts, { axis = 0 })
  end
end

--- Adds the nodes of a graph.
-- @tparam Builder b
-- @tparam Graph graph of simvae.export.support.graph
-- @tparam {[table]=Value} values of its inputs; those of its nodes are added
-- @raise an op without a conversion
function convert.graph(b, graph, values)
  local lengths = lengths_with(b, sizes_of(graph, values))
  local function value_of(v)
    if not v then return false end
    if v.kind == "constant" then return b:weight(v.tensor) end
    return values[v]
  end
  for _, node in ipairs(graph.nodes) do
    local f, inputs = ops[node.op], {}
    if not f then
      refuse.because("the op '%s' has no conversion to ONNX; compose the layer of others (sv.help \"ops\"), or add one "
        .. "to lua/simvae/export/support/onnx/ops", node.op)
    end
    for k, input in ipairs(node.inputs) do inputs[k] = value_of(input) end
    values[node] = f(b, inputs, node.options, about(node, lengths))
  end
  for _, output in ipairs(graph.outputs) do values[output] = value_of(output.value) end
end

--- Ops that have a conversion, by name.
convert.ops = ops

return convert
