--- Drawing a shard.
local check = require "simvae.util.check"
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local sampler = require "simvae.sampler"
local simulator = require "simvae.simulator"
local store = require "simvae.sampler.shards.store"

local MOST = 256           -- samples of a batch in this process
local BATCH_SECONDS = 0.25 -- a batch takes about so long: what a kill loses

local options = check.declare("shards.draw", {
  simulator = { "table", class = "Simulator", required = true, doc = "what is run" },
  out = { "string", required = true, doc = "folder of the shards, created where it does not exist" },
  total = { "integer", required = true, min = 1, doc = "samples of all shards together" },
  of = { "integer", default = 1, min = 1, doc = "number of shards" },
  shard = { "integer", default = 1, min = 1, doc = "which of them is drawn" },
  seed = { "integer", default = 1, doc = "of the samples" },
  script = { "string", doc = "checksum of the simulator's source, which has to be that of the other shards" },
  source = { "string", doc = "path of the simulator's script or its built-in name, for merging with noise" },
  changed = { "boolean", default = false,
    doc = "allows shards of another version of simvae or checksum of the script, whose samples are the same" },
  watch = { "function", doc = "called with the number of finished samples of the shard, at intervals" },
})
for _, name in ipairs { "workers", "max_failures", "timeout", "restart_after" } do
  options[name] = sampler.options[name]
end

-- Draws all samples that are missing. Without workers, the batch adapts to the simulator's speed.
local function fill(o, held)
  local s <close>, why = sampler.new { simulator = o.simulator, seed = o.seed, cache = held, workers = o.workers,
    max_failures = o.max_failures, timeout = o.timeout, restart_after = o.restart_after, total = held.last,
    batch = o.workers > 0 and 64 or 1, failures = held.base .. ".failures.csv" }
  if not s then return nil, why end
  held.failed = function() return s:counts() - held.failed_before end
  s:restore { drawn = held:missing() - 1 }
  s.watch = function()
    held.record:update(held.count - held.before, held.failed())
    if o.watch then o.watch(held.count) end
  end
  while s.drawn < held.last do
    local scope <close> = core.scope()
    local size, started = s.batch, core.system.clock()
    s.batch = math.min(size, held.last - s.drawn)
    s:next()
    s.watch()
    if o.workers == 0 then
      local seconds = core.system.clock() - started
      s.batch = seconds < BATCH_SECONDS / 2 and math.min(2 * size, MOST)
        or seconds > 2 * BATCH_SECONDS and math.max(size // 2, 1) or size
    end
  end
  return true
end

local function text_of(o, held)
  return string.format("shard %d/%d holds %d of %d samples", o.shard, o.of, held.count, held.last - held.first + 1)
end

-- Draws, and records how it ended.
local function draw(o, held)
  local watch <close> = interrupt.watch(true)
  local ok, done, why = pcall(fill, o, held)
  watch:shield()
  local function finish(state, reason)
    held.record:update(held.count - held.before, held.failed and held.failed() or 0, state, reason)
  end
  if ok and done then
    finish "done"
    watch:finish()
    return true
  end
  local reason = ok and why or done
  if type(reason) == "string" and interrupt.is(reason) then
    finish "interrupted"
    interrupt.raise(watch, string.format("interrupted; %s, and the same command goes on from there", text_of(o, held)))
  end
  finish("failed", tostring(reason))
  if ok then return nil, why end
  error(type(reason) == "string" and string.format("%s\n%s, and the same command goes on from there", reason,
    text_of(o, held)) or reason, 0)
end

--- Draws a shard of a data set: the samples of a seed from 1 to total are divided into shards of consecutive ones,
-- which may be drawn by different processes on different machines into one folder. Samples of the shard that are in the
-- folder are not drawn again. SIGTERM closes the shard, and the same call goes on from there.
-- @tparam table t options
-- @treturn integer samples that this call has drawn; or nil and why the folder cannot be used (shards of another
-- simulator, seed, number of samples or of shards, version)
-- @treturn integer failed draws that it has replaced
-- @raise unknown options, a shard that is not one of them; more failures than max_failures allows; a full disk
-- @usage
-- for k = 1, 2 do assert(sv.shards.draw { simulator = ring, total = 10, shard = k, of = 2, out = "shards" }) end
-- assert(sv.shards.merge("shards", "data.npz"))
-- print(sv.io.load_npz("data.npz").z.shape)
return function(t)
  local o = check.options("shards.draw", t, options)
  if not simulator.is(o.simulator) then check.fail(2, "shards.draw: simulator must be made by sv.simulator") end
  if o.shard > o.of then check.fail(2, "shards.draw: shard must be from 1 to %d; got %d", o.of, o.shard) end
  if o.of > o.total then
    check.fail(2, "shards.draw: of must be at most %d, the number of samples; got %d", o.total, o.of)
  end
  local held <close>, why = store.open(o)
  if not held then return nil, why end
  if o.watch then o.watch(held.count) end
  if not held:missing() then return 0, 0 end
  local ok
  ok, why = held.create()
  if ok then ok, why = draw(o, held) end
  if not ok then return nil, why end
  return held.count - held.before, held.failed()
end
