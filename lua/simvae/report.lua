--- A run as one HTML page that needs nothing beside it: pictures inside, no scripts,
-- readable on a desk and on a phone.
local check = require "simvae.check"
local core = require "simvae.core"
local matrix = require "simvae.matrix"
local page = require "simvae.page"
local palette = require "simvae.figures.palette"

local options = {
  title = { "string" },
  model = { "table" },
  simulator = { "table" },
  results = { "table", required = true },
  figures = { "table", default = {} },
  numbers = { "table", default = {} },
  settings = { "table", default = {} },
  notes = { "table", default = {} },
}

local grade, card = page.grade, page.card
local escape, number, percent, duration, table_of = page.escape, page.number, page.percent, page.duration, page.table

-- ---- what the numbers mean -----------------------------------------------------------

local function worst_of(by)
  local name, value
  for k, v in pairs(by or {}) do
    if not value or v > value then name, value = k, v end
  end
  return name, value
end

local function mig_card(r)
  local truth, mark, text = r.truth and r.truth.mig, "none"
  if truth and truth >= 0.1 then
    local share = r.mig / truth
    mark = grade(share, 0.85, 0.6)
    text = string.format("Does one latent, and no other, tell each parameter? %s of the %.3f that the true parameters "
      .. "themselves reach. Good from 85%% on, fair from 60%%. It falls steeply with small errors: 2%% of the range "
      .. "costs a quarter; read the errors beside it.", percent(share), truth)
  else
    text = "Does one latent, and no other, tell each parameter? "
      .. (truth and "The true parameters themselves score next to nothing here, so this number says little."
        or "There is no ground truth to compare with.")
  end
  if r.chance then text = text .. string.format(" Chance: %.3f.", r.chance.mig) end
  if r.interval then text = text .. string.format(" 95%% of resamples: %.3f to %.3f.", r.interval[1], r.interval[2]) end
  return card("Mutual information gap (MIG)", string.format("%.3f", r.mig), mark, text)
end

-- What is known of one-to-many inverses, and of the outputs' own invariants.
local function equivalence_cards(r)
  local out = {}
  local function add(...) out[#out + 1] = card(...) end
  if r.iou then
    add("Intersection over union", string.format("%.3f", r.iou), grade(r.iou, 0.85, 0.7), "Of the figure that the "
      .. "simulator draws from the encoder's parameters with the one it was shown, averaged. Good from 0.85 on, fair "
      .. "from 0.7; thin lines score low.")
  end
  if r.refined and r.refined.resimulation_r2 then
    local f = r.refined
    local name, share = worst_of(f.rmse_relative)
    local value = f.iou and string.format("IoU %.3f", f.iou) or string.format("R² %.4f", f.resimulation_r2)
    add("Refined", value, f.iou and grade(f.iou, 0.85, 0.7) or grade(f.resimulation_r2, 0.95, 0.8), string.format(
      "The same of answers that gradient descent through the decoder refines (model:invert), over %d samples: "
      .. "re-simulation R² %.4f, largest error %s ('%s'). %.0f ms a sample.", f.samples, f.resimulation_r2,
      percent(share), name or "?", 1000 * f.seconds / f.samples))
  end
  if r.orbit then
    add("Orbit-aligned MIM", string.format("%.3f", r.orbit.score), grade(r.orbit.score, 0.7, 0.4), string.format(
      "How well each parameter is told, after every answer is replaced by its equivalent nearest to the truth, above "
      .. "chance. 1: exactly; an error of 2%% of the range has about 0.7. Good from 0.7 on, fair from 0.4. Separation, "
      .. "however noisy: %s.", r.orbit.separation and string.format("%.3f", r.orbit.separation) or "–"))
  end
  if r.consistent then
    add("Self-consistent MIM", string.format("%.3f", r.consistent.score), grade(r.consistent.score, 0.7, 0.4),
      "Does the encoder answer the same again, when it sees what the simulator makes of its answer? Read it beside the "
      .. "re-simulation R². Good from 0.7 on, fair from 0.4.")
  end
  for _, name in ipairs(r.invariants and r.invariants.names or {}) do
    local fit = r.invariants.by[name]
    add(name .. " of the answer over the true one", string.format("R² %.4f", fit.r2), grade(fit.r2, 0.995, 0.95),
      string.format("What the output depends on; slope %.4f, over %d samples. Good from 0.995 on, fair from 0.95.",
        fit.slope, r.invariants.samples))
  end
  return table.concat(out)
end

local function cards(r)
  local out = { mig_card(r) }
  out[#out + 1] = card("Re-simulation R²", r.resimulation_r2 and string.format("%.4f", r.resimulation_r2) or "–",
    grade(r.resimulation_r2, 0.95, 0.8), "Does the simulator, run on the encoder's parameters, draw the same output? "
    .. "1: always; 0: no better than the mean output. Good from 0.95 on, fair from 0.8. It needs no true parameters.")
  local name, share = worst_of(r.rmse_relative)
  out[#out + 1] = card("Largest parameter error", percent(share), grade(share, 0.03, 0.08),
    string.format("Root mean square error of '%s', the worst parameter, as a share of its range. Good up to 3%%, fair "
      .. "up to 8%%; a blind guess of a uniform parameter has 29%%.", name or "?"))
  out[#out + 1] = card("Decoder R²", r.decoder_r2 and string.format("%.4f", r.decoder_r2) or "–",
    grade(r.decoder_r2, 0.97, 0.9), string.format("Does the decoder draw what the simulator draws? Mean squared error "
      .. "%s. Good from R² 0.97 on, fair from 0.9. The encoder can be no better than the decoder it was trained "
      .. "through.", number(r.decoder_mse)))
  if r.coverage then
    local off = math.abs(r.coverage.one - 0.683)
    out[#out + 1] = card("Stated uncertainty", percent(r.coverage.one), grade(off, 0.1, 0.25), string.format(
      "Share of true parameters within one standard deviation of the answer (a normal distribution: 68%%); within two: "
      .. "%s (95%%). Good within 10 points of 68%%, fair within 25. Lower: too sure of itself; higher: too modest.",
      percent(r.coverage.two)))
  end
  for k, v in pairs(r.accuracy or {}) do
    out[#out + 1] = card("Right class of " .. k, percent(v), grade(v, 0.95, 0.8),
      "Share of samples whose class is found. Good from 95% on, fair from 80%.")
  end
  return '<div class="cards">' .. table.concat(out) .. equivalence_cards(r) .. "</div>"
