--- Class numbers as indicators.
local check = require "simvae.util.check"
local core = require "simvae.core"

local EXACT = 1 << 24 -- whole numbers that single precision holds

--- Indicators of class numbers: 1 at the class, 0 elsewhere. Its inverse is sv.argmax along the last axis; of
-- sv.arange(1, n) it is the identity matrix.
-- @tparam tensor classes (…) whole numbers from 1
-- @tparam integer levels how many classes there are
-- @treturn tensor (…, levels), without a gradient
-- @raise numbers that are not whole, or not from 1 to levels
-- @usage print(sv.one_hot(sv.tensor { 2, 1, 3 }, 3))
local function one_hot(classes, levels)
  if getmetatable(classes) ~= core.metatable then
    check.fail(2, "one_hot: classes takes a tensor of whole numbers from 1; got %s", check.describe(classes))
  end
  check.value("one_hot", "levels", levels, { "integer", min = 1, max = EXACT })
  classes = classes:detach()
  if classes.count > 0 and not (classes:within(1, levels) and (core.floor(classes) - classes):within(0, 0)) then
    check.fail(2, "one_hot: classes takes whole numbers from 1 to %d; these are from %g to %g", levels,
      core.min(classes):item(), core.max(classes):item())
  end
  local shape = table.move(classes.shape, 1, classes.ndim, 1, {})
  shape[#shape + 1] = 1
  return 1 - core.clamp(core.abs(core.reshape(classes, shape) - core.arange(1, levels)), 0, 1)
end

return { one_hot = one_hot }
