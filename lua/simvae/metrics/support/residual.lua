--- Squared error of outputs y against outputs x, accumulated over batches. Sums
-- are of differences from the first output, scaled by a power of two, so that neither a large mean nor a small unit
-- loses precision.
--
--     local r = residual.new()
--     r:add(x, y)                 -- (n, …) both, as often as needed
--     print(r:mse(), r:r2())
local core = require "simvae.core"
local check = require "simvae.util.check"
local power_of_two = require "simvae.model.power_of_two"

local Residual = {}
Residual.__index = Residual
local residual = {}

-- A power of two near the size of the differences, so that squares do not overflow or underflow in any unit.
local function unit_of(x)
  local maximum = core.max(core.abs(x - x[1])):item()
  if maximum == 0 then maximum = core.max(core.abs(x)):item() end
  return power_of_two(maximum)
end

--- Nothing added yet.
function residual.new()
  return setmetatable({ count = 0, error = 0, squares = 0, unit = 1 }, Residual)
end

--- Adds a batch.
-- @tparam tensor x (n, …) reference outputs
-- @tparam tensor y (n, …) outputs
function Residual:add(x, y)
  local a, b = check.shape_text(x.shape), check.shape_text(y.shape)
  if a ~= b or x.ndim < 2 then
    check.fail(2, "residual: x and y take the same shape (samples, …); got %s and %s", a, b)
  end
  local n, size = x.shape[1], x.count // x.shape[1]
  if self.size and size ~= self.size then
    check.fail(2, "residual: outputs of %d numbers after outputs of %d", size, self.size)
  end
  local scope <close> = core.scope()
  local flat = x:reshape(n, size)
  if not self.total then
    self.size, self.total = size, core.buffer(core.zeros(size))
    self.origin, self.unit = core.buffer(flat[1]), unit_of(flat)
  end
  flat = (flat - self.origin) * (1 / self.unit)
  local other = (y:reshape(n, size) - self.origin) * (1 / self.unit)
  local error = core.sub(flat, other):square():mean():item() * x.count
  self.total:copy(core.add(self.total, flat:sum(1)))
  self.squares = self.squares + flat:square():mean():item() * x.count
  self.error, self.count = self.error + error, self.count + n
  return self
end

--- Mean squared error of an output number.
function Residual:mse()
  return self.error / (self.count * self.size) * self.unit ^ 2
end

-- E||x - mean x||² in self.unit ^ 2.
local function spread(self)
  local scope <close> = core.scope()
  local mean = core.mul(self.total, 1 / self.count)
  return self.squares / self.count - mean:square():mean():item() * self.size
end

--- E||x - mean x||², the mean over samples.
function Residual:variance()
  return spread(self) * self.unit ^ 2
end

--- 1 - E||y - x||² / E||x - mean x||²; nil where all x are the same.
function Residual:r2()
  local variance = spread(self)
  if variance <= 1e-12 * self.squares / self.count then return nil end
  return 1 - self.error / self.count / variance
end

--- Mean squared error of each row, in double precision: single precision has no squares beyond 1e38 or below 1e-45.
-- @tparam tensor x (n, size)
-- @tparam tensor y (n, size)
-- @treturn {number,...}
function residual.of_rows(x, y)
  local scope <close> = core.scope()
  local apart = core.abs(x - y)
  local unit = power_of_two(core.max(apart):item())
  local errors = core.mean(core.square(apart / unit), 2):totable()
  for i, e in ipairs(errors) do errors[i] = e * unit * unit end
  return errors
end

return residual
