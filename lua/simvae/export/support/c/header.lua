--- The header of exported C: documentation, sizes and prototypes.
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local plan = require "simvae.export.support.c.plan"

local header = {}

-- Text within a comment.
local function plain(text) return (text:gsub("%*/", "* /"):gsub("[\r\n]", " ")) end

local function has_draws(value)
  for _, d in ipairs(value.shape) do
    if dim.is(d) and d.symbols.draws then return true end
  end
  return false
end

local WIDTH = 120

-- A function's declaration, in lines of at most WIDTH columns, from what stands before its arguments.
local function declaration(start, graph, t, restrict)
  local list = { "size_t n" }
  if graph.symbols[2] then list[2] = "size_t draws" end
  for _, input in ipairs(graph.inputs) do list[#list + 1] = "const float *" .. restrict .. input.name end
  for _, output in ipairs(graph.outputs) do list[#list + 1] = "float *" .. restrict .. output.name end
  if not t.static then list[#list + 1] = "float *" .. restrict .. "work" end
  local lines, line = {}, start
  for i, argument in ipairs(list) do
    local text = argument .. (i < #list and "," or ")")
    if #line + #text + 3 > WIDTH then
      lines[#lines + 1] = line:gsub(" $", "")
      line = (" "):rep(#start)
    end
    line = line .. text .. (i < #list and " " or "")
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

--- The head of a function's definition.
-- @tparam Graph graph
-- @tparam table t of simvae.export.support.c.source
-- @tparam ?string start before its arguments; default: "void ", its name and "("
-- @treturn string
function header.definition(graph, t, start)
  return declaration(start or string.format("void %s_%s(", t.prefix, graph.name), graph, t, "restrict ")
end

--- A call with the arguments of a definition.
-- @tparam string name of the function that is called
-- @tparam Graph graph
-- @tparam table t as of header.definition
-- @treturn string
function header.call(name, graph, t)
  local list = { "n" }
  if graph.symbols[2] then list[2] = "draws" end
  for _, values in ipairs { graph.inputs, graph.outputs } do
    for _, value in ipairs(values) do list[#list + 1] = value.name end
  end
  if not t.static then list[#list + 1] = "work" end
  return string.format("%s(%s);", name, table.concat(list, ", "))
end

local function bounds(label)
  if label.levels then return string.format("class, from 1 to %d", label.levels) end
  local low, high = label.low, label.high
  local text = low > -math.huge and high < math.huge and string.format("%.9g to %.9g", low, high)
    or low > -math.huge and string.format("from %.9g", low) or high < math.huge and string.format("to %.9g", high)
    or "any number"
  if label.period then text = text .. string.format(", period %.9g", label.period) end
  return text .. (label.scale == "log" and ", logarithmic" or "")
end

local function shape_text(value)
  local list = { "n" }
  for i = 2, #value.shape do
    list[i] = dim.is(value.shape[i]) and "draws" or tostring(value.shape[i])
  end
  return #list == 1 and "(n)" or "(" .. table.concat(list, ", ") .. ")"
end

local function values_text(lines, list, errors)
  for k, value in ipairs(list) do
    local range = value.low and string.format(", from %.9g to %.9g", value.low, value.high) or ""
    lines[#lines + 1] = string.format(" *   %-9s %s: %s%s", value.name, shape_text(value), plain(value.text), range)
    for i, label in ipairs(value.labels or {}) do
      local unit = label.unit ~= "" and string.format(" [%s]", plain(label.unit)) or ""
      lines[#lines + 1] = string.format(" *     %d. %s%s: %s", i - 1, plain(label.name), unit, bounds(label))
    end
    if errors then
      lines[#lines + 1] = string.format(" *     error of int8 weights: at most %.3g over 64 typical inputs, "
        .. "%.3g of the largest number", errors[k].largest, errors[k].share)
    end
  end
end

local function function_text(f, errors, t)
  local graph = f.graph
  local lines = { "/* " .. plain(graph.text), " *" }
  values_text(lines, graph.inputs)
  lines[#lines + 1] = " * Results, which must not overlap anything else:"
  values_text(lines, graph.outputs, errors)
  if not t.static then
    lines[#lines + 1] = string.format(" *   %-9s %d floats of working memory, whose content does not matter", "work",
      f.workspace)
  end
  lines[#lines + 1] = " */"
  local upper = f.name:upper()
  for _, list in ipairs { graph.inputs, graph.outputs } do
    for _, value in ipairs(list) do
      lines[#lines + 1] = string.format("#define %s_%s %d /* numbers of a %s */", upper, value.name:upper(),
        plan.count(value), has_draws(value) and "draw" or "row")
    end
  end
  lines[#lines + 1] = string.format("#define %s_WORK %d /* floats */", upper, f.workspace)
  lines[#lines + 1] = declaration("void " .. f.name .. "(", graph, t, "") .. ";"
  return table.concat(lines, "\n") .. "\n"
end

local TOP = [[
/* $FILE.h: a model of the simulator '$NAME', exported by simvae $VERSION.
 *
 * All numbers are floats, one row after the other; the functions take n rows at once. They allocate and print nothing,
$STATE * Link with the mathematical functions of C (-lm). With gcc -O3, or clang -O2, the loops are vectorised;
 * -march=native makes them about twice as fast.
 *
 * Memory: $CONSTANTS bytes of constants$KIND, $WORKSPACE bytes of working memory.$ABOUT */
#ifndef $UPPER_H
#define $UPPER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

]]

local STATE = {
  caller = " * keep nothing between calls. Several threads can call them, each with working memory of its own.\n",
  own = " * and use working memory of their own: one thread can call them at a time.\n",
}

local END = [[
#ifdef __cplusplus
}
#endif

#endif
]]

--- The text of a header.
-- @tparam {table,...} functions name, graph, workspace
-- @tparam table result constants, workspace, errors
-- @tparam table t as of source.of, and name, of the simulator
function header.of(functions, result, t)
  local parts, about = {}, ""
  for _, line in ipairs(t.about or {}) do about = about .. "\n *\n * " .. plain(line) end
  local upper = t.prefix:upper()
  parts[1] = TOP:gsub("%$(%u+)", { FILE = t.file, NAME = plain(t.name), VERSION = core.version,
    STATE = t.static and STATE.own or STATE.caller, CONSTANTS = result.constants,
    KIND = t.int8 and " (int8 weights)" or "", WORKSPACE = result.workspace, ABOUT = about,
    UPPER = upper })
  for i, f in ipairs(functions) do parts[#parts + 1] = function_text(f, result.errors and result.errors[i], t) end
  parts[#parts + 1] = END
  return table.concat(parts, "\n"):gsub("\n\n\n", "\n\n")
end

return header
