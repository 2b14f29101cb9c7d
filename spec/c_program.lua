--- Exported C as a program, for the specs: compiled with a main of its own, which reads the inputs of a function from
-- standard input and writes its outputs.
local core = require "simvae.core"
local dim = require "simvae.export.support.dim"
local helper = require "spec.helper"
local plan = require "simvae.export.support.c.plan"

local STRICT = "-std=c99 -Wall -Wextra -Wpedantic -Werror -Wshadow"

local program = {}

local function in_draws(value)
  for _, d in ipairs(value.shape) do
    if dim.is(d) and d.symbols.draws then return true end
  end
  return false
end

-- The number of a value's numbers, as C.
local function count_text(prefix, value)
  return string.format("(size_t)%s_%s * n%s", prefix, value.name:upper(), in_draws(value) and " * draws" or "")
end

-- A call of one function, as a block of main.
local function call_text(name, graph, static)
  local lines, arguments, upper = {}, { "n" }, name:upper()
  if graph.symbols[2] then arguments[2] = "draws" end
  for _, input in ipairs(graph.inputs) do
    lines[#lines + 1] = string.format("float *%s = take(%s);", input.name, count_text(upper, input))
    arguments[#arguments + 1] = input.name
  end
  for _, output in ipairs(graph.outputs) do
    lines[#lines + 1] = string.format("float *to_%s = room(%s);", output.name, count_text(upper, output))
    arguments[#arguments + 1] = "to_" .. output.name
  end
  if not static then
    lines[#lines + 1] = string.format("float *work = room(%s_WORK);", upper)
    arguments[#arguments + 1] = "work"
  end
  lines[#lines + 1] = string.format("%s(%s);", name, table.concat(arguments, ", "))
  for _, output in ipairs(graph.outputs) do
    lines[#lines + 1] = string.format("fwrite(to_%s, sizeof(float), %s, stdout);", output.name,
      count_text(upper, output))
  end
  return string.format("if (!strcmp(argv[1], \"%s\")) {\n%s\nreturn 0;\n}\n", graph.name, table.concat(lines, "\n"))
end

local MAIN = [[
#include "%s"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static float *room(size_t n) { float *p = malloc(n * sizeof *p + 1); memset(p, 255, n * sizeof *p); return p; }
static float *take(size_t n) { float *p = room(n); if (fread(p, sizeof *p, n, stdin) != n) exit(3); return p; }
int main(int argc, char **argv) {
size_t n = strtoul(argv[2], NULL, 10), draws = strtoul(argv[3], NULL, 10);
(void)argc; (void)draws;
%sreturn 2; }
]]

--- Compiles an exported file, strictly, and its main.
-- @tparam string path of the .c file
-- @tparam table about what sv.export.c returned
-- @tparam {Graph,...} graphs in the order of about.functions
-- @tparam ?table t compiler ("gcc"), flags ("-O0 -fsanitize=address,undefined …"), static
-- @treturn string the program
function program.make(path, about, graphs, t)
  t = t or {}
  local compiler = t.compiler or "gcc"
  local flags = t.flags or "-O0 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
  local base, calls = path:sub(1, -3), {}
  for i, graph in ipairs(graphs) do calls[i] = call_text(about.functions[i], graph, t.static) end
  helper.write(base .. "_main.c", string.format(MAIN, about.header:match "[^/]+$", table.concat(calls)))
  local out, code = helper.run(string.format("%s %s %s -c %s -o %s.o && %s -std=c99 %s %s_main.c %s.o -o %s.exe -lm",
    compiler, STRICT, flags, path, base, compiler, flags, base, base, base))
  assert(code == 0, out)
  return base .. ".exe"
end

--- Runs a function.
-- @tparam string exe of `make`
-- @tparam Graph graph
-- @tparam {tensor,...} given of its inputs
-- @treturn {tensor,...} its outputs
function program.run(exe, graph, given)
  local sizes, bytes = graph:sizes(given), {}
  for _, t in ipairs(given) do
    for _, v in ipairs(core.reshape(t, -1):totable()) do bytes[#bytes + 1] = string.pack("f", v) end
  end
  helper.write(exe .. ".in", table.concat(bytes))
  local out, code = helper.run(string.format("ASAN_OPTIONS=detect_leaks=0 %s %s %d %d < %s.in > %s.out", exe,
    graph.name, sizes.batch, sizes.draws or 1, exe, exe))
  assert(code == 0, out)
  local raw, at, outputs = helper.read(exe .. ".out"), 1, {}
  for k, output in ipairs(graph.outputs) do
    local numbers = {}
    for i = 1, plan.count(output) * sizes.batch * (in_draws(output) and sizes.draws or 1) do
      numbers[i], at = string.unpack("f", raw, at)
    end
    outputs[k] = core.tensor(numbers)
  end
  assert(at == #raw + 1)
  return outputs
end

return program
