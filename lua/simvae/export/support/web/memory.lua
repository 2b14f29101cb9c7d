--- The memory of a page: constants, arguments and workspace behind the kernels' own part; and constants as text.
--
-- Text has digits of base 93: the printable characters of ASCII but "<", which could end a script. A float is five of
-- them. Weights of products are whole numbers in groups of 128, with a scale, a float, each: of three digits (1.2e-6 of
-- the largest of the group), or where the page would become too large three of them in seven digits (2.6e-5) or one in
-- two (1.2e-4), of the largest arrays first, and of the decoder's last, as errors of its pixels are seen. Arrays
-- are written in pieces, so that no more digits are left out than has to be.
local memory = {}

local PAGE = 65536      -- bytes, of WebAssembly
local START = 65536     -- where the kernels' own part ends
local ALIGN = 64        -- bytes
local GROUP = 128       -- numbers of a scale
local FEWEST = 1024     -- numbers from which weights are whole ones
local PIECE = 32768     -- numbers, at most, that are written in one way; a multiple of GROUP
local LARGE = 65536     -- numbers of an array
local LIMIT = 3830000   -- characters of a text whose weights may all have three digits
local BASE = 93

-- Ways of writing weights: `numbers` of them in `digits`.
local ways = { { digits = 3, numbers = 1 }, { digits = 7, numbers = 3 }, { digits = 2, numbers = 1 } }
for _, way in ipairs(ways) do
  way.largest = math.floor((BASE ^ (way.digits / way.numbers) - 1) / 2)
end

memory.START = START

local digits = {}
for byte = 33, 126 do
  if byte ~= 60 then digits[#digits + 1] = string.char(byte) end
end

local Memory = {}
Memory.__index = Memory

--- An empty memory.
-- @treturn Memory
function memory.new() return setmetatable({ top = START, pieces = {}, at = {} }, Memory) end

--- Takes bytes.
-- @treturn integer the first one
function Memory:take(bytes)
  local at = self.top
  self.top = (at + bytes + ALIGN - 1) // ALIGN * ALIGN
  return at
end

--- Places an array of constants.
-- @tparam table one name, type, numbers, flash (simvae.export.support.c.emitter)
-- @tparam boolean is_first whether its precision comes first
function Memory:constant(one, is_first)
  local n, is_bytes = #one.numbers, one.type == "unsigned char"
  local at = self:take(is_bytes and n or 4 * n)
  self.at[one.name] = at
  local is_weights = one.name:find "^@_w" and n >= FEWEST
  local step = is_weights and PIECE or n
  for first = 1, n, step do
    self.pieces[#self.pieces + 1] = { numbers = table.move(one.numbers, first, math.min(n, first + step - 1), 1, {}),
      at = at + 4 * (first - 1), count = n, is_first = is_first, digits = is_bytes and 1 or 5,
      way = is_weights and ways[1] or nil }
  end
end

-- ---- text ------------------------------------------------------------------------------------------

-- A whole number of `count` digits.
local function written(v, count)
  local text = ""
  for _ = 1, count do
    text, v = digits[v % BASE + 1] .. text, v // BASE
  end
  return text
end

local function float_text(v) return written(string.unpack("<I4", (string.pack("<f", v))), 5) end

-- Groups: a scale, then the numbers; where several share digits, the last of a group are filled up with zeros.
local function groups_text(numbers, way)
  local parts, largest_digit, base = {}, way.largest, 2 * way.largest + 1
  for i = 1, #numbers, GROUP do
    local last, largest = math.min(i + GROUP - 1, #numbers), 0
    for k = i, last do largest = math.max(largest, math.abs(numbers[k])) end
    local scale = string.unpack("<f", (string.pack("<f", largest / largest_digit)))
    parts[#parts + 1] = float_text(scale)
    for first = i, last, way.numbers do
      local whole = 0
      for k = first, first + way.numbers - 1 do
        local v = k <= last and scale > 0 and math.floor(numbers[k] / scale + 0.5) or 0
        whole = whole * base + math.max(-largest_digit, math.min(largest_digit, v)) + largest_digit
      end
      parts[#parts + 1] = written(whole, way.digits)
    end
  end
  return table.concat(parts)
end

local function text_of(piece)
  if piece.way then return groups_text(piece.numbers, piece.way) end
  local parts = {}
  for i, v in ipairs(piece.numbers) do
    parts[i] = piece.digits == 5 and float_text(v) or written(math.tointeger(v), 1)
  end
  return table.concat(parts)
end

local function characters(piece)
  local n = #piece.numbers
  if not piece.way then return n * piece.digits end
  return n * piece.way.digits // piece.way.numbers + n * 5 // GROUP
end

-- Pieces of weights in the order in which they get fewer digits: of the largest arrays first. `is_large`: of arrays of
-- LARGE numbers or more, whose errors average out best.
local function by_size(pieces, is_first, is_large)
  local list = {}
  for i, piece in ipairs(pieces) do
    if piece.way and piece.is_first == is_first and (is_large == nil or is_large == (piece.count >= LARGE)) then
      list[#list + 1] = { piece, i }
    end
  end
  table.sort(list, function(a, b)
    if a[1].count ~= b[1].count then return a[1].count > b[1].count end
    return a[2] < b[2]
  end)
  return list
end

-- Fewer digits where the text would be too long.
local function choose_ways(pieces)
  local total = 0
  for _, piece in ipairs(pieces) do total = total + characters(piece) end
  for _, step in ipairs { { ways[2], false }, { ways[3], false }, { ways[2], true, true }, { ways[3], true, true },
    { ways[2], true, false }, { ways[3], true, false } } do
    for _, one in ipairs(by_size(pieces, step[2], step[3])) do
      if total <= LIMIT then return end
      local piece = one[1]
      total = total - characters(piece)
      piece.way = step[1]
      total = total + characters(piece)
    end
  end
end

--- All constants.
-- @treturn string
-- @treturn {table,...} { place, count, digits, numbers in these (0: not in groups) }, …, in the order of the text
function Memory:text()
  choose_ways(self.pieces)
  local parts, records = {}, {}
  for i, piece in ipairs(self.pieces) do
    parts[i], records[i] = text_of(piece), { piece.at, #piece.numbers, (piece.way or piece).digits,
      piece.way and piece.way.numbers or 0 }
  end
  return table.concat(parts), records
end

--- Pages of WebAssembly's memory.
function Memory:pages() return (self.top + PAGE - 1) // PAGE end

return memory
