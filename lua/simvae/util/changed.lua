--- A copy of a table with some of its fields changed.
-- @tparam ?table t
-- @tparam table changes by name
-- @treturn table
return function(t, changes)
  local copy = {}
  for k, v in pairs(t or {}) do copy[k] = v end
  for k, v in pairs(changes) do copy[k] = v end
  return copy
end
