--- Reproduction of the paper's experiments: trains each with several seeds, and writes Table 1 with the paper's values,
-- Figures 1 to 4, the posteriors of single outputs, and a report.
--
--     make reproduce                     # everything: hours
--     make reproduce QUICK=1             # small budgets: minutes; a test, without meaningful results
--     lua examples/reproduce.lua --only box,rlc --seeds 1 --out runs/some
--
-- In the output folder: table.json (every number of every run), table.md, report.html, figures/, and a
-- folder a run, NAME-RECIPE-SEED, as `lua examples/train_NAME.lua` fills it. Started again, it resumes. With --commit,
-- tables and small images are copied to examples/results/.
local folder = arg[0]:match "^(.*/)" or ""
package.path = folder .. "?.lua;" .. package.path -- for reproduce/

local json = require "simvae.io.json"
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local shell = require "simvae.util.shell"
local min_samples = require "simvae.evaluate.options".min_samples
local figures = require "reproduce.figures"
local files = require "reproduce.files"
local paper = require "reproduce.paper"
local report = require "reproduce.report"
local summary = require "reproduce.summary"
local tables = require "reproduce.tables"

local order = paper.order
local small_picture = 600 * 1024 -- bytes: what --commit copies

-- ---- command line -----------------------------------------------------------------------------

