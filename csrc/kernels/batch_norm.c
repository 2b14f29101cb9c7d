/* batch_norm.c: batch normalisation (Ioffe and Szegedy, 2015) with the activation
 * that follows it, on the columns of a (rows, cols) matrix. A channels-last image
 * batch is one, with a row for each pixel.
 *
 *   y = act(v),  v = scale * h + shift,  h = (x - mean) * inverse
 *
 * The variance is taken about a pivot, the column's first row, in the same pass as
 * the mean: sums of (x - pivot) and of its square. That is one pass less over
 * memory than the two-pass form, and as accurate unless the spread is much
 * smaller than the distance of the first row from the mean, which is itself of the
 * size of the spread.
 *
 * Backward needs sums of g and g * h over rows, g = gy * act'(v), then
 *   gx = scale * inverse * (g - mean(g) - h * mean(g * h))          (training)
 *   gx = scale * inverse * g                                        (evaluation)
 * v is recomputed from x, so y need not be kept.
 *
 * Rows are cut into blocks of a fixed number of values; the blocks' sums are added
 * in order, in double, so they do not depend on the number of threads. A narrow
 * matrix is read as one of 64 columns with fewer rows ("folded": 4 rows of 16 make
 * one of 64), so that vectors are full and memory is read straight on.
 */
#include "loops.h"
#include <math.h>

enum { BLOCK_VALUES = 1 << 15, MAX_BLOCKS = 256, STRIP = 64 };

typedef struct pass {
    long rows, cols, fold, block_rows, blocks; /* folded */
    const sv_real *x, *gy;
    sv_real slope;
    /* Per folded column. */
    sv_real *gain, *offset, *pivot, *of_x, *rest;
    sv_real *sums; /* per block: cols of one sum, cols of the other */
    sv_real *out;
} pass;

static pass prepare(const sv_batch_norm *b, const sv_real *x, sv_real *work) {
    pass p = {.rows = b->rows, .cols = b->cols, .fold = 1, .x = x, .slope = b->slope};
    if (b->cols > 0 && b->cols < STRIP && STRIP % b->cols == 0 && b->rows % (STRIP / b->cols) == 0) {
        p.fold = STRIP / b->cols;
        p.rows = b->rows / p.fold;
        p.cols = STRIP;
    }
    p.block_rows = sv_max(BLOCK_VALUES / (p.cols > 0 ? p.cols : 1), divide_up(p.rows, MAX_BLOCKS));
    if (p.block_rows < 1) p.block_rows = 1;
    p.blocks = divide_up(p.rows, p.block_rows);
    if (!work) return p;
    p.gain = work;
    p.offset = p.gain + p.cols;
    p.pivot = p.offset + p.cols;
    p.of_x = p.pivot + p.cols;
    p.rest = p.of_x + p.cols;
    p.sums = p.rest + p.cols;
    return p;
}

size_t sv_batch_norm_work(const sv_batch_norm *b) {
    pass p = prepare(b, NULL, NULL);
    return (size_t)((2 * p.blocks + 5) * p.cols);
}

void sv_batch_norm_inverse(const sv_batch_norm *b, const sv_real *var, sv_real *inverse) {
    for (long j = 0; j < b->cols; j++) inverse[j] = (sv_real)(1 / sqrt((double)var[j] + (double)b->eps));
}

/* The four passes. Columns are taken in strips whose sums stay in registers over the rows of a block. */
#define STRIPS(RUN, p, block)                                                            \
    do {                                                                                 \
        long from = (block) * (p)->block_rows, j = 0;                                    \
        long until = from + (p)->block_rows;                                             \
        if (until > (p)->rows) until = (p)->rows;                                        \
        for (; j + STRIP <= (p)->cols; j += STRIP) RUN(p, block, j, STRIP, from, until); \
        for (; j + 16 <= (p)->cols; j += 16) RUN(p, block, j, 16, from, until);          \
        for (; j < (p)->cols; j++) RUN(p, block, j, 1, from, until);                     \
    } while (0)

SV_INLINE void sum_moments_strip(const pass *p, long block, long j, const int w, long from, long until) {
    sv_real s[STRIP], q[STRIP], pivot[STRIP];
    for (int i = 0; i < w; i++) s[i] = q[i] = 0, pivot[i] = p->pivot[j + i];
    for (long r = from; r < until; r++) {
        const sv_real *x = p->x + r * p->cols + j;
        for (int i = 0; i < w; i++) {
            sv_real d = x[i] - pivot[i];
            s[i] += d;
            q[i] += d * d;
        }
    }
    sv_real *sum = p->sums + 2 * block * p->cols + j;
    for (int i = 0; i < w; i++) sum[i] = s[i], sum[p->cols + i] = q[i];
}

