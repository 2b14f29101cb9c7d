--- Handwritten digits: the class, the pen and the shape of a digit from its picture, learned from the simulator of
-- strokes alone, and then tried on digits that the simulator did not draw.
--
--     python3 examples/export_digits.py digits.csv                 # 1,797 digits of scikit-learn, 8x8 pixels
--     lua examples/train_digits.lua --out runs/digits --digits digits.csv
--
-- It prints how many classes are read correctly, of the simulator's own pictures and of the file's, and draws both
-- with what the decoder draws from what was read.
local command_line = require "simvae.cli.command_line"
local json = require "simvae.io.json"
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""
local scanned = dofile(folder .. "simulators/scanned_digits.lua")

local SHOWN = 12 -- pictures of a row
local TESTED = 2000 -- of the simulator's own pictures

local number = command_line.number
local parser = require "argparse"("lua train_digits.lua", "Reads handwritten digits, by a model that has only seen "
  .. "strokes of a simulator.")
command_line.training(parser, "runs/digits")
parser:option("--digits", "A table of other digits, as export_digits.py writes it."):argname "<file>"
number(parser, "--steps", "Steps of each stage, in place of the defaults.", 1)
number(parser, "--width", "Channels of the first convolution.", 1, 4096, 16)
local a = parser:parse()
if a.threads then sv.threads(a.threads) end

local classes, pictures
if a.digits then
  local why
  classes, pictures = scanned.read(a.digits)
  if not classes then
    why = pictures
    parser:error("--digits: " .. why)
  end
end

-- ---- training -----------------------------------------------------------------------------------

local model = scanned.train(a)

-- ---- what it reads --------------------------------------------------------------------------------

-- The classes that are most probable, and their probabilities.
local function read(x)
  local p = model:posterior(x):probabilities "digit"
  return sv.argmax(p, 2):totable(), sv.max(p, 2):totable()
end

-- The share that is read correctly, the mean probability of what is read, and the pairs that are mistaken most often.
local function compare(known, x)
  local found, sure = read(x)
  local right, certain, mistaken, list = 0, 0, {}, {}
  for i, class in ipairs(known) do
    certain = certain + sure[i]
    if found[i] == class then
      right = right + 1
    else
      local pair = string.format("%d as %d", class % 10, found[i] % 10)
      mistaken[pair] = (mistaken[pair] or 0) + 1
    end
  end
  for pair, n in pairs(mistaken) do list[#list + 1] = { pair = pair, n = n } end
  table.sort(list, function(p, q) return p.n > q.n or p.n == q.n and p.pair < q.pair end)
  local words = {}
  for i = 1, math.min(5, #list) do words[i] = string.format("%s: %d", list[i].pair, list[i].n) end
  return { count = #known, accuracy = right / #known, confidence = certain / #known,
    mistaken = table.concat(words, ", ") }
end

local function report(name, r)
  print(string.format("%-34s %6d digits, %5.1f%% read correctly, mean probability of the class read %.3f", name,
    r.count, 100 * r.accuracy, r.confidence))
  if r.mistaken ~= "" then print("  most frequent mistakes: " .. r.mistaken) end
end

local z, x = sv.simulate(scanned.simulator, TESTED, sv.rng(a.seed + 1000))
local own = {}
for i, row in ipairs(z:totable()) do own[i] = math.tointeger(row[1]) end
local results = { simulated = compare(own, x), seed = a.seed, width = a.width, steps = model.trained,
  seconds = model.seconds }
report("the simulator's, half of them scans", results.simulated)
if classes then
  results.other = compare(classes, pictures)
  report(a.digits:match "[^/]*$", results.other)
end
assert(json.save(a.out .. "/metrics.json", results))

-- ---- pictures -----------------------------------------------------------------------------------

local rows, labels = {}, {}
local function add(label, row)
  rows[#rows + 1], labels[#labels + 1] = row, label
end
local some = sv.slice(x, 1, 1, SHOWN)
add("simulator", some)
add("decoder", model:decode(sv.slice(z, 1, 1, SHOWN)))
add("as read", model:decode((model:encode(some))))
if classes then
  local index = sv.rng(a.seed):permutation(#classes)
  local others = {}
  for i = 1, SHOWN do others[i] = pictures[math.tointeger(index[(i - 1) % #classes + 1])] end
  local tried = sv.stack(others, 1)
  add("other digits", tried)
  add("as read", model:decode((model:encode(tried))))
end
local path, why = sv.figures.grid(a.out .. "/digits.png", rows, { labels = labels, scale = 2 })
print(path or "no picture: " .. why)
