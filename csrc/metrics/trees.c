/* trees.c: gradient-boosted regression trees (Friedman, "Greedy function approximation: a
 * gradient boosting machine", Annals of Statistics 2001), for the squared error;
 * metrics/dci.lua uses their feature importances.
 *
 * Features are cut into up to BINS bins at their quantiles, once; splits are
 * searched among the bin edges (as in LightGBM, Ke et al. 2017). Trees are grown level
 * by level to a fixed depth. The importance of a feature is the squared error that its
 * splits removed. One target is one piece of work and is summed in a fixed order. */
#include "../simvae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS 256
#define MAX_DEPTH 6
#define MAX_NODES (1 << MAX_DEPTH)
#define MAX_FEATURES 256
#define MIN_LEAF 5 /* samples on either side of a split */

typedef struct {
    double sum;
    uint32_t count;
} cell;

typedef struct {
    int feature; /* -1: not split */
    int bin;     /* codes up to it go to the left */
    double gain;
} split;

typedef struct {
    long train, test, features, targets;
    int trees, depth;
    double rate;
    const uint8_t *code_train, *code_test; /* (features, rows) */
    const sv_real *y;                      /* (train, targets) */
    double *residual, *estimate;           /* (targets, train), (targets, test) */
    uint8_t *node_train, *node_test;       /* (targets, train), (targets, test) */
    sv_real *prediction, *importance;      /* (test, targets), (features, targets) */
    cell *cells;                           /* per worker: (MAX_NODES / 2, features, BINS) */
} forest;

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Upper edges of the bins: quantiles of the column, each value once. */
static int find_edges(const sv_real *x, long rows, long step, double *sorted, double *edge) {
    for (long i = 0; i < rows; i++) sorted[i] = (double)x[i * step];
    qsort(sorted, (size_t)rows, sizeof *sorted, ascending);
    int n = 0;
    for (int b = 1; b < BINS; b++) {
        double v = sorted[b * rows / BINS];
        if (n == 0 || v > edge[n - 1]) edge[n++] = v;
    }
    return n;
}

static void encode(const sv_real *x, long rows, long step, const double *edge, int n, uint8_t *code) {
    for (long i = 0; i < rows; i++) {
        double v = (double)x[i * step];
        int low = 0, high = n;
        while (low < high) {
            int middle = (low + high) / 2;
            if (edge[middle] < v)
                low = middle + 1;
            else
                high = middle;
        }
        code[i] = (uint8_t)low;
    }
}

static split best_split(const cell *of_node, long features) {
    split best = {.feature = -1};
    for (long f = 0; f < features; f++) {
        const cell *c = of_node + f * BINS;
        double sum = 0, left = 0;
        uint32_t count = 0, passed = 0;
        for (int b = 0; b < BINS; b++) {
            sum += c[b].sum;
            count += c[b].count;
        }
        for (int b = 0; b < BINS - 1; b++) {
            left += c[b].sum;
            passed += c[b].count;
            if (passed < MIN_LEAF || count - passed < MIN_LEAF) continue;
            double right = sum - left;
            double gain = left * left / passed + right * right / (count - passed) - sum * sum / count;
            if (gain > best.gain + 1e-12) best = (split){(int)f, b, gain};
        }
    }
    return best;
}

/* Moves rows to the children of their nodes: node n becomes 2 n or 2 n + 1. */
static void descend(const split *splits, const uint8_t *code, long rows, uint8_t *node) {
    for (long i = 0; i < rows; i++) {
        const split *s = &splits[node[i]];
        node[i] = (uint8_t)(2 * node[i] + (s->feature >= 0 && code[s->feature * rows + i] > s->bin));
    }
}

static void grow_tree(const forest *f, long target, cell *cells) {
    double *residual = f->residual + target * f->train, *estimate = f->estimate + target * f->test;
    uint8_t *node = f->node_train + target * f->train, *node_test = f->node_test + target * f->test;
    memset(node, 0, (size_t)f->train);
    memset(node_test, 0, (size_t)f->test);
    for (int level = 0; level < f->depth; level++) {
        int nodes = 1 << level;
        size_t each = (size_t)f->features * BINS;
        split splits[MAX_NODES];
        memset(cells, 0, (size_t)nodes * each * sizeof *cells);
        for (long k = 0; k < f->features; k++) {
            const uint8_t *code = f->code_train + k * f->train;
            for (long i = 0; i < f->train; i++) {
                cell *c = &cells[node[i] * each + (size_t)k * BINS + code[i]];
                c->sum += residual[i];
                c->count++;
            }
        }
        for (int n = 0; n < nodes; n++) {
            splits[n] = best_split(cells + (size_t)n * each, f->features);
            if (splits[n].feature >= 0)
                f->importance[splits[n].feature * f->targets + target] += (sv_real)splits[n].gain;
        }
        descend(splits, f->code_train, f->train, node);
        descend(splits, f->code_test, f->test, node_test);
    }
    double sum[MAX_NODES] = {0};
    long count[MAX_NODES] = {0};
    for (long i = 0; i < f->train; i++) {
        sum[node[i]] += residual[i];
        count[node[i]]++;
    }
    for (int n = 0; n < 1 << f->depth; n++) sum[n] = count[n] ? f->rate * sum[n] / (double)count[n] : 0;
    for (long i = 0; i < f->train; i++) residual[i] -= sum[node[i]];
    for (long i = 0; i < f->test; i++) estimate[i] += sum[node_test[i]];
}

