/* piecewise.c: monotone piecewise linear functions, each row of numbers through its own. */
#include "axes.h"

#include <math.h>

static bool piecewise_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *knots = a->in[1], *values = a->in[2];
    if (x->ndim != 2) return sv_fail(a, "x must be (N, M)");
    for (int k = 1; k <= 2; k++) {
        const sv_tensor *t = a->in[k];
        if (t->ndim != 2 || (t->shape[0] != x->shape[0] && t->shape[0] != 1) || t->shape[1] < 2)
            return sv_fail(a, "%s must be (%zu, J) or (1, J), of J = 2 knots or more", k == 1 ? "knots" : "values",
                           x->shape[0]);
    }
    if (knots->shape[1] != values->shape[1])
        return sv_fail(a, "knots has %zu columns, values %zu", knots->shape[1], values->shape[1]);
    a->ndim = 3;
    a->shape[0] = 2;
    a->shape[1] = x->shape[0];
    a->shape[2] = x->shape[1];
    return true;
}

/* The piece that x lies on, from 0; the outer ones reach to infinity. */
static size_t piece_of(size_t count, const sv_real *knots, sv_real x) {
    size_t low = 0, high = count - 1;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (knots[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The slope of piece k, and its logarithm. */
static double slope_of(const sv_real *knots, const sv_real *values, size_t k) {
    return ((double)values[k + 1] - (double)values[k]) / ((double)knots[k + 1] - (double)knots[k]);
}

enum { FEW = 64 }; /* pieces whose slopes are taken once a row */

static void piecewise_row(void *arg, long row, int worker) {
    (void)worker;
    const sv_args *a = arg;
    size_t m = a->in[0]->shape[1], count = a->in[1]->shape[1], all = a->in[0]->count, from = (size_t)row * m;
    const sv_real *knots = a->in[1]->data + (a->in[1]->shape[0] == 1 ? 0 : (size_t)row * count);
    const sv_real *values = a->in[2]->data + (a->in[2]->shape[0] == 1 ? 0 : (size_t)row * count);
    double slope[FEW], log_slope[FEW];
    bool once = count <= FEW && m >= count;
    for (size_t k = 0; once && k + 1 < count; k++) {
        slope[k] = slope_of(knots, values, k);
        log_slope[k] = log(slope[k]);
    }
    for (size_t i = from; i < from + m; i++) {
        sv_real x = a->in[0]->data[i];
        size_t k = piece_of(count, knots, x);
        double rise = once ? slope[k] : slope_of(knots, values, k);
        a->out->data[i] = (sv_real)((double)values[k] + rise * ((double)x - (double)knots[k]));
        a->out->data[all + i] = (sv_real)(once ? log_slope[k] : log(rise));
    }
}

static void piecewise_forward(sv_args *a) { sv_parallel((long)a->in[0]->shape[0], piecewise_row, a); }

const sv_op sv_ops_piecewise[] = {
    {"piecewise_linear", "x, knots, values", piecewise_shape, piecewise_forward, NULL, SV_OP_NO_GRAD,
     "x (N, M), knots and values (N, J) or (1, J), ascending -> (2, N, M): the value at x of the line through the "
     "knots "
     "of its row, and the logarithm of the slope there. Beyond the ends the outer pieces go on.",
     "r(2, 3), tensor{{-1, 0, 1}}, tensor{{0, 1, 4}}"},
    {0},
};
