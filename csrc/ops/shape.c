/* shape.c: ops that move numbers without computing: layout, reshape, … */
#include "../kernels/gemm.h"
#include "axes.h"

#include <tgmath.h>

/* Options. */
enum { AT_AXIS, AT_INDEX, OTHER_AXIS = AT_INDEX };
enum { TO }; /* a shape, or the order of the axes */

/* ---- layout: inserted by apply.c where an op needs it ------------------------- */

static bool layout_shape(sv_args *a) { return sv_same_shape(a, a->in[0]); }

static void images(const sv_tensor *t, long *n, long *c, long *hw) {
    *n = (long)t->shape[0];
    *c = (long)t->shape[1];
    *hw = (long)(t->shape[2] * t->shape[3]);
}

static void to_plain_forward(sv_args *a) {
    long n, c, hw;
    images(a->out, &n, &c, &hw);
    sv_to_plain(n, c, hw, a->in[0]->data, a->out->data);
}

static void to_plain_backward(sv_args *a) {
    long n, c, hw;
    images(a->out, &n, &c, &hw);
    sv_to_channels_last(n, c, hw, a->grad_out, a->grad_in[0]);
}

static void to_channels_last_forward(sv_args *a) {
    long n, c, hw;
    images(a->out, &n, &c, &hw);
    sv_to_channels_last(n, c, hw, a->in[0]->data, a->out->data);
}

static void to_channels_last_backward(sv_args *a) {
    long n, c, hw;
    images(a->out, &n, &c, &hw);
    sv_to_plain(n, c, hw, a->grad_out, a->grad_in[0]);
}

const sv_op sv_op_to_plain = {
    "to_plain", "x", layout_shape, to_plain_forward, to_plain_backward, SV_OP_INTERNAL, "(N, C, H, W) in memory order.",
    NULL};
const sv_op sv_op_to_channels_last = {"to_channels_last",
                                      "x",
                                      layout_shape,
                                      to_channels_last_forward,
                                      to_channels_last_backward,
                                      SV_OP_INTERNAL,
                                      "(N, H, W, C) in memory order.",
                                      NULL};

static void copy_gradient(sv_args *a) { memcpy(a->grad_in[0], a->grad_out, a->out->count * sizeof(sv_real)); }

/* With one channel or one pixel both layouts are the same memory. */
const sv_op sv_op_relabel = {"relabel",
                             "x",
                             layout_shape,
                             NULL,
                             copy_gradient,
                             SV_OP_VIEW | SV_OP_INTERNAL,
                             "The same memory under the other layout.",
                             NULL};

/* ---- reshape ----------------------------------------------------------------- */

static bool reshape_shape(sv_args *a) {
    const sv_list *to = &a->list[TO];
    size_t known = 1;
    int open = -1;
    a->ndim = to->n;
    for (int i = 0; i < to->n; i++) {
        if (to->at[i] == -1) {
            if (open >= 0) return sv_fail(a, "only one axis of the new shape can be -1");
            open = i;
            continue;
        }
        if (to->at[i] < 0) return sv_fail(a, "axis %d of the new shape is %ld", i + 1, to->at[i]);
        a->shape[i] = (size_t)to->at[i];
    }
    for (int i = 0; i < to->n; i++)
        if (i != open) sv_mul_size(known, a->shape[i], &known);
    size_t count = a->in[0]->count;
    if (open >= 0) {
        if (known == 0 || count % known) return sv_fail(a, "%zu numbers do not divide by %zu", count, known);
        a->shape[open] = count / known;
    } else if (known != count)
        return sv_fail(a, "the new shape has %zu numbers, the tensor %zu", known, count);
    return true;
}

/* ---- select: one entry of an axis -------------------------------------------- */

