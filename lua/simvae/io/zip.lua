--- Writing zip archives (PKWARE APPNOTE 6.3, sections 4.3 to 4.5): the records around the data of their members.
--
-- A member is a table: name, size (bytes), crc (of its data), packed (bytes that they take where they are deflated;
-- nil: they are stored), at (the offset of its local header). Sizes and offsets that 32 bits do not hold stand in extra
-- fields (zip64). Dates are constant, so that equal data give equal archives.
local core = require "simvae.core"

local zip = { max_name = 65535 }

local plain, wide = 20, 45 -- versions needed to extract: 2.0; 4.5, with zip64
local date, names_are_utf8 = 33, 0x800 -- 1980-01-01
local most_members = 0xFFFF
local stored, deflated = 0, 8 -- methods

--- Numbers from here on stand in zip64 fields; specs lower it.
zip.limit = 0xFFFFF000

local function is_large(n) return n >= zip.limit end

-- The fields that local header and directory share, up to the length of the extra field.
local function common(m, extra)
  local size, packed = is_large(m.size) and 0xFFFFFFFF or m.size, m.packed
  return string.pack("<I2I2I2I2I2I4I4I4I2I2", #extra > 0 and wide or plain, names_are_utf8,
    packed and deflated or stored, 0, date, m.crc, packed or size, size, #m.name, #extra)
end

local function extra_field(numbers)
  if #numbers == 0 then return "" end
  return string.pack("<I2I2" .. ("I8"):rep(#numbers), 1, 8 * #numbers, table.unpack(numbers))
end

--- What precedes a member's data.
-- @tparam table m
-- @treturn string of the same length for any crc
function zip.header(m)
  local extra = extra_field(is_large(m.size) and { m.size, m.size } or {})
  return "PK\3\4" .. common(m, extra) .. m.name .. extra
end

local function entry(m)
  local numbers = is_large(m.size) and { m.size, m.size } or {}
  local at = m.at
  if is_large(at) then numbers[#numbers + 1], at = at, 0xFFFFFFFF end
  local extra = extra_field(numbers)
  return "PK\1\2" .. string.pack("<I2", #extra > 0 and wide or plain) .. common(m, extra)
    .. string.pack("<I2I2I2I4I4", 0, 0, 0, 0, at) .. m.name .. extra
end

--- What follows the members: the directory.
-- @tparam {table,...} members
-- @tparam integer at its offset
-- @treturn string
function zip.directory(members, at)
  local entries, n = {}, #members
  for i, m in ipairs(members) do entries[i] = entry(m) end
  local text = table.concat(entries)
  local tail, count, offset = "", n, at
  if is_large(at) or n >= most_members then
    tail = "PK\6\6" .. string.pack("<I8I2I2I4I4I8I8I8I8", 44, wide, wide, 0, 0, n, n, #text, at)
      .. "PK\6\7" .. string.pack("<I4I8I4", 0, at + #text, 1)
    count, offset = math.min(n, most_members), is_large(at) and 0xFFFFFFFF or at
  end
  return text .. tail .. "PK\5\6" .. string.pack("<I2I2I2I2I4I4I2", 0, 0, count, count, #text, offset, 0)
end

--- A member of a text, deflated where that is smaller.
-- @tparam string name
-- @tparam string text
-- @treturn table
function zip.text(name, text)
  local small = #text > 0 and not is_large(#text) and core.io.deflate(text)
  if not small or #small >= #text then return { name = name, size = #text, pieces = { text } } end
  return { name = name, size = #text, packed = #small, crc = core.io.crc32 { text }, pieces = { small } }
end

--- An archive as the pieces of a file.
-- @tparam {table,...} members of zip.text; or name, size (bytes), pieces (strings and tensors)
-- @treturn {string|tensor,...}
function zip.archive(members)
  local pieces, at = {}, 0
  for _, m in ipairs(members) do
    m.at, m.crc = at, m.packed and m.crc or core.io.crc32(m.pieces)
    local header = zip.header(m)
    pieces[#pieces + 1] = header
    table.move(m.pieces, 1, #m.pieces, #pieces + 1, pieces)
    at = at + #header + (m.packed or m.size)
  end
  pieces[#pieces + 1] = zip.directory(members, at)
  return pieces
end

return zip
