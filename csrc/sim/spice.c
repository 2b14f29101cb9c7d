/* spice.c: interface to libngspice, one circuit at a time, in the calling process.
 *
 *   core.spice.open(library?) -> true, or nil, message      loads the library, once
 *   core.spice.load{line, …} -> true, or nil, message       replaces the circuit
 *   core.spice.run({command, …}, no_plot) -> true, or nil, message     unless no_plot, the last one is the analysis
 *   core.spice.vectors() -> {name, …}                       of the analysis just run
 *   core.spice.extent(name) -> length, first, last, complex of such a vector, or nil, message
 *   core.spice.read(part, to, from, out, offset, count, first, last) -> true, or nil, message
 *   core.spice.measured() -> text                           lines of .meas results whose names begin with sv_meas_
 *   core.spice.said() -> text                               on its standard error since load or run began
 *   core.spice.broken() -> boolean
 *
 * The library is loaded when it is first needed (dlopen): the build does not depend
 * on it, and processes that simulate no circuit do not load it. The interface is that
 * of chapter 19 of the ngspice manual (version 39; unchanged since 26).
 *
 * Output of ngspice goes to a callback and is never printed; its error output makes
 * the message of a failure. After some errors ngspice requests to be unloaded
 * ("controlled exit"); its heap is then corrupt, and another call can abort the
 * process. Then broken() is true and every call fails;
 * lua/simvae/simulator/spice/engine.lua therefore runs it in a process of its own.
 *
 * Two measures keep its memory constant over many runs: the plot of each analysis is
 * destroyed, and the null command empties the list in which ngspice keeps every
 * command for its loops. */
#define _GNU_SOURCE
#include "../simvae.h"

#include <dlfcn.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of ngspice's sharedspice.h. */
typedef struct {
    double re, im;
} ng_complex;
typedef struct {
    char *name;
    int type;
    short flags;
    double *real;
    ng_complex *complex;
    int length;
} ng_vector;
typedef int ng_on_text(char *text, int id, void *own);
typedef int ng_on_status(char *text, int id, void *own);
typedef int ng_on_exit(int status, bool at_once, bool on_quit, int id, void *own);
typedef int ng_init(ng_on_text *, ng_on_status *, ng_on_exit *, void *, void *, void *, void *);

enum { SAID = 1500, NAME = 512, MEASURED = 16384, COMMAND = 4096 };
#define MEASURE "sv_meas_"

static struct {
    void *library;
    ng_init *init;
    int (*circuit)(char **lines);
    int (*command)(char *text);
    ng_vector *(*vector)(char *name);
    char *(*plot)(void);
    char **(*vectors)(char *plot);
    bool loaded, broken;
    bool failed;     /* an error was reported since forget() */
    char said[SAID]; /* its text, with the surrounding lines */
    char measured[MEASURED];
} ng;

/* ---- messages of ngspice ------------------------------------------------------ */

static void forget(void) {
    ng.failed = false;
    ng.said[0] = ng.measured[0] = '\0';
}

/* Messages that are no errors: steps of the operating point search, and advice. */
static bool is_noise(const char *s) {
    static const char *const noise[] = {"Note:",
                                        "Trying gmin",
                                        "Supplies reduced",
                                        "Please check your input",
                                        "Error: ngspice.dll",
                                        "Warning: Further gmin",
                                        "Warning: Last gmin",
                                        "Using SPARSE",
                                        "Using KLU"};
    for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
        if (!strncmp(s, noise[i], strlen(noise[i]))) return true;
    return *s == '\0';
}

