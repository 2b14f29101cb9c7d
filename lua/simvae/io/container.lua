--- Files with named arrays that a library reads: HDF5 and MATLAB's. What the two have in common.
--
-- Arrays of a MATLAB file are column-major: the file has their axes in the opposite order (`reversed`).
local check = require "simvae.util.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local library = require "simvae.io.library"

local container = {}

local Container = {}
Container.__index = Container
Container.__gc = function(self) self.library:close() end
Container.__close = Container.__gc

local SIGNATURE = "\137HDF\r\n\26\n"
local KNOWN = 12 -- arrays that a message lists

-- ---- formats ----------------------------------------------------------------------------------

--- The format of a file by its first bytes.
-- @tparam string start 4096 of them, or all
-- @treturn ?string "hdf5", "mat" (level 5), "mat73" (level 7.3, which is HDF5); nil: another one
function container.format(start)
  for _, at in ipairs { 0, 512, 1024, 2048 } do
    if start:sub(at + 1, at + 8) == SIGNATURE then
      return at == 512 and start:sub(1, 7) == "MATLAB " and "mat73" or "hdf5"
    end
  end
  local mark = start:sub(125, 128)
  if mark == "\0\1IM" or mark == "\1\0MI" then return "mat" end
end

local function start_of(path)
  local source = file.need(core.io.open_source(path))
  local start = source:read(0, math.min(source:size(), 4096))
  source:close()
  return start or ""
end

-- ---- entries ------------------------------------------------------------------------------------

local function reverse(list)
  local result = {}
  for i = #list, 1, -1 do result[#result + 1] = list[i] end
  return result
end

local classes = { char = "text", cell = "a cell array", struct = "a struct", function_handle = "a function" }

-- An entry of a MATLAB file of level 7.3 by what MATLAB says of it; nil: it is MATLAB's own.
local function of_matlab(entry)
  if entry.name:find "^#" then return nil end
  local said = entry.attributes.MATLAB_class
  said = said and said[1]
  if entry.attributes.MATLAB_empty then
    entry.kind, entry.shape, entry.other = nil, nil, "an empty array"
  elseif entry.attributes.MATLAB_sparse then
    entry.kind, entry.other = nil, "a sparse array"
  elseif classes[said] and (entry.kind or entry.other) then
    entry.kind, entry.other = nil, classes[said]
  end
  entry.attributes = {}
  return entry
end

local function single(values) return #values == 1 and values[1] or values end

-- Entries as callers see them: shape in the order of axes of the format.
local function visible(self)
  local list = {}
  for _, stored in ipairs(self.library.entries) do
    local entry = not self.matlab and stored or of_matlab(stored)
    if entry then
      local shown = { name = entry.name, dtype = entry.kind, is = entry.other, attributes = {}, stored = entry }
      if entry.kind then shown.shape = self.reversed and reverse(entry.shape) or entry.shape end
      if not entry.readable and entry.kind then shown.dtype, shown.is = nil, "an array whose name is not UTF-8" end
      for name, values in pairs(entry.attributes) do shown.attributes[name] = single(values) end
      list[#list + 1], self.by_name[entry.name] = shown, shown
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

--- Opens a file; refuses it where it cannot be read.
-- @tparam string path
-- @tparam string wanted "hdf5" or "mat", which is level 5 or 7.3
-- @tparam ?integer max_bytes of what is read
-- @treturn table with `list`: entries { name, shape and dtype of an array of numbers, or is: what it is, attributes }
function container.open(path, wanted, max_bytes)
  local format = container.format(start_of(path))
  if wanted == "hdf5" and not (format == "hdf5" or format == "mat73") then
    file.refuse("this is not an HDF5 file%s", format == "mat" and "; load_mat reads it" or "")
  end
  local matlab = wanted == "mat"
  local name = (wanted == "hdf5" or format == "mat73" or format == "hdf5") and "hdf5" or "matio"
  local self = setmetatable({
    path = path, reversed = matlab, matlab = matlab and name == "hdf5", streams = name == "hdf5", by_name = {},
  }, Container)
  self.library = library.open(name, path, max_bytes)
  self.list = visible(self)
  return self
end

--- The array of a name; refuses with what there is.
-- @tparam string name with / or, in a MATLAB file, . between the parts
-- @treturn table entry
function Container:entry(name)
  local plain = name:gsub("^/+", "")
  local entry = self.by_name[plain] or self.reversed and self.by_name[(plain:gsub("%.", "/"))]
  if entry and entry.dtype then return entry end
  local known = {}
  for _, one in ipairs(self.list) do
    if one.dtype then known[#known + 1] = string.format("%s %s", one.name, check.shape_text(one.shape)) end
  end
  if #known > KNOWN then
    known = { table.concat(known, ", ", 1, KNOWN), string.format("and %d others", #known - KNOWN) }
  end
  file.refuse("no array of numbers '%s'%s; there %s", name, entry and ", which is " .. entry.is or "",
    #known == 0 and "are none" or "are " .. table.concat(known, ", "))
end

-- ---- reading ------------------------------------------------------------------------------------

-- The order in which stored axes become those of callers, an axis of rows first where it is given.
local function order_of(self, rank, axis)
  local order = { axis }
  local first, last, step = 1, rank, 1
  if self.reversed then first, last, step = rank, 1, -1 end
  for k = first, last, step do
    if k ~= axis then order[#order + 1] = k end
  end
  return order
end

local function permuted(t, order)
  for k, axis in ipairs(order) do
    if k ~= axis then return t:permute(order) end
  end
  return t
end

--- A whole array.
-- @tparam table entry
-- @tparam ?integer max_bytes
-- @tparam ?integer axis of the entry's shape that becomes the first one; default: none is moved
-- @treturn tensor; refuses what is too large or damaged
function Container:load(entry, max_bytes, axis)
  local rank = #entry.shape
  local t = self.library:whole(entry.stored, max_bytes)
  return permuted(t, order_of(self, rank, axis and (self.reversed and rank + 1 - axis or axis)))
end

--- Entries along an axis, in any order.
-- @tparam table entry
-- @tparam integer axis of its shape
-- @tparam {integer,...} list from 1
-- @treturn tensor (#list, …); or nil, message
function Container:take(entry, axis, list)
  local rank = #entry.shape
  local stored = self.reversed and rank + 1 - axis or axis
  local t, why = self.library:take(entry.stored, stored, list)
  if not t then return file.failure(self.path, string.format("'%s': %s", entry.name, why)) end
  if not self.reversed then return t end
  local order = { 1 } -- rows are first already
  for k = rank, 2, -1 do order[#order + 1] = k end
  return permuted(t, order)
end

--- Ends the library's process.
function Container:close() self.library:close() end

-- ---- the functions of sv.io ---------------------------------------------------------------------

-- Runs body(container) and closes it.
local function using(path, format, max_bytes, body)
  return file.attempt_on(path, function()
    local opened <close> = container.open(path, format, max_bytes)
    return body(opened)
  end)
end

--- The function that lists a file's entries.
function container.lister(what, format)
  return function(path)
    file.check_path(what, path)
    return using(path, format, nil, function(opened)
      for _, entry in ipairs(opened.list) do entry.stored = nil end
      return opened.list
    end)
  end
end

--- The function that loads an array.
function container.loader(what, format, rules)
  return function(path, name, options)
    file.check_path(what, path)
    check.value(what, "name", name, { "string" })
    options = check.options(what, options, rules)
    return using(path, format, options.max_bytes, function(opened)
      local entry = opened:entry(name)
      return opened:load(entry, options.max_bytes), entry.attributes
    end)
  end
end

return container
