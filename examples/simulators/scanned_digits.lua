--- Handwritten digits as they are measured: by scans of few pixels. The simulator is the built-in `digits`; its noise
-- of a measurement turns every second picture into a scan of 8x8 blocks of 3 pixels, drawn again at 32x32, and adds
-- normal noise. So the encoder learns to read scans as well as drawings, and the decoder draws without either.
--
--     local scanned = dofile "examples/simulators/scanned_digits.lua"
--     local model = scanned.train { out = "runs/digits", width = 16, seed = 1 }     -- or what was trained there
--     local classes, pictures = scanned.read "digits.csv"      -- (N,) 1 to 9 and 10 for 0; (N, 1, 32, 32)
local csv = require "simvae.io.csv"
local sv = require "simvae"

local SIDE, BLOCKS, BLOCK = 32, 8, 3
local FIRST = (SIDE - BLOCKS * BLOCK) // 2 -- pixels before the first block
local SCANS = 0.5     -- share of scans
local NOISE = 0.05    -- standard deviation of a pixel
local MOST = 16       -- value of a pixel that is all ink, in files of 8x8 digits

local scanned = {}

-- ---- between blocks and pixels ------------------------------------------------------------------

-- Means of the pixels of each block (8, 32), and pixels between the blocks' centres, linearly (32, 8).
local function matrices()
  local down, up = sv.zeros(BLOCKS, SIDE), sv.zeros(SIDE, BLOCKS)
  for i = 1, BLOCKS do
    for k = 1, BLOCK do down:set(1 / BLOCK, i, FIRST + (i - 1) * BLOCK + k) end
  end
  for r = 1, SIDE do
    local at = (r - 0.5 - FIRST) / BLOCK + 0.5 -- in blocks, the first one's centre at 1
    local low = math.floor(at)
    for _, i in ipairs { low, low + 1 } do
      if i >= 1 and i <= BLOCKS then up:set(1 - math.abs(at - i), r, i) end
    end
  end
  return sv.buffer(down), sv.buffer(up)
end

local down, up = matrices()
local scan, across = sv.buffer(sv.matmul(up, down)), sv.buffer(sv.transpose(sv.matmul(up, down)))

--- A picture as it is measured.
local function measured(x, rng)
  local picture = x
  if rng:uniform() < SCANS then
    picture = sv.reshape(sv.matmul(sv.matmul(scan, sv.reshape(x, SIDE, SIDE)), across), 1, SIDE, SIDE)
  end
  return picture + rng:normal(x.shape) * NOISE
end

scanned.simulator = require "simvae.simulators.digits" { noise = measured }

--- The model that train_digits.lua and train_multiply.lua share: trained, or resumed and read from its folder.
-- @tparam table a out, width, seed; steps of each stage, quiet
-- @treturn Model
function scanned.train(a)
  local model = sv.model { simulator = scanned.simulator, posterior = "flow", width = a.width, seed = a.seed }
  model:train {
    out = a.out, quiet = a.quiet,
    decoder = { steps = a.steps or 4000 },
    encoder = { steps = a.steps or 10000, labels = 1, lr = { peak = 1e-3, warmup = 100 } },
  }
  return model
end

--- Pictures of 8x8 blocks at 32x32.
-- @tparam tensor blocks (N, 8, 8), 1: all ink
-- @treturn tensor (N, 1, 32, 32)
function scanned.enlarge(blocks)
  local n = blocks.shape[1]
  local tall = sv.matmul(up, blocks)
  return sv.reshape(sv.matmul(tall, sv.transpose(up)), n, 1, SIDE, SIDE)
end

--- Reads 8x8 digits: a table of the digit and 64 pixels from 0 to 16, as examples/export_digits.py writes it.
-- @tparam string path
-- @treturn {integer,...} classes, 1 to 9 and 10 for 0; nil and why not
-- @treturn tensor pictures (N, 1, 32, 32)
function scanned.read(path)
  local header, rows = csv.read(path)
  if not header then return nil, tostring(rows) end
  if #header ~= 1 + BLOCKS * BLOCKS then
    return nil, string.format("%s: takes a digit and %d pixels a row; it has %d columns", path, BLOCKS * BLOCKS,
      #header)
  end
  local classes, pictures = {}, {}
  for n, row in ipairs(rows) do
    local digit, values = math.tointeger(tonumber(row[1])), {}
    for k = 1, BLOCKS * BLOCKS do
      local v = tonumber(row[1 + k])
      if not (digit and digit >= 0 and digit <= 9 and v and v >= 0 and v <= MOST) then
        return nil, string.format("%s, line %d: takes a digit from 0 to 9 and pixels from 0 to %d; got '%s'", path,
          row.line, MOST, table.concat(row, ","))
      end
      values[k] = v / MOST
    end
    classes[n], pictures[n] = digit == 0 and 10 or digit, values
  end
  if #classes == 0 then return nil, path .. ": has no rows" end
  local parts = {}
  for from = 1, #pictures, 256 do
    local some = table.move(pictures, from, math.min(from + 255, #pictures), 1, {})
    parts[#parts + 1] = scanned.enlarge(sv.reshape(sv.tensor(some), #some, BLOCKS, BLOCKS))
  end
  return classes, #parts == 1 and parts[1] or sv.concat(parts, 1)
end

return scanned
