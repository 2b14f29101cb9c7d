--- Mutual information of columns: arguments shared by the metrics based on it,
-- and their error messages. The estimate itself is C (csrc/metrics/information.c).
local core = require "simvae.core"
local check = require "simvae.util.check"
local matrix = require "simvae.metrics.support.matrix"

local information = {}

information.options = {
  bins = { "integer", default = 20, min = 2, max = 1024, doc = "of equal width, for continuous columns" },
  levels = { "table",
    doc = "classes of categorical columns of v, { [i] = n } or { name = n }; default: all columns are continuous" },
  z_levels = { "table", doc = "classes of categorical columns of z, { [i] = n } or { name = n }" },
  names = { "table", doc = "names of the columns of v" },
  z_names = { "table", doc = "names of the columns of z; default: those of v where there are as many" },
  constant = { "string", default = "error", one_of = { "error", "zero" },
    doc = "what a constant column of z is: an error, or a column without information" },
  rows_z = { "tensor", doc = "numbers of the rows of z that are used; bins are those of all rows; default: all" },
  rows_v = { "tensor", doc = "numbers of the rows of v that are used; default: all" },
}
for _, name in ipairs { "mim", "entropy", "modularity" } do check.declare("metrics." .. name, information.options) end

--- Declares the options of a metric that takes those of metrics.mim and some of its own.
-- @tparam string name "metrics.chance"
-- @tparam table own rules
-- @treturn table own
function information.declare(name, own)
  local all = {}
  for option, rule in pairs(information.options) do all[option] = rule end
  for option, rule in pairs(own) do all[option] = rule end
  check.declare(name, all)
  return own
end

-- Bins of every column for the C function: -n for n classes.
local function bins_of(what, name, option, given, t, bins, names)
  local levels = matrix.per_column(what, option, given, t.shape[2], names)
  local result = {}
  for i = 1, t.shape[2] do
    local n = levels[i]
    if n and (math.type(n) ~= "integer" or n < 2 or n > 1024) then
      check.fail(4, "%s: %s of %s is categorical and needs its number of classes, 2 to 1024: "
        .. "%s = { [%d] = 3 }; got %s", what, matrix.column(names, i), name, option, i, check.describe(n))
    end
    result[i] = n and -n or bins
  end
  return result
end

local function explain(what, problem, which, i, row, names, bins)
  local column = matrix.column(names, i)
  if problem == "not finite" then
    return string.format("%s: %s of %s is not finite at sample %d", what, column, which, row)
  elseif problem == "too many values" then
    return string.format("%s: %s of %s has more different values than its %d classes; "
      .. "is it continuous, or do its values need rounding?", what, column, which, -bins[i])
  elseif which == "z" then
    return string.format("%s: %s of z is constant; constant = \"zero\" counts it as no information", what, column)
  end
  return string.format("%s: %s of v is constant: it has no entropy to be explained", what, column)
end

--- MI(z_i, v_j) / H(v_j) of all pairs of columns.
-- @tparam string what the caller's name, for messages
-- @tparam tensor z (N, K)
-- @tparam tensor v (N, M)
-- @tparam table|nil opts as in metrics.mim
-- @treturn tensor (K, M)
-- @treturn table H(v_j) in nats
function information.matrix(what, z, v, opts)
  opts = check.options(what, opts, information.options)
  z, v = matrix.pair(what, z, v, nil, 4)
  local z_names = opts.z_names or (z.shape[2] == v.shape[2] and opts.names) or nil
  local bins_z = bins_of(what, "z", "z_levels", opts.z_levels, z, opts.bins, z_names)
  local bins_v = bins_of(what, "v", "levels", opts.levels, v, opts.bins, opts.names)
  local cells = 0
  for _, a in ipairs(bins_z) do
    for _, b in ipairs(bins_v) do cells = math.max(cells, math.abs(a) * math.abs(b)) end
  end
  local n = z.shape[1]
  if n < cells then
    check.fail(3, "%s: %d samples are too few for the %d cells of %d bins: the estimate would be mostly bias; "
      .. "give at least %d samples, or bins = %d", what, n, cells, opts.bins, cells,
      math.max(2, math.floor(n ^ 0.5)))
  end
  local result, problem, which, i, row = core.mutual_information(z, v, bins_z, bins_v, {
    constant = opts.constant == "zero", rows_z = opts.rows_z, rows_v = opts.rows_v,
  })
  if not result then
    check.fail(3, "%s", explain(what, problem, which, i, row, which == "z" and z_names or opts.names,
      which == "z" and bins_z or bins_v))
  end
  return result, problem
end

return information
