--- The messages of an ONNX file. Names and numbers of fields are those of onnx/onnx.proto (github.com/onnx/onnx,
-- IR version 8, which goes with operator set 17): facts of the format, from which everything here is written.
local protobuf = require "simvae.export.support.onnx.protobuf"
local sorted_names = require "simvae.util.sorted_names"

local messages = {}

--- Versions of the file format and of the standard operators: those of ONNX 1.12, which onnxruntime reads from 1.12 on.
messages.IR_VERSION, messages.OPSET = 8, 17

-- enum TensorProto.DataType
local FLOAT, INT64 = 1, 7
messages.types = { float = FLOAT, int64 = INT64 }

-- enum AttributeProto.AttributeType
local ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_STRING, ATTRIBUTE_INTS = 1, 2, 3, 7

local function entry(key, value) -- StringStringEntryProto
  return protobuf.message():text(1, key):text(2, value)
end

-- AttributeProto: a whole number, a float (math.type tells them apart), a text, or a list of whole numbers.
local function attribute(name, v)
  local m = protobuf.message():text(1, name)
  if type(v) == "table" then
    for _, one in ipairs(v) do m:integer(8, one) end -- not packed: the field is declared without [packed=true]
    return m:integer(20, ATTRIBUTE_INTS)
  elseif type(v) == "string" then
    return m:text(4, v):integer(20, ATTRIBUTE_STRING)
  elseif math.type(v) == "integer" then
    return m:integer(3, v):integer(20, ATTRIBUTE_INT)
  end
  return m:float(2, v):integer(20, ATTRIBUTE_FLOAT)
end

--- NodeProto.
-- @tparam string op type of the operator
-- @tparam string name
-- @tparam {string,...} inputs names of values; "" for one that is left out
-- @tparam {string,...} outputs
-- @tparam table attributes by name: integers, floats, texts, lists of integers
-- @treturn Message
function messages.node(op, name, inputs, outputs, attributes)
  local m = protobuf.message()
  for _, input in ipairs(inputs) do m:text(1, input) end
  for _, output in ipairs(outputs) do m:text(2, output) end
  m:text(3, name):text(4, op)
  for _, key in ipairs(sorted_names(attributes)) do m:message(5, attribute(key, attributes[key])) end
  return m
end

--- TensorProto of floats.
-- @tparam string name
-- @tparam {integer,...} shape
-- @tparam tensor t
-- @treturn Message
function messages.floats(name, shape, t)
  local m = protobuf.message()
  if #shape > 0 then m:integers(1, shape) end
  return m:integer(2, FLOAT):text(8, name):floats(9, t)
end

--- TensorProto of whole numbers.
-- @tparam string name
-- @tparam {integer,...} shape
-- @tparam {integer,...} list
-- @treturn Message
function messages.integers(name, shape, list)
  local m = protobuf.message()
  if #shape > 0 then m:integers(1, shape) end
  return m:integer(2, INT64):text(8, name):text(9, string.pack("<" .. ("i8"):rep(#list), table.unpack(list)))
end

--- ValueInfoProto of a tensor of floats.
-- @tparam string name
-- @tparam {integer|string,...} shape names stand for lengths that a caller chooses
-- @tparam string doc
-- @treturn Message
function messages.value(name, shape, doc)
  local dims = protobuf.message() -- TensorShapeProto
  for _, n in ipairs(shape) do
    local dim = protobuf.message()
    if type(n) == "string" then dim:text(2, n) else dim:integer(1, n) end
    dims:message(1, dim)
  end
  local tensor = protobuf.message():integer(1, FLOAT):message(2, dims) -- TypeProto.Tensor
  return protobuf.message():text(1, name):message(2, protobuf.message():message(1, tensor)):text(3, doc)
end

--- GraphProto.
-- @tparam table t name, doc, nodes, initializers, inputs, outputs: lists of Messages
-- @treturn Message
function messages.graph(t)
  local m = protobuf.message()
  for _, node in ipairs(t.nodes) do m:message(1, node) end
  m:text(2, t.name)
  for _, tensor in ipairs(t.initializers) do m:message(5, tensor) end
  m:text(10, t.doc)
  for _, value in ipairs(t.inputs) do m:message(11, value) end
  for _, value in ipairs(t.outputs) do m:message(12, value) end
  return m
end

--- ModelProto.
-- @tparam table t graph (a Message), producer, version, doc, and metadata, texts by name
-- @treturn Message
function messages.model(t)
  local m = protobuf.message():integer(1, messages.IR_VERSION):text(2, t.producer):text(3, t.version):text(6, t.doc)
  m:message(7, t.graph)
  m:message(8, protobuf.message():text(1, ""):integer(2, messages.OPSET)) -- OperatorSetIdProto of the standard ones
  for _, key in ipairs(sorted_names(t.metadata)) do m:message(14, entry(key, t.metadata[key])) end
  return m
end

return messages
