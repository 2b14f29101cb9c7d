--- The C export's kernels as one WebAssembly module, which pages embed: kernels.wasm in this folder, compiled by
-- `make web-kernels` (clang and wasm-ld) from `kernels.source()`. It is in the repository, so that an export needs no
-- compiler. Its last section, "source", has the checksum of the source that it was compiled from.
--
-- The module imports its memory and the functions of <math.h> that WebAssembly has no instructions for; a page gives
-- it those of JavaScript's Math, which are in double precision.
local c_kernels = require "simvae.export.support.c.kernels"
local core = require "simvae.core"

local kernels = {}

kernels.prefix = "sv"
kernels.BINS = 64     -- of a spline, at most: the limit of posteriors
kernels.STACK = 16384 -- bytes

local HEAD = [[
#include <stddef.h>
#include <stdint.h>
#define HUGE_VALF __builtin_huge_valf()
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#define fabs __builtin_fabs
#define sqrt __builtin_sqrt
#define sqrtf __builtin_sqrtf
#define floorf __builtin_floorf
#define SV_AT(array, i) (array)[i]
#define SV_LANES 4
double exp(double), log(double), log1p(double), expm1(double), tanh(double), sin(double), cos(double);
static float expf(float x) { return (float)exp((double)x); }
static float logf(float x) { return (float)log((double)x); }
static float log1pf(float x) { return (float)log1p((double)x); }
static float sinf(float x) { return (float)sin((double)x); }
static float cosf(float x) { return (float)cos((double)x); }

/* Abramowitz and Stegun: erf by the series 7.1.6, whose terms are positive; beyond, erfc by the continued fraction
 * 7.1.14. */
static double erfc(double x) {
    const double size = fabs(x), square = size * size;
    double tail, sum = size, term = size;
    int i;
    if (size < 2.5) {
        for (i = 1; i < 60; i++) sum += term *= 2.0 * square / (2 * i + 1);
        tail = 1.0 - 1.12837916709551257390 * exp(-square) * sum;
    } else {
        term = 0.0;
        for (i = 60; i > 0; i--) term = 0.5 * i / (size + term);
        tail = exp(-square) / (size + term) * 0.56418958354775628695;
    }
    return x < 0.0 ? 2.0 - tail : tail;
}
]]

-- Names of all kernels, in order, of products those of floats.
local function names()
  for _, widths in ipairs { { 8, 4 }, { 4, 16 }, { 4, 8 }, { 4, 4 }, { 1, 32 }, { 1, 16 }, { 1, 8 }, { 1, 4 } } do
    c_kernels.product(widths[1], widths[2], false)
  end
  local list = {}
  for name, kernel in pairs(c_kernels) do
    if type(kernel) == "table" and kernel.text and not name:find "_i8$" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

--- The C source of the module: its functions are those of the kernels, all of them exported.
-- @treturn string
function kernels.source()
  local parts, done = { HEAD, string.format("enum { SV_BINS = %d };\n", kernels.BINS) }, {}
  local function add(name)
    if done[name] then return end
    done[name] = true
    for _, other in ipairs(c_kernels[name].needs or {}) do add(other) end
    parts[#parts + 1] = ("\n" .. c_kernels[name].text):gsub("\nstatic inline ", "\n"):gsub("\nstatic ", "\n")
  end
  for _, name in ipairs(names()) do add(name) end
  return (table.concat(parts):gsub("@@", "SV"):gsub("@", kernels.prefix))
end

local function checksum() return string.format("%08x", core.io.crc32 { kernels.source() }) end

-- A custom section (WebAssembly's core specification, 5.5.3).
local function section(name, content)
  local body = string.char(#name) .. name .. content
  assert(#body < 128)
  return "\0" .. string.char(#body) .. body
end

--- Compiles the module.
-- @tparam string compiler clang
-- @tparam string linker wasm-ld
-- @tparam string path
-- @treturn string|nil path, or nil and a message
function kernels.build(compiler, linker, path)
  local base = os.tmpname()
  local c, object, wasm = base .. ".c", base .. ".o", base .. ".wasm"
  local function clean(...)
    for _, one in ipairs { base, c, object, wasm } do os.remove(one) end
    return ...
  end
  assert(core.io.write(c, { kernels.source() }))
  local commands = {
    string.format("%s --target=wasm32 -std=c11 -O2 -msimd128 -mbulk-memory -ffreestanding -fvisibility=default "
      .. "-fno-math-errno -c %s -o %s", compiler, c, object),
    string.format("%s --no-entry --export-dynamic --allow-undefined --import-memory --stack-first -z stack-size=%d "
      .. "--export=__heap_base --strip-all -O2 %s -o %s", linker, kernels.STACK, object, wasm),
  }
  for _, command in ipairs(commands) do
    if not os.execute(command) then return clean(nil, "failed: " .. command) end
  end
  local file = assert(io.open(wasm, "rb"))
  local bytes = file:read "a"
  file:close()
  local ok, why = core.io.write(path, { bytes, section("source", checksum()) })
  return clean(ok and path, why)
end

--- The path of a file of this folder.
function kernels.beside(name)
  return (assert(package.searchpath("simvae.export.support.web.kernels", package.path)):gsub("[^/]*$", name))
end

--- The module's bytes.
-- @treturn string
-- @treturn boolean whether it was compiled from this source
function kernels.bytes()
  local file = assert(io.open(kernels.beside "kernels.wasm", "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes, bytes:sub(-8) == checksum()
end

return kernels
