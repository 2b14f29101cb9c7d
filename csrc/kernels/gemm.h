/* gemm.h: the micro-kernels of matrix products, one struct of them for a CPU level.
 *
 * A micro-kernel computes a tile of C, 8 rows by at most 32 columns, in registers over all of k. Rows of A are read
 * where they lie, through 8 pointers, one number of each row at a time; rows of B come from a packed panel. With 4
 * columns or fewer the vectors would be mostly empty: dot() lays them along k.
 *
 * A level gives the same numbers on every run and CPU; different levels differ in the last bits (fused multiply-add,
 * order of the sums of dot).
 */
#ifndef SV_GEMM_H
#define SV_GEMM_H

#include "kernels.h"

/* C[8][cols] (+)= A[8][k] B[k][cols] (+ bias). A's rows are `segs` runs of `run` numbers (the last one `last`), `step`
 * apart in memory; row r of run s starts at a[s * SV_MR + r]. */
typedef struct sv_tile {
    long rows, cols; /* rows and columns to store; a[] is always full */
    long segs, run, last, step;
    const sv_real *const *a;
    const sv_real *b;    /* tile: row k at b + k * ldb, readable up to 16 or 32 columns */
    long ldb;            /* dot: column j at b + j * ldb */
    sv_real *const *c;   /* SV_MR rows */
    long a_skip, c_skip; /* tile: added to each of a and of c: products of the same layout share these pointers */
    bool add;            /* to what C holds */
    const sv_real *bias; /* per column, or NULL */
} sv_tile;

typedef struct sv_gemm_kernel {
    void (*tile)(const sv_tile *t);
    void (*dot)(const sv_tile *t); /* step 1, at most SV_DOT_MAX columns */
    /* For r < n <= SV_MR and p < count: len (<= SV_NR) numbers from from[r] + offset + p * len to
     * to + r * ld + p * stride. */
    void (*pack)(long n, const sv_real *const *from, long offset, long len, long count, sv_real *to, long ld,
                 long stride);
    /* to[c * ld_to + r] = from[r * ld + c] */
    void (*transpose)(long rows, long cols, const sv_real *from, long ld, sv_real *to, long ld_to);
} sv_gemm_kernel;

/* Tiles of pairs of bfloat16 (gemm_bf16.c). The k of a tile counts pairs, which take the place of its floats: one
 * segment. */
typedef struct sv_bf16_kernel {
    bool (*usable)(void);
    void (*tile)(const sv_tile *t);
    /* (depth, width) floats to (ceil(depth / 2), width) pairs, in place; width 8, 16 or 32. */
    void (*round_rows)(long depth, long width, sv_real *x);
    /* The runs of SV_MR rows, as in sv_tile.a, to pairs: row r at to + r * ld, with room for one more number. */
    void (*round_runs)(long segs, long run, long last, const sv_real *const *at, sv_real *to, long ld);
} sv_bf16_kernel;

/* Of each level, defined in gemm_LEVEL.c. */
#define SV_CPU_DECLARE(level, attribute, ...) \
    bool sv_cpu_has_##level(void);            \
    extern const sv_gemm_kernel sv_gemm_##level;
SV_CPU_LEVELS(SV_CPU_DECLARE, )
#undef SV_CPU_DECLARE
extern const sv_bf16_kernel sv_bf16_avx512;

#endif
