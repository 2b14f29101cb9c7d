/* gemm_portable.c: the micro-kernels in plain C, for every CPU: tiles of 8 rows by 32 columns as parts of 4 rows by 2
 * vectors of 16 bytes.
 */
#include "gemm.h"
#include <string.h>

bool sv_cpu_has_portable(void) { return true; }

static void store_row(const sv_tile *t, long col, long cols, sv_real *c, const sv_real *v) {
    for (long j = 0; j < cols; j++) {
        sv_real sum = v[j];
        if (t->add) sum += c[col + j];
        if (t->bias) sum += t->bias[col + j];
        c[col + j] = sum;
    }
}

/* Vectors of 16 bytes, which compilers map to SSE, NEON or what there is: 8 accumulators, 2 of B and one broadcast fit
 * in 16 registers. */
typedef sv_real vec __attribute__((vector_size(16)));
typedef struct unaligned {
    vec v;
} __attribute__((packed, aligned(sizeof(sv_real)), may_alias)) unaligned;

enum { LANES = 16 / sizeof(sv_real), PR = 4, PC = 2 * LANES };

static inline vec load(const sv_real *p) { return ((const unaligned *)(const void *)p)->v; }

static void portable_part(const sv_tile *t, long row, long col) {
    vec z = {0}, c00 = z, c01 = z, c10 = z, c11 = z, c20 = z, c21 = z, c30 = z, c31 = z;
    const sv_real *b = t->b + col;
    for (long s = 0; s < t->segs; s++) {
        const sv_real *const *a = t->a + s * SV_MR + row;
        const sv_real *a0 = a[0] + t->a_skip, *a1 = a[1] + t->a_skip, *a2 = a[2] + t->a_skip, *a3 = a[3] + t->a_skip;
        long end = (s + 1 < t->segs ? t->run : t->last) * t->step;
        for (long i = 0; i < end; i += t->step) {
            vec b0 = load(b), b1 = load(b + LANES);
            c00 += a0[i] * b0, c01 += a0[i] * b1;
            c10 += a1[i] * b0, c11 += a1[i] * b1;
            c20 += a2[i] * b0, c21 += a2[i] * b1;
            c30 += a3[i] * b0, c31 += a3[i] * b1;
            b += t->ldb;
        }
    }
    const vec acc[PR][2] = {{c00, c01}, {c10, c11}, {c20, c21}, {c30, c31}};
    long cols = t->cols - col < PC ? t->cols - col : PC;
    for (int r = 0; r < PR && row + r < t->rows; r++) {
        sv_real v[PC];
        memcpy(v, acc[r], sizeof v);
        store_row(t, col, cols, t->c[row + r] + t->c_skip, v);
    }
}

static void portable_tile(const sv_tile *t) {
    for (long col = 0; col < t->cols; col += PC)
        for (long row = 0; row < t->rows; row += PR) portable_part(t, row, col);
}

static void portable_dot(const sv_tile *t) {
    for (long row = 0; row < t->rows; row++) {
        sv_real sums[SV_DOT_MAX];
        for (long j = 0; j < t->cols; j++) {
            sv_real acc[PC] = {0};
            const sv_real *b = t->b + j * t->ldb;
            for (long s = 0; s < t->segs; s++) {
                const sv_real *a = t->a[s * SV_MR + row];
                long run = s + 1 < t->segs ? t->run : t->last, k = 0;
                for (; k + PC <= run; k += PC)
                    for (int i = 0; i < PC; i++) acc[i] += a[k + i] * b[k + i];
                for (; k < run; k++) acc[k % PC] += a[k] * b[k];
                b += run;
            }
            sums[j] = 0;
            for (int i = 0; i < PC; i++) sums[j] += acc[i];
        }
        store_row(t, 0, t->cols, t->c[row], sums);
    }
}

static void portable_pack(long n, const sv_real *const *from, long offset, long len, long count, sv_real *to, long ld,
                          long stride) {
    for (long r = 0; r < n; r++)
        for (long p = 0; p < count; p++) {
            const sv_real *x = from[r] + offset + p * len;
            sv_real *dest = to + r * ld + p * stride;
            if (len == SV_NR)
                memcpy(dest, x, SV_NR * sizeof *dest);
            else
                for (long i = 0; i < len; i++) dest[i] = x[i];
        }
}

static void portable_transpose(long rows, long cols, const sv_real *from, long ld, sv_real *to, long ld_to) {
    for (long r0 = 0; r0 < rows; r0 += 8) {
        long end = rows - r0 < 8 ? rows : r0 + 8;
        for (long c = 0; c < cols; c++)
            for (long r = r0; r < end; r++) to[c * ld_to + r] = from[r * ld + c];
    }
}

const sv_gemm_kernel sv_gemm_portable = {portable_tile, portable_dot, portable_pack, portable_transpose};
