--- The report of a run: one self-contained HTML page for wide and narrow screens, light and dark, and for paper.
-- Its only script moves the sliders.
local catalogue = require "simvae.util.catalogue"
local check = require "simvae.util.check"
local core = require "simvae.core"
local interrupt = require "simvae.util.interrupt"
local marginal = require "simvae.simulator.marginal"
local page = require "simvae.report.page"
local parameter = require "simvae.simulator.parameter"

local options = check.declare("report", {
  title = { "string", doc = "of the page; default: by the simulator's name" },
  model = { "table", class = "Model", doc = "what was trained: its network, seed and steps are listed" },
  simulator = { "table", class = "Simulator", doc = "whose parameters and output are listed; default: the model's" },
  results = { "table", required = true, doc = "what sv.evaluate returned" },
  figures = { "table", default = {},
    doc = "list of { path =, caption = }, paths as they are or relative to dir, in order" },
  numbers = { "table", default = {},
    doc = "seed, net, width, steps, threads, processor, training_seconds and version, where the model does not say" },
  settings = { "table", default = {}, doc = "list of { name, value } to be listed besides" },
  notes = { "table", default = {}, doc = "list of sentences" },
  diagnosis = { "table", doc = "what sv.diagnose returned" },
})

local escape, number, percent, duration, table_of = page.escape, page.number, page.percent, page.duration, page.table

-- ---- results -------------------------------------------------------------------------

