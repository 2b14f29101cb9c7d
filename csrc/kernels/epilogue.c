/* epilogue.c: what follows a convolution in the same pass, while its numbers are in
 * registers or the nearest cache: a bias, or a batch norm whose statistics, scale and shift
 * are constants, which is a factor and a bias for each channel; then an activation.
 *
 *   y = act(gain * v + bias),   act(u) = max(u, 0) + slope * min(u, 0)
 *
 * For slope >= 0 the sign of y is that of act's argument, so that y is all the gradient needs.
 */
#include "loops.h"
#include "../simvae.h"

bool sv_after_plain(const sv_after *a) { return !a || (!a->gain && a->slope == 1); }

const sv_real *sv_after_bias(const sv_after *a) { return a && sv_after_plain(a) ? a->bias : NULL; }

SV_CLONES static void finish_row(const sv_real *gain, const sv_real *bias, sv_real slope, long n, sv_real *restrict y) {
    for (long j = 0; j < n; j++) {
        sv_real u = y[j] * (gain ? gain[j] : 1) + (bias ? bias[j] : 0), low = u * slope;
        y[j] = u > 0 ? u : low;
    }
}

static void finish(const void *after, long row, long col, long n, sv_real *y) {
    const sv_after *a = after;
    (void)row;
    finish_row(a->gain ? a->gain + col : NULL, a->bias ? a->bias + col : NULL, a->slope, n, y);
}

void sv_after_product(const sv_after *a, sv_product *p) {
    p->bias = sv_after_bias(a);
    if (sv_after_plain(a)) return;
    p->finish = finish;
    p->finish_arg = a;
}

void sv_after_rows(const sv_after *a, long rows, long cols, sv_real *y) {
    for (long r = 0; r < rows; r++) finish_row(a->gain, a->bias, a->slope, cols, y + r * cols);
}

typedef struct pass {
    const sv_after *after;
    long rows, cols, block;
    const sv_real *y;
    sv_real *g;
} pass;

SV_CLONES static void gradient_rows(const sv_real *gain, sv_real slope, long rows, long cols, const sv_real *restrict y,
                                    sv_real *restrict g) {
    for (; rows > 0; rows--, y += cols, g += cols)
        for (long j = 0; j < cols; j++) g[j] *= (y[j] > 0 ? 1 : slope) * (gain ? gain[j] : 1);
}

static void gradient_block(void *arg, long block, int worker) {
    const pass *p = arg;
    (void)worker;
    long from = block * p->block, rows = least(p->block, p->rows - from);
    gradient_rows(p->after->gain, p->after->slope, rows, p->cols, p->y + from * p->cols, p->g + from * p->cols);
}

void sv_after_gradient(const sv_after *a, long rows, long cols, const sv_real *y, sv_real *g) {
    pass p = {.after = a, .rows = rows, .cols = cols, .y = y, .g = g};
    if (rows < 1 || cols < 1 || sv_after_plain(a)) return;
    p.block = divide_up(SV_CHUNK, cols);
    sv_parallel(divide_up(rows, p.block), gradient_block, &p);
}
