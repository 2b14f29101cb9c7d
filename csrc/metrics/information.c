/* information.c: mutual information between the columns of two matrices, by the plug-in estimate.
 *
 * Eq. 6 of the SimVAE paper: MI(Z, V) = 1/H(V) * sum p(z, v) log(p(z, v) / (p(z) p(v))),
 * with p the relative frequencies of a histogram and natural logarithms. A column
 * is cut into equal-width bins from its minimum to its maximum; a value on an inner
 * edge belongs to the bin above it, the maximum to the last bin (as in
 * numpy.histogram). A categorical column is cut by value.
 *
 * Every column is converted to bin codes once; a pair of columns is then one pass that
 * counts code pairs. In counts c of N samples,
 *     N * MI = N log N + sum c_zv log c_zv - sum c_z log c_z - sum c_v log c_v,
 * added up in double and in a fixed order, one pair of columns a piece of work: the
 * result does not depend on the number of threads. */
#include "../simvae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS 1024 /* at most; BINS * BINS counters fit a worker's scratch */

enum problem { FINE, NOT_FINITE, CONSTANT, MANY_VALUES };

typedef struct {
    const sv_real *data; /* first number of the column */
    size_t step;         /* numbers from one row to the next */
    size_t rows;
    int bins; /* equal-width bins, or at most so many classes */
    bool by_value;
    uint16_t *code; /* rows */
    double sum;     /* sum of c log c over its bins */
    int distinct;   /* by_value: classes found */
    size_t bad_row; /* NOT_FINITE: where, from 0 */
    enum problem problem;
} column;

static double c_log_c(double c) { return c > 0 ? c * log(c) : 0; }

