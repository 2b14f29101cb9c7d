--- The results of the benchmark: a JSON file that grows with each result, so that an interrupted run goes on, and the
-- table that is made of it.
local core = require "simvae.core"
local json = require "simvae.io.json"
local score = dofile "spec/bench/sbibm/score.lua"
local tasks = dofile "spec/bench/sbibm/tasks.lua"

local Results = {}
Results.__index = Results
local results = {}

--- Reads a file of results, or starts one.
-- @tparam string path
function results.open(path)
  local file, list = io.open(path), {}
  if file then
    file:close()
    local read, why = json.load(path)
    if not read then error(why, 0) end
    list = read
  end
  return setmetatable({ path = path, list = list }, Results)
end

local function place(self, key)
  for i, r in ipairs(self.list) do
    local same = true
    for _, name in ipairs { "task", "simulations", "seed", "method" } do same = same and r[name] == key[name] end
    if same then return i end
  end
end

--- The result of a task, a number of simulations, a seed and a method ("simvae", "sbi"), or nil.
function Results:find(key)
  local i = place(self, key)
  return i and self.list[i]
end

--- Adds a result, in place of an earlier one of the same key, and writes the file.
function Results:add(r)
  self.list[place(self, r) or #self.list + 1] = r
  local ok, why = json.save(self.path, self.list)
  if not ok then error(why, 0) end
end

-- ---- the table ------------------------------------------------------------------------------

local head = { "task", "simulations", "C2ST", "worst", "by trees", "std", "training, s", "10,000 samples, ms",
  "sbi: C2ST", "worst", "by trees", "std", "training, s", "10,000 samples, ms", "NPE 2021", "NPE 2025" }

-- Six columns of a method; without a result, dashes.
local function columns(r)
  if not r then return { "–", "–", "–", "–", "–", "–" } end
  local mean, worst = score.summary(r.c2st)
  return { string.format("%.3f", mean), string.format("%.3f", worst),
    r.trees and string.format("%.3f", (score.summary(r.trees))) or "–", string.format("%.2f", (score.summary(r.std))),
    string.format("%.0f", r.training), string.format("%.0f", 1000 * r.sampling) }
end

--- A row of the table.
function Results:row(key)
  local function of(method)
    return columns(self:find { task = key.task, simulations = key.simulations, seed = key.seed, method = method })
  end
  local cells = { key.task, string.format("%d", key.simulations) }
  table.move(of "simvae", 1, 6, 3, cells)
  table.move(of "sbi", 1, 6, 9, cells)
  local at = tasks.budgets[key.simulations]
  for i = 1, 2 do cells[14 + i] = at and string.format("%.2f", tasks.published[key.task][i][at]) or "–" end
  return "| " .. table.concat(cells, " | ") .. " |"
end

--- The two lines above the rows.
function results.head()
  return "| " .. table.concat(head, " | ") .. " |\n|" .. (" --- |"):rep(#head)
end

-- What the columns are.
local EXPLAINED = [[
C2ST: accuracy of a classifier that tells samples from reference samples of the true posterior: 0.5 is perfect, 1 is
wholly different. Mean over the observations, worst of them, and the mean by boosted trees, which see what a small
smooth network on standardised axes does not (narrow modes). std: the samples' standard deviation over the
reference's, mean of the parameters; 1 is right. Training and sampling in seconds and milliseconds of processor time.
Both methods see the same simulations and use their defaults. Published C2ST of NPE: Lueckmann et al., AISTATS 2021
(main_paper.csv of sbi-benchmark/results), and of 2025 (summary.csv of mackelab/npe-pfn), each of 10,000 samples and
ten observations.
]]

-- The rows of all results of a seed, in the order of budgets and tasks.
local function rows_of(self, seed)
  local budgets, known, rows = {}, {}, {}
  for _, r in ipairs(self.list) do
    if not known[r.simulations] then budgets[#budgets + 1] = r.simulations end
    known[r.simulations] = known[r.simulations] or {}
    if r.seed == seed then known[r.simulations][r.task] = true end
  end
  table.sort(budgets)
  for _, simulations in ipairs(budgets) do
    for _, task in ipairs(tasks.names) do
      local key = { task = task, simulations = simulations, seed = seed }
      if known[simulations][task] then rows[#rows + 1] = self:row(key) end
    end
  end
  return rows
end

--- Writes the table of all results of a seed.
-- @tparam string path of the Markdown
-- @tparam integer seed
-- @tparam string about the settings of the run, a sentence
-- @treturn boolean true; or nil and why not
function Results:write(path, seed, about)
  local versions, named = {}, {}
  for _, r in ipairs(self.list) do
    if not named[r.versions] then versions[#versions + 1] = r.versions end
    named[r.versions] = true
  end
  return core.io.write(path, { "# sbibm\n\n`make sbibm`. ", table.concat(versions, "; "), "; ", about, "\n\n",
    EXPLAINED, "\n", results.head(), "\n", table.concat(rows_of(self, seed), "\n"), "\n" })
end

return results
