-- Benchmark of speed and memory, against the installed peers.
--
--   make bench BENCH_ARGS="--only stage1 --json figures.json"
--
-- Every peer is a process of its own that waits for a line while another one works, so that
-- rounds can be interleaved: a temporary load affects all of them.
local here = arg[0]:match "^(.*/)" or "./"
package.path = here .. "?.lua;" .. package.path

local argparse = require "argparse"
local core = require "simvae.core"
local measure = require "measure"
local report = require "report"
local worker = require "worker"
local workloads = require "workloads"

local function count(text)
  local n = math.tointeger(tonumber(text))
  if n and n > 0 then return n end
  return nil, string.format("'%s' is not a whole number of 1 or more", text)
end

local function positive(text)
  local v = tonumber(text)
  if v and v > 0 then return v end
  return nil, string.format("'%s' is not a number above 0", text)
end

local function budget(text)
  local decoder, encoder = text:match "^(%d+)x(%d+)$"
  decoder, encoder = math.tointeger(tonumber(decoder)), math.tointeger(tonumber(encoder))
  if decoder and encoder and decoder > 0 and encoder > 0 then return { decoder, encoder } end
  return nil, string.format("'%s' is not two whole numbers of 1 or more with an x between", text)
end

local parser = argparse("make bench BENCH_ARGS=\"…\"", "Measures simvae and its peers on the same work.")
parser:option("--only", "Workloads whose name or title has this in it; can be repeated."):count "*"
parser:option("--without", "Forms (or peers) whose label has this in it are left out; can be repeated."):count "*"
parser:option("--rounds", "Interleaved rounds.", "9"):convert(count)
parser:option("--seconds", "Of each measurement.", "0.4"):convert(positive)
parser:option("--threads", "Of everyone.", "2"):convert(count)
parser:option("--budget", "Most steps of a whole run, of the decoder and of the encoder.", "2000x3000"):convert(budget)
parser:flag("--cpu", "One thread for everyone, and its processor time: for a machine that others use as well.")
parser:option("--python", "The Python that has the peers.", "python3")
parser:option("--json", "Writes all figures to this file.")
parser:option("--markdown", "Writes a page of results to this file.")
parser:flag("--list", "Names the workloads and ends.")
local args = parser:parse()

local function has(text, words)
  for _, word in ipairs(words) do
    if text:lower():find(word:lower(), 1, true) then return true end
  end
  return false
end

local function of_form(form, words) return has(form.label, words) or has(form.worker or "", words) end

