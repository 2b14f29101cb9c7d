--- Uses of the parameters in a netlist, and passing their values to ngspice.
--
-- Each sampled parameter becomes a .param card at the end of the netlist's top level. ngspice uses the last one of a
-- name, so that it overrides those of the netlist and its included files, while a subcircuit's own parameter of the
-- same name is unchanged. ngspice evaluates {NAME}, 'NAME' and expressions.
local core = require "simvae.core"
local number = require "simvae.simulator.spice.number"

local parameters = {}

-- Reserved names of ngspice's expressions: parameters with these names are renamed.
local reserved = {}
for name in ([[sqr sqrt sin cos exp ln arctan abs pow pwr max min int log log10 sinh cosh tanh tan ternary_fcn v agauss
  gauss unif aunif limit sgn ceil floor asin acos atan asinh acosh atanh nint ac dc pulse sine pwl sffm am trnoise
  trrandom distof1 distof2 if and or not]]):gmatch "%S+" do
  reserved[name] = true
end

local word = "[%w_.\128-\255]+"

--- The parameters by their names as ngspice sees them: in lower case, u for micro signs.
-- @treturn ?table list: { { name =, lower =, given = the .param's name, used = }, … }, by_name; or nil, message
function parameters.index(params)
  local index = { list = {}, by_name = {} }
  for i, p in ipairs(params) do
    if type(p) ~= "table" or type(p.name) ~= "string" then return nil, string.format("params[%d] needs a name", i) end
    local lower = number.plain_micro(p.name):lower()
    local other = index.by_name[lower]
    if other then
      return nil, string.format("parameters '%s' and '%s' are the same to SPICE, which ignores case", other.name,
        p.name)
    end
    local plain = lower:find "^[%a_][%w_]*$" and not reserved[lower]
    local one = { name = p.name, lower = lower, given = plain and lower or "sv_param_" .. i, used = false }
    index.list[i], index.by_name[lower] = one, one
  end
  return index
end

-- ---- scopes ----------------------------------------------------------------------------

-- Names on the left of "=" in a text.
local function defined_in(text, into)
  for name in text:gsub("%b{}", ""):gsub("'[^']*'", ""):lower():gmatch "([%a_][%w_]*)%s*=" do into[name] = true end
end

-- Definitions of each subcircuit, by the index of its .subckt card, and of the top level.
local function scopes_of(list)
  local scopes, open, top = {}, {}, {}
  for k, line in ipairs(list) do
    local lower = line:lower()
    if lower:find "^%.subckt" or lower:find "^%.macro" then
      local scope = setmetatable({}, { __index = open[#open] and scopes[open[#open]] })
      defined_in(line, scope)
      scopes[k] = scope
      open[#open + 1] = k
    elseif lower:find "^%.ends" or lower:find "^%.eom" then
      open[#open] = nil
    elseif lower:find "^%.param" then
      defined_in(line, open[#open] and scopes[open[#open]] or top)
    end
  end
  return scopes, top
end

-- Names of a .func card's arguments.
local function arguments_of(line)
  local names = {}
  local list = line:match "^%.%a+%s+[%w_]+%s*(%b())"
  for name in (list or ""):lower():gmatch(word) do names[name] = true end
  return names
end

-- ---- uses ------------------------------------------------------------------------------

-- Texts of a card in which ngspice takes a word for a parameter, apart from {…} and '…'.
local function bare_texts(line)
  local text = line:gsub("%b{}", " "):gsub("'[^']*'", " ")
  local lower = text:lower()
  local letter = lower:sub(1, 1)
  if letter == "b" or lower:find "^%.param" or lower:find "^%.func" or lower:find "^%.if" or lower:find "^%.elseif" then
    return { (text:gsub("^%S+", ""):gsub("[%w_]+%s*=", " ")) }
  end
  local found = {}
  for value in text:gmatch "=%s*([^%s=,()]+)" do found[#found + 1] = value end
  local first = letter:find "[rclvi]" and 4 or letter:find "[eg]" and 6 or letter:find "[fh]" and 5
  if first then
    local i = 0
    for w in text:gsub("[%w_]+%s*=%s*%S+", " "):gmatch "%S+" do
      i = i + 1
      if i >= first then found[#found + 1] = w end
    end
  end
  return found
end

-- Calls f(parameter) for every use of one in a card.
local function each_use(line, index, hidden, f)
  local function look(text)
    local whole = index.by_name[text:lower():match "^%s*(.-)%s*$"]
    if whole and not hidden[whole.lower] then return f(whole) end
    for w in text:lower():gmatch(word) do
      local one = index.by_name[w]
      if one and not hidden[w] then f(one) end
    end
  end
  for inside in line:gmatch "%b{}" do look(inside:sub(2, -2)) end
  for inside in line:gmatch "'([^']*)'" do look(inside) end
  for _, text in ipairs(bare_texts(line)) do look(text) end
end

-- Writes the names that ngspice would not take as it is given them.
local function rename(line, index, hidden)
  local function inside(text)
    local whole = index.by_name[text:lower():match "^%s*(.-)%s*$"]
    if whole and not hidden[whole.lower] then return whole.given end
    return (text:gsub("(" .. word .. ")(%s*%(?)", function(w, after)
      local one = index.by_name[w:lower()]
      if one and not hidden[one.lower] and not after:find "%(" then return one.given .. after end
    end))
  end
  line = line:gsub("%b{}", function(t) return "{" .. inside(t:sub(2, -2)) .. "}" end)
  line = line:gsub("'([^']*)'", function(t) return "'" .. inside(t) .. "'" end)
  if line:lower():find "^%.param" then
    line = line:gsub("(" .. word .. ")(%s*=)", function(w, after)
      local one = index.by_name[w:lower()]
      return one and not hidden[one.lower] and one.given .. after or nil
    end)
  end
  return line
end

-- What ngspice takes no expression for, written as one: "{R}k" as {(R)*1k}, "-{V}" as {-(V)}, the bare area of a
-- diode or a bipolar transistor, "D1 a 0 dm {A}", as area={A}, and "R1 a b {R} model" as model
-- r={R}. nil, message: "1{R}", and "1,5k" in an element's place of a value, which are two numbers to ngspice.
local function whole_values(line)
  local letter = line:sub(1, 1):lower()
  local formula = letter == "b" or letter:find "[eg]" and line:find "=" or line:lower():find "^%.func"
  if letter:find "[rcl]" and line:find "^%S+%s+%S+%s+%S+%s+[^%s(]*%d,%d" then
    return nil, "a comma, which is a blank to ngspice, stands in a number; the decimal sign is a point: " .. line
  end
  if formula or not line:find("{", 1, true) then return line end
  local one = line:match "[%s=(,]([%d.][%w.]*%b{})"
  if one then return nil, one .. " is no number: write one expression in braces: " .. line end
  local quotes = {}
  line = line:gsub("'[^']*'", function(t)
    quotes[#quotes + 1] = t
    return "'" .. #quotes .. "'"
  end)
  line = line:gsub("([%s=(,])(-?)(%b{})(%a*)%f[%s),\0]", function(before, sign, inside, suffix)
    if sign .. suffix == "" then return nil end
    return before .. "{" .. sign .. "(" .. inside:sub(2, -2) .. ")" .. (suffix ~= "" and "*1" .. suffix or "") .. "}"
  end)
  if letter:find "[rcl]" then
    line = line:gsub("^(%S+%s+%S+%s+%S+%s+)(%b{})%s+([%a_][%w_]*)%f[%s\0]", "%1%3 " .. letter .. "=%2")
  end
  if letter == "q" or letter == "d" then line = line:gsub("^(%S+%s.-[^=%s]%s+)(%b{})", "%1area=%2", 1) end
  return (line:gsub("'(%d+)'", function(k) return quotes[tonumber(k)] end))
end

-- The element of "R1 a b {NAME}" whose value can be altered in place, and the parameter.
local function alterable(line, index)
  local element, value = line:match "^([RLCrlc][%w_]*)%s+%S+%s+%S+%s+(%S+)$"
  local name = value and (value:match "^{%s*(.-)%s*}$" or value:match "^'%s*(.-)%s*'$")
  local one = name and index.by_name[name:lower()]
  if one then return element:lower(), one end
end

-- A placeholder {NAME} that nothing defines.
local function unknown_in(line, index, defined, top)
  for inside in line:gmatch "%b{}" do
    local name = inside:match "^{%s*([%a_][%w_]*)%s*}$"
    local lower = name and name:lower()
    if name and not index.by_name[lower] and not defined[lower] and not top[lower] then return name end
  end
end

local function missing_placeholder(line, name, index)
  local names = {}
  for i, one in ipairs(index.list) do names[i] = one.name end
  local near = core.nearest(name, names)
  return string.format("the netlist's placeholder {%s} has no parameter%s: %s", name,
    near and string.format("; did you mean {%s}", near) or "", line)
end

-- Inductors that a K card couples: ngspice computes their mutual inductance when it reads the netlist.
local function coupled_in(list)
  local coupled = {}
  for _, line in ipairs(list) do
    if line:find "^[Kk]" then
      for w in line:lower():gmatch "%S+" do coupled[w] = true end
    end
  end
  return coupled
end

-- The error for a parameter that the netlist does not use, else nil.
local function unused(index, top)
  for _, one in ipairs(index.list) do
    if not one.used then
      return string.format("parameter '%s' has no place in the netlist: {%s}%s", one.name, one.name,
        top[one.lower] and "; it has the .param, but nothing that uses it" or ", or .param " .. one.name .. "=…")
    end
  end
end

--- Finds the uses of the parameters in a netlist.
-- @tparam {string,…} list cards; included: some come from files, whose unknown names are left to ngspice
-- @tparam table index of parameters.index
-- @tparam table analysis of analysis.parse; its expressions are uses
-- @treturn ?table list: the cards for ngspice, with such an analysis; alter: { { element, i }, … } where altering the
--   values of elements in place is all that it takes, else nil; or nil, message
function parameters.place(list, index, analysis)
  local scopes, top = scopes_of(list)
  local coupled, result, alter, open, where = coupled_in(list), {}, {}, {}, {}
  local in_place = not analysis.in_deck
  for i, one in ipairs(index.list) do where[one] = i end
  local function used(one) one.used = true end
  for k, line in ipairs(list) do
    local lower = line:lower()
    if lower:find "^%.probe" then in_place = false end -- ngspice puts sources in series with elements
    if scopes[k] then open[#open + 1] = scopes[k] end
    local hidden = open[#open] or {}
    if lower:find "^%.func" then hidden = setmetatable(arguments_of(line), { __index = hidden }) end
    local why
    line, why = whole_values(line)
    if not line then return nil, why end
    local name = not list.included and unknown_in(line, index, hidden, top)
    if name then return nil, missing_placeholder(line, name, index) end
    local element, one
    if #open == 0 then element, one = alterable(line, index) end
    if element and not coupled[element] then
      used(one)
      alter[#alter + 1] = { element, where[one] }
    else
      each_use(line, index, hidden, function(other)
        used(other)
        in_place = false
      end)
    end
    result[k] = rename(line, index, hidden)
    if lower:find "^%.ends" or lower:find "^%.eom" then open[#open] = nil end
  end
  if analysis.in_deck then
    each_use(analysis.command, index, {}, used)
    result[#result + 1] = rename("." .. analysis.command, index, {})
  end
  local why = unused(index, top)
  if why then return nil, why end
  return { list = result, alter = in_place and alter or nil }
end

--- The .param cards for values.
function parameters.cards(given, values)
  local list = {}
  for i, name in ipairs(given) do list[i] = string.format(".param %s=%.17g", name, values[i]) end
  return list
end

return parameters