static bool is_error(const char *s) {
    static const char *const signs[] = {"Error",
                                        "ERROR",
                                        "aborted",
                                        "No circuit loaded",
                                        "no such command",
                                        "ndefined parameter",
                                        "Cannot compute substitute"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (strstr(s, signs[i])) return true;
    return false;
}

static int on_text(char *text, int id, void *own) {
    (void)id;
    (void)own;
    const char *s = text + 7;
    if (!strncmp(text, "stdout " MEASURE, 7 + sizeof MEASURE - 1)) {
        size_t end = strlen(ng.measured);
        if (end + strlen(s) + 2 < MEASURED) snprintf(ng.measured + end, MEASURED - end, "%s\n", s);
    }
    if (strncmp(text, "stderr ", 7) != 0) return 0;
    s += strspn(s, " \t");
    if (is_noise(s)) return 0;
    if (is_error(s)) ng.failed = true;
    size_t at = strlen(ng.said);
    if (!strstr(ng.said, s) && at + strlen(s) + 3 < SAID) snprintf(ng.said + at, SAID - at, "%s%s", at ? "; " : "", s);
    return 0;
}

static int on_status(char *text, int id, void *own) {
    (void)text;
    (void)id;
    (void)own;
    return 0;
}

static int on_exit_asked(int status, bool at_once, bool on_quit, int id, void *own) {
    (void)status;
    (void)at_once;
    (void)on_quit;
    (void)id;
    (void)own;
    ng.broken = ng.failed = true;
    ng.loaded = false;
    return 0;
}

static int refuse(lua_State *L, const char *otherwise) {
    lua_pushnil(L);
    lua_pushfstring(L, "ngspice: %s", ng.said[0] ? ng.said : otherwise);
    return 2;
}

static int done(lua_State *L) {
    lua_pushboolean(L, 1);
    return 1;
}

static bool ready(lua_State *L) {
    if (!ng.library) luaL_error(L, "spice: core.spice.open() comes first");
    if (ng.broken) {
        forget();
        snprintf(ng.said, SAID, "it asked to be unloaded after an error; this needs a new process");
    }
    return !ng.broken;
}

static void command(const char *text) {
    char copy[COMMAND];
    if (snprintf(copy, sizeof copy, "%s", text) >= COMMAND) {
        ng.failed = true;
        snprintf(ng.said, SAID, "a command of more than %d bytes", COMMAND - 1);
        return;
    }
    ng.command(copy);
}

/* ---- the library ---------------------------------------------------------------- */

static void *symbol(const char *name) {
    void *at = dlsym(ng.library, name);
    if (!at) ng.broken = true;
    return at;
}

/* ISO C has no conversion from an object pointer to a function pointer; POSIX's dlsym needs one. */
#define FIND(member, name)                  \
    do {                                    \
        void *at = symbol(name);            \
        memcpy(&ng.member, &at, sizeof at); \
    } while (0)

static int l_open(lua_State *L) {
    const char *given = sv_optional_text(L, 1, getenv("SV_NGSPICE"));
    static const char *const names[] = {"libngspice.so.0", "libngspice.so", "libngspice.0.dylib", "libngspice.dylib"};
    if (ng.library && !ng.broken) return done(L);
    if (given && *given)
        ng.library = dlopen(given, RTLD_NOW | RTLD_LOCAL);
    else
        for (size_t i = 0; !ng.library && i < sizeof names / sizeof *names; i++)
            ng.library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!ng.library) {
        const char *why = dlerror();
        lua_pushnil(L);
        lua_pushfstring(L,
                        "circuits need ngspice's library, which is not here (%s); "
                        "Debian, Ubuntu: apt-get install libngspice0, macOS: brew install libngspice",
                        why ? why : "no libngspice");
        return 2;
    }
    forget();
    setlocale(LC_NUMERIC, "C");                   /* netlists have decimal points */
    setenv("NGSPICE_MEAS_PRECISION", "15", true); /* digits of .meas results */
    FIND(init, "ngSpice_Init");
    FIND(circuit, "ngSpice_Circ");
    FIND(command, "ngSpice_Command");
    FIND(vector, "ngGet_Vec_Info");
    FIND(plot, "ngSpice_CurPlot");
    FIND(vectors, "ngSpice_AllVecs");
    if (ng.broken) return refuse(L, "the library lacks functions that ngspice 26 and later have");
    if (ng.init(on_text, on_status, on_exit_asked, NULL, NULL, NULL, NULL) != 0)
        return refuse(L, "the library did not start");
    command("set history=2");
    command("set num_threads=1");
    ng.command(NULL);
    return done(L);
}

/* Drops the plots of earlier runs, and the circuit. */
static void clear(bool circuit) {
    command("destroy all");
    if (circuit && ng.loaded) command("remcirc");
    if (circuit) ng.loaded = false;
    ng.command(NULL);
}

