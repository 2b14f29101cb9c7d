--- The samples of one shard, as a sampler's cache: the logs of earlier processes, read-only, and one of this process.
local cache = require "simvae.sampler.cache"
local core = require "simvae.core"
local files = require "simvae.sampler.shards.files"
local record = require "simvae.sampler.shards.record"

local store = {}
local Store = {}
Store.__index = Store

-- Compares with the logs of the shard, and with one of another shard: merging compares all of them.
local function check_others(list, about, changed)
  local other
  for _, one in ipairs(list) do
    if one.shard == about.set.shard or not other then
      if one.of ~= about.set.of then
        return nil, string.format("%s is one of %d shards; this is shard %d of %d: give another folder", one.log,
          one.of, about.set.shard, about.set.of)
      end
      other = other or one.shard ~= about.set.shard
      local was, why = files.header(one)
      if was == nil then return nil, why end
      why = was and files.difference(was, about, changed)
      if why then return nil, string.format("%s holds other samples: %s", one.log, why) end
    end
  end
  return true
end

-- Opens the logs of earlier processes.
local function open_others(self, list, sim, seed, shard)
  for _, one in ipairs(list) do
    if one.shard == shard and files.header(one) then
      local opened, why = cache.open(one.log, sim, seed, false)
      if not opened then return nil, why end
      self.logs[#self.logs + 1] = opened
      for _, sample in ipairs(opened.order) do
        if sample >= self.first and sample <= self.last and not self.holder[sample] then
          self.holder[sample], self.count = opened, self.count + 1
        end
      end
      local known = record.read(one.path)
      if not known or known.state ~= "failed" then self.earlier[#self.earlier + 1] = one.path end
      self.process = math.max(self.process, known and known.process or 0)
    end
  end
  return true
end

--- Opens a shard.
-- @tparam table o simulator, seed, total, shard, of, out (folder), script, source, changed
-- @treturn table first, last: numbers of its samples; count: how many are there; the methods of a Cache; finish; or nil
-- and why not
function store.open(o)
  local sim = o.simulator
  local ok, why = core.system.mkdir(o.out)
  if not ok then return nil, why end
  local list
  list, why = files.list(o.out)
  if not list then return nil, why end
  local about = files.about(sim, o)
  ok, why = check_others(list, about, o.changed)
  if not ok then return nil, why end
  local self = setmetatable({ logs = {}, earlier = {}, holder = {}, order = {}, count = 0, process = 0, path = o.out,
    failed_before = 0 }, Store)
  self.first, self.last = files.range(o.total, o.shard, o.of)
  ok, why = open_others(self, list, sim, o.seed, o.shard)
  if not ok then
    self:close()
    return nil, why
  end
  self.before = self.count
  self.order[1] = next(self.holder)
  self.create = function()
    local own, path = files.create(o.out, sim, about)
    if not own then return nil, path end
    self.own, self.base, self.logs[#self.logs + 1] = own, path, own
    self.record = record.new(path, self.process + 1)
    return true
  end
  return self
end

--- The number of the first sample that is missing; nil: none.
function Store:missing()
  for i = self.first, self.last do
    if not self.holder[i] then return i end
  end
end

function Store:has(i) return self.holder[i] ~= nil end
function Store:read(i, z, x) return self.holder[i]:read(i, z, x) end

--- Appends a sample to this process's log.
-- @raise a full disk, and the like
function Store:add(i, attempt, z, x)
  if self.holder[i] then return end
  local ok, why = self.own:append(i, attempt, z, x)
  if not ok then error(string.format("%s: %s", self.own.path, why), 0) end
  self.holder[i], self.count = self.own, self.count + 1
end

--- Adds what failed in earlier processes to a log of failures: a killed process often leaves those samples behind that
-- have failed, so that the share of failures in what is missing is no measure. Processes that failed themselves, where
-- a program or file was missing, do not count.
-- @tparam table log of simvae.sampler.failures
-- @raise a file that is none of failures
function Store:continue(log)
  log.done = self.before
  for _, path in ipairs(self.earlier) do
    path = path .. ".failures.csv"
    if core.system.kind(path) == "file" then
      local ok, why = log:read(path)
      if not ok then error(why, 0) end
    end
  end
  self.failed_before = log.failed
end

--- Closes the logs.
function Store:close()
  for _, log in ipairs(self.logs) do log:close() end
end
Store.__close = Store.close

return store
