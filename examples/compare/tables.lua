--- Tables of a comparison.
local markdown = require "reproduce.tables".markdown
local settings = require "compare.settings"

local tables = {}

-- { field of a run's measures, head, digits }
local measures = {
  { "mig", "MIG", 3 }, { "sap", "SAP", 3 }, { "disentanglement", "DCI: disentanglement", 2 },
  { "completeness", "completeness", 2 }, { "informativeness", "informativeness", 2 },
  { "diagonal", "MIM, diagonal", 2 }, { "reconstruction", "reconstruction error", 4 },
  { "reconstruction_r2", "reconstruction R²", 3 }, { "resimulation_r2", "re-simulation R²", 3 },
  { "seconds", "processor seconds", 0 },
}

--- Mean and standard deviation (n - 1) of a measure over runs, as text.
-- @tparam {table,...} runs with the measure's field, where they have it
-- @tparam string field
-- @tparam integer digits
-- @treturn string "–" where no run has it
function tables.cell(runs, field, digits)
  local n, mean, squares = 0, 0, 0
  for _, r in ipairs(runs) do
    if r[field] then n, mean = n + 1, mean + r[field] end
  end
  if n == 0 then return "–" end
  mean = mean / n
  for _, r in ipairs(runs) do
    if r[field] then squares = squares + (r[field] - mean) ^ 2 end
  end
  local format = "%." .. digits .. "f"
  if n == 1 then return (string.format(format, mean):gsub("^%-(0%.?0*)$", "%1")) end
  return string.format(format .. " ± " .. format, mean, math.sqrt(squares / (n - 1)))
end

--- The table of an experiment: a row a method.
-- @tparam table results by method: lists of runs' measures
-- @treturn {string,...} heads
-- @treturn table rows
function tables.of(results)
  local heads, rows = { "method", "labels" }, {}
  for _, m in ipairs(measures) do heads[#heads + 1] = m[2] end
  for _, method in ipairs(settings.methods) do
    local runs = results[method.name]
    if runs and #runs > 0 then
      local row = { method.title, method.supervision }
      for _, m in ipairs(measures) do row[#row + 1] = tables.cell(runs, m[1], m[3]) end
      rows[#rows + 1] = row
    end
  end
  return heads, rows
end

--- One measure of all methods on all experiments: a row a method, a column an experiment.
-- @tparam table results by experiment and method
-- @tparam string field
-- @tparam integer digits
-- @treturn {string,...} heads
-- @treturn table rows of the methods that have it
function tables.overview(results, field, digits)
  local heads, rows = { "method" }, {}
  for _, name in ipairs(settings.order) do
    if results[name] then heads[#heads + 1] = name end
  end
  for _, method in ipairs(settings.methods) do
    local row, any = { method.title }, false
    for _, name in ipairs(settings.order) do
      if results[name] then
        local cell = tables.cell(results[name][method.name] or {}, field, digits)
        row[#row + 1], any = cell, any or cell ~= "–"
      end
    end
    if any then rows[#rows + 1] = row end
  end
  return heads, rows
end

--- The published range beside the runs' values: a row a method.
-- @tparam table results by experiment and method
-- @treturn ?table rows of the method, the published range, the value here, and whether it lies within
function tables.published(results)
  local p = settings.published.dsprites
  local rows = {}
  for _, name in ipairs(p.methods) do
    local runs = results.dsprites and results.dsprites[name]
    for _, method in ipairs(settings.methods) do
      if method.name == name and runs and #runs > 0 then
        local within = true
        for _, r in ipairs(runs) do within = within and r.mig_all >= p.low and r.mig_all <= p.high end
        rows[#rows + 1] = { method.title, string.format("%.1f to %.1f", p.low, p.high),
          tables.cell(runs, "mig_all", 3), within and "yes" or "no" }
      end
    end
  end
  return #rows > 0 and rows or nil
end

--- Head of the published values.
tables.published_head = { "dsprites, MIG over all five factors", "published", "here", "within" }

--- All tables as Markdown.
-- @tparam table a the command line
-- @tparam table results by experiment and method
-- @tparam string about the processor and the version
-- @treturn string
function tables.page(a, results, about)
  local steps = {}
  for _, name in ipairs(settings.order) do
    local e = settings.experiments[name]
    if results[name] then steps[#steps + 1] = string.format("%s %d", name, a.steps * e.steps) end
  end
  local parts = { "# Methods side by side\n", string.format("Seeds: %d. Steps: %s; of SimVAE in each of its two "
    .. "stages. Batches of %d out of %d samples; evaluated on %d others; %s.\n", a.seeds, table.concat(steps, ", "),
    a.batch, a.budget, a.samples, about) }
  if a.quick then parts[#parts + 1] = "Made with small budgets (quick): it shows that everything runs, not how good it "
    .. "is.\n" end
  for _, m in ipairs { { "mig", "MIG", 2 }, { "sap", "SAP", 2 }, { "resimulation_r2", "Re-simulation R²", 2 },
    { "reconstruction_r2", "Reconstruction R²", 2 }, { "seconds", "Processor seconds of training", 0 } } do
    parts[#parts + 1] = "## " .. m[2] .. "\n"
    parts[#parts + 1] = markdown(tables.overview(results, m[1], m[3]))
  end
  for _, name in ipairs(settings.order) do
    if results[name] then
      parts[#parts + 1] = "## " .. name .. "\n"
      parts[#parts + 1] = markdown(tables.of(results[name]))
    end
  end
  local published = tables.published(results)
  if published then
    parts[#parts + 1] = "## Published values\n"
    parts[#parts + 1] = markdown(tables.published_head, published)
    parts[#parts + 1] = "Published: " .. settings.published.source .. ".\n"
  end
  return table.concat(parts, "\n")
end

return tables
