/* parameters.c: draws and codes of parameters without a prior of their own, many rows at once on the thread pool:
 *
 *     local p = core.parameters { { scale = "linear", low = 0, high = 1 }, … }
 *     p:draw(seed, before, n)   (n, K) in units; row i of stream before + i
 *     p:codes(z)                (N, size) of z (N, K)
 *
 * Formulas are those of lua/simvae/simulator/parameter.lua (draw, to_code), in double precision and rounded once, so
 * that both give the same bits. scale: "linear", "log", "class" (1 to count) or "grid" (count equidistant values);
 * code: "interval", "circle" (of a period) or "class". */
#include "../kernels/loops.h"
#include "sim.h"

#include <math.h>

#define CLASS "simvae.parameters"

enum { ROWS = 16 }; /* of a piece: a few microseconds */
enum scale { LINEAR, LOG, LEVELS, GRID };
enum code { INTERVAL, CIRCLE, ONE_HOT };

typedef struct {
    enum scale scale;
    enum code code;
    double low, high, period;
    long count;       /* levels, or values of a grid */
    double log_low;   /* of a log scale */
    double log_span;  /* log high - log low: of draws */
    double log_range; /* log(high / low): of codes */
    size_t first;     /* of its code */
} parameter;

typedef struct {
    size_t count, size; /* parameters, numbers of a code */
    parameter at[];
} parameters;

static size_t width_of(const parameter *p) { return p->code == ONE_HOT ? (size_t)p->count : p->code == CIRCLE ? 2 : 1; }

static double number_of(lua_State *L, const char *field) {
    lua_getfield(L, -1, field);
    double v = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return v;
}

static int option_of(lua_State *L, const char *field, const char *const *names) {
    lua_getfield(L, -1, field);
    int i = sv_check_option(L, lua_gettop(L), names);
    lua_pop(L, 1);
    return i;
}

/* core.parameters(list) */
static int l_new(lua_State *L) {
    static const char *const scales[] = {"linear", "log", "class", "grid", NULL};
    static const char *const codes[] = {"interval", "circle", "class", NULL};
    sv_check_type(L, 1, LUA_TTABLE);
    size_t n = (size_t)luaL_len(L, 1);
    parameters *all = lua_newuserdatauv(L, sizeof *all + n * sizeof all->at[0], 0);
    *all = (parameters){.count = n};
    luaL_setmetatable(L, CLASS);
    for (size_t i = 0; i < n; i++) {
        parameter *p = &all->at[i];
        lua_geti(L, 1, (lua_Integer)i + 1);
        *p = (parameter){.low = number_of(L, "low"), .high = number_of(L, "high"), .period = number_of(L, "period")};
        p->scale = (enum scale)option_of(L, "scale", scales);
        p->code = (enum code)option_of(L, "code", codes);
        p->count = (long)number_of(L, "count");
        if (p->scale == LOG) {
            p->log_low = log(p->low);
            p->log_span = log(p->high) - p->log_low;
            p->log_range = log(p->high / p->low);
        }
        p->first = all->size;
        all->size += width_of(p);
        lua_pop(L, 1);
    }
    return 1;
}

/* A whole number from 0 to n - 1, as rng:integer draws it. */
static double below(sv_rng *r, long n) {
    uint64_t span = (uint64_t)n - 1, i = (uint64_t)(sv_rng_uniform(r) * ((double)span + 1));
    return (double)(i > span ? span : i);
}

static double draw_one(const parameter *p, sv_rng *r) {
    switch (p->scale) {
    case LEVELS:
        return 1 + below(r, p->count);
    case GRID:
        return p->low + (p->high - p->low) * below(r, p->count) / (double)(p->count - 1);
    case LOG:
        return exp(p->log_low + p->log_span * sv_rng_uniform(r));
    default:
        return p->low + (p->high - p->low) * sv_rng_uniform(r);
    }
}

static void write_code(const parameter *p, double v, sv_real *code) {
    if (p->code == ONE_HOT) {
        double class = floor(v + 0.5);
        for (long c = 1; c <= p->count; c++) code[c - 1] = (double)c == class;
    } else if (p->code == CIRCLE) {
        double phase = 2 * 3.141592653589793238462643383279502884 * (v - p->low) / p->period;
        code[0] = (sv_real)cos(phase), code[1] = (sv_real)sin(phase);
    } else {
        double share = p->scale == LOG ? log(v / p->low) / p->log_range : (v - p->low) / (p->high - p->low);
        code[0] = (sv_real)(2 * share - 1);
    }
}

typedef struct {
    const parameters *all;
    uint64_t seed, before;
    const sv_real *from;
    sv_real *to;
    long rows;
} job;

static void draw_rows(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    const size_t K = j->all->count;
    for (long s = piece * ROWS; s < sv_min((piece + 1) * ROWS, j->rows); s++) {
        sv_rng r = {.seed = j->seed, .stream = j->before + (uint64_t)s + 1};
        for (size_t i = 0; i < K; i++) j->to[(size_t)s * K + i] = (sv_real)draw_one(&j->all->at[i], &r);
    }
}

static void code_rows(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    const size_t K = j->all->count;
    for (long s = piece * ROWS; s < sv_min((piece + 1) * ROWS, j->rows); s++)
        for (size_t i = 0; i < K; i++) {
            const parameter *p = &j->all->at[i];
            write_code(p, (double)j->from[(size_t)s * K + i], j->to + (size_t)s * j->all->size + p->first);
        }
}

static int l_draw(lua_State *L) {
    sv_enter(L);
    const parameters *all = sv_check_object(L, 1, CLASS);
    uint64_t seed = (uint64_t)sv_check_integer(L, 2), before = (uint64_t)sv_check_integer(L, 3);
    lua_Integer n = sv_check_integer(L, 4);
    sv_check_argument(L, n >= 0, 4, "draw takes 0 or more rows");
    sv_tensor *z = sv_push_tensor(L, 2, (size_t[]){(size_t)n, all->count}, SV_SCOPED);
    job j = {.all = all, .seed = seed, .before = before, .to = z->data, .rows = (long)n};
    sv_parallel(divide_up((long)n, ROWS), draw_rows, &j);
    return 1;
}

static int l_codes(lua_State *L) {
    sv_enter(L);
    const parameters *all = sv_check_object(L, 1, CLASS);
    const sv_tensor *z = sv_check_tensor(L, 2);
    if (z->ndim != 2 || z->shape[1] != all->count) return luaL_error(L, "codes: z must be (N, %d)", (int)all->count);
    sv_trace_use(L, "read", "codes", 2, 0);
    sv_tensor *code = sv_push_tensor(L, 2, (size_t[]){z->shape[0], all->size}, SV_SCOPED);
    job j = {.all = all, .from = z->data, .to = code->data, .rows = (long)z->shape[0]};
    sv_parallel(divide_up(j.rows, ROWS), code_rows, &j);
    return 1;
}

void sv_open_parameters(lua_State *L, int core) {
    core = lua_absindex(L, core);
    static const luaL_Reg methods[] = {{"draw", l_draw}, {"codes", l_codes}, {NULL, NULL}};
    sv_new_class(L, CLASS, methods, NULL, NULL);
    lua_pushcfunction(L, l_new);
    lua_setfield(L, core, "parameters");
}
