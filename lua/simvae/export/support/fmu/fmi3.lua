--- The functions of FMI 3.0 in C, for simvae.export.support.fmu.runtime.
local fmi3 = {}

--- The version's part of an instance, and messages to the importer.
fmi3.callbacks = [[
typedef void (*LogMessage)(void *environment, int status, const char *category, const char *message);

typedef struct {
    LogMessage log;
    void *environment;
    bool logging;
} Callbacks;
]]

-- Get and set of types that no variable has: C's type and the function's word.
local absent = { { "float", "Float32" }, { "int8_t", "Int8" }, { "uint8_t", "UInt8" }, { "int16_t", "Int16" },
  { "uint16_t", "UInt16" }, { "uint32_t", "UInt32" }, { "int64_t", "Int64" }, { "uint64_t", "UInt64" },
  { "bool", "Boolean" }, { "const char *", "String" } }

local ABSENT = [[
/* Types that no variable has. */
static int absent(void *instance, size_t n) { return n == 0 ? OK : fail(instance, "no variable has this type"); }

#define ABSENT(type, word)                                                                                             \
    EXPORT int FMI(Get##word)(void *instance, const uint32_t *references, size_t n, type *values, size_t count) {      \
        (void)references, (void)values, (void)count;                                                                   \
        return absent(instance, n);                                                                                    \
    }                                                                                                                  \
    EXPORT int FMI(Set##word)(void *instance, const uint32_t *references, size_t n, type const *values,                \
                              size_t count) {                                                                          \
        (void)references, (void)values, (void)count;                                                                   \
        return absent(instance, n);                                                                                    \
    }

]]

local START = [[
static void report(const Instance *s, Status status, const char *message) {
    if (!s->callbacks.log || (!s->callbacks.logging && status < ERROR)) return;
    s->callbacks.log(s->callbacks.environment, (int)status, status == WARNING ? "logStatusWarning" : "logStatusError",
                     message);
}

/* ---- FMI 3.0: instances */

static void *instantiate(const char *token, bool exchange, bool logging, void *environment, LogMessage log) {
    Instance *s;
    if (!token || strcmp(token, TOKEN)) {
        if (log) log(environment, ERROR, "logStatusError", "the instantiation token is not that of this FMU");
        return NULL;
    }
    s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->callbacks.log = log;
    s->callbacks.environment = environment;
    s->callbacks.logging = logging;
    s->exchange = exchange;
    reset(s);
    return s;
}

EXPORT const char *FMI(GetVersion)(void) { return "3.0"; }

EXPORT void *FMI(InstantiateModelExchange)(const char *name, const char *token, const char *resources, bool visible,
                                           bool logging, void *environment, LogMessage log) {
    (void)name, (void)resources, (void)visible;
    return instantiate(token, true, logging, environment, log);
}

EXPORT void *FMI(InstantiateCoSimulation)(const char *name, const char *token, const char *resources, bool visible,
                                          bool logging, bool events, bool early, const uint32_t *intermediate,
                                          size_t nintermediate, void *environment, LogMessage log, void *update) {
    (void)name, (void)resources, (void)visible, (void)events, (void)early, (void)intermediate, (void)nintermediate,
        (void)update;
    return instantiate(token, false, logging, environment, log);
}

EXPORT void *FMI(InstantiateScheduledExecution)(const char *name, const char *token, const char *resources,
                                                bool visible, bool logging, void *environment, LogMessage log,
                                                void *clock, void *lock, void *unlock) {
    (void)name, (void)token, (void)resources, (void)visible, (void)logging, (void)environment, (void)log, (void)clock,
        (void)lock, (void)unlock;
    return NULL;
}

EXPORT void FMI(FreeInstance)(void *instance) { free(instance); }

EXPORT int FMI(SetDebugLogging)(void *instance, bool on, size_t n, const char *const *categories) {
    (void)n, (void)categories;
    ((Instance *)instance)->callbacks.logging = on;
    return OK;
}

/* ---- states */

EXPORT int FMI(EnterInitializationMode)(void *instance, bool tolerance_defined, double tolerance, double start,
                                        bool stop_defined, double stop) {
    Instance *s = instance;
    (void)tolerance_defined, (void)tolerance, (void)stop_defined, (void)stop;
    if (!isfinite(start)) return fail(s, "the start time is finite");
    s->time = start;
    return go(s, INSTANTIATED, INITIALIZING);
}

EXPORT int FMI(ExitInitializationMode)(void *instance) { return go(instance, INITIALIZING, RUNNING); }
EXPORT int FMI(Terminate)(void *instance) { return go(instance, RUNNING, TERMINATED); }

EXPORT int FMI(Reset)(void *instance) {
    reset(instance);
    return OK;
}

/* Without events and states, one state serves event mode, continuous-time mode and step mode. */
EXPORT int FMI(EnterEventMode)(void *instance) { return go(instance, RUNNING, RUNNING); }
EXPORT int FMI(EnterContinuousTimeMode)(void *instance) { return go(instance, RUNNING, RUNNING); }
EXPORT int FMI(EnterStepMode)(void *instance) { return go(instance, RUNNING, RUNNING); }
EXPORT int FMI(EnterConfigurationMode)(void *instance) { return fail(instance, "no structural parameters"); }
EXPORT int FMI(ExitConfigurationMode)(void *instance) { return fail(instance, "no structural parameters"); }

/* ---- variables */

EXPORT int FMI(GetFloat64)(void *instance, const uint32_t *references, size_t n, double *values, size_t count) {
    size_t i, at = 0;
    for (i = 0; i < n; i++) {
        const size_t got = get_values(instance, references[i], values + at, count - at);
        if (got == 0) return fail(instance, "a value reference that is no variable of this type and size");
        at += got;
    }
    return OK;
}

EXPORT int FMI(SetFloat64)(void *instance, const uint32_t *references, size_t n, const double *values, size_t count) {
    Status status = OK;
    size_t i;
    if (count != n) return fail(instance, "inputs are scalars");
    for (i = 0; i < n; i++) status = worse(status, set_input(instance, references[i], values[i], 0));
    return status;
}

EXPORT int FMI(GetInt32)(void *instance, const uint32_t *references, size_t n, int32_t *values, size_t count) {
    size_t i;
    if (count != n) return fail(instance, "inputs are scalars");
    for (i = 0; i < n; i++)
        if (!integer_of(instance, references[i], &values[i])) return fail(instance, "no variable of this type");
    return OK;
}

EXPORT int FMI(SetInt32)(void *instance, const uint32_t *references, size_t n, const int32_t *values, size_t count) {
    Status status = OK;
    size_t i;
    if (count != n) return fail(instance, "inputs are scalars");
    for (i = 0; i < n; i++) status = worse(status, set_input(instance, references[i], values[i], 1));
    return status;
}

]]

