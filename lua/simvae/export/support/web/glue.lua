--- The functions of graphs as JavaScript: what simvae.export.support.c writes for C, with its kernels in a WebAssembly
-- module and the loops around their calls in JavaScript.
--
-- The C of these functions has loops, declarations, assignments of expressions and calls of kernels: with declarations,
-- literals and the names of <math.h> replaced it is JavaScript. Arrays lie in one memory. Arguments and the workspace
-- are variables that hold their place in it, in floats; constants are at fixed places.
local glue = {}

local functions = { sqrtf = "Math.sqrt", fabsf = "Math.abs", sinf = "Math.sin", cosf = "Math.cos",
  floorf = "Math.floor", powf = "Math.pow", atan2f = "Math.atan2", exp = "Math.exp", log = "Math.log" }

-- "@@_AT(name, index)" as "name[index]".
local function plain_reads(text)
  return (text:gsub("@@_AT(%b())", function(inner)
    local name, index = inner:match "^%((.-), (.*)%)$"
    return string.format("%s[%s]", name, index)
  end))
end

local function declarations(text)
  text = text:gsub("const float ", "const "):gsub("const double ", "const ")
  for _, kind in ipairs { "float", "double", "size_t" } do
    text = text:gsub("%f[%w_]" .. kind .. " (%a)", "let %1")
  end
  return text
end

-- Places of arrays: constants (name -> byte), and variables.
local function addresses(text, constants, variables)
  local out, at = {}, 1
  while true do
    local first, last = text:find("[%a_@][%w_]*", at)
    if not first then break end
    local word = text:sub(first, last)
    local place = constants[word] and constants[word] // 4 or variables[word] and word
    out[#out + 1] = text:sub(at, first - 1)
    at = last + 1
    if not place then
      out[#out + 1] = functions[word] and text:sub(at, at) == "(" and functions[word] or word
    elseif text:sub(at, at) == "[" then
      out[#out + 1], at = string.format("F[%s + ", place), at + 1
    elseif text:find("^ %+= ", at) then
      out[#out + 1] = word
    else -- a pointer: bytes
      local offset = text:match("^ %+ (%d+)", at)
      at = at + (offset and #offset + 3 or 0)
      out[#out + 1] = constants[word] and tostring(constants[word] + 4 * (offset or 0))
        or string.format("4 * (%s + %s)", place, offset or 0)
    end
  end
  out[#out + 1] = text:sub(at)
  return table.concat(out)
end

-- One line of C.
local function line_of(text, constants, variables)
  text = plain_reads(text):gsub("%((size_t)%)", ""):gsub("%(float%)", ""):gsub("%(double%)", ""):gsub("%(int%)", "")
  text = addresses(declarations(text), constants, variables)
  return (text:gsub("(%d%.?%d*e?[+-]?%d*)f%f[%W]", "%1"):gsub("HUGE_VALF", "Infinity"))
end

--- A function of a graph.
-- @tparam string name
-- @tparam Graph graph
-- @tparam {string,...} lines of C (simvae.export.support.c.source)
-- @tparam {[string]=integer} constants the byte of each array
-- @treturn string a method of an object; its arguments are places, and numbers of rows and draws
function glue.method(name, graph, lines, constants)
  local arguments, variables = { "n" }, { work = true }
  if graph.symbols[2] then arguments[2] = "draws" end
  for _, list in ipairs { graph.inputs, graph.outputs } do
    for _, value in ipairs(list) do
      variables[value.name], arguments[#arguments + 1] = true, value.name
    end
  end
  arguments[#arguments + 1] = "work"
  local out = { string.format("  %s(%s) {", name, table.concat(arguments, ", ")) }
  for i, line in ipairs(lines) do out[i + 1] = line_of(line, constants, variables) end
  out[#out + 1] = "  },"
  return table.concat(out, "\n")
end

--- A function that makes the object of the methods, from the kernels' functions and the memory's floats.
-- @tparam {string,...} methods
-- @tparam {string,...} names of the kernels that they call
-- @tparam string prefix of these
-- @treturn string
function glue.of(methods, names, prefix)
  local list = {}
  for i, name in ipairs(names) do list[i] = prefix .. "_" .. name end
  return (string.format("const makeGraphs = ({ %s }, F) => ({\n%s\n});\n", table.concat(list, ", "),
    table.concat(methods, "\n")):gsub("@", prefix))
end

return glue