static void fit_target(void *arg, long target, int worker) {
    forest *f = arg;
    cell *cells = f->cells + (size_t)worker * (MAX_NODES / 2) * (size_t)f->features * BINS;
    double mean = 0;
    for (long i = 0; i < f->train; i++) mean += (double)f->y[i * f->targets + target];
    mean /= (double)f->train;
    for (long i = 0; i < f->train; i++)
        f->residual[target * f->train + i] = (double)f->y[i * f->targets + target] - mean;
    for (long i = 0; i < f->test; i++) f->estimate[target * f->test + i] = mean;
    for (int t = 0; t < f->trees; t++) grow_tree(f, target, cells);
    for (long i = 0; i < f->test; i++)
        f->prediction[i * f->targets + target] = (sv_real)f->estimate[target * f->test + i];
}

/* ---- Lua --------------------------------------------------------------------- */

static sv_tensor *check_matrix(lua_State *L, int index, const char *name) {
    sv_tensor *t = sv_check_tensor(L, index);
    char shape[SV_MESSAGE];
    sv_format_shape(shape, sizeof shape, t->ndim, t->shape);
    if (t->ndim != 2 || t->count == 0)
        luaL_error(L, "boosted_trees: %s must be a matrix (samples, columns); this has shape %s", name, shape);
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(t->data[i])) luaL_error(L, "boosted_trees: %s has a number that is not finite", name);
    return t;
}

static void *room(lua_State *L, size_t bytes) { return lua_newuserdatauv(L, bytes ? bytes : 1, 0); }

/* boosted_trees(x, y, x_test, {trees =, depth =, rate =})
 *   x (N, K), y (N, M), x_test (T, K) -> predictions (T, M), importances (K, M) */
static int l_boosted_trees(lua_State *L) {
    sv_enter(L);
    sv_tensor *x = check_matrix(L, 1, "x"), *y = check_matrix(L, 2, "y"), *test = check_matrix(L, 3, "x_test");
    sv_check_type(L, 4, LUA_TTABLE);
    lua_settop(L, 4);
    forest f = {.train = (long)x->shape[0],
                .test = (long)test->shape[0],
                .features = (long)x->shape[1],
                .targets = (long)y->shape[1],
                .y = y->data};
    lua_getfield(L, 4, "trees");
    lua_getfield(L, 4, "depth");
    lua_getfield(L, 4, "rate");
    f.trees = (int)sv_optional_integer(L, 5, 100);
    f.depth = (int)sv_optional_integer(L, 6, 3);
    f.rate = sv_optional_number(L, 7, 0.1);
    if ((long)y->shape[0] != f.train)
        return luaL_error(L, "boosted_trees: x has %d samples, y has %d", (int)f.train, (int)y->shape[0]);
    if ((long)test->shape[1] != f.features)
        return luaL_error(L, "boosted_trees: x has %d columns, x_test has %d", (int)f.features, (int)test->shape[1]);
    if (f.features > MAX_FEATURES || f.depth < 1 || f.depth > MAX_DEPTH || f.trees < 1)
        return luaL_error(L, "boosted_trees: at most %d columns, depth 1 to %d, at least 1 tree", MAX_FEATURES,
                          MAX_DEPTH);

    size_t features = (size_t)f.features, targets = (size_t)f.targets, rows = (size_t)f.train, rest = (size_t)f.test;
    uint8_t *train_codes = room(L, features * rows), *test_codes = room(L, features * rest);
    double *sorted = room(L, rows * sizeof *sorted), edge[BINS];
    for (long k = 0; k < f.features; k++) {
        int n = find_edges(x->data + k, f.train, f.features, sorted, edge);
        encode(x->data + k, f.train, f.features, edge, n, train_codes + (size_t)k * rows);
        encode(test->data + k, f.test, f.features, edge, n, test_codes + (size_t)k * rest);
    }
    f.code_train = train_codes;
    f.code_test = test_codes;
    f.residual = room(L, targets * rows * sizeof(double));
    f.estimate = room(L, targets * rest * sizeof(double));
    f.node_train = room(L, targets * rows);
    f.node_test = room(L, targets * rest);
    f.cells = room(L, (size_t)sv_threads() * (MAX_NODES / 2) * features * BINS * sizeof(cell));
    sv_tensor *prediction = sv_push_tensor(L, 2, (size_t[]){rest, targets}, SV_SCOPED);
    sv_tensor *importance = sv_push_tensor(L, 2, (size_t[]){features, targets}, SV_SCOPED);
    memset(importance->data, 0, importance->count * sizeof(sv_real));
    f.prediction = prediction->data;
    f.importance = importance->data;
    sv_parallel(f.targets, fit_target, &f);
    return 2;
}

void sv_open_trees(lua_State *L, int core) {
    core = lua_absindex(L, core);
    lua_pushcfunction(L, l_boosted_trees);
    lua_setfield(L, core, "boosted_trees");
}
