--- Tables of a reproduction.
local paper = require "reproduce.paper"
local stages = require "simvae.train.stages"
local summary = require "reproduce.summary"

local tables = {}

tables.first_head = { "Simulator", "MIG, paper", "MIG, here", "MIG, plain recipe", "Truth, paper", "Truth, here",
  "Ground truth correlations" }
--- Rows of the paper's table 1, with the reproduction's values.
function tables.first(results)
  local rows = {}
  for _, name in ipairs(results.names) do
    local r, p = results.simulators[name], paper.values[name]
    rows[#rows + 1] = { name, string.format("%.2f", p.mig), summary.text(r.means, "mig"),
      summary.text(r.plain_means, "mig"),
      string.format("%.2f", p.truth), summary.text(r.means, "truth"), p.ties }
  end
  return rows
end

--- Rows of the table of further measures.
function tables.second(results)
  local rows = {}
  for _, name in ipairs(results.names) do
    local row = { name }
    for _, c in ipairs(summary.columns()) do row[#row + 1] = summary.text(results.simulators[name].means, c) end
    rows[#rows + 1] = row
  end
  return rows
end
--- Its head.
function tables.second_head()
  local list = { "Simulator" }
  for _, c in ipairs(summary.columns()) do list[#list + 1] = summary.title(c) end
  return list
end

tables.invariant_head = { "Invariant", "slope, paper", "slope, here", "R², paper", "R², here" }
--- Rows of the circuit's invariants; nil without them.
function tables.invariants(results)
  local rlc, rows = results.simulators.rlc, {}
  if not rlc or not rlc.means.f0_r2 then return nil end
  for _, name in ipairs { "f0", "Q" } do
    rows[#rows + 1] = { name, string.format("%.2f", paper.values.rlc[name .. "_slope"]),
      summary.text(rlc.means, name .. "_slope"),
      string.format("%.2f", paper.values.rlc[name .. "_r2"]), summary.text(rlc.means, name .. "_r2") }
  end
  return rows
end

tables.posterior_head = { "Simulator", "trained on", "within 68%", "each parameter", "within 95%", "each parameter",
  "uniform ranks" }
-- The least and the largest of a measure over parameters and runs, as text.
local function span(runs, name)
  local low, high
  for _, r in ipairs(runs) do
    for _, by in pairs(r.numbers.calibration.by) do
      low, high = math.min(low or by[name], by[name]), math.max(high or by[name], by[name])
    end
  end
  return string.format("%.3f to %.3f", low, high)
end

-- How many parameters' ranks are uniform, over runs, as text.
local function uniform(runs)
  local good, all = 0, 0
  for _, r in ipairs(runs) do
    for _, by in pairs(r.numbers.calibration.by) do good, all = good + (by.uniform and 1 or 0), all + 1 end
  end
  return string.format("%d of %d", good, all)
end

--- What a posterior was trained on, as text.
function tables.pairs(labels)
  if not labels or labels == 0 then return "the decoder's pairs (no labels)" end
  return labels == 1 and "the simulator's pairs" or "the simulator's and the decoder's pairs"
end

--- Rows of the table of calibration.
function tables.posterior(results)
  local rows = {}
  for _, name in ipairs(results.names) do
    local r, runs = results.simulators[name], {}
    for _, one in ipairs(r.runs) do
      if one.recipe ~= "paper" and one.numbers.calibration then runs[#runs + 1] = one end
    end
    if #runs > 0 then
      rows[#rows + 1] = { name, tables.pairs(runs[1].numbers.labels), summary.text(r.means, "calibration"),
        span(runs, "one"), summary.text(r.means, "calibration_two"), span(runs, "two"), uniform(runs) }
    end
  end
  return rows
end

tables.posterior_note = "Shares of true parameters within the central 68% and 95% intervals of the posterior: the mean "
  .. "over parameters, and the least and the largest of any parameter and run; ranks that are uniform "
  .. "(simulation-based calibration, 95% band), of all parameters and runs."

tables.orbit_head = { "Simulator", "equivalents held", "re-simulation R² of posterior draws",
  "Kolmogorov distance along the orbit" }
--- Rows of how posteriors hold the equivalents of a symmetry; nil without any.
function tables.orbit(results)
  local rows = {}
  for _, name in ipairs(results.names) do
    local means = results.simulators[name].means
    if means.orbit_kolmogorov or means.orbit_modes then
      rows[#rows + 1] = { name, summary.text(means, "orbit_modes"), summary.text(means, "draws_r2"),
        summary.text(means, "orbit_kolmogorov") }
    end
  end
  return #rows > 0 and rows or nil
end

--- A row for each run.
function tables.runs(results)
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
tables.runs_head = { "Simulator", "recipe", "seed", "steps", "width", "MIG", "re-simulation R²", "seconds", "version" }

--- A table in Markdown.
function tables.markdown(heads, rows)
  local lines = { "| " .. table.concat(heads, " | ") .. " |", "|" .. (" --- |"):rep(#heads) }
  for _, row in ipairs(rows) do lines[#lines + 1] = "| " .. table.concat(row, " | ") .. " |" end
  return table.concat(lines, "\n") .. "\n"
end

--- How many seeds, as text.
function tables.seeds(a)
  return a.seeds == 1 and "one seed" or string.format("mean ± standard deviation over %d seeds", a.seeds)
end

--- The note on quick results.
function tables.quick_note()
  return "Made with small budgets (quick): it shows that everything runs, not how good it is."
end

--- All tables as a page of Markdown.
function tables.page(a, results)
  local parts = { "# The paper's table 1, and this reproduction\n", string.format("%s; simvae %s, %d threads, %s.\n",
    tables.seeds(a), results.version, results.threads, results.processor) }
  if a.quick then parts[#parts + 1] = tables.quick_note() .. "\n" end
  parts[#parts + 1] = tables.markdown(tables.first_head, tables.first(results))
  parts[#parts + 1] = "Truth: MIG of the true parameters with themselves, each replaced by a random equivalent where "
    .. "the simulator has a symmetry. dsprites: over scale, orientation and place, the shape as noise.\n"
  local invariants = tables.invariants(results)
  if invariants then
    parts[#parts + 1] = "## The circuit's invariants, f0 < 10 kHz and Q < 4\n"
    parts[#parts + 1] = tables.markdown(tables.invariant_head, invariants)
  end
  parts[#parts + 1] = "## The posterior\n"
  parts[#parts + 1] = tables.markdown(tables.posterior_head, tables.posterior(results))
  parts[#parts + 1] = tables.posterior_note .. "\n"
  local orbit = tables.orbit(results)
  if orbit then parts[#parts + 1] = tables.markdown(tables.orbit_head, orbit) end
  parts[#parts + 1] = "## Beyond the paper's metric\n"
  parts[#parts + 1] = tables.markdown(tables.second_head(), tables.second(results))
  parts[#parts + 1] = "## Goals\n"
  local lines = {}
  for _, name in ipairs(results.names) do
    for _, g in ipairs(results.simulators[name].goals) do
      lines[#lines + 1] = string.format("- %s: %s", name, summary.goal_text(g))
    end
  end
  parts[#parts + 1] = table.concat(lines, "\n") .. "\n"
  parts[#parts + 1] = "## Runs\n"
  parts[#parts + 1] = tables.markdown(tables.runs_head, tables.runs(results))
  return table.concat(parts, "\n")
end

return tables
