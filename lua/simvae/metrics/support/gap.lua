--- The mutual information gap of a run of sv.evaluate.
local core = require "simvae.core"
local metrics = require "simvae.metrics"

--- The gap of the columns of the selected factors; chance level and interval on request.
-- @tparam table run with settings and factors (simvae.evaluate.run)
-- @tparam tensor z (N, M) estimates, on the scales that mutual information compares
-- @tparam tensor v (N, K) true parameters, on the same scales
-- @tparam ?table o chance, interval: repeats of each
-- @treturn table mig, gaps, and where they were asked for chance and interval
return function(run, z, v, o)
  local settings, which = run.settings, run.factors
  local own, columns = {}, {}
  for k, value in pairs(settings) do own[k] = value end
  own.levels, own.names, own.z_names = {}, {}, settings.names
  for j, k in ipairs(which) do
    own.levels[j], own.names[j] = settings.levels[k], settings.names[k]
    columns[j] = core.slice(v, 2, k, k)
  end
  if #which < #settings.names then v = #columns == 1 and columns[1] or core.concat(columns, 2) end
  local result = {}
  result.mig, result.gaps = metrics.mig(metrics.mim(z, v, own))
  if o and o.chance > 0 then
    own.repeats = o.chance
    result.chance = metrics.chance(z, v, own)
  end
  if o and o.interval >= 20 then
    own.repeats = o.interval
    result.interval = metrics.interval(z, v, own).mig
  end
  return result
end