static bool select_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    long axis = (long)a->opt[AT_AXIS], i = (long)a->opt[AT_INDEX];
    if (axis != 0) return sv_fail(a, "only the first axis; slice takes any");
    long n = x->ndim ? (long)x->shape[0] : 0;
    if (i < 0) i += n + 1;
    if (i < 1 || i > n) return sv_fail(a, "index %ld is outside the first axis", (long)a->opt[AT_INDEX]);
    a->ndim = x->ndim - 1;
    memcpy(a->shape, x->shape + 1, (size_t)a->ndim * sizeof(size_t));
    a->view_offset = (size_t)(i - 1) * (x->count / x->shape[0]);
    return true;
}

static void select_backward(sv_args *a) {
    memset(a->grad_in[0], 0, a->in[0]->count * sizeof(sv_real));
    memcpy(a->grad_in[0] + a->view_offset, a->grad_out, a->out->count * sizeof(sv_real));
}

/* ---- flatten ------------------------------------------------------------------ */

static bool flatten_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    int axis = 0;
    if (x->ndim > 0 && !sv_axis(a, (long)a->opt[AT_AXIS], x->ndim, &axis)) return false;
    a->ndim = axis + 1;
    memcpy(a->shape, x->shape, (size_t)axis * sizeof(size_t));
    a->shape[axis] = 1;
    for (int i = axis; i < x->ndim; i++) a->shape[axis] *= x->shape[i];
    return true;
}

/* ---- strided copies: permute, slice, expand, pad ---------------------------------- */

/* A strided copy: a shape, and a step for each axis on both sides. */
typedef struct {
    int ndim;
    size_t shape[SV_MAX_DIM];
    long from_step[SV_MAX_DIM], to_step[SV_MAX_DIM];
    const sv_real *from;
    sv_real *to;
    size_t rows, each; /* rows of the innermost axis; rows a piece */
    bool add;
} strided;

static void add_row(size_t n, const sv_real *from, long f, sv_real *to, long t) {
    if (f == 1 && t == 0)
        *to += (sv_real)sv_run_sum(n, from);
    else if (f == 1 && t == 1)
        sv_add_row((long)n, from, to);
    else
        for (size_t i = 0; i < n; i++) to[(long)i * t] += from[(long)i * f];
}

static void copy_row(size_t n, const sv_real *from, long f, sv_real *to, long t) {
    if (f == 1 && t == 1)
        memcpy(to, from, n * sizeof *to);
    else if (f == 0 && t == 1)
        for (size_t i = 0; i < n; i++) to[i] = *from;
    else
        for (size_t i = 0; i < n; i++) to[(long)i * t] = from[(long)i * f];
}

static void strided_piece(void *arg, long piece, int worker) {
    (void)worker;
    const strided *w = arg;
    const int inner = w->ndim - 1;
    size_t last = ((size_t)piece + 1) * w->each;
    if (last > w->rows) last = w->rows;
    for (size_t row = (size_t)piece * w->each; row < last; row++) {
        long from = 0, to = 0;
        size_t rest = row;
        for (int k = w->ndim - 2; k >= 0; k--) {
            long at = (long)(rest % w->shape[k]);
            rest /= w->shape[k];
            from += at * w->from_step[k];
            to += at * w->to_step[k];
        }
        (w->add ? add_row : copy_row)(w->shape[inner], w->from + from, w->from_step[inner], w->to + to,
                                      w->to_step[inner]);
    }
}

/* Where one axis is adjacent in `from` and another one in `to`: transposed matrices (rows, cols) of those two, one for
 * each combination of the other axes, in pieces of `each` matrices or of `width` columns of one. */
typedef struct {
    const strided *s;
    int rows, cols; /* the axes that are adjacent in `to` and in `from` */
    size_t matrices, each, width, cuts;
} transposed;

enum { LEAST_SIDE = 4, LANES = 16 };