/* Values, not rows, are walked: y = act(x * gain + offset). */
SV_INLINE void apply_strip(const pass *p, long block, long j, const int w, long from, long until) {
    sv_real gain[STRIP], offset[STRIP];
    const sv_real slope = p->slope;
    (void)block;
    for (int i = 0; i < w; i++) gain[i] = p->gain[j + i], offset[i] = p->offset[j + i];
    for (long r = from; r < until; r++) {
        const sv_real *restrict x = p->x + r * p->cols + j;
        sv_real *restrict y = p->out + r * p->cols + j;
        for (int i = 0; i < w; i++) {
            sv_real v = x[i] * gain[i] + offset[i], low = v * slope;
            y[i] = v > 0 ? v : low;
        }
    }
}

SV_INLINE void sum_gradients_strip(const pass *p, long block, long j, const int w, long from, long until) {
    sv_real s[STRIP], q[STRIP];
    const sv_real *restrict gain = p->gain + j, *restrict offset = p->offset + j;
    const sv_real *restrict mean = p->pivot + j;
    const sv_real slope = p->slope;
    for (int i = 0; i < w; i++) s[i] = q[i] = 0;
    for (long r = from; r < until; r++) {
        const sv_real *restrict x = p->x + r * p->cols + j;
        const sv_real *restrict gy = p->gy + r * p->cols + j;
        for (int i = 0; i < w; i++) {
            sv_real g = gy[i], low = g * slope;
            g = x[i] * gain[i] + offset[i] > 0 ? g : low;
            s[i] += g;
            q[i] += g * (x[i] - mean[i]);
        }
    }
    sv_real *sum = p->sums + 2 * block * p->cols + j;
    for (int i = 0; i < w; i++) sum[i] = s[i], sum[p->cols + i] = q[i];
}

SV_INLINE void gradient_strip(const pass *p, long block, long j, const int w, long from, long until) {
    const sv_real *restrict gain = p->gain + j, *restrict offset = p->offset + j;
    const sv_real *restrict mean = p->pivot + j, *restrict of_x = p->of_x + j;
    const sv_real *restrict rest = p->rest + j;
    const sv_real slope = p->slope;
    (void)block;
    for (long r = from; r < until; r++) {
        const sv_real *restrict x = p->x + r * p->cols + j;
        const sv_real *gy = p->gy + r * p->cols + j;
        sv_real *gx = p->out + r * p->cols + j, v[STRIP]; /* gx may be gy */
        for (int i = 0; i < w; i++) {
            sv_real g = gy[i], low = g * slope;
            g = x[i] * gain[i] + offset[i] > 0 ? g : low;
            v[i] = gain[i] * g - of_x[i] * (x[i] - mean[i]) - rest[i];
        }
        for (int i = 0; i < w; i++) gx[i] = v[i];
    }
}

/* The passes round products before adding them, at every level. */
#define PASS(name, strip)                                                                       \
    SV_LOOP_UNFUSED(name, (const pass *p, long block), (p, block)) { STRIPS(strip, p, block); } \
    static void name##_block(void *arg, long block, int worker) {                               \
        (void)worker;                                                                           \
        name(arg, block);                                                                       \
    }                                                                                           \
    static void run_##name(pass *p) { sv_parallel(p->blocks, name##_block, p); }

PASS(sum_moments, sum_moments_strip)
PASS(apply, apply_strip)
PASS(sum_gradients, sum_gradients_strip)
PASS(gradient, gradient_strip)

/* Column j's two sums over all rows. */
static void total(const pass *p, long cols, long j, double *first, double *second) {
    *first = *second = 0;
    for (long i = 0; i < p->blocks; i++)
        for (long f = 0; f < p->fold; f++) {
            const sv_real *sum = p->sums + 2 * i * p->cols + f * cols + j;
            *first += (double)sum[0];
            *second += (double)sum[p->cols];
        }
}

static void set_affine(const pass *p, const sv_batch_norm *b, const sv_real *scale, const sv_real *shift,
                       const sv_real *mean, const sv_real *inverse) {
    for (long i = 0; i < p->cols; i++) {
        long j = i % b->cols;
        p->gain[i] = scale[j] * inverse[j];
        p->offset[i] = shift[j] - mean[j] * p->gain[i];
    }
}

void sv_batch_norm_train(const sv_batch_norm *b, const sv_real *x, const sv_real *scale, const sv_real *shift,
                         sv_real *running_mean, sv_real *running_var, sv_real *mean, sv_real *inverse, sv_real *y,
                         sv_real *work) {
    pass p = prepare(b, x, work);
    if (b->rows < 1) return;
    p.out = y;
    for (long i = 0; i < p.cols; i++) p.pivot[i] = x[i % b->cols];
    run_sum_moments(&p);
    double rows = (double)b->rows;
    for (long j = 0; j < b->cols; j++) {
        double sum, square;
        total(&p, b->cols, j, &sum, &square);
        double from_pivot = sum / rows, var = square / rows - from_pivot * from_pivot;
        if (var < 0) var = 0;
        double m = (double)p.pivot[j] + from_pivot;
        mean[j] = (sv_real)m;
        inverse[j] = (sv_real)(1 / sqrt(var + (double)b->eps));
        if (running_mean) {
            double unbiased = b->rows > 1 ? var * rows / (rows - 1) : var;
            running_mean[j] += b->momentum * (sv_real)(m - (double)running_mean[j]);
            running_var[j] += b->momentum * (sv_real)(unbiased - (double)running_var[j]);
        }
    }
    set_affine(&p, b, scale, shift, mean, inverse);
    run_apply(&p);
}