static int l_load(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    if (!ready(L)) return refuse(L, "");
    int n = (int)luaL_len(L, 1);
    char **lines = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *lines, 0);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        lines[i] = (char *)(uintptr_t)sv_check_text(L, -1, NULL); /* ngspice copies them */
        lua_pop(L, 1);
    }
    lines[n] = NULL;
    clear(true);
    forget();
    int status = ng.circuit(lines);
    if (ng.broken) return refuse(L, "the netlist was refused");
    ng.loaded = true;
    ng.command(NULL);
    return status == 0 && !ng.failed ? done(L) : refuse(L, "the netlist was refused");
}

static int l_run(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    if (!ready(L)) return refuse(L, "");
    clear(false);
    forget();
    int n = (int)luaL_len(L, 1);
    for (int i = 1; i <= n && !ng.failed && !ng.broken; i++) {
        lua_rawgeti(L, 1, i);
        command(sv_check_text(L, -1, NULL));
        lua_pop(L, 1);
    }
    if (ng.failed || ng.broken) return refuse(L, "the analysis failed");
    if (!lua_toboolean(L, 2) && !strcmp(ng.plot(), "const")) return refuse(L, "the analysis gave no result");
    return done(L);
}

/* ---- vectors ---------------------------------------------------------------------- */

static int l_vectors(lua_State *L) {
    lua_newtable(L);
    if (!ready(L)) return 1;
    char **names = ng.vectors(ng.plot());
    for (int i = 0; names && names[i]; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* A vector of the plot of the analysis just run. The plot is named, since ngspice searches other plots and its
 * constants for vectors that a plot lacks. NULL: missing or empty. */
static const ng_vector *find(const char *name) {
    char full[NAME];
    if (snprintf(full, NAME, "%s.%s", ng.plot(), name) >= NAME) return NULL;
    const ng_vector *v = ng.vector(full);
    return v && v->length > 0 ? v : NULL;
}

static int no_vector(lua_State *L, const char *name) {
    lua_pushnil(L);
    lua_pushfstring(L, "ngspice has no values of the vector '%s' in this analysis", name);
    return 2;
}

static int l_extent(lua_State *L) {
    const char *name = sv_check_text(L, 1, NULL);
    if (!ready(L)) return refuse(L, "");
    const ng_vector *v = find(name);
    if (!v) return no_vector(L, name);
    lua_pushinteger(L, v->length);
    lua_pushnumber(L, v->complex ? v->complex[0].re : v->real[0]);
    lua_pushnumber(L, v->complex ? v->complex[v->length - 1].re : v->real[v->length - 1]);
    lua_pushboolean(L, v->complex != NULL);
    return 4;
}

static int l_measured(lua_State *L) {
    lua_pushstring(L, ng.measured);
    return 1;
}

static int l_said(lua_State *L) {
    lua_pushstring(L, ng.said);
    return 1;
}

enum part { VALUE, DB, PHASE, MAGNITUDE, REAL, IMAGINARY };
static const char *const parts[] = {"value", "db", "phase", "magnitude", "real", "imaginary", NULL};

static double part_of(enum part part, ng_complex v) {
    switch (part) {
    case DB:
        return 20 * log10(hypot(v.re, v.im));
    case PHASE:
        return atan2(v.im, v.re);
    case MAGNITUDE:
        return hypot(v.re, v.im);
    case IMAGINARY:
        return v.im;
    default:
        return v.re;
    }
}

static ng_complex at(const ng_vector *v, int i) { return v->complex ? v->complex[i] : (ng_complex){v->real[i], 0}; }

/* Phases in radians, without jumps of 2 pi from point to point. */
static void unwrap(double *phase, int n) {
    const double turn = 6.28318530717958647692;
    for (int i = 1; i < n; i++) phase[i] -= turn * round((phase[i] - phase[i - 1]) / turn);
}

/* Linear interpolation from ngspice's points to even steps from first to last. */
static void resample(const double *scale, const double *v, int n, sv_real *out, int count, double first, double last) {
    for (int k = 0, i = 0; k < count; k++) {
        double x = count > 1 ? first + (last - first) * k / (count - 1) : last;
        while (i + 2 < n && scale[i + 1] < x) i++;
        double width = n > 1 ? scale[i + 1] - scale[i] : 0;
        double t = width > 0 ? (x - scale[i]) / width : 0;
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        out[k] = (sv_real)(n > 1 ? v[i] + t * (v[i + 1] - v[i]) : v[0]);
    }
}

/* Memory for n numbers, freed by Lua. */
static double *scratch(lua_State *L, int n) { return lua_newuserdatauv(L, (size_t)n * sizeof(double), 0); }

/* The part of vector `to` minus vector `from`, either of them NULL for zero; *length: how many numbers. NULL and an
 * error message on the stack if a vector is missing. */
static double *part_of_difference(lua_State *L, enum part part, const char *to, const char *from, int *length) {
    const ng_vector *v = find(to ? to : from);
    if (!v) {
        no_vector(L, to ? to : from);
        return NULL;
    }
    int n = *length = v->length;
    ng_complex *full = lua_newuserdatauv(L, (size_t)n * sizeof *full, 0);
    double sign = to ? 1 : -1;
    for (int i = 0; i < n; i++) full[i] = (ng_complex){sign * at(v, i).re, sign * at(v, i).im};
    if (to && from) {
        v = find(from);
        if (!v || v->length != n) {
            no_vector(L, from);
            return NULL;
        }
        for (int i = 0; i < n; i++) full[i] = (ng_complex){full[i].re - at(v, i).re, full[i].im - at(v, i).im};
    }
    double *value = scratch(L, n);
    for (int i = 0; i < n; i++) value[i] = part_of(part, full[i]);
    if (part == PHASE) unwrap(value, n);
    return value;
}

/* write(out, offset, value): for a number that is no vector. */
static int l_write(lua_State *L) {
    sv_tensor *out = sv_check_tensor(L, 1);
    lua_Integer offset = sv_check_integer(L, 2);
    sv_check_argument(L, offset >= 0 && (size_t)offset < out->count, 2, "outside of out");
    out->data[offset] = (sv_real)sv_check_number(L, 3);
    return 0;
}

/* read(part, to or nil, from or nil, out, offset, count, first, last): writes the part of vector `to` minus vector
 * `from` to out's numbers offset … offset+count-1 (from 0). With first and last, the analysis is in time and is
 * interpolated linearly at count even steps between them. */
static int l_read(lua_State *L) {
    enum part part = (enum part)sv_check_option(L, 1, parts);
    const char *to = sv_optional_text(L, 2, NULL), *from = sv_optional_text(L, 3, NULL);
    sv_tensor *out = sv_check_tensor(L, 4);
    lua_Integer offset = sv_check_integer(L, 5), count = sv_check_integer(L, 6);
    bool in_time = lua_isnumber(L, 7);
    sv_check_argument(L, offset >= 0 && count > 0 && (size_t)(offset + count) <= out->count, 5, "outside of out");
    sv_check_argument(L, to || from, 2, "a vector");
    if (!ready(L)) return refuse(L, "");
    int n = 0;
    double *value = part_of_difference(L, part, to, from, &n);
    if (!value) return 2;
    if (!in_time && n != count) {
        lua_pushnil(L);
        lua_pushfstring(L, "ngspice gave %d points where %d were expected", n, (int)count);
        return 2;
    }
    if (!in_time) {
        for (int i = 0; i < n; i++) out->data[offset + i] = (sv_real)value[i];
        return done(L);
    }
    const ng_vector *v = find("time");
    if (!v || v->length != n || !v->real) return no_vector(L, "time");
    resample(v->real, value, n, out->data + offset, (int)count, lua_tonumber(L, 7), sv_check_number(L, 8));
    return done(L);
}

static int l_broken(lua_State *L) {
    lua_pushboolean(L, ng.broken);
    return 1;
}

static const luaL_Reg functions[] = {{"open", l_open},
                                     {"load", l_load},
                                     {"run", l_run},
                                     {"vectors", l_vectors},
                                     {"extent", l_extent},
                                     {"read", l_read},
                                     {"write", l_write},
                                     {"measured", l_measured},
                                     {"said", l_said},
                                     {"broken", l_broken},
                                     {"enter", sv_enter_folder},
                                     {"confine", sv_confine},
                                     {NULL, NULL}};

void sv_open_spice(lua_State *L, int core) {
    core = lua_absindex(L, core);
    luaL_newlib(L, functions);
    lua_setfield(L, core, "spice");
}
