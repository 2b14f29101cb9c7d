--- Export as a web page: one HTML file that needs nothing else, with sliders for the parameters, the decoder's output,
-- and an output to be drawn or loaded, whose parameters the encoder infers.
--
-- The C export's kernels are in it as WebAssembly, compiled before (simvae.export.support.web.kernels), so that no
-- compiler is needed; the loops around them are JavaScript (simvae.export.support.web.glue). A content security policy
-- forbids requests.
local base64 = require "simvae.util.base64"
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local emitter = require "simvae.export.support.c.emitter"
local format = require "simvae.export.support.format"
local glue = require "simvae.export.support.web.glue"
local html = require "simvae.util.html"
local json = require "simvae.io.json"
local kernels = require "simvae.export.support.web.kernels"
local memory = require "simvae.export.support.web.memory"
local plan = require "simvae.export.support.c.plan"
local refuse = require "simvae.export.support.refuse"
local source = require "simvae.export.support.c.source"
local traversal = require "simvae.figures.support.traversal"

local DRAWS = 64          -- of a posterior, that a page shows
local TYPICAL = 256       -- outputs, of whose range charts are
local SEED = 0x77656270   -- "webp": of these
local SCRIPTS = { "engine.js", "scale.js", "chart.js", "picture.js", "curves.js", "sliders.js", "page.js" }

local rules = format.rules("web", {
  what = { "string|table", default = { "decode", "encode", "sample" },
    doc = "the directions that the page has, of \"decode\", \"encode\" and \"sample\" (\"posterior\" is this one "
      .. "here); \"decode\" is always there" },
  title = { "string", doc = "of the page; default: the simulator's name" },
})

-- ---- what scripts know of the model ---------------------------------------------------------------------

-- nil of numbers that JSON has not.
local function finite(v) return type(v) == "number" and v == v and math.abs(v) < math.huge and v or nil end

local function parameters_of(sim)
  local list, middle = {}, traversal.middle(sim)
  for i, p in ipairs(sim.params) do
    local range = p.axis or p
    list[i] = { name = p.name, unit = p.unit or "", low = range.low, high = range.high, scale = range.scale or p.scale,
      levels = p.levels, period = p.period, grid = p.grid, doc = p.doc, start = middle[i] }
  end
  return list
end

-- The least and the largest number of curves, a little apart, of the decoder's outputs at draws of the prior.
local function range_of(y, first, last)
  local part = core.slice(y, 2, first, last)
  local low, high = core.min(part):item(), core.max(part):item()
  if not finite(low) or not finite(high) or high - low <= 1e-9 * math.max(math.abs(low), math.abs(high)) then
    low, high = (finite(low) or 0) - 1, (finite(high) or 0) + 1
  end
  local margin = 0.04 * (high - low)
  return low - margin, high + margin
end

-- Curves of a vector output, each with the range that charts show.
local function curves_of(model)
  local sim = model.simulator
  if #sim.output ~= 1 then return nil end
  local scope <close> = core.scope()
  local y = model:decode(sim:sample(TYPICAL, core.rng(SEED)))
  local declared, n, list = sim.series or { { name = "output" } }, sim.output[1], {}
  for i, one in ipairs(declared) do
    local first, last = (i - 1) * n // #declared, i * n // #declared
    local low, high = range_of(y, first + 1, last)
    list[i] = { name = one.name, unit = one.unit or "", first = first, last = last, low = low, high = high }
  end
  return list
end

