/* gemm_avx512.c: the level avx512: its detection, and micro-kernels of 8 rows by 32 columns on AVX-512 registers.
 *
 * 16 accumulators, 2 registers of B, and one number of each row of A broadcast at a time: 10 loads for 16 multiply-adds
 * of 16 numbers, which saturates one or two FMA units. Two units with a latency of 4 need 8 accumulators in flight, so
 * the 16-column variant runs at full rate as well.
 */
#include "gemm.h"

#ifdef __x86_64__
bool sv_cpu_has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

#if !defined(SV_DOUBLE) && defined(__x86_64__)
#include "gemm_avx512.h"

/* wide: 32 columns, else 16. step is 1 or t->step: known where the loop is. */
INLINE void tile(const sv_tile *t, const bool wide, const long step) {
#define ZERO(r) __m512 lo##r = _mm512_setzero_ps(), hi##r = _mm512_setzero_ps();
    EACH_ROW(ZERO)
#undef ZERO
    const float *b = t->b;
    const long ldb = t->ldb, from = t->a_skip;
    const float *const *a = t->a;
    for (long s = 0; s < t->segs; s++, a += SV_MR) {
#define ROW(r) const float *a##r = a[r] + from;
        EACH_ROW(ROW)
#undef ROW
        long end = (s + 1 < t->segs ? t->run : t->last) * step;
        for (long i = 0; i < end; i += step) {
            __m512 b0 = _mm512_loadu_ps(b);
            __m512 b1 = wide ? _mm512_loadu_ps(b + 16) : b0;
            b += ldb;
#define STEP(r)                                          \
    {                                                    \
        __m512 v = _mm512_set1_ps(a##r[i]);              \
        lo##r = _mm512_fmadd_ps(v, b0, lo##r);           \
        if (wide) hi##r = _mm512_fmadd_ps(v, b1, hi##r); \
    }
            EACH_ROW(STEP)
#undef STEP
        }
    }
    STORE_TILE(t, wide)
}

SV_AVX512 static void avx512_tile(const sv_tile *t) {
    bool wide = t->cols > 16;
    if (wide && t->step == 1)
        tile(t, true, 1);
    else if (wide)
        tile(t, true, t->step);
    else if (t->step == 1)
        tile(t, false, 1);
    else
        tile(t, false, t->step);
}

/* The sums of the 16 numbers of each of four vectors. */
INLINE __m128 sums(__m512 a, __m512 b, __m512 c, __m512 d) {
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 lo = _mm512_shuffle_ps(ab, cd, 0x44), hi = _mm512_shuffle_ps(ab, cd, 0xee);
    __m512 all = _mm512_add_ps(lo, hi);
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/* Four rows from `row` on by `cols` columns, vectors along k. */
INLINE void dot(const sv_tile *t, long row, const int cols) {
    __m512 acc[SV_DOT_MAX][4];
    for (int j = 0; j < SV_DOT_MAX; j++)
        for (int r = 0; r < 4; r++) acc[j][r] = _mm512_setzero_ps();
    const float *b = t->b;
    const long ldb = t->ldb;
    const float *const *a = t->a + row;
    for (long s = 0; s < t->segs; s++, a += SV_MR) {
        const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3];
        long run = s + 1 < t->segs ? t->run : t->last;
        long k = 0;
#define COLUMN(j, load)                                \
    if (j < cols) {                                    \
        __m512 w = load(b + j * ldb + k);              \
        acc[j][0] = _mm512_fmadd_ps(v0, w, acc[j][0]); \
        acc[j][1] = _mm512_fmadd_ps(v1, w, acc[j][1]); \
        acc[j][2] = _mm512_fmadd_ps(v2, w, acc[j][2]); \
        acc[j][3] = _mm512_fmadd_ps(v3, w, acc[j][3]); \
    }
#define VECTORS(load)                                                   \
    {                                                                   \
        __m512 v0 = load(a0 + k), v1 = load(a1 + k);                    \
        __m512 v2 = load(a2 + k), v3 = load(a3 + k);                    \
        COLUMN(0, load) COLUMN(1, load) COLUMN(2, load) COLUMN(3, load) \
    }
        for (; k + 16 <= run; k += 16) VECTORS(_mm512_loadu_ps)
        if (k < run) {
            __mmask16 m = first(run - k);
#define MASKED(p) _mm512_maskz_loadu_ps(m, p)
            VECTORS(MASKED)
#undef MASKED
        }
#undef VECTORS
#undef COLUMN
        b += run;
    }
    __m128 v[4];
    for (int j = 0; j < 4; j++) v[j] = j < cols ? sums(acc[j][0], acc[j][1], acc[j][2], acc[j][3]) : _mm_setzero_ps();
    _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]);
    const __mmask8 m = (__mmask8)((1 << cols) - 1);
    __m128 bias = t->bias ? _mm_maskz_loadu_ps(m, t->bias) : _mm_setzero_ps();
    for (int r = 0; r < 4; r++) {
        if (row + r >= t->rows) break;
        float *c = t->c[row + r];
        __m128 x = v[r];
        if (t->add) x = _mm_add_ps(x, _mm_maskz_loadu_ps(m, c));
        x = _mm_add_ps(x, bias);
        _mm_mask_storeu_ps(c, m, x);
    }
}

