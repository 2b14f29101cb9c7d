--- Sources of data sets: arrays, images with a table, sample caches.
local cache = require "simvae.sampler.cache"
local check = require "simvae.util.check"
local container = require "simvae.io.container"
local core = require "simvae.core"
local file = require "simvae.io.file"
local npy = require "simvae.io.npy"
local npz = require "simvae.io.npz"
local open_container = require "simvae.simulator.dataset.containers"
local pictures = require "simvae.simulator.dataset.pictures"
local read_table = require "simvae.simulator.dataset.table"

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

-- ---- a table -----------------------------------------------------------------------------------

local function open_table(given)
  local rows, x, about = read_table(given)
  if not rows then return nil, x end
  local source = of_tensor(x)
  for name, v in pairs(about) do source[name] = v end
  return source, core.tensor(rows)
end

-- ---- opening ---------------------------------------------------------------------------------

local kinds = "a CSV table, a .npz, HDF5 or MATLAB file, a cache of samples, or a folder of PNGs with a CSV file"

local function open_hdf5(given) return open_container(given, "hdf5") end
local function open_mat(given) return open_container(given, "mat") end

-- Options of tables, or of HDF5 and MATLAB files, alone.
local function refuse_options(what, given, open)
  if given.samples ~= nil and open ~= open_hdf5 and open ~= open_mat then
    check.fail(4, "%s: samples is an option of HDF5 and MATLAB files", what)
  end
  if open == open_table then return end
  for _, name in ipairs { "outputs", "axis", "run", "points", "missing" } do
    if given[name] ~= nil and given[name] ~= "error" then
      check.fail(4, "%s: %s is an option of CSV tables", what, name)
    end
  end
end

-- The opener of a folder, or of a file by its first bytes; nil and a message where it is of no kind that is known.
local function opener_of(path, kind)
  if kind == "folder" then return pictures end
  if cache.is(path) then return open_cache end
  local source, why = core.io.open_source(path)
  if not source then return file.failure(path, why) end
  local start = source:read(0, math.min(source:size(), 4096)) or ""
  source:close()
  local format = file.format(start) or container.format(start)
  if format == "npz" then return open_npz end
  if format == "hdf5" then return open_hdf5 end
  if format == "mat" or format == "mat73" or not format and path:lower():find "%.mat$" then return open_mat end
  if not format and not start:find "%z" and not path:lower():find "%.npz$" then return open_table end
  if path:lower():find "%.npz$" then return open_npz end
  return file.failure(path, "is of no kind that sv.dataset reads; path is " .. kinds)
end

--- Opens the source of a data set.
-- @tparam string what for messages
-- @tparam table given the options of sv.dataset
-- @treturn table source of outputs: count, shape (of a row), bytes (are its numbers bytes?), params (where they are
-- known), columns (what is known of z's: name, unit, low, high), dropped (are columns of `drop` left out already?),
-- series, notices, read (row numbers) -> tensor (n, …), { [i] = why a row could not be read }; close
-- @treturn tensor z (N, K); or nil, message
function sources.open(what, given)
  if given.path then
    local kind = core.system.kind(given.path)
    if not kind then return nil, given.path .. ": no such file or folder" end
    local open, why = opener_of(given.path, kind)
    if not open then return nil, why end
    refuse_options(what, given, open)
    return open(given)
  end
  if not (given.z and given.x) then
    check.fail(4, "%s: takes z = \"z.npy\" and x = \"x.npy\", or path = %s", what, kinds)
  end
  refuse_options(what, given)
  return open_arrays(given)
end

return sources
