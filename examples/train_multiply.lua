--- Multiplication of handwritten digits, and its inverse: a model of digits that was trained alone, twice, and a rule.
--
--     lua examples/train_multiply.lua --model runs/digits --out runs/multiply --digits digits.csv
--
-- The chain reads two digits, multiplies them and draws the product of one or two digits. Its inverse takes a drawn
-- product and gives the probabilities of all hundred pairs of digits. Nothing is trained on products. The folder of the
-- model is that of train_digits.lua; where there is none, it is trained first.
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local sv = require "simvae"
local folder = arg[0]:match "^(.*/)" or ""
local scanned = dofile(folder .. "simulators/scanned_digits.lua")

local COLUMNS = 10 -- of pictures

local number = command_line.number
local parser = require "argparse"("lua train_multiply.lua", "Multiplies handwritten digits, and factors drawn "
  .. "products, by a chain of a model of digits and a rule.")
command_line.training(parser, "runs/multiply")
parser:option("--model", "Folder of the model of digits; trained there if need be.", "runs/digits")
parser:option("--digits", "A table of other digits, as export_digits.py writes it."):argname "<file>"
number(parser, "--steps", "Steps of each stage of the model of digits, in place of the defaults.", 1)
number(parser, "--width", "Channels of its first convolution.", 1, 4096, 16)
number(parser, "--pairs", "Pairs of digits, and drawn products, that are tried.", 10, 100000, 1000)
local a = parser:parse()
if a.threads then sv.threads(a.threads) end

local classes, pictures
if a.digits then
  classes, pictures = scanned.read(a.digits)
  if not classes then parser:error("--digits: " .. pictures) end
end

-- ---- the chain ------------------------------------------------------------------------------------

-- Digits as the simulator counts them: 1 to 9, and 10 for 0.
local function class_of(digit) return digit == 0 and 10 or digit end

-- A rule of two digits whose result has two, the tens 0 where there are none: then they are not drawn.
local function rule(name, operation)
  return sv.simulator {
    name = name, params = { { name = "a", levels = 10 }, { name = "b", levels = 10 } }, output = { 2 },
    simulate = function(z, out)
      local result = operation(math.tointeger(z.a) % 10, math.tointeger(z.b) % 10)
      out[1], out[2] = result // 10, class_of(result % 10)
    end,
  }
end

assert(core.system.mkdir(a.out))
local digits = scanned.train { out = a.model, width = a.width, seed = a.seed, steps = a.steps, quiet = a.quiet }
local multiply = rule("multiply", function(p, q) return p * q end)
local chain = sv.chain { digits, digits, multiply, draw = { digits, digits } }
print(chain)

-- ---- digits to try it on ----------------------------------------------------------------------------

-- A source of digits: lists of the places of each class (0 to 9) among pictures.
local function source(name, list, x)
  local places = {}
  for digit = 0, 9 do places[digit] = {} end
  for i, class in ipairs(list) do table.insert(places[math.tointeger(class) % 10], i) end
  return { name = name, list = list, x = x, places = places }
end

local rng = sv.rng(a.seed + 2000)
local sources = {}
do
  local z, x = sv.simulate(digits.simulator, 2000, rng)
  local list = {}
  for i, row in ipairs(z:totable()) do list[i] = math.tointeger(row[1]) end
  sources[1] = source("simulator", list, x)
  if classes then sources[2] = source(a.digits:match "[^/]*$", classes, pictures) end
end

