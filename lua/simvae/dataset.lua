--- Data as a simulator: pairs of parameters and outputs that exist already.
--
--     local faces = sv.dataset { z = "z.npy", x = "x.npy" }                   -- (N, K) and (N, …)
--     local faces = sv.dataset { path = "faces.npz", z = "angles", x = "images" }
--     local faces = sv.dataset { path = "folder" }                            -- PNGs, and a CSV that names them
--
-- Its prior draws rows of the data; run at the parameters of a row gives that row, at others
-- the nearest one. Outputs stay on disk: rows of a .npy file and PNGs are read when they are
-- drawn; a .npz file's outputs that are larger than `memory` are unpacked once into a .npy file.
-- Where the rows are the complete grid of a few values of each parameter, that is recognised
-- (dataset.grid), and the nearest row is found at once.
local check = require "simvae.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local npy = require "simvae.io.npy"
local npz = require "simvae.io.npz"
local simulator = require "simvae.simulator"

local dataset = {}

local number_bytes = file.real == "f8" and 8 or 4

local fields = {
  name = { "string", default = "dataset" },
  path = { "string" },
  z = { "string" },
  x = { "string" },
  csv = { "string" },
  drop = { "table" },                                     -- columns of z, by place or by a CSV's name, to leave out
  params = { "table" },
  output = { "table" },
  scale = { "number", above = 0 },                        -- outputs are divided by it
  memory = { "integer", default = 1 << 30, min = 0 },     -- bytes of outputs that may be held
  unpacked = { "string" },
}
local passed_on = { "loss", "symmetry", "invariants", "doc", "correlated" }
for _, name in ipairs(passed_on) do
  fields[name] = { "function|table|string|boolean" } -- sv.simulator knows better
end

-- ---- sources of outputs: { count, shape (of a row), read(rows) -> tensor (n, …), failures } --------------