local function cards(r)
  local out = {}
  for _, m in ipairs(catalogue.reported "simvae.metrics") do
    if m.cards then m.cards(r, function(...) out[#out + 1] = page.card(...) end) end
  end
  return '<div class="cards">' .. table.concat(out) .. "</div>"
end

local function parameters(sim, r)
  local head, rows, columns = { "Parameter", "Unit", "Low", "High", "Scale" }, {}, {}
  for _, m in ipairs(catalogue.reported "simvae.metrics") do
    if m.parameter then
      columns[#columns + 1] = m.parameter
      table.move(m.parameter.titles, 1, #m.parameter.titles, #head + 1, head)
    end
  end
  for i, p in ipairs(sim.params) do
    local low, high = marginal.declared(p)
    local row = { escape(p.name) .. (p.doc and ' <span class="soft">' .. escape(p.doc) .. "</span>" or ""),
      escape(p.unit or ""), number(low), number(high),
      parameter.scale_text(p) .. (p.prior and ", " .. marginal.text(p.prior) or "") }
    for _, c in ipairs(columns) do
      local cells = c.cells(r, p)
      table.move(cells, 1, #cells, #row + 1, row)
    end
    rows[i] = row
  end
  return table_of("parameters", head, rows)
end

-- Sections of the metrics.
local function sections(r, names, sim)
  local out = {}
  for _, m in ipairs(catalogue.reported "simvae.metrics") do
    if m.section then out[#out + 1] = m.section(r, names, sim) end
  end
  return table.concat(out)
end

-- ---- the run --------------------------------------------------------------------------

local function steps_text(steps)
  if type(steps) ~= "table" then return steps end
  return require "simvae.train.stages".text(steps, true)
end

local function settings(data, sim)
  local n, r = data.numbers, data.results
  local model, o = data.model or {}, data.results.options or {}
  local rows = {}
  local function add(name, value)
    if value ~= nil and value ~= "" then rows[#rows + 1] = { escape(name), escape(value) } end
  end
  local function plain(v) return type(v) ~= "table" and type(v) ~= "function" and v or nil end
  add("Simulator", sim and sim.name)
  add("What it draws", sim and plain(sim.doc))
  add("Output", sim and sim.output and check.shape_text(sim.output))
  add("Network", plain(n.net) or plain(model.net))
  add("Width", n.width or model.width)
  add("Steps", steps_text(n.steps or model.trained))
  add("Seed", n.seed or model.seed)
  add("Threads", n.threads or core.threads())
  add("Processor", n.processor)
  add("Training", duration(n.training_seconds or model.seconds))
  add("Evaluation", string.format("%s samples, seed %s, %s bins%s", r.samples or "?", o.seed or "?", o.bins or "?",
    r.seconds and ", " .. duration(r.seconds) or ""))
  add("Versions", string.format("simvae %s (%s), %s", n.version or core.version, core.real, _VERSION))
  for _, pair in ipairs(data.settings) do add(pair[1], pair[2]) end
  add("Written", os.date "!%Y-%m-%d %H:%M UTC")
  return table_of("pairs", nil, rows)
end

local function sentences(r, notes)
  local items = {}
  for _, list in ipairs { r.notes or {}, notes } do
    for _, n in ipairs(list) do items[#items + 1] = "<li>" .. escape(n) .. "</li>" end
  end
  if r.outside and r.outside > 0.001 then
    items[#items + 1] = string.format("<li>%s of the encoder's answers lay beyond the parameters' bounds and were "
      .. "brought within before the simulator ran on them.</li>", percent(r.outside))
  end
  return #items > 0 and "<h2>Notes</h2><ul>" .. table.concat(items) .. "</ul>" or ""
end

-- What cannot be trusted, in red.
local function warnings(r)
  local out = {}
  for i, text in ipairs(r.warnings or {}) do out[i] = '<p class="warning">' .. escape(text) .. "</p>" end
  return table.concat(out)
end

-- A section that runs the model; where it cannot be made, why.
local function live(make, ...)
  local ok, html, script = interrupt.pcall(make, ...)
  if ok then return html, script end
  return '<p class="soft">Not drawn: ' .. escape(html) .. "</p>"
end

-- Is it a model that can be run? Reports of results alone describe one by a table.
local function runs(model)
  return model ~= nil and require("simvae.model").is(model)
end

--- Writes dir/report.html.
-- @tparam string dir an existing directory
-- @tparam table data options
-- @treturn string|nil path, or nil and a message
-- @raise results that sv.evaluate did not return
-- @usage
-- local r = sv.evaluate(model, { samples = 400, calibration = 50, interval = 0 })
-- print(sv.report("ring", { results = r, model = model }))
local function report(dir, data)
  check.value("report", "dir", dir, { "string" })
  data = check.options("report", data, options)
  local r = data.results
  if type(r.mig) ~= "number" then
    check.fail(2, "report: results takes what sv.evaluate returned; it has no mig")
  end
  local sim = data.simulator or data.model and data.model.simulator
  local names = r.names or sim and sim.names or {}
  local title = data.title or (sim and sim.name or "simulator") .. ": the simulator and its inverse"
  local body = {
    "<h1>", escape(title), "</h1>",
    '<p class="soft">A decoder learned to draw what the simulator draws; an encoder learned to find the parameters ',
    "from the output. Measured on ", escape(r.samples or "?"), " fresh samples.</p>",
    warnings(r),
  }
  local function add(...)
    for _, s in ipairs { ... } do body[#body + 1] = s end
  end
  local script
  if runs(data.model) then
    local sliders, code = live(require "simvae.report.sliders", data.model)
    script = code
    add(sliders)
  end
  add("<h2>How good it is</h2>", cards(r))
  if data.diagnosis then add(require "simvae.report.diagnosis"(data.diagnosis)) end
  if runs(data.model) then
    add((live(require "simvae.report.posteriors", data.model, (r.options or {}).seed or 7)))
  end
  if sim then add("<h2>Parameters</h2>", parameters(sim, r)) end
  add(sentences(r, data.notes))
  if #data.figures > 0 then
    add("<h2>Figures</h2>")
    for _, f in ipairs(data.figures) do add(page.figure(dir, f)) end
  end
  add(sections(r, names, sim), "<h2>What was run</h2>", settings(data, sim))
  return page.write(dir .. "/report.html", title, table.concat(body), script)
end

return report