local function axis_of(sim)
  local axis, curves = sim.series and sim.series.axis, sim.series and #sim.series or 1
  if #sim.output ~= 1 then return nil end
  if axis and finite(axis.low) and finite(axis.high) then
    return { name = axis.name, unit = axis.unit or "", low = axis.low, high = axis.high,
      scale = axis.scale or "linear" }
  end
  return { name = axis and axis.name or "element", unit = "", low = 1, high = math.max(2, sim.output[1] // curves),
    scale = "linear" }
end

-- ---- graphs -------------------------------------------------------------------------------------------------

local function has_draws(value)
  for _, d in ipairs(value.shape) do
    if dim.is(d) and d.symbols.draws then return true end
  end
  return false
end

-- Places of arguments: { name, at (bytes), count (of a row or a draw), draws }.
local function arguments_of(room, values)
  local list = {}
  for i, value in ipairs(values) do
    local count, several = plan.count(value), has_draws(value)
    list[i] = { name = value.name, count = count, draws = several, at = room:take(4 * count * (several and DRAWS or 1)),
      low = finite(value.low), high = finite(value.high) }
  end
  return list
end

-- The script of the graphs, what others know of them, and the memory.
local function compile(graphs)
  local out, room, bodies = emitter.new(false), memory.new(), {}
  local about, methods, work, of_decoder = {}, {}, 0, 0
  for g, graph in ipairs(graphs) do
    bodies[g] = source.body(out, graph)
    work = math.max(work, out.plan.size)
    if g == 1 then of_decoder = #out.arrays end
  end
  if (out.bins or 0) > kernels.BINS then
    refuse.because("splines of %d bins; a page has at most %d", out.bins, kernels.BINS)
  end
  for i, one in ipairs(out.arrays) do room:constant(one, i <= of_decoder) end
  local place = room:take(4 * work)
  for g, graph in ipairs(graphs) do
    methods[g] = glue.method(graph.name, graph, bodies[g], room.at)
    about[graph.name] = { work = place, draws = graph.symbols[2] ~= nil, inputs = arguments_of(room, graph.inputs),
      outputs = arguments_of(room, graph.outputs) }
  end
  return glue.of(methods, out.kernels, kernels.prefix), about, room
end

-- ---- the page ---------------------------------------------------------------------------------------------

local function read(name)
  local file = assert(io.open(kernels.beside(name), "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local POLICY = "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
  .. "img-src data: blob:"

-- JSON in a script: "<" ends none.
local function data(t) return (json.encode(t):gsub("<", "\\u003c")) end

-- What readers of the posterior should know; nil: nothing.
local function note_of(model, recalibrated)
  if model.focus then
    return "The model was trained in rounds for one observation; its posterior is good near that alone."
  end
  for _, map in ipairs(not recalibrated and model.recalibration and model.recalibration.maps or {}) do
    if map then return "Draws are those of the posterior as it was trained, without its recalibration." end
  end
end

local function page_of(model, graphs, title, note)
  local script, about, room = compile(graphs)
  local sim = model.simulator
  local wasm = kernels.bytes()
  local constants, records = room:text()
  local facts = {
    name = sim.name, title = title, output = sim.output, parameters = parameters_of(sim), curves = curves_of(model),
    axis = axis_of(sim), graphs = about, constants = records, pages = room:pages(), start = memory.START,
    draws = DRAWS, note = note,
  }
  local parts = { '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
    .. '<meta http-equiv="Content-Security-Policy" content="', POLICY, '">\n'
    .. '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>', html.escape(title),
    "</title>\n<style>\n", read "page.css", "</style></head>\n<body>\n",
    (read "page.html":gsub("%$(%u+)", { TITLE = html.escape(title), DOC = html.escape(sim.doc or ""),
      VERSION = html.escape(core.version) })),
    '\n<script type="application/json" id="facts">', data(facts), '</script>\n<script type="text/plain" id="kernels">',
    base64(wasm), '</script>\n<script type="text/plain" id="constants">', constants,
    '</script>\n<script>\n"use strict";\n', script }
  for _, name in ipairs(SCRIPTS) do parts[#parts + 1] = read(name) end
  parts[#parts + 1] = "</script>\n</body></html>\n"
  return table.concat(parts)
end

-- Options whose directions are those of a page: decode first; the posterior's density is left out.
local function with_decode(options)
  if type(options) ~= "table" or getmetatable(options) or options.what == nil then return options end
  local result, list, seen = {}, { "decode" }, { decode = true }
  for k, v in pairs(options) do result[k] = v end
  for _, name in ipairs(type(options.what) == "table" and options.what or { options.what }) do
    if name == "posterior" then name = "sample" end
    if not seen[name] then seen[name], list[#list + 1] = true, name end
  end
  result.what = list
  return result
end

local function check_graphs(graphs)
  for _, graph in ipairs(graphs) do
    if graph.name == "log_prob" then
      refuse.because "a page shows no log densities; what takes \"decode\", \"encode\" and \"sample\""
    end
    local x = graph.inputs[1]
    if x.name == "x" and plan.count(x) ~= plan.count(graphs[1].outputs[1]) then
      refuse.because("an observation of the model is a set of %d measurements, and a page takes one; "
        .. "what = \"decode\" leaves the encoder out", x.shape[2])
    end
  end
end

--- Writes a page that runs the model in a browser: one file, without requests to anywhere.
--
-- Sliders move the parameters, and the decoder's output follows. An output that is drawn with the pointer or loaded
-- from a file is encoded: the sliders move to the estimate, and draws of the posterior are shown through the decoder.
-- Other scripts of the page may call `simvae.decode(z)`, `simvae.encode(x)` and `simvae.sample(x, u)` when
-- `simvae.ready`, a promise, is fulfilled. Weights are rounded to 19 bits, those of large models to 15 or 13, so that
-- pages of up to 1.8 million weights stay below 4 MB; larger ones take two bytes a weight. Browsers since 2023 run
-- them.
-- @tparam Model model
-- @tparam string path such as "box.html"
-- @tparam ?table options options
-- @treturn string|nil path, or nil and a message: a file that exists or cannot be written
-- @treturn table bytes: of the file; notice: what readers of its posterior should know, or nil
-- @raise what cannot leave (sv.export.graph, sv.export.c), a model of sets of several measurements
-- @usage
-- local path, about = assert(sv.export.web(model, "ring.html", { overwrite = true }))
-- print(path, about.bytes)
local function web(model, path, options)
  return format.write("web", model, path, with_decode(options), rules, function(graphs, o)
    check_graphs(graphs)
    local note = note_of(model, o.recalibrated)
    local text = page_of(model, graphs, o.title or model.simulator.name, note)
    return { { path = path, pieces = { text } } }, { bytes = #text, notice = note }
  end)
end

return { export = web, suffix = ".html", order = 30, rules = rules }
