--- What `make fuzz` runs, after it has built BUILD/fuzz/fuzzer (spec/fuzz/readers.c):
--
--   lua5.4 spec/fuzz/run.lua BUILD SECONDS [TARGET …]
--
-- shares the seconds out over the targets. What a reader fails on stays in BUILD/fuzz/TARGET-crash-…, to be given to
-- `SIMVAE_FUZZ=TARGET BUILD/fuzz/fuzzer FILE`; a program of ops that fails is run again by its number
-- (spec/fuzz/ops.lua). The exit code is 0 if nothing failed.
local targets = { "ops", "npy", "npz", "png", "safetensors", "csv", "json", "cache", "model" }

local build, seconds = arg[1], tonumber(arg[2])
if not build or not seconds then error("usage: run.lua BUILD SECONDS [TARGET …]", 0) end
if arg[3] then targets = { table.unpack(arg, 3) } end
local folder = build .. "/fuzz/"
local each = math.max(1, math.floor(seconds / #targets))
local first = os.time()

local function run(command, log)
  return os.execute(string.format("%s > %s 2>&1", command, log))
end

local function last_lines(path, n)
  local lines = {}
  for line in io.lines(path) do lines[#lines + 1] = line end
  return table.concat(lines, "\n", math.max(1, #lines - n + 1))
end

local environment = "env UBSAN_OPTIONS=print_stacktrace=1 "
  .. "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:handle_abort=1 "
run(environment .. "SIMVAE_FUZZ=seeds SIMVAE_FUZZ_SEEDS=" .. folder .. "seeds " .. folder .. "fuzzer",
  folder .. "seeds.log")

local failed = 0
for _, target in ipairs(targets) do
  local log = folder .. target .. ".log"
  local corpus = string.format("%scorpus/%s %sseeds/%s", folder, target, folder, target)
  os.execute("mkdir -p " .. corpus)
  local options = string.format("-max_total_time=%d -timeout=20 -rss_limit_mb=2048 -max_len=65536 "
    .. "-artifact_prefix=%s%s- %s", each, folder, target, corpus)
  local ok = run(string.format("%sSIMVAE_FUZZ=%s SIMVAE_FUZZ_OPS='%d 1000000 %d' %sfuzzer %s", environment, target,
    first, each, folder, options), log)
  if ok then
    print(string.format("%-12s %s", target, last_lines(log, 1)))
  else
    failed = failed + 1
    print(string.format("%-12s FAILED, as %s tells:\n%s", target, log, last_lines(log, 60)))
  end
end
print(string.format("%d targets, %d s each, %d failed", #targets, each, failed))
os.exit(failed == 0)
