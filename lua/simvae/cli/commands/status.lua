--- simvae status: how far the shards in a folder are.
local duration = require "simvae.train.progress".duration
local json = require "simvae.io.json"
local outcome = require "simvae.cli.outcome"
local percent = require "simvae.util.percent"
local shards = require "simvae.cli.shards"
local texts = require "simvae.cli.texts"

local MOST_LINES = 20

local function define(command)
  command:argument("folder", "Folder of the shards."):convert(shards.folder)
  command:option("--observe", "Seconds to watch the folder for, so that the rate is measured; default: as the "
    .. "processes recorded it.", "0"):argname "<seconds>":convert(function(text)
    local seconds = tonumber(text)
    if seconds and seconds >= 0 and seconds < math.huge then return seconds end
    return nil, "--observe takes a number of seconds; got '" .. text .. "'"
  end)
  command:flag("--json", "Prints JSON.")
end

local ORDER = { "done", "running", "interrupted", "killed", "failed", "not begun" }

-- Numbers of shards as sbatch --array takes them: "3,17-20".
local function ranges(list)
  local parts, i = {}, 1
  while i <= #list do
    local stop = i
    while list[stop + 1] == list[stop] + 1 do stop = stop + 1 end
    parts[#parts + 1] = stop > i and list[i] .. "-" .. list[stop] or tostring(list[i])
    i = stop + 1
  end
  return table.concat(parts, ",")
end

-- The shards that are neither done nor running nor only waiting.
local function print_stopped(s)
  local rows = { { "shard", "done", "of", "state", "host", "reason" } }
  for _, one in ipairs(s.shards) do
    if one.state == "failed" or one.state == "killed" or one.state == "interrupted" then
      if #rows > MOST_LINES then
        rows[#rows + 1] = { "…", "", "", "", "", "" }
        break
      end
      rows[#rows + 1] = { tostring(one.shard), tostring(one.done), tostring(one.total), one.state, one.host or "",
        (one.reason or ""):match "^[^\n]*" }
    end
  end
  if #rows > 1 then print("\n" .. texts.table(rows)) end
end

local function print_page(s)
  local states, open = {}, {}
  for _, state in ipairs(ORDER) do
    if s.states[state] then states[#states + 1] = string.format("%d %s", s.states[state], state) end
  end
  for _, one in ipairs(s.shards) do
    if one.state ~= "done" and one.state ~= "running" then open[#open + 1] = one.shard end
  end
  print(string.format("%s: %d samples of seed %d in %d shard%s, simvae %s", s.simulator, s.total, s.seed, s.of,
    s.of == 1 and "" or "s", s.version))
  print(string.format("samples  %d done (%s)", s.done, percent(s.done / s.total)))
  print("shards   " .. table.concat(states, ", "))
  if s.done < s.total then
    print(string.format("rate     %.3g samples/s%s", s.rate, s.left and ", " .. duration(s.left) .. " left" or ""))
  end
  print(string.format("failed   %d draws%s", s.failed, s.failed > 0 and ", which others replace\n" .. s.failures or ""))
  print_stopped(s)
  if #open > 0 then print("\nnot done and not running: " .. ranges(open)) end
end

local function run(a)
  local s, why = require "simvae.sampler.shards".status(a.folder, { seconds = a.observe })
  if not s then outcome.fail("%s", why) end
  if a.json then print(json.encode(s, true)) else print_page(s) end
end

return {
  order = 101,
  summary = "Tells how far shards are: done, failed, rate, time left.",
  text = "Tells how far the shards in a folder are: samples done, shards by their state, the rate of the running "
    .. "processes and the time left at this rate, failed draws with their reasons, and shards that stopped with why. "
    .. "Times of files and clocks of other machines are not used.",
  examples = { "simvae status shards", "simvae status shards --observe 30" },
  define = define,
  run = run,
}
