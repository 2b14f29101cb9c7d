--- Runs groups of specs, each on one build in a process of its own, and prints the totals.
--
--   lua5.4 spec/suite.lua [--env 'NAME=VALUE …'] [--without TAG] BUILD [SPEC …] [BUILD [SPEC …] …]
--
-- --without leaves out the specs whose names hold #TAG: those tagged #long train for seconds on end, and show little
-- that is not shown by others under a sanitizer.
-- A build without specs runs all of spec/. The last line is always "N passed, N failed, N skipped"; the
-- exit code is 0 if nothing failed. A crash counts as one failure and names the spec.
local environment, without, runs = "", nil, {}
do
  local i = 1
  while arg[i] do
    if arg[i] == "--env" then
      environment, i = arg[i + 1], i + 1
    elseif arg[i] == "--without" then
      without, i = arg[i + 1], i + 1
    elseif arg[i]:find("_spec%.lua$") and runs[1] then
      table.insert(runs[#runs].specs, arg[i])
    else
      runs[#runs + 1] = { build = arg[i], specs = {} }
    end
    i = i + 1
  end
end

local lua = arg[-1]

local quote = dofile "lua/simvae/util/shell.lua".quote

local function command(run, progress)
  local share, lib = run.build .. "/share/lua/5.4/", run.build .. "/lib/lua/5.4/"
  local words = { "env", "SIMVAE_BUILD=" .. quote(run.build), "LUA=" .. quote(lua),
    "LUA_PATH=" .. quote(share .. "?.lua;" .. share .. "?/init.lua;" .. (os.getenv("LUA_PATH") or ";")),
    "LUA_CPATH=" .. quote(lib .. "?.so;" .. (os.getenv("LUA_CPATH") or ";")),
    environment, lua, "-e", quote("require('busted.runner')({ standalone = false }) os.exit(true, true)"), "busted",
    "-o", "spec/outcome.lua", "-Xoutput", quote(progress) }
  if without then words[#words + 1] = quote("--exclude-tags=" .. without) end
  for _, spec in ipairs(run.specs) do words[#words + 1] = quote(spec) end
  return table.concat(words, " ")
end

local passed, failed, skipped = 0, 0, 0
for _, run in ipairs(runs) do
  print("-- " .. run.build)
  io.flush()
  local progress = os.tmpname()
  local _, how, code = os.execute(command(run, progress))
  local file <close> = io.open(progress)
  local last = file and file:read("l") or "before the first spec"
  os.remove(progress)
  local p, f, s = last:match("^done (%d+) (%d+) (%d+)$")
  if p then
    passed, failed, skipped = passed + p, failed + f, skipped + s
    if code ~= 0 and f == "0" then
      print("FAILED: the run ended well, then its process with " .. how .. " " .. code)
      failed = failed + 1
    end
  else
    print("FAILED: the run died (" .. how .. " " .. code .. "): " .. last)
    failed = failed + 1
  end
end
if passed + failed + skipped == 0 then
  print("FAILED: no spec ran")
  failed = 1
end

print(string.format("%d passed, %d failed, %d skipped", passed, failed, skipped))
os.exit(failed == 0, true)
