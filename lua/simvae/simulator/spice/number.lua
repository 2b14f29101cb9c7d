--- Numbers and units as ngspice 39 reads them: 4.7k, 10Meg, 2mil, 1e-3, 1d3, 100uF.
local number = {}

local scales = {
  t = 1e12, g = 1e9, meg = 1e6, k = 1e3, m = 1e-3, mil = 25.4e-6, u = 1e-6, n = 1e-9, p = 1e-12, f = 1e-15,
}

--- The value of a number with an optional unit suffix; letters after the suffix are ignored.
-- @tparam string text
-- @treturn ?number nil where text does not begin with a number
function number.parse(text)
  local digits, rest = text:lower():match "^([+-]?%d*%.?%d*)(.*)$"
  local exponent, after = rest:match "^[ed]([+-]?%d+)(.*)$"
  if exponent then digits, rest = digits .. "e" .. exponent, after end
  local value = tonumber(digits)
  if not value then return nil end
  return value * (scales[rest:sub(1, 3)] or scales[rest:sub(1, 1)] or 1)
end

--- Whether text is a number and nothing else.
function number.is(text)
  return text:match "^[+-]?[%d.][%w.+-]*$" ~= nil and number.parse(text) ~= nil
end

-- U+00B5 and U+03BC
local signs = { "\u{B5}", "\u{3BC}" }

--- Writes u for each micro sign: U+00B5, U+03BC or, where the text is not UTF-8, the Latin-1 byte 0xB5.
function number.plain_micro(text)
  if not text:find "[\128-\255]" then return text end
  if not utf8.len(text) then return (text:gsub("\xB5", "u")) end
  for _, sign in ipairs(signs) do text = text:gsub(sign, "u") end
  return text
end

--- Writes _xx for each byte that is not ASCII: ngspice writes _ for all of them, which makes one node of té and tè.
function number.ascii(text)
  return (text:gsub("[\128-\255]", function(c) return string.format("_%02x", c:byte()) end))
end

--- Undoes number.ascii.
function number.from_ascii(text)
  return (text:gsub("_([89a-f]%x)", function(xx) return string.char(tonumber(xx, 16)) end))
end

return number
