--- An existing data set as a simulator: pairs of parameters and outputs.
--
--     local faces = sv.dataset { z = "z.npy", x = "x.npy" }                   -- (N, K) and (N, …)
--     local faces = sv.dataset { path = "faces.npz", z = "angles", x = "images" }
--     local faces = sv.dataset { path = "folder" }                            -- PNGs, and a CSV that names them
--     local faces = sv.dataset { path = "runs/samples" }                      -- a sample cache
--
-- Its prior draws rows of the data; what training draws beyond them is the option `prior`
-- (simvae.simulator.dataset.fresh). run returns the row of given parameters, or the nearest one. Outputs stay on disk:
-- rows of a .npy file and PNGs are read when they are drawn; a .npz file's outputs that are larger than `memory` are
-- unpacked once into a .npy file. Where the rows are the complete grid of a few values of each parameter, the grid is
-- detected (dataset.grid), and the nearest row is found directly.
local check = require "simvae.util.check"
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
  path = { "string", doc = "a .npz file, a folder of PNGs with a CSV file, or a cache of samples" },
  z = { "string", doc = "a .npy file (N, K); with path the name of the array in the .npz file (default \"z\")" },
  x = { "string", doc = "a .npy file (N, …); with path the name of the array in the .npz file (default \"x\")" },
  csv = { "string",
    doc = "name of the CSV file in the folder; its column \"file\" names the picture, the others are parameters" },
  drop = { "table", doc = "columns of z that are left out, by position or by name" },
  params = { "table", each = parameter.rules,
    doc = "named parameters with bounds and units, as of sv.simulator; default: those of the cache, or each column "
      .. "with its minimum and maximum" },
  output = { "table", doc = "shape of a row of x, as of sv.simulator; default: by the file" },
  layout = { "string", one_of = layout.names, doc = "meaning of the axes of a row of x; needed where it is ambiguous" },
  scale = { "number", above = 0, doc = "outputs are divided by it; default: 255 for bytes that go above 1" },
  memory = { "integer", default = 1 << 30, min = 0,
    doc = "most bytes of a .npz file's outputs that are held; larger ones are unpacked" },
  unpacked = { "string", doc = "path that larger outputs are unpacked to; default: beside the .npz file" },
})
local shared = simulator.share_options(fields, { prior = true, series = true })
fields.prior = { "string|function|table",
  doc = "what training draws beyond the rows: \"independent\", \"fitted\", \"rows\", or as of sv.simulator; default: "
    .. "nothing" }

-- ---- the simulator -------------------------------------------------------------------------------

local function without_columns(rows, drop, names)
  if not drop or names then return rows, names end
  local result = {}
  for r, row in ipairs(rows) do
    local kept = {}
    for k, v in ipairs(row) do
      if not sources.is_dropped(drop, k) then kept[#kept + 1] = v end
    end
    result[r] = kept
  end
  return result, names
end

local rounded_from = 1e5 -- single precision holds multiples of 1/128 from here on

local function params_of(rows, names)
  local params = {}
  for k = 1, #rows[1] do
    local low, high = math.huge, -math.huge
    for _, row in ipairs(rows) do low, high = math.min(low, row[k]), math.max(high, row[k]) end
    local name = names and names[k] or "z" .. k
    if low == high then
      return nil, string.format("parameter %d, '%s', is %g in every row; drop = { %d } leaves it out%s", k, name, low,
        k, math.abs(low) > rounded_from and ", or store its distance from an offset, if it differs by less" or "")
    end
    params[k] = { name = name, low = low, high = high }
  end
  return params
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
  local source, z, names = sources.open(what, given)
  if not source then return nil, what .. ": " .. z end
  local fits
  z, fits = columns_of(what, source, z)
  if not z then return nil, fits end
  local vain = not names and sources.dropped_in_vain(given.drop, z.shape[2])
  if vain then return nil, what .. ": " .. vain end
  local rows = without_columns(z:totable(), given.drop, names)
  local params = given.params or source.params
  if not params then
    local why
    params, why = params_of(rows, names)
    if not params then return nil, what .. ": " .. why end
  elseif #params ~= #rows[1] then
    check.fail(2, "%s: params names %d parameters, z has %d columns", what, #params, #rows[1])
  end
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
    series = plan.series, close = source.close,
  }
  for _, name in ipairs(shared) do all[name] = given[name] end
  if all.correlated == nil then all.correlated = not levels end
  made = simulator.new(all)
  if made.refused then return nil, string.format("%s: %s (in the stored column)", what, made.refused) end
  made.rows, made.grid, made.part = #rows, levels, part(made, rows)
  made.fresh = fresh.of(what, made, rows, given.prior, 2)
  return made
end

return dataset