static void transposed_piece(void *arg, long piece, int worker) {
    (void)worker;
    const transposed *t = arg;
    const strided *s = t->s;
    const size_t first = (size_t)piece / t->cuts * t->each, col = (size_t)piece % t->cuts * t->width,
                 rows = s->shape[t->rows], all = s->shape[t->cols], cols = all - col < t->width ? all - col : t->width;
    for (size_t i = first; i < first + t->each && i < t->matrices; i++) {
        long from = (long)col, to = (long)col * s->to_step[t->cols];
        size_t rest = i;
        for (int k = s->ndim - 1; k >= 0; k--) {
            if (k == t->rows || k == t->cols) continue;
            const long at = (long)(rest % s->shape[k]);
            rest /= s->shape[k];
            from += at * s->from_step[k];
            to += at * s->to_step[k];
        }
        sv_cpu->gemm->transpose((long)rows, (long)cols, s->from + from, s->from_step[t->rows], s->to + to,
                                s->to_step[t->cols]);
    }
}

/* False: s is not such a copy. */
static bool run_transposed(const strided *s) {
    transposed t = {.s = s, .rows = -1, .cols = -1, .matrices = 1, .each = 1, .cuts = 1};
    for (int k = 0; k < s->ndim; k++) {
        if (s->to_step[k] == 1) t.rows = k;
        if (s->from_step[k] == 1) t.cols = k;
    }
    if (s->add || t.rows < 0 || t.cols < 0 || t.rows == t.cols) return false;
    const size_t rows = s->shape[t.rows], cols = s->shape[t.cols];
    if (rows < LEAST_SIDE || cols < LEAST_SIDE || s->from_step[t.rows] < 0 || s->to_step[t.cols] < 0) return false;
    for (int k = 0; k < s->ndim; k++)
        if (k != t.rows && k != t.cols) t.matrices *= s->shape[k];
    t.width = cols;
    if (rows * cols < SV_CHUNK) {
        t.each = SV_CHUNK / (rows * cols);
    } else {
        t.width = (size_t)round_up(divide_up(SV_CHUNK, (long)rows), LANES);
        t.cuts = (size_t)divide_up((long)cols, (long)t.width);
    }
    sv_parallel(divide_up((long)t.matrices, (long)t.each) * (long)t.cuts, transposed_piece, &t);
    return true;
}

/* Merges axes that are contiguous on both sides, then copies in parallel (adds in order, and in parallel along the
 * first axis unless all of it goes to the same numbers). */
static void run_strided(strided *w) {
    strided s = *w;
    s.ndim = 0;
    for (int i = 0; i < w->ndim; i++) {
        if (w->shape[i] == 0) return;
        if (w->shape[i] == 1) continue;
        int last = s.ndim - 1;
        long n = (long)w->shape[i];
        if (last < 0 || s.from_step[last] != w->from_step[i] * n || s.to_step[last] != w->to_step[i] * n) {
            last = s.ndim++;
            s.shape[last] = 1;
        }
        s.shape[last] *= w->shape[i];
        s.from_step[last] = w->from_step[i];
        s.to_step[last] = w->to_step[i];
    }
    if (s.ndim == 0) {
        s.ndim = 1;
        s.shape[0] = 1;
        s.from_step[0] = s.to_step[0] = 1;
    }
    if (run_transposed(&s)) return;
    s.rows = 1;
    for (int i = 0; i < s.ndim - 1; i++) s.rows *= s.shape[i];
    size_t inner = s.shape[s.ndim - 1];
    s.each = inner < SV_CHUNK ? SV_CHUNK / inner : 1;
    if (s.add) {
        const size_t own = s.ndim > 1 && s.to_step[0] ? s.rows / s.shape[0] : s.rows;
        s.each = (size_t)round_up((long)s.each, (long)own);
    }
    sv_parallel((long)((s.rows + s.each - 1) / s.each), strided_piece, &s);
}

static void row_major(int ndim, const size_t *shape, long *step) {
    long s = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        step[i] = s;
        s *= (long)shape[i];
    }
}

