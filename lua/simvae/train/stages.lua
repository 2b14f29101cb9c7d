--- The stages of a training.
local stages = {}

--- Their names in their order. Sleep is the first part of stage 2, where there is any.
stages.names = { "decoder", "sleep", "encoder" }

--- Steps of each stage as text: "4000 + 8000", or with sleep between them "4000 + 3000 + 8000".
-- @tparam {[string]=integer} trained
-- @tparam ?boolean named "4000 decoder + 8000 encoder"
-- @treturn string
function stages.text(trained, named)
  local parts = {}
  for _, stage in ipairs(stages.names) do
    local steps = trained[stage] or 0
    if steps > 0 or stage ~= "sleep" then
      parts[#parts + 1] = string.format(named and "%d %s" or "%d", steps, stage)
    end
  end
  return table.concat(parts, " + ")
end

return stages
