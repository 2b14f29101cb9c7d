--- Run by `make fuzz`, with BUILD/fuzz/fuzzer built (spec/fuzz/readers.c):
--
--   lua5.4 spec/fuzz/run.lua BUILD SECONDS SEED [TARGET …]
--
-- divides the seconds between the targets; SEED 0 takes a seed from the clock. An input on which a reader fails stays
-- in BUILD/fuzz/TARGET-crash-…, for `SIMVAE_FUZZ=TARGET BUILD/fuzz/fuzzer FILE`; a program of ops that fails is run
-- again by its number (spec/fuzz/ops.lua). The exit code is 0 if nothing failed.
--
-- Of hdf5 and mat, libraries of others parse the files, and fail on damaged ones; the product runs them in a process of
-- its own for that reason. Here libFuzzer goes on behind such failures, and those count that are of our code: whose
-- report has it first, in the stack of the error or of the allocation that was overrun.
local targets = { "ops", "npy", "npz", "png", "safetensors", "csv", "json", "cache", "model", "hdf5", "mat" }

local build, seconds, seed = arg[1], tonumber(arg[2]), math.tointeger(arg[3])
if not build or not seconds or not seed then error("usage: run.lua BUILD SECONDS SEED [TARGET …]", 0) end
if seed == 0 then seed = os.time() end
if arg[4] then targets = { table.unpack(arg, 4) } end
local folder = build .. "/fuzz/"
local each = math.max(1, math.floor(seconds / #targets))

-- A target works in a temporary folder, in memory where there is /dev/shm, that goes however the target ends.
local function run(command, log)
  return os.execute(string.format("TMPDIR=$(mktemp -d -p /dev/shm 2> /dev/null || mktemp -d); export TMPDIR; "
    .. "trap 'rm -rf \"$TMPDIR\"' EXIT; trap 'exit 1' HUP INT TERM; env %s > %s 2>&1", command, log))
end

local function last_lines(path, n)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  return table.concat(lines, "\n", math.max(1, #lines - n + 1))
end

local libraries = { hdf5 = "libhdf5", mat = "libmatio" } -- of others
local modules = { hdf5 = "simvae.hdf5", mat = "simvae.matio" }

local function frame_of(line)
  if line:find "/csrc/" or line:find "/spec/fuzz/" or line:find "liblua" then return "ours" end
  if line:find "libhdf5" or line:find "libmatio" or line:find "libz%." or line:find "libsz%." then return "theirs" end
end

-- Whether a report of the sanitizers is of our code: the first frame that is of ours or of a library's decides, in the
-- stack of the error, and in that of the allocation where memory was overrun.
local function is_ours(report)
  local decided
  for line in report:gmatch "[^\n]+" do
    if line:find "allocated by thread" then decided = nil end
    if line:find "runtime error:" and line:find "csrc/" then return true end
    local frame = not decided and line:find "^%s*#%d+ 0x" and frame_of(line)
    decided = decided or frame
    if frame == "ours" then return true end
  end
  return false
end

local environment = "UBSAN_OPTIONS=print_stacktrace=1 "
  .. "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_abort=1 "
if not run(environment .. "SIMVAE_FUZZ=seeds SIMVAE_FUZZ_SEEDS=" .. folder .. "seeds " .. folder .. "fuzzer",
  folder .. "seeds.log") then
  print("seeds        FAILED:\n" .. last_lines(folder .. "seeds.log", 60))
  os.exit(false)
end

local function artifacts(target)
  local list, pipe <close> = {}, io.popen(string.format("ls %s%s-* 2> /dev/null", folder, target))
  for path in pipe:lines() do list[#list + 1] = path end
  return list
end

-- Runs the inputs that failed once more: those that are of our code, and how many others there are, which go. Memory
-- and time are limits of the product's process.
local function judged(target)
  local own, others = {}, 0
  for _, path in ipairs(artifacts(target)) do
    local log, is_crash = folder .. target .. ".report", path:find "%-crash%-[^/]*$"
    if is_crash then
      run(string.format("%sSIMVAE_FUZZ=%s %sfuzzer %s", environment, target, folder, path), log)
    end
    local file <close> = is_crash and assert(io.open(log)) or nil
    if file and is_ours(file:read "a") then
      own[#own + 1] = path
    else
      others = others + 1
      os.remove(path)
    end
  end
  return own, others
end

local failed = 0

local function fuzz(target)
  local log = folder .. target .. ".log"
  local corpus = string.format("%scorpus/%s %sseeds/%s", folder, target, folder, target)
  os.execute("mkdir -p " .. corpus)
  local options = string.format("-max_total_time=%d -seed=%d -timeout=60 -rss_limit_mb=2048 -max_len=65536 "
    .. "-artifact_prefix=%s%s- %s", each, seed, folder, target, corpus)
  if libraries[target] then
    for _, path in ipairs(artifacts(target)) do os.remove(path) end
    options = "-fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 " .. options
  end
  local ok = run(string.format("%sSIMVAE_FUZZ=%s SIMVAE_FUZZ_OPS='%d 1000000 %d' %sfuzzer %s", environment, target,
    seed, each, folder, options), log)
  local own, others = {}, 0
  if libraries[target] then
    own, others = judged(target)
    ok = last_lines(log, 1):find "^INFO: exiting" ~= nil -- its code says that inputs failed
  end
  if #own > 0 then
    failed = failed + 1
    print(string.format("%-12s FAILED on %s", target, table.concat(own, ", ")))
  elseif ok then
    print(string.format("%-12s %s%s", target, last_lines(log, 1), libraries[target]
      and string.format("; %s failed on %d inputs", libraries[target], others) or ""))
  else
    failed = failed + 1
    print(string.format("%-12s FAILED, as %s tells:\n%s", target, log, last_lines(log, 60)))
  end
end

for _, target in ipairs(targets) do
  if modules[target] and not package.searchpath(modules[target], package.cpath) then
    print(string.format("%-12s skipped: this build has no %s", target, libraries[target]))
  else
    fuzz(target)
  end
end
print(string.format("%d targets, %d s each, seed %d: %d failed", #targets, each, seed, failed))
os.exit(failed == 0)
