--- The paper's experiments, all of them: trains each over several seeds, and writes Table 1 beside the
-- paper's values, Figures 1 to 4, and a report.
--
--     make reproduce                     # everything: hours
--     make reproduce QUICK=1             # small budgets: minutes; shows that all of it works, not how well
--     lua examples/reproduce.lua --only box,rlc --seeds 1 --out runs/some
--
-- In the output folder: table.json (every number of every run), table.md, report.html, figures/, and a
-- folder a run, NAME-RECIPE-SEED, as `lua examples/train_NAME.lua` fills it. Started again, it goes on
-- where it stopped. With --commit, tables and small pictures are copied to examples/results/.
local json = require "simvae.io.json"
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local shell = require "simvae.util.shell"
local stages = require "simvae.train.stages"
local least_samples = require "simvae.evaluate.options".least_samples
local sv = require "simvae"
local catalogue = require "simvae.util.catalogue"
local page = require "simvae.report.page"

local folder = arg[0]:match "^(.*/)" or ""
local order = { "fourier", "dsprites", "box", "rlc", "polygon" } -- as in the paper's table 1

-- The paper's table 1 and figure 3; goals: what a reproduction has to reach, and what it aims at.
local paper = {
  fourier = { mig = 0.76, truth = 1, ties = "independent" },
  dsprites = { mig = 0.32, truth = 1, ties = "independent" },
  box = { mig = 0.56, truth = 0.82, ties = "correlated in sampling space" },
  rlc = { mig = 0.13, truth = 0.07, ties = "invariant under scaling",
    f0_slope = 1.00, f0_r2 = 0.99, Q_slope = 0.97, Q_r2 = 0.97 },
  polygon = { mig = 0, truth = 0, ties = "invariant under permutation" },
}
local goals = {
  fourier = { { "mig", 0.88, 0.95 } },
  dsprites = { { "mig", 0.45, 0.65 } },
  box = { { "mig", 0.68, 0.78 } },
  rlc = { { "f0_r2", 0.995, 0.999 }, { "Q_r2", 0.995, 0.999 }, { "f0_slope_error", 0.01 }, { "Q_slope_error", 0.01 } },
  polygon = { { "iou", 0.85, 0.95 }, { "refined_iou", 0.85, 0.95 } },
}
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
  number(parser, "--steps", "Steps of each stage, in place of the recipe's.", 1)
  number(parser, "--width", "Width of the nets, in place of the experiment's.", 1, 4096)
  number(parser, "--samples", "Samples of each evaluation.", least_samples)
  number(parser, "--threads", "Threads; default: all cores.", 1, command_line.max_threads)
  parser:option("--commit", "Copies tables and small pictures to this folder when done.")
    :args "?"
  parser:flag("--quick", "Small budgets: one seed, few steps, narrow nets.")
  parser:flag("--again", "Evaluates finished runs again.")
  parser:flag("--quiet", "No progress.")
  local a = parser:parse(argv)
  a.out = a.out or a.quick and "runs/reproduce-quick" or "runs/reproduce"
  a.seeds = a.seeds or a.quick and 1 or 3
  a.paper_seeds = a.paper_seeds or a.quick and 0 or 1
  a.names = {}
  if a.only then
    for name in a.only:gmatch "[^,%s]+" do
      if not paper[name] then
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

local function write(path, text)
  local ok, why = core.io.write(path, { text })
  if not ok then return nil, path .. ": " .. why end
  return true
end

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
  -- the shell outlives Ctrl-C, and tells it from an experiment that failed
  local ok, _, code = os.execute("trap 'exit 130' INT; " .. line)
  if not ok then
    if code == 130 or code == 2 then os.exit(130, true) end -- the experiment has said so
    return nil, string.format("ended with exit code %s; `%s` shows why", tostring(code), line)
  end
  local numbers = json.load(out .. "/metrics.json")
  if not numbers then return nil, out .. "/metrics.json cannot be read" end
  return numbers, out
end

-- What is known of the measures of all runs: name -> { title =, digits =, smaller_is_better =, table = }, and the names
-- in their order.
local about, measured = { seconds = { title = "seconds", digits = 0, table = true } }, {}

