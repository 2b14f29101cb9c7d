--- Weights by name, as tensors: those of a stage, and copies of them.
local core = require "simvae.core"

local weights = {}

--- The weights of a stage, as they are in the model.
-- @tparam Model model
-- @tparam string stage
-- @treturn {[string]=tensor}
function weights.of(model, stage)
  local map = {}
  for name, t in pairs(model:state()) do
    local second = name:find "^encoder%." ~= nil or name:find "^posterior%." ~= nil
    if second == (stage ~= "decoder") then map[name] = t end
  end
  return map
end

--- A copy, which later steps do not change. Numbers among them, as an optimizer's state has, are kept.
-- @tparam {[string]=tensor|number} map
-- @treturn {[string]=tensor|number}
function weights.copy(map)
  local result = {}
  for name, v in pairs(map) do result[name] = type(v) == "number" and v or core.buffer(v) end
  return result
end

--- Sets tensors to others of the same names.
-- @tparam {[string]=tensor} to
-- @tparam {[string]=tensor} from
function weights.set(to, from)
  for name, t in pairs(from) do to[name]:copy(t) end
end

return weights