SV_AVX512 static void avx512_dot(const sv_tile *t) {
    for (long row = 0; row < t->rows; row += 4) {
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

SV_AVX512 static void avx512_pack(long n, const float *const *from, long offset, long len, long count, float *to,
                                  long ld, long stride) {
    const __mmask16 left = first(len), right = first(len - 16);
    for (long r = 0; r < n; r++, to += ld) {
        const float *x = from[r] + offset;
        float *dest = to;
        if (len == 32) {
            for (long p = 0; p < count; p++, x += 32, dest += stride) {
                _mm512_storeu_ps(dest, _mm512_loadu_ps(x));
                _mm512_storeu_ps(dest + 16, _mm512_loadu_ps(x + 16));
            }
        } else if (len == 8) {
            for (long p = 0; p < count; p++, x += 8, dest += stride) _mm256_storeu_ps(dest, _mm256_loadu_ps(x));
        } else {
            for (long p = 0; p < count; p++, x += len, dest += stride) {
                _mm512_mask_storeu_ps(dest, left, _mm512_maskz_loadu_ps(left, x));
                if (right) _mm512_mask_storeu_ps(dest + 16, right, _mm512_maskz_loadu_ps(right, x + 16));
            }
        }
    }
}

/* A block of 16 by 16 or less, in registers: exchanges single numbers, then pairs, then lanes of 4, then pairs of
 * lanes. */
INLINE void transpose_block(long rows, long cols, const float *from, long ld, float *to, long ld_to) {
    __m512 r[16], t[16];
    const __mmask16 in = first(cols), out = first(rows);
    for (int i = 0; i < 16; i++) r[i] = i < rows ? _mm512_maskz_loadu_ps(in, from + i * ld) : _mm512_setzero_ps();
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    /* r[4 g + j] holds column 4 l + j of rows 4 g … 4 g + 3 in its lane l. */
    for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
        t[8 + j] = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88);
        t[12 + j] = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0x88);
        r[8 + j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0xdd);
        r[4 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0x88);
        r[12 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0xdd);
    }
    for (int i = 0; i < 16; i++)
        if (i < cols) _mm512_mask_storeu_ps(to + i * ld_to, out, r[i]);
}

SV_AVX512 static void avx512_transpose(long rows, long cols, const float *from, long ld, float *to, long ld_to) {
    for (long c = 0; c < cols; c += 16)
        for (long r = 0; r < rows; r += 16)
            transpose_block(rows - r < 16 ? rows - r : 16, cols - c < 16 ? cols - c : 16, from + r * ld + c, ld,
                            to + c * ld_to + r, ld_to);
}

const sv_gemm_kernel sv_gemm_avx512 = {avx512_tile, avx512_dot, avx512_pack, avx512_transpose};
#endif