-- The measures of a run by name: those of the metrics' files, and seconds.
local function measures(n)
  local values = { seconds = (n.training_seconds or 0) + (n.evaluation_seconds or 0) }
  for _, metric in ipairs(catalogue.reported "simvae.metrics") do
    for _, m in ipairs(metric.measures and metric.measures(n) or {}) do
      local name = m[1]
      if not about[name] then measured[#measured + 1] = name end
      values[name], about[name] = m[2], m
    end
  end
  return values
end

-- Mean and standard deviation (over runs, n - 1) of each measure.
local function summary(runs)
  local result = {}
  for name in pairs(about) do
    local values = {}
    for _, r in ipairs(runs) do values[#values + 1] = r.measures[name] end
    if #values > 0 then
      local mean, squares = 0, 0
      for _, v in ipairs(values) do mean = mean + v / #values end
      for _, v in ipairs(values) do squares = squares + (v - mean) ^ 2 end
      local low, high = math.min(table.unpack(values)), math.max(table.unpack(values))
      result[name] = { mean = mean, spread = #values > 1 and math.sqrt(squares / (#values - 1)) or nil, low = low,
        high = high, runs = #values }
    end
  end
  return result
end

local function reached(goal, value, which)
  local threshold = goal[which]
  if not threshold or not value then return nil end
  if about[goal[1]].smaller_is_better then return value <= threshold end
  return value >= threshold
end

-- What became of the goals of an experiment: { { measure, threshold, aim, value, met, aim_met }, … }
local function judge(name, means)
  local list = {}
  for i, goal in ipairs(goals[name]) do
    local value = means[goal[1]] and means[goal[1]].mean
    list[i] = { measure = goal[1], must = goal[2], aim = goal[3], value = value, met = reached(goal, value, 2),
      aim_met = reached(goal, value, 3) }
  end
  return list
end

-- ---- text of numbers ------------------------------------------------------------------------------

local function digits(name)
  return "%." .. (about[name] and about[name].digits or 3) .. "f"
end

local function title_of(name)
  return about[name] and about[name].title or name
end

local function text(means, name)
  local m = means and means[name]
  if not m then return "–" end
  local format = digits(name)
  if not m.spread then return string.format(format, m.mean) end
  return string.format(format .. " ± " .. format, m.mean, m.spread)
end

local function goal_text(g)
  local format = digits(g.measure)
  local below = about[g.measure] and about[g.measure].smaller_is_better
  return string.format("%s %s %s: %s", title_of(g.measure), below and "≤" or "≥",
    (string.format(format, g.must):gsub("0+$", "")), g.met == nil and "not measured" or (g.met and "reached"
      or "not reached") .. string.format(" (" .. format .. ")", g.value))
end

-- ---- tables ---------------------------------------------------------------------------------------------

local head = { "Simulator", "MIG, paper", "MIG, here", "MIG, plain recipe", "Truth, paper", "Truth, here",
  "Ground truth correlations" }
local function table1(results)
  local rows = {}
  for _, name in ipairs(results.names) do
    local r, p = results.simulators[name], paper[name]
    rows[#rows + 1] = { name, string.format("%.2f", p.mig), text(r.means, "mig"), text(r.plain_means, "mig"),
      string.format("%.2f", p.truth), text(r.means, "truth"), p.ties }
  end
  return rows
end

-- Names of the measures that the second table shows.
local function columns()
  local list = {}
  for _, name in ipairs(measured) do
    if about[name].table then list[#list + 1] = name end
  end
  list[#list + 1] = "seconds"
  return list
end
local function table2(results)
  local rows = {}
  for _, name in ipairs(results.names) do
    local row = { name }
    for _, c in ipairs(columns()) do row[#row + 1] = text(results.simulators[name].means, c) end
    rows[#rows + 1] = row
  end
  return rows
end
local function head2()
  local list = { "Simulator" }
  for _, c in ipairs(columns()) do list[#list + 1] = title_of(c) end
  return list
end

local invariant_head = { "Invariant", "slope, paper", "slope, here", "R², paper", "R², here" }
local function table3(results)
  local rlc, rows = results.simulators.rlc, {}
  if not rlc or not rlc.means.f0_r2 then return nil end
  for _, name in ipairs { "f0", "Q" } do
    rows[#rows + 1] = { name, string.format("%.2f", paper.rlc[name .. "_slope"]), text(rlc.means, name .. "_slope"),
      string.format("%.2f", paper.rlc[name .. "_r2"]), text(rlc.means, name .. "_r2") }
  end
  return rows
end

local function all_runs(results)
  local rows = {}
  for _, name in ipairs(results.names) do
    for _, r in ipairs(results.simulators[name].runs) do
      rows[#rows + 1] = { name, r.recipe, tostring(r.seed), stages.text(r.numbers.steps),
        tostring(r.numbers.width), string.format("%.3f", r.measures.mig),
        r.measures.resimulation_r2 and string.format("%.4f", r.measures.resimulation_r2) or "–",
        string.format("%.0f", r.measures.seconds), r.numbers.version }
    end
  end
  return rows
end
local runs_head = { "Simulator", "recipe", "seed", "steps", "width", "MIG", "re-simulation R²", "seconds", "version" }

local function markdown(heads, rows)
  local lines = { "| " .. table.concat(heads, " | ") .. " |", "|" .. (" --- |"):rep(#heads) }
  for _, row in ipairs(rows) do lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |" end
  return table.concat(lines, "\n") .. "\n"
end

local function seeds_text(a)
  return a.seeds == 1 and "one seed" or string.format("mean ± standard deviation over %d seeds", a.seeds)
end

local function quick_note()
  return "Made with small budgets (quick): it shows that everything runs, not how good it is."
end

local function table_md(a, results)
  local parts = { "# The paper's table 1, and this reproduction\n", string.format("%s; simvae %s, %d threads, %s.\n",
    seeds_text(a), results.version, results.threads, results.processor) }
  if a.quick then parts[#parts + 1] = quick_note() .. "\n" end
  parts[#parts + 1] = markdown(head, table1(results))
  parts[#parts + 1] = "Truth: MIG of the true parameters with themselves, each replaced by a random equivalent where "
    .. "the simulator has a symmetry. dsprites: over scale, orientation and place, the shape as noise.\n"
  local invariants = table3(results)
  if invariants then
    parts[#parts + 1] = "## The circuit's invariants, f0 < 10 kHz and Q < 4\n"
    parts[#parts + 1] = markdown(invariant_head, invariants)
  end
  parts[#parts + 1] = "## Beyond the paper's metric\n"
  parts[#parts + 1] = markdown(head2(), table2(results))
  parts[#parts + 1] = "## Goals\n"
  local lines = {}
  for _, name in ipairs(results.names) do
    for _, g in ipairs(results.simulators[name].goals) do
      lines[#lines + 1] = string.format("- %s: %s", name, goal_text(g))
    end
  end
  parts[#parts + 1] = table.concat(lines, "\n") .. "\n"
  parts[#parts + 1] = "## Runs\n"
  parts[#parts + 1] = markdown(runs_head, all_runs(results))
  return table.concat(parts, "\n")
end

-- ---- figures -----------------------------------------------------------------------------------------------

local function copy(from, to)
  local source <close> = io.open(from, "rb")
  if not source then return nil end
  return write(to, source:read "a")
end

local captions = {
  { "samples", "Figure %d: %s. In turn: the simulator on z, the decoder on z, the simulator on E(x), the decoder on "
    .. "E(x).", { rlc = 3 }, 1 },
  { "inference", "Figure %d: %s, on pictures that the simulator did not draw.", {}, 1 },
  { "traversals", "Figure %d: %s. One parameter a row moves from bound to bound, the others stay.", {}, 2 },
  { "traversals.anim", "Figure %d: %s, the same, moving.", {}, 2 },
  { "invariants", "Figure %d: %s. The output's invariants, inferred against true.", {}, 3 },
}

-- Figures 1 to 4 in out/figures: list of { number, path, caption }.
local function figures(a, results)
  local list, place = {}, a.out .. "/figures"
  assert(core.system.mkdir(place))
  for _, c in ipairs(captions) do
    for _, name in ipairs(results.names) do
      local r = results.simulators[name].runs[1]
      if r then
        local number = c[3][name] or c[4]
        local path = string.format("%s/figure%d_%s_%s.png", place, number, name, c[1])
        if copy(r.out .. "/figures/" .. c[1] .. ".png", path) then
          list[#list + 1] = { number = number, path = path, rank = #list, caption = string.format(c[2], number, name) }
        end
      end
    end
  end
  local mims, labels, names = {}, {}, {}
  for _, name in ipairs(results.names) do
    local r = results.simulators[name].runs[1]
    if r then
      mims[#mims + 1] = { sv.tensor(r.numbers.mim), sv.tensor(r.numbers.truth.mim) }
      labels[#labels + 1], names[#names + 1] = dofile(folder .. "experiments.lua")[name]().simulator.names, name
    end
  end
  if #mims > 0 then
    local path, why = sv.figures.heatmap(place .. "/figure4.png", mims, { labels = labels, titles = names,
      rows = { "MIM(Z, V)", "MIM(V, V) or MIM(V, V̄)" } })
    list[#list + 1] = { number = 4, path = path, rank = #list, message = why, caption = "Figure 4: mutual information "
      .. "matrices, the model above the truth; rows: the encoder's parameters, columns: the true ones." }
  end
  table.sort(list, function(x, y)
    if x.number ~= y.number then return x.number < y.number end
    return x.rank < y.rank
  end)
  return list
end

-- ---- the report --------------------------------------------------------------------------------------------

local function sentence(name, r)
  local p, m = paper[name], r.means
  if not m.mig then return string.format("%s: no run finished. %s", name, table.concat(r.failures, "; ")) end
  local parts = { string.format("%s: MIG %s; the paper has %.2f, the true parameters themselves %s.", name,
    text(m, "mig"), p.mig, text(m, "truth")) }
  if m.resimulation_r2 then
    local share = m.resimulation_r2.mean
    parts[#parts + 1] = share > 0 and string.format("The simulator, run on the answers, reproduces %s of the outputs' "
      .. "variance.", page.percent(share)) or "The simulator, run on the answers, is no better than the mean output."
  end
  for _, g in ipairs(r.goals) do parts[#parts + 1] = goal_text(g) .. "." end
  for _, f in ipairs(r.failures) do parts[#parts + 1] = f .. "." end
  return table.concat(parts, " ")
end

local function escaped(rows)
  local result = {}
  for i, row in ipairs(rows) do
    result[i] = {}
    for j, cell in ipairs(row) do result[i][j] = page.escape(cell) end
  end
  return result
end

local function report(a, results, list)
  local body = {}
  local function add(...)
    for _, s in ipairs { ... } do body[#body + 1] = s end
  end
  add("<h1>SimVAE: the paper's experiments again</h1>", '<p class="soft">', page.escape(string.format(
    "A decoder learned to draw what each simulator draws; an encoder learned, without labels, to find the parameters. "
    .. "%s; %s of training and evaluation on %s, %d threads.", seeds_text(a), page.duration(results.seconds),
    results.processor, results.threads)), "</p>")
  if a.quick then add("<p><strong>", quick_note(), "</strong></p>") end
  add("<h2>Table 1</h2>", page.table("numbers", head, escaped(table1(results))))
  add('<p class="soft">MIG, the mutual information gap, says whether one latent and no other tells each parameter; it '
    .. "falls steeply with small errors: a parameter known to 2% of its range scores 0.72, to 5% 0.53. Truth: of the "
    .. "true parameters with themselves, each replaced by a random equivalent where the simulator has a symmetry (rlc, "
    .. "polygon, dsprites); near 0, MIG says nothing of the model. dsprites: the shape counts as noise.</p>")
  local invariants = table3(results)
  if invariants then
    add("<h2>The circuit's invariants</h2>", page.table("numbers", invariant_head, escaped(invariants)),
      '<p class="soft">Of the inferred parameters over the true ones, f0 &lt; 10 kHz and Q &lt; 4.</p>')
  end
  add("<h2>What is good, and what is not</h2><ul>")
  for _, name in ipairs(results.names) do
    add("<li>", page.escape(sentence(name, results.simulators[name])), "</li>")
  end
  add("</ul><h2>Beyond the paper's metric</h2>", page.table("numbers", head2(), escaped(table2(results))),
    '<p class="soft">Orbit-aligned MIM: how well each parameter is told once an answer is replaced by its equivalent '
    .. "nearest to the truth, above chance (1: exactly); separation: how much of that is in the right latent, however "
    .. "noisy; self-consistent MIM: whether the encoder answers the same again; IoU: intersection over union of the "
    .. "figures; refined: of answers that gradient descent through the decoder brings closer (model:invert).</p>")
  local last
  for _, f in ipairs(list) do
    if f.number ~= last then add(string.format("<h2>Figure %d</h2>", f.number)) end
    last = f.number
    add(page.figure(a.out, f))
  end
  add("<h2>Every run</h2>", page.table("numbers", runs_head, escaped(all_runs(results))), '<p class="soft">',
    page.escape(string.format("simvae %s (%s), %s. Written %s. Each run's own report is beside this one, in "
      .. "NAME-RECIPE-SEED/report.html.", results.version, core.real, _VERSION, results.written)), "</p>")
  return page.write(a.out .. "/report.html", "SimVAE: the paper's experiments again", table.concat(body))
end

-- ---- all of it ---------------------------------------------------------------------------------------------------

local function commit(a, list)
  assert(core.system.mkdir(a.commit))
  for _, name in ipairs { "table.json", "table.md" } do assert(copy(a.out .. "/" .. name, a.commit .. "/" .. name)) end
  for _, f in ipairs(list) do
    local file <close> = f.path and io.open(f.path, "rb")
    if file and file:seek "end" <= small_picture then
      assert(copy(f.path, a.commit .. "/" .. f.path:match "[^/]+$"))
    end
  end
  print("copied: " .. a.commit)
end

local function main()
  local a = parse(arg)
  local made, why = core.system.mkdir(a.out)
  if not made then error(why, 0) end
  local probe
  probe, why = write(a.out .. "/table.md", "not finished yet\n") -- before training, not after
  if not probe then error(why, 0) end
  local results = {
    names = a.names, simulators = {}, version = core.version, threads = a.threads or core.threads(),
    processor = (core.system.processor()), quick = a.quick or false, seeds = a.seeds, seconds = 0,
    written = os.date "!%Y-%m-%d %H:%M UTC",
  }
  for _, name in ipairs(a.names) do
    local r = { paper = paper[name], runs = {}, failures = {} }
    results.simulators[name] = r
    local function add(recipe, seed)
      local numbers, out = run(a, name, recipe, seed)
      if numbers then
        local one = { recipe = recipe, seed = seed, numbers = numbers, measures = measures(numbers), out = out }
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
    r.means, r.plain_means = summary(own), summary(plain)
    r.goals = judge(name, r.means)
  end
  local list = figures(a, results)
  for _, r in pairs(results.simulators) do
    for _, one in ipairs(r.runs) do one.out = one.out:match "[^/]+$" end -- the table may be moved
  end
  assert(json.save(a.out .. "/table.json", results))
  assert(write(a.out .. "/table.md", table_md(a, results)))
  assert(report(a, results, list))
  if a.commit then commit(a, list) end
  print(markdown(head, table1(results)))
  print("report: " .. a.out .. "/report.html")
  local failed = 0
  for _, r in pairs(results.simulators) do failed = failed + #r.failures end
  if failed > 0 then
    io.stderr:write(failed .. " runs failed\n")
    os.exit(1, true)
  end
end

local ok, message = pcall(main)
if not ok then
  local stopped = interrupt.is(message)
  io.stderr:write(stopped and "interrupted; the same command goes on from there" or tostring(message), "\n")
  os.exit(stopped and 130 or 1, true)
end
