/* column_sums.c: sums over the rows of a matrix, such as the gradient of a bias. Blocks of rows are summed, and their
 * sums added in order, in double. A narrow matrix is folded, so that vectors are full.
 */
#include "loops.h"
#include <string.h>

enum {
    BLOCK_ROWS = 64, /* rows in a block, at least */
    MAX_BLOCKS = 64,
    FOLD = 16,   /* a matrix of fewer than */
    NARROW = 64, /* so many columns is read as one of FOLD times as many columns and FOLD times fewer rows */
};

typedef struct sums {
    long rows, cols, block; /* folded; rows in a block */
    const sv_real *x, *factor;
    sv_real *scaled, *partial;
} sums;

static long fold(long rows, long cols) { return cols < NARROW && rows % FOLD == 0 ? FOLD : 1; }

SV_LOOP(add_row, (long n, const sv_real *restrict x, sv_real *restrict to), (n, x, to)) {
    for (long i = 0; i < n; i++) to[i] += x[i];
}

void sv_add_row(long n, const sv_real *x, sv_real *to) { add_row(n, x, to); }

SV_LOOP(add_scaled_row,
        (long n, const sv_real *restrict x, const sv_real *restrict factor, sv_real *restrict scaled,
         sv_real *restrict to),
        (n, x, factor, scaled, to)) {
    for (long i = 0; i < n; i++) to[i] += scaled[i] = x[i] * factor[i];
}

static void sum_block(void *arg, long i, int worker) {
    const sums *s = arg;
    (void)worker;
    sv_real *to = s->partial + i * s->cols;
    memset(to, 0, (size_t)s->cols * sizeof *to);
    for (long r = i * s->block; r < sv_min(s->rows, (i + 1) * s->block); r++) {
        long at = r * s->cols;
        if (s->factor)
            add_scaled_row(s->cols, s->x + at, s->factor + at, s->scaled + at, to);
        else
            add_row(s->cols, s->x + at, to);
    }
}

static long block_rows(long rows) { return sv_max(BLOCK_ROWS, divide_up(rows, MAX_BLOCKS)); }

static long blocks_of(long rows) { return divide_up(rows, block_rows(rows)); }

size_t sv_column_sums_work(long rows, long cols) {
    long f = fold(rows, cols);
    return (size_t)(blocks_of(rows / f) * cols * f);
}

void sv_scaled_column_sums(long rows, long cols, const sv_real *x, const sv_real *factor, sv_real *scaled, sv_real *to,
                           sv_real *work) {
    long f = fold(rows, cols), blocks = blocks_of(rows / f);
    sums s = {rows / f, cols * f, block_rows(rows / f), x, factor, scaled, work};
    sv_parallel(blocks, sum_block, &s);
    for (long j = 0; to && j < cols; j++) {
        double sum = 0;
        for (long i = j; i < blocks * s.cols; i += cols) sum += (double)work[i];
        to[j] = (sv_real)sum;
    }
}

void sv_column_sums(long rows, long cols, const sv_real *x, sv_real *sums, sv_real *work) {
    sv_scaled_column_sums(rows, cols, x, NULL, NULL, sums, work);
}
