--- Files that a library reads: HDF5 (simvae/hdf5.so) and MATLAB's (simvae/matio.so).
--
-- Files are untrusted, and the libraries parse them in C. They therefore run in a forked process
-- (simvae.util.process_host) of limited memory, which may not start programs nor open connections
-- (csrc/sim/confine.c): a file on which the library crashes or does not end is an error of this file. The modules check
-- shapes, links, filters and sizes before they read (csrc/hdf5/hdf5.c, csrc/matio/matio.c); here sizes are checked
-- against the memory that they take.
local class = require "simvae.util.class"
local core = require "simvae.core"
local file = require "simvae.io.file"
local json = require "simvae.io.json"

local library = {}

local TIMEOUT = 120        -- seconds for an answer
local BLOCK = 16 << 20     -- bytes of one answer, where a row has no more
local LISTING = 64 << 20   -- bytes of a listing
local ROOM = 512 << 20     -- bytes that the library's process may take,
local TIMES = 64           -- and so many times the file's
local NUMBERS = 4          -- bytes in it for a byte of a tensor: doubles, and a copy

local packages = {
  hdf5 = { what = "HDF5 files", library = "libhdf5", debian = "libhdf5-dev", homebrew = "hdf5" },
  matio = { what = "MATLAB files", library = "libmatio", debian = "libmatio-dev", homebrew = "libmatio" },
}

local Library = {}
Library.__index = Library
class.take(Library, "simvae.util.process_host")

-- ---- in the library's own process ----------------------------------------------------------------

local function printable(v)
  if type(v) == "string" then return file.printable(v) end
  if type(v) ~= "table" then return v end
  local copy = {}
  for k, one in pairs(v) do copy[printable(k)] = printable(one) end
  return #v > 0 and json.list(copy) or copy
end

local function listing(opened)
  local list, why = opened:list()
  if not list then return nil, why end
  for _, entry in ipairs(list) do
    entry.attributes = printable(entry.attributes or {})
    if entry.shape then json.list(entry.shape) end
    entry.readable = file.printable(entry.name) == entry.name
    entry.name = file.printable(entry.name)
  end
  return json.encode(json.list(list), true)
end

local function answer(opened, request)
  if request == "list" then return listing(opened) end
  return opened:read(string.unpack("s4jjj", request))
end

-- Answers begin with = where they are one, else with !.
local function serve(link, name, path, room)
  local module = require("simvae." .. name)
  core.spice.confine(room)
  local opened, why = module.open(path)
  link:send(opened and "=" or "!" .. why)
  while opened do
    local request = link:receive()
    if not request then return end
    local reply, reason = answer(opened, request)
    if not link:send(reply and "=" .. reply or "!" .. reason) then return end
  end
end

-- ---- in the caller's process ---------------------------------------------------------------------

-- Why a module cannot be used, or nil.
local function absent(name)
  local about = packages[name]
  local remedy = string.format("install %s (Debian, Ubuntu: apt-get install %s; macOS: brew install %s) and build "
    .. "again with make", about.library, about.debian, about.homebrew)
  if not package.searchpath("simvae." .. name, package.cpath) then
    return string.format("%s need simvae/%s.so, which is not in this build: %s", about.what, name, remedy)
  end
  local ok, module = pcall(require, "simvae." .. name)
  if not ok then
    return string.format("%s need simvae/%s.so, which cannot be loaded (%s): %s", about.what, name,
      tostring(module):match "[^\n]*", remedy)
  end
  if module.version ~= core.version then
    return string.format("simvae.%s is of version %s, simvae.core of %s; install both anew", name, module.version,
      core.version)
  end
end

--- Why files of a library cannot be read here, and what to do; nil: they can.
-- @tparam string name "hdf5", "matio"
library.absent = absent

-- Why there is no answer.
local function ending(process, why)
  if why ~= "closed" then
    return why == "timeout" and string.format("its library gave no answer within %d seconds", TIMEOUT) or why
  end
  local how, code = process:wait(1)
  return string.format("its library failed on it (%s %s): it is damaged, or declares more than it holds",
    how or "closed", code or "")