void sv_batch_norm_moments(const sv_batch_norm *b, const sv_real *x, sv_real *moments, sv_real *work) {
    pass p = prepare(b, x, work);
    if (b->rows < 1) return;
    for (long i = 0; i < p.cols; i++) p.pivot[i] = x[i % b->cols];
    run_sum_moments(&p);
    double rows = (double)b->rows;
    for (long j = 0; j < b->cols; j++) {
        double sum, square;
        total(&p, b->cols, j, &sum, &square);
        double squares = square - sum * (sum / rows);
        moments[j] = (sv_real)((double)p.pivot[j] + sum / rows);
        moments[b->cols + j] = (sv_real)(squares < 0 ? 0 : squares);
    }
}

void sv_batch_norm_eval(const sv_batch_norm *b, const sv_real *x, const sv_real *scale, const sv_real *shift,
                        const sv_real *running_mean, const sv_real *running_var, sv_real *y, sv_real *work) {
    pass p = prepare(b, x, work);
    p.out = y;
    sv_batch_norm_inverse(b, running_var, p.of_x);
    set_affine(&p, b, scale, shift, running_mean, p.of_x);
    run_apply(&p);
}

void sv_batch_norm_backward(const sv_batch_norm *b, bool train, const sv_real *x, const sv_real *gy,
                            const sv_real *scale, const sv_real *shift, const sv_real *mean, const sv_real *inverse,
                            sv_real *gx, sv_real *gscale, sv_real *gshift, sv_real *work) {
    pass p = prepare(b, x, work);
    p.gy = gy;
    p.out = gx;
    set_affine(&p, b, scale, shift, mean, inverse);
    for (long i = 0; i < p.cols; i++) {
        p.pivot[i] = mean[i % b->cols];
        p.of_x[i] = p.rest[i] = 0;
    }
    bool statistics = train && gx;
    if (statistics || gscale || gshift) {
        run_sum_gradients(&p);
        for (long j = 0; j < b->cols; j++) {
            double sum, along;
            total(&p, b->cols, j, &sum, &along);
            double of_h = along * (double)inverse[j];
            if (gscale) gscale[j] = (sv_real)of_h;
            if (gshift) gshift[j] = (sv_real)sum;
            double gain = statistics ? (double)p.gain[j] / (double)b->rows : 0;
            for (long i = j; i < p.cols; i += b->cols) {
                p.of_x[i] = (sv_real)(gain * of_h * (double)inverse[j]);
                p.rest[i] = (sv_real)(gain * sum);
            }
        }
    }
    if (gx) run_gradient(&p);
}

void sv_batch_norm_sums(const sv_batch_norm *b, const sv_real *x, const sv_real *gy, const sv_real *scale,
                        const sv_real *shift, const sv_real *mean, const sv_real *inverse, sv_real *sums,
                        sv_real *work) {
    pass p = prepare(b, x, work);
    p.gy = gy;
    set_affine(&p, b, scale, shift, mean, inverse);
    for (long i = 0; i < p.cols; i++) p.pivot[i] = mean[i % b->cols];
    run_sum_gradients(&p);
    for (long j = 0; j < b->cols; j++) {
        double sum, along;
        total(&p, b->cols, j, &sum, &along);
        sums[j] = (sv_real)sum;
        sums[b->cols + j] = (sv_real)(along * (double)inverse[j]);
    }
}

void sv_batch_norm_backward_by(const sv_batch_norm *b, const sv_real *x, const sv_real *gy, const sv_real *scale,
                               const sv_real *shift, const sv_real *mean, const sv_real *inverse, const sv_real *sums,
                               double rows, sv_real *gx, sv_real *work) {
    pass p = prepare(b, x, work);
    p.gy = gy;
    p.out = gx;
    set_affine(&p, b, scale, shift, mean, inverse);
    for (long i = 0; i < p.cols; i++) {
        long j = i % b->cols;
        double gain = (double)p.gain[i] / rows;
        p.pivot[i] = mean[j];
        p.of_x[i] = (sv_real)(gain * (double)sums[b->cols + j] * (double)inverse[j]);
        p.rest[i] = (sv_real)(gain * (double)sums[j]);
    }
    run_gradient(&p);
}
