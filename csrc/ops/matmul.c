/* matmul.c: matrix products: matmul (batched, either side transposed) and linear (with bias). */
#include "../kernels/loops.h"
#include "../simvae.h"

#include <string.h>

/* ---- matmul -------------------------------------------------------------------- */

/* count products op(X)[m][k] op(Y)[k][n]; an input of two axes serves all of them. */
typedef struct {
    long count, m, n, k, stride_x, stride_y, ldx, ldy;
    bool tx, ty;
} product;

enum { TRANSPOSE_X, TRANSPOSE_Y };

static product product_of(const sv_args *a) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    product p = {.tx = a->opt[TRANSPOSE_X] != 0, .ty = a->opt[TRANSPOSE_Y] != 0};
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

/* The product that is the gradient of input `side`; g_first: grad_out is its first factor, the other input its second.
 */
static sv_gemm_shape gradient_of(const product *p, int side, bool *g_first) {
    *g_first = side == 0 ? !p->tx : p->ty;
    if (side == 0)
        return p->tx ? (sv_gemm_shape){p->ty, true, p->k, p->m, p->n, false}
                     : (sv_gemm_shape){false, !p->ty, p->m, p->k, p->n, false};
    return p->ty ? (sv_gemm_shape){true, p->tx, p->n, p->k, p->m, false}
                 : (sv_gemm_shape){!p->tx, false, p->k, p->n, p->m, false};
}

static bool wants_blas(const sv_args *a, const product *p) {
    sv_gemm_shape s = {p->tx, p->ty, p->m, p->n, p->k, false};
    bool wants = sv_gemm_wants(&s), g_first;
    for (int side = 0; side < 2; side++) {
        s = gradient_of(p, side, &g_first);
        if (a->in[side]->needs_grad) wants |= sv_gemm_wants(&s);
    }
    return wants;
}

static bool matmul_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    bool tx = a->opt[TRANSPOSE_X] != 0, ty = a->opt[TRANSPOSE_Y] != 0;
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
    product p = product_of(a);
    a->wants_blas = wants_blas(a, &p);
    return true;
}

static void matmul_forward(sv_args *a) {
    product p = product_of(a);
    if (p.k == 0) { /* sums of nothing */
        memset(a->out->data, 0, a->out->count * sizeof(sv_real));
        return;
    }
    sv_gemm_batch(p.count, p.tx, p.ty, p.m, p.n, p.k, a->in[0]->data, p.stride_x, a->in[1]->data, p.stride_y, false,
                  a->out->data, p.m * p.n);
}

static void matmul_backward(sv_args *a) {
    product p = product_of(a);
    const sv_real *x = a->in[0]->data, *y = a->in[1]->data, *g = a->grad_out;
    for (int side = 0; side < 2; side++) {
        sv_real *to = a->grad_in[side];
        if (!to || p.k == 0) continue;
        bool shared = (side ? p.stride_y : p.stride_x) == 0; /* then the products add up */
        bool g_first;
        const sv_gemm_shape s = gradient_of(&p, side, &g_first);
        const long ld = side ? p.ldx : p.ldy, ldg = p.n;
        for (long i = 0; i < p.count; i++) {
            const sv_real *other = side ? x + i * p.stride_x : y + i * p.stride_y, *gi = g + i * p.m * p.n;
            sv_real *ti = to + (side ? i * p.stride_y : i * p.stride_x);
            sv_gemm(s.transpose_a, s.transpose_b, s.m, s.n, s.k, g_first ? gi : other, g_first ? ldg : ld,
                    g_first ? other : gi, g_first ? ld : ldg, shared && i > 0, NULL, ti, s.n);
        }
    }
}

/* ---- linear -------------------------------------------------------------------- */

/* y = act(x w' + b). What backward needs of the activation are its slopes, which forward
 * computes on the way and keeps in place of its input. */

enum { ACTIVATION, SLOPE };

enum { PAD = 16 };

static sv_linear linear_of(const sv_args *a) {
    const sv_tensor *x = a->in[0], *w = a->in[1];
    sv_linear l = {.in = (long)w->shape[1], .out = (long)w->shape[0]};
    l.rows = l.in > 0 ? (long)x->count / l.in : 0;
    l.act = sv_fused_activations[(int)a->opt[ACTIVATION]].apply;
    l.opt = &a->opt[SLOPE];
    l.slopes = a->aux[0];
    return l;
}

/* Numbers of backward's work before those of sv_column_sums: the gradient before the activation. */
static size_t scaled_count(const sv_linear *l) { return l->act ? (size_t)round_up(l->rows * l->out, PAD) : 0; }

static bool linear_wants_blas(const sv_linear *l) {
    return sv_gemm_wants(&(sv_gemm_shape){false, true, l->rows, l->out, l->in, true}) ||
           sv_gemm_wants(&(sv_gemm_shape){false, false, l->rows, l->in, l->out, true}) ||
           sv_gemm_wants(&(sv_gemm_shape){true, false, l->out, l->in, l->rows, true});
}

