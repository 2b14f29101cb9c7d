--- HDF5 and MATLAB files as data sets: z and x name arrays, or z a group whose arrays are columns.
--
-- Attributes of z, or of each column, give what is not declared:
--
--     names                   of the columns of z (also columns, parameters)
--     units                   (also unit)
--     low, high               bounds (also valid_min and valid_max, or valid_range, as of netCDF, and min and max)
--
-- Outputs above the option `memory` stay in the file, and rows are read when they are drawn.
local check = require "simvae.util.check"
local container = require "simvae.io.container"
local core = require "simvae.core"
local file = require "simvae.io.file"

local number_bytes = file.real == "f8" and 8 or 4
local refuse = file.refuse

-- ---- what attributes say of columns ------------------------------------------------------------

-- Entry k of an attribute: of the first of these names that there is.
local function said(attributes, names, kind, k)
  for _, name in ipairs(names) do
    local v = attributes[name]
    if type(v) == "table" then v = v[k] elseif k > 1 then v = nil end
    if type(v) == kind and (kind ~= "string" or not check.name_fault(v)) and (kind ~= "number" or v - v == 0) then
      return v
    end
  end
end

local function column_of(attributes, k, name)
  name = name or said(attributes, { "names", "columns", "parameters" }, "string", k)
  local range = attributes.valid_range
  if type(range) ~= "table" or #range ~= 2 then range = {} end
  return {
    name = name, text = name, unit = said(attributes, { "units", "unit" }, "string", k),
    low = said(attributes, { "low", "valid_min", "min" }, "number", k) or range[1],
    high = said(attributes, { "high", "valid_max", "max" }, "number", k) or range[2],
  }
end

-- ---- z -------------------------------------------------------------------------------------------

-- The arrays of a group, by name; nil: it is none.
local function columns_in(opened, name)
  local prefix, list = name:gsub("^/+", "") .. "/", {}
  if opened.reversed then prefix = prefix:gsub("%.", "/") end
  for _, entry in ipairs(opened.list) do
    if entry.dtype and entry.name:sub(1, #prefix) == prefix then list[#list + 1] = entry end
  end
  return #list > 0 and list or nil, prefix
end

local function load_columns(opened, list, prefix, count)
  local z, columns = core.zeros(#list, count), {}
  for k, entry in ipairs(list) do
    local total = file.count(entry.shape)
    if total ~= count then
      refuse("'%s' has shape %s, where x has %d rows", entry.name, check.shape_text(entry.shape), count)
    end
    z[k] = opened:load(entry):reshape(count)
    columns[k] = column_of(entry.attributes, 1, entry.name:sub(#prefix + 1))
  end
  return z:transpose(), columns
end

-- z as (N, K), and what is known of its columns.
local function load_z(opened, name, count, last)
  local known = opened.by_name[name]
  if not (known and known.dtype) then
    local list, prefix = columns_in(opened, name)
    if list then return load_columns(opened, list, prefix, count) end
  end
  local entry = opened:entry(name)
  if #entry.shape > 2 then refuse("z = '%s' has shape %s; it takes (N, K)", name, check.shape_text(entry.shape)) end
  local flip = #entry.shape == 2 and entry.shape[1] ~= count and entry.shape[2] == count
    and (last or entry.shape[1] == 1) -- a row of MATLAB
  local z, columns = opened:load(entry, nil, flip and 2 or nil), {}
  for k = 1, z.ndim == 2 and z.shape[2] or 1 do columns[k] = column_of(entry.attributes, k) end
  if not columns[1].name and #columns == 1 then columns[1].name, columns[1].text = name:match "[^/.]+$", name end
  return z, columns
end

-- ---- x -------------------------------------------------------------------------------------------

-- Rows of x, which stay in the file.
local function streamed(opened, entry, axis)
  return function(rows)
    local t, why = opened:take(entry, axis, rows)
    if t then return t, {} end
    local failures = {}
    for i in ipairs(rows) do failures[i] = why end
    return nil, failures
  end
end

local function held(t)
  return function(rows)
    local result = core.zeros(#rows, table.unpack(t.shape, 2))
    for i, r in ipairs(rows) do result[i] = t[r] end
    return result, {}
  end
end

local function source_of(opened, given)
  local entry = opened:entry(given.x or "x")
  if #entry.shape == 0 then refuse("'%s' holds a single number; it takes a row for each sample (N, …)", entry.name) end
  local last = given.samples == "last"
  local axis = last and #entry.shape or 1
  local count = entry.shape[axis]
  if last and #entry.shape == 1 then last = false end
  local z, columns = load_z(opened, given.z or "z", count, last)
  if z.shape[1] ~= count and entry.shape[#entry.shape] == z.shape[1] then
    refuse("x = '%s' has shape %s, and z has %d rows: samples = \"last\" takes the last axis as that of the samples",
      entry.name, check.shape_text(entry.shape), z.shape[1])
  end
  local shape = {}
  for k, n in ipairs(entry.shape) do
    if k ~= axis then shape[#shape + 1] = n end
  end
  if opened.reversed and #shape == 1 and shape[1] == 1 then shape = {} end -- a column of MATLAB
  local bytes = file.count(entry.shape) * number_bytes
  local source = { count = count, shape = shape, bytes = entry.dtype == "u1" and "u1", columns = columns, notices = {} }
  if bytes <= given.memory then
    source.read = held(opened:load(entry, math.max(2 * bytes, file.default_bytes), axis))
    opened:close()
  elseif opened.streams then
    source.read = streamed(opened, entry, axis)
  else
    refuse("'%s' would take %d bytes in memory, over the limit of %d; memory = n allows more, and files of save "
      .. "-v7.3 are read row by row", entry.name, bytes, given.memory)
  end
  function source.close() opened:close() end
  return source, z
end

--- Opens a file.
-- @tparam table given the options of sv.dataset
-- @tparam string format of simvae.io.container: "hdf5", "mat"
-- @treturn table source, as of simvae.simulator.dataset.sources
-- @treturn tensor z (N, K); or nil, message
return function(given, format)
  return file.attempt_on(given.path, function()
    local opened = container.open(given.path, format)
    local source, z = file.attempt(source_of, opened, given)
    if source then return source, z end
    opened:close()
    refuse("%s", z)
  end)
end
