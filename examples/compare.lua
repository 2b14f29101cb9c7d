--- Methods side by side: SimVAE and its neighbours (section 3.1 of the paper) on the paper's experiments, with the same
-- samples, nets and numbers of steps.
--
--     make compare                     # everything, three seeds: a day
--     make compare QUICK=1             # small budgets: seconds; a test, without meaningful results
--     lua examples/compare.lua --only dsprites,vae,simvae --seeds 1 --steps 2000 --out runs/some
--
-- In the output folder: table.md, table.json (every number of every run), figures/, and a file a run. Started again, it
-- goes on. With --commit, tables and figures are copied to examples/results/methods/.
local folder = arg[0]:match "^(.*/)" or ""
package.path = folder .. "?.lua;" .. package.path -- for compare/, methods/ and reproduce/

local changed = require "simvae.util.changed"
local command_line = require "simvae.cli.command_line"
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local json = require "simvae.io.json"
local figures = require "compare.figures"
local files = require "reproduce.files"
local settings = require "compare.settings"
local support = require "methods.support"
local tables = require "compare.tables"

local CURVE = 200 -- points of a learning curve that are kept
local small_picture = 300 * 1024 -- bytes: what --commit copies
local shown = { "vae", "beta-vae-4", "factor-vae", "dc-ign", "simvae-paper", "simvae" } -- in the figure of matrices

local defaults = { steps = 5000, samples = 5000, budget = 20000, batch = 64, seeds = 3 }
local quick = { steps = 3, samples = 500, budget = 400, batch = 16, seeds = 1, width = 4, only = { "dsprites", "rlc" } }

-- ---- command line ------------------------------------------------------------------------------

local function named(list, name)
  for _, one in ipairs(list) do
    if (type(one) == "table" and one.name or one) == name then return true end
  end
  return false
end

