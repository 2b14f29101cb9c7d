--- The supervised inverse (eq. 5 of the paper): the encoder alone, on all pairs of parameters and output. Squared
-- errors of intervals and of the points that angles are on the circle, cross-entropy of classes.
local support = require "methods.support"
local sv = require "simvae"

local supervised = {}

--- The loss of eq. 5: the sum over parameters, averaged over rows.
-- @tparam Code code of sv.code
-- @tparam tensor raw (N, code.size) the encoder's outputs
-- @tparam tensor target (N, code.size) codes of the true parameters
-- @treturn tensor one number
function supervised.loss(code, raw, target)
  local total
  for _, part in ipairs(code.parts) do
    local a, b = sv.slice(raw, 2, part.first, part.last), sv.slice(target, 2, part.first, part.last)
    local one = part.kind == "class" and sv.cross_entropy(a, sv.argmax(b, 2)) or sv.mse_loss(a, b, "sum") / a.shape[1]
    total = total and total + one or one
  end
  return total
end

--- Trains it.
-- @tparam Run run
-- @treturn table answer
function supervised.train(run)
  local _, encoder = run:nets(run.code.size, run.code.size)
  local player = run:player { encoder }
  function player.loss()
    local z, x = run:next()
    return supervised.loss(run.code, encoder(x), run.code:from_units(z))
  end
  run:train { player }
  return run:named(support.batched(function(x) return encoder(run.seen(x)) end))
end

return supervised
