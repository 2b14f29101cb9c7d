--- Rows of parameters and outputs as they are read: outputs in blocks of tensors, so that a large table is not held as
-- Lua's numbers.
local core = require "simvae.core"

local numbers = {}

local Rows = {}
Rows.__index = Rows

local BLOCK = 1 << 18 -- numbers

--- @tparam integer width numbers of a row of outputs
function numbers.new(width)
  return setmetatable({ width = width, z = {}, blocks = {}, held = {}, count = 0 }, Rows)
end

local function flush(self)
  if #self.held == 0 then return end
  self.blocks[#self.blocks + 1] = core.tensor(self.held):reshape(#self.held // self.width, self.width)
  self.held = {}
end

--- Adds a row.
-- @tparam {number,...} z
-- @tparam {number,...} x
function Rows:add(z, x)
  self.count = self.count + 1
  self.z[self.count] = z
  table.move(x, 1, self.width, #self.held + 1, self.held)
  if #self.held >= BLOCK then flush(self) end
end

--- @treturn {table,...} rows of z
-- @treturn tensor x (N, width)
function Rows:finish()
  flush(self)
  if #self.blocks == 1 then return self.z, self.blocks[1] end
  local x, r = core.zeros(self.count, self.width), 0
  for _, block in ipairs(self.blocks) do
    for i = 1, block.shape[1] do x[r + i] = block[i] end
    r = r + block.shape[1]
  end
  return self.z, x
end

return numbers
