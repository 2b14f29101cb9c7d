--- Merging shards: one data set of the logs in a folder, in the order of the samples' numbers.
--
-- Shards are read one after the other: memory holds the places of one shard's records and a batch of samples. The
-- checksum of a record is verified when it is read. Of samples that are there several times all undamaged records have
-- to be the same bytes.
local cache = require "simvae.sampler.cache"
local check = require "simvae.util.check"
local core = require "simvae.core"
local files = require "simvae.sampler.shards.files"
local interrupt = require "simvae.util.interrupt"
local noise = require "simvae.simulator.noise"
local npz = require "simvae.io.npz"
local simulator = require "simvae.simulator"
local survey = require "simvae.sampler.shards.survey"

local AT_ONCE = 1 << 20 -- numbers of a batch
local FEW = 8           -- shards that a message names

local options = check.declare("shards.merge", {
  noise = { "boolean", default = true,
    doc = "adds the noise of a measurement that the simulator declares, as sv.simulate does; of .npz files alone" },
  simulator = { "table", class = "Simulator", doc = "whose noise is added; needed where it declares some" },
  changed = { "boolean", default = false,
    doc = "allows shards of different versions of simvae or checksums of the script, whose samples are the same" },
  watch = { "function", doc = "called with the number of merged samples, at intervals" },
})

-- ---- one shard -------------------------------------------------------------------------------

local Part = {}
Part.__index = Part

