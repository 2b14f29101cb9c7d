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
