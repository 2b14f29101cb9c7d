--- A short run of the op fuzzer with fixed seeds (`make fuzz` runs it for long, with new ones, under the sanitizers),
-- and ops that exceed memory. Each runs in a process of its own, which a crash would end.
local helper = require "spec.helper"

describe("random programs of ops", function()
  it("end in results or errors, and leave no memory behind", function()
    local said, code = helper.run("timeout 120 env " .. helper.lua_command("spec/fuzz/ops.lua", "1", "60"))
    assert.equal(0, code, said)
    assert.matches("60 programs, 0 failed", said)
  end)
end)

local script = [[
local sv, core = require "simvae", require "simvae.core"
local box = require "simvae.simulators.box"
local function step(n, width)
  local w, k = core.parameter(core.zeros(width, width)), core.parameter(core.zeros(16, 16, 4, 4))
  local tape <close> = core.tape()
  local y = core.linear(core.ones(n, width), w, nil, "relu")
  local z = core.conv2d(core.ones(n, 16, 8, 8), k, nil, { stride = 2, padding = 1 })
  tape:backward((y * y):sum() + (z * z):mean())
end
for i = 0, 9 do
  for _, f in ipairs { step, function(n) sv.simulate(box, n, sv.rng(1)) end } do
    local ok, why = pcall(f, 8 << i, 64 << (i // 2))
    if not ok then
      print(why)
      assert(why:find "not enough memory")
      step(1, 1) -- what is small goes on
      os.exit(true, true)
    end
  end
end
print "all of it"
]]

describe("work that there is no memory for", function()
  it("is an error, with any number of threads", function()
    if (os.getenv "LD_PRELOAD" or ""):find "asan" then return pending "sanitizers reserve terabytes of addresses" end
    local file = io.open "/proc/self/status"
    if not file then return pending "tells the size of a process through /proc" end
    file:close()
    local folder = helper.temporary_folder()
    local path = folder .. "/script.lua"
    local out <close> = assert(io.open(path, "w"))
    out:write(script)
    out:close()
    local base = tonumber((helper.run(helper.lua_command("-e", [[require "simvae" require "simvae.core"
      print(io.open "/proc/self/status":read "a":match "VmSize:%s*(%d+)")]]))))
    local errors = 0
    for extra = 12, 40, 7 do
      for threads = 1, 2 do
        local said, code = helper.run(string.format("ulimit -v %d; SV_THREADS=%d timeout 60 env %s",
          base + extra * 1024, threads, helper.lua_command(path)))
        assert.equal(0, code, string.format("with %d MB, %d threads: %s", extra, threads, said))
        if said:find "not enough memory" then errors = errors + 1 end
      end
    end
    assert.equal(10, errors)
  end)
end)

describe("a cache whose header is JSON, but not ours", function()
  it("is refused", function()
    local sv, cache = require "simvae", require "simvae.sampler.cache"
    local tiny = sv.simulator { name = "tiny", params = { { name = "a", low = 0, high = 1 } }, output = { 3 },
      simulate = function() end }
    local path = helper.temporary_folder() .. "/cache.bin"
    for _, header in ipairs { '{"params":[1],"output":[3]}', '{"params":[{"name":1}],"output":[3]}', "[]", "null",
      '{"simulator":"tiny","params":[{"name":"a"}],"output":[[3]],"numbers":"float"}',
      '{"simulator":{},"params":[],"output":[3],"numbers":"float"}' } do
      local file <close> = assert(io.open(path, "wb"))
      file:write("simvae cache 1\n", header, "\n")
      file:close()
      local opened, why = cache.open(path, tiny, 1, false)
      assert.is_nil(opened)
      assert.matches("is not a cache of simvae", why)
    end
  end)
end)
