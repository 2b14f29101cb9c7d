--- NumPy's .npz files: zip archives of .npy files (PKWARE APPNOTE 6.3, sections 4.3 to 4.5).
--
-- The archive is read through its central directory, which is checked in full before
-- anything is inflated.
local check = require "simvae.util.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local npy = require "simvae.io.npy"
local zip = require "simvae.io.zip"

local npz = {}

local refuse = file.refuse
local end_size, tail_size, directory_limit = 22, 22 + 65535, 64 << 20
local unpack_at_once = 1 << 20

--- The central directory: offset, bytes, entries.
local function find_directory(source)
  local size = source:size()
  local tail_at = math.max(0, size - tail_size)
  local tail = file.need(source:read(tail_at, size - tail_at))
  for at = #tail - end_size + 1, 1, -1 do
    if tail:sub(at, at + 3) == "PK\5\6" then
      local disk, other, here, entries, bytes, offset, comment = string.unpack("<I2I2I2I2I4I4I2", tail, at + 4)
      if at + end_size + comment == #tail + 1 then
        if disk ~= 0 or other ~= 0 or here ~= entries then refuse("zip archives of several parts are not read") end
        if at > 20 and tail:sub(at - 20, at - 17) == "PK\6\7" then
          local record = string.unpack("<i8", tail, at - 12)
          local text = file.need(source:read(record, 56))
          if text:sub(1, 4) ~= "PK\6\6" then refuse("its zip64 record is damaged") end
          entries, bytes, offset = string.unpack("<i8i8i8", text, 33)
        end
        return offset, bytes, entries
      end
    end
  end
  refuse("this is not a .npz file (no zip directory), or it is truncated")
end

--- Sizes and offset that do not fit 32 bits stand in the extra field with number 1.
local function widen(entry, extra)
  local at = 1
  while at + 3 <= #extra do
    local id, n = string.unpack("<I2I2", extra, at)
    if at + 3 + n > #extra then return end
    if id == 1 then
      local from, last = at + 4, at + 3 + n
      for _, field in ipairs { "size", "stored", "at" } do
        if entry[field] == 0xFFFFFFFF then
          if from + 7 > last then refuse("the zip64 sizes of '%s' are missing", entry.name) end
          entry[field], from = string.unpack("<i8", extra, from)
        end
      end
      return
    end
    at = at + 4 + n
  end
end

local function read_entry(directory, at)
  if at + 45 > #directory or directory:sub(at, at + 3) ~= "PK\1\2" then refuse("its zip directory is damaged") end
  local e = {}
  local name_length, extra_length, comment_length, _
  e.flags, e.method, _, _, e.crc, e.stored, e.size, name_length, extra_length, comment_length, _, _, _, e.at =
    string.unpack("<I2I2I2I2I4I4I4I2I2I2I2I2I4I4", directory, at + 8)
  local extra_at = at + 46 + name_length
  local after = extra_at + extra_length + comment_length
  if after > #directory + 1 then refuse("its zip directory is damaged") end
  e.name = directory:sub(at + 46, extra_at - 1)
  widen(e, directory:sub(extra_at, extra_at + extra_length - 1))
  return e, after
end

