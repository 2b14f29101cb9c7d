--- Sources of data sets: arrays, images with a table, sample caches.
local cache = require "simvae.sampler.cache"
local check = require "simvae.util.check"
local core = require "simvae.core"
local csv = require "simvae.io.csv"
local file = require "simvae.io.file"
local npy = require "simvae.io.npy"
local npz = require "simvae.io.npz"

local sources = {}

local number_bytes = file.real == "f8" and 8 or 4

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
    count = #names, shape = shape, layout = "channels_first",
    read = function(rows)
      local result, failures = core.zeros(#rows, table.unpack(shape)), {}
      for i, r in ipairs(rows) do
        local t, reason = load_png(folder .. names[r])
        if not t then
          failures[i] = reason
        elseif t.shape[1] ~= shape[1] or t.shape[2] ~= shape[2] or t.shape[3] ~= shape[3] then
          failures[i] = string.format("%s%s: an image of %s; the first, %s, is %s", folder, names[r],
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

-- ---- a folder of images and a table of their parameters --------------------------------------

local picture_columns = { file = true, filename = true, image = true, picture = true, path = true, png = true }

--- A column of drop that does not exist, or nil.
-- @tparam integer count of the columns
-- @tparam ?{string,...} names of the columns
function sources.dropped_in_vain(drop, count, names)
  for _, d in ipairs(drop or {}) do
    local there = math.type(d) == "integer" and d >= 1 and d <= count
    for _, name in ipairs(names or {}) do there = there or name == d end
    if not there then
      return string.format("drop: there is no column %s; there are %s", check.describe(d),
        names and table.concat(names, ", ") or "1 to " .. count)
    end
  end
end

--- Is a column of z omitted?
function sources.is_dropped(drop, place, name)
  for _, d in ipairs(drop or {}) do
    if d == place or d == name then return true end
  end
  return false
end

-- The number of a cell, or nil and the error.
local function number_of(cell)
  if cell == "" then return nil, "is empty: a missing value" end
  local v, why = core.number.read(cell)
  if not v then return nil, string.format("is %q, which %s", cell, why) end
  if v ~= v or v - v ~= 0 then return nil, string.format("is %q: not a finite number", cell) end
  return v
end

-- The columns of a header: the image's, the parameters' and their names; or nil, message.
local function read_header(path, header, drop)
  local file_column, columns, names, seen, numbers = 1, {}, {}, {}, 0
  local vain = sources.dropped_in_vain(drop, #header, header)
  if vain then return nil, path .. ": " .. vain end
  for i, name in ipairs(header) do
    if picture_columns[name:lower()] then file_column = i end
  end
  for i, name in ipairs(header) do
    name = name:gsub("%s+", " ")
    if i ~= file_column and not sources.is_dropped(drop, i, name) then
      local fault = check.name_fault(name)
      local what = name == "" and "has no name" or fault and "has a name that " .. fault
        or seen[name] and string.format("is named '%s', as column %d is", name, seen[name])
      if what then return nil, string.format("%s: column %d %s (drop = { %d } leaves it out)", path, i, what, i) end
      columns[#columns + 1], names[#names + 1], seen[name] = i, name, i
      numbers = numbers + (core.number.read(name) and 1 or 0)
    end
  end
  if #names > 0 and numbers == #names then
    return nil, string.format("%s: its first line names the columns, and holds numbers: %s", path,
      table.concat(header, ", "))
  end
  return file_column, columns, names
end

-- Returns the names of the images, those of the parameters, and the rows of their values.
local function read_table(path, drop)
  local header, lines = csv.read(path)
  if not header then return nil, lines end
  local file_column, columns, names = read_header(path, header, drop)
  if not file_column then return nil, columns end
  local files, rows = {}, {}
  for r, line in ipairs(lines) do
    local row = {}
    for k, i in ipairs(columns) do
      local why
      row[k], why = number_of(line[i])
      if not row[k] then
        return nil, string.format("%s, line %d: column '%s' %s (drop = { %q } leaves it out)", path, line.line,
          header[i], why, header[i])
      end
    end
    if line[file_column] == "" then
      return nil, string.format("%s, line %d: column '%s' names no image", path, line.line, header[file_column])
    end
    files[r], rows[r] = line[file_column], row
  end
  if #rows == 0 then return nil, path .. ": no rows after the header" end
  return files, names, rows
end

local function open_folder(given)
  local folder = given.path:gsub("/*$", "/")
  local table_name = given.csv
  if not table_name then
    for _, name in ipairs(core.system.list(given.path) or {}) do
      if name:lower():match "%.csv$" then
        if table_name then return nil, string.format("%s: several CSV files; csv = %q picks one", given.path, name) end
        table_name = name
      end
    end
    if not table_name then
      return nil, given.path .. ": no CSV file with the names of the images and their parameters"
    end
  end
  local files, names, rows = read_table(table_name:match "^/" and table_name or folder .. table_name, given.drop)
  if not files then return nil, names end
  if #names == 0 then return nil, string.format("%s: %s has no column of parameters", given.path, table_name) end
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

local function unpack_array(given, name)
  local to = given.unpacked or given.path:gsub("%.npz$", "") .. "." .. name .. ".npy"
  local ok, why = npz.unpack(given.path, name, to)
  if not ok then return nil, why .. "; unpacked = \"file\" names another place" end
  local array
  array, why = npy.open(to)
  if not array then return nil, why end
  return of_array(array)
end

-- Why a .npz file has no array of numbers for a role, z or x.
local function not_an_array(given, name, role, shapes, others)
  local known = {}
  for other in pairs(shapes) do known[#known + 1] = other end
  table.sort(known)
  return string.format("%s: no array of numbers '%s'%s (%s = \"name\" names it); there are %s", given.path, name,
    others[name] and ", which holds " .. others[name] or "", role, table.concat(known, ", "))
end

local function open_npz(given)
  local shapes, others = npz.shapes(given.path)
  if not shapes then return nil, others end
  local names = { z = given.z or "z", x = given.x or "x" }
  for _, role in ipairs { "z", "x" } do
    if not shapes[names[role]] then return nil, not_an_array(given, names[role], role, shapes, others) end
  end
  local entry = shapes[names.x]
  if #entry.shape == 0 then
    return nil, string.format("%s: '%s' holds a single number; it takes a row for each sample (N, …)", given.path,
      names.x)
  end
  local wanted = { names.z }
  local held = entry.count * number_bytes <= given.memory
  if held then wanted[2] = names.x end
  local tensors, why = npz.load(given.path, {
    names = wanted,
    max_bytes = held and file.default_bytes + (entry.fortran and 2 or 1) * entry.count * number_bytes or nil,
  })
  if not tensors then return nil, why end
  if held then return of_tensor(tensors[names.x], entry.dtype), tensors[names.z] end
  local source
  source, why = unpack_array(given, names.x)
  if not source then return nil, why end
  return source, tensors[names.z]
end

-- ---- a cache of samples -------------------------------------------------------------------

local function open_cache(given)
  local about, why = cache.describe(given.path)
  if not about then return nil, why end
  local opened
  opened, why = cache.open(given.path, about, nil, false)
  if not opened then return nil, why end
  local samples, K = table.move(opened.order, 1, opened.count, 1, {}), #about.params
  table.sort(samples)
  if #samples == 0 then
    opened:close()
    return nil, given.path .. ": it holds no samples"
  end
  local z, x = core.zeros(#samples, K), core.zeros(about.output)
  for r, sample in ipairs(samples) do opened:read(sample, z[r], x) end
  local source = { count = #samples, shape = about.output, params = about.params, output = about.output }
  function source.read(rows)
    local result, failures = core.zeros { #rows, table.unpack(about.output) }, {}
    local unused = core.zeros(K)
    for i, r in ipairs(rows) do
      local ok, reason = pcall(opened.read, opened, samples[r], unused, result[i])
      if not ok then failures[i] = reason end
    end
    return result, failures
  end
  function source.close() opened:close() end
  return source, z
end

-- ---- opening ---------------------------------------------------------------------------------

--- Opens the source of a data set.
-- @tparam string what for messages
-- @tparam table given the options of sv.dataset
-- @treturn table source of outputs: count, shape (of a row), bytes (are its numbers bytes?), params (where they are
-- known), read (row numbers) -> tensor (n, …), { [i] = why a row could not be read }; close
-- @treturn tensor z (N, K)
-- @treturn ?{string,...} names of its columns; or nil, message
function sources.open(what, given)
  if given.path then
    local kind = core.system.kind(given.path)
    if kind == "folder" then return open_folder(given) end
    if not kind then return nil, given.path .. ": no such file or folder" end
    if cache.is(given.path) then return open_cache(given) end
    local source, z = open_npz(given)
    if not source and not given.path:lower():find "%.npz$" then
      z = z .. "; path is a .npz file, a cache of samples, or a folder of PNGs with a CSV file"
    end
    return source, z
  end
  if not (given.z and given.x) then
    check.fail(4, "%s: takes z = \"z.npy\" and x = \"x.npy\", or path = a .npz file, a cache or a folder of PNGs", what)
  end
  return open_arrays(given)
end

return sources