end

local function receive(process)
  local reply, why = process:receive(TIMEOUT)
  if not reply then return nil, ending(process, why) end
  if reply:byte() ~= 61 then return nil, reply:sub(2) end
  return reply:sub(2)
end

-- Starts the process.
function Library:begin()
  local process, why = core.process.fork(serve, self.name, self.path, self.room)
  if not process then return nil, why end
  local ok, reason = receive(process)
  if ok then return process end
  process:close()
  return nil, reason
end

-- Ends it; in a forked process it is its parent's.
function Library:finish(process, ours)
  if ours then process:close() end
end

-- The answer to a request, or nil and why there is none.
local function ask(self, request)
  local ok, why = self:ready()
  if not ok then return nil, why end
  self.waiting = true
  ok, why = self.process:send(request, TIMEOUT)
  local reply
  if ok then reply, why = receive(self.process) end
  self.waiting = false
  if not reply then self:stop() end
  return reply, why
end

--- Opens a file and lists what it holds.
-- @tparam string name of the library: "hdf5", "matio"
-- @tparam string path
-- @tparam ?integer max_bytes of what is read, where that is more than 64 times the file
-- @treturn table with `entries` (name, shape in row-major order and kind, or other: what it is; attributes), read,
-- close; refuses the file otherwise
function library.open(name, path, max_bytes)
  local source = file.need(core.io.open_source(path))
  local size = source:size()
  source:close()
  local missing = absent(name)
  if missing then file.refuse("%s", missing) end
  local room = ROOM + math.max(TIMES * size, (max_bytes or 0) * NUMBERS)
  local self = setmetatable({ name = name, path = path, size = size, room = room }, Library)
  local text = file.need(ask(self, "list"))
  self.entries = file.need(json.decode(text, { max_bytes = LISTING, what = "its listing" }))
  return self
end

--- The numbers of a part of an array.
-- @tparam table entry of entries
-- @tparam integer axis of its shape
-- @tparam integer first from 0
-- @tparam integer count
-- @treturn string; or nil, reason
function Library:part(entry, axis, first, count)
  return ask(self, string.pack("s4jjj", entry.name, axis, first, count))
end

--- A whole array in row-major order, as the file has it.
-- @tparam table entry of entries, with a kind
-- @tparam ?integer max_bytes of the tensor
-- @treturn tensor; refuses what is larger, or cannot be read
function Library:whole(entry, max_bytes)
  local count = file.count(entry.shape)
  local limit = max_bytes or math.max(file.default_bytes, TIMES * self.size)
  file.check_memory(count, limit, string.format("'%s'", entry.name))
  local t, along = core.zeros(entry.shape), entry.shape[1] or 1
  if count == 0 then return t end
  local each = count // along
  local step = math.max(1, BLOCK // (each * core.io.number_sizes[entry.kind]))
  for first = 0, along - 1, step do
    local n = math.min(step, along - first)
    local text, why = self:part(entry, 1, first, n)
    if not text then file.refuse("'%s': %s", entry.name, why) end
    core.io.fill(t, first * each, entry.kind, text)
  end
  return t
end

--- Some entries along an axis, in any order.
-- @tparam table entry of entries, with a kind
-- @tparam integer axis of its shape
-- @tparam {integer,...} list from 1
-- @treturn tensor (#list, … the other axes in their order); or nil, reason
function Library:take(entry, axis, list)
  local shape = { #list }
  for k, n in ipairs(entry.shape) do
    if k ~= axis then shape[#shape + 1] = n end
  end
  local t, order = core.zeros(shape), {}
  local each = #list > 0 and t.count // #list or 0
  for i = 1, #list do order[i] = i end
  table.sort(order, function(a, b) return list[a] < list[b] end)
  for _, i in ipairs(order) do
    local text, why = self:part(entry, axis, list[i] - 1, 1)
    if not text then return nil, why end
    core.io.fill(t, (i - 1) * each, entry.kind, text)
  end
  return t
end

--- Ends the process.
function Library:close() self:stop() end

return library
