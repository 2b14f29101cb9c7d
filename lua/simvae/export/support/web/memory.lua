--- The memory of a page: constants, arguments and workspace behind the kernels' own part; and constants as text.
--
-- Text has digits of base 93: the printable characters of ASCII but "<", which could end a script. A float is five of
-- them. Weights of products are whole numbers in groups of 128, with a scale, a float, each: of three digits (1.2e-6 of
-- the largest of the group), or where the page would become too large three of them in seven digits (2.6e-5) or one in
-- two (1.2e-4), of the largest arrays first, and of the decoder's last, as errors of its pixels are seen.
local memory = {}

local PAGE = 65536      -- bytes, of WebAssembly
local START = 65536     -- where the kernels' own part ends
local ALIGN = 64        -- bytes
local GROUP = 128       -- numbers of a scale
local FEWEST = 1024     -- numbers from which weights are whole ones
local LIMIT = 3880000   -- characters of a text whose weights may all have three digits
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

function memory.new() return setmetatable({ top = START, arrays = {}, at = {} }, Memory) end

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
  self.arrays[#self.arrays + 1] = { numbers = one.numbers, at = at, is_first = is_first, digits = is_bytes and 1 or 5,
    way = one.name:find "^@_w" and n >= FEWEST and ways[1] or nil }
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

local function text_of(array)
  if array.way then return groups_text(array.numbers, array.way) end
  local parts = {}
  for i, v in ipairs(array.numbers) do
    parts[i] = array.digits == 5 and float_text(v) or written(math.tointeger(v), 1)
  end
  return table.concat(parts)
end

local function characters(array)
  local n = #array.numbers
  if not array.way then return n * array.digits end
  return n * array.way.digits // array.way.numbers + n * 5 // GROUP
end

-- Arrays of weights in the order in which they get fewer digits.
local function by_size(arrays, is_first)
  local list = {}
  for i, array in ipairs(arrays) do
    if array.way and array.is_first == is_first then list[#list + 1] = { array, i } end
  end
  table.sort(list, function(a, b)
    if #a[1].numbers ~= #b[1].numbers then return #a[1].numbers > #b[1].numbers end
    return a[2] < b[2]
  end)
  return list
end

-- Fewer digits where the text would be too long.
local function choose_ways(arrays)
  local total = 0
  for _, array in ipairs(arrays) do total = total + characters(array) end
  for _, step in ipairs { { false, ways[2] }, { false, ways[3] }, { true, ways[2] }, { true, ways[3] } } do
    for _, one in ipairs(by_size(arrays, step[1])) do
      if total <= LIMIT then return end
      local array = one[1]
      total = total - characters(array)
      array.way = step[2]
      total = total + characters(array)
    end
  end
end

--- All constants.
-- @treturn string
-- @treturn {table,...} { place, count, digits, numbers in these (0: not in groups) }, …, in the order of the text
function Memory:text()
  choose_ways(self.arrays)
  local parts, records = {}, {}
  for i, array in ipairs(self.arrays) do
    parts[i], records[i] = text_of(array), { array.at, #array.numbers, (array.way or array).digits,
      array.way and array.way.numbers or 0 }
  end
  return table.concat(parts), records
end

--- Pages of WebAssembly's memory.
function Memory:pages() return (self.top + PAGE - 1) // PAGE end

return memory
