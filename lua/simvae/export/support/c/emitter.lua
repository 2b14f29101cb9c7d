--- Where the functions of ops (simvae.export.support.c.ops) put what they write: the arrays of constants and the
-- kernels of a file, and the places of values in the function that is written.
--
-- Constants that elementwise loops and products read are in flash memory on AVR (@@_FLASH, @@_AT); those whose address
-- kernels get are plain arrays.
local core = require "simvae.core"
local loops = require "simvae.export.support.c.loops"

local emitter = {}

local Emitter = {}
Emitter.__index = Emitter

--- For one file.
-- @tparam boolean int8 weights of products become bytes
-- @treturn table arrays: { name, type, numbers, flash }, …; kernels: names, in the order of their first use
function emitter.new(int8)
  return setmetatable({ arrays = {}, by_key = {}, by_content = {}, kernels = {}, int8 = int8, quantised = {} }, Emitter)
end

--- Begins a function.
-- @tparam table plan simvae.export.support.c.plan
function Emitter:start(plan) self.plan = plan end

--- Notes that a kernel is needed.
function Emitter:kernel(name)
  if not self.kernels[name] then
    self.kernels[name] = true
    self.kernels[#self.kernels + 1] = name
  end
end

-- ---- constants -----------------------------------------------------------------------------------------

local AT_ONCE = 128 -- numbers that string.pack takes

-- The numbers of an array as bytes: graphs of one model share their weights.
local function content(kind, flash, numbers)
  local parts = { kind, tostring(flash) }
  for i = 1, #numbers, AT_ONCE do
    local last = math.min(i + AT_ONCE - 1, #numbers)
    parts[#parts + 1] = string.pack(("f"):rep(last - i + 1), table.unpack(numbers, i, last))
  end
  return table.concat(parts)
end

local function add(self, key, tag, kind, flash, numbers)
  local known = self.by_key[key] and self.by_key[key][tag]
  if not known then
    local list = numbers()
    local bytes = content(kind, flash, list)
    known = self.by_content[bytes]
    if not known then
      known = { name = string.format("@_%s%d", tag:sub(1, 1), #self.arrays + 1), type = kind, flash = flash,
        numbers = list }
      self.by_content[bytes], self.arrays[#self.arrays + 1] = known, known
    end
    self.by_key[key] = self.by_key[key] or {}
    self.by_key[key][tag] = known
  end
  return known.name
end

local function numbers_of(t)
  return function() return core.reshape(t, -1):totable() end
end

--- A plain array of a tensor's numbers.
-- @tparam tensor t
-- @param key by which it is known
-- @tparam string tag
function Emitter:array_of(t, key, tag) return add(self, key, tag, "float", false, numbers_of(t)) end

-- A weight's nearest bytes, with a scale for each entry of an axis, and what they stand for.
local function quantise(self, value, axis)
  local known = self.quantised[value]
  if known then return known end
  local w, axes, each = value.tensor, {}, {}
  for i = 1, w.ndim do
    each[i] = i == axis and w.shape[i] or 1
    if i ~= axis then axes[#axes + 1] = i end
  end
  local largest = core.clamp(core.max(core.abs(w), axes), 1e-30, 1e30)
  local scales = core.reshape(largest / 127, each)
  local bytes = core.floor(w / scales + 0.5)
  known = { bytes = bytes, scales = core.reshape(scales, -1), weights = core.buffer(bytes * scales) }
  self.quantised[value] = known
  return known
end

--- The weights of a product, packed.
-- @tparam table value a constant
-- @tparam integer axis that of the outputs
-- @tparam function pack (tensor) -> list of numbers
-- @treturn table name, at (0), int8, and of bytes scales, the name of their array
function Emitter:weights(value, axis, pack)
  if not self.int8 then
    return { name = add(self, value, "weights", "float", true, function() return pack(value.tensor) end), at = 0 }
  end
  local q = quantise(self, value, axis)
  return { int8 = true, at = 0,
    name = add(self, value, "weights", "int8_t", true, function() return pack(q.bytes) end),
    scales = add(self, value, "scales", "float", true, numbers_of(q.scales)) }
end

--- The bias of a product: zeros where it has none.
function Emitter:bias(value, outputs)
  return value and add(self, value, "constants", "float", true, numbers_of(value.tensor))
    or add(self, "zeros " .. outputs, "constants", "float", true, numbers_of(core.zeros(outputs)))
end

--- The marks of a coupling's columns.
function Emitter:marks(value)
  return add(self, value, "marks", "unsigned char", false, numbers_of(value.tensor))
end

-- ---- places ------------------------------------------------------------------------------------------------

local function sum(name, at)
  return at == 0 and name or string.format("%s + %d", name, at)
end

--- An address `at` numbers behind another one.
function Emitter:offset(name, at) return sum(name, at) end

--- An address in the workspace.
function Emitter:work(at) return sum("work", at) end

--- The plain array that a value is in.
function Emitter:array(value)
  local name = self.plan:place(value)
  if name then return name end
  local root = self.plan:root(value)
  return add(self, root, "plain", "float", false, numbers_of(root.tensor))
end

--- Where in that array it begins.
function Emitter:base(value)
  local name, at = self.plan:place(value)
  if name then return at end
  local _, offset = self.plan:root(value)
  return offset
end

--- Text that is different for different places.
function Emitter:key(value)
  local name, at = self.plan:place(value)
  if name then return name .. at end
  local root, offset = self.plan:root(value)
  return tostring(root) .. offset
end

--- The address of a value.
function Emitter:pointer(value, at) return sum(self:array(value), self:base(value) + (at or 0)) end

--- A number of a result, as what is assigned to.
-- @tparam table node
-- @tparam {integer,...} steps of a nest of loops (simvae.export.support.c.loops)
-- @tparam ?integer at
function Emitter:at(node, steps, at)
  return string.format("%s[%s]", self:array(node), loops.index(steps, self:base(node) + (at or 0)))
end

--- A number of a value.
function Emitter:read(value, steps, at)
  local index = loops.index(steps, self:base(value) + (at or 0))
  if self.plan:place(value) then return string.format("%s[%s]", self:array(value), index) end
  local root = self.plan:root(value)
  return string.format("@@_AT(%s, %s)", add(self, root, "constants", "float", true, numbers_of(root.tensor)), index)
end

--- Lets a value that is no node of the graph lie where a node does.
function Emitter:with_place(value, node)
  local root, offset = self.plan:root(node)
  self.plan.roots[value] = { value, offset }
  self.plan.places[value] = self.plan.places[root]
  return self
end

return emitter