-- Opens the logs of a shard and finds the places of its samples: in `at`, an index of `copies`, or several.
local function open_part(self, shard)
  local about = self.about
  local part = setmetatable({ logs = {}, at = {}, copies = {}, merge = self }, Part)
  part.first, part.last = files.range(about.set.total, shard, about.set.of)
  for _, one in ipairs(self.shards[shard]) do
    local log, why = core.io.open_sample_log(one.log, #about.params, check.count(about.output))
    if not log then return nil, one.log .. ": " .. why end
    part.logs[#part.logs + 1] = { log = log, path = one.log, from = one.from }
    local numbers, unread = log:indices(one.from)
    if not numbers then return nil, one.log .. ": " .. unread end
    for i, sample in ipairs(numbers) do part:note(sample, #part.logs, one.from + (i - 1) * log:record_size()) end
  end
  return part
end

-- Places are whole numbers: the log in the upper 16 bits, the offset in the lower 48.
function Part:note(sample, log, offset)
  if sample < self.first or sample > self.last then
    self.merge.damaged = self.merge.damaged + 1
    return
  end
  local place, copies = log << 48 | offset, self.copies[sample]
  if not self.at[sample] then
    self.at[sample] = place
  elseif copies then
    copies[#copies + 1] = place
  else
    self.copies[sample] = { place }
  end
end

function Part:log(place) return self.logs[place >> 48], place & (1 << 48) - 1 end

-- The place of an undamaged record of a sample; nil: there is none; nil, message: records differ.
function Part:place(sample)
  local first, copies = self.at[sample], self.copies[sample]
  if not copies then return first end
  local place, record
  for i = 0, #copies do
    local here = i == 0 and first or copies[i]
    local log, offset = self:log(here)
    local bytes = log.log:record(offset)
    if not bytes then
      self.merge.damaged = self.merge.damaged + 1
    elseif not record then
      place, record = here, bytes
    elseif bytes == record then
      self.merge.doubles = self.merge.doubles + 1
    else
      return nil, string.format("sample %d is not the same in %s and %s: the simulator's output does not depend on its "
        .. "parameters and rng alone", sample, self:log(place).path, log.path)
    end
  end
  return place
end

-- The log and offset of a sample; nil: missing; nil, message.
function Part:find(sample)
  local place, why = self:place(sample)
  if not place then return nil, why end
  local log, offset = self:log(place)
  return log.log, offset
end

function Part:close()
  for _, one in ipairs(self.logs) do one.log:close() end
end
Part.__close = Part.close

-- ---- where it goes ---------------------------------------------------------------------------

-- A .npz file, as npz.save writes it.
local function npz_sink(self, path)
  local about, n = self.about, self.about.set.total
  local stream, why = npz.create(path, { z = { n, #about.params }, x = { n, table.unpack(about.output) } })
  if not stream then return nil, why end
  local sink = setmetatable({ commit = function() return stream:commit() end },
    { __close = function() stream:close() end })
  function sink.begin(count)
    sink.z, sink.x = core.zeros(count, #about.params), core.zeros { count, table.unpack(about.output) }
  end
  function sink.add(row, log, offset)
    local sample, attempt = log:fetch(offset, sink.z[row], sink.x[row])
    return sample and attempt
  end
  function sink.finish(first)
    local x = self.measured and noise.of_samples(self.measured, sink.z, sink.x, about.seed, first) or sink.x
    local ok, refused = stream:rows("x", x)
    if ok then ok, refused = stream:rows("z", sink.z) end
    return ok, refused
  end
  return sink
end

-- A sample log, as a cache that was filled in order.
local function log_sink(self, path)
  local writer, why = core.io.create(path)
  if not writer then return nil, path .. ": " .. why end
  local about = self.about
  local records = { cache.header { simulator = about.simulator, params = about.params, output = about.output,
    seed = about.seed, numbers = about.numbers } }
  local function put(ok, refused)
    if ok then return true end
    return nil, path .. ": " .. refused
  end
  return setmetatable({
    begin = function() end,
    add = function(_, log, offset)
      local record = log:record(offset)
      records[#records + 1] = record
      return record and string.unpack("<i8", record, 9)
    end,
    finish = function()
      local text = table.concat(records)
      records = {}
      return put(writer:write(text))
    end,
    commit = function() return put(writer:commit()) end,
  }, { __close = function() writer:close() end })
end

-- ---- merging ---------------------------------------------------------------------------------

-- Merges a batch of one shard; the number of samples that are missing, or nil, message.
local function merge_batch(self, part, sink, first, count)
  local scope <close> = core.scope()
  local missing = 0
  sink.begin(count)
  for row = 1, count do
    local log, offset = part:find(first + row - 1)
    if offset and not log then return nil, offset end
    local attempt = log and sink.add(row, log, offset)
    if attempt then
      self.replaced = self.replaced + attempt
    else
      missing = missing + 1
      if log then self.damaged = self.damaged + 1 end
    end
  end
  if missing > 0 then return missing end
  local ok, why = sink.finish(first)
  if not ok then return nil, why end
  return 0
end

-- The number of samples of a shard that are missing, or nil, message.
local function merge_shard(self, shard, sink)
  local part <close>, why = open_part(self, shard)
  if not part then return nil, why end
  local missing = 0
  for first = part.first, part.last, self.at_once do
    local lacks, refused = merge_batch(self, part, sink, first, math.min(self.at_once, part.last - first + 1))
    if not lacks then return nil, refused end
    missing = missing + lacks
    if self.watch then self.watch(math.min(first + self.at_once - 1, part.last)) end
  end
  return missing
end

-- What is missing, as a message.
local function missing_text(self, missing)
  local all, parts, of = 0, {}, self.about.set.of
  for shard = 1, of do
    local n = missing[shard] or 0
    all = all + n
    if n > 0 then parts[#parts + 1] = string.format("%d of shard %d/%d", n, shard, of) end
  end
  if all == 0 then return nil end
  local count = #parts
  if count > FEW then parts = { table.concat(parts, ", ", 1, FEW), string.format("of %d more shards", count - FEW) } end
  return string.format("%s: %d of %d samples are missing%s: %s; simvae simulate with --shard draws them", self.folder,
    all, self.about.set.total, self.damaged > 0 and string.format(" (%d damaged records)", self.damaged) or "",
    table.concat(parts, ", "))
end

-- Samples that are missing by the sizes of the files.
local function missing_by_size(self)
  local missing, set = {}, self.about.set
  for shard = 1, set.of do
    local first, last = files.range(set.total, shard, set.of)
    local there = 0
    for _, one in ipairs(self.shards[shard]) do there = there + one.count end
    missing[shard] = math.max(0, last - first + 1 - there)
  end
  return missing_text(self, missing)
end

local function merge(self, path)
  local sink <close>, refused = (path:find "%.npz$" and npz_sink or log_sink)(self, path)
  if not sink then return nil, refused end
  local missing = {}
  for shard = 1, self.about.set.of do
    local lacks, why = merge_shard(self, shard, sink)
    if not lacks then return nil, why end
    missing[shard] = lacks
    if lacks > 0 then sink.finish = function() return true end end -- only looks for what else is missing
  end
  local text = missing_text(self, missing)
  if text then return nil, text end
  local ok, why = sink.commit()
  if not ok then return nil, why end
  return { samples = self.about.set.total, doubles = self.doubles, damaged = self.damaged, replaced = self.replaced }
end

--- Merges the shards in a folder into one data set: the file that sv.simulate and sv.io.save_npz, or a sampler with a
-- cache, make of the same samples, byte for byte. The shards stay.
-- @tparam string folder
-- @tparam string path of the file: a .npz file with arrays z (n, K) and x (n, …output), or a sample cache for
-- `model:train { cache = }`
-- @tparam ?table t options
-- @treturn {[string]=integer} samples: their number; replaced: draws that failed; doubles: samples that were there more
-- than once; damaged: records that were; or nil and why not (missing samples; shards of different simulators, seeds,
-- numbers of samples or of shards, versions; a sample that differs between two of them; a full disk)
-- @raise unknown options, a simulator that is missing for its noise
-- @usage
-- assert(sv.shards.draw { simulator = ring, total = 10, out = "one" })
-- print(assert(sv.shards.merge("one", "one.npz")).samples)
return function(folder, path, t)
  check.value("shards.merge", "folder", folder, { "string" })
  check.value("shards.merge", "path", path, { "string" })
  local o = check.options("shards.merge", t, options)
  local about, shards = survey(folder, o.changed)
  if not about then return nil, shards end
  local self = { folder = folder, about = about, shards = shards, watch = o.watch, doubles = 0, damaged = 0,
    replaced = 0 }
  self.at_once = math.max(1, AT_ONCE // (#about.params + check.count(about.output)))
  if about.set.noise and o.noise and path:find "%.npz$" then
    if not simulator.is(o.simulator) then
      check.fail(2, "shards.merge: simulator is needed for its noise, or noise = false; got %s",
        check.describe(o.simulator))
    end
    local differs = cache.difference(about, cache.about(o.simulator))
    if differs then return nil, folder .. ": holds samples of another simulator: " .. differs end
    self.measured = o.simulator
  end
  local text = missing_by_size(self)
  if text then return nil, text end
  return interrupt.during_all("shards.merge: interrupted", merge, self, path)
end
