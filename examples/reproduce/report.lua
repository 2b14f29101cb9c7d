--- The report page of a reproduction.
local core = require "simvae.core"
local page = require "simvae.report.page"
local paper = require "reproduce.paper"
local summary = require "reproduce.summary"
local tables = require "reproduce.tables"

local function sentence(name, r)
  local p, m = paper.values[name], r.means
  if not m.mig then return string.format("%s: no run finished. %s", name, table.concat(r.failures, "; ")) end
  local parts = { string.format("%s: MIG %s; the paper has %.2f, the true parameters themselves %s.", name,
    summary.text(m, "mig"), p.mig, summary.text(m, "truth")) }
  if m.resimulation_r2 then
    local share = m.resimulation_r2.mean
    parts[#parts + 1] = share > 0 and string.format("The simulator, run on the answers, reproduces %s of the outputs' "
      .. "variance.", page.percent(share)) or "The simulator, run on the answers, is no better than the mean output."
  end
  for _, g in ipairs(r.goals) do parts[#parts + 1] = summary.goal_text(g) .. "." end
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

--- Writes out/report.html.
local function report(a, results, list)
  local body = {}
  local function add(...)
    for _, s in ipairs { ... } do body[#body + 1] = s end
  end
  add("<h1>SimVAE: the paper's experiments again</h1>", '<p class="soft">', page.escape(string.format(
    "A decoder learned to draw what each simulator draws; an encoder learned, without labels, to find the parameters. "
    .. "%s; %s of training and evaluation on %s, %d threads.", tables.seeds(a), page.duration(results.seconds),
    results.processor, results.threads)), "</p>")
  if a.quick then add("<p><strong>", tables.quick_note(), "</strong></p>") end
  add("<h2>Table 1</h2>", page.table("numbers", tables.first_head, escaped(tables.first(results))))
  add('<p class="soft">MIG, the mutual information gap, says whether one latent and no other tells each parameter; it '
    .. "falls steeply with small errors: a parameter known to 2% of its range scores 0.72, to 5% 0.53. Truth: of the "
    .. "true parameters with themselves, each replaced by a random equivalent where the simulator has a symmetry (rlc, "
    .. "polygon, dsprites); near 0, MIG says nothing of the model. dsprites: the shape counts as noise.</p>")
  local invariants = tables.invariants(results)
  if invariants then
    add("<h2>The circuit's invariants</h2>", page.table("numbers", tables.invariant_head, escaped(invariants)),
      '<p class="soft">Of the inferred parameters over the true ones, f0 &lt; 10 kHz and Q &lt; 4.</p>')
  end
  add("<h2>The posterior</h2>", page.table("numbers", tables.posterior_head, escaped(tables.posterior(results))),
    '<p class="soft">', page.escape(tables.posterior_note), "</p>")
  local orbit = tables.orbit(results)
  if orbit then add(page.table("numbers", tables.orbit_head, escaped(orbit))) end
  add("<h2>What is good, and what is not</h2><ul>")
  for _, name in ipairs(results.names) do
    add("<li>", page.escape(sentence(name, results.simulators[name])), "</li>")
  end
  add("</ul><h2>Beyond the paper's metric</h2>", page.table("numbers", tables.second_head(),
    escaped(tables.second(results))),
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
  add("<h2>Every run</h2>", page.table("numbers", tables.runs_head, escaped(tables.runs(results))), '<p class="soft">',
    page.escape(string.format("simvae %s (%s), %s. Written %s. Each run's own report is beside this one, in "
      .. "NAME-RECIPE-SEED/report.html.", results.version, core.real, _VERSION, results.written)), "</p>")
  return page.write(a.out .. "/report.html", "SimVAE: the paper's experiments again", table.concat(body))
end

return report