/* The copy of out from x, or of the gradient the other way. */
static void copy_between(const sv_args *a, const long *x_step, size_t x_offset, const long *out_step, size_t out_offset,
                         int ndim, const size_t *shape, bool back) {
    strided w = {.ndim = ndim};
    memcpy(w.shape, shape, (size_t)ndim * sizeof *shape);
    memcpy(back ? w.to_step : w.from_step, x_step, (size_t)ndim * sizeof(long));
    memcpy(back ? w.from_step : w.to_step, out_step, (size_t)ndim * sizeof(long));
    w.from = back ? a->grad_out + out_offset : a->in[0]->data + x_offset;
    w.to = back ? a->grad_in[0] + x_offset : a->out->data + out_offset;
    run_strided(&w);
}

/* ---- permute, transpose -------------------------------------------------------------- */

static bool permute_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    const sv_list *axes = &a->list[TO];
    bool seen[SV_MAX_DIM] = {false};
    if (axes->n != x->ndim) return sv_fail(a, "takes all %d axes in their new order; got %d", x->ndim, axes->n);
    a->ndim = x->ndim;
    for (int i = 0; i < axes->n; i++) {
        int axis = 0;
        if (!sv_axis(a, axes->at[i], x->ndim, &axis)) return false;
        if (seen[axis]) return sv_fail(a, "axis %d is given twice", axis + 1);
        seen[axis] = true;
        a->shape[i] = x->shape[axis];
    }
    return true;
}

static void permute(const sv_args *a, const int *axes, bool back) {
    long own[SV_MAX_DIM], x_step[SV_MAX_DIM], out_step[SV_MAX_DIM];
    row_major(a->in[0]->ndim, a->in[0]->shape, own);
    row_major(a->out->ndim, a->out->shape, out_step);
    for (int i = 0; i < a->out->ndim; i++) x_step[i] = own[axes[i]];
    copy_between(a, x_step, 0, out_step, 0, a->out->ndim, a->out->shape, back);
}

static void permute_any(sv_args *a, bool back) {
    int axes[SV_MAX_DIM];
    for (int i = 0; i < a->out->ndim; i++) {
        long axis = a->list[TO].at[i];
        axes[i] = (int)(axis < 0 ? axis + a->out->ndim : axis);
    }
    permute(a, axes, back);
}

static void permute_forward(sv_args *a) { permute_any(a, false); }
static void permute_backward(sv_args *a) { permute_any(a, true); }

static bool transpose_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    int p = 0, q = 0;
    if (!sv_axis(a, (long)a->opt[AT_AXIS], x->ndim, &p) || !sv_axis(a, (long)a->opt[OTHER_AXIS], x->ndim, &q))
        return false;
    sv_same_shape(a, x);
    a->shape[p] = x->shape[q];
    a->shape[q] = x->shape[p];
    return true;
}

static void transpose_any(sv_args *a, bool back) {
    int axes[SV_MAX_DIM], n = a->out->ndim, p = (int)a->opt[AT_AXIS], q = (int)a->opt[OTHER_AXIS];
    if (p < 0) p += n;
    if (q < 0) q += n;
    for (int i = 0; i < n; i++) axes[i] = i == p ? q : i == q ? p : i;
    permute(a, axes, back);
}

static void transpose_forward(sv_args *a) { transpose_any(a, false); }
static void transpose_backward(sv_args *a) { transpose_any(a, true); }

/* ---- slice ------------------------------------------------------------------------------ */

enum { SLICE_AXIS, SLICE_FIRST, SLICE_LAST, SLICE_STEP };

static bool slice_range(sv_args *a, int *axis, long *first, long *count) {
    const sv_tensor *x = a->in[0];
    if (!sv_axis(a, (long)a->opt[SLICE_AXIS], x->ndim, axis)) return false;
    long n = (long)x->shape[*axis], from = (long)a->opt[SLICE_FIRST], to = (long)a->opt[SLICE_LAST],
         step = (long)a->opt[SLICE_STEP];
    if (from < 0) from += n + 1;
    if (to < 0) to += n + 1;
    if (step == 0) return sv_fail(a, "the step is 0");
    *count = (to - from) / step + 1; /* none of these is beyond 2^53 */
    if ((step > 0 && to < from) || (step < 0 && to > from)) *count = 0;
    if (*count > 0 && (from < 1 || from > n || to < 1 || to > n))
        return sv_fail(a, "first %ld to last %ld is outside axis %d, which has %ld entries", (long)a->opt[SLICE_FIRST],
                       (long)a->opt[SLICE_LAST], *axis + 1, n);
    *first = from - 1;
    return true;
}

