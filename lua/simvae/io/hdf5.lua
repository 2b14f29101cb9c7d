--- HDF5 files (h5py, PyTables, netCDF-4 and instruments write them), through libhdf5 where it is installed.
local check = require "simvae.util.check"
local container = require "simvae.io.container"
local file = require "simvae.io.file"

local hdf5 = {}

local list, load = container.lister("list_hdf5", "hdf5"),
  container.loader("load_hdf5", "hdf5", check.declare("io.load_hdf5", { max_bytes = file.max_bytes }))

--- What an HDF5 file holds, without reading its arrays.
--
-- Needs libhdf5. Links to other files and soft links are not followed; arrays that lie in other files, that are not
-- written in full, or that other filters than deflate, shuffle and fletcher32 compressed, are not read.
-- @tparam string path
-- @treturn {table,...} entries by name ("group/array"): { name =, shape =, dtype =, attributes = } of arrays of
-- numbers, dtype "f8", "u1", …; { name =, is =, attributes = } of others; attributes: numbers, texts and lists of them
-- by name; or nil, message
-- @raise a path that is not a string
-- @usage
-- local entries, why = sv.io.list_hdf5 "runs.h5"
-- for _, e in ipairs(entries or {}) do print(e.name, e.shape or e.is) end
function hdf5.list(path) return list(path) end

--- Reads an array from an HDF5 file.
--
-- Needs libhdf5. Integers, floats and booleans become numbers of this build (float: whole numbers beyond 2^24 are
-- rounded). The library runs in a process of its own, so that a damaged file cannot harm this one.
-- @tparam string path
-- @tparam string name of the array: "group/array"
-- @tparam[opt] table options options
-- @treturn tensor of the array's shape; or nil, message
-- @treturn table its attributes: numbers, texts and lists of them by name
-- @raise arguments of another type
-- @usage
-- local x, attributes = sv.io.load_hdf5("runs.h5", "outputs")
-- print(x and attributes.units or attributes) -- the message, where there is no such file
function hdf5.load(path, name, options) return load(path, name, options) end

return hdf5
