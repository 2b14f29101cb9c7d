--- NumPy's .npy files (NumPy Enhancement Proposal 1, versions 1.0, 2.0 and 3.0).
local check = require "simvae.util.check"
local core = require "simvae.core"
local file = require "simvae.io.file"

local npy = {}

local refuse = file.refuse
local magic = "\x93NUMPY"
local max_header = 1 << 20
local kinds = core.io.number_sizes -- bf2 is none of NumPy's: a header names one letter and one digit
local refused = {
  O = "an object array (pickled Python objects, which could run code)", U = "an array of text",
  S = "an array of byte strings", a = "an array of byte strings", c = "an array of complex numbers",
  V = "an array of records", M = "an array of dates", m = "an array of time spans",
}

-- The header is the text of a Python dictionary with three known keys; each value has
-- one form, and nothing else is understood.

local function string_at(text, at)
  local quote = text:match("^%s*(['\"])", at)
  if not quote then return end
  return text:match("^%s*" .. quote .. "([^'\"\\]*)" .. quote .. "()", at)
end

local function shape_at(text, at)
  local inside, after = text:match("^%s*%(([%dL,%s]*)%)()", at)
  if not inside then refuse("its header is not valid: no shape after byte %d", at) end
  local shape = {}
  for word, comma in inside:gmatch "([^,]+)(,?)" do
    local digits = word:match "^%s*(%d+)L?%s*$"
    if not digits and not (word:match "^%s*$" and comma == "") then
      refuse("its header is not valid: a shape of (%s)", inside:sub(1, 60))
    elseif digits then
      if #digits > 15 then refuse("an axis of %s entries is more than any memory holds", digits:sub(1, 40)) end
      shape[#shape + 1] = math.tointeger(tonumber(digits))
    end
  end
  return shape, after
end

local function parse_header(text)
  local found, at = {}, text:match "^%s*{()"
  if not at then refuse("its header is not valid: a dictionary expected") end
  while not text:find("^%s*}", at) do
    local key, after = string_at(text, at)
    local colon = key and text:match("^%s*:()", after)
    if not colon then refuse("its header is not valid near byte %d", at) end
    if found[key] ~= nil then refuse("its header names '%s' twice", key) end
    local value
    if key == "shape" then
      value, at = shape_at(text, colon)
    elseif key == "descr" then
      if text:find("^%s*%[.*%]", colon) then
        value = "|V"
      else
        value, at = string_at(text, colon)
      end
    elseif key == "fortran_order" then
      value, at = text:match("^%s*([TF]%l+)()", colon)
      if value ~= "True" and value ~= "False" then value = nil end
    end
    if value == nil then refuse("its header is not valid: key '%s'", key:sub(1, 40)) end
    found[key] = value
    -- what follows a list of records may be inside its nested brackets: records are refused anyway
    if value == "|V" then break end
    at = text:match("^%s*,()", at) or text:match("^%s*()}", at)
    if not at then refuse("its header is not valid after '%s'", key) end
  end
  return found
end

--- Reads the header.
-- @tparam function read read(n) -> the next n bytes, which refuses where there are none
-- @treturn table kind, swapped, fortran, shape, count, bytes (of the array), at (where it starts), dtype;
--   or unsupported = what it is instead
function npy.read_header(read)
  local start = read(8)
  if start:sub(1, 6) ~= magic then refuse("this is not a .npy file") end
  local major, minor = start:byte(7, 8)
  if major < 1 or major > 3 or minor ~= 0 then refuse("version %d.%d of the .npy format is unknown", major, minor) end
  local form = major == 1 and "<I2" or "<I4"
  local length = string.unpack(form, read(string.packsize(form)))
  if length > max_header then refuse("a header of %d bytes is declared, over the limit of 1 MB", length) end
  local found = parse_header(read(length))
  local order, letter, digits = (found.descr or ""):match "^([<>|=]?)(%a)(%d*)"
  if not letter then refuse("its header is not valid: no type of numbers") end
  if refused[letter] then return { unsupported = refused[letter] } end
  local kind = letter .. digits
  if not kinds[kind] or found.descr ~= order .. kind then
    return { unsupported = "an array of type " .. found.descr }
  end
  if found.fortran_order == nil or not found.shape then refuse("its header is not valid: a key is missing") end
  local count = file.count(found.shape)
  return {
    kind = kind, swapped = order == ">" and not file.big_endian or order == "<" and file.big_endian,
    fortran = found.fortran_order == "True", shape = found.shape, count = count, bytes = count * kinds[kind],
    at = 8 + string.packsize(form) + length, dtype = found.descr,
  }
end

--- The header of a file's array, which must be there in full and of numbers.
local function header_of(source)
  local at = 0
  local header = npy.read_header(function(n)
    at = at + n
    return file.need(source:read(at - n, n))
  end)
  if header.unsupported then refuse("holds %s, which is not read", header.unsupported) end
  if header.bytes > source:size() - header.at then
    refuse("its header declares %d bytes of numbers, but %d are there; the file is truncated", header.bytes,
      source:size() - header.at)
  end
  return header
end

local load_options = check.declare("io.load_npy", { max_bytes = file.max_bytes })

--- Reads an array from a .npy file.
--
-- Types f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 and bool of either byte order, C or Fortran order; all become
-- numbers of this build (float: whole numbers beyond 2^24 are rounded). Object arrays are refused.
-- @tparam string path
-- @tparam[opt] table options options
-- @treturn tensor of the array's shape; or nil, message
-- @raise arguments of another type
-- @usage
-- sv.io.save_npy("z.npy", z)
-- print(assert(sv.io.load_npy "z.npy").shape)
function npy.load(path, options)
  file.check_path("load_npy", path)
  options = check.options("load_npy", options, load_options)
  return file.read(path, function(source)
    local h = header_of(source)
    file.check_memory(h.count, file.limit(source, options.max_bytes), "its array")
    local stream = file.need(source:stream(h.at, h.bytes))
    return file.need(stream:tensor(h.kind, h.swapped, h.fortran, h.shape))
  end)
end

--- The bytes before the numbers of a tensor, a multiple of 64 long.
-- @tparam {integer,...} shape
-- @treturn string
-- @treturn integer bytes of the numbers
function npy.header(shape)
  local count = 1
  for _, n in ipairs(shape) do count = count * n end
  local text = string.format("{'descr': '<%s', 'fortran_order': False, 'shape': (%s%s), }", file.real,
    table.concat(shape, ", "), #shape == 1 and "," or "")
  text = text .. (" "):rep(-(#text + 11) % 64) .. "\n"
  return magic .. "\1\0" .. string.pack("<I2", #text) .. text, count * kinds[file.real]
end

--- Writes a tensor to a .npy file (version 1.0, little-endian f4, f8 in a double build).
-- Writing is atomic.
-- @tparam string path
-- @tparam tensor t any shape
-- @treturn boolean true; or nil, message
-- @raise a value that is not a tensor
-- @usage assert(sv.io.save_npy("z.npy", z))
function npy.save(path, t)
  file.check_path("save_npy", path)
  file.check_tensor("save_npy", t)
  return file.write(path, { (npy.header(t.shape)), t })
end

local array = {}
array.__index = array
array.__name = "simvae.npy_file"
array.__len = function(self) return self.shape[1] end
array.__gc = function(self) self.source:close() end
array.__close = array.__gc
array.__tostring = function(self)
  return string.format("npy file %s, %s %s", self.path, self.dtype, check.shape_text(self.shape))
end

local function entry_shape(self)
  return table.move(self.shape, 2, #self.shape, 1, {})
end

local function check_index(what, self, name, i)
  if math.type(i) ~= "integer" and not (type(i) == "number" and math.tointeger(i)) then
    check.fail(3, "%s: %s must be a whole number; got %s", what, name, check.describe(i))
  elseif i < 1 or i > self.shape[1] then
    check.fail(3, "%s: %s must be from 1 to %d, the rows of %s; got %d", what, name, self.shape[1], self.path, i)
  end
  return math.tointeger(i)
end

--- Rows from … to of the array (from 1, both included).
-- @tparam integer from
-- @tparam[opt=from] integer to
-- @treturn tensor (to - from + 1, …); or nil, message
function array:rows(from, to)
  from = check_index("rows", self, "from", from)
  to = to == nil and from or check_index("rows", self, "to", to)
  if to < from then check.fail(2, "rows: to must be at least from (%d); got %d", from, to) end
  local shape = entry_shape(self)
  local bytes = file.count(shape) * kinds[self.kind]
  table.insert(shape, 1, to - from + 1)
  local stream, reason = self.source:stream(self.at + (from - 1) * bytes, shape[1] * bytes)
  local t
  if stream then t, reason = stream:tensor(self.kind, self.swapped, false, shape) end
  if not t then return file.failure(self.path, reason) end
  return t
end

--- Rows of the array in any order (for random batches).
-- @tparam table|tensor list row numbers, from 1
-- @treturn tensor (#list, …); or nil, message
function array:take(list)
  if getmetatable(list) == core.metatable then list = list:totable() end
  if type(list) ~= "table" then check.fail(2, "take: takes a list of row numbers; got %s", check.describe(list)) end
  local rows = {}
  for i = 1, #list do rows[i] = check_index("take", self, "row number " .. i, list[i]) end
  local t, reason = self.source:take(self.at, self.kind, self.swapped, entry_shape(self), rows)
  if not t then return file.failure(self.path, reason) end
  return t
end

--- Closes the file at once, rather than when the object is collected.
function array:close()
  self.source:close()
end

--- Opens a .npy file to read parts of it, for arrays larger than memory.
--
-- Rows are read when they are asked for, by position, so that the system's page cache holds what memory
-- allows and a file that shrinks meanwhile is an error rather than a crash.
-- @tparam string path an array of one axis or more, in C order
-- @treturn table .shape, .dtype (as NumPy writes it, "<f4"), .path; `:rows(from, to)`, `:take(list)`,
--   `:close()`, `#a` rows; or nil, message
-- @usage
-- sv.io.save_npy("x.npy", x)
-- local a = assert(sv.io.open_npy "x.npy")
-- print(#a, a.shape, a:rows(1, 4).shape)
-- a:close()
function npy.open(path)
  file.check_path("open_npy", path)
  return file.read(path, function(source)
    local h = header_of(source)
    if #h.shape == 0 then refuse("holds a single number, not rows; load_npy reads it") end
    if h.fortran and #h.shape > 1 then
      refuse("holds its array in Fortran order, whose rows are scattered; np.ascontiguousarray reorders it")
    end
    return setmetatable({
      source = source, path = path, shape = h.shape, dtype = h.dtype, kind = h.kind, swapped = h.swapped, at = h.at,
    }, array)
  end, true)
end

return npy