static bool slice_shape(sv_args *a) {
    int axis = 0;
    long first = 0, count = 0;
    if (!slice_range(a, &axis, &first, &count)) return false;
    sv_same_shape(a, a->in[0]);
    a->shape[axis] = (size_t)count;
    return true;
}

static void slice_any(sv_args *a, bool back) {
    int axis = 0;
    long first = 0, count = 0, x_step[SV_MAX_DIM], out_step[SV_MAX_DIM];
    slice_range(a, &axis, &first, &count);
    row_major(a->in[0]->ndim, a->in[0]->shape, x_step);
    row_major(a->out->ndim, a->out->shape, out_step);
    size_t offset = (size_t)(first * x_step[axis]);
    x_step[axis] *= (long)a->opt[SLICE_STEP];
    if (back) memset(a->grad_in[0], 0, a->in[0]->count * sizeof(sv_real));
    if (count > 0) copy_between(a, x_step, offset, out_step, 0, a->out->ndim, a->out->shape, back);
}

static void slice_forward(sv_args *a) { slice_any(a, false); }
static void slice_backward(sv_args *a) { slice_any(a, true); }

/* ---- expand ----------------------------------------------------------------------------- */

static bool expand_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    const sv_list *to = &a->list[TO];
    if (to->n < x->ndim) return sv_fail(a, "the new shape has fewer axes");
    a->ndim = to->n;
    for (int i = 0; i < to->n; i++) {
        int own = i - (to->n - x->ndim);
        long now = own >= 0 ? (long)x->shape[own] : 1, n = to->at[i] == -1 ? now : to->at[i];
        if (n < 0 || (now != 1 && now != n)) return sv_fail(a, "axis of %ld cannot become %ld", now, to->at[i]);
        a->shape[i] = (size_t)n;
    }
    return true;
}

static void expand_any(sv_args *a, bool back) {
    long own[SV_MAX_DIM], x_step[SV_MAX_DIM] = {0}, out_step[SV_MAX_DIM];
    const sv_tensor *x = a->in[0], *out = a->out;
    int shift = out->ndim - x->ndim;
    row_major(x->ndim, x->shape, own);
    row_major(out->ndim, out->shape, out_step);
    for (int i = shift; i < out->ndim; i++) x_step[i] = x->shape[i - shift] == 1 ? 0 : own[i - shift];
    if (!back) {
        copy_between(a, x_step, 0, out_step, 0, out->ndim, out->shape, false);
        return;
    }
    memset(a->grad_in[0], 0, x->count * sizeof(sv_real));
    strided w = {.ndim = out->ndim, .from = a->grad_out, .to = a->grad_in[0], .add = true};
    memcpy(w.shape, out->shape, sizeof w.shape);
    memcpy(w.from_step, out_step, sizeof out_step);
    memcpy(w.to_step, x_step, sizeof x_step);
    run_strided(&w);
}

static void expand_forward(sv_args *a) { expand_any(a, false); }
static void expand_backward(sv_args *a) { expand_any(a, true); }

/* ---- pad: numbers around the last two axes -------------------------------------------------- */

enum { PAD_WIDTHS, PAD_VALUE }; /* options */
enum { PAD_TOP, PAD_BOTTOM, PAD_LEFT, PAD_RIGHT };

static bool pad_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    const sv_list *w = &a->list[PAD_WIDTHS];
    if (w->n != 4 || x->ndim < 2) return sv_fail(a, "takes {top, bottom, left, right} for the last two axes");
    for (int i = 0; i < 4; i++)
        if (w->at[i] < 0) return sv_fail(a, "a width is %ld; slice cuts", w->at[i]);
    sv_same_shape(a, x);
    a->shape[x->ndim - 2] += (size_t)(w->at[PAD_TOP] + w->at[PAD_BOTTOM]);
    a->shape[x->ndim - 1] += (size_t)(w->at[PAD_LEFT] + w->at[PAD_RIGHT]);
    return true;
}