local function of_array(array)
  return {
    count = array.shape[1], shape = table.move(array.shape, 2, #array.shape, 1, {}), bytes = array.dtype:match "u1$",
    read = function(rows)
      local t, why = array:take(rows)
      if t then return t, {} end
      local failures = {}
      for i in ipairs(rows) do failures[i] = why end
      return nil, failures
    end,
    close = function() array:close() end,
  }
end

local function of_tensor(t, dtype)
  return {
    count = t.shape[1], shape = table.move(t.shape, 2, #t.shape, 1, {}), bytes = dtype and dtype:match "u1$",
    read = function(rows)
      local result = core.zeros(#rows, table.unpack(t.shape, 2))
      for i, r in ipairs(rows) do result[i] = t[r] end
      return result, {}
    end,
    close = function() end,
  }
end

local function of_pictures(folder, names)
  local load_png = require "simvae.io".load_png
  local first, why = load_png(folder .. names[1])
  if not first then return nil, why end
  local shape = first.shape
  return {
    count = #names, shape = shape,
    read = function(rows)
      local result, failures = core.zeros(#rows, table.unpack(shape)), {}
      for i, r in ipairs(rows) do
        local t, reason = load_png(folder .. names[r])
        if not t then
          failures[i] = reason
        elseif t.shape[1] ~= shape[1] or t.shape[2] ~= shape[2] or t.shape[3] ~= shape[3] then
          failures[i] = string.format("%s%s: a picture of %s; the first, %s, is %s", folder, names[r],
            check.shape_text(t.shape), names[1], check.shape_text(shape))
        else
          result[i] = t
        end
      end
      return result, failures
    end,
    close = function() end,
  }
end

-- ---- CSV ------------------------------------------------------------------------------------

local function csv_cells(line)
  local cells, at = {}, 1
  while true do
    local quoted, after = line:match('^%s*"([^"]*)"%s*()', at)
    if quoted then
      cells[#cells + 1] = quoted
    else
      cells[#cells + 1], after = line:match("^%s*([^,]-)%s*()%f[,\0]", at)
    end
    if not after or line:sub(after, after) ~= "," then return cells end
    at = after + 1
  end
end

local picture_columns = { file = true, filename = true, image = true, picture = true, path = true, png = true }

local function is_dropped(drop, place, name)
  for _, d in ipairs(drop or {}) do
    if d == place or d == name then return true end
  end
  return false
end

-- Returns the names of the pictures, those of the parameters, and the rows of their values.
local function read_csv(path, drop)
  local f, why = io.open(path, "r")
  if not f then return nil, why end
  local header, file_column, columns, names = nil, 1, {}, {}
  local files, rows, number = {}, {}, 0
  for line in f:lines() do
    number = number + 1
    if line:find "%S" then
      local cells = csv_cells(line)
      if not header then
        header = cells
        for i, name in ipairs(header) do
          if picture_columns[name:lower()] then file_column = i end
        end
        for i, name in ipairs(header) do
          if i ~= file_column and not is_dropped(drop, i, name) then
            columns[#columns + 1], names[#names + 1] = i, name
          end
        end
      else
        local row = {}
        for k, i in ipairs(columns) do
          row[k] = tonumber(cells[i])
          if not row[k] then
            f:close()
            return nil, string.format("%s, line %d: column '%s' is %s, not a number (drop = { %q } leaves it out)",
              path, number, header[i], cells[i] and string.format("%q", cells[i]) or "missing", header[i])
          end
        end
        files[#files + 1], rows[#rows + 1] = cells[file_column], row
      end
    end
  end
  f:close()
  if #rows == 0 then return nil, path .. ": no rows after the header" end
  return files, names, rows
end

local function open_folder(given)
  local folder = given.path:gsub("/*$", "/")
  local csv = given.csv
  if not csv then
    for _, name in ipairs(core.system.list(given.path) or {}) do
      if name:lower():match "%.csv$" then
        if csv then return nil, string.format("%s: several CSV files; csv = %q picks one", given.path, name) end
        csv = name
      end
    end
    if not csv then return nil, given.path .. ": no CSV file, which names the pictures and gives their parameters" end
  end
  local files, names, rows = read_csv(csv:match "^/" and csv or folder .. csv, given.drop)
  if not files then return nil, names end
  if #names == 0 then return nil, string.format("%s: %s has no column of parameters", given.path, csv) end
  local source, why = of_pictures(folder, files)
  if not source then return nil, why end
  return source, core.tensor(rows), names
end

-- ---- arrays ------------------------------------------------------------------------------------

local function open_arrays(given)
  local z, why = npy.load(given.z)
  if not z then return nil, why end
  local array
  array, why = npy.open(given.x)
  if not array then return nil, why end
  return of_array(array), z
end

local function unpack_array(given, name, entry)
  local to = given.unpacked or given.path:gsub("%.npz$", "") .. "." .. name .. ".npy"
  local array = npy.open(to)
  if array and check.shape_text(array.shape) == check.shape_text(entry.shape) then return of_array(array) end
  local ok, why = npz.unpack(given.path, name, to)
  if not ok then return nil, why .. "; unpacked = \"file\" names another place" end
  array, why = npy.open(to)
  if not array then return nil, why end
  return of_array(array)
end

local function open_npz(given)
  local shapes, why = npz.shapes(given.path)
  if not shapes then return nil, why end
  local names = { z = given.z or "z", x = given.x or "x" }
  for _, role in ipairs { "z", "x" } do
    if not shapes[names[role]] then
      local known = {}
      for name in pairs(shapes) do known[#known + 1] = name end
      table.sort(known)
      return nil, string.format("%s: no array of numbers '%s' (%s = \"name\" names it); there are %s", given.path,
        names[role], role, table.concat(known, ", "))
    end
  end
  local entry = shapes[names.x]
  local wanted = { names.z }
  local held = entry.count * number_bytes <= given.memory
  if held then wanted[2] = names.x end
  local tensors
  tensors, why = npz.load(given.path, {
    names = wanted, max_bytes = held and file.default_bytes + (entry.fortran and 2 or 1) * entry.count * number_bytes or nil,
  })
  if not tensors then return nil, why end
  if held then return of_tensor(tensors[names.x], entry.dtype), tensors[names.z] end
  local source
  source, why = unpack_array(given, names.x, entry)
  if not source then return nil, why end
  return source, tensors[names.z]
end

-- ---- grids -------------------------------------------------------------------------------------

-- The values of each column, sorted; nil as soon as they are too many for a grid of the rows.
local function levels_of(rows, K)
  local levels = {}
  for k = 1, K do
    local seen, list = {}, {}
    for r = 1, #rows do
      local v = rows[r][k]
      if not seen[v] then
        seen[v] = true
        list[#list + 1] = v
        if #list > #rows then return nil end
      end
    end
    table.sort(list)
    levels[k] = list
  end
  local product = 1
  for k = 1, K do product = product * #levels[k] end
  return product == #rows and levels or nil
end

-- Place (from 0) of the value nearest to v.
local function nearest_level(list, v)
  local low, high = 1, #list
  while high - low > 1 do
    local middle = (low + high) // 2
    if list[middle] <= v then low = middle else high = middle end
  end
  return (v - list[low] <= list[high] - v and low or high) - 1
end

local function code_of(levels, row)
  local code = 0
  for k, list in ipairs(levels) do code = code * #list + nearest_level(list, row[k]) end
  return code
end

-- A function row of z -> number of the data's row, for a complete grid; nil for another set.
local function find_in_grid(levels, rows)
  local ordered, place = true, {}
  for r, row in ipairs(rows) do
    local code = code_of(levels, row)
    ordered = ordered and code == r - 1
    if not ordered and not next(place) then
      for k = 1, r - 1 do place[k - 1] = k end
    end
    if not ordered then
      if place[code] then return nil end
      place[code] = r
    end
  end
  return function(row)
    local code = code_of(levels, row)
    return ordered and code + 1 or place[code]
  end
end

local function find_in_rows(rows, params)
  local K, place = #params, {}
  local format = string.rep("d", K)
  for r = #rows, 1, -1 do place[string.pack(format, table.unpack(rows[r]))] = r end
  return function(row)
    local exact = place[string.pack(format, table.unpack(row))]
    if exact then return exact end
    local best, least = 1, math.huge
    for r, other in ipairs(rows) do
      local distance = 0
      for k, p in ipairs(params) do
        local d = (row[k] - other[k]) / (p.high - p.low)
        distance = distance + d * d
      end
      if distance < least then best, least = r, distance end
    end
    return best
  end
end

-- ---- the simulator -------------------------------------------------------------------------------

local function without_columns(rows, drop, names)
  if not drop or names then return rows, names end
  local result = {}
  for r, row in ipairs(rows) do
    local kept = {}
    for k, v in ipairs(row) do
      if not is_dropped(drop, k) then kept[#kept + 1] = v end
    end
    result[r] = kept
  end
  return result, names
end

local function params_of(rows, names)
  local params = {}
  for k = 1, #rows[1] do
    local low, high = math.huge, -math.huge
    for _, row in ipairs(rows) do low, high = math.min(low, row[k]), math.max(high, row[k]) end
    local name = names and names[k] or "z" .. k
    if low == high then
      return nil, string.format("parameter %d, '%s', is %g in every row; drop = { %d } leaves it out", k, name, low, k)
    end
    params[k] = { name = name, low = low, high = high }
  end
  return params
end

-- Where channels stand, of a row's shape: the output's shape, and whether they are last.
local function output_of(shape)
  if #shape == 0 then return { 1 } end
  if #shape == 1 then return { shape[1] } end
  if #shape == 2 then return { 1, shape[1], shape[2] } end
  if #shape ~= 3 then return nil end
  local few = { true, true, true, true }
  if few[shape[3]] and not few[shape[1]] then return { shape[3], shape[1], shape[2] }, true end
  return { shape[1], shape[2], shape[3] }
end

local scale_rows = 256

-- Bytes that go above 1 count to 255.
local function scale_of(source)
  if not source.bytes then return 1 end
  local rows = {}
  local n = math.min(scale_rows, source.count)
  for i = 1, n do rows[i] = 1 + (i - 1) * source.count // n end
  local t = source.read(rows)
  if not t then return 1 end
  return t:max():item() > 1 and 255 or 1
end

local function open_source(what, given)
  if given.path then
    local kind = core.system.kind(given.path)
    if kind == "folder" then return open_folder(given) end
    if not kind then return nil, given.path .. ": no such file or folder" end
    return open_npz(given)
  end
  if not (given.z and given.x) then
    check.fail(3, "%s: takes z = \"z.npy\" and x = \"x.npy\", or path = a .npz file or a folder of PNGs", what)
  end
  return open_arrays(given)
end

--- A data set as a simulator.
-- @tparam table t one of: `z` and `x`, .npy files of (N, K) and (N, …); `path`, a .npz file (`z`, `x`: the names
-- of its arrays, default "z" and "x") or a folder of PNGs with a CSV file (`csv`: its name; a column "file" names
-- the picture, the others are parameters). `drop`: columns to leave out; `params`, as of sv.simulator (default:
-- each column with its least and largest value); `output`: its shape, as of sv.simulator; `scale`: outputs are
-- divided by it (default: 255 for bytes that go above 1); `memory`: bytes of a .npz file's outputs that may be
-- held (1 GiB); `unpacked`: where larger ones are unpacked to; `name`, loss, symmetry, invariants, doc
-- @treturn Simulator with `.rows` (N) and, of a complete grid, `.grid`: the list of values of each parameter; or nil,
-- message
function dataset.dataset(t)
  local what = type(t) == "table" and type(t.name) == "string" and "dataset '" .. t.name .. "'" or "dataset"
  local given = check.options(what, t, fields)
  local source, z, names = open_source(what, given)
  if not source then return nil, what .. ": " .. z end
  if z.ndim == 1 then z = z:reshape(z.count, 1) end
  if z.ndim ~= 2 then
    return nil, string.format("%s: z has shape %s; it takes (N, K)", what, check.shape_text(z.shape))
  end
  if z.shape[1] ~= source.count then
    return nil, string.format("%s: z has %d rows, x has %d", what, z.shape[1], source.count)
  end
  if source.count == 0 then return nil, what .. ": it has no rows" end
  local finite, at = z:finite()
  if not finite then return nil, string.format("%s: row %d of z is not finite", what, (at - 1) // z.shape[2] + 1) end
  local rows = without_columns(z:totable(), given.drop, names)
  local params = given.params
  if not params then
    local why
    params, why = params_of(rows, names)
    if not params then return nil, what .. ": " .. why end
  elseif #params ~= #rows[1] then
    check.fail(2, "%s: params names %d parameters, z has %d columns", what, #params, #rows[1])
  end
  local shape, channels_last = output_of(source.shape)
  shape = given.output or shape
  if not shape then
    return nil, string.format("%s: x has shape (N, %s); outputs are (channels, height, width) or (n,)", what,
      table.concat(source.shape, ", "))
  end
  local scale = given.scale or scale_of(source)
  local count, own = 1, 1
  for _, n in ipairs(shape) do count = count * n end
  for _, n in ipairs(source.shape) do own = own * n end
  if count ~= own then
    check.fail(2, "%s: output %s has %d numbers, a row of x %d", what, check.shape_text(shape), count, own)
  end

  local function read(numbers, x)
    local values, failures = source.read(numbers)
    if not values then return failures end
    if channels_last then values = values:permute { 1, 4, 2, 3 } end
    x:copy(values)
    if scale ~= 1 then x:copy(x * (1 / scale)) end
    return failures
  end

  local made, find
  local levels = levels_of(rows, #params)
  made = simulator.new {
    name = given.name, params = params, output = shape,
    prior = function(rng) return rows[rng:integer(1, #rows)] end,
    batch = function(at_z, x)
      find = find or levels and find_in_grid(levels, rows) or find_in_rows(rows, made.params)
      local numbers = {}
      for i, row in ipairs(at_z:totable()) do numbers[i] = find(row) end
      return read(numbers, x)
    end,
    correlated = given.correlated == nil and not levels or given.correlated,
    loss = given.loss, symmetry = given.symmetry, invariants = given.invariants, doc = given.doc,
    close = source.close,
  }
  made.rows, made.grid = #rows, levels
  return made
end

return dataset