local chosen, shares = {}, false
for _, work in ipairs(workloads) do
  if #args.only == 0 or has(work.name, args.only) or has(work.title, args.only) then
    chosen[#chosen + 1] = work
    shares = shares or work.flops
  end
end
for _, part in ipairs(args.without) do
  local found = false
  for _, form in pairs(workloads.forms) do found = found or of_form(form, { part }) end
  if not found then
    parser:error(string.format("--without %q: no form or peer has that in its name; give it once for each", part))
  end
end
if #chosen == 0 then parser:error("no workload has that in its name; --list names them") end
if args.list then
  for _, work in ipairs(chosen) do print(string.format("%-16s %s", work.name, work.title)) end
  os.exit(0)
end
if shares and chosen[1].name ~= "sgemm" then table.insert(chosen, 1, workloads[1]) end

-- ---- workers ------------------------------------------------------------------------------------

if args.cpu then args.threads = 1 end
local threads = tostring(args.threads)
local env = { BENCH_THREADS = threads, SV_THREADS = threads, OMP_NUM_THREADS = threads, MKL_NUM_THREADS = threads,
  OPENBLAS_NUM_THREADS = threads, OPENBLAS_CORETYPE = false, OPENBLAS_L2_SIZE = false, JAX_PLATFORMS = "cpu",
  BENCH_CLOCK = args.cpu and "cpu" or "wall" }
local programs = { LUA = arg[-1], PYTHON = args.python }
local commands = { -- of workers; others are Python's
  simvae = { programs.LUA, here .. "ours.lua" },
  c = { "sh", here .. "peers/with_c.sh", "c.exe", "-O3" },
  c_native = { "sh", here .. "peers/with_c.sh", "native.exe", "-O3", "-march=native" },
  node = { "node", here .. "peers/with_node.mjs" },
}
local versions, lacking, running = {}, {}, {}

local function start(name)
  if lacking[name] then return nil, lacking[name] end
  local command = commands[name] or { programs.PYTHON, here .. "peers/with_" .. name .. ".py" }
  local w, why = worker.start(command, env)
  if not w then
    lacking[name] = why
    return nil, why
  end
  if not versions[name] then
    versions[name] = w.versions
    versions[#versions + 1] = w.versions
  end
  return w
end

local function staying(name)
  if not running[name] then
    local w, why = start(name)
    if not w then return nil, why end
    running[name] = w
  end
  return running[name]
end

local function load_average()
  local f <close> = io.open "/proc/loadavg"
  return f and f:read "l":match "^(%S+ %S+)" or "unknown"
end

-- ---- run ------------------------------------------------------------------------------------------

local processor, cores = core.system.processor()
local load_before, begun = load_average(), os.date "%Y-%m-%d"
local timed = args.cpu and "one thread, processor time" or threads .. " threads"
print(string.format("%s, %d cores; %s for everyone; %d rounds of %g s; load %s", processor, cores, timed, args.rounds,
  args.seconds, load_before))

local o = {
  rounds = args.rounds, starts = 3 * args.rounds, fresh = math.max(1, args.rounds // 3), seconds = args.seconds,
  budget = args.budget,
  programs = programs, env = env,
  skip = function(form, work)
    local same = args.cpu and form == workloads.forms.one and work.forms[1] ~= "one" -- all have one thread then
    return same or args.cpu and work.children or of_form(form, args.without)
  end,
}
local results, sgemm, wrong = {}, nil, false
for _, work in ipairs(chosen) do
  local result, beside = measure.run(work, workloads.forms, o, staying, start)
  if work.name == "sgemm" then sgemm = report.sgemm(result) end
  for _, r in ipairs { result, beside } do
    for _, f in ipairs(r.forms) do wrong = wrong or f.wrong end
    if #r.forms > 0 then results[#results + 1] = r end
    report.print(r, sgemm)
  end
end
for _, w in pairs(running) do w:close() end

local about = {
  { "machine", string.format("%s, %d cores", processor, cores) },
  { "date", begun },
  { "versions", table.concat(versions, "; ") },
  { "threads", timed },
  { "environment", "OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE unset" },
  { "rounds", string.format("%d of %g s, interleaved", args.rounds, args.seconds) },
  { "load", string.format("%s before, %s after (1 and 5 minutes; the bench's own work counts)", load_before,
    load_average()) },
}
local absent = {}
for name, why in pairs(lacking) do absent[#absent + 1] = name .. ": " .. why end
table.sort(absent)
if #absent > 0 then about[#about + 1] = { "missing", table.concat(absent, "; ") } end
print()
for _, pair in ipairs(about) do print(string.format("%-12s %s", pair[1], pair[2])) end

local run = { about = about, results = results, sgemm = sgemm,
  command = "make bench" .. (#arg > 0 and " BENCH_ARGS=\"" .. table.concat(arg, " ") .. "\"" or "") }

local function write(path, text)
  local file, why = io.open(path, "w")
  if not file then
    io.stderr:write(why, "\n")
    os.exit(1)
  end
  file:write(text)
  file:close()
end
if args.json then
  write(args.json, require("dkjson").encode(report.values(run), { indent = true }) .. "\n")
end
if args.markdown then write(args.markdown, report.markdown(run)) end
if wrong then print "\na peer's result differs from ours: its figures compare different work" end
os.exit(not wrong, true)
