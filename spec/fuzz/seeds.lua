--- Writes the seeds of the readers' fuzzers, small whole files of each kind: FOLDER/TARGET/NAME.
--
--   lua5.4 spec/fuzz/seeds.lua FOLDER      (or SIMVAE_FUZZ_SEEDS)
local sv = require "simvae"
local core = require "simvae.core"
local cache = require "simvae.sampler.cache"

local folder = ... or os.getenv "SIMVAE_FUZZ_SEEDS"
assert(core.system.mkdir(folder))

local function into(target, name)
  assert(core.system.mkdir(folder .. "/" .. target))
  return folder .. "/" .. target .. "/" .. name
end

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

-- Files that other programs wrote (spec/fixtures/make_io.py).
for _, name in ipairs(core.system.list "spec/fixtures/io") do
  local target = name:match "%.(%w+)$"
  local _, size = core.system.kind("spec/fixtures/io/" .. name)
  if (target == "npy" or target == "npz" or target == "png" or target == "safetensors") and size < 4096 then
    local file <close> = assert(io.open("spec/fixtures/io/" .. name, "rb"))
    write(into(target, name), file:read "a")
  end
end

for _, name in ipairs(core.system.list "spec/fixtures/containers") do -- spec/fixtures/make_containers.py
  local target = name:find "%.h5$" and "hdf5" or name:find "%.mat$" and "mat"
  if target then
    local file <close> = assert(io.open("spec/fixtures/containers/" .. name, "rb"))
    write(into(target, name), file:read "a")
  end
end

local tiny = sv.simulator {
  name = "tiny", params = { { name = "a", low = 0, high = 1 }, { name = "b", low = 0, high = 1 } }, output = { 3 },
  simulate = function(z, out) out[1], out[2] = z.a, z.b end,
}
local a = core.arange(1, 6):reshape(2, 3)
assert(sv.io.save_npy(into("npy", "small"), a))
assert(sv.io.save_npz(into("npz", "pair"), { x = a, z = a }))
assert(sv.io.save_safetensors(into("safetensors", "small"), { x = a }))
assert(sv.io.save_png(into("png", "small"), core.ones(3, 4, 4)))
write(into("csv", "plain"), "file,a,b\na.png,0.5,1\n")
write(into("csv", "quoted"), "\xef\xbb\xbfa,\"file\",\"b \"\"x\"\"\"\r\n1e-3,\"a.png\",-2\r\n,a.png,nan\r\n")
write(into("csv", "long"), "a;t (ms);v [V]\n1,5;0;1\n1,5;0,5;2\n2;0;3\n2;0,5;4\n")
write(into("csv", "steps"), "time\tV(o)\nStep Information: a=1K  (Run: 1/2)\n0e0\t1e0\n1e0\t2e0\n"
  .. "Step Information: a=2K  (Run: 2/2)\n0e0\t1e0\n2e0\t2e0\n")
write(into("json", "metadata"), '{"__metadata__":{"simvae":"1"},"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}')
write(into("json", "nested"), '{"x":{"dtype":"F64","shape":[2,0,1],"data_offsets":[0,0]},"a":[[["\\u00e9",1e9]],null]}')
local store = assert(cache.open(into("cache", "two"), tiny, 1, true))
for i = 1, 2 do store:add(i, 0, core.tensor { i, 2 }, core.tensor { 1, 2, i }) end
store:close()
assert(sv.model { simulator = tiny, net = "mlp", width = 2, seed = 1 }:save(into("model", "tiny")))
