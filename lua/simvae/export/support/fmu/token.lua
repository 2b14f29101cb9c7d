--- A token of texts, in the form of a UUID: equal texts have equal ones, and others different ones.
local token = {}

-- FNV-1a (Fowler, Noll and Vo) over words of 8 bytes in two lanes, finished by SplitMix64's mixer.
local PRIME = 0x100000001B3
local STARTS = { 0xCBF29CE484222325, 0x84222325CBF29CE4 }

local function mixed(h)
  h = (h ~ (h >> 30)) * 0xBF58476D1CE4E5B9
  h = (h ~ (h >> 27)) * 0x94D049BB133111EB
  return h ~ (h >> 31)
end

local function lane(h, text)
  local unpack = string.unpack
  for at = 1, #text, 8 do
    h = (h ~ unpack("<i8", text, at)) * PRIME
    h = h ~ (h >> 29)
  end
  return h
end

--- @tparam {string,...} texts
-- @treturn string
function token.of(texts)
  local a, b = STARTS[1], STARTS[2]
  for _, text in ipairs(texts) do
    local padded = string.pack("<I8", #text) .. text .. ("\0"):rep(-#text % 8)
    a, b = lane(a, padded), mixed(lane(b, padded))
  end
  local hex = string.format("%016x%016x", mixed(a), mixed(b))
  return string.format("%s-%s-%s-%s-%s", hex:sub(1, 8), hex:sub(9, 12), hex:sub(13, 16), hex:sub(17, 20), hex:sub(21))
end

return token
