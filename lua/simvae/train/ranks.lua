--- Training on the ranks of an MPI job.
--
--     mpirun -n 4 simvae train ring.lua
--
-- Each rank draws and computes its share of every batch, in microbatches (simvae.train.microbatches); the tree of their
-- sums goes on over ranks (csrc/mpi/job.c). All ranks have the same weights, optimizer and random streams throughout,
-- so that 1, 2 and 4 ranks end with the same bits; sums are sent while the backward pass goes on. Rank 0 alone writes:
-- log, checkpoints, model. It reads the checkpoint of a run that goes on, and sends it to the others.
--
-- A thread of its own calls MPI (csrc/mpi/thread.c), which starts after the workers of the sampler have been forked.
-- What ends one rank ends all: an error is told to the others, and rank 0 saves the state of the last step before it
-- ends; a rank that is killed is noticed by mpirun, which ends the others by SIGTERM.
local check = require "simvae.util.check"
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local json = require "simvae.io.json"

local ranks = {}
local Ranks = {}
Ranks.__index = Ranks

local LEAST = 4      -- microbatches by default, so that up to so many ranks give the same weights
local LOOK = 0.05    -- seconds between two looks at signals
local SAVING = 60    -- seconds that a rank waits for rank 0 to save, before it ends after a failure

local world -- of this process, once MPI has started

-- ---- how the process was started ---------------------------------------------------------------

-- Environment variables in which launchers tell a process its rank and the number of ranks.
local variables = {
  { "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE" }, -- mpirun of Open MPI
  { "PMI_RANK", "PMI_SIZE" },                         -- MPICH; srun --mpi=pmi2
  { "PMIX_RANK", "SLURM_STEP_NUM_TASKS" },            -- srun --mpi=pmix
}

local function number_in(variable)
  local text = os.getenv(variable)
  return text and math.tointeger(tonumber(text))
end

--- This process among those that an MPI launcher has started.
-- @treturn ?integer rank, from 0; nil: none has
-- @treturn ?integer how many there are
function ranks.launched()
  for _, names in ipairs(variables) do
    local rank, size = number_in(names[1]), number_in(names[2])
    if rank and size and rank >= 0 and rank < size then return rank, size end
  end
end

-- Why MPI cannot be used here, or nil.
local function absent()
  local remedy = "install MPI (Debian, Ubuntu: apt-get install libopenmpi-dev openmpi-bin; macOS: brew install "
    .. "open-mpi) and build again with make, or give mpi = false, by which every rank trains by itself"
  if not package.searchpath("simvae.mpi", package.cpath) then
    return "simvae/mpi.so is not in this build: " .. remedy
  end
  local ok, module = pcall(require, "simvae.mpi")
  if not ok then
    return string.format("simvae/mpi.so cannot be loaded (%s): %s", tostring(module):match "[^\n]*", remedy)
  end
  if module.version ~= core.version then
    return string.format("simvae.mpi is of version %s, simvae.core of %s; install both anew", module.version,
      core.version)
  end
end

--- Why MPI cannot be used here, and what to do; nil: it can.
ranks.absent = absent

local function is_power_of_two(n) return n > 0 and n & (n - 1) == 0 end

local function check_size(run, size, fail)
  if not is_power_of_two(size) then
    fail("train: the number of ranks is a power of two, as their gradients are added by a binary tree; mpirun has "
      .. "started %d", size)
  end
  if is_power_of_two(run.microbatches) and run.microbatches < size then
    fail("train: %d ranks do not divide %d microbatches; microbatches = %d does", size, run.microbatches, size)
  end
end

-- Options by which ranks would write the same files, or simulate what others have to know.
local function check_options(run, fail)
  if run.rounds or run.choose then
    fail("train: %s on several ranks: parts of the simulations depend on what was learned from earlier ones; train "
      .. "with one rank, with workers that simulate", run.rounds and "rounds" or "choose")
  end
  if run.cache and not run.offline then
    fail("train: cache on several ranks, which would all write %s; draw the samples first (simvae simulate --shard, "
      .. "simvae merge) and train with offline = true, or give no cache", run.cache)
  end
end

--- The number of microbatches by default: that of the ranks, at least 4; nil: no launcher has started this process, or
-- each process trains by itself.
-- @tparam table run options of train
-- @treturn ?integer
function ranks.microbatches(run)
  local _, size = ranks.launched()
  return size and run.mpi ~= false and math.max(LEAST, size) or nil
end

