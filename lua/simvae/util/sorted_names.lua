--- The names (keys, strings) of a table in alphabetical order: that of pairs differs from one process to the next.
-- @tparam table t
-- @treturn {string,...}
return function(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return names
end
