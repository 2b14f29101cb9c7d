--- The C source of an FMU beside the model's: the functions of the FMI standard.
--
-- An instance is allocated when it is instantiated, with all working memory of its model; nothing is after that. The
-- declarations of the standard's types and functions are our own, so that the sources need no other header.
local runtime = {}

local functions = { [2] = require "simvae.export.support.fmu.fmi2", [3] = require "simvae.export.support.fmu.fmi3" }

local HEAD = [[
/* $FILE: the model of @.c by the functions of FMI $FMI.0 (fmi-standard.org), for model exchange and co-simulation.
 *
 * Value references: 0 is time, 1 to $INPUTS are the inputs, $FIRST and following the outputs. */
#include "@.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

/* Names of functions: with a prefix where an importer links several FMUs statically. */
#if defined(FMI$FMI_FUNCTION_PREFIX)
#define PASTE(prefix, name) prefix##name
#define JOIN(prefix, name) PASTE(prefix, name)
#define FMI(name) JOIN(FMI$FMI_FUNCTION_PREFIX, fmi$FMI##name)
#else
#define FMI(name) fmi$FMI##name
#endif

#define TOKEN "$TOKEN"
$DEFINES
enum {
    INPUTS = $INPUTS,       /* parameters of the simulator */
    OUTPUTS = $OUTPUTS,     /* output variables */
    NUMBERS = $COUNT,       /* numbers of each */
    FIRST = INPUTS + 1      /* value reference of the first output */
};

typedef enum { OK, WARNING, DISCARD, ERROR, FATAL } Status;
typedef enum { INSTANTIATED, INITIALIZING, RUNNING, TERMINATED } State;
typedef struct Instance Instance;

typedef struct {
    double low, high, start;
    int integer;
    const char *outside, *invalid; /* messages */
} Input;

static const Input inputs[INPUTS] = {
$TABLE
};

static void report(const Instance *s, Status status, const char *message);
]]

-- What an instance is and does whatever the version; before it stands CALLBACKS, the version's part of an instance.
local COMMON = [[
struct Instance {
    Callbacks callbacks;
    State state;
    bool exchange;  /* model exchange; else co-simulation */
    bool decoded;   /* x is the output at the inputs */
    double time;
    double values[INPUTS];
    float z[INPUTS];
    float x[@@_DECODE_X];
    float work[@@_DECODE_WORK + 1];
#if DERIVATIVES
    float dz[INPUTS];
    float dx[@@_DECODE_X];
    float tangent_work[@@_TANGENT_WORK + 1];
#endif
};

static void reset(Instance *s) {
    size_t i;
    s->state = INSTANTIATED;
    s->decoded = false;
    s->time = START;
    for (i = 0; i < INPUTS; i++) s->values[i] = inputs[i].start;
}

static Status fail(const Instance *s, const char *message) {
    report(s, ERROR, message);
    return ERROR;
}

static Status worse(Status a, Status b) { return a > b ? a : b; }

/* ---- variables */

static Status set_input(Instance *s, uint32_t reference, double v, int integer) {
    const Input *input;
    if (reference < 1 || reference > INPUTS || inputs[reference - 1].integer != integer)
        return fail(s, "a value reference that is no input of this type");
    input = &inputs[reference - 1];
    if (!isfinite(v) || (input->integer && (v < input->low || v > input->high))) return fail(s, input->invalid);
    s->values[reference - 1] = v;
    s->decoded = false;
    if (v >= input->low && v <= input->high) return OK;
    report(s, WARNING, input->outside);
    return WARNING;
}

static void decode(Instance *s) {
    size_t i;
    if (s->decoded) return;
    for (i = 0; i < INPUTS; i++) s->z[i] = (float)s->values[i];
    @_decode(1, s->z, s->x, s->work);
    s->decoded = true;
}

/* Number i of an output whose numbers, or points over time, begin at from. */
$NUMBER

/* Float values: time, inputs, outputs. Gives how many numbers they are, 0 for a reference of another type. */
static size_t get_values(Instance *s, uint32_t reference, double *values, size_t room) {
    size_t i, from;
    if (reference < FIRST) {
        if (room < 1 || (reference > 0 && inputs[reference - 1].integer)) return 0;
        values[0] = reference == 0 ? s->time : s->values[reference - 1];
        return 1;
    }
    if (reference - FIRST >= OUTPUTS || room < NUMBERS) return 0;
    decode(s);
    from = (size_t)(reference - FIRST) * POINTS * NUMBERS;
    for (i = 0; i < NUMBERS; i++) values[i] = number(s, s->x + from, i);
    return NUMBERS;
}

static bool integer_of(const Instance *s, uint32_t reference, int32_t *value) {
    if (reference < 1 || reference > INPUTS || !inputs[reference - 1].integer) return false;
    *value = (int32_t)s->values[reference - 1];
    return true;
}

/* ---- derivatives of outputs in a direction of the inputs */

static Status directional(Instance *s, const uint32_t *unknowns, size_t nunknowns, const uint32_t *knowns,
                          size_t nknowns, const double *seed, double *sensitivity, size_t room) {
#if DERIVATIVES
    size_t i, k, at = 0;
    for (i = 0; i < INPUTS; i++) s->dz[i] = 0.0f;
    for (k = 0; k < nknowns; k++) {
        if (knowns[k] < 1 || knowns[k] > INPUTS || inputs[knowns[k] - 1].integer)
            return fail(s, "derivatives are those of outputs with respect to continuous inputs");
        s->dz[knowns[k] - 1] = (float)seed[k];
    }
    for (i = 0; i < INPUTS; i++) s->z[i] = (float)s->values[i];
    @_tangent(1, s->z, s->dz, s->dx, s->tangent_work);
    for (k = 0; k < nunknowns; k++) {
        if (unknowns[k] < FIRST || unknowns[k] - FIRST >= OUTPUTS || room - at < NUMBERS)
            return fail(s, "derivatives are those of outputs with respect to continuous inputs");
        for (i = 0; i < NUMBERS; i++)
            sensitivity[at++] = number(s, s->dx + (size_t)(unknowns[k] - FIRST) * POINTS * NUMBERS, i);
    }
    return OK;
#else
    (void)unknowns, (void)nunknowns, (void)knowns, (void)nknowns, (void)seed, (void)sensitivity, (void)room;
    return fail(s, "this model has no directional derivatives");
#endif
}

/* ---- states */

static Status go(Instance *s, State from, State to) {
    if (s->state != from) return fail(s, "a function that is not allowed in this state");
    s->state = to;
    return OK;
}

static Status step(Instance *s, double from, double size) {
    if (s->state != RUNNING || s->exchange) return fail(s, "a step is of co-simulation, after the initialization");
    if (!isfinite(from) || !isfinite(size) || size <= 0) return fail(s, "a step's start and size are finite, size > 0");
    s->time = from + size;
    return OK;
}
]]

