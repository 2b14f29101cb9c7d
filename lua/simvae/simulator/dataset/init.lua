--- An existing data set as a simulator: pairs of parameters and outputs.
--
--     local faces = sv.dataset { z = "z.npy", x = "x.npy" }                   -- (N, K) and (N, …)
--     local faces = sv.dataset { path = "faces.npz", z = "angles", x = "images" }
--     local faces = sv.dataset { path = "folder" }                            -- PNGs, and a CSV that names them
--     local faces = sv.dataset { path = "faces.h5", z = "params", x = "images" }  -- HDF5, MATLAB
--     local filter = sv.dataset { path = "runs.csv", params = { "R", "C" } }  -- a table with named columns
--     local faces = sv.dataset { path = "runs/samples" }                      -- a sample cache
--
-- Its prior draws rows of the data; what training draws beyond them is the option `prior`
-- (simvae.simulator.dataset.fresh). run returns the row of given parameters, or the nearest one. Outputs stay on disk:
-- rows of a .npy file and PNGs are read when they are drawn; a .npz file's outputs that are larger than `memory` are
-- unpacked once into a .npy file. Where the rows are the complete grid of a few values of each parameter, the grid is
-- detected (dataset.grid), and the nearest row is found directly.
local check = require "simvae.util.check"
local declared = require "simvae.simulator.dataset.declared"
local drop = require "simvae.simulator.dataset.drop"
local fresh = require "simvae.simulator.dataset.fresh"
local layout = require "simvae.simulator.dataset.layout"
local lookup = require "simvae.simulator.dataset.lookup"
local part = require "simvae.simulator.dataset.part"
local parameter = require "simvae.simulator.parameter"
local simulator = require "simvae.simulator"
local sources = require "simvae.simulator.dataset.sources"

local dataset = {}

local fields = check.declare("dataset", {
  name = { "string", default = "dataset", doc = "of files, figures and messages" },
  path = { "string",
    doc = "a CSV table, a .npz, HDF5 or MATLAB file, a folder of PNGs with a CSV file, or a cache of samples" },
  z = { "string",
    doc = "a .npy file (N, K); with path the name of the array in that file (default \"z\"), or of a group or struct "
      .. "whose arrays are columns" },
  x = { "string", doc = "a .npy file (N, …); with path the name of the array in that file (default \"x\")" },
  samples = { "string", one_of = { "first", "last" },
    doc = "of HDF5 and MATLAB files: the axis of x (and z) along which samples lie; default \"first\"" },
  csv = { "string",
    doc = "name of the CSV file in the folder; its column \"file\" names the picture, the others are parameters" },
  drop = { "table", doc = "columns that are left out, by position, header or name" },
  params = { "table", each = parameter.rules,
    doc = "names of parameters, or declarations as of sv.simulator; of a CSV table its columns; "
      .. "bounds that are left out are the minimum and the maximum of the rows; default: those of the file, or each "
      .. "column; of a CSV table the columns that outputs does not name" },
  outputs = { "table",
    doc = "names of the columns of a CSV table that are outputs; default: those that params does not name" },
  axis = { "string|boolean", doc = "of a CSV table in long form, whose rows are points of curves: the column that the "
    .. "curves go along; false: each row is a run; default: by the rows, where it is unambiguous" },
  run = { "string", doc = "of a CSV table in long form: the column that names the runs; default: a run ends where a "
    .. "parameter changes or the axis goes back" },
  points = { "integer", min = 2, doc = "of a CSV table in long form: interpolates each curve linearly at so many even "
    .. "points of the axis; default: the points of the table, which all runs have in common" },
  decimal = { "string", one_of = { ".", "," },
    doc = "decimal separator of a CSV file; default: by its cells, where it is unambiguous" },
  missing = { "string", default = "error", one_of = { "error", "skip" },
    doc = "rows of a CSV table with missing values: an error that names them, or left out" },
  output = { "table", doc = "shape of a row of x, as of sv.simulator; default: by the file" },
  layout = { "string", one_of = layout.names, doc = "meaning of the axes of a row of x; needed where it is ambiguous" },
  scale = { "number", above = 0, doc = "outputs are divided by it; default: 255 for bytes that go above 1" },
  memory = { "integer", default = 1 << 30, min = 0,
    doc = "most bytes of a file's outputs that are held; larger ones of a .npz file are unpacked, of an HDF5 file read "
      .. "row by row" },
  unpacked = { "string", doc = "path that larger outputs are unpacked to; default: beside the .npz file" },
})
local shared = simulator.share_options(fields, { prior = true, series = true })
fields.prior = { "string|function|table",
  doc = "what training draws beyond the rows: \"independent\", \"fitted\", \"rows\", or as of sv.simulator; default: "
    .. "nothing" }

-- ---- the simulator -------------------------------------------------------------------------------

