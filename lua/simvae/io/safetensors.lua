--- The safetensors format: eight bytes with the header's length, the header in JSON,
-- the numbers (https://huggingface.co/docs/safetensors, "Format").
local check = require "simvae.check"
local file = require "simvae.io.file"

local safetensors = {}

local longest_header = 100000000 -- the reference implementation's limit too
local refuse = file.refuse

local kinds = {
  F64 = "f8", F32 = "f4", F16 = "f2", BF16 = "bf2", I64 = "i8", I32 = "i4", I16 = "i2", I8 = "i1",
  U64 = "u8", U32 = "u4", U16 = "u2", U8 = "u1", BOOL = "b1",
}
local sizes = {
  F64 = 8, F32 = 4, F16 = 2, BF16 = 2, I64 = 8, I32 = 4, I16 = 2, I8 = 1, U64 = 8, U32 = 4, U16 = 2, U8 = 1, BOOL = 1,
}

-- The header's JSON. Its depth is known beforehand, so that each level has a function
-- of its own and nothing recurses.

local escapes = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local reader = {}
reader.__index = reader

function reader:bad(wanted)
  local found = self.text:match("^[%g]", self.at)
  refuse("its header is not valid: %s expected at byte %d, found %s", wanted, self.at,
    found and "'" .. found .. "'" or self.at > #self.text and "its end" or "an unexpected byte")
end

function reader:skip()
  self.at = self.text:find("[^ \t\r\n]", self.at) or #self.text + 1
end

--- Takes the character if it is next.
function reader:take(character)
  self:skip()
  if self.text:sub(self.at, self.at) ~= character then return false end
  self.at = self.at + 1
  return true
end

function reader:expect(character)
  if not self:take(character) then self:bad("'" .. character .. "'") end
end

function reader:code_unit()
  local digits = self.text:match("^%x%x%x%x", self.at)
  if not digits then self:bad("four hexadecimal digits") end
  self.at = self.at + 4
  return tonumber(digits, 16)
end

function reader:escape()
  local letter = self.text:sub(self.at, self.at)
  self.at = self.at + 1
  if letter ~= "u" then
    if not escapes[letter] then self:bad("an escape sequence") end
    return escapes[letter]
  end
  local code = self:code_unit()
  if code >= 0xD800 and code < 0xDC00 and self.text:sub(self.at, self.at + 1) == "\\u" then
    self.at = self.at + 2
    local low = self:code_unit()
    if low < 0xDC00 or low > 0xDFFF then self:bad("the second half of a surrogate pair") end
    code = 0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00
  end
  if code >= 0xD800 and code < 0xE000 then self:bad("a character, not half of one") end
  return utf8.char(code)
end

function reader:string()
  self:expect '"'
  local parts = {}
  while true do
    local plain, last = self.text:match('^([^"\\%c]*)()', self.at)
    parts[#parts + 1] = plain
    self.at = last + 1
    local stop = self.text:sub(last, last)
    if stop == '"' then break end
    if stop ~= "\\" then
      self.at = last
      self:bad("the end of a string")
    end
    parts[#parts + 1] = self:escape()
  end
  local s = table.concat(parts)
  if not utf8.len(s) then refuse("its header is not valid: a string is not UTF-8") end
  return s
end

function reader:whole_number()
  self:skip()
  local digits, last = self.text:match("^(%d+)()", self.at)
  if not digits or self.text:find("^[%.eE]", last) or digits:find "^0%d" then self:bad("a whole number from 0 on") end
  if #digits > 15 then refuse("its header names the number %s, more than any file holds", digits:sub(1, 40)) end
  self.at = last
  return math.tointeger(tonumber(digits))
end

--- Calls each() for every entry between two brackets, commas between them.
function reader:entries(open, close, each)
  self:expect(open)
  if self:take(close) then return end
  repeat each() until not self:take ","
  self:expect(close)
end

function reader:object(each)
  local seen = {}
  self:entries("{", "}", function()
    local key = self:string()
    if seen[key] then refuse("its header names '%s' twice", key) end
    seen[key] = true
    self:expect ":"
    each(key)
  end)
end

function reader:numbers()
  local list = {}
  self:entries("[", "]", function()
    if #list == 64 then self:bad("at most 64 numbers") end
    list[#list + 1] = self:whole_number()
  end)
  return list
end

function reader:tensor(name)
  local entry = { name = name }
  self:object(function(key)
    if key == "dtype" then
      entry.dtype = self:string()
    elseif key == "shape" then
      entry.shape = self:numbers()
    elseif key == "data_offsets" then
      local offsets = self:numbers()
      if #offsets ~= 2 then refuse("tensor '%s': data_offsets holds %d numbers, not 2", name, #offsets) end
      entry.first, entry.last = offsets[1], offsets[2]
    else
      refuse("tensor '%s': unknown field '%s'", name, key)
    end
  end)
  for _, field in ipairs { "dtype", "shape", "first" } do
    if not entry[field] then
      refuse("tensor '%s': its %s is missing", name, field == "first" and "data_offsets" or field)
    end
  end
  return entry
end

--- The entries in the order of their data, and the metadata.
local function parse_header(text)
  local r = setmetatable({ text = text, at = 1 }, reader)
  local entries, metadata = {}, {}
  r:object(function(key)
    if key == "__metadata__" then
      r:object(function(name) metadata[name] = r:string() end)
    else
      entries[#entries + 1] = r:tensor(key)
    end
  end)
  r:skip()
  if r.at <= #text then r:bad("nothing more") end
  table.sort(entries, function(a, b)
    if a.first ~= b.first then return a.first < b.first end
    if a.last ~= b.last then return a.last < b.last end
    return a.name < b.name
  end)
  return entries, metadata
end

--- Every byte of the data belongs to one tensor, and each has as many as its shape takes.
local function check_entries(entries, bytes)
  local at, before = 0, nil
  for _, e in ipairs(entries) do
    if not kinds[e.dtype] then refuse("tensor '%s': numbers of type %s are not read", e.name, e.dtype) end
    local takes = file.count(e.shape) * sizes[e.dtype]
    if e.last < e.first or e.last - e.first ~= takes then
      refuse("tensor '%s': its offsets %d to %d do not hold the %d bytes of %s (%s)", e.name, e.first, e.last, takes,
        e.dtype, table.concat(e.shape, ", "))
    elseif e.last > bytes then
      refuse("tensor '%s': its data end at byte %d of %d; the file is truncated or damaged", e.name, e.last, bytes)
    elseif e.first < at then
      refuse("tensors '%s' and '%s' overlap", before, e.name)
    elseif e.first > at then
      refuse("bytes %d to %d belong to no tensor", at, e.first)
    end
    at, before = e.last, e.name
  end
  if at ~= bytes then refuse("bytes %d to %d belong to no tensor", at, bytes) end
end

--- Reads a safetensors file.
--
-- Numbers of every type become those of this build (float: whole numbers beyond 2^24
-- are rounded). Files that are truncated, overlap, leave gaps or lie about their sizes
-- are refused.
-- @tparam string path
-- @treturn table name -> tensor
-- @treturn table metadata, string -> string (empty if there is none); or nil, message
function safetensors.load(path)
  file.check_path("load_safetensors", path)
  return file.read(path, function(source)
    local size = source:size()
    if size < 8 then refuse("%d bytes are too few for a safetensors file", size) end
    local length = string.unpack("<i8", file.need(source:read(0, 8)))
    if length < 0 or length > longest_header then
      refuse("a header of %s bytes is declared, over the limit of %d; is this a safetensors file?",
        length < 0 and "2^63 or more" or tostring(length), longest_header)
    elseif length > size - 8 then
      refuse("a header of %d bytes is declared, but the file has %d; truncated, or not a safetensors file", length,
        size)
    end
    local entries, metadata = parse_header(file.need(source:read(8, length)))
    check_entries(entries, size - 8 - length)
    local stream, tensors = file.need(source:stream(8 + length, size - 8 - length)), {}
    for _, e in ipairs(entries) do
      tensors[e.name] = file.need(stream:tensor(kinds[e.dtype], file.big_endian, false, e.shape))
    end
    return tensors, metadata
  end)
end

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    return c == '"' and '\\"' or c == "\\" and "\\\\" or string.format("\\u%04x", c:byte())
  end) .. '"'
end

local function metadata_text(metadata)
  local keys = {}
  for key, value in pairs(metadata) do
    if type(key) ~= "string" or type(value) ~= "string" or not utf8.len(key) or not utf8.len(value) then
      check.fail(3, "save_safetensors: metadata is string = string in UTF-8; got %s = %s", check.describe(key),
        check.describe(value))
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for i, key in ipairs(keys) do keys[i] = quote(key) .. ":" .. quote(metadata[key]) end
  return '"__metadata__":{' .. table.concat(keys, ",") .. "}"
end

--- Writes tensors to a safetensors file: F32 (F64 in a double build), sorted by name, so that
-- equal tensors give equal bytes.
--
-- Written to path.tmp, then renamed: whatever fails, an old file stays whole.
-- @tparam string path
-- @tparam table tensors name -> tensor
-- @tparam[opt] table options `metadata`: string -> string
-- @treturn boolean true; or nil, message
function safetensors.save(path, tensors, options)
  file.check_path("save_safetensors", path)
  local names = file.names("save_safetensors", tensors)
  options = check.options("save_safetensors", options, { metadata = { "table" } })
  local parts, pieces, at, bytes = {}, { "", "" }, 0, string.packsize(file.real == "f8" and "d" or "f")
  if options.metadata then parts[1] = metadata_text(options.metadata) end
  for _, name in ipairs(names) do
    if name == "__metadata__" or not utf8.len(name) then
      check.fail(2, "save_safetensors: a tensor cannot be named %q; names are UTF-8 and not __metadata__", name)
    end
    local t = tensors[name]
    local last = at + t.count * bytes
    parts[#parts + 1] = string.format('%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}', quote(name),
      file.real == "f8" and "F64" or "F32", table.concat(t.shape, ","), at, last)
    pieces[#pieces + 1] = t
    at = last
  end
  local header = "{" .. table.concat(parts, ",") .. "}"
  header = header .. (" "):rep(-#header % 8)
  if #header > longest_header then return file.failure(path, "a header of more than 100 MB cannot be written") end
  pieces[1], pieces[2] = string.pack("<I8", #header), header
  return file.write(path, pieces)
end

return safetensors