local REST = [[

EXPORT int FMI(GetBinary)(void *instance, const uint32_t *references, size_t n, size_t *sizes, const uint8_t **values,
                          size_t count) {
    (void)references, (void)sizes, (void)values, (void)count;
    return absent(instance, n);
}

EXPORT int FMI(SetBinary)(void *instance, const uint32_t *references, size_t n, const size_t *sizes,
                          const uint8_t *const *values, size_t count) {
    (void)references, (void)sizes, (void)values, (void)count;
    return absent(instance, n);
}

EXPORT int FMI(GetClock)(void *instance, const uint32_t *references, size_t n, bool *values) {
    (void)references, (void)values;
    return absent(instance, n);
}

EXPORT int FMI(SetClock)(void *instance, const uint32_t *references, size_t n, const bool *values) {
    (void)references, (void)values;
    return absent(instance, n);
}

EXPORT int FMI(GetNumberOfVariableDependencies)(void *instance, uint32_t reference, size_t *n) {
    (void)reference, (void)n;
    return fail(instance, "dependencies do not change");
}

EXPORT int FMI(GetVariableDependencies)(void *instance, uint32_t dependent, size_t *elements, uint32_t *independents,
                                        size_t *of_independents, int *kinds, size_t n) {
    (void)dependent, (void)elements, (void)independents, (void)of_independents, (void)kinds, (void)n;
    return fail(instance, "dependencies do not change");
}

/* ---- states of an instance, which would have to be allocated */

EXPORT int FMI(GetFMUState)(void *instance, void **state) {
    (void)state;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(SetFMUState)(void *instance, void *state) {
    (void)state;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(FreeFMUState)(void *instance, void **state) {
    (void)state;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(SerializedFMUStateSize)(void *instance, void *state, size_t *size) {
    (void)state, (void)size;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(SerializeFMUState)(void *instance, void *state, uint8_t *bytes, size_t size) {
    (void)state, (void)bytes, (void)size;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(DeserializeFMUState)(void *instance, const uint8_t *bytes, size_t size, void **state) {
    (void)bytes, (void)size, (void)state;
    return fail(instance, "states are not saved");
}

/* ---- derivatives */

EXPORT int FMI(GetDirectionalDerivative)(void *instance, const uint32_t *unknowns, size_t nunknowns,
                                         const uint32_t *knowns, size_t nknowns, const double *seed, size_t nseed,
                                         double *sensitivity, size_t nsensitivity) {
    if (nseed != nknowns) return fail(instance, "a seed is a number for each input");
    return directional(instance, unknowns, nunknowns, knowns, nknowns, seed, sensitivity, nsensitivity);
}

EXPORT int FMI(GetAdjointDerivative)(void *instance, const uint32_t *unknowns, size_t nunknowns, const uint32_t *knowns,
                                     size_t nknowns, const double *seed, size_t nseed, double *sensitivity,
                                     size_t nsensitivity) {
    (void)unknowns, (void)nunknowns, (void)knowns, (void)nknowns, (void)seed, (void)nseed, (void)sensitivity,
        (void)nsensitivity;
    return fail(instance, "no adjoint derivatives");
}

/* ---- clocks, of which there are none */

EXPORT int FMI(GetIntervalDecimal)(void *instance, const uint32_t *references, size_t n, double *intervals,
                                   int *qualifiers) {
    (void)references, (void)intervals, (void)qualifiers;
    return absent(instance, n);
}

EXPORT int FMI(GetIntervalFraction)(void *instance, const uint32_t *references, size_t n, uint64_t *counters,
                                    uint64_t *resolutions, int *qualifiers) {
    (void)references, (void)counters, (void)resolutions, (void)qualifiers;
    return absent(instance, n);
}

EXPORT int FMI(GetShiftDecimal)(void *instance, const uint32_t *references, size_t n, double *shifts) {
    (void)references, (void)shifts;
    return absent(instance, n);
}

EXPORT int FMI(GetShiftFraction)(void *instance, const uint32_t *references, size_t n, uint64_t *counters,
                                 uint64_t *resolutions) {
    (void)references, (void)counters, (void)resolutions;
    return absent(instance, n);
}

EXPORT int FMI(SetIntervalDecimal)(void *instance, const uint32_t *references, size_t n, const double *intervals) {
    (void)references, (void)intervals;
    return absent(instance, n);
}

EXPORT int FMI(SetIntervalFraction)(void *instance, const uint32_t *references, size_t n, const uint64_t *counters,
                                    const uint64_t *resolutions) {
    (void)references, (void)counters, (void)resolutions;
    return absent(instance, n);
}

EXPORT int FMI(SetShiftDecimal)(void *instance, const uint32_t *references, size_t n, const double *shifts) {
    (void)references, (void)shifts;
    return absent(instance, n);
}

EXPORT int FMI(SetShiftFraction)(void *instance, const uint32_t *references, size_t n, const uint64_t *counters,
                                 const uint64_t *resolutions) {
    (void)references, (void)counters, (void)resolutions;
    return absent(instance, n);
}

EXPORT int FMI(ActivateModelPartition)(void *instance, uint32_t clock, double time) {
    (void)clock, (void)time;
    return fail(instance, "no model partitions");
}

/* ---- events, of which there are none */

EXPORT int FMI(EvaluateDiscreteStates)(void *instance) { return go(instance, RUNNING, RUNNING); }

EXPORT int FMI(UpdateDiscreteStates)(void *instance, bool *update, bool *terminate, bool *nominals, bool *states,
                                     bool *next_defined, double *next) {
    *update = *terminate = *nominals = *states = *next_defined = false;
    *next = 0.0;
    return go(instance, RUNNING, RUNNING);
}

/* ---- model exchange, without continuous states */

EXPORT int FMI(CompletedIntegratorStep)(void *instance, bool no_set_state, bool *enter_event, bool *terminate) {
    (void)no_set_state;
    *enter_event = *terminate = false;
    return go(instance, RUNNING, RUNNING);
}

EXPORT int FMI(SetTime)(void *instance, double time) {
    Instance *s = instance;
    if (!s->exchange || !isfinite(time)) return fail(s, "time is set in model exchange, and finite");
    s->time = time;
    return OK;
}

static int no_states(void *instance, size_t n) { return n == 0 ? OK : fail(instance, "no states and no events"); }

EXPORT int FMI(SetContinuousStates)(void *instance, const double *states, size_t n) {
    (void)states;
    return no_states(instance, n);
}

EXPORT int FMI(GetContinuousStateDerivatives)(void *instance, double *derivatives, size_t n) {
    (void)derivatives;
    return no_states(instance, n);
}

EXPORT int FMI(GetEventIndicators)(void *instance, double *indicators, size_t n) {
    (void)indicators;
    return no_states(instance, n);
}

EXPORT int FMI(GetContinuousStates)(void *instance, double *states, size_t n) {
    (void)states;
    return no_states(instance, n);
}

EXPORT int FMI(GetNominalsOfContinuousStates)(void *instance, double *nominals, size_t n) {
    (void)nominals;
    return no_states(instance, n);
}

EXPORT int FMI(GetNumberOfEventIndicators)(void *instance, size_t *n) {
    (void)instance;
    *n = 0;
    return OK;
}

EXPORT int FMI(GetNumberOfContinuousStates)(void *instance, size_t *n) {
    (void)instance;
    *n = 0;
    return OK;
}

/* ---- co-simulation */

EXPORT int FMI(GetOutputDerivatives)(void *instance, const uint32_t *references, size_t n, const int32_t *orders,
                                     double *values, size_t count) {
    (void)references, (void)n, (void)orders, (void)values, (void)count;
    return fail(instance, "no derivatives of outputs with respect to time");
}

EXPORT int FMI(DoStep)(void *instance, double from, double size, bool no_set_state, bool *event, bool *terminate,
                       bool *early, double *last) {
    const Status status = step(instance, from, size);
    (void)no_set_state;
    *event = *terminate = *early = false;
    *last = ((Instance *)instance)->time;
    return status;
}
]]

local uses = {}
for i, pair in ipairs(absent) do uses[i] = string.format("ABSENT(%s, %s)\n", pair[1], pair[2]) end

--- The functions.
fmi3.functions = START .. ABSENT .. table.concat(uses) .. REST

return fmi3
