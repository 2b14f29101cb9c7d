--- checkpoint.safetensors: everything needed to resume a training, with a checksum. checkpoint.previous.safetensors is
-- the one before, used if the last one is damaged.
local core = require "simvae.core"
local description = require "simvae.model.description"
local json = require "simvae.io.json"
local likelihood = require "simvae.likelihood"
local options = require "simvae.train.options"
local recalibration = require "simvae.model.recalibration"
local stages = require "simvae.train.stages".names

local checkpoint = {}

--- The configuration that a resumed run must share, and all ranks.
-- @treturn table
function checkpoint.configuration(self, run)
  local about = self:description()
  about.batch, about.recipe, about.train_seed = run.batch, run.recipe.name, run.seed
  about.simulations, about.rounds = run.simulations, run.about
  about.microbatches, about.reduce = run.microbatches, run.reduce == "bf16" and run.reduce or nil
  about.held_out = run.share ~= 0 and run.share or nil
  for _, stage in ipairs(stages) do
    local o = run[stage]
    if options.takes(run, stage) then
      about[stage] = { steps = o.steps, batch = o.batch, clip = o.clip, sleep = o.sleep ~= 0 and o.sleep or nil,
        labels = o.labels, variational = o.variational ~= 0 and o.variational or nil, patience = o.patience,
        supervised = o.supervised,
        average = o.average ~= 0 and o.average or nil, tolerance = o.tolerance ~= 0 and o.tolerance or nil,
        lr = type(o.lr) == "number" and o.lr or "function" }
    end
  end
  return about
end

local function flatten(t, prefix, to)
  for k, v in pairs(t) do
    local name = prefix .. tostring(k)
    if type(v) == "table" then flatten(v, name .. ".", to) else to[name] = tostring(v) end
  end
  return to
end

