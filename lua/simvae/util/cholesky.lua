--- Cholesky factors of small matrices, in Lua: where linear algebra is needed without OpenBLAS.
local cholesky = {}

local LEAST = 1e-12 -- of a squared pivot

--- The inverse of the lower triangular factor l of a = l l'.
-- @tparam {table,...} a symmetric, positive definite: a list of rows
-- @treturn {table,...} rows, complete
function cholesky.inverse_factor(a)
  local k, l, columns = #a, {}, {}
  for i = 1, k do
    local row, given = {}, a[i]
    l[i] = row
    for j = 1, i do
      local sum, other = given[j], l[j]
      for m = 1, j - 1 do sum = sum - row[m] * other[m] end
      row[j] = i == j and math.sqrt(math.max(sum, LEAST)) or sum / other[j]
    end
  end
  for j = 1, k do -- column by column: l x = e_j
    local x = {}
    columns[j] = x
    for i = j, k do
      local sum, row = i == j and 1 or 0, l[i]
      for m = j, i - 1 do sum = sum - row[m] * x[m] end
      x[i] = sum / row[i]
    end
  end
  local inverse = {}
  for i = 1, k do
    inverse[i] = {}
    for j = 1, k do inverse[i][j] = j <= i and columns[j][i] or 0 end
  end
  return inverse
end

return cholesky