local function check_entry(e)
  if e.flags & 1 ~= 0 then refuse("'%s' is encrypted", e.name) end
  if e.method ~= 0 and e.method ~= 8 then
    refuse("'%s' is compressed by method %d; only stored and deflated members are read", e.name, e.method)
  end
  -- deflate packs at most 1032 bytes into one (zlib's technical details)
  if e.size < 0 or e.stored < 0 or (e.method == 0 and e.size ~= e.stored) or e.size > 1032 * e.stored then
    refuse("'%s' declares %d bytes, which its %d stored ones cannot give", e.name, e.size, e.stored)
  end
end

--- The members by name, each with the place of its data.
local function read_directory(source)
  local offset, bytes, count = find_directory(source)
  if bytes < 0 or bytes > directory_limit or offset < 0 or offset > source:size() - bytes then
    refuse("its zip directory lies outside the file")
  end
  local directory, at, entries, seen = file.need(source:read(offset, bytes)), 1, {}, {}
  while at <= #directory do
    local e
    e, at = read_entry(directory, at)
    if seen[e.name] then refuse("two members are named '%s'", e.name) end
    seen[e.name] = true
    check_entry(e)
    entries[#entries + 1] = e
  end
  if #entries ~= count then refuse("its zip directory has %d entries, not the %d it declares", #entries, count) end
  table.sort(entries, function(a, b) return a.at < b.at end)
  local free = 0
  for _, e in ipairs(entries) do
    if e.at < free then refuse("'%s' overlaps the member before it", e.name) end
    local start = file.need(source:read(e.at, 30))
    local name_length, extra_length = string.unpack("<I2I2", start, 27)
    if start:sub(1, 4) ~= "PK\3\4" or name_length ~= #e.name
      or file.need(source:read(e.at + 30, name_length)) ~= e.name then
      refuse("'%s' is not where the zip directory says", e.name)
    end
    e.data = e.at + 30 + name_length + extra_length
    free = e.data + e.stored
    if free > offset then refuse("'%s' reaches into the zip directory", e.name) end
  end
  return entries
end

local function wanted_names(names)
  if not names then return end
  local wanted = {}
  for _, name in ipairs(names) do wanted[name] = true end
  return wanted
end

--- Reads one member: the tensor, or nil and what it is instead. before: numbers of the members that were read already.
local function read_member(source, e, before, limit)
  local stream <close> = file.need(source:stream(e.data, e.stored, e.method == 8))
  local function read(n)
    local s, reason = stream:read(n)
    if not s then refuse("'%s': %s", e.name, reason) end
    return s
  end
  local h = npy.read_header(read)
  if h.unsupported then return nil, h.unsupported end
  if h.at + h.bytes ~= e.size then
    refuse("'%s' declares %d bytes where its array takes %d", e.name, e.size, h.at + h.bytes)
  end
  local copies = h.fortran and #h.shape > 1 and 2 or 1
  file.check_memory(before + copies * h.count, limit,
    (before > 0 and "what comes before and " or "") .. "'" .. e.name .. "'")
  local t, reason = stream:tensor(h.kind, h.swapped, h.fortran, h.shape)
  local crc
  if t then crc, reason = stream:finish() end
  if not crc then refuse("'%s': %s", e.name, reason) end
  if crc ~= e.crc then refuse("'%s' is damaged: its checksum differs", e.name) end
  return t
end

local load_options = check.declare("io.load_npz", {
  names = { "table", doc = "of the arrays that are read; default: all" },
  max_bytes = file.max_bytes,
})

--- Reads the arrays of a .npz file.
--
-- Stored and deflated members; types as load_npy reads them. Other members (pickled objects, text) are
-- skipped, never executed, and named in the second result.
-- @tparam string path
-- @tparam[opt] table options options
-- @treturn table name -> tensor; or nil, message
-- @treturn table name -> why it was skipped
-- @raise arguments of another type
-- @usage
-- sv.io.save_npz("data.npz", { z = z, x = x })
-- local data = assert(sv.io.load_npz("data.npz", { names = { "z" } }))
-- print(data.z.shape, data.x)
function npz.load(path, options)
  file.check_path("load_npz", path)
  options = check.options("load_npz", options, load_options)
  local wanted = wanted_names(options.names)
  return file.read(path, function(source)
    local tensors, skipped, count, limit = {}, {}, 0, file.limit(source, options.max_bytes)
    for _, e in ipairs(read_directory(source)) do
      local name = e.name:match "^(.*)%.npy$"
      if not name then
        skipped[e.name] = "not a .npy file"
      elseif not wanted or wanted[name] then
        local t, instead = read_member(source, e, count, limit)
        tensors[name], skipped[name] = t, instead
        count = count + (t and t.count or 0)
      end
    end
    for name in pairs(wanted or {}) do
      if not tensors[name] then refuse("no array '%s': %s", name, skipped[name] or "there is none of this name") end
    end
    return tensors, skipped
  end)
end

local MOST_NAME = zip.max_name - #".npy"

-- The members of arrays, sorted by name, each at its place: name, size, at, header (of the array), data (where its
-- numbers begin); and where the last one ends.
local function lay_out(names, shape_of)
  local members, at = {}, 0
  for i, name in ipairs(names) do
    local header, numbers = npy.header(shape_of(name))
    local m = { name = name .. ".npy", size = #header + numbers, at = at, header = header, crc = 0 }
    m.data = at + #zip.header(m) + #header
    at, members[i] = m.data + numbers, m
  end
  return members, at
end

--- Writes tensors to a .npz file, stored, sorted by name; np.load reads it.
-- Writing is atomic.
-- @tparam string path
-- @tparam table tensors name -> tensor
-- @treturn boolean true; or nil, message
-- @raise a value that is not a tensor, a name that the format does not allow
-- @usage assert(sv.io.save_npz("data.npz", { z = z, x = x }))
function npz.save(path, tensors)
  file.check_path("save_npz", path)
  local names = file.names("save_npz", tensors)
  for _, name in ipairs(names) do
    if #name > MOST_NAME then check.fail(2, "save_npz: a name has at most %d bytes; got %d", MOST_NAME, #name) end
  end
  local members = lay_out(names, function(name) return tensors[name].shape end)
  for i, m in ipairs(members) do m.pieces = { m.header, tensors[names[i]] } end
  return file.write(path, zip.archive(members))
end

local Stream = {}
Stream.__index = Stream

--- Begins a .npz file whose arrays come row by row: the same bytes as save writes, without the arrays in memory.
-- @tparam string path the file appears there with commit
-- @tparam table shapes name -> shape, (N, …)
-- @treturn table rows(name, tensor): the next rows (n, …) of an array; commit(); close(), which discards the file
-- unless it was committed; or nil, message
function npz.create(path, shapes)
  local writer, why = core.io.create(path)
  if not writer then return file.failure(path, why) end
  local names = {}
  for name in pairs(shapes) do names[#names + 1] = name end
  table.sort(names)
  local members, stop = lay_out(names, function(name) return shapes[name] end)
  local self = setmetatable({ path = path, writer = writer, members = members, stop = stop, named = {} }, Stream)
  for i, m in ipairs(members) do
    m.next, m.crc = m.data, core.io.crc32 { m.header }
    self.named[names[i]] = m
  end
  return self
end

-- Writes pieces at an offset; the offset after them, or nil, message.
local function put(self, at, ...)
  local after, why = self.writer:write_at(at, ...)
  if not after then return file.failure(self.path, why) end
  return after
end

--- Appends rows to an array.
-- @tparam string name
-- @tparam tensor t (n, …)
-- @treturn boolean true; or nil, message
function Stream:rows(name, t)
  local m = self.named[name]
  m.crc = core.io.crc32({ t }, m.crc)
  local after, why = put(self, m.next, t)
  if not after then return nil, why end
  m.next = after
  return true
end

--- Writes what surrounds the arrays, of which all rows must be there, and gives the file its name.
-- @treturn boolean true; or nil, message
function Stream:commit()
  for _, m in ipairs(self.members) do
    assert(m.next == m.at + #zip.header(m) + m.size, "rows are missing")
    local ok, why = put(self, m.at, zip.header(m), m.header)
    if not ok then return nil, why end
  end
  local ok, why = put(self, self.stop, zip.directory(self.members, self.stop))
  if not ok then return nil, why end
  ok, why = self.writer:commit()
  if not ok then return file.failure(self.path, why) end
  return true
end

function Stream:close() self.writer:close() end
Stream.__close = Stream.close

--- What a .npz file holds, without reading its arrays.
-- @tparam string path
-- @treturn table name -> { shape, dtype, bytes, count } of the arrays of numbers; or nil, message
-- @treturn table name -> what the other arrays are
function npz.shapes(path)
  file.check_path("npz.shapes", path)
  return file.read(path, function(source)
    local shapes, others = {}, {}
    for _, e in ipairs(read_directory(source)) do
      local name = e.name:match "^(.*)%.npy$"
      if name then
        local stream <close> = file.need(source:stream(e.data, e.stored, e.method == 8))
        local h = npy.read_header(function(n) return file.need(stream:read(n)) end)
        if h.unsupported then
          others[name] = h.unsupported
        else
          shapes[name] = { shape = h.shape, dtype = h.dtype, bytes = h.bytes, count = h.count, fortran = h.fortran }
        end
      end
    end
    return shapes, others
  end)
end

-- Does a file hold the bytes of a member?
local function holds(path, entry)
  return file.attempt(function()
    local source <close> = file.need(core.io.open_source(path))
    local left = source:size()
    if left ~= entry.size then return false end
    local stream <close> = file.need(source:stream(0, left, false))
    while left > 0 do left = left - #file.need(stream:read(math.min(left, unpack_at_once))) end
    return stream:finish() == entry.crc
  end)
end

--- Unpacks one array of a .npz file to a .npy file, without holding it in memory. A file that holds it already
-- is left as it is.
-- @tparam string path
-- @tparam string name of the array
-- @tparam string to the file to write
-- @treturn boolean true; or nil, message
function npz.unpack(path, name, to)
  file.check_path("npz.unpack", path)
  return file.read(path, function(source)
    for _, e in ipairs(read_directory(source)) do
      if e.name == name .. ".npy" then
        if holds(to, e) then return true end
        local stream <close> = file.need(source:stream(e.data, e.stored, e.method == 8))
        local function need(value, reason)
          return value or refuse("'%s' cannot be unpacked to %s: %s", name, to, reason)
        end
        local out <close> = need(core.io.create(to))
        local left = e.size
        while left > 0 do
          local bytes = math.min(left, unpack_at_once)
          need(out:write(need(stream:read(bytes))))
          left = left - bytes
        end
        if need(stream:finish()) ~= e.crc then refuse("'%s' is damaged: its checksum differs", name) end
        need(out:commit())
        return true
      end
    end
    refuse("no array '%s'", name)
  end)
end

return npz