/* Through linear.c, unless a library computes the products of layers. */
static bool is_fused(const sv_linear *l) {
    return sv_linear_suits(l) && !sv_gemm_by_library(&(sv_gemm_shape){false, true, l->rows, l->out, l->in, true});
}

static bool linear_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *w = a->in[1], *b = a->in[2];
    if (w->ndim != 2) return sv_fail(a, "w must be (out, in)");
    if (w->shape[1] < 1) return sv_fail(a, "w must take 1 entry or more; its second axis has 0");
    if (x->ndim < 1 || x->shape[x->ndim - 1] != w->shape[1])
        return sv_fail(a, "the last axis of x must have %zu entries, as w takes", w->shape[1]);
    if (b && (b->ndim != 1 || b->shape[0] != w->shape[0])) return sv_fail(a, "b must be (%zu,)", w->shape[0]);
    sv_same_shape(a, x);
    a->shape[a->ndim - 1] = w->shape[0];
    sv_linear l = linear_of(a);
    if (l.act) a->aux_count[0] = (size_t)(l.rows * l.out);
    a->wants_blas = linear_wants_blas(&l);
    a->backward_work_count = is_fused(&l) ? sv_linear_work(&l) : scaled_count(&l) + sv_column_sums_work(l.rows, l.out);
    return true;
}

static void activate(const void *arg, long row, long col, long n, sv_real *c) {
    const sv_linear *l = arg;
    l->act((size_t)n, c, l->slopes ? l->slopes + row * l->out + col : NULL, l->opt);
}

static void linear_forward(sv_args *a) {
    sv_linear l = linear_of(a);
    const sv_real *x = a->in[0]->data, *w = a->in[1]->data, *b = a->in[2] ? a->in[2]->data : NULL;
    sv_real *y = a->out->data;
    if (!a->training) l.slopes = NULL;
    if (l.rows == 1) { /* y' = w x' + b': w is read once, where it lies, and not packed */
        sv_gemm(false, true, l.out, 1, l.in, w, l.in, x, l.in, false, NULL, y, 1);
        for (long i = 0; b && i < l.out; i++) y[i] += b[i];
        if (l.act) activate(&l, 0, 0, l.out, y);
    } else if (is_fused(&l)) {
        sv_linear_forward(&l, x, w, b, y);
    } else {
        sv_product p = sv_dense_product(false, true, l.rows, l.out, l.in, x, l.in, w, l.in);
        p.c = y;
        p.ldc = l.out;
        p.bias = b;
        p.epilogue = l.act ? activate : NULL;
        p.epilogue_arg = &l;
        sv_dense_products(&p, 1, true);
    }
}

static void linear_backward(sv_args *a) {
    sv_linear l = linear_of(a);
    const sv_real *g = a->grad_out, *x = a->in[0]->data, *w = a->in[1]->data;
    sv_real *gx = a->grad_in[0], *gw = a->grad_in[1], *gb = a->in[2] ? a->grad_in[2] : NULL;
    if (is_fused(&l)) {
        sv_linear_backward(&l, g, x, w, gx, gw, gb, a->work);
        return;
    }
    sv_real *scaled = a->work, *sums = a->work + scaled_count(&l);
    if (l.act) {
        sv_scaled_column_sums(l.rows, l.out, g, l.slopes, scaled, gb, sums);
        g = scaled;
    } else if (gb) {
        sv_column_sums(l.rows, l.out, g, gb, sums);
    }
    sv_product p[2];
    long count = 0;
    if (gx) {
        p[count] = sv_dense_product(false, false, l.rows, l.in, l.out, g, l.out, w, l.in);
        p[count].c = gx;
        p[count++].ldc = l.in;
    }
    if (gw) {
        p[count] = sv_dense_product(true, false, l.out, l.in, l.rows, g, l.out, x, l.in);
        p[count].c = gw;
        p[count++].ldc = l.in;
    }
    sv_dense_products(p, count, true);
}

const sv_op sv_ops_matmul[] = {
    {"matmul", "x, y; transpose_x:bool=false, transpose_y:bool=false", matmul_shape, matmul_forward, matmul_backward, 0,
     "(…, M, K) times (…, K, N) -> (…, M, N); either side may be stored transposed or be one matrix for the batch.",
     "r(2, 3, 4), r(2, 5, 4), {transpose_y = true}"},
    {"linear", "x, w, b?; activation:fused=none, slope:num=0.01", linear_shape, linear_forward, linear_backward, 0,
     "x (…, in), w (out, in), b (out) -> (…, out): x times w transposed, plus b, then the activation (slope: that of "
     "leaky_relu below zero) in the same pass.",
     "r(3, 4), r(5, 4), r(5), 'gelu'"},
    {0},
};
