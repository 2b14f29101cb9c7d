--- Matrices of samples: rows are samples, columns are variables with names. Checks
-- of arguments shared by the metrics.
local core = require "simvae.core"
local check = require "simvae.util.check"
local power_of_two = require "simvae.model.power_of_two"

local matrix = {}

--- Is this a tensor?
function matrix.is_tensor(t)
  return getmetatable(t) == core.metatable
end

--- A matrix of samples from a tensor or nested tables.
-- @tparam string what the caller's name, for messages
-- @tparam string name the argument's name
-- @tparam tensor|table t (N, K); a vector counts as one column
-- @tparam[opt] integer level of the blame, as of check.fail
-- @treturn tensor (N, K)
function matrix.check(what, name, t, level)
  level = level or 3
  if type(t) == "table" then t = core.tensor(t) end
  if not matrix.is_tensor(t) then
    check.fail(level, "%s: %s takes a tensor of shape (samples, columns); got %s", what, name, check.describe(t))
  end
  if t.ndim == 1 then t = t:reshape(t.shape[1], 1) end
  if t.ndim ~= 2 or t.count == 0 then
    check.fail(level, "%s: %s takes a tensor of shape (samples, columns); got %s", what, name,
      check.shape_text(t.shape))
  end
  return t
end

--- Outputs and their counterparts, row by row, of one shape.
-- @tparam string what the caller's name, for messages
-- @param x (N, …)
-- @param y (N, …)
-- @raise at the caller of the public function
function matrix.outputs(what, x, y)
  for i, t in ipairs { x or false, y or false } do
    if not matrix.is_tensor(t) or t.ndim < 2 or t.count == 0 then
      check.fail(3, "%s: %s takes outputs, a tensor (N, …); got %s", what, i == 1 and "x" or "y",
        t and check.describe(t) or "nothing")
    end
  end
  local a, b = check.shape_text(x.shape), check.shape_text(y.shape)
  if a ~= b then check.fail(3, "%s: x has shape %s, y has %s; they must agree", what, a, b) end
end

--- A copy of a metric's options.
function matrix.options(what, opts)
  if opts ~= nil and type(opts) ~= "table" then
    check.fail(3, "%s: takes a table of options; got %s", what, check.describe(opts))
  end
  local copy = {}
  for k, value in pairs(opts or {}) do copy[k] = value end
  return copy
end

--- Raises for numbers that are not finite, naming column and row.
function matrix.check_finite(what, name, t, names, level)
  local finite, at = t:finite()
  if finite then return end
  local columns = t.shape[2]
  check.fail(level or 3, "%s: %s of %s is not finite at sample %d", what,
    matrix.column(names, (at - 1) % columns + 1), name, (at - 1) // columns + 1)
end

--- Raises for columns that are constant or not finite.
function matrix.check_varied(what, name, t, names, level)
  level = level or 3
  matrix.check_finite(what, name, t, names, level + 1)
  for k, c in ipairs(matrix.columns(t)) do
    local varies = false
    for i = 2, #c do
      if c[i] ~= c[1] then
        varies = true
        break
      end
    end
    if not varies then check.fail(level, "%s: %s of %s is constant", what, matrix.column(names, k), name) end
  end
end

--- Two matrices whose rows belong together: latents and factors.
-- @tparam string what the caller's name, for messages
-- @tparam tensor|table z (N, K)
-- @tparam tensor|table v (N, M)
-- @tparam[opt] {string,string} called the arguments' names ({"z", "v"})
-- @tparam[opt] integer level of the blame, as of check.fail
-- @treturn tensor z
-- @treturn tensor v
function matrix.pair(what, z, v, called, level)
  called, level = called or { "z", "v" }, level or 3
  z, v = matrix.check(what, called[1], z, level + 1), matrix.check(what, called[2], v, level + 1)
  if z.shape[1] ~= v.shape[1] then
    check.fail(level, "%s: %s has %d samples, %s has %d; rows of both belong together", what, called[1], z.shape[1],
      called[2], v.shape[1])
  end
  return z, v
end

--- The same for latents and factors: factors are not constant, and all numbers are finite.
-- @tparam[opt] table names of v's columns
function matrix.scored(what, z, v, names)
  z, v = matrix.pair(what, z, v, nil, 4)
  matrix.check_varied(what, "v", v, names, 4)
  matrix.check_finite(what, "z", z, nil, 4)
  return z, v
end

--- The same where each column of one estimates that of the other: as many columns, and all is finite.
-- @tparam[opt] table names of the columns
-- @tparam[opt] {string,string} called the arguments' names ({"z", "v"})
-- @treturn tensor z
-- @treturn tensor v
-- @treturn integer how many columns they have
function matrix.estimates(what, z, v, names, called)
  called = called or { "z", "v" }
  z, v = matrix.pair(what, z, v, called, 4)
  local K = v.shape[2]
  if z.shape[2] ~= K then
    check.fail(3, "%s: %s has %d columns, %s has %d; column k of one estimates column k of the other", what, called[1],
      z.shape[2], called[2], K)
  end
  matrix.check_finite(what, called[1], z, names, 4)
  matrix.check_finite(what, called[2], v, names, 4)
  return z, v, K
end

--- How messages call a column: column 3 ('radius').
function matrix.column(names, i)
  return names and names[i] and string.format("column %d ('%s')", i, names[i]) or "column " .. i
end

--- One number a column: from a list with gaps, or a table by column name.
-- @tparam table|nil given {[i] = value} or {name = value}; false stands for none
-- @tparam integer columns how many there are
-- @tparam table|nil names of the columns
-- @treturn table {[i] = value or nil}
function matrix.per_column(what, option, given, columns, names)
  local result, index = {}, {}
  for i, n in ipairs(names or {}) do index[n] = i end
  for key, value in pairs(given or {}) do
    local i = index[key] or key
    if math.type(i) ~= "integer" or i < 1 or i > columns then
      check.fail(3, "%s: %s names column %s; there are %d%s", what, option, check.describe(key), columns,
        check.suggestion(key, names or {}))
    end
    result[i] = value or nil
  end
  return result
end

--- The order of values, equal ones in random order.
-- @tparam {number,...} y
-- @tparam rng rng
-- @treturn {integer,...} their places, the least one's first
function matrix.order(y, rng)
  local order, tie = {}, {}
  for i = 1, #y do order[i], tie[i] = i, rng:uniform() end
  table.sort(order, function(a, b)
    if y[a] ~= y[b] then return y[a] < y[b] end
    return tie[a] < tie[b]
  end)
  return order
end

--- The matrix with each column scaled by a power of two, exactly, so that its largest numbers are near 1.
-- @tparam tensor t (N, K)
-- @treturn tensor (N, K)
function matrix.near_one(t)
  local units = core.max(core.abs(t), 1):totable()
  for k, maximum in ipairs(units) do units[k] = power_of_two(maximum) end
  return t / core.tensor(units)
end

--- The columns as Lua lists.
-- @tparam tensor t (N, K)
-- @treturn table K lists of N numbers
function matrix.columns(t)
  local rows, columns = t:totable(), {}
  for k = 1, t.shape[2] do
    local c = {}
    for i = 1, #rows do c[i] = rows[i][k] end
    columns[k] = c
  end
  return columns
end

return matrix