end

local marks = { good = "good", fair = "fair", poor = "poor", none = "no verdict" }

local function parameters(sim, r)
  local rows = {}
  for i, p in ipairs(sim.params) do
    local share = r.rmse_relative and r.rmse_relative[p.name]
    local mark = grade(share, 0.03, 0.08)
    local kind = p.levels and p.levels .. " classes" or p.period and "period " .. number(p.period)
      or p.scale == "log" and "log" or "linear"
    local cover = r.coverage and r.coverage.by and r.coverage.by[p.name]
    rows[i] = {
      escape(p.name) .. (p.doc and ' <span class="soft">' .. escape(p.doc) .. "</span>" or ""), escape(p.unit or ""),
      number(p.low), number(p.high), kind, number(r.rmse and r.rmse[p.name], 3), percent(share),
      string.format('<span class="mark %s">%s</span>', mark, marks[mark]),
      r.gaps and r.gaps[p.name] and string.format("%.3f", r.gaps[p.name]) or "–", percent(cover and cover.one),
    }
  end
  return table_of("parameters", { "Parameter", "Unit", "Low", "High", "Scale", "RMSE", "of range", "", "MI gap",
    "within 1 σ" }, rows)
end

local function mim_table(title, m, names)
  local head, rows = { "" }, {}
  for _, n in ipairs(names) do head[#head + 1] = escape(n) end
  for i, row in ipairs(m:totable()) do
    local cells = { escape(m.shape[1] == #names and names[i] or "z" .. i) }
    for _, x in ipairs(row) do
      cells[#cells + 1] = { string.format("%.3f", x), style = string.format("background:%s;color:%s",
        palette.hex(palette.ramp(x)), palette.hex(palette.ink(x))) }
    end
    rows[i] = cells
  end
  return "<div><h3>" .. title .. "</h3>" .. table_of("mim", head, rows) .. "</div>"
end

local function information(r, names, equivalents)
  if not matrix.is_tensor(r.mim) then return "" end
  local out = { "<h2>Mutual information</h2><p>Row: the encoder's answer; column: the true parameter. 1: the answer "
    .. "tells in which of the bins the parameter lies; 0: it tells nothing. A strong diagonal beside an empty rest is "
    .. "what one hopes for; the lower matrix shows what the parameters' own ties leave possible.</p>"
    .. "<div class=\"two\">",
    mim_table("MIM(Z, V): the model", r.mim, names) }
  if r.truth and matrix.is_tensor(r.truth.mim) then
    out[#out + 1] = mim_table(equivalents and "MIM(V, V̄): the truth, V̄ a random equivalent of V"
      or "MIM(V, V): the truth", r.truth.mim, names)
  end
  out[#out + 1] = "</div>"
  return table.concat(out)
end

-- ---- what was run ---------------------------------------------------------------------

local function steps_text(steps)
  if type(steps) ~= "table" then return steps end
  return require "simvae.model".steps_text(steps, true)
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

--- Writes dir/report.html.
-- @tparam string dir an existing directory
-- @tparam table data
--   results what sv.evaluate returned;
--   model, or simulator: its name, params and output are shown;
--   figures list of {path =, caption =} (paths as they are, or relative to dir), in order;
--   numbers: seed, net, width, steps, threads, processor, training_seconds, version, where the model does not say;
--   settings list of {name, value} to be listed besides; notes list of sentences; title
-- @treturn string|nil path, or nil and a message
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
    '<p class="soft">A decoder learned to draw what the simulator draws; an encoder learned, without labels, to find ',
    "the parameters from the output. Measured on ", escape(r.samples or "?"), " fresh samples.</p>",
    "<h2>How good it is</h2>", cards(r),
  }
  local function add(...)
    for _, s in ipairs { ... } do body[#body + 1] = s end
  end
  if sim then add("<h2>Parameters</h2>", parameters(sim, r)) end
  add(sentences(r, data.notes))
  if #data.figures > 0 then
    add("<h2>Figures</h2>")
    for _, f in ipairs(data.figures) do add(page.figure(dir, f)) end
  end
  add(information(r, names, sim ~= nil and sim.symmetry ~= nil), "<h2>What was run</h2>", settings(data, sim))
  return page.write(dir .. "/report.html", title, table.concat(body))
end

return report
