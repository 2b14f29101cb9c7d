/* Matrix products: matmul (batched, either side transposed) and linear (with bias). */
#include "../simvae.h"

#include <string.h>

/* ---- matmul -------------------------------------------------------------------- */

/* count products op(X)[m][k] op(Y)[k][n]; an input of two axes serves all of them. */
typedef struct {
    long count, m, n, k, stride_x, stride_y, ldx, ldy;
    bool tx, ty;
} product;

static product product_of(const sv_args *a) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    product p = {.tx = a->opt[0] != 0, .ty = a->opt[1] != 0};
    const size_t *sx = x->shape + x->ndim - 2, *sy = y->shape + y->ndim - 2;
    p.m = (long)sx[p.tx];
    p.k = (long)sx[!p.tx];
    p.n = (long)sy[!p.ty];
    p.ldx = (long)sx[1];
    p.ldy = (long)sy[1];
    p.count = 1;
    const sv_tensor *batched = x->ndim > 2 ? x : y;
    for (int i = 0; i < batched->ndim - 2; i++) p.count *= (long)batched->shape[i];
    p.stride_x = x->ndim > 2 ? p.m * p.k : 0;
    p.stride_y = y->ndim > 2 ? p.k * p.n : 0;
    if (p.count > 1 && p.stride_y == 0 && !p.tx) { /* one tall product */
        p.m *= p.count;
        p.count = 1;
    }
    return p;
}

static bool matmul_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    bool tx = a->opt[0] != 0, ty = a->opt[1] != 0;
    if (x->ndim < 2 || y->ndim < 2) return sv_fail(a, "needs matrices, or batches of them (two axes or more)");
    const size_t *sx = x->shape + x->ndim - 2, *sy = y->shape + y->ndim - 2;
    if (sx[!tx] != sy[ty]) return sv_fail(a, "the inner lengths %zu and %zu differ", sx[!tx], sy[ty]);
    if (x->ndim > 2 && y->ndim > 2 &&
        (x->ndim != y->ndim || memcmp(x->shape, y->shape, (size_t)(x->ndim - 2) * sizeof(size_t)) != 0))
        return sv_fail(a, "the batch axes differ; they must be equal, or one side a single matrix");
    const sv_tensor *batched = x->ndim > 2 ? x : y;
    sv_same_shape(a, batched);
    a->shape[a->ndim - 2] = sx[tx];
    a->shape[a->ndim - 1] = sy[!ty];
    return true;
}

static void matmul_forward(sv_args *a) {
    product p = product_of(a);
    sv_gemm_batch(p.count, p.tx, p.ty, p.m, p.n, p.k, a->in[0]->data, p.stride_x, a->in[1]->data, p.stride_y, false,
                  a->out->data, p.m * p.n);
}

static void matmul_backward(sv_args *a) {
    product p = product_of(a);
    const sv_real *x = a->in[0]->data, *y = a->in[1]->data, *g = a->grad_out;
    for (int side = 0; side < 2; side++) {
        sv_real *to = a->grad_in[side];
        if (!to) continue;
        bool shared = (side ? p.stride_y : p.stride_x) == 0; /* then the products add up */
        for (long i = 0; i < p.count; i++) {
            const sv_real *xi = x + i * p.stride_x, *yi = y + i * p.stride_y, *gi = g + i * p.m * p.n;
            sv_real *ti = to + (side ? i * p.stride_y : i * p.stride_x);
            bool add = shared && i > 0;
            if (side == 0 && !p.tx)
                sv_gemm(false, !p.ty, p.m, p.k, p.n, gi, p.n, yi, p.ldy, add, NULL, ti, p.k);
            else if (side == 0)
                sv_gemm(p.ty, true, p.k, p.m, p.n, yi, p.ldy, gi, p.n, add, NULL, ti, p.m);
            else if (!p.ty)
                sv_gemm(!p.tx, false, p.k, p.n, p.m, xi, p.ldx, gi, p.n, add, NULL, ti, p.n);
            else
                sv_gemm(true, p.tx, p.n, p.k, p.m, gi, p.n, xi, p.ldx, add, NULL, ti, p.k);
        }
    }
}

/* ---- linear -------------------------------------------------------------------- */

static long rows_of(const sv_args *a) { return (long)(a->in[0]->count / a->in[1]->shape[1]); }

static bool linear_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *w = a->in[1], *b = a->in[2];
    if (w->ndim != 2) return sv_fail(a, "w must be (out, in)");
    if (x->ndim < 1 || x->shape[x->ndim - 1] != w->shape[1])
        return sv_fail(a, "the last axis of x must have %zu entries, as w takes", w->shape[1]);
    if (b && (b->ndim != 1 || b->shape[0] != w->shape[0])) return sv_fail(a, "b must be (%zu,)", w->shape[0]);
    sv_same_shape(a, x);
    a->shape[a->ndim - 1] = w->shape[0];
    if (w->shape[1] > 0)
        a->backward_work_count = sv_column_sums_work((long)(x->count / w->shape[1]), (long)w->shape[0]);
    return true;
}

static void linear_forward(sv_args *a) {
    const sv_tensor *w = a->in[1];
    long out = (long)w->shape[0], in = (long)w->shape[1];
    sv_gemm(false, true, rows_of(a), out, in, a->in[0]->data, in, w->data, in, false, a->in[2] ? a->in[2]->data : NULL,
            a->out->data, out);
}

static void linear_backward(sv_args *a) {
    const sv_tensor *w = a->in[1];
    long rows = rows_of(a), out = (long)w->shape[0], in = (long)w->shape[1];
    if (a->grad_in[0])
        sv_gemm(false, false, rows, in, out, a->grad_out, out, w->data, in, false, NULL, a->grad_in[0], in);
    if (a->grad_in[1])
        sv_gemm(true, false, out, in, rows, a->grad_out, out, a->in[0]->data, in, false, NULL, a->grad_in[1], in);
    if (a->in[2] && a->grad_in[2]) sv_column_sums(rows, out, a->grad_out, a->grad_in[2], a->work);
}

const sv_op sv_ops_matmul[] = {
    {"matmul", "x, y; transpose_x:bool=false, transpose_y:bool=false", matmul_shape, matmul_forward, matmul_backward, 0,
     "(…, M, K) times (…, K, N) -> (…, M, N); either side may be stored transposed or be one matrix for the batch.",
     "r(2, 3, 4), r(2, 5, 4), {transpose_y = true}"},
    {"linear", "x, w, b?", linear_shape, linear_forward, linear_backward, 0,
     "x (…, in), w (out, in), b (out) -> (…, out): x times w transposed, plus b.", "r(3, 4), r(5, 4), r(5)"},
    {0},
};
