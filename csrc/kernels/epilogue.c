/* epilogue.c: convolution epilogue: bias or folded batch norm, then activation, applied while the output tile is in
 * registers or L1.
 *
 *   y = act(gain * v + bias),   act(u) = max(u, 0) + slope * min(u, 0)
 *
 * For slope >= 0 the sign of y is that of act's argument, so that y is all the gradient needs.
 */
#include "loops.h"

bool sv_epilogue_is_bias(const sv_epilogue *e) { return !e || (!e->gain && e->slope == 1); }

const sv_real *sv_epilogue_bias(const sv_epilogue *e) { return e && sv_epilogue_is_bias(e) ? e->bias : NULL; }

SV_LOOP(apply_row, (const sv_real *gain, const sv_real *bias, sv_real slope, long n, sv_real *restrict y),
        (gain, bias, slope, n, y)) {
    for (long j = 0; j < n; j++) {
        sv_real u = y[j] * (gain ? gain[j] : 1) + (bias ? bias[j] : 0), low = u * slope;
        y[j] = u > 0 ? u : low;
    }
}

static void apply(const void *epilogue, long row, long col, long n, sv_real *y) {
    const sv_epilogue *e = epilogue;
    (void)row;
    apply_row(e->gain ? e->gain + col : NULL, e->bias ? e->bias + col : NULL, e->slope, n, y);
}

void sv_epilogue_of_product(const sv_epilogue *e, sv_product *p) {
    p->bias = sv_epilogue_bias(e);
    if (sv_epilogue_is_bias(e)) return;
    p->epilogue = apply;
    p->epilogue_arg = e;
}

void sv_epilogue_rows(const sv_epilogue *e, long rows, long cols, sv_real *y) {
    for (long r = 0; r < rows; r++) apply_row(e->gain, e->bias, e->slope, cols, y + r * cols);
}

typedef struct pass {
    const sv_epilogue *epilogue;
    long rows, cols, block;
    const sv_real *y;
    sv_real *g;
} pass;

SV_LOOP(gradient_rows,
        (const sv_real *gain, sv_real slope, long rows, long cols, const sv_real *restrict y, sv_real *restrict g),
        (gain, slope, rows, cols, y, g)) {
    for (; rows > 0; rows--, y += cols, g += cols)
        for (long j = 0; j < cols; j++) g[j] *= (y[j] > 0 ? 1 : slope) * (gain ? gain[j] : 1);
}

static void gradient_block(void *arg, long block, int worker) {
    const pass *p = arg;
    (void)worker;
    long from = block * p->block, rows = sv_min(p->block, p->rows - from);
    gradient_rows(p->epilogue->gain, p->epilogue->slope, rows, p->cols, p->y + from * p->cols, p->g + from * p->cols);
}

void sv_epilogue_gradient(const sv_epilogue *e, long rows, long cols, const sv_real *y, sv_real *g) {
    pass p = {.epilogue = e, .rows = rows, .cols = cols, .y = y, .g = g};
    if (rows < 1 || cols < 1 || sv_epilogue_is_bias(e)) return;
    p.block = divide_up(SV_CHUNK, cols);
    sv_parallel(divide_up(rows, p.block), gradient_block, &p);
}
