--- The power of two next below the size of a number, within what single precision can divide by; 1 for 0. Dividing by
-- it is exact, and keeps the squares of what is divided within range: statistics do not depend on a unit.
-- @tparam number v
-- @treturn number
return function(v)
  return v ~= 0 and 2.0 ^ math.max(-120, math.min(126, math.floor(math.log(math.abs(v), 2)))) or 1
end