static void pad_any(sv_args *a, bool back) {
    long x_step[SV_MAX_DIM], out_step[SV_MAX_DIM];
    const sv_tensor *x = a->in[0], *out = a->out;
    row_major(x->ndim, x->shape, x_step);
    row_major(out->ndim, out->shape, out_step);
    size_t offset =
        (size_t)(a->list[PAD_WIDTHS].at[PAD_TOP] * out_step[out->ndim - 2] + a->list[PAD_WIDTHS].at[PAD_LEFT]);
    for (size_t i = 0; !back && i < out->count; i++) out->data[i] = (sv_real)a->opt[PAD_VALUE];
    if (x->count > 0) copy_between(a, x_step, 0, out_step, offset, x->ndim, x->shape, back);
}

static void pad_forward(sv_args *a) { pad_any(a, false); }
static void pad_backward(sv_args *a) { pad_any(a, true); }

/* ---- concat, stack ---------------------------------------------------------------------------- */

static bool concat_shape(sv_args *a) {
    int axis = 0;
    const sv_tensor *first = a->in[0];
    if (!sv_axis(a, (long)a->opt[AT_AXIS], first->ndim, &axis)) return false;
    sv_same_shape(a, first);
    for (int k = 1; k < a->nin; k++) {
        const sv_tensor *x = a->in[k];
        for (int i = 0; i < first->ndim; i++)
            if (x->ndim != first->ndim || (i != axis && x->shape[i] != first->shape[i]))
                return sv_fail(a, "shapes must agree on all axes but axis %d; tensor %d does not", axis + 1, k + 1);
        a->shape[axis] += x->shape[axis];
    }
    return true;
}

static bool stack_shape(sv_args *a) {
    int axis = 0;
    const sv_tensor *first = a->in[0];
    if (first->ndim == SV_MAX_DIM) return sv_fail(a, "a tensor has at most %d axes", SV_MAX_DIM);
    if (!sv_axis(a, (long)a->opt[AT_AXIS], first->ndim + 1, &axis)) return false;
    for (int k = 1; k < a->nin; k++)
        if (a->in[k]->ndim != first->ndim ||
            memcmp(a->in[k]->shape, first->shape, (size_t)first->ndim * sizeof(size_t)))
            return sv_fail(a, "shapes must be equal; that of tensor %d is not", k + 1);
    a->ndim = first->ndim + 1;
    memcpy(a->shape, first->shape, (size_t)axis * sizeof(size_t));
    a->shape[axis] = (size_t)a->nin;
    memcpy(a->shape + axis + 1, first->shape + axis, (size_t)(first->ndim - axis) * sizeof(size_t));
    return true;
}

/* In memory both are the same: out is `outer` rows, in each of which input k has
 * count / outer adjacent numbers. */
static void join_any(sv_args *a, bool back) {
    const sv_tensor *out = a->out;
    int axis = (int)a->opt[AT_AXIS] < 0 ? (int)a->opt[AT_AXIS] + out->ndim : (int)a->opt[AT_AXIS];
    size_t outer = 1, at = 0;
    for (int i = 0; i < axis; i++) outer *= out->shape[i];
    if (out->count == 0) return;
    size_t row = out->count / outer;
    for (int k = 0; k < a->nin; k++) {
        size_t n = a->in[k]->count / outer;
        strided w = {.ndim = 2, .shape = {outer, n}};
        w.from_step[0] = (long)(back ? row : n);
        w.to_step[0] = (long)(back ? n : row);
        w.from_step[1] = w.to_step[1] = 1;
        w.from = back ? a->grad_out + at : a->in[k]->data;
        w.to = back ? a->grad_in[k] : out->data + at;
        if (w.to) run_strided(&w);
        at += n;
    }
}