local function parse(argv)
  local parser = require "argparse"("lua reproduce.lua", "Trains the paper's five experiments; writes tables, figures "
    .. "and a report.")
  local number = command_line.number
  parser:option("--out", "Folder of the results and runs (runs/reproduce; quick: runs/reproduce-quick).")
  number(parser, "--seeds", "Seeds of each experiment: 1 … N (3; quick: 1).", 1)
  number(parser, "--paper-seeds", "Seeds of the paper's plain recipe, a column beside (1; quick: 0).", 0)
  parser:option("--only", "Names of experiments, with commas between: " .. table.concat(order, ",") .. ".")
  number(parser, "--steps", "Steps of each stage, instead of the recipe's.", 1)
  number(parser, "--width", "Width of the nets, instead of the experiment's.", 1, 4096)
  number(parser, "--samples", "Samples of each evaluation.", min_samples)
  number(parser, "--threads", "Threads; default: all cores.", 1, command_line.max_threads)
  parser:option("--commit", "Copies tables and small images to this folder when done.")
    :args "?"
  parser:flag("--quick", "Small budgets: one seed, few steps, narrow nets.")
  parser:flag("--again", "Evaluates finished runs again.")
  parser:flag("--quiet", "No progress.")
  local a = parser:parse(argv)
  a.folder = folder
  a.out = a.out or a.quick and "runs/reproduce-quick" or "runs/reproduce"
  a.seeds = a.seeds or a.quick and 1 or 3
  a.paper_seeds = a.paper_seeds or a.quick and 0 or 1
  a.names = {}
  if a.only then
    for name in a.only:gmatch "[^,%s]+" do
      if not paper.values[name] then
        parser:error(string.format("there is no experiment '%s'; they are %s", name, table.concat(order, ", ")))
      end
      a.names[#a.names + 1] = name
    end
  else
    a.names = order
  end
  if a.commit then a.commit = type(a.commit) == "table" and a.commit[1] or type(a.commit) == "string" and a.commit
    or folder .. "results" end
  return a
end

-- Budgets of a quick run: seconds to a minute or two each on two busy cores.
local quick = {
  fourier = { steps = 100, width = 8 }, dsprites = { steps = 100, width = 8 }, box = { steps = 100, width = 8 },
  polygon = { steps = 100, width = 8 }, rlc = { steps = 200, width = 64 },
}

-- ---- runs -----------------------------------------------------------------------------------------

-- The interpreter that runs this.
local function lua()
  local i = 0
  while arg[i - 1] do i = i - 1 end
  return arg[i]
end

-- Trains in a process of its own, as a user would; the numbers of its metrics.json, or nil and why not.
local function run(a, name, recipe, seed)
  local out = string.format("%s/%s-%s-%d", a.out, name, recipe, seed)
  local done = json.load(out .. "/metrics.json")
  if done and not a.again then return done, out end
  local words = { lua(), folder .. "train_" .. name .. ".lua", "--out", out, "--seed", seed, "--recipe", recipe }
  local budget = a.quick and quick[name] or {}
  local function option(flag, value)
    if value then words[#words + 1], words[#words + 2] = flag, value end
  end
  option("--steps", a.steps or budget.steps)
  option("--width", a.width or budget.width)
  option("--samples", a.samples or a.quick and 2000)
  option("--threads", a.threads)
  if a.quiet then words[#words + 1] = "--quiet" end
  local line = shell.command(words)
  io.stderr:write(string.format("\n== %s, recipe %s, seed %d\n", name, recipe, seed))
  -- the shell survives SIGINT and returns its code
  local ok, _, code = os.execute("trap 'exit 130' INT; " .. line)
  if not ok then
    if code == 130 or code == 2 then os.exit(130, true) end -- the experiment has said so
    return nil, string.format("ended with exit code %s; `%s` shows why", tostring(code), line)
  end
  local numbers = json.load(out .. "/metrics.json")
  if not numbers then return nil, out .. "/metrics.json cannot be read" end
  return numbers, out
end

-- ---- all of it ---------------------------------------------------------------------------------------------------

local function main()
  local a = parse(arg)
  local made, why = core.system.mkdir(a.out)
  if not made then error(why, 0) end
  local probe
  probe, why = files.write(a.out .. "/table.md", "not finished yet\n") -- before training, not after
  if not probe then error(why, 0) end
  local results = {
    names = a.names, simulators = {}, version = core.version, threads = a.threads or core.threads(),
    processor = (core.system.processor()), quick = a.quick or false, seeds = a.seeds, seconds = 0,
    written = os.date "!%Y-%m-%d %H:%M UTC",
  }
  for _, name in ipairs(a.names) do
    local r = { paper = paper.values[name], runs = {}, failures = {} }
    results.simulators[name] = r
    local function add(recipe, seed)
      local numbers, out = run(a, name, recipe, seed)
      if numbers then
        local one = { recipe = recipe, seed = seed, numbers = numbers, measures = summary.measures(numbers), out = out }
        r.runs[#r.runs + 1] = one
        results.seconds = results.seconds + one.measures.seconds
      else
        r.failures[#r.failures + 1] = string.format("recipe %s, seed %d: %s", recipe, seed, out)
        io.stderr:write(name .. ": " .. r.failures[#r.failures] .. "\n")
      end
    end
    for seed = 1, a.seeds do add("default", seed) end
    for seed = 1, a.paper_seeds do add("paper", seed) end
    local own, plain = {}, {}
    for _, one in ipairs(r.runs) do table.insert(one.recipe == "paper" and plain or own, one) end
    r.means, r.plain_means = summary.of(own), summary.of(plain)
    r.goals = summary.judge(name, r.means)
  end
  local list = figures(a, results)
  for _, r in pairs(results.simulators) do
    for _, one in ipairs(r.runs) do one.out = one.out:match "[^/]+$" end -- the table may be moved
  end
  assert(json.save(a.out .. "/table.json", results))
  assert(files.write(a.out .. "/table.md", tables.page(a, results)))
  assert(report(a, results, list))
  if a.commit then
    local pictures = {}
    for _, f in ipairs(list) do pictures[#pictures + 1] = f.path end
    files.commit(a.out, pictures, small_picture, a.commit)
  end
  print(tables.markdown(tables.first_head, tables.first(results)))
  print("report: " .. a.out .. "/report.html")
  local failed = 0
  for _, r in pairs(results.simulators) do failed = failed + #r.failures end
  return failed
end

files.program(main)
