--- Runs specs, each file on a build in a process of its own, as many at once as there are cores, and prints the totals.
--
--   lua5.4 spec/suite.lua [--jobs N] [--env 'NAME=VALUE …'] [--without TAG] BUILD [SPEC …] [BUILD [SPEC …] …]
--
-- --without leaves out the specs whose names hold #TAG: those tagged #long train for seconds on end, and show little
-- that is not shown by others under a sanitizer.
-- A build without specs runs all of spec/. The last line is always "N passed, N failed, N skipped"; the
-- exit code is 0 if nothing failed. A crash counts as one failure and names the spec, as does a file that takes longer
-- than LIMIT where there is timeout(1).
local quote = dofile "lua/simvae/util/shell.lua".quote

local function lines_of(command)
  local list = {}
  local pipe <close> = assert(io.popen(command, "r"))
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

local environment, without, at_once, runs = "", nil, nil, {}
do
  local i = 1
  while arg[i] do
    if arg[i] == "--env" then
      environment, i = arg[i + 1], i + 1
    elseif arg[i] == "--without" then
      without, i = arg[i + 1], i + 1
    elseif arg[i] == "--jobs" then
      at_once, i = arg[i + 1], i + 1
    elseif arg[i]:find("_spec%.lua$") and runs[1] then
      table.insert(runs[#runs].specs, arg[i])
    else
      runs[#runs + 1] = { build = arg[i], specs = {} }
    end
    i = i + 1
  end
end
local LIMIT = 900 -- seconds
local limited = lines_of("command -v timeout")[1] and ("timeout -k 10 %d "):format(LIMIT) or ""
at_once = tonumber(at_once or lines_of("getconf _NPROCESSORS_ONLN 2>/dev/null")[1]) or 2

local function slurp(path)
  local file <close> = io.open(path)
  return file and file:read("a") or ""
end

local function command(run, spec, progress)
  local share, lib = run.build .. "/share/lua/5.4/", run.build .. "/lib/lua/5.4/"
  local lua = arg[-1]
  local words = { limited .. "env", "SIMVAE_BUILD=" .. quote(run.build), "LUA=" .. quote(lua),
    "LUA_PATH=" .. quote(share .. "?.lua;" .. share .. "?/init.lua;" .. (os.getenv("LUA_PATH") or ";")),
    "LUA_CPATH=" .. quote(lib .. "?.so;" .. (os.getenv("LUA_CPATH") or ";")),
    environment, lua, "-e", quote("require('busted.runner')({ standalone = false }) os.exit(true, true)"), "busted",
    "-o", "spec/outcome.lua", "-Xoutput", quote(progress) }
  if without then words[#words + 1] = quote("--exclude-tags=" .. without) end
  words[#words + 1] = quote(spec)
  return table.concat(words, " ")
end

local folder = lines_of("mktemp -d")[1]

-- Those that take longest begin first, so that none goes on when all others have ended.
local LONGEST = { "mpi", "notebooks", "reproduce", "pages", "recalibration", "onnx", "model", "export_c", "slurm",
  "cli_use", "surprise", "diagnosis", "early_stopping", "spice_reading", "python_notebook", "export_web", "cli", "docs",
  "streams", "debian", "report_page", "shards" }

local function longest_first(specs)
  local place = {}
  for i, name in ipairs(LONGEST) do place["spec/" .. name .. "_spec.lua"] = i end
  table.sort(specs, function(a, b)
    local p, q = place[a] or math.huge, place[b] or math.huge
    if p ~= q then return p < q end
    return a < b
  end)
end

-- Every file is a script N of the folder, that leaves what it printed, its exit code and its counts beside it.
local function run_all(run)
  if #run.specs == 0 then run.specs = lines_of("ls spec/*_spec.lua") end
  longest_first(run.specs)
  local list <close> = assert(io.open(folder .. "/list", "w"))
  for i, spec in ipairs(run.specs) do
    local script <close> = assert(io.open(("%s/%d"):format(folder, i), "w"))
    script:write(command(run, spec, ("%s/%d.progress"):format(folder, i)), "\n")
    list:write(i, "\n")
  end
  list:close()
  os.execute(([[xargs -P %d -n 1 sh -c '
    sh "$0/$1" > "$0/$1.out" 2>&1 < /dev/null
    echo $? > "$0/$1.code"
    cat "$0/$1.out"' %s < %s/list]]):format(at_once, folder, folder))
end

local passed, failed, skipped = 0, 0, 0
for _, run in ipairs(runs) do
  print("-- " .. run.build)
  io.flush()
  run_all(run)
  for i, spec in ipairs(run.specs) do
    local base = ("%s/%d."):format(folder, i)
    local code, last = tonumber(slurp(base .. "code")), slurp(base .. "progress"):match("[^\n]*")
    local p, f, s = last:match("^done (%d+) (%d+) (%d+)$")
    if p then
      passed, failed, skipped = passed + p, failed + f, skipped + s
    end
    if not p or code ~= 0 and f == "0" then
      print(("FAILED: %s: the process %s %s"):format(spec, code == 124 and ("took more than %d s"):format(LIMIT)
        or "ended with " .. (code or "no exit code"),
        p and "after the last spec" or last == "" and "before the first spec" or "in a spec"))
      failed = failed + 1
    end
  end
  os.execute("rm -rf " .. folder .. "/*")
end
os.execute("rm -rf " .. quote(folder))
if passed + failed + skipped == 0 then
  print("FAILED: no spec ran")
  failed = 1
end

print(string.format("%d passed, %d failed, %d skipped", passed, failed, skipped))
os.exit(failed == 0, true)