static void join_forward(sv_args *a) { join_any(a, false); }
static void join_backward(sv_args *a) { join_any(a, true); }

/* ---- gather -------------------------------------------------------------------------------------- */

/* The first index that is not a whole number from 1 to most; *at stays where there is none. */
SV_LOOP(first_wrong_index, (size_t n, const sv_real *index, sv_real most, size_t *at), (n, index, most, at)) {
    unsigned wrong = 0;
    for (size_t i = 0; i < n; i++) wrong |= !(index[i] >= 1 && index[i] <= most && index[i] == floor(index[i]));
    for (size_t i = 0; wrong && i < n; i++)
        if (!(index[i] >= 1 && index[i] <= most && index[i] == floor(index[i]))) {
            *at = i;
            return;
        }
}

static bool gather_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *index = a->in[1];
    int axis = 0;
    if (!sv_axis(a, (long)a->opt[AT_AXIS], x->ndim, &axis)) return false;
    if (index->ndim != x->ndim) return sv_fail(a, "index must have as many axes as x");
    for (int i = 0; i < x->ndim; i++)
        if (i != axis && index->shape[i] > x->shape[i])
            return sv_fail(a, "index is longer than x along axis %d", i + 1);
    size_t wrong = index->count;
    first_wrong_index(index->count, index->data, (sv_real)x->shape[axis], &wrong);
    if (wrong < index->count)
        return sv_fail(a, "index %g is not a whole number from 1 to %zu", (double)index->data[wrong], x->shape[axis]);
    return sv_same_shape(a, index);
}

/* Columns from … end - 1 of a row of `index` (numbers of the axis, from 1, `step` apart) and of what belongs to it; x:
 * where column 0 of the row begins, its numbers `across` apart. */
SV_LOOP(gather_row,
        (size_t from, size_t end, const sv_real *index, const sv_real *x, long step, long across, sv_real *to),
        (from, end, index, x, step, across, to)) {
    for (size_t j = from; j < end; j++) to[j] = x[((long)index[j] - 1) * step + (long)j * across];
}

static void scatter_row(size_t from, size_t end, const sv_real *index, const sv_real *g, long step, long across,
                        sv_real *to) {
    for (size_t j = from; j < end; j++) to[((long)index[j] - 1) * step + (long)j * across] += g[j];
}

/* Pieces: `each` rows of the last axis, whole or, where the rows of x that they go to are shared, `width` columns of
 * all rows. */
typedef struct {
    const sv_tensor *x, *index;
    int axis;
    long step[SV_MAX_DIM];
    size_t rows, n, each, width, cuts;
    const sv_real *from;
    sv_real *to;
    bool back;
} gather_work;

static void gather_piece(void *arg, long piece, int worker) {
    (void)worker;
    const gather_work *w = arg;
    const int last = w->x->ndim - 1;
    const size_t first = (size_t)piece / w->cuts * w->each, from = (size_t)piece % w->cuts * w->width;
    const size_t end = from + w->width < w->n ? from + w->width : w->n;
    const long across = w->axis == last ? 0 : w->step[last];
    for (size_t r = first; r < first + w->each && r < w->rows; r++) {
        long at = 0;
        size_t rest = r;
        for (int k = last - 1; k >= 0; k--) {
            if (k != w->axis) at += (long)(rest % w->index->shape[k]) * w->step[k];
            rest /= w->index->shape[k];
        }
        const sv_real *index = w->index->data + r * w->n;
        if (w->back)
            scatter_row(from, end, index, w->from + r * w->n, w->step[w->axis], across, w->to + at);
        else
            gather_row(from, end, index, w->from + at, w->step[w->axis], across, w->to + r * w->n);
    }
}