-- Pictures by their places, (N, 1, 32, 32).
local function taken(s, places)
  local parts = {}
  for from = 1, #places, 200 do
    local some = {}
    for i = from, math.min(from + 199, #places) do some[#some + 1] = s.x[places[i]] end
    parts[#parts + 1] = sv.stack(some, 1)
  end
  return #parts == 1 and parts[1] or sv.concat(parts, 1)
end

local function any(list) return list[rng:integer(1, #list)] end

-- ---- forwards: read, compute, draw ------------------------------------------------------------------

-- How many digits and results of n pairs are right, and how many drawings of the result are read as it again.
local function forwards(s, c, operation, n)
  local first, second, known = {}, {}, {}
  for i = 1, n do
    first[i], second[i] = rng:integer(1, #s.list), rng:integer(1, #s.list)
    known[i] = operation(s.list[first[i]] % 10, s.list[second[i]] % 10)
  end
  local xs = { taken(s, first), taken(s, second) }
  local read = c:posterior({ read = xs }):mode():totable()
  local drawn, values, sure = c:apply(xs, { rng = rng })
  local r = { digits = 0, results = 0, again = 0, sure = sv.mean(sure):item(), count = n }
  local tens, ones = {}, {}
  for j, list in ipairs { tens, ones } do
    for i, row in ipairs(sv.argmax(digits:posterior(drawn[j]):probabilities "digit", 2):totable()) do list[i] = row end
  end
  for i, row in ipairs(values:totable()) do
    local result = math.tointeger(row[1] * 10 + row[2] % 10)
    for k, at in ipairs { first[i], second[i] } do
      if read[i][k] == s.list[at] then r.digits = r.digits + 1 end
    end
    if result == known[i] then r.results = r.results + 1 end
    if (row[1] == 0 or tens[i] == row[1]) and ones[i] == row[2] then r.again = r.again + 1 end
  end
  return r, xs, drawn
end

-- ---- backwards: the factors of drawn products --------------------------------------------------------

-- All pairs of digits with a product, as texts.
local function factors(product)
  local set, count = {}, 0
  for p = 0, 9 do
    for q = 0, 9 do
      if p * q == product then
        set[p .. "x" .. q] = true
        count = count + 1
      end
    end
  end
  return set, count
end

-- The pictures of n products' digits, those of one digit apart, and the products.
local function products(s, n)
  local groups = { { known = {}, ones = {} }, { known = {}, tens = {}, ones = {} } }
  for _ = 1, n do
    local product = rng:integer(0, 9) * rng:integer(0, 9)
    local group = groups[product < 10 and 1 or 2]
    table.insert(group.known, product)
    table.insert(group.ones, any(s.places[product % 10]))
    if group.tens then table.insert(group.tens, any(s.places[product // 10])) end
  end
  return groups
end

-- Of n drawn products: whether the most probable pair has the product, and whether the pairs that have it, and no
-- others, are the most probable ones; and the probability of these pairs.
local function backwards(s, n)
  local r = { right = 0, complete = 0, mass = 0, count = n }
  for _, group in ipairs(products(s, n)) do
    if #group.known > 0 then
      local p = chain:posterior { draw = { group.tens and taken(s, group.tens) or false, taken(s, group.ones) } }
      for i, product in ipairs(group.known) do
        local set, count = factors(product)
        local list, whole = p:list(i, 0), true
        for k, pair in ipairs(list) do
          local among = set[(pair.a % 10) .. "x" .. (pair.b % 10)] or false
          if k == 1 and among then r.right = r.right + 1 end
          if among then r.mass = r.mass + pair.probability / n end
          if k <= count then whole = whole and among end
        end
        if whole then r.complete = r.complete + 1 end
      end
    end
  end
  return r
end

-- ---- the table ------------------------------------------------------------------------------------

local lines = { "| digits of | digits read | products right | drawn products read again "
  .. "| factors: most probable pair right | all pairs, and no others | probability of the right pairs | sums right |",
  "|" .. (" --- |"):rep(8) }
local function product_of(p, q) return p * q end
local function sum_of(p, q) return p + q end
local added = chain:swap(multiply, rule("add", sum_of))
local shown

for _, s in ipairs(sources) do
  local f, xs, drawn = forwards(s, chain, product_of, a.pairs)
  local b, sums = backwards(s, a.pairs), forwards(s, added, sum_of, a.pairs)
  lines[#lines + 1] = string.format("| %s | %.1f%% | %.1f%% | %.1f%% | %.1f%% | %.1f%% | %.3f | %.1f%% |", s.name,
    50 * f.digits / f.count, 100 * f.results / f.count, 100 * f.again / f.count, 100 * b.right / b.count,
    100 * b.complete / b.count, b.mass, 100 * sums.results / sums.count)
  shown = { xs[1], xs[2], drawn[1], drawn[2] }
end
local text = table.concat(lines, "\n") .. "\n"
print(text)
do
  local file <close> = assert(io.open(a.out .. "/table.md", "w"))
  assert(file:write(text))
end

-- ---- pictures -----------------------------------------------------------------------------------

local function drawn_at(path, why) print(path or "no picture: " .. why) end

local rows = {}
for j, x in ipairs(shown) do rows[j] = sv.slice(x, 1, 1, COLUMNS) end
drawn_at(sv.figures.grid(a.out .. "/multiply.png", rows, { scale = 2,
  labels = { "first", "second", "tens", "ones" } }))

-- The pairs of one drawn product, the most probable first: pictures of tens and ones, then of the factors.
local function draw_factors(product)
  local s = sources[#sources]
  local tens = product >= 10 and taken(s, { any(s.places[product // 10]) }) or false
  local ones = taken(s, { any(s.places[product % 10]) })
  local list = chain:posterior({ draw = { tens, ones } }):list()
  print(string.format("factors of %d, as it is drawn:", product))
  local blank = sv.zeros(1, 32, 32)
  local first, second = { tens and tens[1] or blank }, { ones[1] }
  local pair = sv.chain { rule("pair", function(p, q) return 10 * p + q end), draw = { digits, digits } }
  for k = 1, COLUMNS - 1 do
    local entry = list[k]
    if entry then
      print(string.format("  %d x %d  %.3f", entry.a % 10, entry.b % 10, entry.probability))
      local x = pair:draw { { entry.a, entry.b } }
      first[k + 1], second[k + 1] = x[1][1], x[2][1]
    else
      first[k + 1], second[k + 1] = blank, blank
    end
  end
  return sv.stack(first, 1), sv.stack(second, 1)
end

local grid, labels = {}, {}
for _, product in ipairs { 12, 35, 8 } do
  local first, second = draw_factors(product)
  grid[#grid + 1], labels[#labels + 1] = first, product .. ": tens, a"
  grid[#grid + 1], labels[#labels + 1] = second, "ones, b"
end
drawn_at(sv.figures.grid(a.out .. "/factors.png", grid, { labels = labels, scale = 2 }))