--- Raises for options that ranks cannot have.
-- @tparam table run options of train; of ranks but the first, out becomes nil, and quiet true
-- @tparam integer level of train's caller
function ranks.check(run, level)
  local function fail(...) check.fail(level + 2, ...) end
  local rank, size = ranks.launched()
  if run.mpi == false then return end
  if not size then
    if run.mpi then fail "train: mpi = true, but no launcher has started this process: mpirun -n 4 …" end
    if run.mixed_ranks then fail "train: mixed_ranks is of MPI ranks, and no launcher has started this process" end
    return
  end
  local missing = absent()
  if missing then fail("train: a launcher has started %d ranks, and %s", size, missing) end
  check_size(run, size, fail)
  if size > 1 then check_options(run, fail) end
  run.launched, run.folder = size, run.out
  if rank > 0 then
    run.failures = run.failures or run.out and string.format("%s/failures_%d.csv", run.out, rank)
    run.out, run.quiet = nil, true
  end
end

--- The number of this process among those that mpirun has started, from 0; 0 without mpirun. Of a script on several
-- ranks, what comes after the training is for rank 0 alone.
-- @treturn integer
-- @usage if sv.rank() == 0 then print "this process writes" end
function ranks.rank() return (ranks.launched()) or 0 end

-- ---- failures ------------------------------------------------------------------------------------

local Failure = {}
Failure.__tostring = function(self) return self.text end

--- Is an error what another rank has told, or one of MPI?
function ranks.is_failure(e) return getmetatable(e) == Failure end

-- Rank 0 reports all of what another one has told.
local function failure(text, from)
  if ranks.rank() > 0 then text = text:match "^[^\n]*" end
  return setmetatable({ text = from and string.format("rank %d has ended the training: %s", from, text)
    or "MPI has lost a rank: " .. text }, Failure)
end

-- ---- waiting ---------------------------------------------------------------------------------------

function Ranks:wait(job)
  while true do
    local done, why, from = self.mpi.wait(job, LOOK)
    if done then break end
    if done == nil then error(failure(why, from), 0) end
    if self.signals then self.signals:poll() end
  end
  self.kept[job] = nil
end

-- Keeps what a job works on alive, waits for it, and counts the time.
local function complete(self, job, kept)
  local before = core.system.clock()
  self.kept[job] = kept
  self:wait(job)
  self.seconds = self.seconds + core.system.clock() - before
end

--- Texts of all ranks.
-- @tparam string text of this one
-- @treturn {string,...} from rank 0 on
function Ranks:texts(text)
  local job = self.mpi.texts(text)
  complete(self, job)
  return self.mpi.result(job)
end

--- The text of rank 0.
function Ranks:broadcast(text)
  return self:texts(self.rank == 0 and text or "")[1]
end

--- Adds a small tensor over ranks, in place.
function Ranks:sum(t)
  complete(self, self.mpi.sum(t, 0, t.count, "fp32"), t)
end

--- Joins the moments (2, C) of as many rows on each rank, in place.
function Ranks:moments(t, rows)
  complete(self, self.mpi.moments(t, rows), t)
end

-- The block of n rows that a rank has: first (from 0) and how many.
local function block(rank, size, n)
  local first = n * rank // size
  return first, n * (rank + 1) // size - first
end

