--- The sample cache: a file of samples, appended as they are made and read instead of running the simulator again, or
-- used as a data set.
--
-- The file is a line "simvae cache 1", a line of JSON that describes the content (simulator, parameters, output, seed,
-- number type), then records of equal size, each with the sample's index and a checksum (csrc/io/sample_log.c).
-- Complete records are appended. An incomplete record at the end, after a crash, is dropped when the file is opened; a
-- damaged record elsewhere is skipped and its sample is made again.
local check = require "simvae.util.check"
local core = require "simvae.core"
local file = require "simvae.io.file"
local json = require "simvae.io.json"
local marginal = require "simvae.simulator.marginal"
local parameter = require "simvae.simulator.parameter"

local cache = {}
local Cache = {}
Cache.__index = Cache

local magic = "simvae cache 1\n"
local max_header = 1 << 20

--- The header of a simulator's samples.
-- @tparam table sim name, params, output
-- @tparam ?integer seed
-- @treturn table simulator, params, output, seed, numbers
function cache.about(sim, seed)
  local params = {}
  for i, p in ipairs(sim.params) do params[i] = parameter.declaration(p) end
  return { simulator = sim.name, params = params, output = sim.output, seed = seed, numbers = core.real }
end

--- A header's bytes.
-- @tparam table about
-- @treturn string
function cache.header(about) return magic .. json.encode(about) .. "\n" end

--- The first difference of two headers.
-- @tparam table was
-- @tparam table is
-- @treturn ?string nil: none
function cache.difference(was, is)
  if was.simulator ~= is.simulator then
    return string.format("the simulator was '%s' and is now '%s'", was.simulator, is.simulator)
  end
  local function names(list)
    local t = {}
    for i, p in ipairs(list) do t[i] = p.name end
    return table.concat(t, ", ")
  end
  if names(was.params) ~= names(is.params) then
    return string.format("the parameters were %s and are now %s", names(was.params), names(is.params))
  end
  for i, p in ipairs(is.params) do
    local field, a, b = parameter.mismatch(was.params[i], p)
    if field then return string.format("%s of parameter '%s' was %s and is now %s", field, p.name, a, b) end
  end
  if check.shape_text(was.output) ~= check.shape_text(is.output) then
    return string.format("the output was %s and is now %s", check.shape_text(was.output), check.shape_text(is.output))
  end
  if was.numbers ~= is.numbers then
    return string.format("its numbers were %s and are now %s", was.numbers, is.numbers)
  end
  if is.seed and was.seed ~= is.seed then
    return string.format("the seed was %s and is now %s", tostring(was.seed), is.seed)
  end
end

-- Is it what about() makes, in kind?
local function is_header(t)
  if type(t) ~= "table" or type(t.params) ~= "table" or type(t.output) ~= "table"
    or type(t.simulator) ~= "string" or type(t.numbers) ~= "string" then
    return false
  end
  for _, p in ipairs(t.params) do
    if type(p) ~= "table" or type(p.name) ~= "string" then return false end
    if p.prior ~= nil and marginal.fault(p.prior) then return false end
    for field, v in pairs(p) do
      local number = field == "low" or field == "high" or field == "period" or field == "levels"
      if type(v) == "table" and field ~= "prior" or number and type(v) ~= "number" then
        return false
      end
    end
  end
  for _, n in ipairs(t.output) do
    if math.type(n) ~= "integer" then return false end
  end
  return true
end

