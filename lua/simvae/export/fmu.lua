--- Export as a functional mock-up unit (FMI, fmi-standard.org): the emulator as a component of system simulators.
--
-- An FMU is a zip archive, deflated, of modelDescription.xml, C sources (simvae.export.support.c) and a binary for the
-- platform of the compiler. Parameters are inputs, in their units and with their bounds; the output is arrays (FMI 3)
-- or scalars with indices (FMI 2), or, where the simulator's series are over time, functions of the time. Outputs
-- follow inputs at once: the emulator has no state. The same model and compiler give the same bytes.
local binary = require "simvae.export.support.fmu.binary"
local description = require "simvae.export.support.fmu.description"
local format = require "simvae.export.support.format"
local interface = require "simvae.export.support.fmu.interface"
local refuse = require "simvae.export.support.refuse"
local runtime = require "simvae.export.support.fmu.runtime"
local source = require "simvae.export.support.c.source"
local tangent = require "simvae.export.support.tangent"
local token = require "simvae.export.support.fmu.token"
local zip = require "simvae.io.zip"

local rules = format.rules("fmu", {
  what = { "string|table", default = "decode", doc = "an FMU is of \"decode\"; the others are refused" },
  fmi = { "integer", default = 3, min = 2, max = 3, doc = "version of the FMI standard: 3 (3.0) or 2 (2.0)" },
  series = { "string", one_of = { "time", "array" },
    doc = "of a simulator with series: \"time\", each is one output that depends on the time; or \"array\", each is an "
      .. "array; default: \"time\" where their axis is one" },
  compiler = { "string",
    doc = "C compiler of the binary, or \"none\": sources alone; default: $CC or cc, and sources alone where there is "
      .. "none" },
})

-- Sources { name, text }, the header first, with `token` in them.
local function sources_of(made, t, o)
  return { { name = o.identifier .. ".h", text = made.header }, { name = o.identifier .. ".c", text = made.source },
    { name = o.file, text = runtime.of(t, o) } }
end

-- Members of the archive.
local function members_of(t, o, sources, library, place)
  local members = {}
  local function add(name, text) members[#members + 1] = zip.text(name, text) end
  add("modelDescription.xml", description.model(t, o))
  if o.fmi == 3 then add("sources/buildDescription.xml", description.build(o.identifier, o.sources)) end
  for _, one in ipairs(sources) do add("sources/" .. one.name, one.text) end
  if library then add(place, library) end
  return members
end

-- The graph of decode; anything else is refused.
local function decode_of(graphs)
  if #graphs ~= 1 or graphs[1].name ~= "decode" then
    local names = {}
    for i, g in ipairs(graphs) do names[i] = '"' .. g.name .. '"' end
    refuse.because("an FMU is of what = \"decode\" alone; got %s, which sv.export.c and sv.export.onnx write",
      table.concat(names, ", "))
  end
  return graphs[1]
end

-- The library and its place; without them a notice, or false and a message where the caller named the compiler.
local function library_of(o, sources)
  if o.compiler == "none" then return nil, nil, "without a binary: compiler = \"none\"" end
  local cc = os.getenv "CC"
  local library, place = binary.of(o.compiler or cc ~= "" and cc or "cc", sources, o.identifier, o.fmi)
  if library then return library, place end
  if o.compiler then return false, place end
  return nil, nil, "without a binary, importers have to compile the sources: " .. place
end

local function build(graphs, options, model, path)
  if not path:find "%.fmu$" then refuse.because("path ends in \".fmu\"; got \"%s\"", path) end
  local decode = decode_of(graphs)
  local derivative, why = tangent(decode)
  local identifier = source.identifier(model.simulator.name)
  local t = interface.of(model, decode, options)
  local made = source.of({ decode, derivative }, { file = identifier, prefix = identifier, name = t.name })
  local file = identifier .. "_fmi.c"
  local o = { fmi = options.fmi, compiler = options.compiler, identifier = identifier, file = file, token = "",
    derivatives = derivative ~= nil, sources = { identifier .. ".c", file } }
  local draft = { description.model(t, o), runtime.of(t, o), made.source, made.header }
  o.token = token.of(draft)
  if o.fmi == 2 then o.token = "{" .. o.token .. "}" end
  local sources = sources_of(made, t, o)
  local library, place, notice = library_of(o, sources)
  if library == false then return nil, place end
  if why then notice = (notice and notice .. "; " or "") .. "without directional derivatives: " .. why end
  return { { path = path, pieces = zip.archive(members_of(t, o, sources, library, place)) } },
    { fmi = o.fmi, token = o.token, binary = place, derivatives = o.derivatives, notice = notice,
      time = t.time.points and t.time.name or nil }
end

--- Writes the decoder as an FMU for co-simulation and model exchange, by FMI 3.0 or 2.0.
--
-- Inputs are the simulator's parameters: in their units, with bounds and, as start values, the middle of these; classes
-- are whole numbers. The output is one array, or an array for each of the simulator's series; FMI 2, which has no
-- arrays, gets scalars such as "gain[3]" and "output[1,4,2]". Where the axis of the series is time (its unit is one, or
-- it has none and is named "time"), each series is one output: its value at the FMU's time, in seconds, linear between
-- the points, and constant outside of the axis. Derivatives in directions of the inputs are exact, by forward-mode
-- differentiation. An input outside its bounds is a warning of the FMU.
-- @tparam Model model
-- @tparam string path ends in ".fmu"
-- @tparam ?table options options
-- @treturn string|nil path, or nil and a message: a file that exists or cannot be written, a compiler that was named
-- and is missing or fails
-- @treturn table fmi; token: the instantiation token, or GUID; binary: its place in the archive; derivatives: whether
-- it has directional ones; time: the name of the time, where outputs depend on it; notice: what it is without, and why
-- @raise what cannot leave (sv.export.graph), what other than "decode", series = "time" without series
-- @usage
-- local path, about = assert(sv.export.fmu(model, "ring.fmu", { overwrite = true }))
-- print(path, about.token, about.binary or about.notice)
local function fmu(model, path, options)
  local result, about = format.write("fmu", model, path, options, rules, build)
  return result, about
end

return { export = fmu, suffix = ".fmu", order = 40, rules = rules }