-- The experiments and methods that --only names: those of either kind that it names none of are all.
local function chosen(parser, only, all)
  local experiments, methods, known = {}, {}, {}
  for _, m in ipairs(settings.methods) do known[#known + 1] = m.name end
  for word in (only or ""):gmatch "[^,%s]+" do
    if named(settings.order, word) then
      experiments[#experiments + 1] = word
    elseif named(settings.methods, word) then
      methods[word] = true
    else
      parser:error(string.format("there is no experiment or method '%s'; experiments are %s, methods %s", word,
        table.concat(settings.order, ", "), table.concat(known, ", ")))
    end
  end
  if #experiments == 0 then experiments = all end
  if not next(methods) then
    for _, name in ipairs(known) do methods[name] = true end
  end
  return experiments, methods
end

local function parse(argv)
  local parser = require "argparse"("lua compare.lua", "Trains SimVAE and other methods on the paper's experiments; "
    .. "writes tables and figures.")
  local number = command_line.number
  parser:option("--out", "Folder of the results and runs (runs/compare; quick: runs/compare-quick).")
  number(parser, "--seeds", "Seeds of each run: 1 … N (3; quick: 1).", 1)
  parser:option("--only", "Names of experiments and methods, with commas between: " .. table.concat(settings.order, ",")
    .. ",vae,simvae.")
  number(parser, "--steps", "Steps of each method, of SimVAE of each stage (5000; dsprites twice, rlc eight times as "
    .. "many).", 1)
  number(parser, "--batch", "Samples of a step (64).", 8)
  number(parser, "--budget", "Samples of the simulator that methods train on (20000).", 100)
  number(parser, "--samples", "Samples of each evaluation (5000).", 400)
  number(parser, "--width", "Width of the nets, instead of the experiment's.", 1, 4096)
  number(parser, "--threads", "Threads; default: all cores.", 1, command_line.max_threads)
  parser:option("--commit", "Copies tables and figures to this folder when done."):args "?"
  parser:flag("--quick", "Small budgets: two experiments, few steps, narrow nets.")
  parser:flag("--quiet", "No progress.")
  local a = parser:parse(argv)
  a.out = a.out or a.quick and "runs/compare-quick" or "runs/compare"
  local budget = a.quick and quick or defaults
  for name, value in pairs(budget) do
    if a[name] == nil and name ~= "only" then a[name] = value end
  end
  a.experiments, a.methods = chosen(parser, a.only, budget.only or settings.order)
  if a.commit then
    a.commit = type(a.commit) == "table" and a.commit[1] or type(a.commit) == "string" and a.commit
      or folder .. "results/methods"
  end
  return a
end

-- ---- a run -------------------------------------------------------------------------------------

-- The players whose losses a method's curves have.
local players = { infogan = { "discriminator", "generator" }, factor_vae = { "autoencoder", "classifier" } }

-- A learning curve with fewer points: means of equal parts.
local function thinned(curves)
  local list, part = {}, math.max(1, #curves // CURVE)
  for from = 1, #curves - part + 1, part do
    local row = { curves[from + part - 1][1] }
    for c = 2, #curves[from] do
      local sum = 0
      for i = from, from + part - 1 do sum = sum + curves[i][c] end
      row[c] = sum / part
    end
    list[#list + 1] = row
  end
  return list
end

-- The mean of the matrix's entries of latent i and parameter i, of methods whose latents have the parameters' order.
local function diagonal(r, method)
  local ordered = r.resimulation_r2 or method.name == "dc-ign"
  if not ordered then return nil end
  local sum = 0
  for i, row in ipairs(r.mim) do sum = sum + row[i] end
  return sum / #r.mim
end

-- Reports steps on a terminal.
local function watcher(a, title)
  if a.quiet then return nil end
  local last = core.system.clock()
  return function(step, steps, loss)
    local now = core.system.clock()
    if now - last < 10 and step < steps then return end
    last = now
    io.stderr:write(string.format("%s: step %d of %d, loss %.4g\n", title, step, steps, loss))
  end
end

-- Trains and evaluates one method on one experiment; or what a file says that has the same settings.
local function run(a, name, method, seed)
  local e = settings.experiments[name]
  local place = string.format("%s/%s-%s-%d", a.out, name, method.name, seed)
  local given = { steps = a.steps * e.steps, width = a.width or e.width, net = settings.net(name, method),
    batch = a.batch, samples = a.budget, seed = seed }
  local done = json.load(place .. ".json")
  if done and done.evaluated == a.samples then
    local same = true
    for key, value in pairs(given) do same = same and done.given[key] == value end
    if same then return done end
  end
  local sim = settings.simulator(name)
  local title = string.format("%s, %s, seed %d", name, method.title, seed)
  local began = os.clock()
  local t = { simulator = sim, watch = watcher(a, title) }
  for key, value in pairs(given) do t[key] = value end
  local one = support.run(t)
  local answer = require("methods." .. method.file).train(one, method.options)
  local seconds = os.clock() - began
  local r = support.evaluate(answer, sim, { samples = a.samples, seed = 7, factors = settings.factors(name, sim) })
  r.given, r.evaluated, r.seconds, r.method, r.experiment = given, a.samples, seconds, method.name, name
  r.diagonal, r.curves = diagonal(r, method), thinned(one.curves)
  figures.traversals(place .. "-traversals.png", answer, sim, #r.mim)
  if players[method.file] then figures.curves(place .. "-curves.png", r.curves, players[method.file]) end
  assert(json.save(place .. ".json", r))
  if not a.quiet then
    io.stderr:write(string.format("%s: MIG %.3f, SAP %.3f, %.0f s\n", title, r.mig, r.sap, seconds))
  end
  return r
end

-- ---- all of it ---------------------------------------------------------------------------------

local function write(a, results)
  local about = string.format("simvae %s, threads: %d, %s", core.version, core.threads(), (core.system.processor()))
  assert(files.write(a.out .. "/table.md", tables.page(a, results, about)))
  local list = {}
  for _, name in ipairs(settings.order) do
    for _, method in ipairs(settings.methods) do
      for _, r in ipairs(results[name] and results[name][method.name] or {}) do
        local one = changed(r, {})
        one.curves, list[#list + 1] = nil, one -- the run's own file has them
      end
    end
  end
  assert(json.save(a.out .. "/table.json", { runs = list, about = about, seeds = a.seeds, quick = a.quick or false }))
  for name, methods in pairs(results) do
    local matrices = {}
    for _, method in ipairs(settings.methods) do
      local r = methods[method.name] and methods[method.name][1]
      if r and named(shown, method.name) then matrices[#matrices + 1] = { title = method.title, mim = r.mim } end
    end
    if #matrices > 0 then
      figures.information(a.out .. "/" .. name .. "-information.png", matrices, settings.simulator(name).names)
    end
  end
end

local function commit(a, results)
  local list = {}
  for name in pairs(results) do list[#list + 1] = name .. "-information.png" end
  for _, method in ipairs { "infogan", "factor-vae" } do list[#list + 1] = "dsprites-" .. method .. "-1-curves.png" end
  for _, method in ipairs(settings.methods) do
    list[#list + 1] = "dsprites-" .. method.name .. "-1-traversals.png"
  end
  for i, name in ipairs(list) do list[i] = a.out .. "/" .. name end
  files.commit(a.out, list, small_picture, a.commit)
end

local function main()
  local a = parse(arg)
  if a.threads then core.threads(a.threads) end
  local made, why = core.system.mkdir(a.out)
  if not made then error(why, 0) end
  local results, failures = {}, {}
  for seed = 1, a.seeds do
    for _, name in ipairs(a.experiments) do
      results[name] = results[name] or {}
      for _, method in ipairs(settings.methods) do
        if a.methods[method.name] then
          local ok, r = pcall(run, a, name, method, seed)
          if not ok and interrupt.is(r) then error(r, 0) end
          local runs = results[name][method.name] or {}
          results[name][method.name] = runs
          if ok then
            runs[#runs + 1] = r
          else
            failures[#failures + 1] = string.format("%s, %s, seed %d: %s", name, method.name, seed, tostring(r))
            io.stderr:write(failures[#failures], "\n")
          end
          collectgarbage()
        end
      end
    end
  end
  write(a, results)
  if a.commit then commit(a, results) end
  for _, name in ipairs(a.experiments) do
    print(name)
    print(require "reproduce.tables".markdown(tables.of(results[name])))
  end
  return #failures
end

files.program(main)
