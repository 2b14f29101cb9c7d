--- The XML files of an FMU: modelDescription.xml, and of FMI 3 sources/buildDescription.xml.
local core = require "simvae.core"
local interface = require "simvae.export.support.fmu.interface"
local units = require "simvae.export.support.fmu.units"

local description = {}

-- ---- XML ---------------------------------------------------------------------------------------------

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text) return (tostring(text):gsub("%c", " "):gsub('[&<>"]', entities)) end

local function number(v)
  return math.type(v) == "integer" and tostring(v) or string.format("%.17g", v):gsub(",", ".")
end

-- An element with attributes { name, value, name, value, … }, of which those without a value are left out.
local function element(lines, depth, name, attributes, children)
  local parts = { ("  "):rep(depth) .. "<" .. name }
  for i = 1, attributes.n or #attributes, 2 do
    local v = attributes[i + 1]
    if v ~= nil then
      parts[#parts + 1] = string.format('%s="%s"', attributes[i], escape(type(v) == "number" and number(v) or v))
    end
  end
  local start = table.concat(parts, " ")
  if not children then
    lines[#lines + 1] = start .. "/>"
    return
  end
  lines[#lines + 1] = start .. ">"
  children(depth + 1)
  lines[#lines + 1] = ("  "):rep(depth) .. "</" .. name .. ">"
end

local function attributes(...) return { n = select("#", ...), ... } end

-- ---- parts -------------------------------------------------------------------------------------------

local function unit_definitions(lines, t)
  local seen, list = {}, {}
  local function add(unit)
    if unit and not seen[unit] then
      seen[unit], list[#list + 1] = true, unit
    end
  end
  add(t.time.unit)
  for _, v in ipairs(t.inputs) do add(v.unit) end
  for _, v in ipairs(t.outputs) do add(v.unit) end
  if #list == 0 then return end
  element(lines, 1, "UnitDefinitions", {}, function(depth)
    for _, name in ipairs(list) do
      local unit = units.of(name)
      element(lines, depth, "Unit", { "name", name }, unit and function(inner)
        local own = {}
        for _, base in ipairs(units.base) do
          local n = unit.base[base]
          if n and n ~= 0 then own[#own + 1], own[#own + 2] = base, string.format("%d", n) end
        end
        if unit.factor ~= 1 then own[#own + 1], own[#own + 2] = "factor", unit.factor end
        if unit.offset then own[#own + 1], own[#own + 2] = "offset", unit.offset end
        element(lines, inner, "BaseUnit", own)
      end or nil)
    end
  end)
end

local function is_structured(t)
  local function ok(name) return name:find "^[%a_][%w_]*$" end
  for _, list in ipairs { t.inputs, t.outputs, { t.time } } do
    for _, v in ipairs(list) do
      if not ok(v.name) then return false end
    end
  end
  return true
end

local function text_of(t)
  return string.format("Emulator of the simulator '%s'%s", t.name, t.text and ": " .. t.text or "")
end

local function experiment(lines, t)
  element(lines, 1, "DefaultExperiment", attributes("startTime", t.time.low, "stopTime", t.time.high, "stepSize",
    t.time.step))
end

-- ---- FMI 3 ---------------------------------------------------------------------------------------------

local function bounds(v)
  return v.integer and string.format("%d", v.low) or v.low, v.integer and string.format("%d", v.high) or v.high,
    v.integer and string.format("%d", v.start) or v.start
end

local function variables_3(lines, depth, t)
  element(lines, depth, "Float64", attributes("name", t.time.name, "valueReference", 0, "causality", "independent",
    "variability", "continuous", "unit", t.time.unit, "description", t.time.text))
  for i, v in ipairs(t.inputs) do
    local low, high, start = bounds(v)
    element(lines, depth, v.integer and "Int32" or "Float64", attributes("name", v.name, "valueReference", i,
      "causality", "input", "variability", v.integer and "discrete" or "continuous", "unit",
      not v.integer and v.unit or nil, "min", low, "max", high, "start", start, "description", v.text))
  end
  for i, v in ipairs(t.outputs) do
    element(lines, depth, "Float64", attributes("name", v.name, "valueReference", #t.inputs + i, "causality", "output",
      "variability", "continuous", "initial", "calculated", "unit", v.unit), #v.shape > 0 and function(inner)
      for _, n in ipairs(v.shape) do element(lines, inner, "Dimension", { "start", n }) end
    end or nil)
  end
end

local function structure_3(lines, depth, t)
  for _, name in ipairs { "Output", "InitialUnknown" } do
    for i in ipairs(t.outputs) do element(lines, depth, name, { "valueReference", #t.inputs + i }) end
  end
end

-- ---- FMI 2 ---------------------------------------------------------------------------------------------

local function scalar(lines, depth, v, type, own)
  element(lines, depth, "ScalarVariable", own, function(inner)
    local low, high, start = bounds(v)
    element(lines, inner, type, attributes("unit", type == "Real" and v.unit or nil, "min", low, "max", high, "start",
      start))
  end)
end

local function variables_2(lines, depth, t)
  scalar(lines, depth, { unit = t.time.unit }, "Real", attributes("name", t.time.name, "valueReference", 0,
    "causality", "independent", "variability", "continuous", "description", t.time.text))
  for i, v in ipairs(t.inputs) do
    scalar(lines, depth, v, v.integer and "Integer" or "Real", attributes("name", v.name, "valueReference", i,
      "causality", "input", "variability", v.integer and "discrete" or "continuous", "description", v.text))
  end
  local reference = #t.inputs
  for _, v in ipairs(t.outputs) do
    for _, name in ipairs(interface.elements(v)) do
      reference = reference + 1
      scalar(lines, depth, { unit = v.unit }, "Real", { "name", name, "valueReference", reference, "causality",
        "output", "variability", "continuous", "initial", "calculated" })
    end
  end
end

local function structure_2(lines, depth, t)
  local count = 0
  for _, v in ipairs(t.outputs) do count = count + #interface.elements(v) end
  for _, name in ipairs { "Outputs", "InitialUnknowns" } do
    element(lines, depth, name, {}, function(inner)
      for i = 1, count do element(lines, inner, "Unknown", { "index", 1 + #t.inputs + i }) end
    end)
  end
end

-- ---- files ---------------------------------------------------------------------------------------------

local function interfaces_2(lines, identifier, derivatives, sources)
  for _, kind in ipairs { "ModelExchange", "CoSimulation" } do
    element(lines, 1, kind, attributes("modelIdentifier", identifier, "canHandleVariableCommunicationStepSize",
      kind == "CoSimulation" and "true" or nil, "providesDirectionalDerivative", derivatives), function(depth)
      element(lines, depth, "SourceFiles", {}, function(inner)
        for _, name in ipairs(sources) do element(lines, inner, "File", { "name", name }) end
      end)
    end)
  end
end

local function interfaces_3(lines, identifier, derivatives)
  for _, kind in ipairs { "ModelExchange", "CoSimulation" } do
    element(lines, 1, kind, attributes("modelIdentifier", identifier, "canHandleVariableCommunicationStepSize",
      kind == "CoSimulation" and "true" or nil, "providesDirectionalDerivatives", derivatives))
  end
end

local HEAD = '<?xml version="1.0" encoding="UTF-8"?>'

--- modelDescription.xml.
-- @tparam table t simvae.export.support.fmu.interface
-- @tparam table o fmi: 2 or 3; identifier; token; derivatives: whether it has directional ones; sources: names of files
-- @treturn string
function description.model(t, o)
  local lines = { HEAD }
  local derivatives = o.derivatives and "true" or "false"
  element(lines, 0, "fmiModelDescription", attributes("fmiVersion", o.fmi .. ".0", "modelName", t.name,
    o.fmi == 3 and "instantiationToken" or "guid", o.token, "description", text_of(t), "generationTool",
    "simvae " .. core.version, "variableNamingConvention", is_structured(t) and "structured" or "flat",
    "numberOfEventIndicators", o.fmi == 2 and 0 or nil), function(depth)
    if o.fmi == 2 then
      interfaces_2(lines, o.identifier, derivatives, o.sources)
    else
      interfaces_3(lines, o.identifier, derivatives)
    end
    unit_definitions(lines, t)
    experiment(lines, t)
    local variables, structure = variables_3, structure_3
    if o.fmi == 2 then variables, structure = variables_2, structure_2 end
    element(lines, depth, "ModelVariables", {}, function(inner) variables(lines, inner, t) end)
    element(lines, depth, "ModelStructure", {}, function(inner) structure(lines, inner, t) end)
  end)
  return table.concat(lines, "\n") .. "\n"
end

--- sources/buildDescription.xml of FMI 3.
-- @tparam string identifier
-- @tparam {string,...} sources names of files
-- @treturn string
function description.build(identifier, sources)
  local lines = { HEAD }
  element(lines, 0, "fmiBuildDescription", { "fmiVersion", "3.0" }, function(depth)
    element(lines, depth, "BuildConfiguration", { "modelIdentifier", identifier }, function(inner)
      element(lines, inner, "SourceFileSet", { "language", "C99" }, function(innermost)
        for _, name in ipairs(sources) do element(lines, innermost, "SourceFile", { "name", name }) end
      end)
      element(lines, inner, "Library", { "name", "m", "external", "true" })
    end)
  end)
  return table.concat(lines, "\n") .. "\n"
end

return description
