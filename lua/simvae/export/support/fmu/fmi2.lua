--- The functions of FMI 2.0 in C, for simvae.export.support.fmu.runtime.
local fmi2 = {}

--- The version's part of an instance, and messages to the importer.
fmi2.callbacks = [[
typedef void (*Logger)(void *environment, const char *name, int status, const char *category, const char *message, ...);

typedef struct {
    Logger log;
    void *(*allocate)(size_t, size_t);
    void (*release)(void *);
    void (*finished)(void *, int);
    void *environment;
} Functions;

typedef struct {
    const Functions *functions;
    bool logging;
    char name[128];
} Callbacks;

typedef struct {
    int update, terminate, nominals, states, next_defined;
    double next;
} EventInfo;
]]

--- The functions.
fmi2.functions = [[
static void report(const Instance *s, Status status, const char *message) {
    const Functions *f = s->callbacks.functions;
    if (!f || !f->log || (!s->callbacks.logging && status < ERROR)) return;
    f->log(f->environment, s->callbacks.name, (int)status, status == WARNING ? "logStatusWarning" : "logStatusError",
           "%s", message);
}

/* ---- FMI 2.0: instances */

EXPORT const char *FMI(GetTypesPlatform)(void) { return "default"; }
EXPORT const char *FMI(GetVersion)(void) { return "2.0"; }

EXPORT void *FMI(Instantiate)(const char *name, int type, const char *token, const char *resources,
                              const Functions *functions, int visible, int logging) {
    Instance *s;
    (void)resources, (void)visible;
    if (!token || strcmp(token, TOKEN)) {
        if (functions && functions->log)
            functions->log(functions->environment, name ? name : "", ERROR, "logStatusError",
                           "the GUID is not that of this FMU");
        return NULL;
    }
    s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->callbacks.functions = functions;
    s->callbacks.logging = logging != 0;
    if (name) strncpy(s->callbacks.name, name, sizeof s->callbacks.name - 1);
    s->exchange = type == 0;
    reset(s);
    return s;
}

EXPORT void FMI(FreeInstance)(void *instance) { free(instance); }

EXPORT int FMI(SetDebugLogging)(void *instance, int on, size_t n, const char *const *categories) {
    (void)n, (void)categories;
    ((Instance *)instance)->callbacks.logging = on != 0;
    return OK;
}

/* ---- states */

EXPORT int FMI(SetupExperiment)(void *instance, int tolerance_defined, double tolerance, double start, int stop_defined,
                                double stop) {
    Instance *s = instance;
    (void)tolerance_defined, (void)tolerance, (void)stop_defined, (void)stop;
    if (!isfinite(start)) return fail(s, "the start time is finite");
    s->time = start;
    return go(s, INSTANTIATED, INSTANTIATED);
}

EXPORT int FMI(EnterInitializationMode)(void *instance) { return go(instance, INSTANTIATED, INITIALIZING); }
EXPORT int FMI(ExitInitializationMode)(void *instance) { return go(instance, INITIALIZING, RUNNING); }
EXPORT int FMI(Terminate)(void *instance) { return go(instance, RUNNING, TERMINATED); }

EXPORT int FMI(Reset)(void *instance) {
    reset(instance);
    return OK;
}

/* ---- variables */

EXPORT int FMI(GetReal)(void *instance, const unsigned *references, size_t n, double *values) {
    size_t i;
    for (i = 0; i < n; i++)
        if (get_values(instance, references[i], values + i, 1) != 1)
            return fail(instance, "a value reference that is no variable of this type");
    return OK;
}

EXPORT int FMI(SetReal)(void *instance, const unsigned *references, size_t n, const double *values) {
    Status status = OK;
    size_t i;
    for (i = 0; i < n; i++) status = worse(status, set_input(instance, references[i], values[i], 0));
    return status;
}

EXPORT int FMI(GetInteger)(void *instance, const unsigned *references, size_t n, int *values) {
    size_t i;
    for (i = 0; i < n; i++) {
        int32_t v;
        if (!integer_of(instance, references[i], &v)) return fail(instance, "no variable of this type");
        values[i] = v;
    }
    return OK;
}

EXPORT int FMI(SetInteger)(void *instance, const unsigned *references, size_t n, const int *values) {
    Status status = OK;
    size_t i;
    for (i = 0; i < n; i++) status = worse(status, set_input(instance, references[i], values[i], 1));
    return status;
}

/* Types that no variable has. */
static int absent(void *instance, size_t n) { return n == 0 ? OK : fail(instance, "no variable has this type"); }

EXPORT int FMI(GetBoolean)(void *instance, const unsigned *references, size_t n, int *values) {
    (void)references, (void)values;
    return absent(instance, n);
}

EXPORT int FMI(SetBoolean)(void *instance, const unsigned *references, size_t n, const int *values) {
    (void)references, (void)values;
    return absent(instance, n);
}

EXPORT int FMI(GetString)(void *instance, const unsigned *references, size_t n, const char **values) {
    (void)references, (void)values;
    return absent(instance, n);
}

EXPORT int FMI(SetString)(void *instance, const unsigned *references, size_t n, const char *const *values) {
    (void)references, (void)values;
    return absent(instance, n);
}

/* ---- states of an instance, which would have to be allocated */

EXPORT int FMI(GetFMUstate)(void *instance, void **state) {
    (void)state;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(SetFMUstate)(void *instance, void *state) {
    (void)state;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(FreeFMUstate)(void *instance, void **state) {
    (void)state;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(SerializedFMUstateSize)(void *instance, void *state, size_t *size) {
    (void)state, (void)size;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(SerializeFMUstate)(void *instance, void *state, char *bytes, size_t size) {
    (void)state, (void)bytes, (void)size;
    return fail(instance, "states are not saved");
}

EXPORT int FMI(DeSerializeFMUstate)(void *instance, const char *bytes, size_t size, void **state) {
    (void)bytes, (void)size, (void)state;
    return fail(instance, "states are not saved");
}

/* ---- derivatives */

EXPORT int FMI(GetDirectionalDerivative)(void *instance, const unsigned *unknowns, size_t nunknowns,
                                         const unsigned *knowns, size_t nknowns, const double *seed,
                                         double *sensitivity) {
    return directional(instance, unknowns, nunknowns, knowns, nknowns, seed, sensitivity, nunknowns);
}

/* ---- model exchange, without events and continuous states: one state serves both of its modes */

EXPORT int FMI(EnterEventMode)(void *instance) { return go(instance, RUNNING, RUNNING); }
EXPORT int FMI(EnterContinuousTimeMode)(void *instance) { return go(instance, RUNNING, RUNNING); }

EXPORT int FMI(NewDiscreteStates)(void *instance, EventInfo *info) {
    memset(info, 0, sizeof *info);
    return go(instance, RUNNING, RUNNING);
}

EXPORT int FMI(CompletedIntegratorStep)(void *instance, int no_set_state, int *enter_event, int *terminate) {
    (void)no_set_state;
    *enter_event = *terminate = 0;
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

EXPORT int FMI(GetDerivatives)(void *instance, double *derivatives, size_t n) {
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

/* ---- co-simulation */

EXPORT int FMI(DoStep)(void *instance, double from, double size, int no_set_state) {
    (void)no_set_state;
    return step(instance, from, size);
}

EXPORT int FMI(SetRealInputDerivatives)(void *instance, const unsigned *references, size_t n, const int *orders,
                                        const double *values) {
    (void)references, (void)n, (void)orders, (void)values;
    return fail(instance, "inputs are not interpolated");
}

EXPORT int FMI(GetRealOutputDerivatives)(void *instance, const unsigned *references, size_t n, const int *orders,
                                         double *values) {
    (void)references, (void)n, (void)orders, (void)values;
    return fail(instance, "no derivatives of outputs with respect to time");
}

EXPORT int FMI(CancelStep)(void *instance) { return fail(instance, "steps end at once"); }

EXPORT int FMI(GetStatus)(void *instance, int kind, int *value) {
    (void)instance, (void)kind, (void)value;
    return DISCARD;
}

EXPORT int FMI(GetRealStatus)(void *instance, int kind, double *value) {
    if (kind != 2) return DISCARD; /* the last successful time */
    *value = ((Instance *)instance)->time;
    return OK;
}

EXPORT int FMI(GetIntegerStatus)(void *instance, int kind, int *value) {
    (void)instance, (void)kind, (void)value;
    return DISCARD;
}

EXPORT int FMI(GetBooleanStatus)(void *instance, int kind, int *value) {
    if (kind != 3) return DISCARD; /* whether the FMU wants to end the simulation */
    (void)instance;
    *value = 0;
    return OK;
}

EXPORT int FMI(GetStringStatus)(void *instance, int kind, const char **value) {
    (void)instance, (void)kind, (void)value;
    return DISCARD;
}
]]

return fmi2
