--- A C99 file and its header from graphs.
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local emitter = require "simvae.export.support.c.emitter"
local graph_module = require "simvae.export.support.graph"
local header = require "simvae.export.support.c.header"
local kernels = require "simvae.export.support.c.kernels"
local loops = require "simvae.export.support.c.loops"
local ops = require "simvae.export.support.c.ops"
local plan = require "simvae.export.support.c.plan"

local source = {}

local WIDTH = 120

--- An identifier of C from a name.
-- @tparam string name
-- @treturn string
function source.identifier(name)
  local word = name:gsub("[^%w_]", "_"):gsub("^(%d)", "m%1")
  return word:find "%a" and word or "model" .. word
end

-- ---- constants -----------------------------------------------------------------------------------------

-- Whole numbers as lines of at most WIDTH columns.
local function integer_lines(numbers)
  local lines, line = {}, "   "
  for i, v in ipairs(numbers) do
    local text = string.format(" %d%s", v, i < #numbers and "," or "")
    if #line + #text > WIDTH then
      lines[#lines + 1] = line
      line = "   "
    end
    line = line .. text
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

local function array_text(one)
  local lines = one.type == "float" and core.number.float_lines(one.numbers, WIDTH) or integer_lines(one.numbers)
  return string.format("static const %s %s[%d]%s = {\n%s\n};\n", one.type, one.name, #one.numbers,
    one.flash and " @@_FLASH" or "", lines)
end

local sizes_of = { float = 4, ["int8_t"] = 1, ["unsigned char"] = 1 }

local function constant_bytes(out)
  local bytes = 0
  for _, one in ipairs(out.arrays) do bytes = bytes + #one.numbers * sizes_of[one.type] end
  return bytes
end

-- ---- functions -----------------------------------------------------------------------------------------

local function has_draws(value)
  for _, d in ipairs(value.shape) do
    if dim.is(d) and d.symbols.draws then return true end
  end
  return false
end

-- Lines of the steps of a stage, and copies of the outputs that no step writes.
local function stage_lines(out, stage, indent)
  local lines, body = {}, out.plan
  local function add(list)
    for _, line in ipairs(list) do lines[#lines + 1] = indent .. line end
  end
  for _, step in ipairs(body.steps) do
    if step.stage == stage then add(ops.of(step.node)(out, step.node, step)) end
  end
  for _, output in ipairs(body.copies) do
    if body.output_stage[output] == stage then
      add(loops.nest({ plan.count(output) }, { string.format("%s[i] = %s;", output.name,
        out:read(output.value, { 1 })) }))
    end
  end
  return lines
end

-- Lines that move the pointers of a stage's arguments to the next row or draw.
local function advance(graph, draws, indent)
  local lines = {}
  for _, list in ipairs { graph.inputs, graph.outputs } do
    for _, value in ipairs(list) do
      if has_draws(value) == draws then
        lines[#lines + 1] = string.format("%s%s += %d;", indent, value.name, plan.count(value))
      end
    end
  end
  return lines
end

--- The lines of a function: for each of n rows, and each of `draws` draws of a row.
-- @tparam table out the emitter
-- @tparam Graph graph
-- @treturn {string,...} out.plan.size is then the floats of its workspace
function source.body(out, graph)
  out:start(plan.of(graph, ops.scratch_of))
  local lines, several = {}, graph.symbols[2] ~= nil
  local function add(list) table.move(list, 1, #list, #lines + 1, lines) end
  lines[1] = "    for (size_t row = 0; row < n; row++) {"
  add(stage_lines(out, 0, "        "))
  if several then
    lines[#lines + 1] = "        for (size_t draw = 0; draw < draws; draw++) {"
    add(stage_lines(out, 1, "            "))
    add(advance(graph, true, "            "))
    lines[#lines + 1] = "        }"
  end
  add(advance(graph, false, "        "))
  lines[#lines + 1] = "    }"
  return lines
end

-- ---- the file -----------------------------------------------------------------------------------------

local HEAD = [[
/* $FILE.c: see $FILE.h. */
#include "$FILE.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Constants: in the flash memory of AVR controllers, elsewhere plain arrays. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define @@_FLASH PROGMEM
static inline float @_f(const float *p) { return pgm_read_float(p); }
$BYTES#define @@_AT(array, i) $AVR
#else
#define @@_FLASH
#define @@_AT(array, i) (array)[i]
#endif

/* Vectors of floats, which GCC and clang have beyond C99: numbers of one. */
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 5)
#if defined(__AVX__)
#define @@_LANES 8
#elif defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__)
#define @@_LANES 4
#endif
/* Functions for processors with AVX2, which is asked for when the program runs; -D@@_PORTABLE leaves them out. */
#if defined(__x86_64__) && !defined(__AVX2__) && !defined(_WIN32) && !defined(@@_PORTABLE)
#define @@_AVX2 __attribute__((target("avx2")))
#endif
#endif
]]

local AVR_BYTES = "static inline int8_t @_b(const int8_t *p) { return (int8_t)pgm_read_byte(p); }\n"
local AVR_AT = "(sizeof *(array) == 1 ? (float)@_b((const int8_t *)(const void *)((array) + (i))) \\\n"
  .. "    : @_f((const float *)(const void *)((array) + (i))))"

-- Kernels, each behind those that it needs.
local function kernel_texts(out)
  local texts, done = {}, {}
  local function add(name)
    if done[name] then return end
    done[name] = true
    for _, other in ipairs(kernels[name].needs or {}) do add(other) end
    texts[#texts + 1] = kernels[name].text
  end
  for _, name in ipairs(out.kernels) do add(name) end
  return texts
end

-- Functions for processors with AVX2: the same ones once more, of other names and with longer vectors. The sums are in
-- the same order, without fused multiplications and additions, so that numbers do not depend on the processor.
local function for_avx2(text)
  text = text:gsub("#ifdef @@_LANES\n(.-)#else\n.-#endif\n", "%1"):gsub("@@_LANES", "8")
  text = text:gsub("(@+)(_[%l][%w_]*)%(", function(mark, name) return mark == "@" and "@" .. name .. "_avx2(" end)
  return (("\n" .. text):gsub("\nstatic ", "\n@@_AVX2 static "):sub(2))
end

-- The lines of a function's start: the workspace, where it is no argument or is not needed.
local function workspace_lines(t, size)
  if t.static then return { size > 0 and "    float *const work = @_work;" or nil } end
  return { size == 0 and "    (void)work;" or nil }
end

-- The functions of graphs, with those for AVX2 before them.
local function function_texts(functions, bodies, kernel_list, t)
  local wide, plain = { "#ifdef @@_AVX2" }, {}
  for _, text in ipairs(kernel_list) do wide[#wide + 1] = for_avx2(text) end
  for g, f in ipairs(functions) do
    local name = f.name .. "_avx2"
    local body = table.concat(bodies[g], "\n")
    local start = table.concat(workspace_lines(t, f.workspace), "\n")
    wide[#wide + 1] = string.format("%s {\n%s%s\n}\n",
      header.definition(f.graph, t, "@@_AVX2 static void " .. name .. "("), start ~= "" and start .. "\n" or "",
      for_avx2(body))
    plain[g] = string.format("%s {\n#ifdef @@_AVX2\n    if (__builtin_cpu_supports(\"avx2\")) {\n        %s\n        "
      .. "return;\n    }\n#endif\n%s%s\n}\n", header.definition(f.graph, t), header.call(name, f.graph, t),
      start ~= "" and start .. "\n" or "", body)
  end
  wide[#wide + 1] = "#endif\n"
  return table.move(plain, 1, #plain, #wide + 1, wide)
end

-- The largest errors that bytes in place of weights make, over typical inputs: for each output absolute, and as a share
-- of its largest number.
local function measure(out, graphs)
  local errors = {}
  for g, graph in ipairs(graphs) do
    local scope <close> = core.scope()
    local given = {}
    for k, input in ipairs(graph.inputs) do given[k] = input.make({ batch = 64, draws = 4 }, 200) end
    local exact = graph:run(given)
    local rounded = graph:run(given, function(value) return out.quantised[value] and out.quantised[value].weights end)
    errors[g] = {}
    for k in ipairs(graph.outputs) do
      local largest, share = 0, graph_module.difference(rounded[k], exact[k])
      for _, v in ipairs(core.reshape(core.abs(rounded[k] - exact[k]), -1):totable()) do
        if v == v and v < math.huge then largest = math.max(largest, v) end
      end
      errors[g][k] = { largest = largest, share = share }
    end
  end
  return errors
end

--- The texts of a file and its header.
-- @tparam {Graph,...} graphs
-- @tparam table t file: name of both without suffix; prefix; int8; static: the workspace is a static array; about:
-- lines for the header's comment
-- @treturn table source, header: texts; constants: bytes; workspace: bytes, the most that a function takes; functions:
-- { name, workspace = floats }, …; errors of int8: for each function and output { largest, share }
function source.of(graphs, t)
  local out, functions, bodies, most = emitter.new(t.int8), {}, {}, 0
  for g, graph in ipairs(graphs) do
    functions[g] = { name = t.prefix .. "_" .. graph.name, graph = graph }
    bodies[g] = source.body(out, graph)
    functions[g].workspace = out.plan.size
    most = math.max(most, out.plan.size)
  end
  local errors = t.int8 and measure(out, graphs)
  local upper = t.prefix:upper()
  local parts = { (HEAD:gsub("%$FILE", t.file):gsub("%$(%u+)", { BYTES = t.int8 and AVR_BYTES or "",
    AVR = t.int8 and AVR_AT or "@_f((array) + (i))" })) }
  if out.bins then parts[#parts + 1] = string.format("enum { @@_BINS = %d };\n", out.bins) end
  for _, one in ipairs(out.arrays) do parts[#parts + 1] = array_text(one) end
  local kernel_list = kernel_texts(out)
  table.move(kernel_list, 1, #kernel_list, #parts + 1, parts)
  if t.static and most > 0 then parts[#parts + 1] = string.format("static float @_work[%d];\n", most) end
  local texts = function_texts(functions, bodies, kernel_list, t)
  table.move(texts, 1, #texts, #parts + 1, parts)
  local text = table.concat(parts, "\n"):gsub("@@", upper):gsub("@", t.prefix)
  local result = { source = text, constants = constant_bytes(out), workspace = most * 4, functions = functions,
    errors = errors }
  result.header = header.of(functions, result, t)
  return result
end

return source