-- The header of a file's first bytes, and its content; or nil, why.
local function parse_header(text)
  local line = text:sub(1, #magic) == magic and text:match("^[^\n]*\n", #magic + 1)
  local was = line and json.decode(line)
  if not is_header(was) then return nil, "is not a cache of simvae" end
  return magic .. line, was
end

local function read_header(self, expected)
  local text, why = self.log:head(max_header)
  if not text then return nil, why end
  if self.adds and #text < #expected and expected:sub(1, #text) == text then -- new, or its first write was incomplete
    local ok, refused = self.log:start(expected)
    if not ok then return nil, refused end
    return expected
  end
  return parse_header(text)
end

-- Offsets of the samples; drops an incomplete tail.
local function index(self)
  local numbers, each = self.log:scan(self.from), self.each
  local whole = #numbers
  while whole > 0 and not numbers[whole] do whole = whole - 1 end
  local stop = self.from + whole * each
  self.dropped = self.log:size() - stop
  if self.adds and self.dropped > 0 then
    local ok, why = self.log:truncate(stop)
    if not ok then return nil, why end
  end
  for i = 1, whole do
    local n = numbers[i]
    if not n then
      self.damaged = self.damaged + 1
    elseif not self.at[n] then
      self.at[n] = self.from + (i - 1) * each
      self.count = self.count + 1
      self.order[self.count] = n
    end
  end
  self.size = stop
  return true
end

--- Is a file a cache?
function cache.is(path)
  return file.read(path, function(source)
    return source:size() >= #magic and source:read(0, #magic) == magic
  end) or false
end

local function is_positive(n) return math.type(n) == "integer" and n > 0 end

-- Are params and output those of a simulator?
local function is_whole(was)
  local count = #was.params > 0 and #was.output > 0 and 1
  for _, n in ipairs(was.output) do count = count and is_positive(n) and n < 1 << 31 and count * n or false end
  for _, p in ipairs(was.params) do
    count = count and type(p) == "table" and type(p.name) == "string" and (marginal.free(p.prior)
      or type(p.low) == "number" and type(p.high) == "number") and count
  end
  return count and count < 1 << 31
end

--- Is a file the beginning of a cache's header, or empty?
function cache.is_incomplete(path)
  return file.read(path, function(source)
    local text = file.need(source:read(0, math.min(source:size(), max_header)))
    return magic:sub(1, #text) == text or text:sub(1, #magic) == magic and not text:find("\n", #magic + 1, true)
  end) or false
end

--- Reads a cache's header.
-- @tparam string path
-- @treturn table as of about, with what else the writer put there; or nil, message
-- @treturn integer complete records, by the file's size
-- @treturn integer offset of the first one
function cache.read_header(path)
  return file.read(path, function(source)
    local header, was = parse_header(file.need(source:read(0, math.min(source:size(), max_header))))
    if not header then file.refuse("%s", was) end
    if not is_whole(was) then file.refuse "its header is damaged" end
    if was.numbers ~= core.real then
      file.refuse("its numbers are %s; this build reads %s", tostring(was.numbers), core.real)
    end
    local log <close> = file.need(core.io.open_sample_log(path, #was.params, check.count(was.output)))
    return was, (log:size() - #header) // log:record_size(), #header
  end)
end

--- The description of a cache's content.
-- @treturn table name (of the simulator), params, output, as cache.open takes them, seed; or nil, message
function cache.describe(path)
  local was, why = cache.read_header(path)
  if not was then return nil, why end
  return { name = was.simulator, params = was.params, output = was.output, seed = was.seed }
end

local function open(path, sim, mode)
  local log, why = core.io.open_sample_log(path, #sim.params, check.count(sim.output), mode)
  if not log then return nil, path .. ": " .. why end
  return setmetatable({ path = path, log = log, adds = mode, owner = core.system.pid(), each = log:record_size(),
    at = {}, order = {}, count = 0, damaged = 0 }, Cache)
end

--- Opens a cache.
-- @tparam string path created if it does not exist
-- @tparam Simulator sim
-- @tparam ?integer seed of the samples; nil: any
-- @tparam boolean adds false: read-only; several processes may read, even while one appends
-- @treturn Cache or nil and why not: in use, of another simulator or seed, not a cache
function cache.open(path, sim, seed, adds)
  local self, why = open(path, sim, adds)
  if not self then return nil, why end
  local is = cache.about(sim, seed)
  local header, was = read_header(self, cache.header(is))
  local differs = header and was and cache.difference(was, is)
  local ok = header and not differs
  why = differs and "holds other samples: " .. differs or was
  if ok then
    self.from = #header
    ok, why = index(self)
  end
  if ok then return self end
  self.log:close()
  return nil, path .. ": " .. why
end

--- Creates a cache that this process alone writes, without a lock on it.
-- @tparam string path of no file
-- @tparam table sim params, output
-- @tparam table about its header
-- @treturn Cache, or nil and why not
function cache.create(path, sim, about)
  local self, why = open(path, sim, "new")
  if not self then return nil, why end
  local header = cache.header(about)
  self.from, self.size = #header, #header
  local ok, refused = self.log:start(header)
  if ok then return self end
  self.log:close()
  os.remove(path)
  return nil, path .. ": " .. refused
end

--- Does it hold sample i?
function Cache:has(i)
  return self.at[i] ~= nil
end

--- Reads sample i.
-- @tparam integer i
-- @tparam tensor z (K,), to be filled
-- @tparam tensor x (…output), to be filled
-- @treturn integer the attempt it is of
-- @raise a file that others have changed
function Cache:read(i, z, x)
  local number, attempt = self.log:fetch(self.at[i], z, x)
  if number ~= i then error(string.format("%s: sample %d is damaged: %s", self.path, i, attempt), 0) end
  return attempt
end

--- Appends sample i, unless it is there.
-- @treturn boolean true; or nil and why it was not possible
function Cache:append(i, attempt, z, x)
  if self.at[i] then return true end
  local ok, why = self.log:add(i, attempt, z, x)
  if not ok then return nil, why end
  self.at[i], self.size = self.size, self.size + self.each
  self.count = self.count + 1
  self.order[self.count] = i
  return true
end

--- Appends sample i, unless it is there. Where the disk is full, the sample is not kept, with one notice.
function Cache:add(i, attempt, z, x)
  if self.torn then return end
  local ok, why = self:append(i, attempt, z, x)
  if ok then return end
  self.torn = self.log:size() ~= self.size -- a record after an incomplete one would be lost
  if not self.refused then
    io.stderr:write(string.format("\n%s: %s (samples that it has no room for are not kept)\n", self.path, why))
  end
  self.refused = true
end

--- Flushes it to disk and closes it.
function Cache:close()
  if self.closed then return end
  self.closed = true
  if self.adds then self.log:sync() end
  self.log:close()
end

return cache
