--- Squared error of outputs y against outputs x, added up batch by batch, so that ten
-- thousand pictures need not be in memory at once.
--
--     local r = residual.new()
--     r:add(x, y)                 -- (n, …) both, as often as needed
--     print(r:mse(), r:r2())
local core = require "simvae.core"
local check = require "simvae.check"

local Residual = {}
Residual.__index = Residual
local residual = {}

--- Nothing added yet.
function residual.new()
  return setmetatable({ count = 0, error = 0, squares = 0 }, Residual)
end

--- Adds a batch.
-- @tparam tensor x (n, …) what should come out
-- @tparam tensor y (n, …) what came out
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
  local error = core.sub(flat, y:reshape(n, size)):square():mean():item() * x.count
  if not self.total then
    self.size, self.total = size, core.buffer(core.zeros(size))
  end
  self.total:copy(core.add(self.total, flat:sum(1)))
  self.squares = self.squares + flat:square():mean():item() * x.count
  self.error, self.count = self.error + error, self.count + n
  return self
end

--- Mean squared error of an output number.
function Residual:mse()
  return self.error / (self.count * self.size)
end

--- E||x - mean x||², the mean over samples.
function Residual:variance()
  local scope <close> = core.scope()
  local mean = core.mul(self.total, 1 / self.count)
  return self.squares / self.count - mean:square():mean():item() * self.size
end

--- 1 - E||y - x||² / E||x - mean x||²; nil where all x are the same.
function Residual:r2()
  local variance = self:variance()
  if variance <= 1e-12 * self.squares / self.count then return nil end
  return 1 - self.error / self.count / variance
end

return residual
