/* sort.c: sort along an axis. The permutation is kept for the gradient, which is scattered back by it. */
#include "axes.h"

#include <math.h>
#include <stdlib.h>

/* Lines along the axis: line i starts at (i / inner) * n * inner + i % inner, its
 * entries lie inner apart. */
typedef struct {
    size_t n, inner;
    const sv_real *x;
    sv_real *to, *order; /* order: position in its line, from 0 */
} lines;

typedef struct {
    sv_real value;
    uint32_t at;
} entry;

enum { AT_AXIS }; /* option */

static lines lines_of(const sv_args *a) {
    const sv_tensor *x = a->in[0];
    int axis = (int)a->opt[AT_AXIS]; /* from 0, as sort_shape left it */
    lines l = {x->shape[axis], 1, x->data, a->out->data, a->aux[0]};
    for (int i = axis + 1; i < x->ndim; i++) l.inner *= x->shape[i];
    return l;
}

static bool sort_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    int axis = 0;
    if (!sv_axis(a, (long)a->opt[AT_AXIS], x->ndim, &axis)) return false;
    a->opt[AT_AXIS] = axis;
    if (x->shape[axis] >= 1 << 24) return sv_fail(a, "sorts up to 2^24 - 1 numbers; the axis has %zu", x->shape[axis]);
    a->aux_count[0] = x->count;
    a->work_count = x->count * (sizeof(entry) / sizeof(sv_real) + 1); /* the entries of all lines */
    return sv_same_shape(a, x);
}

/* Ascending, NaN last, equal numbers in their old order. */
static int by_value(const void *p, const void *q) {
    const entry *a = p, *b = q;
    if (isnan(a->value) || isnan(b->value)) {
        if (isnan(a->value) != isnan(b->value)) return isnan(a->value) ? 1 : -1;
    } else if (a->value != b->value)
        return a->value < b->value ? -1 : 1;
    return a->at < b->at ? -1 : 1;
}

typedef struct {
    lines l;
    entry *room;
} sorting;

static void sort_line(void *arg, long i, int worker) {
    (void)worker;
    const sorting *s = arg;
    const lines *l = &s->l;
    size_t start = ((size_t)i / l->inner) * l->n * l->inner + (size_t)i % l->inner;
    entry *e = s->room + (size_t)i * l->n;
    for (size_t k = 0; k < l->n; k++) e[k] = (entry){l->x[start + k * l->inner], (uint32_t)k};
    qsort(e, l->n, sizeof *e, by_value);
    for (size_t k = 0; k < l->n; k++) {
        l->to[start + k * l->inner] = e[k].value;
        l->order[start + k * l->inner] = (sv_real)e[k].at;
    }
}

static void sort_forward(sv_args *a) {
    sorting s = {lines_of(a), (entry *)(void *)a->work};
    if (a->out->count > 0) sv_parallel((long)(a->out->count / s.l.n), sort_line, &s);
}

static void sort_backward(sv_args *a) {
    lines l = lines_of(a);
    if (a->out->count == 0) return;
    for (size_t i = 0; i < a->out->count / l.n; i++) {
        size_t start = (i / l.inner) * l.n * l.inner + i % l.inner;
        for (size_t k = 0; k < l.n; k++) {
            size_t from = start + k * l.inner;
            a->grad_in[0][start + (size_t)l.order[from] * l.inner] = a->grad_out[from];
        }
    }
}

const sv_op sv_ops_sort[] = {
    {"sort", "x; axis:axis=-1", sort_shape, sort_forward, sort_backward, 0,
     "The numbers along an axis in ascending order, NaN last.", "r(5, 3), 1"},
    {0},
};
