--- A training on MPI ranks whose steps are timed: mpirun … lua5.4 train.lua STAGE WIDTH ROWS PRECISION STEPS
--
-- Rank 0 prints JSON: the median and the least seconds of a step, and how many bytes its network interface has sent in
-- one.
local core = require "simvae.core"
local json = require "simvae.io.json"
local ranks = require "simvae.train.ranks"
local sv = require "simvae"

local stage, width, rows, precision, steps = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4], tonumber(arg[5])
local _, size = ranks.launched()

-- Bytes that the interface eth0 has sent.
local function sent()
  for line in io.lines "/proc/net/dev" do
    local numbers = line:match "^%s*eth0:(.*)"
    if numbers then return tonumber((numbers:gsub("^%s+", ""):match("^" .. ("%d+%s+"):rep(8) .. "(%d+)"))) end
  end
  return 0
end

local list, last, bytes, count = {}, nil, nil, 0
local function on_step(name)
  if name ~= stage then return end
  local now = core.system.clock()
  if last then list[#list + 1] = now - last end
  last, count = now, count + 1
  if count == 2 then bytes = sent() end
  if count == steps then bytes = (sent() - bytes) / (steps - 2) end
end

local box = require "simvae.simulators.box"
local model = sv.model { simulator = box, width = width, net = "dcgan", posterior = "gaussian" }
model:train { batch = rows * size, microbatches = size, reduce = precision, quiet = true, on_step = on_step,
  recipe = "paper", decoder = { steps = stage == "decoder" and steps or 1 },
  encoder = { steps = stage == "encoder" and steps or 0 } }
table.sort(list)
if sv.rank() == 0 then
  print(json.encode { median = list[(#list + 1) // 2], least = list[1], bytes = bytes })
end
ranks.finish()
