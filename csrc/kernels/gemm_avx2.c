/* gemm_avx2.c: the level avx2: its detection, and micro-kernels of 8 rows by 32 columns on 16 AVX2 registers, as parts
 * of 4 rows by 16 columns: 8 accumulators, 2 registers of B, 4 broadcasts.
 */
#include "gemm.h"

#ifdef __x86_64__
bool sv_cpu_has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

#if !defined(SV_DOUBLE) && defined(__x86_64__)
#include <immintrin.h>

#define INLINE SV_AVX2 __attribute__((always_inline)) static inline

static void store(const sv_tile *t, float *c, long col, long cols, const float *v) {
    for (long j = 0; j < cols; j++) {
        float x = v[j];
        if (t->add) x += c[j];
        if (t->bias) x += t->bias[col + j];
        c[j] = x;
    }
}

/* Full 16 columns stay in registers; the edge of a matrix goes through memory. */
INLINE void store_part(const sv_tile *t, long row, long col, __m256 lo, __m256 hi) {
    float *c = t->c[row] + t->c_skip + col;
    if (t->cols - col < 16) {
        float v[16];
        _mm256_storeu_ps(v, lo);
        _mm256_storeu_ps(v + 8, hi);
        store(t, c, col, t->cols - col, v);
        return;
    }
    if (t->add) {
        lo = _mm256_add_ps(lo, _mm256_loadu_ps(c));
        hi = _mm256_add_ps(hi, _mm256_loadu_ps(c + 8));
    }
    if (t->bias) {
        lo = _mm256_add_ps(lo, _mm256_loadu_ps(t->bias + col));
        hi = _mm256_add_ps(hi, _mm256_loadu_ps(t->bias + col + 8));
    }
    _mm256_storeu_ps(c, lo);
    _mm256_storeu_ps(c + 8, hi);
}

#define EACH_ROW(F) F(0) F(1) F(2) F(3)

INLINE void part(const sv_tile *t, long row, long col, const long step) {
#define ZERO(r) __m256 lo##r = _mm256_setzero_ps(), hi##r = _mm256_setzero_ps();
    EACH_ROW(ZERO)
#undef ZERO
    const float *b = t->b + col;
    const long ldb = t->ldb;
    const float *const *a = t->a + row;
    for (long s = 0; s < t->segs; s++, a += SV_MR) {
#define ROW(r) const float *a##r = a[r] + t->a_skip;
        EACH_ROW(ROW)
#undef ROW
        long end = (s + 1 < t->segs ? t->run : t->last) * step;
        for (long i = 0; i < end; i += step) {
            __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
            b += ldb;
#define STEP(r)                                   \
    {                                             \
        __m256 v = _mm256_broadcast_ss(a##r + i); \
        lo##r = _mm256_fmadd_ps(v, b0, lo##r);    \
        hi##r = _mm256_fmadd_ps(v, b1, hi##r);    \
    }
            EACH_ROW(STEP)
#undef STEP
        }
    }
#define DONE(r) \
    if (row + r < t->rows) store_part(t, row + r, col, lo##r, hi##r);
    EACH_ROW(DONE)
#undef DONE
}

SV_AVX2 static void avx2_tile(const sv_tile *t) {
    for (long col = 0; col < t->cols; col += 16)
        for (long row = 0; row < t->rows; row += 4) {
            if (t->step == 1)
                part(t, row, col, 1);
            else
                part(t, row, col, t->step);
        }
}

INLINE float sum(__m256 v) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

/* Two rows by `cols` columns, vectors along k. */
INLINE void dot(const sv_tile *t, long row, const int cols) {
    __m256 acc[2][SV_DOT_MAX];
    float rest[2][SV_DOT_MAX] = {{0}};
    for (int r = 0; r < 2; r++)
        for (int j = 0; j < SV_DOT_MAX; j++) acc[r][j] = _mm256_setzero_ps();
    const float *b = t->b;
    for (long s = 0; s < t->segs; s++) {
        const float *a0 = t->a[s * SV_MR + row], *a1 = t->a[s * SV_MR + row + 1];
        long run = s + 1 < t->segs ? t->run : t->last, k = 0;
        for (; k + 8 <= run; k += 8) {
            __m256 v0 = _mm256_loadu_ps(a0 + k), v1 = _mm256_loadu_ps(a1 + k);
            for (int j = 0; j < cols; j++) {
                __m256 w = _mm256_loadu_ps(b + j * t->ldb + k);
                acc[0][j] = _mm256_fmadd_ps(v0, w, acc[0][j]);
                acc[1][j] = _mm256_fmadd_ps(v1, w, acc[1][j]);
            }
        }
        for (; k < run; k++)
            for (int j = 0; j < cols; j++) {
                rest[0][j] += a0[k] * b[j * t->ldb + k];
                rest[1][j] += a1[k] * b[j * t->ldb + k];
            }
        b += run;
    }
    for (int r = 0; r < 2 && row + r < t->rows; r++) {
        for (int j = 0; j < cols; j++) rest[r][j] += sum(acc[r][j]);
        store(t, t->c[row + r], 0, cols, rest[r]);
    }
}

SV_AVX2 static void avx2_dot(const sv_tile *t) {
    for (long row = 0; row < t->rows; row += 2) {
        switch (t->cols) {
        case 1:
            dot(t, row, 1);
            break;
        case 2:
            dot(t, row, 2);
            break;
        case 3:
            dot(t, row, 3);
            break;
        default:
            dot(t, row, 4);
            break;
        }
    }
}

SV_AVX2 static void avx2_pack(long n, const float *const *from, long offset, long len, long count, float *to, long ld,
                              long stride) {
    for (long r = 0; r < n; r++)
        for (long p = 0; p < count; p++) {
            const float *x = from[r] + offset + p * len;
            float *dest = to + r * ld + p * stride;
            long i = 0;
            for (; i + 8 <= len; i += 8) _mm256_storeu_ps(dest + i, _mm256_loadu_ps(x + i));
            for (; i + 4 <= len; i += 4) _mm_storeu_ps(dest + i, _mm_loadu_ps(x + i));
            for (; i < len; i++) dest[i] = x[i];
        }
}

/* The plain loop is limited by memory, not by instructions. */
static void avx2_transpose(long rows, long cols, const float *from, long ld, float *to, long ld_to) {
    sv_gemm_portable.transpose(rows, cols, from, ld, to, ld_to);
}

const sv_gemm_kernel sv_gemm_avx2 = {avx2_tile, avx2_dot, avx2_pack, avx2_transpose};
#endif
