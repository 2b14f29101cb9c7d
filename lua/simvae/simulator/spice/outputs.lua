--- Outputs: parsing of their names, and the vectors of ngspice that they need.
local core = require "simvae.core"
local number = require "simvae.simulator.spice.number"

local outputs = {}

local parts = { [""] = "value", db = "db", p = "phase", m = "magnitude", r = "real", i = "imaginary" }
local functions = {
  db = "db", ph = "phase", phase = "phase", mag = "magnitude", magnitude = "magnitude", re = "real", real = "real",
  im = "imaginary", imag = "imaginary",
}
local units = { db = "dB", phase = "rad" }

local known = "for example \"vdb(out)\", \"vp(out)\", \"v(a,b)\", \"i(v1)\", \"@q1[ic]\", \"meas:NAME\""

--- Reads an output.
-- @tparam any text "v(node)", "v(a,b)", "i(source)" with vdb, vp, vm, vr, vi and the same of i; db(v(node)), ph, mag,
--   re, im; "@device[parameter]"; "meas:NAME"; or a vector by its own name
-- @tparam table measurements names of the netlist's .meas cards
-- @treturn ?table or nil, message
function outputs.parse(text, measurements)
  if type(text) ~= "string" then
    return nil, string.format("output is a list such as { \"vdb(out)\", \"vp(out)\" }; got a %s", type(text))
  end
  local clean = number.ascii(number.plain_micro(text):lower():gsub("%s", ""))
  local name = clean:match "^meas:(.+)$"
  if name or measurements[clean] then
    name = name or clean
    if not measurements[name] then
      local list = {}
      for one in pairs(measurements) do list[#list + 1] = one end
      table.sort(list)
      return nil, string.format("output %q: the netlist has no .meas of that name%s", text,
        #list > 0 and "; there are " .. table.concat(list, ", ") or "")
    end
    return { meas = name, text = text }
  end
  if clean:find "^@" then
    if not clean:find "^@[%w_.:#-]+%[[%w_]+%]$" then
      return nil, string.format("output %q is not known; a device's parameter is \"@q1[ic]\"", text)
    end
    return { part = "value", to = clean, save = clean, text = text }
  end
  local f, inside = clean:match "^(%a+)%(([vi]%(.+%))%)$"
  if functions[f] then
    local o, why = outputs.parse(inside, {})
    if not o then return nil, why end
    if o.part ~= "value" then return nil, string.format("output %q takes a part of a part", text) end
    o.part, o.unit, o.text = functions[f], units[functions[f]] or o.unit, text
    return o
  end
  local letter, part, nodes = clean:match "^([vi])(%a*)%((.+)%)$"
  if not letter then
    if clean == "" or clean:find "[()]" and not clean:find "^[^()]+%([^()]*%)[^()]*$" or clean:find "^%a+%(" then
      return nil, string.format("output %q is not known; %s", text, known)
    end
    return { part = "value", to = clean, text = text }
  end
  if not parts[part] then
    return nil, string.format("output %q: '%s%s' is not known; there are v, vdb, vp, vm, vr, vi and i, idb, ip, im, "
      .. "ir, ii", text, letter, part)
  end
  local to, from = nodes:match "^([^,]+),([^,]+)$"
  to = to or nodes
  if to:find "," or letter == "i" and from or to:gsub("%b()", ""):find "[()]" then
    return nil, string.format("output %q takes one node or two, of i one source; %s", text, known)
  end
  return { part = parts[part], letter = letter, to = to, from = from, text = text,
    unit = units[parts[part]] or (letter == "v" and "V" or "A") }
end

local function ground(name)
  return name == "0" or name == "gnd"
end

local function bare(name)
  return (name:gsub("[()]", ""))
end

-- A node's or a branch's vector. ngspice names node 1 V(1), and drops the last parenthesis of Net-(C1-Pad1).
local function vector_of(name, letter, names)
  local wanted = letter == "i" and { name .. "#branch" } or { name, "v(" .. name .. ")" }
  for _, want in ipairs(wanted) do
    for _, have in ipairs(names) do
      if have:lower() == want then return have end
    end
  end
  local found
  for _, have in ipairs(names) do
    if bare(have:lower()) == bare(wanted[1]) then
      if found then return nil end
      found = have
    end
  end
  return found
end

local function missing(o, name, names)
  local list = {}
  for i, have in ipairs(names) do list[i] = have end
  table.sort(list)
  local hint = o.letter == "i" and "; only voltage sources and inductors have a current of their own, others "
    .. "@NAME[i], as in \"@r1[i]\"" or ""
  local there = table.concat(list, ", ")
  if o.text:find "[\128-\255]" then name, there = number.from_ascii(name), number.from_ascii(there) end
  return string.format("ngspice has no vector '%s'; those there are: %s%s", name, there, hint)
end

--- Finds an output's vectors among those of the analysis that was run.
-- @tparam table o of outputs.parse
-- @tparam {string,…} names of core.spice.vectors
-- @treturn ?{to=, from=} vectors; either may be nil, for ground; or nil, message
function outputs.resolve(o, names)
  local found = {}
  for _, side in ipairs { "to", "from" } do
    local name = o[side]
    if name and not (o.letter == "v" and ground(name)) then
      found[side] = vector_of(name, o.letter, names)
      if not found[side] then return nil, missing(o, name, names) end
    end
  end
  if not (found.to or found.from) then return nil, string.format("%s is ground: it is 0 throughout", o.text) end
  local _, _, _, complex = core.spice.extent(found.to or found.from)
  if complex and o.part == "value" and o.to ~= "frequency" then
    return nil, string.format("%s is complex in this analysis: ask for vdb, vp (radians), vm, vr or vi (of a current, "
      .. "idb and so on)", o.text)
  end
  return found
end

--- The simulator's series: each output a curve over the analysis' axis.
-- @tparam {table,…} list of outputs.parse
-- @tparam table axis name, unit, scale, low, high
-- @treturn ?table nil where there is no axis, or an output is a single number
function outputs.series(list, axis)
  if not axis then return nil end
  local series = { axis = axis }
  for i, o in ipairs(list) do
    if o.meas then return nil end
    series[i] = { name = o.text, unit = o.unit or "" }
  end
  return series
end

return outputs