local PLAIN = [[
static double number(const Instance *s, const float *from, size_t i) {
    (void)s;
    return (double)from[i];
}]]

-- Linear between the points, and held before the first and after the last one.
local TIMED = [[
static double number(const Instance *s, const float *from, size_t i) {
    double t = s->time / SECONDS, at, share;
    size_t k;
    (void)i;
    if (POINTS < 2) return (double)from[0];
    at = $PLACE * (POINTS - 1);
    at = at > 0.0 ? at < POINTS - 1 ? at : POINTS - 1 : 0.0;
    k = (size_t)at < POINTS - 2 ? (size_t)at : POINTS - 2;
    share = at - (double)k;
    return (1.0 - share) * (double)from[k] + share * (double)from[k + 1];
}]]

local function number(v)
  if v == math.huge then return "HUGE_VAL" elseif v == -math.huge then return "-HUGE_VAL" end
  local text = string.format("%.17g", v)
  return text:find "[.en]" and text or text .. ".0"
end

-- A literal of C for a string: ASCII, the rest as octal bytes.
local function quoted(text)
  return '"' .. text:gsub('[%c"\\?@\128-\255]', function(c) return string.format("\\%03o", c:byte()) end) .. '"'
end

local function table_of(t)
  local lines = {}
  for i, v in ipairs(t.inputs) do
    lines[i] = string.format("    {%s, %s, %s, %d, %s,\n     %s},", number(v.low or -math.huge),
      number(v.high or math.huge), number(v.start), v.integer and 1 or 0,
      quoted(v.name .. ": outside its min and max, where the model was not trained"),
      quoted(v.name .. (v.integer and ": takes whole numbers from its min to its max" or ": takes a finite number")))
  end
  return table.concat(lines, "\n")
end

local function defines(t, derivatives)
  local lines, time = { "#define DERIVATIVES " .. (derivatives and 1 or 0) }, t.time
  lines[#lines + 1] = "#define START " .. number(time.low)
  lines[#lines + 1] = string.format("#define POINTS %d%s", time.points or 1,
    time.points and " /* of each output over time, between which it is interpolated */" or "")
  if time.points then
    lines[#lines + 1] = string.format("#define SECONDS %s /* of the axis' unit */\n#define AXIS_LOW %s\n"
      .. "#define AXIS_HIGH %s", number(time.seconds), number(time.first), number(time.last))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The text of the file.
-- @tparam table t simvae.export.support.fmu.interface
-- @tparam table o fmi: 2 or 3; identifier, of which sources are NAME.c and NAME.h; token; derivatives; file: its name
-- @treturn string
function runtime.of(t, o)
  local time, version = t.time, functions[o.fmi]
  local variables, count = #t.outputs, 1
  for _, n in ipairs(t.outputs[1].shape) do count = count * n end
  if o.fmi == 2 then variables, count = variables * count, 1 end
  local place = time.log and "(t > 0.0 ? log(t / AXIS_LOW) / log(AXIS_HIGH / AXIS_LOW) : 0.0)"
    or "(t - AXIS_LOW) / (AXIS_HIGH - AXIS_LOW)"
  local fields = { FILE = o.file, FMI = o.fmi, TOKEN = o.token, INPUTS = #t.inputs, FIRST = #t.inputs + 1,
    OUTPUTS = variables, COUNT = count, TABLE = table_of(t), DEFINES = defines(t, o.derivatives),
    NUMBER = time.points and TIMED:gsub("%$PLACE", place) or PLAIN }
  local text = table.concat({ HEAD, version.callbacks, COMMON, version.functions }, "\n")
  text = text:gsub("%$(%u+)", function(name) return fields[name] and tostring(fields[name]) end)
  return (text:gsub("@@", o.identifier:upper()):gsub("@", o.identifier))
end

return runtime
