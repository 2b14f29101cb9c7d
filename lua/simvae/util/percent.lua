--- A share as text: "0%", "0.4%", "68%"; "–" for none.
-- @tparam ?number v
-- @treturn string
return function(v)
  return v and string.format(v > 0 and v < 0.1 and "%.1f%%" or "%.0f%%", 100 * v) or "–"
end
