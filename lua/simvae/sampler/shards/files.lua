--- The files of shards in a folder: their names, headers, and what must be the same in all of them.
--
-- A process that draws a shard creates files of its own, whose names end in eight random hexadecimal digits: on file
-- systems of several nodes no locks are needed, and a process that was killed leaves nothing to repair.
--
--     0003-of-0064.1f2e3d4c.samples       sample log (simvae.sampler.cache)
--     0003-of-0064.1f2e3d4c.json          progress of the process (simvae.sampler.shards.record)
--     0003-of-0064.1f2e3d4c.failures.csv  failed draws (simvae.sampler.failures)
--
-- The header of a log has a field `set`: shard, of (number of shards), total (samples in all), version (of simvae),
-- script (checksum of the simulator's script; none of a built-in one), source (its path or name), noise (whether the
-- simulator declares noise of a measurement, which the log does not hold).
local cache = require "simvae.sampler.cache"
local core = require "simvae.core"

local files = {}

local PATTERN = "^((%d+)%-of%-(%d+)%.%x+)%.samples$"
local NAME = "%04d-of-%04d.%08x"

--- The numbers of a shard's samples.
-- @tparam integer total
-- @tparam integer shard from 1
-- @tparam integer of
-- @treturn integer first
-- @treturn integer last
function files.range(total, shard, of)
  return (shard - 1) * total // of + 1, shard * total // of
end

--- The logs of a folder, in the order of their names.
-- @tparam string folder
-- @treturn {table,...} path (without suffix), log (the file), shard, of; or nil, message
function files.list(folder)
  local names, why = core.system.list(folder)
  if not names then return nil, why end
  local list = {}
  for _, name in ipairs(names) do
    local base, shard, of = name:match(PATTERN)
    if base then
      list[#list + 1] = { path = folder .. "/" .. base, log = folder .. "/" .. name, shard = math.tointeger(shard),
        of = math.tointeger(of) }
    end
  end
  table.sort(list, function(a, b) return a.log < b.log end)
  return list
end

local function random_number()
  local source <close> = io.open("/dev/urandom", "rb")
  local bytes = source and source:read(4)
  if bytes and #bytes == 4 then return (string.unpack("<I4", bytes)) end
  return math.random(0, 0xFFFFFFFF)
end

--- Creates a log under a new name.
-- @tparam string folder
-- @tparam Simulator sim
-- @tparam table about its header, of files.about
-- @treturn Cache, or nil and why not
-- @treturn string its path without suffix
function files.create(folder, sim, about)
  local opened, why, path
  for _ = 1, 10 do
    path = folder .. "/" .. NAME:format(about.set.shard, about.set.of, random_number())
    opened, why = cache.create(path .. ".samples", sim, about)
    if opened or not core.system.kind(path .. ".samples") then break end
  end
  if not opened then return nil, why end
  return opened, path
end

--- The header of a shard's log.
-- @tparam Simulator sim
-- @tparam table o seed, shard, of, total, script, source
-- @treturn table
function files.about(sim, o)
  local about = cache.about(sim, o.seed)
  about.set = { shard = o.shard, of = o.of, total = o.total, version = core.version, script = o.script,
    source = o.source, noise = sim.noise ~= nil }
  return about
end

local function is_set(set)
  local function whole(v) return math.type(v) == "integer" and v > 0 end
  return type(set) == "table" and whole(set.shard) and whole(set.of) and whole(set.total) and set.shard <= set.of
    and set.of <= set.total and type(set.version) == "string" and type(set.noise) == "boolean"
    and (set.script == nil or type(set.script) == "string") and (set.source == nil or type(set.source) == "string")
end

--- Reads the header of a shard's log.
-- @tparam table one of files.list; gets count (complete records, by the file's size), from (offset of the first one)
-- @treturn table as of files.about; false where its writer has not written all of it, or was killed before; or nil,
-- message
function files.header(one)
  local about, count, from = cache.read_header(one.log)
  if not about then
    if cache.is_incomplete(one.log) then return false end
    return nil, count
  end
  if not is_set(about.set) or math.type(about.seed) ~= "integer" or about.set.shard ~= one.shard
    or about.set.of ~= one.of then
    return nil, one.log .. ": its header is not that of this shard"
  end
  one.count, one.from = count, from
  return about
end

local FIELDS = {
  { "total", "the number of samples" },
  { "of", "the number of shards" },
  { "noise", "the noise of a measurement" },
}

--- The first difference of the sets of two logs.
-- @tparam table was header
-- @tparam table is header
-- @tparam ?boolean changed another version of simvae and of the script is allowed
-- @treturn ?string nil: none
function files.difference(was, is, changed)
  local differs = cache.difference(was, is)
  if differs then return differs end
  local function compare(field, text)
    local a, b = was.set[field], is.set[field]
    if a ~= b then return string.format("%s was %s and is now %s", text, tostring(a), tostring(b)) end
  end
  for _, field in ipairs(FIELDS) do
    differs = differs or compare(field[1], field[2])
  end
  if differs or changed then return differs end
  differs = compare("version", "the version of simvae") or compare("script", "the checksum of the simulator's script")
  return differs and differs .. "; --allow-changed says that the samples are the same" or nil
end

return files
