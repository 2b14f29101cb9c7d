--- The readers that are fuzzed, by name, for spec/fuzz/readers.c: takes a name, returns the function that reads a file
-- and the path of the file to write.
local sv = require "simvae"
local core = require "simvae.core"
local cache = require "simvae.sampler.cache"

sv.threads(1)
local folder = assert(core.system.temporary_folder())

local tiny = sv.simulator {
  name = "tiny", params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } }, output = { 3 },
  simulate = function() end,
}

-- Reads a little of what a reader that reads on demand has opened.
local function use_array(array)
  if not array then return end
  pcall(array.take, array, { 1 })
  array:close()
end

-- Lists what a file of a library holds and reads the first entries of its arrays, in this process: the library's own
-- (simvae.io.library) would hide from the fuzzer which code runs.
local function use_library(name)
  local ok, module = pcall(require, "simvae." .. name)
  return function(path)
    assert(ok, module)
    local opened = module.open(path)
    local list = opened and opened:list() or {}
    for _, entry in ipairs(list) do
      if entry.shape then
        for axis, n in ipairs(entry.shape) do opened:read(entry.name, axis, 0, math.min(n, 2)) end
      end
    end
    if opened then opened:close() end
  end
end

local readers = {
  hdf5 = { "x.h5", use_library "hdf5" },
  mat = { "x.mat", use_library "matio" },
  npy = { "x.npy", function(path)
    sv.io.load_npy(path)
    use_array(sv.io.open_npy(path))
  end },
  npz = { "x.npz", function(path)
    sv.io.load_npz(path)
    local data = sv.dataset { path = path, memory = 1 << 20 }
    if data then data.close() end
  end },
  png = { "x.png", function(path)
    sv.io.load_png(path)
    sv.io.load_png(path, { alpha = true })
  end },
  safetensors = { "x.safetensors", sv.io.load_safetensors },
  csv = { "x.csv", function(path)
    sv.dataset { path = folder, csv = "x.csv" }
    sv.dataset { path = path, params = { "a" } }
    sv.dataset { path = path, points = 3 }
  end },
  json = { "x.json", function(path)
    local file <close> = assert(io.open(path, "rb"))
    local text = file:read "a"
    local whole = folder .. "/x.safetensors"
    local out <close> = assert(io.open(whole, "wb"))
    out:write(string.pack("<s8", text))
    out:close()
    sv.io.load_safetensors(whole)
    sv.load(whole, tiny)
  end },
  cache = { "x.bin", function(path)
    local opened = cache.open(path, tiny, 1, false)
    if not opened then return end
    local z, x = core.zeros(2), core.zeros(3)
    for i = 1, opened.count do pcall(opened.read, opened, opened.order[i], z, x) end
    opened:close()
  end },
  model = { "x.safetensors", function(path) sv.load(path, tiny) end },
}

local name = ...
local reader = assert(readers[name], "no such reader: " .. tostring(name))
if name == "csv" then assert(sv.io.save_png(folder .. "/a.png", core.ones(1, 2, 2))) end
return reader[2], folder .. "/" .. reader[1]