-- Rows and columns without those that are dropped.
local function without_columns(rows, columns, dropped)
  if not dropped then return rows, columns end
  local places, kept = {}, {}
  for k, column in ipairs(columns) do
    if not drop.has(dropped, k, column.name and column or nil) then places[#places + 1], kept[#kept + 1] = k, column end
  end
  local result = {}
  for r, row in ipairs(rows) do
    result[r] = {}
    for k, place in ipairs(places) do result[r][k] = row[place] end
  end
  return result, kept
end

-- What the file says of the columns of z: a table for each, empty where it says nothing.
local function columns_of_source(source, K)
  local list = {}
  for k = 1, K do list[k] = source.columns and source.columns[k] or {} end
  return list
end

-- The parameters and the rows of their values; or nil, message.
local function parameters_of(what, given, source, z)
  local rows, columns = z:totable(), columns_of_source(source, z.shape[2])
  if not source.dropped then
    local vain = drop.in_vain(given.drop, columns[1].name and columns or #columns)
    if vain then return nil, what .. ": " .. vain end
    rows, columns = without_columns(rows, columns, given.drop)
  end
  if source.params and not given.params then
    if #source.params ~= #columns then
      check.fail(3, "%s: params names %d parameters, z has %d columns", what, #source.params, #columns)
    end
    return source.params, rows
  end
  local params, selected, notice = declared.of(what, given.params, columns, rows)
  if not params then return nil, what .. ": " .. selected end
  if notice and source.notices then table.insert(source.notices, notice) end
  return params, selected
end

-- z as (N, K), checked against the outputs; or nil and the error.
local function columns_of(what, source, z)
  if z.ndim == 1 then z = z:reshape(z.count, 1) end
  if z.ndim ~= 2 then
    return nil, string.format("%s: z has shape %s; it takes (N, K)", what, check.shape_text(z.shape))
  end
  if z.shape[1] ~= source.count then
    return nil, string.format("%s: z has %d rows, x has %d", what, z.shape[1], source.count)
  end
  if source.count == 0 then return nil, what .. ": it has no rows" end
  for _, n in ipairs(source.shape) do
    if n == 0 then
      return nil, string.format("%s: x has shape (%d, %s), which holds no numbers", what, source.count,
        table.concat(source.shape, ", "))
    end
  end
  local finite, at = z:finite()
  if not finite then return nil, string.format("%s: row %d of z is not finite", what, (at - 1) // z.shape[2] + 1) end
  return z
end

-- Fills x with the outputs of some rows; gives those that failed.
local function reader(source, order, scale)
  return function(numbers, x)
    local values, failures = source.read(numbers)
    if not values then return failures end
    if order then values = values:permute(order) end
    x:copy(values)
    if scale ~= 1 then x:copy(x * (1 / scale)) end
    return failures
  end
end

--- A data set as a simulator.
-- @tparam table t options; besides its own, those of sv.simulator
-- @treturn Simulator with `.rows` (N), `.part(share)` (simvae.simulator.dataset.part) and, of a complete grid, `.grid`:
-- the list of values of each parameter; or nil, message
-- @raise unknown options, rows and outputs of unequal number, an ambiguous layout (which names the choices)
-- @usage
-- sv.io.save_npy("z.npy", z)
-- sv.io.save_npy("x.npy", x)
-- local measured = assert(sv.dataset { z = "z.npy", x = "x.npy" })
-- print(measured.rows, measured.output)
function dataset.dataset(t)
  local what = type(t) == "table" and type(t.name) == "string" and "dataset '" .. t.name .. "'" or "dataset"
  local given = check.options(what, t, fields)
  declared.check(what, given)
  local source, z = sources.open(what, given)
  if not source then return nil, what .. ": " .. z end
  local fits
  z, fits = columns_of(what, source, z)
  if not z then return nil, fits end
  local params, rows = parameters_of(what, given, source, z)
  if not params then return nil, rows end
  local plan, unclear = layout.of(source.shape, source.bytes, {
    layout = given.layout or not given.output and source.layout, output = given.output or source.output,
  })
  if not plan then return nil, what .. ": " .. unclear end
  local shape, order = plan.output, plan.order
  local scale, refused = layout.scale(source, shape, given)
  if not scale then return nil, what .. ": " .. refused end
  local count, own = check.count(shape), check.count(source.shape)
  if count ~= own then
    check.fail(2, "%s: output %s has %d numbers, a row of x %d", what, check.shape_text(shape), count, own)
  end

  local read = reader(source, order, scale)
  local made, find
  local levels = lookup.levels(rows, #params)
  local all = {
    name = given.name, params = params, output = shape,
    prior = function(rng) return rows[rng:integer(1, #rows)] end,
    batch = function(at_z, x)
      find = find or lookup.finder(rows, levels, made.params)
      local numbers = {}
      for i, row in ipairs(at_z:totable()) do numbers[i] = find(row) end
      return read(numbers, x)
    end,
    series = plan.series or not given.output and source.series or nil, close = source.close,
  }
  for _, name in ipairs(shared) do all[name] = given[name] end
  if all.correlated == nil then all.correlated = not levels end
  made = simulator.new(all)
  if made.refused then return nil, string.format("%s: %s (in the stored column)", what, made.refused) end
  made.rows, made.grid, made.part = #rows, levels, part(made, rows)
  made.fresh = fresh.of(what, made, rows, given.prior, 2)
  for _, text in ipairs(source.notices or {}) do io.stderr:write(what, ": ", text, "\n") end
  return made
end

return dataset
