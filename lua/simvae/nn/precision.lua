--- The precision that convolutions compute with: "fp32" (in a build of doubles "fp64"), or "bf16", whose products are
-- of factors rounded to bfloat16. Sums, weights and all other layers are in full precision either way.
--
-- It belongs to the layers: field `precision` of each, nil or "bf16".
local check = require "simvae.util.check"
local core = require "simvae.core"

local precision = {}

--- Checks a name.
-- @tparam string what whose option it is, for messages
-- @tparam string name
-- @tparam ?integer level of the caller (2)
-- @treturn ?string what a layer's field becomes: nil or "bf16"
function precision.check(what, name, level)
  local offered = core.precisions()
  for i, known in ipairs(offered) do
    if name == known then return i > 1 and name or nil end
  end
  check.fail((level or 2) + 1, "%s: precision: this CPU (kernel %s) offers %s; got %s", what, core.kernel(),
    table.concat(offered, " and "), check.describe(name))
end

-- A layer and all inside it.
local function each(layer, f)
  f(layer)
  for _, inner in ipairs(layer.inner) do each(inner, f) end
end

--- Sets the precision of layers until the value that it returns is closed, however that happens; then each of them
-- has its own again.
-- @tparam {Layer,...} layers
-- @tparam ?string value of precision.check
-- @return to be closed
function precision.during(layers, value)
  local before = {}
  for _, layer in ipairs(layers) do
    each(layer, function(l)
      before[#before + 1] = { l, rawget(l, "precision") }
      l.precision = value
    end)
  end
  return setmetatable({}, { __close = function()
    for i = #before, 1, -1 do before[i][1].precision = before[i][2] end -- a layer may be there twice
  end })
end

--- Sets the precision of a layer and all inside it.
-- @tparam Layer layer
-- @tparam ?string value of precision.check
function precision.set(layer, value)
  each(layer, function(l) l.precision = value end)
end

return precision
