--- Steps on batches that are divided into microbatches.
--
--     model:train { batch = 64, microbatches = 4 }         -- or on MPI ranks: simvae.train.ranks
--
-- The gradient of each microbatch is computed by itself, and they are added by a binary tree: 1 + 2 and 3 + 4, then the
-- two sums. The tree depends on the number of microbatches alone, not on who computes them, so that weights are the
-- same bit for bit on 1, 2, 4, … MPI ranks. All else that depends on a whole batch is exchanged: batch normalisation
-- takes its mean, variance and their gradients over the batch by the same tree, and the matching with the prior the
-- codes of all rows.
--
-- A microbatch runs in a coroutine with a tape of its own. It yields where it needs what the others have, and where the
-- gradient of a parameter is complete (csrc/engine/backward.c); those of a few parameters are summed, and sent to other
-- ranks, while the backward pass goes on.
local check = require "simvae.util.check"
local core = require "simvae.core"
local microbatch = require "simvae.nn.microbatch"
local place = require("simvae.train.options").place
local streams = require "simvae.util.streams"

local microbatches = {}
local Microbatches = {}
Microbatches.__index = Microbatches

local BUCKET = 1 << 18 -- numbers of gradients that are summed at once, or more: a megabyte

--- Raises for batches that cannot be divided.
-- @tparam table run options of train
-- @tparam integer level of train's caller
function microbatches.check(run, level)
  local count = run.microbatches
  if not count then
    if run.reduce then check.fail(level + 1, "train: reduce is the precision of sums over microbatches = 2 or more") end
    return
  end
  if count & (count - 1) ~= 0 then
    check.fail(level + 1, "train: microbatches are a power of two, as they are added by a binary tree; got %d", count)
  end
  for _, stage in ipairs(require("simvae.train.stages").names) do
    local o = run[stage]
    if o.steps > 0 and o.batch % count ~= 0 then
      local least = math.max(o.batch // count, 1) * count
      check.fail(level + 1, "train: %s: a batch of %d is not divided by %d microbatches; batch = %d or %d would be",
        stage, o.batch, count, least, least + count)
    end
  end
end

-- ---- a stage -----------------------------------------------------------------------------------

-- Consecutive leaves whose gradients are summed at once.
local function buckets_of(gradients, n)
  local list, of, first = {}, {}, 1
  for k = 1, n do
    local from, to = gradients:from(first), gradients:from(k + 1)
    if to - from >= BUCKET or k == n then
      local bucket = { first = from, count = to - from, leaves = k - first + 1 }
      list[#list + 1] = bucket
      for i = first, k do of[i] = bucket end
      first = k + 1
    end
  end
  return list, of
end

--- Of a stage.
-- @tparam table run with microbatches, reduce; ranks: of this process among others (simvae.train.ranks), or nil
-- @tparam string stage
-- @tparam Optimizer optimizer
-- @treturn Microbatches with own, how many of them this process computes
function microbatches.new(run, stage, optimizer)
  local count, ranks = run.microbatches, run.ranks
  local own = count // (ranks and ranks.size or 1)
  local leaves = {}
  for i, p in ipairs(optimizer.params) do leaves[#optimizer.params - i + 1] = p.tensor end
  local self = setmetatable({ count = count, own = own, first = ranks and ranks.rank * own or 0, ranks = ranks,
    bf16 = run.reduce == "bf16", seed = run.seed, place = place[stage], gradients = core.gradients(leaves), flat = {},
    losses = {} }, Microbatches)
  for i = 1, own do
    self.flat[i], self.losses[i] = core.buffer(core.zeros(self.gradients:count())), core.buffer(core.zeros(1))
  end
  self.buckets, self.bucket_of = buckets_of(self.gradients, #leaves)
  return self
end

-- ---- sums ----------------------------------------------------------------------------------------

-- join(i, k, width): node i takes in node k; each is of `width` microbatches.
local function tree(n, join)
  local width = 1
  while width < n do
    for i = 1, n, 2 * width do join(i, i + width, width) end
    width = 2 * width
  end
end

-- Sums over all microbatches of small tensors, one of each of ours: a new tensor.
local function sum(self, list)
  local sums = {}
  for i, t in ipairs(list) do sums[i] = t:clone() end
  tree(#sums, function(i, k) core.tree.add(sums[i], sums[k], 0, sums[i].count, false) end)
  if self.ranks then self.ranks:sum(sums[1]) end
  return sums[1]
end

-- What microbatches exchange: functions (self, what each of ours gave, layer, rows) -> what each is given.
local exchanges = {}

function exchanges.moments(self, list, layer, rows)
  local all = list[1]:clone()
  list[1] = all
  tree(#list, function(i, k, width) core.tree.moments(list[i], list[k], rows * width) end)
  if self.ranks then self.ranks:moments(all, rows * self.own) end
  local total = rows * self.count
  local mean, var = all[1]:clone(), all[2] / total
  self.statistics[#self.statistics + 1] = { layer = layer, mean = mean, var = var, rows = total }
  return mean, var
end

function exchanges.sums(self, list)
  return sum(self, list)
end

function exchanges.rows(self, list)
  local all = core.concat(list, 1):detach()
  return self.ranks and self.ranks:rows(all) or all
end

-- A leaf's gradient is complete in one of our microbatches.
local function complete(self, leaf, used)
  if not used then self.unused[leaf] = true end
  local bucket = self.bucket_of[leaf]
  bucket.waiting = bucket.waiting - 1
  if bucket.waiting > 0 then return end
  tree(self.own, function(i, k) core.tree.add(self.flat[i], self.flat[k], bucket.first, bucket.count, self.bf16) end)
  if self.ranks then
    self.ranks:start(self.flat[1], bucket.first, bucket.count, self.bf16)
  elseif self.bf16 then
    core.tree.add(self.flat[1], nil, bucket.first, bucket.count, true)
  end
end

-- ---- a step ----------------------------------------------------------------------------------------

-- Runs a microbatch until it needs the others: what for, and what it gives; "done" at its end.
local function advance(self, task, ...)
  local given = table.pack(...)
  while true do
    microbatch.now = task.now
    local result = table.pack(coroutine.resume(task.thread, table.unpack(given, 1, given.n)))
    microbatch.now = nil
    if not result[1] then error(result[2], 0) end
    if coroutine.status(task.thread) == "dead" then return "done" end
    if result[2] ~= "gradient" then return table.unpack(result, 2, result.n) end
    complete(self, result[3], result[4])
    given = { n = 0 }
  end
end

local function start(self, i, base, loss)
  local now = { count = self.count, number = self.first + i - 1 }
  now.stream = base + now.number
  return { now = now, thread = coroutine.create(function()
    local tape <close> = core.tape()
    local value = loss(i, now)
    self.losses[i]:set(value:item(), 1)
    tape:backward(value, { gradients = self.gradients, into = self.flat[i] })
  end) }
end

-- All of ours, exchange by exchange.
local function run_all(self, tasks)
  local given = {}
  repeat
    local kind, list, layer, rows = nil, {}, nil, nil
    for i, task in ipairs(tasks) do
      local what
      what, list[i], layer, rows = advance(self, task, table.unpack(given))
      if kind and what ~= kind then error("train: microbatches of one batch run different operations", 0) end
      kind = what
    end
    given = exchanges[kind] and { exchanges[kind](self, list, layer, rows) }
  until kind == "done"
end

local closing = { __close = function(tasks)
  for _, task in ipairs(tasks) do coroutine.close(task.thread) end
  microbatch.now = nil
end }

--- The random streams of a step: number i of them is of microbatch i (from 0), the last one of all together.
function Microbatches:streams(step)
  return (self.place << 40 | step) * (self.count + 1)
end

--- Computes the gradients of a step, which the parameters then have.
-- @tparam integer step its number
-- @tparam function loss (i, now) -> the loss of the i-th of our microbatches, a mean over its rows
-- @treturn number the loss of the batch
function Microbatches:step(step, loss)
  local scope <close> = core.scope()
  local tasks <close> = setmetatable({}, closing)
  self.unused, self.statistics = {}, {}
  for _, bucket in ipairs(self.buckets) do bucket.waiting = bucket.leaves * self.own end
  local base = self:streams(step)
  for i = 1, self.own do tasks[i] = start(self, i, base, loss) end
  run_all(self, tasks)
  local value = sum(self, self.losses):item() / self.count
  if self.ranks then self.ranks:finish() end
  self.gradients:set(self.flat[1], 1 / self.count, self.unused)
  core.no_grad(function()
    for _, s in ipairs(self.statistics) do s.layer:follow(s.mean, s.var, s.rows) end
  end)
  return value
end

--- Sets the parameters to those of rank 0, where ranks of different builds come to others.
function Microbatches:align()
  local flat = self.flat[1]
  if self.ranks.rank == 0 then self.gradients:store(flat) else flat:copy(core.zeros(flat.shape)) end
  self.ranks:sum(flat)
  self.gradients:load(flat)
end

--- Generators of the i-th of our microbatches in a step, and of what is the same in all.
-- @tparam table now as `step` gives it
-- @tparam integer step
-- @treturn rng
-- @treturn rng
function Microbatches:generators(now, step)
  local rng = streams.microbatches(self.seed)
  return rng:at(now.stream), rng:at(self:streams(step) + self.count)
end

return microbatches
