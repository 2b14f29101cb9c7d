--- Messages in the wire format of protocol buffers (protobuf.dev/programming-guides/encoding): what an ONNX file is
-- made of. A field is a key, its number and wire type, and its value: a variable-length integer, four bytes of a float,
-- or a length and as many bytes, which are a text, packed numbers, the numbers of a tensor, or another message.
--
-- A message is a list of strings and tensors with its length in bytes, so that weights are not copied before they are
-- written. Fields come in the order of the calls: equal calls give equal bytes.
local core = require "simvae.core"

local protobuf = {}

local VARINT, LENGTH, FIXED32 = 0, 2, 5 -- wire types

local Message = {}
Message.__index = Message

--- @treturn Message without fields
function protobuf.message()
  return setmetatable({ pieces = {}, bytes = 0 }, Message)
end

-- A whole number, seven bits a byte, the lowest first; negative ones as 64-bit two's complement.
local function varint(v)
  local bytes = {}
  while v > 127 or v < 0 do
    bytes[#bytes + 1] = string.char(v & 127 | 128)
    v = v >> 7
  end
  bytes[#bytes + 1] = string.char(v)
  return table.concat(bytes)
end

local function key(field, wire)
  return varint(field << 3 | wire)
end

local function add(self, text)
  self.pieces[#self.pieces + 1] = text
  self.bytes = self.bytes + #text
  return self
end

--- @tparam integer field number of the field
-- @tparam integer v
function Message:integer(field, v)
  return add(self, key(field, VARINT) .. varint(v))
end

--- @tparam integer field
-- @tparam number v in single precision
function Message:float(field, v)
  return add(self, key(field, FIXED32) .. string.pack("<f", v))
end

--- @tparam integer field
-- @tparam string v bytes, or UTF-8
function Message:text(field, v)
  return add(self, key(field, LENGTH) .. varint(#v) .. v)
end

--- A repeated field of whole numbers, packed.
-- @tparam integer field
-- @tparam {integer,...} list
function Message:integers(field, list)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = varint(v) end
  return self:text(field, table.concat(parts))
end

--- @tparam integer field
-- @tparam Message other
function Message:message(field, other)
  add(self, key(field, LENGTH) .. varint(other.bytes))
  table.move(other.pieces, 1, #other.pieces, #self.pieces + 1, self.pieces)
  self.bytes = self.bytes + other.bytes
  return self
end

local AT_ONCE = 1 << 12 -- numbers of a double build that are packed at once

--- The numbers of a tensor, little-endian floats.
-- @tparam integer field
-- @tparam tensor t
function Message:floats(field, t)
  add(self, key(field, LENGTH) .. varint(4 * t.count))
  if core.real == "double" then
    local numbers = core.reshape(t, t.count):totable()
    for i = 1, #numbers, AT_ONCE do
      local last = math.min(i + AT_ONCE - 1, #numbers)
      add(self, string.pack("<" .. ("f"):rep(last - i + 1), table.unpack(numbers, i, last)))
    end
    return self
  end
  self.pieces[#self.pieces + 1] = t
  self.bytes = self.bytes + 4 * t.count
  return self
end

return protobuf
