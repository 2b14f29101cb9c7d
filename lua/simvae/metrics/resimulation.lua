--- Re-simulation R².
--
-- Definition: 1 - E||S(E(x)) - x||² / Var(x), Var(x) = E||x - mean x||²: the share of
-- the outputs' variance that the simulator reproduces from the encoder's answers. 1:
-- every output is reproduced; 0: no better than the mean output; it can be negative.
-- It needs no true parameters and no declared symmetry, so it is the fair score of a
-- one-to-many inverse.
--
-- Known weaknesses: thin or small shapes weigh little, and a shape that is a pixel off
-- costs as much as one that is far off; outputs of several kinds (dB beside radians)
-- are ruled by the one with the larger numbers; an inverse may score 1 and yet give
-- parameters that are not the ones asked for.
local check = require "simvae.check"
local matrix = require "simvae.matrix"
local residual = require "simvae.residual"

--- Re-simulation R² of outputs against those simulated again from the encoder's answers.
-- @tparam tensor x (N, …) outputs S(z)
-- @tparam tensor y (N, …) S(E(x)), row by row; for more than fits in memory see simvae.residual
-- @treturn number|nil R²; nil if all outputs are the same
local function resimulation(x, y)
  for name, t in pairs { x = x, y = y } do
    if not matrix.is_tensor(t) then
      check.fail(2, "resimulation: %s takes a tensor (samples, …); got %s", name, check.describe(t))
    end
    local finite, at = t:finite()
    if not finite then
      check.fail(2, "resimulation: %s is not finite in sample %d", name, (at - 1) // (t.count // t.shape[1]) + 1)
    end
  end
  if x.ndim < 2 or check.shape_text(x.shape) ~= check.shape_text(y.shape) then
    check.fail(2, "resimulation: x and y take the same shape (samples, …); got %s and %s",
      check.shape_text(x.shape), check.shape_text(y.shape))
  end
  return residual.new():add(x, y):r2()
end

return resimulation
