--- MATLAB files: levels 4 and 5 (up to -v7) through libmatio, level 7.3 through libhdf5, where they are installed.
local check = require "simvae.util.check"
local container = require "simvae.io.container"
local file = require "simvae.io.file"

local mat = {}

local list, load = container.lister("list_mat", "mat"),
  container.loader("load_mat", "mat", check.declare("io.load_mat", { max_bytes = file.max_bytes }))

--- What a MATLAB file holds, without reading its arrays.
--
-- Needs libmatio, and libhdf5 for files of `save -v7.3`. Fields of a struct are named "struct/field".
-- @tparam string path
-- @treturn {table,...} entries by name: { name =, shape =, dtype = } of arrays of numbers, shape as MATLAB's size,
-- dtype "f8", "u1", …; { name =, is = } of others; or nil, message
-- @raise a path that is not a string
-- @usage
-- local entries, why = sv.io.list_mat "runs.mat"
-- for _, e in ipairs(entries or {}) do print(e.name, e.shape or e.is) end
function mat.list(path) return list(path) end

--- Reads an array from a MATLAB file.
--
-- Needs libmatio, and libhdf5 for files of `save -v7.3`. Element (i, j) of the tensor is MATLAB's (i, j). Numbers
-- become those of this build; logical arrays are 0 and 1. Cells, sparse and complex arrays are not read. The library
-- runs in a process of its own, so that a damaged file cannot harm this one.
-- @tparam string path
-- @tparam string name of the array, or "struct.field" of a struct
-- @tparam[opt] table options options
-- @treturn tensor of MATLAB's size, so at least two axes; or nil, message
-- @treturn table empty: MATLAB files have no attributes
-- @raise arguments of another type
-- @usage
-- local x, why = sv.io.load_mat("runs.mat", "images")
-- print(x and x.shape or why) -- the message, where there is no such file
function mat.load(path, name, options) return load(path, name, options) end

return mat