static void gather_any(sv_args *a, bool back) {
    const sv_tensor *x = a->in[0], *index = a->in[1];
    const int axis = (int)a->opt[AT_AXIS] < 0 ? (int)a->opt[AT_AXIS] + x->ndim : (int)a->opt[AT_AXIS];
    if (back && a->grad_in[1]) memset(a->grad_in[1], 0, index->count * sizeof(sv_real));
    if (back && !a->grad_in[0]) return;
    if (back) memset(a->grad_in[0], 0, x->count * sizeof(sv_real));
    if (index->count == 0) return;
    gather_work w = {.x = x, .index = index, .axis = axis, .back = back};
    w.from = back ? a->grad_out : x->data;
    w.to = back ? a->grad_in[0] : a->out->data;
    row_major(x->ndim, x->shape, w.step);
    w.n = w.width = index->shape[x->ndim - 1];
    w.rows = index->count / w.n;
    w.each = w.n < SV_CHUNK ? SV_CHUNK / w.n : 1;
    if (!back && w.n > SV_CHUNK) w.width = SV_CHUNK;
    if (back && axis != x->ndim - 1) {
        w.each = w.rows;
        w.width = w.rows < SV_CHUNK / LANES ? SV_CHUNK / w.rows : LANES;
    }
    w.cuts = (size_t)divide_up((long)w.n, (long)w.width);
    sv_parallel(divide_up((long)w.rows, (long)w.each) * (long)w.cuts, gather_piece, &w);
}

static void gather_forward(sv_args *a) { gather_any(a, false); }
static void gather_backward(sv_args *a) { gather_any(a, true); }

const sv_op sv_ops_shape[] = {
    {"reshape", "x; shape:ints", reshape_shape, NULL, copy_gradient, SV_OP_VIEW,
     "The same numbers under another shape; one axis may be -1. Shares memory.", "r(2, 6), {3, -1}"},
    {"select", "x; axis:axis, index:int", select_shape, NULL, select_backward, SV_OP_VIEW,
     "Entry `index` of the first axis, which goes; shares memory. t[i] is select(t, 1, i).", "r(3, 4), 1, 2"},
    {"flatten", "x; axis:axis=1", flatten_shape, NULL, copy_gradient, SV_OP_VIEW,
     "The axes from `axis` to the last as one; shares memory.", "r(2, 3, 2), 2"},
    {"permute", "x; axes:axes", permute_shape, permute_forward, permute_backward, 0,
     "A copy with the axes in the order given.", "r(2, 3, 4), {3, 1, 2}"},
    {"transpose", "x; axis1:axis=-2, axis2:axis=-1", transpose_shape, transpose_forward, transpose_backward, 0,
     "A copy with two axes exchanged.", "r(2, 3, 4), 1, 3"},
    {"slice", "x; axis:axis, first:int, last:int=-1, step:int=1", slice_shape, slice_forward, slice_backward, 0,
     "A copy of entries first, first + step, … up to last (from 1, inclusive; negative from the end) of an axis.",
     "r(2, 5), 2, 1, 5, 2"},
    {"expand", "x; shape:ints", expand_shape, expand_forward, expand_backward, 0,
     "A copy with axes of one repeated to the new shape, new axes in front; -1 leaves an axis.", "r(3, 1), {2, 3, 4}"},
    {"pad", "x; widths:ints, value:num=0", pad_shape, pad_forward, pad_backward, 0,
     "A value around the last two axes: widths {top, bottom, left, right}.", "r(2, 3), {1, 0, 2, 1}"},
    {"concat", "xs*; axis:axis=1", concat_shape, join_forward, join_backward, 0,
     "A list of tensors one after another along an axis.", "{r(2, 3), r(2, 1)}, 2"},
    {"stack", "xs*; axis:axis=1", stack_shape, join_forward, join_backward, 0,
     "A list of tensors of equal shape along a new axis.", "{r(2, 3), r(2, 3)}, 2"},
    {"gather", "x, index; axis:axis", gather_shape, gather_forward, gather_backward, 0,
     "out[i][j] = x[index[i][j]][j] along axis 1, x[i][index[i][j]] along axis 2, …; index holds whole numbers from 1.",
     "r(3, 2), tensor{{1, 3}, {3, 3}}, 1"},
    {0},
};