/* The first of n sorted values that is not below x; n: none. */
static int lower_bound(const double *values, int n, double x) {
    int low = 0, high = n;
    while (low < high) {
        int middle = (low + high) / 2;
        if (values[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Sorted insertion of x among the n distinct values seen; false: no room for another. */
static bool add_class(double *seen, int *n, int room, double x) {
    int low = lower_bound(seen, *n, x);
    if (low < *n && seen[low] == x) return true;
    if (*n == room) return false;
    memmove(seen + low + 1, seen + low, (size_t)(*n - low) * sizeof *seen);
    seen[low] = x;
    (*n)++;
    return true;
}

static int class_of(const double *seen, int n, double x) { return lower_bound(seen, n - 1, x); }

static void code_by_value(column *c) {
    double seen[BINS];
    int n = 0;
    for (size_t i = 0; i < c->rows; i++)
        if (!add_class(seen, &n, c->bins, (double)c->data[i * c->step])) {
            c->problem = MANY_VALUES;
            return;
        }
    c->distinct = n;
    if (n < 2) c->problem = CONSTANT;
    for (size_t i = 0; i < c->rows; i++) c->code[i] = (uint16_t)class_of(seen, n, (double)c->data[i * c->step]);
}

static void code_by_width(column *c, double low, double high) {
    double edge[BINS + 1];
    int bins = c->bins;
    if (!(high > low)) {
        c->problem = CONSTANT;
        memset(c->code, 0, c->rows * sizeof *c->code);
        return;
    }
    double width = (high - low) / bins, scale = 1 / width;
    for (int k = 0; k < bins; k++) edge[k] = low + k * width;
    edge[bins] = high;
    for (size_t i = 0; i < c->rows; i++) {
        double x = (double)c->data[i * c->step];
        int k = (int)((x - low) * scale);
        if (k > bins - 1) k = bins - 1;
        if (x < edge[k]) /* rounding of the product, one bin at most */
            k--;
        else if (k < bins - 1 && x >= edge[k + 1])
            k++;
        c->code[i] = (uint16_t)k;
    }
}

static void code_column(void *arg, long i, int worker) {
    (void)worker;
    column *c = (column *)arg + i;
    double low = (double)c->data[0], high = low;
    for (size_t r = 0; r < c->rows; r++) {
        double x = (double)c->data[r * c->step];
        if (!isfinite(x)) {
            c->problem = NOT_FINITE;
            c->bad_row = r;
            return;
        }
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    if (c->by_value)
        code_by_value(c);
    else
        code_by_width(c, low, high);
}

typedef struct {
    column *z, *v;
    long columns; /* of v */
    size_t samples;
    const uint32_t *row_z, *row_v; /* indices of the rows used, or NULL: all, in order */
    sv_real *mi;                   /* (K, M), divided by H(v) */
    double *entropy;               /* of v, nats */
} pairs;

/* Marginal sums of one column over the chosen rows: pieces 0 … K-1 are z, then v. */
static void count_column(void *arg, long i, int worker) {
    const pairs *p = arg;
    long nz = p->v - p->z;
    column *c = p->z + i;
    const uint32_t *row = i < nz ? p->row_z : p->row_v;
    uint32_t *count = sv_scratch(worker);
    memset(count, 0, (size_t)c->bins * sizeof *count);
    for (size_t s = 0; s < p->samples; s++) count[c->code[row ? row[s] : s]]++;
    c->sum = 0;
    for (int k = 0; k < c->bins; k++) c->sum += c_log_c(count[k]);
    if (i >= nz) p->entropy[i - nz] = log((double)p->samples) - c->sum / (double)p->samples;
}

static void count_pair(void *arg, long i, int worker) {
    const pairs *p = arg;
    const column *z = p->z + i / p->columns, *v = p->v + i % p->columns;
    size_t cells = (size_t)z->bins * (size_t)v->bins, stride = (size_t)v->bins;
    uint32_t *count = sv_scratch(worker);
    memset(count, 0, cells * sizeof *count);
    if (p->row_z || p->row_v)
        for (size_t s = 0; s < p->samples; s++) {
            size_t a = p->row_z ? p->row_z[s] : s, b = p->row_v ? p->row_v[s] : s;
            count[z->code[a] * stride + v->code[b]]++;
        }
    else
        for (size_t s = 0; s < p->samples; s++) count[z->code[s] * stride + v->code[s]]++;
    double sum = 0, n = (double)p->samples;
    for (size_t k = 0; k < cells; k++)
        if (count[k] > 1) sum += c_log_c(count[k]);
    double mi = log(n) + (sum - z->sum - v->sum) / n, entropy = p->entropy[i % p->columns];
    p->mi[i] = (sv_real)(entropy > 0 && mi > 0 ? mi / entropy : 0);
}

/* ---- Lua --------------------------------------------------------------------- */

static sv_tensor *check_matrix(lua_State *L, int index, const char *name) {
    sv_tensor *t = sv_check_tensor(L, index);
    char shape[SV_MESSAGE];
    sv_format_shape(shape, sizeof shape, t->ndim, t->shape);
    if (t->ndim != 2 || t->count == 0)
        luaL_error(L, "mutual_information: %s must be a matrix (samples, columns); this has shape %s", name, shape);
    return t;
}

/* A whole number a column: n > 0 equal-width bins, n < 0 at most -n classes. */
static void check_bins(lua_State *L, int index, const char *name, const sv_tensor *t, column *c, uint16_t *code) {
    sv_check_type(L, index, LUA_TTABLE);
    size_t rows = t->shape[0], columns = t->shape[1];
    if ((size_t)luaL_len(L, index) != columns)
        luaL_error(L, "mutual_information: %s takes a number a column, here %d; got %d", name, (int)columns,
                   (int)luaL_len(L, index));
    for (size_t i = 0; i < columns; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        lua_Integer n = sv_check_integer(L, -1), size = n < 0 ? -n : n;
        if (size < 2 || size > BINS)
            luaL_error(L, "mutual_information: 2 to %d bins; %s has %I at column %d", BINS, name, n, (int)i + 1);
        c[i] = (column){.data = t->data + i,
                        .step = columns,
                        .rows = rows,
                        .bins = (int)size,
                        .by_value = n < 0,
                        .code = code + i * rows};
        lua_pop(L, 1);
    }
}

/* A vector of row numbers (from 1) as whole numbers from 0; NULL if there is none. */
static const uint32_t *check_rows(lua_State *L, int index, size_t rows, size_t *samples) {
    if (lua_isnoneornil(L, index)) return NULL;
    sv_tensor *t = sv_check_tensor(L, index);
    if (t->count == 0 || (*samples && *samples != t->count))
        luaL_error(L, "mutual_information: the two lists of rows need the same length");
    uint32_t *to = lua_newuserdatauv(L, t->count * sizeof *to, 0);
    for (size_t i = 0; i < t->count; i++) {
        double r = (double)t->data[i];
        if (!(r >= 1 && r < (double)rows + 1))
            luaL_error(L, "mutual_information: row %f is not among 1 to %d", r, (int)rows);
        to[i] = (uint32_t)r - 1;
    }
    *samples = t->count;
    return to;
}

static int fault(lua_State *L, const char *which, size_t i, const column *c) {
    static const char *const names[] = {"", "not finite", "constant", "too many values"};
    lua_pushnil(L);
    lua_pushstring(L, names[c->problem]);
    lua_pushstring(L, which);
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_pushinteger(L, (lua_Integer)c->bad_row + 1);
    return 5;
}

/* mutual_information(z, v, bins_z, bins_v, {constant =, rows_z =, rows_v =})
 *   -> MI / H(v), (K, M); list of H(v) in nats
 *   or nil, problem, "z" | "v", column, row: metrics/mim.lua makes the message.
 * constant: a constant column of z counts as no information instead of a problem.
 * rows: which rows make the samples (bootstrap, shuffling); bins are those of all. */
static int l_mutual_information(lua_State *L) {
    sv_enter(L);
    if (!sv_reserve_scratch()) return luaL_error(L, "mutual_information: not enough memory");
    sv_tensor *z = check_matrix(L, 1, "z"), *v = check_matrix(L, 2, "v");
    lua_settop(L, 5);
    size_t nz = z->shape[1], nv = v->shape[1], rows = z->shape[0], samples = 0;
    if (v->shape[0] != rows || rows > 0xffffffffu)
        return luaL_error(L, "mutual_information: z has %d samples, v has %d", (int)rows, (int)v->shape[0]);
    column *columns = lua_newuserdatauv(L, (nz + nv) * sizeof *columns, 0);
    uint16_t *code = lua_newuserdatauv(L, (nz + nv) * rows * sizeof *code, 0);
    double *entropy = lua_newuserdatauv(L, nv * sizeof *entropy, 0);
    check_bins(L, 3, "bins of z", z, columns, code);
    check_bins(L, 4, "bins of v", v, columns + nz, code + nz * rows);

    const uint32_t *row_z = NULL, *row_v = NULL;
    bool constant = false;
    if (lua_istable(L, 5)) {
        lua_getfield(L, 5, "rows_z");
        row_z = check_rows(L, lua_gettop(L), rows, &samples);
        lua_getfield(L, 5, "rows_v");
        row_v = check_rows(L, lua_gettop(L), rows, &samples);
        lua_getfield(L, 5, "constant");
        constant = lua_toboolean(L, -1);
    }
    if (!samples) samples = rows;
    if ((row_z || row_v) && samples > rows)
        return luaL_error(L, "mutual_information: more rows are listed (%d) than there are", (int)samples);

    sv_parallel((long)(nz + nv), code_column, columns);
    for (size_t i = 0; i < nz + nv; i++) {
        enum problem p = columns[i].problem;
        if (p != FINE && !(p == CONSTANT && constant && i < nz))
            return fault(L, i < nz ? "z" : "v", i < nz ? i : i - nz, &columns[i]);
    }
    sv_tensor *mi = sv_push_tensor(L, 2, (size_t[]){nz, nv}, SV_SCOPED);
    pairs p = {columns, columns + nz, (long)nv, samples, row_z, row_v, mi->data, entropy};
    sv_parallel((long)(nz + nv), count_column, &p);
    sv_parallel((long)(nz * nv), count_pair, &p);
    lua_createtable(L, (int)nv, 0);
    for (size_t i = 0; i < nv; i++) {
        lua_pushnumber(L, entropy[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

void sv_open_metrics(lua_State *L, int core) {
    core = lua_absindex(L, core);
    lua_pushcfunction(L, l_mutual_information);
    lua_setfield(L, core, "mutual_information");
}
