--- One rank's part of a training step, alone: lua5.4 profile.lua STAGE WIDTH ROWS RANKS STEPS
--
-- Runs model:train as rank 0 of so many with ROWS rows of each batch, where what would be exchanged is not. Prints as
-- JSON, in seconds of processor time of the fastest step: step, and of its backward pass when sums of gradients could
-- start (before its end, and how many numbers); how many small exchanges there were, and of how many numbers the
-- largest.
local core = require "simvae.core"
local json = require "simvae.io.json"
local ranks = require "simvae.train.ranks"
local sv = require "simvae"

local stage, width, rows, size, steps = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]), tonumber(arg[5])

local now = { started = {}, small = {} }

local function note_small(_, t) now.small[#now.small + 1] = t.count end

-- A rank whose exchanges are noted and not made.
local world = {
  rank = 0, size = size, mixed = false, sum = note_small, moments = note_small,
  rows = function(_, t, n)
    local copies = {}
    n = n or t.shape[1] * size
    for i = 1, n // t.shape[1] + 1 do copies[i] = t end
    note_small(nil, t)
    return core.slice(core.concat(copies, 1), 1, 1, n)
  end,
  start = function(_, _, _, count) now.started[#now.started + 1] = { at = os.clock(), numbers = count } end,
  finish = function() now.finished = os.clock() end,
  block = function(_, n) return 0, n // size end,
  broadcast = function(_, text) return text end, texts = function(_, text) return { text } end,
  agree = function(_, value) return value end, check = function() end, leave = function() end, saved = function() end,
}
function ranks.start() return world end

local best
local last
local function on_step(name, step)
  local at = os.clock()
  if name == stage and step > 2 and (not best or at - last < best.step) then
    best = { step = at - last, buckets = {}, small = #now.small, largest = math.max(table.unpack(now.small)) }
    for i, s in ipairs(now.started) do best.buckets[i] = { before = now.finished - s.at, numbers = s.numbers } end
  end
  if name == stage and step == steps then
    best.rows, best.width, best.stage = rows, width, stage
    print(json.encode(best))
    os.exit(0) -- without what comes after the steps
  end
  now, last = { started = {}, small = {} }, os.clock()
end

local box = require "simvae.simulators.box"
local model = sv.model { simulator = box, width = width, net = "dcgan", posterior = "gaussian" }
local o = { batch = rows * size, quiet = true, on_step = on_step, recipe = "paper",
  decoder = { steps = stage == "decoder" and steps or 1 }, encoder = { steps = stage == "encoder" and steps or 0 } }
model:train(o)
