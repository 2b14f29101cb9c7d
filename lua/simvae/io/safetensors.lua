--- The safetensors format: eight bytes with the header's length, the header in JSON,
-- the numbers (https://huggingface.co/docs/safetensors, "Format").
local check = require "simvae.util.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local json = require "simvae.io.json"

local safetensors = {}

local max_header = 100000000 -- the reference implementation's limit too
local refuse = file.refuse

local kinds = {
  F64 = "f8", F32 = "f4", F16 = "f2", BF16 = "bf2", I64 = "i8", I32 = "i4", I16 = "i2", I8 = "i1",
  U64 = "u8", U32 = "u4", U16 = "u2", U8 = "u1", BOOL = "b1",
}

-- The header: its depth is fixed, so that each level has its own function, without recursion.

local function numbers(r)
  local list = {}
  r:entries("[", "]", function()
    if #list == 64 then r:bad("at most 64 numbers") end
    list[#list + 1] = r:whole_number()
  end)
  return list
end

local function tensor_entry(r, name)
  local entry = { name = name }
  r:object(function(key)
    if key == "dtype" then
      entry.dtype = r:string()
    elseif key == "shape" then
      entry.shape = numbers(r)
    elseif key == "data_offsets" then
      local offsets = numbers(r)
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
  local r = json.reader(text, "its header")
  local entries, metadata = {}, {}
  r:object(function(key)
    if key == "__metadata__" then
      if not r:word "null" then r:object(function(name) metadata[name] = r:string() end) end
    else
      entries[#entries + 1] = tensor_entry(r, key)
    end
  end)
  r:finish()
  table.sort(entries, function(a, b)
    if a.first ~= b.first then return a.first < b.first end
    if a.last ~= b.last then return a.last < b.last end
    return a.name < b.name
  end)
  return entries, metadata
end

--- Checks that every byte of the data belongs to one tensor, of the size of its shape.
local function check_entries(entries, bytes)
  local at, before = 0, nil
  for _, e in ipairs(entries) do
    if not kinds[e.dtype] then refuse("tensor '%s': numbers of type %s are not read", e.name, e.dtype) end
    local takes = file.count(e.shape) * core.io.number_sizes[kinds[e.dtype]]
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

-- A file's own checksum, among its metadata: CRC-32 (ISO 3309) of its first eight bytes and the header, in which the
-- digits of the checksum are zeros, and CRC-32 of its data. Together they cover every byte.
local checksum_key = "simvae.checksum"
local checksum_format = "crc32:%08x-%08x"
local function checksum_field(text) return json.quote(checksum_key) .. ":" .. json.quote(text) end
local blank_checksum = checksum_field(checksum_format:format(0, 0))

-- The header with another text instead of a checksum; nil: it has no such field.
local function put_checksum(header, field, other)
  local first, last = header:find(field, 1, true)
  return first and header:sub(1, first - 1) .. other .. header:sub(last + 1)
end

local function verify(stated, start, header, data)
  local blank = put_checksum(header, checksum_field(stated), blank_checksum)
  local found = blank and checksum_format:format(core.io.crc32 { start, blank }, data)
  if found ~= stated then
    refuse("it is damaged: its checksum is %s, that of its bytes %s", stated, found or "another")
  end
end

local load_options = check.declare("io.load_safetensors", { max_bytes = file.max_bytes })

--- Reads a safetensors file.
--
-- Numbers of every type become those of this build (float: whole numbers beyond 2^24
-- are rounded). Files that are truncated, overlap, have gaps or wrong sizes, or a wrong
-- checksum, are refused.
-- @tparam string path
-- @tparam[opt] table options options
-- @treturn table name -> tensor; or nil, message
-- @treturn table metadata, string -> string (empty if there is none)
-- @treturn boolean whether the file has a checksum of its own
-- @raise arguments of another type
-- @usage
-- sv.io.save_safetensors("w.safetensors", { w = sv.ones(2, 3) }, { metadata = { unit = "px" } })
-- local tensors, metadata = assert(sv.io.load_safetensors "w.safetensors")
-- print(tensors.w.shape, metadata.unit)
function safetensors.load(path, options)
  file.check_path("load_safetensors", path)
  options = check.options("load_safetensors", options, load_options)
  return file.read(path, function(source)
    local size = source:size()
    if size < 8 then refuse("%d bytes are too few for a safetensors file", size) end
    local start = file.need(source:read(0, 8))
    local length = string.unpack("<i8", start)
    if length < 0 or length > max_header then
      refuse("a header of %s bytes is declared, over the limit of %d; is this a safetensors file?",
        length < 0 and "2^63 or more" or tostring(length), max_header)
    elseif length > size - 8 then
      refuse("a header of %d bytes is declared, but the file has %d; truncated, or not a safetensors file", length,
        size)
    end
    local header = file.need(source:read(8, length))
    local entries, metadata = parse_header(header)
    check_entries(entries, size - 8 - length)
    local count = 0
    for _, e in ipairs(entries) do count = count + file.count(e.shape) end
    file.check_memory(count, file.limit(source, options.max_bytes), "its tensors")
    local stream, tensors = file.need(source:stream(8 + length, size - 8 - length)), {}
    for _, e in ipairs(entries) do
      tensors[e.name] = file.need(stream:tensor(kinds[e.dtype], file.big_endian, false, e.shape))
    end
    local stated = metadata[checksum_key]
    metadata[checksum_key] = nil
    if stated then verify(stated, start, header, file.need(stream:finish())) end
    return tensors, metadata, stated ~= nil
  end)
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
  for i, key in ipairs(keys) do keys[i] = json.quote(key) .. ":" .. json.quote(metadata[key]) end
  return '"__metadata__":{' .. table.concat(keys, ",") .. "}"
end

local save_options = check.declare("io.save_safetensors", {
  metadata = { "table", doc = "texts by name that the file carries" },
  checksum = { "boolean", default = false, doc = "the file carries one, which load_safetensors verifies" },
  previous = { "string", doc = "path under which the old file is kept; default: it is not" },
})

--- Writes tensors to a safetensors file: F32 (F64 in a double build), sorted by name, so that
-- equal tensors give equal bytes.
--
-- Writing is atomic.
-- @tparam string path
-- @tparam table tensors name -> tensor
-- @tparam[opt] table options options
-- @treturn boolean true; or nil, message
-- @raise a value that is not a tensor, a name that the format does not allow
-- @usage assert(sv.io.save_safetensors("w.safetensors", { w = sv.ones(2, 3) }, { checksum = true }))
function safetensors.save(path, tensors, options)
  file.check_path("save_safetensors", path)
  local names = file.names("save_safetensors", tensors)
  options = check.options("save_safetensors", options, save_options)
  local parts, pieces, at, bytes = {}, { "", "" }, 0, core.io.number_sizes[file.real]
  local metadata = options.metadata
  if options.checksum then
    local own = { [checksum_key] = checksum_format:format(0, 0) }
    for key, value in pairs(metadata or {}) do own[key] = value end
    metadata = own
  end
  if metadata then parts[1] = metadata_text(metadata) end
  for _, name in ipairs(names) do
    if name == "__metadata__" or not utf8.len(name) then
      check.fail(2, "save_safetensors: a tensor cannot be named %q; names are UTF-8 and not __metadata__", name)
    end
    local t = tensors[name]
    local last = at + t.count * bytes
    parts[#parts + 1] = string.format('%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}', json.quote(name),
      file.real == "f8" and "F64" or "F32", table.concat(t.shape, ","), at, last)
    pieces[#pieces + 1] = t
    at = last
  end
  local header = "{" .. table.concat(parts, ",") .. "}"
  header = header .. (" "):rep(-#header % 8)
  if #header > max_header then return file.failure(path, "a header of more than 100 MB cannot be written") end
  local start = string.pack("<I8", #header)
  if options.checksum then
    local data = core.io.crc32(table.move(pieces, 3, #pieces, 1, {}))
    local whole = core.io.crc32 { start, header }
    header = put_checksum(header, blank_checksum, checksum_field(checksum_format:format(whole, data)))
  end
  pieces[1], pieces[2] = start, header
  return file.write(path, pieces, options.previous)
end

return safetensors