-- The first difference between two configurations, as text.
local function difference(old, new)
  old = description.of_file(old)
  old.likelihood = old.likelihood or { name = likelihood.default } -- of earlier versions
  local a, b = flatten(old, "", {}), flatten(new, "", {})
  local names = {}
  for k in pairs(a) do names[#names + 1] = k end
  for k in pairs(b) do if a[k] == nil then names[#names + 1] = k end end
  table.sort(names)
  for _, k in ipairs(names) do
    if a[k] ~= b[k] then
      return string.format("%s was %s and is now %s", k, a[k] or "not set", b[k] or "not set")
    end
  end
end

local function add_optimizer_state(run, map, numbers)
  for name, value in pairs(run.optimizer:state()) do
    if type(value) == "number" then numbers[name] = value else map["optimizer." .. name] = value end
  end
end

--- Records the position of the run between two steps, as an interruption may come within one.
function checkpoint.settle(run)
  run.settled = { stage = run.stage, step = run.step, norm = run.norm, mix = run.mix, mixed = run.mixed,
    ending = run.ending, sampler = run.sampler:state(),
    rng = { run.rng:state() } }
end

local function paths(run)
  local out = run.folder or run.out
  return out .. "/checkpoint.safetensors", out .. "/checkpoint.previous.safetensors"
end

--- Saves a checkpoint and keeps the previous one; both are unchanged until the new one is complete.
-- @treturn boolean true, or nil and why not
function checkpoint.save(self, run)
  local io = require "simvae.io"
  local map, numbers = self:state(), {}
  if run.optimizer then add_optimizer_state(run, map, numbers) end
  local early, best, average
  if run.early then
    early, best, average = run.early:state()
    for name, t in pairs(best) do map["best." .. name] = t end
    for name, t in pairs(average) do map["average." .. name] = t end
  end
  local at = run.settled
  local where = {
    stage = at.stage, step = at.step, norm = at.norm, seconds = run.seconds(), sampler = at.sampler, rng = at.rng,
    optimizer = numbers, trained = self.trained, fitted = run.fitted,
    configuration = checkpoint.configuration(self, run), seen = self.seen or nil,
    recalibration = recalibration.description(self), early = early, mix = at.mix, mixed = at.mixed, ending = at.ending,
    supervised = run.supervised,
  }
  local path, previous = paths(run)
  local ok, why = io.save_safetensors(path, map, {
    metadata = { format = "simvae checkpoint", version = core.version, run = json.encode(where) },
    checksum = true, previous = not run.damaged and previous or nil, -- a damaged one replaces no other
  })
  if ok then run.damaged = nil end
  return ok, why
end

-- Fields of the description of a run.
local kinds = { stage = "string", step = "number", seconds = "number", sampler = "table", rng = "table",
  optimizer = "table", trained = "table", configuration = "table" }

-- The content of a checkpoint; or nil and the error.
local function read(path)
  local file <close>, why = io.open(path, "rb")
  if not file then error(why, 0) end -- unreadable now, but not known to be damaged
  local map, metadata, checked = require("simvae.io").load_safetensors(path)
  if not map then return nil, metadata end
  if metadata.format ~= "simvae checkpoint" then return nil, path .. ": not a checkpoint of simvae" end
  if not checked then return nil, path .. ": it has no checksum: an earlier version wrote it, or it is damaged" end
  local where = json.decode(metadata.run or "")
  if type(where) ~= "table" then return nil, path .. ": its description cannot be read" end
  for name, kind in pairs(kinds) do
    if type(where[name]) ~= kind then return nil, string.format("%s: its '%s' cannot be read", path, name) end
  end
  return where, map
end

-- The last checkpoint, or the one before where the last is damaged, and its path; nil: there is none.
local function read_last(run)
  local path, previous = paths(run)
  local there, before = core.system.kind(path) == "file", core.system.kind(previous) == "file"
  if not (there or before) then return nil end
  local where, map, damage
  if there then
    where, map = read(path)
    if where then return where, map, path end
    damage = map
  else
    damage = path .. ": it is not there"
  end
  where, map = nil, nil
  if before then where, map = read(previous) end
  if not where then
    error(string.format("%s\n%s\nThe run cannot be resumed; nothing was changed. Put a copy of one of them back, "
      .. "give another `out`, or delete both to start again", damage, map or previous .. ": it is not there"), 0)
  end
  run.damaged = true
  io.stderr:write(string.format("%s\nThe checkpoint before it is used, of %s step %d\n", damage, where.stage,
    where.step))
  return where, map, previous
end

-- The same on MPI ranks: rank 0 reads it, and sends it to the others.
local function read_together(run)
  local where, map, path, text
  if run.ranks.rank == 0 then
    where, map, path = read_last(run)
    local file <close> = path and io.open(path, "rb")
    text = file and file:read "a" or ""
  end
  text = run.ranks:broadcast(text)
  if run.ranks.rank == 0 or text == "" then return where, map end
  local copy = os.tmpname()
  local ok, why = core.io.write(copy, { text })
  if ok then where, map = read(copy) end
  os.remove(copy)
  if not where then error("train: the checkpoint of rank 0 cannot be read here: " .. tostring(why or map), 0) end
  return where, map
end

local function check_configuration(self, run, where)
  local now = json.decode(json.encode(checkpoint.configuration(self, run)))
  local differs = difference(where.configuration, now)
  if differs then
    error(string.format("%s is of another configuration: %s. Give another `out`, or delete the folder to start again",
      paths(run), differs), 0)
  end
end

--- Resumes from the checkpoint in the run's folder.
-- @treturn boolean false: there is none
-- @raise both checkpoints damaged, or of another configuration
function checkpoint.resume(self, run)
  local where, map
  if run.ranks then where, map = read_together(run) else where, map = read_last(run) end
  if not where then return false end
  check_configuration(self, run, where)
  local ok, why = self:load_state(map)
  if not ok then error(paths(run) .. ": " .. why, 0) end
  run.stage, run.step, run.fitted, run.norm = where.stage, where.step, where.fitted, where.norm
  if where.stage == "encoder" then run.supervised = where.supervised or 0 end -- 0: of an earlier version
  run.sampler:restore(where.sampler)
  run.rng:restore(where.rng[1], where.rng[2], where.rng[3])
  run.set_seconds(where.seconds)
  self.trained, self.seen = where.trained, where.seen or false
  if where.stage == "done" then self.recalibration = recalibration.check(where.recalibration, self.simulator.params) end
  run.resumed = { where = where, map = map }
  if not run.quiet then
    io.stderr:write(where.stage == "done" and run.out .. ": already trained\n"
      or string.format("%s: going on from %s step %d\n", run.out, where.stage, where.step))
  end
  return true
end

-- The tensors of a checkpoint whose names have a prefix.
local function tensors_of(resumed, prefix)
  local tensors = {}
  for name, t in pairs(resumed.map) do
    if name:sub(1, #prefix) == prefix then tensors[name:sub(#prefix + 1)] = t end
  end
  return tensors
end

--- Restores the early stopping of a run's stage, where the checkpoint holds one.
-- @tparam table resumed as resume leaves it in run.resumed
-- @tparam EarlyStopping early
function checkpoint.restore_early(resumed, early)
  if resumed.where.early then
    early:restore(resumed.where.early, tensors_of(resumed, "best."), tensors_of(resumed, "average."))
  end
end

--- The state of the optimizer in a checkpoint.
-- @tparam table resumed as resume leaves it in run.resumed
-- @treturn table for load_state
function checkpoint.optimizer_state(resumed)
  local state = tensors_of(resumed, "optimizer.")
  for name, v in pairs(resumed.where.optimizer) do state[name] = v end
  return state
end

return checkpoint
