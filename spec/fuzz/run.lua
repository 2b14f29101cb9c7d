--- Run by `make fuzz`, with BUILD/fuzz/fuzzer built (spec/fuzz/readers.c):
--
--   lua5.4 spec/fuzz/run.lua BUILD SECONDS SEED [TARGET …]
--
-- divides the seconds between the targets; SEED 0 takes a seed from the clock. An input on which a reader fails stays
-- in BUILD/fuzz/TARGET-crash-…, for `SIMVAE_FUZZ=TARGET BUILD/fuzz/fuzzer FILE`; a program of ops that fails is run
-- again by its number (spec/fuzz/ops.lua). The exit code is 0 if nothing failed.
local targets = { "ops", "npy", "npz", "png", "safetensors", "csv", "json", "cache", "model" }

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

local environment = "UBSAN_OPTIONS=print_stacktrace=1 "
  .. "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_abort=1 "
if not run(environment .. "SIMVAE_FUZZ=seeds SIMVAE_FUZZ_SEEDS=" .. folder .. "seeds " .. folder .. "fuzzer",
  folder .. "seeds.log") then
  print("seeds        FAILED:\n" .. last_lines(folder .. "seeds.log", 60))
  os.exit(false)
end

local failed = 0
for _, target in ipairs(targets) do
  local log = folder .. target .. ".log"
  local corpus = string.format("%scorpus/%s %sseeds/%s", folder, target, folder, target)
  os.execute("mkdir -p " .. corpus)
  local options = string.format("-max_total_time=%d -seed=%d -timeout=60 -rss_limit_mb=2048 -max_len=65536 "
    .. "-artifact_prefix=%s%s- %s", each, seed, folder, target, corpus)
  local ok = run(string.format("%sSIMVAE_FUZZ=%s SIMVAE_FUZZ_OPS='%d 1000000 %d' %sfuzzer %s", environment, target,
    seed, each, folder, options), log)
  if ok then
    print(string.format("%-12s %s", target, last_lines(log, 1)))
  else
    failed = failed + 1
    print(string.format("%-12s FAILED, as %s tells:\n%s", target, log, last_lines(log, 60)))
  end
end
print(string.format("%d targets, %d s each, seed %d: %d failed", #targets, each, seed, failed))
os.exit(failed == 0)