--- The rows of all ranks.
-- @tparam tensor t this one's
-- @tparam ?integer n rows of all (size times this one's)
-- @treturn tensor
function Ranks:rows(t, n)
  n = n or t.shape[1] * self.size
  local shape, each, counts = table.move(t.shape, 2, t.ndim, 2, { n }), 1, {}
  for i = 2, t.ndim do each = each * t.shape[i] end
  for r = 0, self.size - 1 do counts[r + 1] = select(2, block(r, self.size, n)) * each end
  local all = core.buffer(core.zeros(shape))
  complete(self, self.mpi.rows(all, counts, t), { all, t })
  return all
end

--- The rows of n that this rank has.
-- @treturn integer first, from 0
-- @treturn integer how many
function Ranks:block(n) return block(self.rank, self.size, n) end

--- Starts adding a part of a flat tensor over ranks, in place.
-- @tparam tensor flat
-- @tparam integer first from 0
-- @tparam integer count
-- @tparam boolean bf16
function Ranks:start(flat, first, count, bf16)
  local job = self.mpi.sum(flat, first, count, bf16 and "bf16" or "fp32")
  self.kept[job] = flat
  self.started[#self.started + 1] = job
end

--- Waits for what `start` has started.
function Ranks:finish()
  local before = core.system.clock()
  for _, job in ipairs(self.started) do self:wait(job) end
  self.started = {}
  self.exposed = self.exposed + core.system.clock() - before
end

-- ---- agreement -----------------------------------------------------------------------------------

--- Raises unless a text is the same on all ranks.
-- @tparam string what it is
-- @tparam string text
function Ranks:same(what, text)
  local all = self:texts(text)
  for rank = 2, #all do
    if all[rank] ~= all[1] then
      error(string.format("train: %s of rank %d is another one than that of rank 0: %s; %s", what, rank - 1, all[rank],
        all[1]), 0)
    end
  end
end

--- A number that decides what all ranks do: that of rank 0.
-- @tparam number value
-- @treturn number
-- @raise where it differs between ranks of one build
function Ranks:agree(value)
  local all = self:texts(string.pack("<d", value))
  for rank = 2, #all do
    if all[rank] ~= all[1] and not self.mixed then
      error(string.format("train: ranks 0 and %d have come to different results, %.17g and %.17g", rank - 1,
        string.unpack("<d", all[1]), string.unpack("<d", all[rank])), 0)
    end
  end
  return (string.unpack("<d", all[1]))
end

-- A checksum of a module's file.
local function checksum(module)
  local path = package.searchpath("simvae." .. module, package.cpath)
  local file <close> = path and io.open(path, "rb")
  return file and core.io.crc32 { file:read "a" } or 0
end

-- What results depend on to the last bit: the build, the CPU level, the library of products.
local function build_of()
  return string.format("simvae %s %s, build %08x, CPU level %s, products by %s", core.version, core.real,
    checksum "core", core.kernel(), os.getenv "SV_BLAS" or "the rules")
end

local function check_builds(self, run)
  local all = self:texts(build_of())
  for rank = 2, #all do
    if all[rank] ~= all[1] then
      self.mixed = run.mixed_ranks or false
      if self.mixed then return end
      error(string.format("train: rank 0 runs %s; rank %d runs %s: their results differ in the last bits. Install one "
        .. "build everywhere, set SV_KERNEL to a level that all CPUs have, or give mixed_ranks = true, by which rank 0 "
        .. "sends its weights after every step", all[1], rank - 1, all[rank]), 0)
    end
  end
end

--- Raises unless all ranks train the same: options, simulator, weights.
-- @tparam Model model
-- @tparam table configuration as of simvae.train.checkpoint
function Ranks:check(model, configuration)
  self:same("the configuration", json.encode(configuration))
  local names, list = {}, {}
  for name in pairs(model:state()) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do list[i] = model:state()[name] end
  if not self.mixed then
    self:same("the checksum of the weights", string.format("%08x", core.io.crc32(list)))
  end
end

-- ---- start and end ---------------------------------------------------------------------------------

local function start(run)
  local mpi = require "simvae.mpi"
  mpi.start()
  while true do
    local rank, size, near, threads = mpi.ready(LOOK)
    if rank == nil then error(failure(size), 0) end
    if rank then
      return setmetatable({ mpi = mpi, rank = rank, size = size, near = near, threads = threads, kept = {},
        started = {}, seconds = 0, exposed = 0 }, Ranks)
    end
    run.signals:poll()
  end
end

--- Starts MPI, after the run's workers have been forked.
-- @tparam table run with launched, signals
-- @treturn ?Ranks nil: the run has one rank alone
function ranks.start(run)
  if (run.launched or 1) == 1 then return nil end
  if not world then
    world = start(run)
    if not core.threads_chosen() then core.threads(world.threads) end
  end
  if world.size ~= run.launched then
    error(string.format("train: the launcher has started %d ranks, and MPI has %d: is mpirun of another MPI than "
      .. "simvae/mpi.so was built with?", run.launched, world.size), 0)
  end
  world.signals, world.mixed = run.signals, false
  check_builds(world, run)
  return world
end

--- Ends the part of a training in which ranks depend on each other: tells others an error, and waits until rank 0 has
-- saved.
-- @param e the error
function Ranks:leave(e)
  local interrupted = interrupt.is(e) and "interrupted by SIG" .. (self.signals:caught() or "INT")
  if not ranks.is_failure(e) then self.mpi.tell("F", interrupted or tostring(e)) end
  self.broken = true
  if self.rank > 0 then
    self.mpi.heard("S", SAVING)
    self.mpi.stop(false) -- messages under way would arrive in tensors that are gone
  end
end

--- Tells others that rank 0 has saved, after a failure.
function Ranks:saved()
  if self.rank > 0 or not self.broken then return end
  self.mpi.tell("S", "")
  self.mpi.stop(false)
end

--- Ends MPI, with all other ranks: no training follows.
function ranks.finish()
  if world and not world.broken then world.mpi.stop(true) end
end

return ranks
