--- Times of sums between MPI ranks: mpirun … lua5.4 network.lua, of which rank 0 prints JSON, in seconds.
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local json = require "simvae.io.json"
local ranks = require "simvae.train.ranks"

local SMALL, LARGE = 512, 1 << 21 -- numbers
local MANY, FEW = 300, 4

local signals <close> = interrupt.watch(true)
local _, size = ranks.launched()
local world = ranks.start { launched = size, signals = signals }

-- The median and the least of some times of f.
local function times(n, f)
  local list = {}
  for i = 1, n do
    local before = core.system.clock()
    f()
    list[i] = core.system.clock() - before
  end
  table.sort(list)
  return list[(n + 1) // 2], list[1]
end

local small, large = core.buffer(core.zeros(SMALL)), core.buffer(core.zeros(LARGE))
local result = {}
result.small, result.least = times(MANY, function() world:sum(small) end)
for _, precision in ipairs { "fp32", "bf16" } do
  result[precision] = times(FEW, function()
    world:start(large, 0, LARGE, precision == "bf16")
    world:finish()
  end)
end
result.numbers = LARGE
if world.rank == 0 then print(json.encode(result)) end
ranks.finish()
